"""The frames of films: which are looked at, and that they are upright; what is damaged ends nothing."""

import os
import shutil
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from support.command import OBAMA
from support.fakes import without_extras
from support.films import frames_of, write_film

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Captured, FileState, Moment
from facesearch.photos import clips, kinds
from facesearch.photos.clips import PART, Clip, Part, frames, picture_at, read_clip

SIZE = (320, 180)


def numbered(seconds, fps=10, size=SIZE):
    """Yield frames, each of which tells its second by its brightness on the left, and noise on the right."""
    rng = np.random.default_rng(0)
    for number in range(round(seconds * fps)):
        frame = np.full((size[1], size[0], 3), 40 + 20 * (number // fps % 10), np.uint8)
        frame[:, size[0] // 2 :] = cv2.resize(
            rng.integers(0, 255, (6, 6, 3), np.uint8), (size[0] // 2, size[1])
        )
        yield frame


def looked_at(path, rate=1.0):
    return [frame for part in read_clip(str(path)).parts(str(path), rate) for frame in frames(part)]


def seen(path):
    """Return why a film cannot be read, or an empty text and its frames."""
    try:
        return "", looked_at(path)
    except UnreadablePhoto as error:
        return str(error), None


def seconds_of(found):
    """Return which seconds frames tell of themselves."""
    levels = [frame.picture().pixels[:, : SIZE[0] // 2 - 8].mean() for frame in found]
    return [round((level - 40) / 20) for level in levels]


@pytest.mark.parametrize("keys", [1.0, 0.5, 3.0, 1000.0])
def test_a_frame_a_second_is_looked_at_wherever_the_key_frames_are(tmp_path, keys):
    path = write_film(tmp_path / "a.mp4", numbered(8), fps=10, keys=keys)
    found = looked_at(path)
    assert [frame.moment for frame in found] == pytest.approx(list(range(0, 8000, 1000)), abs=110)
    assert seconds_of(found) == list(range(8))


def test_up_to_so_many_a_second(tmp_path):
    path = write_film(tmp_path / "a.mp4", numbered(4), fps=10, keys=1000.0)
    assert len(looked_at(path, 2.0)) == 8
    assert len(looked_at(path, 0.5)) == 2
    dense = write_film(tmp_path / "b.mp4", numbered(4), fps=10, keys=0.1)
    assert len(looked_at(dense, 2.0)) == 8


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.mov", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"),
     ("a.mts", "libx264"), ("a.mp4", "libx265"), ("b.avi", "mjpeg"), ("a.mp4", "libsvtav1"),
     ("a.wmv", "wmv2"), ("a.mpg", "mpeg2video")],
)  # fmt: skip
def test_containers_and_codecs(tmp_path, name, codec):
    fps = 25 if codec == "mpeg2video" else 10
    path = write_film(tmp_path / name, numbered(3, fps), fps=fps, codec=codec)
    found = looked_at(path)
    assert [frame.moment for frame in found] == pytest.approx([0, 1000, 2000], abs=120)
    assert seconds_of(found) == [0, 1, 2]


def test_frames_that_come_at_any_time(tmp_path):
    """The frames of a phone's film come when there is light."""
    path = write_film(
        tmp_path / "a.mp4", numbered(4), fps=10, keys=1000.0, rate=lambda number: 3 * number * number
    )
    moments = [frame.moment for frame in looked_at(path)]
    assert moments[0] == 0
    assert all(later - sooner >= 999 for sooner, later in pairwise(moments))
    assert moments[-1] == pytest.approx(3 * 39 * 39, abs=1100)


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_frames_are_upright(tmp_path, name, turn):
    frame = np.zeros((180, 320, 3), np.uint8)
    frame[:90, :160] = (0, 0, 255)  # red in the upper left corner
    path = write_film(tmp_path / name, [frame] * 5, fps=10, turn=turn)
    (shown, *_) = looked_at(path)
    pixels = shown.picture().pixels
    wanted = np.rot90(frame, turn // 90)
    assert (shown.width, shown.height) == wanted.shape[1::-1]
    assert np.abs(pixels.astype(int) - wanted).mean() < 12


def test_a_smaller_picture_has_the_same_scale(tmp_path):
    path = write_film(tmp_path / "a.mp4", numbered(1), fps=10)
    (frame, *_) = looked_at(path)
    picture = frame.picture(160)
    assert picture.pixels.shape == (90, 160, 3)
    assert (picture.width, picture.height, picture.scale) == (320, 180, 2.0)


def test_a_cut_is_looked_at_at_once(tmp_path):
    dark, bright = (np.full((180, 320, 3), level, np.uint8) for level in (40, 220))
    path = write_film(tmp_path / "a.mp4", [dark] * 14 + [bright] * 16, fps=10, keys=1000.0)
    cuts = [frame.moment for frame in looked_at(path) if frame.cut]
    assert cuts == [1400]


def test_frames_that_are_alike_are_told(tmp_path):
    still = np.full((180, 320, 3), 90, np.uint8)
    path = write_film(tmp_path / "a.mp4", [still] * 30, fps=10, keys=1000.0)
    assert [frame.alike for frame in looked_at(path)] == [False, True, True]


def test_parts_cover_a_clip_once(tmp_path):
    path = write_film(tmp_path / "a.mp4", numbered(PART / 1000 + 6, 4), fps=4, keys=5.0)
    parts = read_clip(str(path)).parts(str(path), 1.0)
    assert [part.start for part in parts] == [0, PART]
    moments = [[frame.moment for frame in frames(part)] for part in parts]
    assert max(moments[0]) < PART <= min(moments[1])
    together = [*moments[0], *moments[1]]
    assert together == pytest.approx([1000 * at for at in range(len(together))], abs=260)
    assert len(together) == PART // 1000 + 6


def test_a_file_that_claims_to_last_for_years_has_no_more_parts_than_it_can_hold():
    hours, state = 3_600_000, FileState(60_000, 1)
    parts = Clip(state, 50 * 365 * 24 * hours).parts("a.mkv")
    assert len(parts) <= 60_000 * 20 // PART + 1
    assert parts[-1].stop > 50 * 365 * 24 * hours
    whole = Clip(FileState(10**9, 1), 10 * hours).parts("long.mp4")
    assert len(whole) == 10 * hours // PART


def test_what_is_known_of_a_clip(tmp_path):
    path = write_film(tmp_path / "a.mp4", numbered(2), fps=10, said={"creation_time": "2019-07-04T18:30:00Z"})
    clip = read_clip(str(path))
    assert clip.duration == pytest.approx(2000, abs=110)
    assert str(Captured.of(clip.file.captured)) == "2019-07-04T18:30:00+00:00"
    assert clip.file.size == path.stat().st_size
    tagged = write_film(
        tmp_path / "b.mp4", numbered(2), fps=10, said={"title": "Something longer than before"}
    )
    other = write_film(tmp_path / "c.mp4", numbered(3), fps=10)
    one, two, three = (read_clip(str(film)).file for film in (path, tagged, other))
    assert one.digest == two.digest
    assert one.file_digest != two.file_digest
    assert three.digest != one.digest


def test_the_picture_at_a_moment(tmp_path):
    path = write_film(tmp_path / "a.mp4", numbered(6), fps=10, keys=4.0)
    for moment in (0, 2500, 5000):
        file, picture = picture_at(str(path), Moment(moment, moment, moment), side=320)
        assert round((picture.pixels[:, :150].mean() - 40) / 20) == moment // 1000
        assert file.digest == read_clip(str(path)).file.digest
    with pytest.raises(UnreadablePhoto, match="shows nothing at this moment"):
        picture_at(str(path), Moment(90_000, 90_000, 90_000))
    assert picture_at(str(OBAMA), None, side=200)[1].width == 910


# What is damaged, or no film.


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("films") / "a.mkv", numbered(8), fps=10, keys=2.0)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.2, 0.5, 0.9])
def test_a_truncated_one_gives_what_it_has(film, tmp_path, part):
    data = film.read_bytes()
    path = tmp_path / "a.mkv"
    path.write_bytes(data[: int(len(data) * part)])
    said, found = seen(path)
    assert (said and part < 0.1) or len(found) >= int(8 * part) - 2


