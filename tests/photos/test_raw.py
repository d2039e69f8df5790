"""RAW photos: the picture in them, or the JPEG beside them, upright; whatever is damaged ends nothing."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA
from support.fakes import without_extras
from support.raw_photos import dng

from facesearch.errors import UnreadablePhoto
from facesearch.faces import UNDATED, Captured
from facesearch.photos import kinds, raw
from facesearch.photos.content import content_of, read_content
from facesearch.photos.decode import decode

TAKEN = "2011:02:03 04:05:06"
TURNS = {1: 0, 3: 2, 6: 1, 8: -1}


@pytest.fixture(scope="module")
def photo():
    return cv2.imread(str(OBAMA))


def unlike(pixels, photo):
    """Return by how many levels of 255 two pictures differ, at one size."""
    small = [
        cv2.resize(one, (91, 113), interpolation=cv2.INTER_AREA).astype(float) for one in (pixels, photo)
    ]
    return np.abs(small[0] - small[1]).mean()


def seen(data):
    """Return why a photo cannot be seen, or an empty text and the picture."""
    try:
        return "", decode(content_of(data).picture)
    except UnreadablePhoto as error:
        return str(error), None


def as_stored(photo, orientation):
    return np.ascontiguousarray(np.rot90(photo, TURNS[orientation]))


@pytest.mark.parametrize("orientation", TURNS)
def test_the_jpeg_inside_is_taken_where_it_is_large_enough(photo, orientation):
    content = content_of(
        dng(as_stored(photo, orientation), orientation=orientation, preview=800, taken=TAKEN)
    )
    picture = decode(content.picture)
    assert (picture.width, picture.height) == (641, 800)
    assert unlike(picture.pixels, photo) < 5
    assert str(Captured.of(content.file.captured)) == "2011-02-03T04:05:06"


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("preview", [0, 160])
def test_otherwise_the_sensor_is_read_at_half_its_size(photo, orientation, preview):
    content = content_of(
        dng(as_stored(photo, orientation), orientation=orientation, preview=preview, taken=TAKEN)
    )
    picture = decode(content.picture)
    assert (picture.width, picture.height) == (455, 568)
    assert unlike(picture.pixels, photo) < 20  # LibRaw chooses how bright it is
    assert unlike(picture.pixels, photo[::-1]) > 40
    assert str(Captured.of(content.file.captured)) == "2011-02-03T04:05:06"


def test_what_is_said_of_a_raw_photo_does_not_make_it_another_one(photo):
    first, second = dng(photo, preview=800), dng(photo, preview=800, taken=TAKEN)
    assert first != second
    one, other = content_of(first).file, content_of(second).file
    assert one.digest == other.digest
    assert one.file_digest != other.file_digest
    assert content_of(dng(photo[:, ::-1].copy(), preview=800)).file.digest != one.digest


def test_ordinary_tiffs_are_none(photo, tmp_path):
    path = tmp_path / "a.tif"
    exif = Image.Exif()
    exif[271] = "Nobody"
    Image.fromarray(photo[..., ::-1]).save(path, exif=exif)
    assert not raw.is_raw(path.read_bytes())
    assert unlike(decode(read_content(str(path)).picture).pixels, photo) < 2


def test_a_tiff_that_looks_like_one_is_read_as_it_is(photo, tmp_path):
    path = tmp_path / "a.tif"
    exif = Image.Exif()
    exif[271] = "Nobody"
    exif[50706] = b"\1\4\0\0"
    Image.fromarray(photo[..., ::-1]).save(path, exif=exif)
    data = path.read_bytes()
    assert raw.is_raw(data)
    assert unlike(decode(content_of(data).picture).pixels, photo) < 2


@pytest.mark.parametrize("part", [0.01, 0.1, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("preview", [0, 800])
def test_a_truncated_one_gives_what_it_has_or_a_sentence(photo, part, preview):
    data = dng(photo, preview=preview)
    said, picture = seen(data[: int(len(data) * part)])
    assert said.endswith(".") or max(picture.width, picture.height) in (568, 800)


@pytest.mark.parametrize(
    "head",
    [
        b"FUJIFILMCCD-RAW ",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
        b"FOVb",
        b"\0\0\0\x18ftypcrx \0\0\0\0",
        b"II*\0\x10\0\0\0CR\2\0",
        b"\0MRM",
    ],
)
def test_of_a_camera_that_is_not_known(head):
    content = content_of(head + bytes(5000))
    assert content.file.digest
    with pytest.raises(UnreadablePhoto, match="RAW photo"):
        decode(content.picture)


def test_one_that_is_all_black():
    said, _ = seen(dng(np.zeros((100, 100, 3), np.uint8)))
    assert said == "It is not a whole RAW photo (all of it is black)."


def test_random_damage_is_refused_or_harmless(photo):
    data = dng(cv2.resize(photo, (90, 110)), preview=60)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(0, 600, 3):
            damaged[at] = rng.integers(256)
        said, picture = seen(bytes(damaged))
        assert said or picture.width


# The JPEG beside it.


@pytest.fixture
def pair(tmp_path, photo):
    """A RAW photo and the JPEG that the camera wrote with it, of another size; the RAW photo's path."""
    (tmp_path / "IMG_1.DNG").write_bytes(dng(photo, preview=800, taken=TAKEN))
    exif = Image.Exif()
    exif[0x0132] = TAKEN
    Image.fromarray(photo[..., ::-1]).resize((455, 568)).save(tmp_path / "IMG_1.JPG", exif=exif)
    return tmp_path / "IMG_1.DNG"


