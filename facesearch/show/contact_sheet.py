"""Contact sheets: the people of an index, each with a face and a number, and photos with numbered faces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box, Moment
from facesearch.show.drawing import (
    ACCENT,
    HEADING,
    INK,
    NAME,
    QUIET,
    TEXT,
    WHITE,
    Pixels,
    draw_box,
    resize,
    text_width,
    word_tile,
    write,
)
from facesearch.show.page import data_uri, file_uri, render
from facesearch.show.sheet import GAP, GONE, MARGIN, MAX_PIXELS

# All lengths are pixels.
TILE = 180
SMALL = 56  # of a person's other faces
CAPTION = 50
FOOTER = 30
MOST_COLUMNS = 12
PHOTO_SIDE = 1600
BADGE = 8  # around a number


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face of the index.

    Attributes:
        path: Its photo.
        digest: The digest of the photo's picture.
        box: The face in the upright photo.
        moment: When in a clip; None in a photo.
    """

    path: str
    digest: bytes
    box: Box
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class PersonCard:
    """A person on a contact sheet.

    Attributes:
        number: The person's number.
        name: Empty where none was given.
        amount: How many photos and faces there are, in words.
        faces: A few of the faces, the portrait first.
    """

    number: int
    name: str
    amount: str
    faces: Sequence[ShownFace]


def draw_people(cards: Sequence[PersonCard], read: Callable[[ShownFace, int], bytes]) -> Image.Image:
    """Draw people as one picture of at most 40 megapixels; a line says how many had no place.

    Args:
        cards: The people, in order.
        read: Returns a face as a square JPEG of a side, or raises UnreadablePhoto.
    """
    cell = TILE + GAP, TILE + SMALL + CAPTION + GAP
    columns = max(1, min(MOST_COLUMNS, math.ceil(math.sqrt(1.6 * len(cards)))))
    lines = math.ceil(len(cards) / columns)
    width = max(2 * MARGIN + columns * cell[0] - GAP, 2 * MARGIN + 3 * TILE)
    lines = min(lines, (MAX_PIXELS // width - 2 * MARGIN - FOOTER) // cell[1])
    canvas = Image.new("RGB", (width, 2 * MARGIN + lines * cell[1] + FOOTER), WHITE)
    for place, card in enumerate(cards[: lines * columns]):
        line, column = divmod(place, columns)
        _draw_card(canvas, card, (MARGIN + column * cell[0], MARGIN + line * cell[1]), read)
    left_out = len(cards) - lines * columns
    if left_out > 0:
        text, place_of = f"Not drawn: {left_out:,} more people.", (MARGIN, canvas.height - MARGIN)
        write(canvas, place_of, text, size=NAME, colour=QUIET, width=width - 2 * MARGIN)
    return canvas


def _draw_card(
    canvas: Image.Image, card: PersonCard, corner: tuple[int, int], read: Callable[[ShownFace, int], bytes]
) -> None:
    left, top = corner
    portrait, *others = card.faces
    canvas.paste(_face_tile(portrait, TILE, read), (left, top))
    for place, face in enumerate(others[:3]):
        at = (left + place * (SMALL + (TILE - 3 * SMALL) // 2), top + TILE + 4)
        canvas.paste(_face_tile(face, SMALL, read), at)
    line = top + TILE + SMALL + 24
    number = str(card.number)
    write(canvas, (left, line), number, size=HEADING, colour=ACCENT, width=TILE)
    beside = round(text_width(number, HEADING)) + 10
    write(canvas, (left + beside, line), card.name, size=TEXT, colour=INK, width=TILE - beside)
    write(canvas, (left, line + 20), card.amount, size=NAME, colour=QUIET, width=TILE)


def _face_tile(face: ShownFace, side: int, read: Callable[[ShownFace, int], bytes]) -> Image.Image:
    try:
        data = read(face, side)
    except UnreadablePhoto:
        return word_tile(GONE, side)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return word_tile(GONE, side) if pixels is None else resize(np.asarray(pixels, np.uint8), side, side)


def people_page(
    cards: Sequence[PersonCard],
    read: Callable[[ShownFace, int], bytes],
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return people as one page that stands alone; see `draw_people`."""

    def picture(face: ShownFace) -> Markup | None:
        try:
            return data_uri(read(face, TILE))
        except UnreadablePhoto:
            return None

    people = [(card, [picture(face) for face in card.faces]) for card in cards]
    addresses = {card.faces[0].path: file_uri(card.faces[0].path) for card in cards}
    return render("people.html", title=title, facts=facts, remarks=(), people=people, addresses=addresses)


@dataclass(frozen=True, slots=True)
class NumberedPhoto:
    """A photo whose faces are numbered.

    Attributes:
        path: The photo.
        image: The upright photo, (h, w, 3) BGR uint8.
        faces: Each box in its pixels, with the words beside it.
    """

    path: str
    image: Pixels
    faces: Sequence[tuple[Box, str]]


def draw_numbered(photos: Sequence[NumberedPhoto]) -> Image.Image:
    """Draw photos one below the other, each with its faces framed and their words beside them."""
    tiles = [_numbered(photo) for photo in photos]
    width = 2 * MARGIN + max((tile.width for tile in tiles), default=0)
    height = MARGIN + sum(tile.height + CAPTION + GAP for tile in tiles)
    canvas = Image.new("RGB", (width, height), WHITE)
    top = MARGIN
    for photo, tile in zip(photos, tiles, strict=True):
        canvas.paste(tile, (MARGIN, top))
        place = (MARGIN, top + tile.height + 24)
        write(canvas, place, photo.path, size=TEXT, colour=INK, width=width - 2 * MARGIN)
        top += tile.height + CAPTION + GAP
    return canvas


def _numbered(photo: NumberedPhoto) -> Image.Image:
    height, width = photo.image.shape[:2]
    scale = min(1.0, PHOTO_SIDE / max(height, width))
    tile = resize(photo.image, round(width * scale), round(height * scale))
    faces = [(box.scaled(scale), words) for box, words in photo.faces]
    for framed, _ in faces:
        draw_box(tile, framed)
    for framed, words in faces:
        size = HEADING if framed.height >= 3 * HEADING else NAME
        wide = round(text_width(words, size)) + BADGE
        left = min(max(0, framed.x), max(0, tile.width - wide))
        above = framed.y - size - BADGE
        top = above if above >= 0 else min(framed.y + framed.height, tile.height - size - BADGE)
        ImageDraw.Draw(tile).rectangle((left, top, left + wide, top + size + BADGE), fill=ACCENT)
        place = (left + BADGE // 2, top + size + BADGE // 4)
        write(tile, place, words, size=size, colour=WHITE, width=tile.width)
    return tile
