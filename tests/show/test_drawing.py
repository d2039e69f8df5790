"""Tiles of photos with a face framed, and lines of text that fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facesearch.faces import Box
from facesearch.show.drawing import (
    ACCENT,
    BUILT_IN,
    ELLIPSIS,
    GROUND,
    choose_font,
    clip,
    load_font,
    photo_tile,
    plain,
    shorten,
    write,
)

GREY = 128


def photo(width, height):
    return np.full((height, width, 3), GREY, np.uint8)


def accent_box(tile):
    """The bounds of everything in the accent colour: left, top, right, bottom."""
    rows, columns = np.nonzero((np.asarray(tile) == ACCENT).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def is_accent(tile, x, y):
    return tile.getpixel((x, y)) == ACCENT


def test_the_line_lies_just_outside_the_face():
    tile = photo_tile(photo(400, 400), Box(100, 120, 200, 160), 200)
    assert tile.size == (200, 200)
    left, top, right, bottom = accent_box(tile)
    assert (left, top, right, bottom) == (48, 58, 152, 142)  # (50, 60, 150, 140) and a line of 2
    assert tile.getpixel((100, 100)) == (GREY, GREY, GREY)


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((400, 200), Box(100, 50, 100, 100), (50, 75, 100, 125)),
        ((200, 400), Box(50, 100, 100, 100), (75, 50, 125, 100)),
    ],
)
def test_a_photo_that_is_not_square_is_shown_whole_and_centred(size, box, expected):
    tile = photo_tile(photo(*size), box, 200)
    assert [tile.getpixel(corner) for corner in ((0, 0), (199, 199))] == [GROUND, GROUND]
    left, top, right, bottom = accent_box(tile)
    assert (left + 2, top + 2, right - 2, bottom - 2) == expected


@pytest.mark.parametrize("box", [Box(2800, 100, 100, 100), Box(0, 100, 100, 100), Box(1500, 0, 100, 300)])
def test_of_a_panorama_the_part_around_the_face_is_shown(box):
    tile = photo_tile(photo(3000, 300), box, 200)
    left, top, right, bottom = accent_box(tile)
    assert max(right - left, bottom - top) >= 30
    tall = photo_tile(photo(300, 3000), Box(box.y, box.x, box.height, box.width), 200)
    assert accent_box(tall)[3] - accent_box(tall)[1] >= 30


def test_a_small_face_is_enlarged_in_the_corner_far_from_it():
    image = photo(2000, 2000)
    image[100:180, 100:180] = (0, 200, 0)
    tile = photo_tile(image, Box(100, 100, 80, 80), 200)
    green = (np.asarray(tile) == (0, 200, 0)).all(axis=2)
    assert green[100:, 100:].sum() > 50 * 50  # recognisable
    assert green[:100, :100].sum() < 10 * 10
    assert is_accent(tile, 10, 8)  # and boxed where it is


def test_a_large_face_is_not_covered_by_an_inset():
    tile = photo_tile(photo(400, 400), Box(150, 150, 100, 100), 200)
    assert (np.asarray(tile)[150:, 150:] == GREY).all()


@pytest.mark.parametrize("box", [Box(500, 500, 10, 10), Box(-50, 0, 50, 50), Box(0, 0, 0, 0)])
def test_a_box_outside_the_photo_is_left_out(box):
    tile = photo_tile(photo(100, 100), box, 200)
    assert not (np.asarray(tile) == ACCENT).all(axis=2).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_photos_of_a_few_pixels_are_drawn(size):
    assert photo_tile(photo(*size), Box(0, 0, 1, 1), 144).size == (144, 144)


def test_clip():
    assert clip(Box(-10, -10, 30, 40), 100, 25) == Box(0, 0, 20, 25)
    assert clip(Box(100, 0, 5, 5), 100, 100) is None


def test_colours_are_those_of_the_photo():
    image = np.zeros((50, 50, 3), np.uint8)
    image[:] = (10, 20, 200)  # BGR: a red
    assert photo_tile(image, Box(0, 0, 40, 40), 200).getpixel((190, 100)) == (200, 20, 10)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b.jpg", "a b.jpg"),
        ("line\nbreak\t\x1b[31m.jpg", "line?break??[31m.jpg"),
        ("bytes\udcff.jpg", "bytes?.jpg"),
        ("right\u202eto left.jpg", "right?to left.jpg"),
        ("e\u0301.jpg", "é.jpg"),
        ("x" * 300, "x" * 255),
    ],
)
def test_plain(name, written):
    assert plain(name) == written


def test_shorten_takes_from_the_middle():
    font = load_font(BUILT_IN, 14)
    name = "holiday_in_the_mountains_with_everyone_12_0341.jpg"
    short = shorten(name, 150, font)
    assert font.getlength(short) <= 150 < font.getlength(short.replace("…", "…mm"))
    start, end = short.split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert abs(len(start) - len(end)) <= 1
    assert shorten(name, 1000, font) == name
    assert shorten(name, 1, font) == "…"


def test_letters_that_no_font_has_become_plainer():
    fonts = ("there-is-no-such-font.ttf",)
    assert choose_font("Zoë Müller.jpg", fonts) == (BUILT_IN, "Zoe Muller.jpg")
    assert choose_font("日本.jpg", fonts) == (BUILT_IN, "??.jpg")


def test_ascii_is_written_in_the_built_in_font():
    ascii_letters = "".join(chr(code) for code in range(32, 127)) + ELLIPSIS
    assert choose_font(ascii_letters) == (BUILT_IN, ascii_letters)


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=400))
def test_any_name_stays_in_its_width(name):
    canvas = Image.new("RGB", (300, 60), "white")
    write(canvas, (50, 30), name, size=14, colour=(0, 0, 0), width=150)
    # A stroke may reach a few pixels over the advance width.
    assert (np.asarray(canvas)[:, 210:] == 255).all()