def test_the_jpeg_beside_a_raw_photo_is_its_picture(pair):
    content, jpeg = read_content(str(pair)), read_content(str(pair.with_suffix(".JPG")))
    assert content.file.digest == jpeg.file.digest
    assert content.file.file_digest != jpeg.file.file_digest
    assert content.picture == jpeg.data
    assert content.data == pair.read_bytes()


def test_a_jpeg_of_another_moment_or_form_is_not(pair, photo):
    jpeg = pair.with_suffix(".JPG")
    alone = content_of(pair.read_bytes()).file.digest
    exif = Image.Exif()
    exif[0x0132] = "2012:02:03 04:05:06"
    Image.fromarray(photo[..., ::-1]).save(jpeg, exif=exif)
    assert read_content(str(pair)).file.digest == alone
    Image.fromarray(photo[200:900, :, ::-1]).save(jpeg)
    assert read_content(str(pair)).file.digest == alone
    Image.fromarray(photo[..., ::-1]).save(jpeg)  # it does not say when
    assert read_content(str(pair)).file.digest == alone


def test_one_without_a_date_has_none(photo):
    assert content_of(dng(photo, preview=800)).file.captured == UNDATED
    assert content_of(dng(photo)).file.captured == UNDATED


def test_where_neither_says_when_the_form_decides(pair, photo):
    pair.write_bytes(dng(photo, preview=800))
    alone = content_of(pair.read_bytes()).file.digest
    Image.fromarray(photo[..., ::-1]).save(pair.with_suffix(".JPG"))
    assert read_content(str(pair)).file.digest != alone
    Image.fromarray(photo[200:900, :, ::-1]).save(pair.with_suffix(".JPG"))
    assert read_content(str(pair)).file.digest == alone


def test_a_zone_may_be_said_by_one_of_them_only(pair, photo):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003], exif.get_ifd(0x8769)[0x9011] = TAKEN, "+02:00"
    Image.fromarray(photo[..., ::-1]).save(pair.with_suffix(".JPG"), exif=exif)
    assert read_content(str(pair)).file.digest != content_of(pair.read_bytes()).file.digest


