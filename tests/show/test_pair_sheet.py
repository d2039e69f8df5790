import numpy as np
import pytest
from PIL import Image

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box
from facesearch.show.drawing import GROUND, HAIRLINE
from facesearch.show.pair_sheet import (
    MOST_PAIRS,
    RIGHT,
    WRONG,
    Pair,
    Side,
    draw_pairs,
    face_tile,
    read_pixels,
)
from facesearch.show.sheet import HEADER, MARGIN

FACE = Box(80, 60, 80, 80)
SKIN, AROUND = (200, 150, 100), (90, 90, 90)


def portrait(width=240, height=200, box=FACE):
    """Return a photo as (height, width, 3) BGR whose face has another colour than the rest."""
    image = np.full((height, width, 3), AROUND, np.uint8)
    image[box.y : box.y + box.height, box.x : box.x + box.width] = SKIN[::-1]
    return image


def read(path, moment=None):
    if "gone" in path:
        raise UnreadablePhoto(f"{path} cannot be read.")
    return portrait()


def pair(number=0, colour=None, lines=("same person", "distance 0.123"), names=("a", "b")):
    left, right = (Side(f"/photos/{name}{number}.jpg", FACE) for name in names)
    return Pair(left, right, lines, colour)


def near(image, colour, tolerance=12):
    """Return where an image, a Pillow one or an array, has about this colour."""
    return (np.abs(np.asarray(image).astype(int) - colour) <= tolerance).all(axis=2)


def test_a_face_fills_its_tile_with_some_surroundings():
    tile = face_tile(portrait(), FACE, 180)
    assert tile.size == (180, 180)
    rows, columns = np.nonzero(near(tile, SKIN))
    # 80 pixels of a view of 144 of them, in the middle.
    assert (rows.min(), rows.max()) == pytest.approx((40, 139), abs=2)
    assert (columns.min(), columns.max()) == pytest.approx((40, 139), abs=2)
    assert near(tile, AROUND).any()


@pytest.mark.parametrize("box", [Box(0, 0, 80, 80), Box(160, 120, 80, 80), Box(200, 150, 80, 80)])
def test_a_face_at_the_edge_fills_the_tile_with_photo(box):
    tile = face_tile(portrait(box=box), box, 120)
    assert near(tile, SKIN).sum() > 120 * 120 // 8
    assert not near(tile, GROUND, 3).any()


def test_a_face_that_is_all_of_the_photo_is_not_cut():
    tile = np.asarray(face_tile(portrait(60, 100, Box(0, 0, 60, 100)), Box(0, 0, 60, 100), 200))
    assert near(tile[:, 42:158], SKIN).all()
    assert near(tile[:, :38], GROUND, 1).all()
    assert near(tile[:, 162:], GROUND, 1).all()


@pytest.mark.parametrize("box", [None, Box(5000, 5000, 10, 10)])
def test_without_a_face_the_whole_photo_is_shown(box):
    tile = face_tile(portrait(240, 120), box, 120)
    assert near(np.asarray(tile)[31:89], AROUND).any(axis=1).all()
    assert near(np.asarray(tile)[:29], GROUND, 1).all()
    assert near(tile, SKIN).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_photos_of_any_size(size):
    assert face_tile(portrait(*size, Box(0, 0, 1, 1)), Box(0, 0, 1, 1), 50).size == (50, 50)


@pytest.mark.parametrize("count", [1, 5, pytest.param(24, marks=pytest.mark.slow)])
def test_every_pair_is_drawn(count):
    sheet = draw_pairs([pair(number, RIGHT) for number in range(count)], read, heading="Pairs")
    # Each face is a square of its colour: two for each pair, all of one size.
    found = near(sheet, SKIN).sum()
    one = near(draw_pairs([pair(0, RIGHT)] * count, read), SKIN).sum() / (2 * count)
    assert found == pytest.approx(2 * count * one, rel=0.01)
    assert near(sheet, RIGHT, 2).sum() > count * 300  # the rule below each


