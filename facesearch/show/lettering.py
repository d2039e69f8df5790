"""Write words on a picture: any name, shortened to the width there is, in a font that has its letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font holds little more than ASCII. A name that needs more is written in the first of
# these that the machine has and that holds all its letters; none of them has to be there.
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

# No file system has longer names; what comes from elsewhere is cut before it is measured.
LONGEST = 255


def plain(name: str) -> str:
    """Replace what cannot be printed: control characters, lone surrogates (bytes that are not UTF-8)."""
    composed = unicodedata.normalize("NFC", name[:LONGEST])
    return "".join(letter if letter.isprintable() else SUBSTITUTE for letter in composed)


def shorten(text: str, width: float, font: Font) -> str:
    """Take letters out of the middle until the text is at most `width` pixels wide.

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
    """Write one line at `place`, not wider than `width` pixels.

    The anchor is Pillow's; by default the place is the left end of the baseline, on which all fonts agree.
    """
    family, spelling = choose_font(plain(text))
    font = load_font(family, size)
    ImageDraw.Draw(canvas).text(place, shorten(spelling, width, font), fill=colour, font=font, anchor=anchor)


def text_width(text: str, size: int) -> float:
    """Give the width in pixels of a text that the built-in font can write."""
    return load_font(BUILT_IN, size).getlength(text)


@lru_cache(maxsize=64)
def load_font(family: str, size: int) -> Font:
    """Give the built-in font (the empty name) or one of the system's; OSError where it is not there."""
    if family == BUILT_IN:
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(family, size)


@lru_cache(maxsize=4096)
def choose_font(text: str) -> tuple[str, str]:
    """Find a font that has every letter of a text: its name and the text as it can be written.

    Where no font does, accents are dropped; what is still missing becomes a question mark.
    """
    if _missing(BUILT_IN, text) == 0:
        return BUILT_IN, text
    families = _installed()
    for family in families:
        if _missing(family, text) == 0:
            return family, text
    unaccented = _without_accents(text)
    best = min((BUILT_IN, *families), key=lambda family: _missing(family, unaccented))
    return best, "".join(c if _has_letter(best, c) else SUBSTITUTE for c in unaccented)


@lru_cache(maxsize=1)
def _installed() -> Sequence[str]:
    """Give those of the known system fonts that can be opened here."""
    found = []
    for family in SYSTEM_FONTS:
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
    """Tell whether a font has a letter: one that it lacks is drawn as its box for missing letters."""
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
