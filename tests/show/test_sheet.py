import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesearch.errors import FacesearchError, StorageError, UnreadablePhoto
from facesearch.faces import Box, Match
from facesearch.show.drawing import ACCENT, HAIRLINE
from facesearch.show.sheet import (
    CAPTION,
    HEADER,
    MARGIN,
    MAX_PIXELS,
    MAX_SIDE,
    Row,
    draw_sheet,
    lay_out,
    save_sheet,
    sheet_format,
)

FACE = Box(60, 60, 80, 80)
PHOTO = np.full((200, 200, 3), 90, np.uint8)


def read(shown):
    if "gone" in shown.path:
        raise UnreadablePhoto(f"{shown.path} cannot be read.")
    return PHOTO


def match(rank, path="/photos/a.jpg", probability=None):
    return Match(rank, path, 1, FACE, 0.1 * rank, probability)


def row(count, reference="/refs/ref.jpg"):
    return Row(reference, PHOTO, FACE, [match(n + 1, f"/photos/{n}.jpg") for n in range(count)])


def is_accent(sheet, x, y):
    """Whether a line in the accent colour passes within two pixels of a place."""
    near = np.asarray(sheet.crop((x - 2, y - 2, x + 3, y + 3)))
    return (near == ACCENT).all(axis=2).any()


def assert_boxed(sheet, left, top, side):
    """The face takes 60 to 140 of 200 pixels of the photo, and so of the tile."""
    low, middle, high = side * 60 // 200, side // 2, side * 140 // 200
    for x, y in ((low, middle), (high, middle), (middle, low), (middle, high)):
        assert is_accent(sheet, left + x, top + y)
    assert sheet.getpixel((left + middle, top + middle)) == (90, 90, 90)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 30, 200])
def test_every_match_is_drawn_and_boxed(count):
    sheet = draw_sheet([row(count)], read, metric="cosine")
    layout = lay_out([count])
    top = MARGIN + HEADER
    assert sheet.size == (layout.width, layout.height)
    assert layout.shown == (count,)
    assert_boxed(sheet, MARGIN, top, layout.reference)
    for place in range(count):
        assert_boxed(sheet, *layout.corner(place, top), layout.tile)


def test_there_are_words_below_each_match():
    layout = lay_out([4])
    sheet = draw_sheet([row(4)], read, metric="cosine")
    for place in range(4):
        x, y = layout.corner(place, MARGIN + HEADER)
        y += layout.tile
        caption = np.asarray(sheet.crop((x, y, x + layout.tile, y + CAPTION)))
        assert (caption != 255).any(axis=2).sum() > 100


def test_references_lie_below_each_other_and_one_has_no_match():
    rows = [row(4), row(0), row(2)]
    layout = lay_out([4, 0, 2])
    sheet = draw_sheet(rows, read, metric="cosine")
    step = layout.cell + (sheet.height - MARGIN - HEADER - 40 - 3 * layout.cell) // 2
    for number, matches in enumerate((4, 0, 2)):
        top = MARGIN + HEADER + number * step
        assert_boxed(sheet, MARGIN, top, layout.reference)
        for place in range(matches):
            assert_boxed(sheet, *layout.corner(place, top), layout.tile)
    x, y = layout.corner(0, MARGIN + HEADER + step)
    assert sheet.getpixel((x + 5, y + 5)) == HAIRLINE
    assert sheet.getpixel((layout.corner(1, y)[0] + 5, y + 5)) == (255, 255, 255)


def test_no_reference_at_all():
    assert draw_sheet([], read, metric="cosine").width > 0


def test_a_photo_that_is_gone_is_a_grey_tile():
    answer = Row("ref.jpg", PHOTO, FACE, [match(1, "/gone.jpg"), match(2)])
    sheet = draw_sheet([answer], read, metric="cosine")
    layout = lay_out([2])
    x, y = layout.corner(0, MARGIN + HEADER)
    tile = np.asarray(sheet.crop((x, y, x + layout.tile, y + layout.tile)))
    assert tuple(tile[0, 0]) == HAIRLINE
    assert (tile != HAIRLINE).any()
    assert not (tile == ACCENT).all(axis=2).any()
    assert_boxed(sheet, *layout.corner(1, MARGIN + HEADER), layout.tile)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 255,
        "new\nline\t\x1b[31m",
        "bytes\udcff\udc80.jpg",
        "日本の写真.jpg",
        "Ωmega – é.jpg",
        " ",
        "%s{}\\",
        "",
    ],
)
def test_odd_names(name):
    answer = Row(f"/refs/{name}", PHOTO, FACE, [match(1, f"/photos/{name}"), match(2, f"/other/{name}", 0.5)])
    sheet = draw_sheet([answer], read, metric="euclidean")
    # Nothing is written beyond the columns.
    assert (np.asarray(sheet)[:, -MARGIN + 4 :] == 255).all()
    assert (np.asarray(sheet)[:, : MARGIN - 4] == 255).all()


