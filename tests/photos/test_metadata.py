"""What stands in a photo and beside it is found, in whatever way the programs write it."""

import json

import numpy as np
import pytest
from PIL import Image

from facesearch.errors import UnreadablePhoto
from facesearch.photos import metadata
from facesearch.photos.content import fingerprint, read_content
from facesearch.photos.metadata import read_stored, takeout_names
from facesearch.photos.xmp import Area, Region, Wanted, edited

ADA = Region("Ada", Area(0.25, 0.5, 0.1, 0.2))
XMP = edited(None, Wanted((ADA,), ("Ada", "Bea"), (60, 40))).data


def photo(path, orientation=1, size=(60, 40), **settings):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif, **settings)
    return str(path)


def read_said(path):
    return metadata.read_said(path, read_content(path).file.digests)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_xmp_inside_a_photo(tmp_path, suffix):
    import PIL.PngImagePlugin

    path = tmp_path / f"a.{suffix}"
    settings = {"xmp": XMP}
    if suffix == "png":
        text = PIL.PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        settings = {"pnginfo": text}
    if suffix == "tif":
        info = Image.new("RGB", (60, 40)).getexif()
        info[700] = XMP
        Image.new("RGB", (60, 40)).save(path, tiffinfo=info)
    else:
        photo(path, **settings)
    said = read_said(str(path))
    assert said.regions == (ADA,)
    assert said.names == ("Ada", "Bea")
    assert said.size == (60, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_of_the_stored_picture(tmp_path, orientation):
    path = photo(tmp_path / "a.jpg", orientation)
    (tmp_path / "a.jpg.xmp").write_bytes(XMP)
    said = read_said(path)
    assert said.size == ((40, 60) if orientation >= 5 else (60, 40))
    assert said.regions == (Region("Ada", ADA.area.turned(orientation)),)


def test_both_sidecars_and_the_photo_count_and_a_bad_one_is_said(tmp_path):
    path = photo(tmp_path / "a.jpg", xmp=XMP)
    bea = Region("Bea", Area(0.75, 0.5, 0.1, 0.2))
    (tmp_path / "a.xmp").write_bytes(edited(None, Wanted((bea,), ("Bea",), (60, 40))).data)
    (tmp_path / "a.jpg.xmp").write_bytes(b"<!DOCTYPE x><x/>")
    said = read_said(path)
    assert said.regions == (ADA, bea)
    assert [(place, "document type" in why) for place, why in said.problems] == [(f"{path}.xmp", True)]


def test_a_photo_that_is_gone_or_none(tmp_path):
    with pytest.raises(UnreadablePhoto):
        read_stored(str(tmp_path / "gone.jpg"), [])
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(UnreadablePhoto):
        read_stored(str(tmp_path / "text.jpg"), [fingerprint(b"hello")])


def test_a_photo_that_is_another_one_than_the_index_knows(tmp_path):
    path = photo(tmp_path / "a.jpg")
    digests = read_content(path).file.digests
    assert read_stored(path, digests[:1]).width == 60
    Image.new("RGB", (60, 40)).save(path)
    with pytest.raises(UnreadablePhoto, match="Another photo is there now"):
        read_stored(path, digests)


def test_picasas_faces(tmp_path):
    path = photo(tmp_path / "A b.jpg")
    (tmp_path / ".picasa.ini").write_text(
        "[Picasa]\nname=2009\n[Contacts2]\n8e62398ebda8c1a5=Ada Lovelace;;\nbroken\n=%\n"
        "[a B.JPG]\nrotate=rotate(1)\nfaces=rect64(40004000c000c000),8e62398ebda8c1a5;"
        "rect64(1000100020002000),ffffffffffffffff;rect64(3),8e62398ebda8c1a5;rect64(zz),1\n"
    )
    (region,) = read_said(path).regions
    assert region.name == "Ada Lovelace"
    assert [round(value, 3) for value in region.area.rounded()] == [0.5, 0.5, 0.5, 0.5]
    ini = (tmp_path / ".picasa.ini").read_text()
    for odd in ("\ufeff" + ini, f"[Other]\nvalueless\n  indented\n{ini}"):
        (tmp_path / ".picasa.ini").write_text(odd, encoding="utf-8")
        metadata._picasa_of.cache_clear()
        assert [one.name for one in read_said(path).regions] in (["Ada Lovelace"], [])
    (tmp_path / ".picasa.ini").write_text("\ufeff" + ini, encoding="utf-8")
    metadata._picasa_of.cache_clear()
    assert [one.name for one in read_said(path).regions] == ["Ada Lovelace"]
    (tmp_path / ".picasa.ini").write_bytes(bytes(range(256)))
    other = photo(tmp_path / "other.jpg")
    assert read_said(other).regions == ()


LONG = "a very long name of a photo that somebody gave to it once"


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1(2).jpg", "IMG_1.jpg(2).json"),
        ("IMG_1(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("IMG_1-edited.jpg", "IMG_1.jpg.json"),
        (f"{LONG}.jpg", f"{LONG}.jpg"[:46] + ".json"),
        ("photo of the family.jpg", "photo of the family.jpg.supplemental-metadata"[:46] + ".json"),
    ],
)
def test_takeouts_names_however_it_calls_the_file(tmp_path, name, beside):
    (tmp_path / beside).write_text(
        json.dumps({"people": [{"name": "Ada"}, {"name": " Bea "}, {}, {"name": ""}]})
    )
    assert takeout_names(str(tmp_path / name)) == ("Ada", "Bea")


@pytest.mark.parametrize("data", ["", "[]", '{"people": 5}', '{"people": [5]}', "[" * 100_000])
def test_json_of_something_else_names_nobody(tmp_path, data):
    (tmp_path / "a.jpg.json").write_text(data)
    assert takeout_names(str(tmp_path / "a.jpg")) == ()
