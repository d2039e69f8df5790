"""A picture of pairs of faces: two close-ups side by side, the photos' names, and what was found out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box, Moment
from facesearch.photos.clips import picture_at
from facesearch.show.drawing import (
    ACCENT,
    GROUND,
    HAIRLINE,
    HEADING,
    INK,
    NAME,
    QUIET,
    TEXT,
    WHITE,
    Colour,
    Pixels,
    clip,
    resize,
    word_tile,
    write,
)
from facesearch.show.sheet import GONE, HEADER, MARGIN
from facesearch.show.thumbnails import window_around
from facesearch.show.wording import short_names

MOST_PAIRS = 24
RIGHT: Colour = (26, 127, 84)
WRONG: Colour = ACCENT

# How much of a photo is shown, in sizes of the face: hair and shoulders help to know a person.
VIEW = 1.8
# Where the photo leaves less than this around the face, it is shown as far as it reaches, on grey ground.
TIGHT = 1.05

# The side of a face's tile and the pairs in one line, by how many pairs there are. Lengths are pixels.
GRIDS = ((1, 380, 1), (4, 270, 2), (9, 200, 3), (MOST_PAIRS, 168, 4))
SEAM = 4  # between the two faces of a pair
RULE = 4  # the line in the pair's colour below them
COLUMN_GAP, LINE_GAP = 40, 34  # between pairs
BASELINE, NEXT_LINE = 20, 21  # of the names from the rule, and of each further line
PARAGRAPH = 6  # between the names and the lines
FOOTER = 34


@dataclass(frozen=True, slots=True)
class Side:
    """One of two faces.

    Attributes:
        path: The photo that shows it.
        box: The face, in pixels of the upright photo; None for the whole photo.
        pixels: The photo, (h, w, 3) BGR uint8; None if it is to be read when it is drawn.
        moment: When in a clip, or in which frame beyond the first.
    """

    path: str
    box: Box | None = None
    pixels: Pixels | None = None
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two faces and what is written below them.

    Attributes:
        left: The face on the left.
        right: The face on the right.
        lines: Short lines of text, the most important first.
        colour: The colour of the first line and of the rule below the faces, such as RIGHT or WRONG;
            None for neither.
    """

    left: Side
    right: Side
    lines: tuple[str, ...] = ()
    colour: Colour | None = None


def read_pixels(path: str, moment: Moment | None = None) -> Pixels:
    """Return an upright photo, or a clip's frame at a moment, (h, w, 3) BGR uint8.

    Raises:
        UnreadablePhoto: It is gone, or not a picture.
    """
    try:
        return picture_at(path, moment)[1].pixels
    except OSError as error:
        raise UnreadablePhoto(f"{path} cannot be read: {error.strerror or error}.") from error


def draw_pairs(
    pairs: Sequence[Pair],
    read: Callable[[str, Moment | None], Pixels] = read_pixels,
    *,
    heading: str = "",
    others: int = 0,
) -> Image.Image:
    """Draw the first 24 pairs as one picture.

    Args:
        pairs: What is drawn.
        read: Returns the upright photo of a path, or its frame at a moment, (h, w, 3) BGR uint8, or raises
            UnreadablePhoto. It is called for one photo at a time, and what it returns is shrunk at once.
        heading: The heading above the pairs.
        others: The number of pairs besides `pairs`, for the footer.
    """
    drawn = pairs[:MOST_PAIRS]
    left_out = len(pairs) - len(drawn) + others
    grid = _lay_out(drawn, footer=FOOTER if left_out else 0)
    canvas = Image.new("RGB", grid.size, WHITE)
    width, height = grid.size
    room = width - 2 * MARGIN
    write(canvas, (MARGIN, MARGIN + HEADING), heading, size=HEADING, colour=INK, width=room)
    names = short_names([side.path for pair in drawn for side in (pair.left, pair.right)])
    tiles: dict[tuple[str, Box | None, Moment | None], Image.Image] = {}  # a photo may be in many pairs
    for place, pair in enumerate(drawn):
        left, top = grid.corner(place)
        for at, side, name in zip((0, 1), (pair.left, pair.right), names[2 * place :], strict=False):
            key = (side.path, side.box, side.moment)
            if key not in tiles:
                tiles[key] = _side_tile(side, read, grid.tile)
            _draw_side(canvas, (left + at * (grid.tile + SEAM), top), tiles[key], name)
        _draw_text(canvas, grid, (left, top), pair)
    if left_out:
        text = f"Not drawn: {left_out:,} more pair{'s' * (left_out > 1)}."
        write(canvas, (MARGIN, height - MARGIN), text, size=NAME, colour=QUIET, width=room)
    return canvas


