"""The sheet of a query: one picture with each reference at the left and its matches beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.faces import Box, Match
from facesearch.files import write_output
from facesearch.show.drawing import (
    ACCENT,
    HAIRLINE,
    HEADING,
    INK,
    NAME,
    QUIET,
    TEXT,
    WHITE,
    Colour,
    Pixels,
    photo_tile,
    text_width,
    word_tile,
    write,
)
from facesearch.show.wording import clock, short_names

# All lengths are pixels.
MARGIN = 36
HEADER = 44
CAPTION = 54  # below each tile
GAP = 18  # between tiles
GUTTER = 56  # between a reference and its matches
BLOCK_GAP = 44  # between one reference and the next
FOOTER = 40

# The side of a tile, by how many photos there are to draw. If even these make the
# sheet too large, the smaller ones are tried, and after the last one photos are left out.
TILES = ((4, 340), (12, 280), (60, 240), (math.inf, 200))
SMALLER_TILES = (168, 144)  # the smallest holds a rank, a distance and a probability side by side
MOST_COLUMNS = 16
# With several references, a short answer stays on one line; a long one fills lines of this many.
SHORT_ANSWER = 6
LONG_LINE = 10

# 120 MB of memory; and no side longer than most viewers show (32,767).
MAX_PIXELS = 40_000_000
MAX_SIDE = 30_000

# Of the first line of a caption from the lower edge of its tile, and of each further line.
BASELINE, NEXT_LINE = 23, 20

GONE = "photo gone or unreadable"

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
WEBP_SIDE = 16_383
SETTINGS: dict[str, dict[str, int]] = {
    "JPEG": {"quality": 90, "subsampling": 0},  # thin coloured lines do not survive halved colour
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 90},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One reference and its matches.

    Attributes:
        reference: The path of the reference photo.
        image: The upright photo, (h, w, 3) BGR uint8.
        box: The face in it that was searched for.
        matches: Its matches, nearest first.
    """

    reference: str
    image: Pixels
    box: Box
    matches: Sequence[Match]


def draw_sheet(rows: Sequence[Row], read: Callable[[Match], Pixels], *, metric: str) -> Image.Image:
    """Draw the references and their matches as one picture of at most 40 megapixels.

    Args:
        rows: The references, one block of the sheet each.
        read: Returns the upright photo of a match, (h, w, 3) BGR uint8, or raises UnreadablePhoto. It is
            called for one match at a time, and what it returns is shrunk at once.
        metric: The name of the distance, for the heading and the digits.
    """
    layout = lay_out([len(row.matches) for row in rows])
    canvas = Image.new("RGB", (layout.width, layout.height), WHITE)
    # Cosine distances lie between 0 and 2, euclidean ones in the tens.
    page = _Page(canvas, layout, read, "{:.2f}" if metric == "euclidean" else "{:.3f}")
    _draw_header(page, rows, metric)
    top = MARGIN + HEADER
    for row, shown in zip(rows, layout.shown, strict=False):
        if top > MARGIN + HEADER:
            rule = top - BLOCK_GAP // 2
            ImageDraw.Draw(canvas).line((MARGIN, rule, layout.width - MARGIN, rule), fill=HAIRLINE)
        _draw_reference(page, row, top)
        _draw_matches(page, row.matches[:shown], top)
        top += layout.block(shown) + BLOCK_GAP
    _draw_footer(page, rows)
    return canvas


def sheet_format(destination: Path) -> str:
    """Return the picture format of a file's name.

    Raises:
        FacesearchError: The suffix names no known format.
    """
    suffix = destination.suffix.lower()
    if suffix not in FORMATS:
        raise FacesearchError(
            f"A sheet cannot be written as {destination.name!r}: its ending names no known picture format.",
            "Use a name that ends in .jpg, .png or .webp.",
        )
    return FORMATS[suffix]