def test_a_jpeg_that_is_not_whole_is_not(pair):
    alone = content_of(pair.read_bytes()).file.digest
    jpeg = pair.with_suffix(".JPG")
    whole = jpeg.read_bytes()
    for trailer in (b"a film, as phones add them", b"\xff\xda\0\x0c", b"\xff\xd9"):
        jpeg.write_bytes(whole + trailer)
        assert read_content(str(pair)).file.digest != alone
    jpeg.write_bytes(whole[: len(whole) // 3])
    assert read_content(str(pair)).file.digest == alone


@pytest.mark.parametrize("data", [b"FUJIFILMCCD-RAW 0201FF393103", b"II*\0\x10\0\0\0CR\2\0"])
def test_a_damaged_one_ends_nothing(ask, tmp_path, data):
    shutil.copy(OBAMA, tmp_path / "b.jpg")
    (tmp_path / "a.raf").write_bytes(data)
    done = ask("index", tmp_path, "--index", tmp_path / "i.npz", "--model", "sface")
    assert done.status == 0
    assert done.err.startswith(f"{tmp_path}/a.raf: ")
    assert "1 indexed" in done.err
    assert "1 unreadable" in done.err


def test_with_another_jpeg_it_is_another_photo(pair, photo):
    before = read_content(str(pair)).file
    jpeg = pair.with_suffix(".JPG")
    with Image.open(jpeg) as image:
        exif = image.getexif()
    Image.fromarray(photo[:, ::-1, ::-1]).save(jpeg, exif=exif)
    after = read_content(str(pair)).file
    assert not set(before.digests) & set(after.digests)
    assert after.captured == before.captured


@pytest.fixture
def library(ask, pair):
    def index(*args):
        done = ask("index", pair.parent, "--index", pair.parent / "i.npz", "--model", "sface", *args)
        assert done.status == 0, done
        return done

    index()
    return index


def found(ask, pair, ref=OBAMA):
    done = ask("query", ref, "--index", pair.parent / "i.npz", "--threshold", "0.3", "--top", 9)
    return sorted(done.names)


def test_both_are_found_and_are_one_photo(ask, pair, library):
    assert found(ask, pair) == ["IMG_1.DNG", "IMG_1.JPG"]
    once = ask("query", OBAMA, "--index", pair.parent / "i.npz", "--unique", "--top", 9)
    assert len(once.names) == 1
    assert (
        "0 new or changed, 2 unchanged"
        in ask("index", pair.parent, "--index", pair.parent / "i.npz", "--dry-run").text
    )


def test_a_raw_photo_is_read_again_when_its_jpeg_changes_or_goes(ask, pair, library, tmp_path):
    jpeg = pair.with_suffix(".JPG")
    with Image.open(jpeg) as image:
        exif = image.getexif()
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "edited.jpg", exif=exif)
    os.replace(tmp_path / "edited.jpg", jpeg)
    done = ask("index", jpeg, "--index", pair.parent / "i.npz", "--json")
    told = json.loads(done.out)
    assert (told["indexed"], told["unchanged"]) == (2, 0)
    assert "changed though" not in library().err
    shutil.copy(CURIE, jpeg)
    library()
    assert found(ask, pair) == ["IMG_1.DNG"]
    assert found(ask, pair, CURIE) == ["IMG_1.JPG"]
    jpeg.unlink()
    assert "changed though" not in library().err
    assert found(ask, pair) == ["IMG_1.DNG"]
    assert found(ask, pair, CURIE) == []


def test_only_some_kinds(ask, pair, library, tmp_path):
    index = tmp_path / "k.npz"
    assert ask("index", pair.parent, "--index", index, "--model", "sface", "--kinds", "photos").status == 0
    assert ask("query", OBAMA, "--index", index, "--top", 9).names == ["IMG_1.JPG"]
    assert ask("index", pair.parent, "--index", index, "--kinds", "raw").status == 0
    assert sorted(ask("query", OBAMA, "--index", index, "--top", 9).names) == ["IMG_1.DNG", "IMG_1.JPG"]
    wrong = ask("index", pair.parent, "--index", index, "--kinds", "photos,films")
    assert wrong.status == 2
    assert "'films' is none of photos, videos, raw" in wrong.err


def test_without_the_extra_they_are_counted_and_how_to_read_them_is_said(ask, pair):
    with without_extras():
        done = ask("index", pair.parent, "--index", pair.parent / "n.npz", "--model", "sface")
        assert "Passed over: 1 DNG" in done.err
        assert kinds.RAW_HINT in done.err
        done = ask("query", pair, "--index", pair.parent / "n.npz")
        assert done.status == 2
        assert f"It is a RAW photo. {kinds.RAW_HINT}" in " ".join(done.err.split())


def test_the_faces_of_a_raw_photo_are_shown(ask, pair, library):
    sheet = pair.parent / "sheet.png"
    done = ask(
        "query", OBAMA, "--index", pair.parent / "i.npz", "--sheet", sheet, "--html", pair.parent / "a.html"
    )
    assert done.status == 0
    assert "data:image/jpeg" in (pair.parent / "a.html").read_text()
    faces = ask("faces", pair, "--index", pair.parent / "i.npz")
    assert len(faces.rows) == 1


def test_what_a_directory_of_photos_holds_besides(ask, tmp_path, photo):
    """A group photograph as a RAW alone: faces far apart in it are found at their places."""
    group = cv2.imread(str(LIBRARY / "solvay_1927.jpg"))
    (tmp_path / "g.dng").write_bytes(dng(group, preview=1400))
    done = ask("index", tmp_path, "--index", tmp_path / "i.npz", "--model", "sface")
    assert done.status == 0
    assert len(ask("faces", tmp_path / "g.dng", "--index", tmp_path / "i.npz").rows) >= 27