def test_two_photos_of_one_name_are_told_apart():
    same = [match(1, "/photos/anna/1.jpg"), match(2, "/photos/anna/1.jpg")]
    other = [match(1, "/photos/anna/1.jpg"), match(2, "/photos/bert/1.jpg")]
    first, second = (
        draw_sheet([Row("ref.jpg", PHOTO, FACE, matches)], read, metric="cosine") for matches in (same, other)
    )
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize(
    ("probability", "twin"),
    [(0.9999, 0.995), (0.0001, 0.002), (0.501, 0.499)],
    ids=["sure", "unlikely", "half"],
)
def test_probabilities_are_rounded_and_never_certain(probability, twin):
    sheets = [
        draw_sheet([Row("r", PHOTO, FACE, [match(1, probability=p)])], read, metric="cosine")
        for p in (probability, twin, None)
    ]
    assert sheets[0].tobytes() == sheets[1].tobytes() != sheets[2].tobytes()


@pytest.mark.parametrize(
    ("counts", "least"),
    [
        ([100_000], 900),
        ([4] * 5000, 400),
        ([500] * 300, 800),
        ([0] * 9999, 0),
        ([1] * 3000 + [9999], 40),
        ([], 0),
    ],
    ids=["one", "many", "many long", "none", "short and long", "nothing"],
)
def test_a_sheet_never_grows_beyond_its_bounds(counts, least):
    began = time.perf_counter()
    layout = lay_out(counts)
    assert time.perf_counter() - began < 1
    assert layout.width * layout.height <= MAX_PIXELS
    assert max(layout.width, layout.height) <= MAX_SIDE
    assert all(shown <= count for shown, count in zip(layout.shown, counts, strict=False))
    assert sum(layout.shown) >= least


@pytest.mark.slow
def test_what_is_not_drawn_is_counted_and_not_read():
    seen = []

    def count_reads(shown):
        seen.append(shown.path)
        return PHOTO

    answer = row(3000)
    sheet = draw_sheet([answer], count_reads, metric="cosine")
    layout = lay_out([3000])
    assert len(seen) == layout.shown[0] < 3000
    footer = np.asarray(sheet)[-30:, MARGIN : MARGIN + 300]
    assert (footer != 255).any()
    assert (np.asarray(draw_sheet([row(30)], read, metric="cosine"))[-30:] == 255).all()


@pytest.fixture
def sheet():
    return draw_sheet([row(2)], read, metric="cosine")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "JPEG"),
        ("a.JPEG", "JPEG"),
        ("a b.png", "PNG"),
        ("ä.webp", "WEBP"),
        ("x" * 251 + ".jpg", "JPEG"),
    ],
)
def test_formats(tmp_path, sheet, name, expected):
    save_sheet(sheet, tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    with Image.open(tmp_path / name) as written:
        assert (written.format, written.size) == (expected, sheet.size)


@pytest.mark.parametrize("name", ["a.gif", "a", ".jpg", "a.jpg.txt"])
def test_an_unknown_suffix_names_the_next_step(tmp_path, sheet, name):
    with pytest.raises(FacesearchError, match=r"\.jpg, \.png or \.webp"):
        save_sheet(sheet, tmp_path / name)
    with pytest.raises(FacesearchError):
        sheet_format(Path(name))
    assert not os.listdir(tmp_path)


def test_a_sheet_too_long_for_webp_names_the_next_step(tmp_path):
    with pytest.raises(FacesearchError, match=r"\.jpg or \.png"):
        save_sheet(Image.new("RGB", (10, 16_384)), tmp_path / "a.webp")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_leaves_the_old_file(tmp_path, sheet, monkeypatch, code):
    destination = tmp_path / "a.jpg"
    destination.write_bytes(b"old")

    def fail(self, file, **settings):
        file.write(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(StorageError, match="full" if code == errno.ENOSPC else "cannot be written"):
        save_sheet(sheet, destination)
    assert destination.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_a_folder_that_is_not_there_and_a_folder_in_the_way(tmp_path, sheet):
    with pytest.raises(StorageError, match="folder that is there"):
        save_sheet(sheet, tmp_path / "nowhere" / "a.jpg")
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(StorageError):
        save_sheet(sheet, tmp_path / "a.jpg")
    assert os.listdir(tmp_path) == ["a.jpg"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_device(tmp_path, sheet, monkeypatch):
    def fail(path, *_):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr("facesearch.files.os.fsync", fail)
    with pytest.raises(StorageError, match="full"):
        save_sheet(sheet, tmp_path / "a.png")


def test_a_new_file_has_the_usual_rights(tmp_path, sheet):
    (tmp_path / "plain").touch()
    save_sheet(sheet, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