def test_a_damaged_middle_is_passed_over(film, tmp_path):
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path = tmp_path / "a.mkv"
    path.write_bytes(data)
    seconds = seconds_of(looked_at(path))
    assert {0, 1, 7} <= set(seconds)


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "It is empty."),
        (lambda path: path.write_bytes(b"hello" * 100), "It is not a film that can be read"),
        (lambda path: path.write_bytes(bytes(5000)), "It is not a film that can be read"),
        (lambda path: shutil.copy(OBAMA, path), "It is not a film that can be read"),
        (
            lambda path: path.write_text("ffconcat version 1.0\nfile /etc/passwd\n"),
            "It is not a film that can be",
        ),
        (
            lambda path: path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\nhttp://127.0.0.1:9/x\n"),
            "It is not a film",
        ),
        (audio_only, "It is a film without pictures."),
        (lambda path: os.mkfifo(path), "It is not an ordinary file."),
    ],
    ids=["empty", "text", "zeros", "photo", "list", "address", "audio", "pipe"],
)
def test_what_is_no_film(tmp_path, make, said):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(UnreadablePhoto) as caught:
        read_clip(str(path))
    assert str(caught.value).startswith(said)


def test_random_damage_is_refused_or_harmless(film, tmp_path):
    data = film.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "a.mkv"
    for _ in range(25):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 20):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        said, found = seen(path)
        assert said.endswith(".") or isinstance(found, list)


def test_a_film_that_takes_too_long(film, monkeypatch):
    monkeypatch.setattr(clips, "_PATIENCE", -1.0)
    monkeypatch.setattr(clips, "_SLOWEST", 0.0)
    with pytest.raises(UnreadablePhoto, match="takes too long"):
        list(frames(Part(str(film), 0, PART, 1.0)))


def test_without_the_extra_films_are_counted_and_how_to_read_them_is_said(ask, film, tmp_path):
    shutil.copy(film, tmp_path / "a.mp4")
    with without_extras():
        done = ask("index", tmp_path, "--index", tmp_path / "i.npz", "--model", "sface")
        assert "Passed over: 1 MP4" in done.err
        assert kinds.VIDEO_HINT in done.err
        done = ask("query", tmp_path / "a.mp4", "--index", tmp_path / "i.npz", "--model", "sface")
        assert done.status == 2


def test_frames_of_films_can_be_told(tmp_path):
    """So that the tests above can fail."""
    assert len({frame.tobytes() for frame in frames_of([], 1)}) == 15