def test_two_faces_stand_side_by_side_at_one_height():
    sheet = draw_pairs([pair()], read)
    rows, columns = np.nonzero(near(sheet, SKIN))
    middle = sheet.width / 2
    left, right = columns[columns < middle], columns[columns > middle]
    assert len(left) == len(right)
    assert left.mean() + right.mean() == pytest.approx(2 * middle, abs=2)
    assert rows.min() > MARGIN + HEADER


def test_the_colour_says_right_or_wrong_and_none_says_nothing():
    right, wrong, neither = (
        draw_pairs([pair(colour=colour)], read, heading="x") for colour in (RIGHT, WRONG, None)
    )
    assert near(right, RIGHT, 2).any()
    assert near(wrong, WRONG, 2).any()
    assert not near(right, WRONG, 2).any()
    assert not near(neither, RIGHT, 2).any()
    assert near(neither, HAIRLINE, 2).any()


def test_words_stand_below_and_nothing_runs_over():
    long = tuple("a very long line of words that no picture holds " * 9 for _ in range(5))
    pairs = [pair(number, lines=long, names=("x" * 250, "日本\n\x1b\udcff")) for number in range(6)]
    sheet = np.asarray(draw_pairs(pairs, read, heading="heading " * 200))
    assert (sheet[:, : MARGIN - 4] == 255).all()
    assert (sheet[:, -MARGIN + 4 :] == 255).all()
    assert (sheet[: MARGIN - 4] == 255).all()
    assert (sheet[-MARGIN + 8 :] == 255).all()
    plain = draw_pairs([pair(lines=())], read)
    assert draw_pairs([pair(lines=("one", "two", "three"))], read).height > plain.height


def test_more_pairs_than_fit_are_counted():
    many = [pair(number) for number in range(MOST_PAIRS + 3)]
    full, over = draw_pairs(many[:MOST_PAIRS], read), draw_pairs(many, read)
    assert over.height > full.height
    assert near(over, SKIN).sum() == near(full, SKIN).sum()
    footer = np.asarray(over)[full.height - MARGIN + 1 :]
    assert (footer != 255).any()
    assert draw_pairs(many[:2], read, others=5).height > draw_pairs(many[:2], read).height
    assert draw_pairs(many[:MOST_PAIRS], read, others=3).tobytes() == over.tobytes()


def test_a_photo_that_is_gone_is_a_tile_of_words():
    sheet = draw_pairs([pair(names=("gone", "b"))], read)
    assert near(sheet, HAIRLINE, 1).sum() > 300 * 300
    _, columns = np.nonzero(near(sheet, SKIN))
    assert columns.min() > sheet.width / 2


def test_photos_are_read_once_each_and_one_after_the_other():
    asked = []

    def noting(path, moment=None):
        asked.append(path)
        return portrait()

    a, b, c = (Side(f"/p/{name}.jpg", FACE) for name in "abc")
    draw_pairs([Pair(a, b), Pair(a, c), Pair(b, c)], noting)
    assert asked == ["/p/a.jpg", "/p/b.jpg", "/p/c.jpg"]
    asked.clear()
    draw_pairs(
        [Pair(Side("/p/a.jpg", FACE, portrait()), b), Pair(a, Side("/p/b.jpg", Box(1, 1, 9, 9)))], noting
    )
    assert asked == ["/p/b.jpg", "/p/b.jpg"]


def test_photos_of_one_name_are_told_apart_by_their_folders():
    same = Pair(Side("/p/a.jpg", FACE), Side("/p/a.jpg", FACE))
    other = Pair(Side("/p/a.jpg", FACE), Side("/quarry/a.jpg", FACE))
    assert draw_pairs([same], read).tobytes() != draw_pairs([other], read).tobytes()


def test_no_pair_at_all():
    assert draw_pairs([], read, heading="Nothing").width > 100


def test_photos_are_read_from_their_files(tmp_path):
    Image.fromarray(portrait()[..., ::-1]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(str(tmp_path / "a.png")), portrait())
    (tmp_path / "text.png").write_text("no picture")
    for path, said in (("gone.png", "No such file"), ("text.png", "not a picture")):
        with pytest.raises(UnreadablePhoto, match=said):
            read_pixels(str(tmp_path / path))
