"""One picture of an answer: each reference at the left, the photos that match it at the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.faces import Box, Match
from facesearch.show.files import put
from facesearch.show.layout import BLOCK_GAP, CAPTION, FOOTER, HEADER, MARGIN, Layout, lay_out
from facesearch.show.lettering import Colour, text_width, write
from facesearch.show.naming import short_names
from facesearch.show.tile import ACCENT, WHITE, Pixels, photo_tile

INK = (31, 35, 40)
QUIET = (107, 114, 128)
HAIRLINE = (222, 225, 230)

# All lengths are pixels.
HEADING, TEXT, NAME = 18, 17, 14  # sizes of type
BASELINE = 23  # of the first line of a caption, from the lower edge of its tile
NEXT_LINE = 20

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
        image: That photo upright, (h, w, 3) BGR.
        box: The face in it that was asked for.
        matches: What was found, nearest first.
    """

    reference: str
    image: Pixels
    box: Box
    matches: Sequence[Match]


@dataclass(frozen=True, slots=True)
class _Page:
    """What all that is drawn on a sheet has in common."""

    canvas: Image.Image
    layout: Layout
    read: Callable[[str], Pixels]
    digits: str  # how a distance is written


def draw_sheet(rows: Sequence[Row], read: Callable[[str], Pixels], *, metric: str) -> Image.Image:
    """Draw the references and their matches as one picture of at most 40 megapixels.

    Args:
        rows: The references, one block of the sheet each.
        read: Gives the upright photo of a path, (h, w, 3) BGR, or raises UnreadablePhoto. It is called for
            one match after the other, and what it gives is shrunk at once.
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
    """Give the format that a file's name asks for; a FacesearchError where it is none of ours."""
    suffix = destination.suffix.lower()
    if suffix not in FORMATS:
        raise FacesearchError(
            f"A sheet cannot be written as {destination.name!r}: its ending names no known picture format.",
            "Use a name that ends in .jpg, .png or .webp.",
        )
    return FORMATS[suffix]


def save_sheet(image: Image.Image, destination: Path) -> None:
    """Write a sheet in the format of its suffix: beside its place first, then moved there.

    Raises:
        FacesearchError: The suffix names no known format, or one that cannot hold so large a sheet.
        StorageError: The disk is full, or the folder is not there or cannot be written.
    """
    picture_format = sheet_format(destination)
    if picture_format == "WEBP" and max(image.size) > WEBP_SIDE:
        raise FacesearchError(
            f"The sheet is too long for WebP: {image.height:,} pixels of at most {WEBP_SIDE:,}.",
            "Use a name that ends in .jpg or .png, or ask for fewer matches.",
        )
    settings = SETTINGS[picture_format]
    put(destination, lambda file: image.save(file, format=picture_format, **settings))


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
        page.canvas.paste(_word_tile("no match", side), page.layout.corner(0, top))
    names = short_names([match.path for match in matches])
    for place, (match, name) in enumerate(zip(matches, names, strict=True)):
        left, upper = page.layout.corner(place, top)
        page.canvas.paste(_match_tile(page, match), (left, upper))
        _draw_caption(page, match, name, Box(left, upper + side, side, CAPTION))


def _match_tile(page: _Page, match: Match) -> Image.Image:
    try:
        return photo_tile(page.read(match.path), match.box, page.layout.tile, _colour(match))
    except UnreadablePhoto:
        return _word_tile("photo gone or unreadable", page.layout.tile)


def _colour(match: Match) -> Colour:
    """Give the colour of a match: a quiet one beyond the model's threshold."""
    return QUIET if match.same is False else ACCENT


def _word_tile(words: str, side: int) -> Image.Image:
    tile = Image.new("RGB", (side, side), HAIRLINE)
    middle = (side / 2, side / 2)
    write(tile, middle, words, size=NAME, colour=QUIET, width=side - 8, anchor="mm")
    return tile


def _draw_caption(page: _Page, match: Match, name: str, area: Box) -> None:
    """Write rank, distance and probability on one line, the file's name on the next."""
    left, right, line = area.x, area.x + area.width, area.y + BASELINE
    rank = str(match.rank)
    write(page.canvas, (left, line), rank, size=TEXT, colour=_colour(match), width=area.width)
    left += round(text_width(rank, TEXT)) + 10
    distance = page.digits.format(match.distance)
    write(page.canvas, (left, line), distance, size=TEXT, colour=INK, width=right - left)
    if match.probability is not None:
        likely = _percent(match.probability)
        write(page.canvas, (right, line), likely, size=TEXT, colour=INK, width=area.width, anchor="rs")
    place = (area.x, line + NEXT_LINE)
    write(page.canvas, place, name, size=NAME, colour=QUIET, width=area.width)


def _percent(probability: float) -> str:
    """Round to whole per cent, but never to a certainty that no model has."""
    if probability > 0.99:
        return ">99%"
    return "<1%" if probability < 0.01 else f"{probability:.0%}"


def _draw_footer(page: _Page, rows: Sequence[Row]) -> None:
    """Say what there was no room for."""
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
