"""JPEG XL, JPEG 2000 and PSD: as other photos, upright, known by their pictures, and never too large."""

import io
import struct
import warnings

import numpy as np
import pillow_jxl  # noqa: F401 (Pillow writes JPEG XL with it)
import pytest
from PIL import Image
from support.command import OBAMA
from support.fakes import without_extras

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Captured
from facesearch.photos import kinds
from facesearch.photos.content import content_of, picture_digest
from facesearch.photos.decode import MAX_PIXELS, _size_of_jxl, decode

ORIENTATION, DESCRIPTION, DATE = 0x112, 0x10E, 0x132


def drawn(width=80, height=64, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (8, 10, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def saved(image, kind, **options):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(file, kind, **options)
    return file.getvalue()


def exif(**tags):
    made = Image.Exif()
    for name, value in tags.items():
        made[globals()[name]] = value
    return made.tobytes()


def psd(image, resources=b"", layers=b"", depth=8):
    """Return a PSD of a picture: what programs write is its composite, after their own data."""
    pixels = np.asarray(image).transpose(2, 0, 1)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, image.height, image.width, depth, 3)
    body = struct.pack(">I", 0) + struct.pack(">I", len(resources)) + resources
    return head + body + struct.pack(">I", len(layers)) + layers + struct.pack(">H", 0) + pixels.tobytes()


def resource(number, data):
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2)


def unlike(data, image):
    pixels = decode(data).pixels[..., ::-1].astype(int)
    assert pixels.shape == np.asarray(image).shape
    return np.abs(pixels - np.asarray(image)).mean()


@pytest.mark.parametrize(
    "make",
    [
        lambda image: saved(image, "JXL", lossless=True),
        lambda image: saved(image, "JXL", lossless=True, use_container=True),
        lambda image: saved(image, "JPEG2000", irreversible=False),
        lambda image: saved(image, "JPEG2000", irreversible=False, no_jp2=True),
        psd,
    ],
    ids=["JXL", "JXL in boxes", "JP2", "J2K", "PSD"],
)
def test_they_are_read(make):
    assert unlike(make(drawn()), drawn()) == 0
    one, other = content_of(make(drawn())), content_of(make(drawn(seed=1)))
    assert one.file.digest != other.file.digest
    assert one.file.digest == content_of(make(drawn())).file.digest
    assert max(decode(make(drawn(800, 600)), side=200).pixels.shape) in (800, 200)


def test_a_jpeg_xl_is_turned_by_its_own_head_alone():
    """Its EXIF may say how the photo was held; the decoder has seen to that."""
    data = saved(drawn(), "JXL", lossless=True, exif=exif(ORIENTATION=6))
    assert unlike(data, drawn()) == 0


def test_a_jpeg_that_was_made_a_jpeg_xl_is_turned_as_the_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    drawn().save(path, exif=exif(ORIENTATION=6, DATE="2011:02:03 04:05:06"), quality=95)
    with Image.open(path) as image:
        data = saved(image, "JXL", lossless_jpeg=True)
    np.testing.assert_array_equal(decode(data).pixels.shape, decode(path.read_bytes()).pixels.shape)
    assert np.abs(decode(data).pixels.astype(int) - decode(path.read_bytes()).pixels).mean() < 2
    assert content_of(data).file.captured == content_of(path.read_bytes()).file.captured


def test_metadata_do_not_change_the_picture():
    one, other = (saved(drawn(), "JXL", exif=exif(DESCRIPTION=text)) for text in ("one", "another"))
    assert one != other
    assert picture_digest(one) == picture_digest(other)
    one, other = psd(drawn(), resource(1060, b"<x/>")), psd(drawn(), resource(1060, b"<xmp/>"))
    assert one != other
    assert picture_digest(one) == picture_digest(other) == picture_digest(psd(drawn()))


def test_a_psd_is_turned_as_other_photos():
    said = exif(ORIENTATION=6, DATE="2011:02:03 04:05:06").removeprefix(b"Exif\0\0")
    data = psd(drawn(), resource(1058, said))
    assert decode(data).pixels.shape == (80, 64, 3)
    assert str(Captured.of(content_of(data).file.captured)) == "2011-02-03T04:05:06"
    assert picture_digest(data) != picture_digest(psd(drawn()))


@pytest.mark.parametrize(
    "size", [(8, 8), (80, 64), (1000, 3), (3, 1000), (4000, 3000), (256, 256), (1920, 1080)]
)
@pytest.mark.parametrize("boxes", [False, True])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size, boxes):
    data = saved(drawn(*size), "JXL", use_container=boxes, effort=1)
    assert _size_of_jxl(data) == size


def test_what_claims_too_much_is_refused_at_once():
    head = int("1" * 18 + "10" + "0", 2) | int("1" * 18 + "10", 2) << 24
    with pytest.raises(UnreadablePhoto, match=f"more than {MAX_PIXELS}"):
        decode(b"\xff\x0a" + head.to_bytes(16, "little"))
    with pytest.raises(UnreadablePhoto):
        decode(struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 30000, 30000, 8, 3) + bytes(40))


@pytest.mark.parametrize("kind", ["JXL", "JPEG2000"])
@pytest.mark.parametrize("part", [0.02, 0.1, 0.5])
def test_a_truncated_one_is_refused_or_taken_as_far_as_it_goes(kind, part):
    data = saved(Image.open(OBAMA), kind)
    try:
        shape = decode(data[: int(len(data) * part)]).pixels.shape
    except UnreadablePhoto as error:
        shape, said = None, str(error)
    assert shape == (1137, 910, 3) or said.endswith(".")


def test_without_the_extra_jpeg_xl_is_counted_and_how_to_read_it_is_said(ask, tmp_path):
    (tmp_path / "a.jxl").write_bytes(saved(drawn(), "JXL"))
    with without_extras():
        done = ask("index", tmp_path, "--index", tmp_path / "i.npz", "--model", "sface")
    assert "Passed over: 1 JXL" in done.err
    assert kinds.JXL_HINT in done.err


@pytest.mark.slow
def test_the_same_face_is_found_in_every_format(ask, tmp_path):
    with Image.open(OBAMA) as image:
        for name, kind in (("a.jxl", "JXL"), ("b.jp2", "JPEG2000"), ("c.j2k", "JPEG2000")):
            (tmp_path / name).write_bytes(saved(image, kind))
        (tmp_path / "d.psd").write_bytes(psd(image))
    assert ask("index", tmp_path, "--index", tmp_path / "i.npz", "--model", "sface").status == 0
    done = ask("query", OBAMA, "--index", tmp_path / "i.npz", "--threshold", "0.1", "--top", 9)
    assert sorted(done.names) == ["a.jxl", "b.jp2", "c.j2k", "d.psd"]
