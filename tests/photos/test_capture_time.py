"""When a photo was taken is read from its EXIF, with the zone where the camera said it."""

import io

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facesearch.faces import NOT_ASKED, UNDATED, Captured
from facesearch.photos.content import capture_time, content_of, picture_digest

pillow_heif.register_heif_opener()
ORIGINAL, ORIGINAL_ZONE, DIGITIZED = 0x9003, 0x9011, 0x9004
WRITTEN = 0x0132


def photo(inside=(), written=None, kind="JPEG"):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    if written is not None:
        exif[WRITTEN] = written
    exif.get_ifd(0x8769).update(dict(inside))
    out = io.BytesIO()
    made = exif if kind == "TIFF" else exif.tobytes()
    Image.new("RGB", (64, 48), (9, 9, 9)).save(out, kind, exif=made)
    return out.getvalue()


def told(data):
    captured = Captured.of(capture_time(data))
    return captured and str(captured)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_in_every_format(kind):
    data = photo({ORIGINAL: "2019:07:04 12:34:56", ORIGINAL_ZONE: "+02:00"}, kind=kind)
    assert told(data) == "2019-07-04T12:34:56+02:00"
    assert content_of(data).file.captured == capture_time(data)


def test_in_a_tiff():
    assert told(photo((), "2021:01:01 00:00:00", kind="TIFF")) == "2021-01-01T00:00:00"


def test_of_several_times_the_one_of_taking_counts():
    inside = {ORIGINAL: "2019:07:04 12:34:56", DIGITIZED: "2020:01:01 00:00:00"}
    assert told(photo(inside, "2021:01:01 00:00:00")) == "2019-07-04T12:34:56"
    assert told(photo({DIGITIZED: "2020:01:01 00:00:00"}, "2021:01:01 00:00:00")) == "2020-01-01T00:00:00"
    assert told(photo((), "2021:01:01 00:00:00")) == "2021-01-01T00:00:00"
    bad = {ORIGINAL: "0000:00:00 00:00:00", DIGITIZED: "1955:05:05 05:05:05"}
    assert told(photo(bad)) == "1955-05-05T05:05:05"


@pytest.mark.parametrize(
    "inside",
    [
        {},
        {ORIGINAL: ""},
        {ORIGINAL: "yesterday"},
        {ORIGINAL: "2019:13:45 12:34:56"},
        {ORIGINAL: "    :  :     :  :  "},
    ],
)
def test_a_photo_without_a_date(inside):
    assert capture_time(photo(inside)) == UNDATED
    assert Captured.of(UNDATED) is Captured.of(NOT_ASKED) is None


@pytest.mark.parametrize("zone", ["", "Z", "+99:00", "+2:00", "x"])
def test_a_zone_that_is_none_is_left_out(zone):
    assert told(photo({ORIGINAL: "2019:07:04 12:34:56", ORIGINAL_ZONE: zone})) == "2019-07-04T12:34:56"


@pytest.mark.parametrize("data", [b"", b"Exif", b"\xff\xd8\xff\xe1\0\x08Exif\0\0", b"II*\0\xff\xff\xff\xff"])
def test_what_is_no_photo_has_no_date(data):
    assert capture_time(data) == UNDATED


def test_the_date_does_not_belong_to_the_picture():
    one, other = photo({ORIGINAL: "2019:07:04 12:34:56"}), photo({ORIGINAL: "2020:07:04 12:34:56"})
    assert picture_digest(one) == picture_digest(other)


SECONDS = st.integers(-62_135_596_800, 253_402_300_799)
ZONES = st.none() | st.integers(-900, 900)


@given(one=st.tuples(SECONDS, ZONES), other=st.tuples(SECONDS, ZONES))
def test_a_date_is_one_number_in_the_order_of_the_clocks(one, other):
    a, b = Captured(*one), Captured(*other)
    assert Captured.of(a.code) == a
    assert (a.code < b.code) == (one[0] < other[0]) or one[0] == other[0]
    assert -(2**63) < UNDATED < a.code < 2**63
