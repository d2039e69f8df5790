"""What sheets are drawn of: photos as square tiles with a face framed, and lines of text that fit.

A tile shows the whole photo, and the face enlarged in a corner where it is small. Text is written in Pillow's
own font, or in a font of the system that has all its letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facesearch.faces import Box
from facesearch.show.thumbnails import window_around

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

ACCENT = (226, 62, 87)
GROUND = (243, 244, 246)
WHITE = (255, 255, 255)
INK = (31, 35, 40)
QUIET = (107, 114, 128)
HAIRLINE = (222, 225, 230)

HEADING, TEXT, NAME = 18, 17, 14  # sizes of type, in pixels

# A panorama fitted into a square would be a strip a few pixels high: beyond this ratio of the sides,
# only the part around the face is shown.
MAX_RATIO = 2.0
# A face narrower than this part of its tile cannot be recognised in it and is enlarged in a corner.
SMALL_FACE = 0.2
INSET = 0.44  # of the tile's side
# How much of the photo the enlarged part shows, in widths of the face.
INSET_VIEW = 1.5

# Pillow's own font has little more than ASCII. A name that needs more is written in the first of these
# that the machine has and that has all its letters; none of them has to be there.
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
)
BUILT_IN = ""
SUBSTITUTE = "?"
ELLIPSIS = "…"

# No file system has longer names; text from elsewhere is cut before it is measured.
LONGEST = 255


def photo_tile(image: Pixels, box: Box, side: int, colour: Colour = ACCENT) -> Image.Image:
    """Draw a photo into a square of `side` pixels.

    Args:
        image: The upright photo, (h, w, 3) BGR uint8.
        box: The face, in pixels of that photo. A box outside it (the photo was replaced) is not drawn.
        side: Width and height of the tile, in pixels.
        colour: The colour of the line around the face.
    """
    height, width = image.shape[:2]
    face = clip(box, width, height)
    window = _window(width, height, face)
    scale = side / max(window.width, window.height)
    shown = resize(_cut(image, window), round(window.width * scale), round(window.height * scale))
    tile = Image.new("RGB", (side, side), GROUND)
    left, top = (side - shown.width) // 2, (side - shown.height) // 2
    tile.paste(shown, (left, top))
    if face is None:
        return tile
    framed = Box(face.x - window.x, face.y - window.y, face.width, face.height).scaled(scale)
    framed = Box(framed.x + left, framed.y + top, framed.width, framed.height)
    draw_box(tile, framed, colour)
    if max(framed.width, framed.height) < SMALL_FACE * side:
        _draw_inset(tile, image, face, framed, colour)
    return tile


def word_tile(words: str, side: int) -> Image.Image:
    """Draw a grey tile with words in its middle, in place of a photo."""
    tile = Image.new("RGB", (side, side), HAIRLINE)
    middle = (side / 2, side / 2)
    write(tile, middle, words, size=NAME, colour=QUIET, width=side - 8, anchor="mm")
    return tile


def clip(box: Box, width: int, height: int) -> Box | None:
    """Return the part of a box that lies in a photo of this size; None where there is none."""
    left, top = max(0, box.x), max(0, box.y)
    right, bottom = min(width, box.x + box.width), min(height, box.y + box.height)
    if right <= left or bottom <= top:
        return None
    return Box(left, top, right - left, bottom - top)


def resize(image: Pixels, width: int, height: int) -> Image.Image:
    """Scale a BGR array to a Pillow image of exactly this size."""
    size = (max(1, width), max(1, height))
    shrinks = size[0] < image.shape[1]
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return Image.fromarray(np.ascontiguousarray(scaled[..., ::-1]))


def draw_box(tile: Image.Image, box: Box, colour: Colour = ACCENT) -> None:
    """Frame a face: a coloured line between two of white, so that it shows on any photo."""
    line = min(4, max(2, tile.width // 110))
    pen = ImageDraw.Draw(tile)
    left, top = max(0, box.x - line), max(0, box.y - line)
    right = min(tile.width, box.x + box.width + line) - 1
    bottom = min(tile.height, box.y + box.height + line) - 1
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=WHITE, width=1)
    pen.rectangle((left, top, right, bottom), outline=colour, width=line)


def write(
    canvas: Image.Image,
    place: tuple[float, float],
    text: str,
    *,
    size: int,
    colour: Colour,
    width: float,
    anchor: str = "ls",
) -> None:
    """Write one line of text, at most `width` pixels wide.

    The anchor is Pillow's; by default `place` is the left end of the baseline, on which all fonts agree.
    """
    family, spelling = choose_font(plain(text))
    font = load_font(family, size)
    ImageDraw.Draw(canvas).text(place, shorten(spelling, width, font), fill=colour, font=font, anchor=anchor)


def text_width(text: str, size: int) -> float:
    """Return the width in pixels of a text that the built-in font can write."""
    return load_font(BUILT_IN, size).getlength(text)


def plain(name: str) -> str:
    """Replace characters that cannot be printed: control characters, bytes that are not UTF-8."""
    composed = unicodedata.normalize("NFC", name[:LONGEST])
    return "".join(letter if letter.isprintable() else SUBSTITUTE for letter in composed)


def shorten(text: str, width: float, font: Font) -> str:
    """Remove letters from the middle until the text is at most `width` pixels wide.

    The end of a file name tells as much as its start: 12_0341.jpg, 12_0342.jpg.
    """
    if font.getlength(text) <= width:
        return text
    fewest, most = 0, len(text) - 1
    while fewest < most:
        kept = (fewest + most + 1) // 2
        if font.getlength(_without_middle(text, kept)) <= width:
            fewest = kept
        else:
            most = kept - 1
    return _without_middle(text, fewest)


@lru_cache(maxsize=64)
def load_font(family: str, size: int) -> Font:
    """Return the built-in font (the empty name) or one of the system's; OSError if it does not exist."""
    if family == BUILT_IN:
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(family, size)


