"""The digest that tells a picture, whatever metadata are in the file."""

import io
import os
import struct

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.fakes import coloured, rated

from facesearch.photos import content
from facesearch.photos.content import picture_digest, read_content

pillow_heif.register_heif_opener()

KINDS = {
    "baseline JPEG": ("JPEG", {}),
    "progressive JPEG": ("JPEG", {"progressive": True}),
    "grey JPEG": ("JPEG", {}),
    "MPO": ("MPO", {}),
    "PNG": ("PNG", {}),
    "lossy WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "plain TIFF": ("TIFF", {}),
    "LZW TIFF": ("TIFF", {"compression": "tiff_lzw"}),
    "JPEG in TIFF": ("TIFF", {"compression": "jpeg"}),
    "BigTIFF": ("TIFF", {"big_tiff": True}),
    "HEIC": ("HEIF", {}),
    "AVIF": ("AVIF", {}),
}
DESCRIPTION, ORIENTATION = 0x10E, 0x112


def drawn(seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (8, 10, 3), np.uint8)
    return Image.fromarray(noise).resize((80, 64), Image.Resampling.BICUBIC)


def saved(name, image=None, **tags):
    """Return an image in a format, with EXIF tags."""
    kind, options = KINDS[name]
    image = (image or drawn()).convert("L" if name.startswith("grey") else "RGB")
    file, exif = io.BytesIO(), Image.Exif()
    for tag, value in tags.items():
        exif[globals()[tag]] = value
    image.save(file, kind, **options, **({"exif": exif} if tags else {}))
    return file.getvalue()


@pytest.mark.parametrize("name", KINDS)
def test_metadata_do_not_change_it(name, monkeypatch):
    monkeypatch.setattr(content, "decode", None)  # nothing is decoded for it
    one, other = saved(name, DESCRIPTION="in the garden"), saved(name, DESCRIPTION="somewhere else, later")
    assert one != other
    assert picture_digest(one) == picture_digest(other) == picture_digest(saved(name))
    assert picture_digest(one) != content.fingerprint(one)


@pytest.mark.parametrize("name", KINDS)
def test_another_picture_has_another(name):
    assert picture_digest(saved(name)) != picture_digest(saved(name, drawn(1)))


# An orientation in the EXIF block of a HEIC turns nothing; see the box `irot`.
@pytest.mark.parametrize("name", [name for name in KINDS if name != "HEIC"])
def test_how_it_is_turned_counts(name):
    digests = {picture_digest(saved(name, ORIENTATION=turn)) for turn in range(1, 9)}
    assert len(digests) == 8
    assert picture_digest(saved(name, ORIENTATION=1)) == picture_digest(saved(name))


@pytest.mark.parametrize("name", ["baseline JPEG", "progressive JPEG", "PNG"])
def test_a_rating_does_not_change_it(name):
    data = saved(name)
    assert picture_digest(rated(rated(data, 2), 5)) == picture_digest(rated(data)) == picture_digest(data)


def test_comments_and_what_stands_behind_a_jpeg_do_not_count():
    data = saved("baseline JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    assert picture_digest(data[:2] + comment + data[2:] + b"a film") == picture_digest(data)


def test_what_says_how_colours_are_coded_counts():
    def with_transform(value):
        adobe = b"Adobe" + bytes([0, 100, 0, 0, 0, 0, value])
        return data[:2] + b"\xff\xee" + struct.pack(">H", len(adobe) + 2) + adobe + data[2:]

    data = saved("baseline JPEG")
    assert picture_digest(with_transform(0)) != picture_digest(with_transform(1))


def test_a_png_may_be_cut_into_chunks_in_another_way():
    import zlib

    data = saved("PNG")
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    body = data[at + 8 : at + 8 + length]

    def chunk(part):
        return struct.pack(">I", len(part)) + b"IDAT" + part + struct.pack(">I", zlib.crc32(b"IDAT" + part))

    cut = data[:at] + chunk(body[:9]) + chunk(body[9:]) + data[at + 12 + length :]
    assert cut != data
    assert picture_digest(cut) == picture_digest(data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "PPM"])
def test_of_other_formats_the_pixels_count(kind):
    one, other = io.BytesIO(), io.BytesIO()
    drawn().save(one, kind)
    drawn(1).save(other, kind)
    assert picture_digest(one.getvalue()) != picture_digest(other.getvalue())
    if kind == "PPM":
        commented = one.getvalue().replace(b"\n", b"\n# a comment\n", 1)
        assert picture_digest(commented) == picture_digest(one.getvalue())


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_not_whole_has_one_of_its_own(name):
    data = saved(name)
    for cut in (8, 20, len(data) // 4, len(data) // 2):
        assert len(picture_digest(data[:cut])) == 16
        assert picture_digest(data[:cut]) != picture_digest(data)


def test_what_is_no_picture_is_told_by_its_bytes():
    assert picture_digest(b"no picture") != picture_digest(b"no picture either")
    assert len(picture_digest(b"")) == 16


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_file_is_too_odd(name, data):
    whole = bytearray(saved(name))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert len(picture_digest(bytes(whole))) == 16


def test_a_hostile_file_takes_no_time():
    """A HEIC that says of each of thousands of items that it is the whole file."""
    items, places = b"", b""
    big = os.urandom(1 << 20)
    for number in range(1, 5000):
        infe = struct.pack(">B3xHH4s", 2, number, 0, b"hvc1") + b"\0"
        items += struct.pack(">I4s", len(infe) + 8, b"infe") + infe
        places += struct.pack(">HHIHII", number, 0, 0, 1, 0, len(big))

    def box(name, body):
        return struct.pack(">I4s", len(body) + 8, name) + body

    inside = box(b"iinf", struct.pack(">IH", 0, 4999) + items) + box(b"pitm", bytes(6)) + box(b"iprp", b"")
    inside += box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0x40, 4999) + places)
    data = box(b"ftyp", b"heic" + bytes(8)) + box(b"meta", bytes(4) + inside) + big
    assert len(data) > 1 << 20
    assert len(picture_digest(data)) == 16


def test_the_digest_of_a_picture_in_a_known_file_is_not_calculated_again(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    coloured(path, 1)
    state = read_content(str(path)).file
    monkeypatch.setattr(content, "picture_digest", None)
    assert read_content(str(path), {state.file_digest: state.digest}).file == state