def save_sheet(image: Image.Image, destination: Path) -> None:
    """Write a sheet in the format of its file's suffix, whole or not at all.

    Raises:
        FacesearchError: The suffix names no known format, or one that cannot hold so large a sheet.
        StorageError: The disk is full, or the folder does not exist or cannot be written.
    """
    picture_format = sheet_format(destination)
    if picture_format == "WEBP" and max(image.size) > WEBP_SIDE:
        raise FacesearchError(
            f"The sheet is too long for WebP: {image.height:,} pixels of at most {WEBP_SIDE:,}.",
            "Use a name that ends in .jpg or .png, or ask for fewer matches.",
        )
    settings = SETTINGS[picture_format]
    write_output(destination, lambda file: image.save(file, format=picture_format, **settings))


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """How large everything on a sheet is, in pixels, and how many matches of each reference are drawn.

    Attributes:
        tile: The side of a match's tile.
        columns: The number of tiles in one line of the grid.
        span: The height of the reference, in lines of the grid.
        shown: For each reference that is drawn, how many of its matches are drawn.
    """

    tile: int
    columns: int
    span: int
    shown: tuple[int, ...]

    @property
    def cell(self) -> int:
        """The height of a tile with its caption."""
        return self.tile + CAPTION

    @property
    def reference(self) -> int:
        """The side of a reference's tile."""
        return self.span * (self.cell + GAP) - GAP - CAPTION

    @property
    def grid_left(self) -> int:
        """The left edge of the matches."""
        return MARGIN + self.reference + GUTTER

    @property
    def grid_width(self) -> int:
        """The width of the matches."""
        return self.columns * (self.tile + GAP) - GAP

    @property
    def width(self) -> int:
        """The width of the sheet."""
        return self.grid_left + self.grid_width + MARGIN

    @property
    def height(self) -> int:
        """The height of the sheet."""
        blocks = sum(self.block(shown) + BLOCK_GAP for shown in self.shown)
        return MARGIN + HEADER + max(0, blocks - BLOCK_GAP) + FOOTER

    @property
    def fits(self) -> bool:
        """Whether a picture of this size may be made."""
        return max(self.width, self.height) <= MAX_SIDE and self.width * self.height <= MAX_PIXELS

    def block(self, shown: int) -> int:
        """Return the height of a reference with this many matches."""
        lines = max(self.span, math.ceil(shown / self.columns))
        return lines * (self.cell + GAP) - GAP

    def corner(self, place: int, top: int) -> tuple[int, int]:
        """Return the upper left corner of a match's tile in a block at `top`; places count from 0."""
        line, column = divmod(place, self.columns)
        return self.grid_left + column * (self.tile + GAP), top + line * (self.cell + GAP)


def lay_out(counts: Sequence[int]) -> SheetLayout:
    """Return the layout with the largest tiles with which everything fits, or as much as the smallest allow.

    Args:
        counts: The number of matches of each reference.
    """
    most = max(counts, default=0)
    columns = _columns(most, alone=len(counts) == 1)
    whole = SheetLayout(
        tile=next(side for photos, side in TILES if sum(counts) <= photos),
        columns=columns,
        span=2 if most > columns else 1,
        shown=tuple(counts),
    )
    for layout in (whole, *(replace(whole, tile=min(whole.tile, side)) for side in SMALLER_TILES)):
        if layout.fits:
            return layout
    return _cut_down(layout)


@dataclass(frozen=True, slots=True)
class _Page:
    """What every part of a sheet needs to be drawn."""

    canvas: Image.Image
    layout: SheetLayout
    read: Callable[[Match], Pixels]
    digits: str  # how a distance is written


def _draw_header(page: _Page, rows: Sequence[Row], metric: str) -> None:
    layout, baseline = page.layout, MARGIN + HEADING
    write(page.canvas, (MARGIN, baseline), "Reference", size=HEADING, colour=QUIET, width=layout.reference)
    headings = [
        f"Nearest faces by {metric} distance (smaller is nearer)",
        f"Nearest faces, {metric} distance",
        "Nearest faces",
    ]
    if any(match.probability is not None for row in rows for match in row.matches):
        headings[:0] = [
            f"{headings[0]}, and the probability of the same person",
            f"Nearest faces: {metric} distance, probability of one person",
        ]
    # The longest that fits; a single match leaves little room.
    fitting = [text for text in headings if text_width(text, HEADING) <= layout.grid_width]
    heading = (fitting or headings[-1:])[0]
    place = (layout.grid_left, baseline)
    write(page.canvas, place, heading, size=HEADING, colour=QUIET, width=layout.grid_width)


def _draw_reference(page: _Page, row: Row, top: int) -> None:
    side = page.layout.reference
    page.canvas.paste(photo_tile(row.image, row.box, side), (MARGIN, top))
    place = (MARGIN, top + side + BASELINE)
    write(page.canvas, place, Path(row.reference).name, size=TEXT, colour=INK, width=side)


