"""Small pictures of photos and faces: what they show, when they are made again, how much space they take."""

import os
import stat
import threading

import cv2
import numpy as np
import pytest
from support.fakes import BLUE, GREEN, RED, photo, picture

from facesearch.errors import StorageError, UnreadablePhoto
from facesearch.faces import Box
from facesearch.photos.content import fingerprint
from facesearch.show.thumbnails import Thumbnails, default_folder


def pixels(jpeg):
    assert jpeg[:2] == b"\xff\xd8"
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def near(pixel, colour):
    return np.abs(pixel.astype(int) - colour).max() < 30


def digest(path):
    return fingerprint(path.read_bytes())


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cache(tmp_path):
    return Thumbnails(tmp_path / "cache" / "thumbnails")


@pytest.fixture
def red(tmp_path):
    """A photo of 800x600 pixels with a face of 100 in it."""
    return photo(tmp_path / "red.png", (500, 200, 100, RED), width=800, height=600)


def jpeg_photo(path, width, height):
    cv2.imwrite(str(path), picture((width // 2, height // 2, height // 4, GREEN), width=width, height=height))
    return path


def test_the_whole_photo_fits_and_is_never_enlarged(cache, red):
    small = pixels(cache.photo(str(red), digest(red), 200))
    assert small.shape == (150, 200, 3)
    assert near(small[62, 137], RED)
    assert not near(small[20, 20], RED)
    assert pixels(cache.photo(str(red), digest(red), 2000)).shape == (600, 800, 3)


@pytest.mark.parametrize("width", [640, 1700, 6000])
def test_a_large_jpeg_shows_the_same_at_each_scale(cache, tmp_path, width):
    path = jpeg_photo(tmp_path / "large.jpg", width, width // 2)
    assert pixels(cache.photo(str(path), digest(path), 160)).shape == (80, 160, 3)
    box = Box(width // 2, width // 4, width // 8, width // 8)
    face = pixels(cache.face(str(path), digest(path), box, 96))
    assert face.shape == (96, 96, 3)
    inside, edge = face[48, 48], face[4, 4]
    assert near(inside, GREEN)
    assert not near(edge, GREEN)


def test_a_face_has_a_quarter_of_it_on_each_side(cache, red):
    face = pixels(cache.face(str(red), digest(red), Box(500, 200, 100, 100), 150))
    for place, there in [(15, False), (35, True), (115, True), (135, False)]:
        assert near(face[75, place], RED) == there
        assert near(face[place, 75], RED) == there


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 40, 40),
        Box(780, 580, 40, 60),
        Box(0, 0, 800, 600),
        Box(5000, 5000, 10, 10),
        Box(-9, -9, 3, 3),
        Box(0, 0, 0, 0),
    ],
)
def test_a_face_at_the_edge_or_outside_is_still_a_square(cache, red, box):
    assert pixels(cache.face(str(red), digest(red), box, 64)).shape == (64, 64, 3)


def test_a_photo_comes_upright(cache, tmp_path):
    from PIL import Image

    image = Image.new("RGB", (400, 200))
    image.paste((250, 20, 20), (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    shown = pixels(cache.photo(str(tmp_path / "a.jpg"), digest(tmp_path / "a.jpg"), 100))
    assert shown.shape == (100, 50, 3)
    assert near(shown[20, 25], RED)


def test_a_cached_picture_is_returned_without_opening_the_photo(cache, red, monkeypatch):
    before = cache.photo(str(red), digest(red), 100)
    known = digest(red)
    monkeypatch.setattr("facesearch.show.thumbnails.picture_at", None)
    assert cache.photo(str(red), known, 100) == before
    assert Thumbnails(cache.folder).photo(str(red), known, 100) == before


def test_files_are_readable_by_the_user_alone_and_in_shards(cache, red):
    cache.photo(str(red), digest(red), 100)
    cache.face(str(red), digest(red), Box(500, 200, 100, 100), 64)
    kept = files(cache.folder)
    assert len(kept) == 2
    for path in kept:
        assert path.parent == cache.folder / digest(red).hex()[:2]
        assert path.name.startswith(digest(red).hex())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_photo_that_is_gone_or_changed_is_not_shown_any_more(cache, red):
    known = digest(red)
    cache.photo(str(red), known, 100)
    photo(red, (500, 200, 100, BLUE), width=800, height=600)
    for ask in (
        lambda: cache.photo(str(red), known, 100),
        lambda: cache.face(str(red), known, Box(1, 1, 9, 9), 9),
    ):
        with pytest.raises(UnreadablePhoto, match="has changed since"):
            ask()
    red.unlink()
    with pytest.raises(UnreadablePhoto, match="cannot be read: No such file"):
        cache.photo(str(red), known, 100)
    red.mkdir()
    with pytest.raises(UnreadablePhoto, match="not a file"):
        cache.photo(str(red), known, 100)


def test_a_file_that_is_not_a_picture_is_unreadable(cache, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadablePhoto):
        cache.photo(str(tmp_path / "a.jpg"), digest(tmp_path / "a.jpg"), 100)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadablePhoto, match="not a file"):
        cache.photo(str(tmp_path / "pipe"), bytes(16), 100)


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8 half", b"x" * 5000])
def test_a_damaged_file_is_made_again(cache, red, damage):
    before = cache.photo(str(red), digest(red), 100)
    (kept,) = files(cache.folder)
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert cache.photo(str(red), digest(red), 100) == before
    assert kept.read_bytes() == whole
    kept.write_bytes(whole[:100] + b"?" + whole[101:])
    assert cache.photo(str(red), digest(red), 100) == before
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, red):
    (tmp_path / "file").write_text("mine")
    assert pixels(Thumbnails(tmp_path / "file").photo(str(red), digest(red), 100)).shape == (75, 100, 3)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_leaves_nothing(cache, red, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    assert cache.photo(str(red), digest(red), 100)
    assert files(cache.folder) == []


def drawn(tmp_path, count):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    return paths


def test_the_least_recently_used_are_removed(tmp_path):
    paths = drawn(tmp_path, 20)
    folder = tmp_path / "cache"
    one = len(Thumbnails(tmp_path / "other").photo(str(paths[0]), digest(paths[0]), 64))
    cache = Thumbnails(folder, limit=10 * one)
    names = {}
    for age, path in enumerate(paths):
        cache.photo(str(path), digest(path), 64)
        names[path] = next(file for file in files(folder) if file.name.startswith(digest(path).hex()))
        os.utime(names[path], (1000 + age, 1000 + age))
        if age == 8:
            cache.photo(str(paths[0]), digest(paths[0]), 64)  # used just now
        assert sum(file.stat().st_size for file in files(folder)) <= 10 * one
    assert names[paths[0]].exists()
    assert not names[paths[1]].exists()
    assert names[paths[-1]].exists()
    assert len(files(folder)) >= 7


def test_the_folders_are_read_only_if_there_is_too_much(tmp_path, monkeypatch):
    cache = Thumbnails(tmp_path / "cache")
    listed = []
    real = os.scandir
    monkeypatch.setattr("os.scandir", lambda folder: (listed.append(folder), real(folder))[1])
    for path in drawn(tmp_path, 12):
        cache.photo(str(path), digest(path), 64)
    assert listed.count(cache.folder) == 1


def test_forget_removes_all_pictures_of_a_content_and_no_others(cache, tmp_path):
    first, second = drawn(tmp_path, 2)
    for path in (first, second):
        cache.photo(str(path), digest(path), 64)
        cache.face(str(path), digest(path), Box(1, 1, 20, 20), 32)
    assert cache.forget([digest(first), bytes(16)]) == 2
    assert {file.name[:32] for file in files(cache.folder)} == {digest(second).hex()}
    assert cache.forget([digest(first)]) == 0
    assert Thumbnails(tmp_path / "nowhere").forget([digest(first)]) == 0


def test_a_picture_that_cannot_be_removed_is_an_error(cache, red, monkeypatch):
    cache.photo(str(red), digest(red), 64)

    def fail(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("facesearch.show.thumbnails.os.unlink", fail)
    with pytest.raises(StorageError):
        cache.forget([digest(red)])


def test_many_threads_and_two_caches_of_one_folder(tmp_path):
    paths = drawn(tmp_path, 6)
    caches = [Thumbnails(tmp_path / "cache", limit=40_000) for _ in range(2)]
    wrong = []

    def work(number):
        for turn in range(30):
            path = paths[(number + turn) % len(paths)]
            try:
                assert pixels(caches[number % 2].photo(str(path), digest(path), 64)).shape == (64, 64, 3)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_default_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "facesearch" / "thumbnails"
    assert Thumbnails().folder == default_folder()