def face_tile(image: Pixels, box: Box | None, side: int) -> Image.Image:
    """Draw a face with its surroundings into a square of `side` pixels.

    Args:
        image: The upright photo, (h, w, 3) BGR uint8.
        box: The face in it; None, or a box outside it (the photo was replaced), for the whole photo.
        side: Width and height of the tile, in pixels.
    """
    height, width = image.shape[:2]
    window = _window(width, height, clip(box, width, height) if box is not None else None)
    part = image[window.y : window.y + window.height, window.x : window.x + window.width]
    scale = side / max(window.width, window.height)
    shown = resize(part, round(window.width * scale), round(window.height * scale))
    tile = Image.new("RGB", (side, side), GROUND)
    tile.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2))
    return tile


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the pairs are on the sheet; all lengths are pixels."""

    tile: int
    columns: int
    rows: int
    lines: int
    footer: int

    @property
    def pair(self) -> tuple[int, int]:
        """Width and height of a pair with its text."""
        text = BASELINE + PARAGRAPH + self.lines * NEXT_LINE + NAME // 2
        return 2 * self.tile + SEAM, self.tile + RULE + text

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width, height = self.pair
        across = self.columns * (width + COLUMN_GAP) - COLUMN_GAP
        down = self.rows * (height + LINE_GAP) - LINE_GAP
        return 2 * MARGIN + across, 2 * MARGIN + HEADER + max(0, down) + self.footer

    def corner(self, place: int) -> tuple[int, int]:
        """Return the upper left corner of a pair; places count from 0."""
        line, column = divmod(place, self.columns)
        width, height = self.pair
        return MARGIN + column * (width + COLUMN_GAP), MARGIN + HEADER + line * (height + LINE_GAP)


def _lay_out(pairs: Sequence[Pair], footer: int) -> _Grid:
    tile, columns = next((tile, columns) for most, tile, columns in GRIDS if len(pairs) <= most)
    lines = max((len(pair.lines) for pair in pairs), default=0)
    columns = min(columns, max(1, len(pairs)))
    return _Grid(tile, columns, math.ceil(len(pairs) / columns), lines, footer)


def _window(width: int, height: int, face: Box | None) -> Box:
    """Return the part of a photo that is shown: a square around the face wherever there is room for one."""
    if face is None:
        return Box(0, 0, width, height)
    size = max(face.width, face.height)
    view = round(size * VIEW)
    if min(width, height) >= size * TIGHT:
        view = min(view, width, height)
    across, down = min(view, width), min(view, height)
    return window_around(face.centre, (across, down), (width, height))


def _side_tile(side: Side, read: Callable[[str, Moment | None], Pixels], size: int) -> Image.Image:
    try:
        return face_tile(read(side.path, side.moment) if side.pixels is None else side.pixels, side.box, size)
    except UnreadablePhoto:
        return word_tile(GONE, size)


def _draw_side(canvas: Image.Image, corner: tuple[int, int], tile: Image.Image, name: str) -> None:
    """Draw a face at its place, and the photo's name below it."""
    left, top = corner
    canvas.paste(tile, corner)
    baseline = top + tile.height + RULE + BASELINE
    write(canvas, (left, baseline), name, size=NAME, colour=QUIET, width=tile.width - 2)


def _draw_text(canvas: Image.Image, grid: _Grid, corner: tuple[int, int], pair: Pair) -> None:
    """Draw the rule below a pair's faces, and its lines below their names."""
    left, top = corner
    width, upper = grid.pair[0], top + grid.tile
    area = (left, upper, left + width - 1, upper + RULE - 1)
    ImageDraw.Draw(canvas).rectangle(area, fill=pair.colour or HAIRLINE)
    for number, line in enumerate(pair.lines):
        place = (left, upper + RULE + BASELINE + PARAGRAPH + (number + 1) * NEXT_LINE)
        size, colour = (NAME, INK) if number else (TEXT, pair.colour or INK)
        write(canvas, place, line, size=size, colour=colour, width=width)