def _draw_matches(page: _Page, matches: Sequence[Match], top: int) -> None:
    side = page.layout.tile
    if not matches:
        page.canvas.paste(word_tile("no match", side), page.layout.corner(0, top))
    names = short_names([match.path for match in matches])
    for place, (match, name) in enumerate(zip(matches, names, strict=True)):
        left, upper = page.layout.corner(place, top)
        page.canvas.paste(_match_tile(page, match), (left, upper))
        _draw_caption(page, match, name, Box(left, upper + side, side, CAPTION))


def _match_tile(page: _Page, match: Match) -> Image.Image:
    try:
        return photo_tile(page.read(match), match.box, page.layout.tile, _colour(match))
    except UnreadablePhoto:
        return word_tile(GONE, page.layout.tile)


def _colour(match: Match) -> Colour:
    """Return the colour of a match; for one that is more likely another person it is a quiet one."""
    return QUIET if match.same is False else ACCENT


def _draw_caption(page: _Page, match: Match, name: str, area: Box) -> None:
    """Write rank, distance and probability on one line, the file's name on the next."""
    left, right, line = area.x, area.x + area.width, area.y + BASELINE
    rank = str(match.rank)
    write(page.canvas, (left, line), rank, size=TEXT, colour=_colour(match), width=area.width)
    left += round(text_width(rank, TEXT)) + 10
    distance = "by hand" if match.by_hand else page.digits.format(match.distance)
    write(page.canvas, (left, line), distance, size=TEXT, colour=INK, width=right - left)
    if match.probability is not None:
        likely = _percent(match.probability)
        write(page.canvas, (right, line), likely, size=TEXT, colour=INK, width=area.width, anchor="rs")
    place = (area.x, line + NEXT_LINE)
    if match.moment is not None:
        name = f"{clock(match.moment)} {name}"
    write(page.canvas, place, name, size=NAME, colour=QUIET, width=area.width)


def _percent(probability: float) -> str:
    """Return a probability in whole per cent, but never a certainty, which no model has."""
    if probability > 0.99:
        return ">99%"
    return "<1%" if probability < 0.01 else f"{probability:.0%}"


def _draw_footer(page: _Page, rows: Sequence[Row]) -> None:
    """Write what there was no room for."""
    layout = page.layout
    references = len(rows) - len(layout.shown)
    matches = sum(len(row.matches) for row in rows) - sum(layout.shown)
    left_out = []
    if references:
        left_out.append(f"{references:,} more reference{'s' * (references > 1)}")
    if matches:
        left_out.append(f"{matches:,} more match{'es' * (matches > 1)}")
    if left_out:
        place = (MARGIN, layout.height - FOOTER + BASELINE)
        text = f"Not drawn: {' and '.join(left_out)}."
        write(page.canvas, place, text, size=NAME, colour=QUIET, width=layout.width - 2 * MARGIN)


def _cut_down(layout: SheetLayout) -> SheetLayout:
    """Leave out what does not fit: the last lines of long answers first, then the last references."""

    def with_lines(lines: int) -> SheetLayout:
        limit = lines * layout.columns
        return replace(layout, shown=tuple(min(count, limit) for count in layout.shown))

    lines = math.ceil(max(layout.shown) / layout.columns)
    short = with_lines(_largest(layout.span, lines, lambda lines: with_lines(lines).fits))

    def with_references(count: int) -> SheetLayout:
        return replace(short, shown=short.shown[:count])

    return with_references(_largest(1, len(short.shown), lambda count: with_references(count).fits))


def _largest(low: int, high: int, accept: Callable[[int], bool]) -> int:
    """Return the largest number from low to high that is accepted, by bisection; low if none is."""
    while low < high:
        middle = (low + high + 1) // 2
        if accept(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _columns(most: int, *, alone: bool) -> int:
    """Choose the columns of the grid.

    The answer to a single reference becomes a little wider than high, with few empty places in its last line;
    several references take a line each as long as it is not a long one.
    """
    if most <= 3:
        return max(1, most)
    if not alone:
        return min(most, SHORT_ANSWER) if most <= 2 * SHORT_ANSWER else LONG_LINE
    ideal = math.sqrt(1.4 * most)
    choices = range(max(2, math.floor(ideal) - 1), math.ceil(ideal) + 2)
    best = min(choices, key=lambda columns: -most % columns + 1.5 * abs(columns - ideal))
    return min(best, MOST_COLUMNS)