@lru_cache(maxsize=4096)
def choose_font(text: str, fonts: tuple[str, ...] = SYSTEM_FONTS) -> tuple[str, str]:
    """Find a font that has every letter of a text; return its name and the text as it can be written.

    If no font has, accents are dropped, and letters still missing become question marks.
    """
    if _missing(BUILT_IN, text) == 0:
        return BUILT_IN, text
    families = _installed(fonts)
    for family in families:
        if _missing(family, text) == 0:
            return family, text
    unaccented = _without_accents(text)
    best = min((BUILT_IN, *families), key=lambda family: _missing(family, unaccented))
    return best, "".join(c if _has_letter(best, c) else SUBSTITUTE for c in unaccented)


def _window(width: int, height: int, face: Box | None) -> Box:
    """Return the part of a photo that is shown: all of it, unless it is very long or very tall."""
    shown_width = min(width, round(height * MAX_RATIO))
    shown_height = min(height, round(width * MAX_RATIO))
    x, y = face.centre if face is not None else (width / 2, height / 2)
    return window_around((x, y), (shown_width, shown_height), (width, height))


def _cut(image: Pixels, box: Box) -> Pixels:
    return image[box.y : box.y + box.height, box.x : box.x + box.width]


def _draw_inset(tile: Image.Image, image: Pixels, face: Box, framed: Box, colour: Colour) -> None:
    """Draw the enlarged face in the corner that is farthest from its place in the photo."""
    height, width = image.shape[:2]
    view = min(round(max(face.width, face.height) * INSET_VIEW), width, height)
    side = round(tile.width * INSET)
    enlarged = resize(_cut(image, window_around(face.centre, (view, view), (width, height))), side, side)
    corner = _far_corner(tile.width, side, framed)
    tile.paste(enlarged, (corner.x, corner.y))
    draw_box(tile, corner, colour)


def _far_corner(side: int, inset: int, framed: Box) -> Box:
    edge = max(4, side // 40)
    near, far = edge, side - inset - edge
    corners = [Box(x, y, inset, inset) for y in (far, near) for x in (far, near)]

    def farness(corner: Box) -> tuple[float, float]:
        (x, y), (face_x, face_y) = corner.centre, framed.centre
        return -corner.overlap(framed), (x - face_x) ** 2 + (y - face_y) ** 2

    return max(corners, key=farness)


@lru_cache(maxsize=4)
def _installed(fonts: tuple[str, ...]) -> Sequence[str]:
    """Return those of some fonts that can be opened here."""
    found = []
    for family in fonts:
        try:
            load_font(family, 16)
        except OSError:
            continue
        found.append(family)
    return tuple(found)


def _missing(family: str, text: str) -> int:
    return sum(not _has_letter(family, letter) for letter in text)


@lru_cache(maxsize=16384)
def _has_letter(family: str, letter: str) -> bool:
    """Return whether a font has a letter: one that it lacks is drawn as its box for missing letters."""
    if letter == " ":
        return True
    font = load_font(family, 16)
    # U+10FFFF is no character, so no font has it.
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _without_middle(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    tail = kept - head
    return text[:head] + ELLIPSIS + text[len(text) - tail :]
