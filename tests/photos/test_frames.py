"""Animations and files of several pages: which frames are looked at, and what is no frame."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support.command import OBAMA

from facesearch.errors import UnreadablePhoto
from facesearch.photos.content import picture_digest
from facesearch.photos.decode import decode, decode_frames, frame_count, has_pages

KINDS = ["GIF", "PNG", "WEBP", "AVIF", "TIFF"]
SUBFILE = 254


def drawn(number):
    """Return a picture that no other number gives."""
    noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.NEAREST)


def saved(images, kind, **options):
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def taken(data, most=0, **options):
    """Return the numbers of the frames that are decoded, and what is said in the end."""
    numbers, frames = [], decode_frames(data, most, **options)
    while True:
        try:
            numbers.append(next(frames)[0])
        except StopIteration:
            return numbers, ""
        except UnreadablePhoto as error:
            return numbers, error.message


def far(picture, image):
    """Return how far a decoded picture is from what was drawn, in levels."""
    return np.abs(picture.pixels[..., ::-1].astype(int) - np.asarray(image)).mean()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def seven(kind):
    return saved([drawn(number) for number in range(7)], kind)


def test_first_middle_and_last(seven):
    assert frame_count(seven) == 7
    found = list(decode_frames(seven, 3))
    assert [number for number, _ in found] == [1, 4, 7]
    for number, picture in found:
        assert far(picture, drawn(number - 1)) < 25 < far(picture, drawn(number))
        assert (picture.width, picture.height) == (160, 120)


def test_all_frames_and_one(seven):
    assert [number for number, _ in decode_frames(seven, 0)] == [1, 2, 3, 4, 5, 6, 7]
    assert [number for number, _ in decode_frames(seven, 100)] == [1, 2, 3, 4, 5, 6, 7]
    assert [number for number, _ in decode_frames(seven, 1)] == [1]


def test_a_single_frame_again(seven):
    for number, picture in decode_frames(seven, 3):
        assert np.array_equal(decode(seven, frame=number).pixels, picture.pixels)
    with pytest.raises(UnreadablePhoto):
        decode(seven, frame=8)


def test_without_several_frames(kind):
    assert frame_count(saved([drawn(0)], kind)) == 1


def test_what_looks_the_same_is_looked_at_once():
    images = [drawn(0), drawn(0), drawn(0), drawn(1), drawn(1)]
    assert [number for number, _ in decode_frames(saved(images, "TIFF"), 0)] == [1, 4]


def test_a_page_made_small_is_no_page():
    pyramid = io.BytesIO()
    drawn(0).save(pyramid, "TIFF", save_all=True, append_images=[drawn(1), _reduced(drawn(0))])
    assert frame_count(pyramid.getvalue()) == 2
    assert taken(pyramid.getvalue()) == ([1, 2], "")


def test_of_pages_with_thumbnails_the_last_page_is_looked_at():
    pages = [one for number in range(4) for one in (drawn(number), _reduced(drawn(number)))]
    assert taken(saved(pages, "TIFF"), 3) == ([1, 5, 7], "")


def test_metadata_of_a_page_with_a_thumbnail_is_not_its_picture():
    def page(said):
        file = io.BytesIO()
        drawn(0).save(file, "TIFF", save_all=True, append_images=[_reduced(drawn(0))], description=said)
        return file.getvalue()

    assert page("a") != page("b")
    assert picture_digest(page("a")) == picture_digest(page("b"))


def test_a_small_portrait_on_a_large_page_is_no_repetition(kind):
    pages = []
    for number in range(4):
        page = Image.new("RGB", (1240, 1754), "white")
        page.paste(drawn(number).resize((110, 140)), (900, 200))
        pages.append(page)
    assert taken(saved(pages, kind)) == ([1, 2, 3, 4], "")


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_are_told_in_every_kind_of_tiff(order, big):
    file = io.BytesIO()
    images = [drawn(number).convert("I;16" if order == "II" else "I;16B") for number in range(3)]
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:], big_tiff=big)
    assert file.getvalue().startswith((order + ("+" if big else "*")).encode() if order == "II" else b"MM")
    assert frame_count(file.getvalue()) == 3


def test_directories_in_a_ring_end():
    data = saved([drawn(0), drawn(1)], "TIFF")
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    at = first + 2 + 12 * entries
    assert frame_count(data[:at] + struct.pack("<I", first) + data[at + 4 :]) == 1


def _reduced(image):
    """Return an image at half its size which says so, as scanners add them."""
    small = image.resize((80, 60))
    small.encoderinfo = {"tiffinfo": {SUBFILE: 1}}
    return small


def test_pages_may_differ_in_size():
    pages = [drawn(0), drawn(1).resize((300, 100)), drawn(2)]
    sizes = [(picture.width, picture.height) for _, picture in decode_frames(saved(pages, "TIFF"), 0)]
    assert sizes == [(160, 120), (300, 100), (160, 120)]


def test_pages_are_told_from_animations(kind, seven):
    assert has_pages(seven) is (kind == "TIFF")


def test_layers_further_images_and_thumbnails_are_no_frames():
    heif = pillow_heif.from_pillow(drawn(0))
    heif.add_from_pillow(drawn(1))
    file = io.BytesIO()
    heif.save(file, primary_index=1)
    assert frame_count(file.getvalue()) == 1
    assert far(decode(file.getvalue()), drawn(1)) < 25  # the primary image
    mpo = io.BytesIO()
    drawn(0).save(mpo, "MPO", save_all=True, append_images=[drawn(1)])
    assert frame_count(mpo.getvalue()) == 1
    assert far(decode(mpo.getvalue()), drawn(0)) < 25
    assert frame_count(OBAMA.read_bytes()) == 1


def test_an_animation_that_breaks_off_gives_what_it_has():
    whole = saved([drawn(number) for number in range(9)], "GIF")
    found, said = taken(whole[: len(whole) // 2])
    assert found[:2] == [1, 2]
    assert len(found) < 9
    assert "can be read" in said or not said


def test_of_an_animation_that_lies_of_its_length_the_frames_that_are_there_are_looked_at():
    data = saved([drawn(number) for number in range(10)], "PNG")
    at = data.index(b"acTL") + 4
    lies = data[:at] + struct.pack(">I", 1000) + data[at + 4 :]
    lies = lies[: at + 8] + struct.pack(">I", zlib.crc32(lies[at - 4 : at + 8])) + lies[at + 12 :]
    assert frame_count(lies) == 1000
    found, said = taken(lies, 3)
    assert found[0] == 1
    assert len(found) == 3
    assert found[-1] >= 9
    assert "of 1000 frames can be read" in said


def test_behind_a_damaged_page_the_others_are_looked_at():
    data = bytearray(saved([drawn(number) for number in range(5)], "TIFF", compression="tiff_lzw"))
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    data[start : start + length] = bytes(length)
    assert taken(bytes(data)) == ([1, 3, 4, 5], "Page 2 cannot be read.")


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\xfe\0",
        b"II+\0\x08\0\0\0\0\0\0\0\0\0\0\x80",
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + bytes(8) + b"\xff" * 8,
        b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\x02",
        b"RIFF\x10\0\0\0WEBPVP8X",
        b"",
    ],
)
def test_broken_files_have_one_frame(data):
    assert frame_count(data) == 1
    assert taken(data, 3)[0] == []


def test_after_a_while_no_frame_is_decoded(monkeypatch):
    data = saved([drawn(number) for number in range(7)], "GIF")
    times = iter([0.0, 1.0, 1.0, 70.0])
    monkeypatch.setattr("facesearch.photos.decode.time.monotonic", lambda: next(times))
    assert taken(data) == ([1, 2], "Only 2 of 7 frames were looked at: more take too long.")


def test_a_page_may_claim_no_more_pixels_than_a_photo(monkeypatch):
    data = saved([drawn(0), drawn(1).resize((2000, 2000)), drawn(2)], "TIFF")
    monkeypatch.setattr("facesearch.photos.decode.MAX_PIXELS", 1_000_000)
    assert taken(data) == ([1, 3], "Page 2 cannot be read.")
    with pytest.raises(UnreadablePhoto, match="claims more than"):
        decode(data, frame=2)


def test_every_frame_counts_when_a_picture_is_known_again(kind):
    one, other = (saved([drawn(0), drawn(1), drawn(last)], kind) for last in (2, 3))
    assert picture_digest(one) != picture_digest(other)
    assert picture_digest(one) == picture_digest(bytes(one))
