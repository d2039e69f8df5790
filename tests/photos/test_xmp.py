"""XMP of other programs is understood, and edited so that nothing of theirs changes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.photos.xmp import LARGEST, Area, BadXmp, Region, Wanted, edited, read_people

DIGIKAM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   xmp:Rating="4">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>Places/Oslo</rdf:li>
     <rdf:li>People/Ada</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="4000" stDim:h="3000" stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description mwg-rs:Name="Ada" mwg-rs:Type="Face">
        <mwg-rs:Area stArea:x="0.25" stArea:y="0.5" stArea:w="0.1" stArea:h="0.2" stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
      <rdf:li>
       <rdf:Description mwg-rs:Name="Rex" mwg-rs:Type="Pet">
        <mwg-rs:Area stArea:x="0.75" stArea:y="0.5" stArea:w="0.1" stArea:h="0.2" stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

# As Lightroom writes it: other prefixes and attributes; and an item without a place.
LIGHTROOM = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about=''
 xmlns:m="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:a="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:lr="http://ns.adobe.com/lightroom/1.0/"><m:Regions r:parseType="Resource"><m:RegionList><r:Bag>
 <r:li r:parseType="Resource"><m:Name>Bea "B." O'Hara &amp; Co, Ltd</m:Name><m:Type>Face</m:Type>
  <m:Area a:x="0.5" a:y="0.5" a:w="0.25" a:h="0.25" a:unit="normalized" a:more="1 > 0"/></r:li>
 <r:li><r:Description m:Name="Cleo"/></r:li></r:Bag></m:RegionList></m:Regions>
 <lr:hierarchicalSubject><r:Bag/></lr:hierarchicalSubject></r:Description></r:RDF></x:xmpmeta>"""

MICROSOFT = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:MP="http://ns.microsoft.com/photo/1.2/"><MP:RegionInfo><rdf:Description
 xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"><MPRI:Regions><rdf:Bag>
<rdf:li><rdf:Description xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 MPReg:Rectangle="0.2, 0.1, 0.4, 0.2" MPReg:PersonDisplayName="Dora"/></rdf:li>
<rdf:li rdf:parseType="Resource" xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#">
 <MPReg:Rectangle>nowhere</MPReg:Rectangle><MPReg:PersonDisplayName>Eve</MPReg:PersonDisplayName></rdf:li>
</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo></rdf:Description></rdf:RDF></x:xmpmeta>"""

ADA = Region("Ada", Area(0.25, 0.5, 0.1, 0.2))
BEA = Region("Bea", Area(0.6, 0.2, 0.1, 0.1))
SIZE = (4000, 3000)
CORPUS = {"digiKam": DIGIKAM, "Lightroom": LIGHTROOM, "Microsoft": MICROSOFT}


def wanted(*regions, names=(), tags=False):
    return Wanted(regions, tuple(names) or tuple(one.name for one in regions), SIZE, tags)


def test_what_other_programs_write_is_read():
    assert read_people(DIGIKAM.encode()).regions == (ADA,)
    (bea,) = read_people(LIGHTROOM.encode()).regions
    assert bea == Region('Bea "B." O\'Hara & Co, Ltd', Area(0.5, 0.5, 0.25, 0.25))
    (dora,) = read_people(MICROSOFT.encode()).regions
    assert dora.name == "Dora"
    assert dora.area.rounded() == (0.4, 0.2, 0.4, 0.2)


def test_a_new_sidecar_holds_everybody():
    done = edited(None, wanted(ADA, BEA, names=["Ada", "Bea", "Cleo"], tags=True))
    found = read_people(done.data)
    assert found.regions == (ADA, BEA)
    assert found.names == ("Ada", "Bea", "Cleo")
    text = done.data.decode()
    assert "<rdf:li>People/Cleo</rdf:li>" in text
    assert "<rdf:li>People|Cleo</rdf:li>" in text
    assert 'stDim:w="4000" stDim:h="3000"' in text
    assert edited(done.data, wanted(ADA, BEA, names=["Ada", "Bea", "Cleo"], tags=True)).data is None


def test_for_nobody_no_sidecar_is_made():
    assert edited(None, wanted()).data is None


@pytest.mark.parametrize("name", CORPUS)
def test_of_other_programs_not_a_byte_changes(name):
    before = CORPUS[name].encode()
    eve = Region("Eve", Area(0.9, 0.9, 0.05, 0.05))
    after = edited(before, wanted(eve, tags=True)).data
    assert eve in read_people(after).regions
    assert set(read_people(before).regions) <= set(read_people(after).regions)
    rest = iter(_pieces(after))
    # All pieces are still there, in order, and ours between them; an element without an end tag gets one.
    assert all(piece in rest for piece in _pieces(before) if piece != b"<r:Bag/>")
    gone = edited(after, wanted()).data
    assert read_people(gone).regions == read_people(before).regions
    assert b"Eve" not in gone.replace(b"Eve</MPReg", b"")
    assert edited(gone, wanted()).data is None


def _pieces(data):
    return [piece for piece in re.findall(rb"<[^>]*>|[^<]+", data) if piece.strip()]


def test_what_is_taken_out_leaves_the_rest_as_it_was():
    before = DIGIKAM.encode()
    after = edited(before, wanted(BEA, tags=True)).data
    gone = edited(after, wanted(tags=True)).data
    kept = re.sub(
        rb"\s*<rdf:Description rdf:about=\"\"[^>]*facesearch.*?</rdf:Description>", b"", gone, flags=re.S
    )
    squeezed = [re.sub(rb"\s+", b" ", data) for data in (kept, before)]
    assert squeezed[0] == squeezed[1]


def test_a_face_that_another_program_named_is_left_to_it():
    same = edited(DIGIKAM.encode(), wanted(Region("ada", ADA.area)))
    assert read_people(same.data).regions == (ADA,)
    other = edited(DIGIKAM.encode(), wanted(Region("Zoe", ADA.area)))
    assert [(region.name, name) for region, name in other.conflicts] == [("Zoe", "Ada")]
    assert other.data is None


def test_a_name_that_changed_replaces_what_was_written_and_no_more():
    first = edited(DIGIKAM.encode(), wanted(BEA, tags=True)).data
    renamed = edited(first, wanted(Region("Beatrix", BEA.area), tags=True)).data
    assert [one.name for one in read_people(renamed).regions] == ["Ada", "Beatrix"]
    assert read_people(renamed).names == ("Beatrix",)
    assert b"People/Ada" in renamed
    assert b"People/Bea<" not in renamed
    assert b"People/Beatrix<" in renamed


def test_a_name_that_was_there_before_is_not_taken_out():
    before = edited(None, wanted(names=["Ada"])).data.replace(b"urn:facesearch", b"urn:another")
    after = edited(before, wanted(names=["Ada", "Bea"])).data
    assert read_people(after).names == ("Ada", "Bea")
    assert read_people(edited(after, wanted()).data).names == ("Ada",)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_another_encoding_stays(encoding):
    before = DIGIKAM.replace("\ufeff", "").encode(encoding)
    after = edited(before, wanted(BEA)).data
    assert after.decode(encoding).startswith("<?xpacket")
    assert after[:2] == before[:2]
    assert read_people(after).regions == (ADA, BEA)


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
PLACES = st.integers(1, 999).map(lambda number: number / 1000)


@settings(max_examples=80, deadline=None)
@given(
    before=st.sampled_from([None, *(text.encode() for text in CORPUS.values())]),
    turns=st.lists(st.lists(st.tuples(NAMES, PLACES, PLACES), max_size=4), min_size=1, max_size=4),
    tags=st.booleans(),
)
def test_whatever_is_written_one_after_the_other_the_last_holds(before, turns, tags):
    data = before
    for turn in turns:
        regions = [Region(name, Area(x, y, 0.001, 0.001)) for name, x, y in turn]
        done = edited(data, wanted(*dict.fromkeys(regions), tags=tags))
        data = done.data or data
        if data is not None:
            assert edited(data, wanted(*dict.fromkeys(regions), tags=tags)).data is None
    if data is None:
        assert not turns[-1]
        return
    found = read_people(data)
    left_out = [region for region, _ in done.conflicts]
    for region in regions:
        same = [one for one in found.regions if one.area.overlap(region.area) > 0.4]
        assert region in left_out or any(one.name.casefold() == region.name.casefold() for one in same)
    placed = {region.name for region in regions if region not in left_out}
    assert set(found.names) == {name for name, _, _ in turns[-1]} - ({one.name for one in left_out} - placed)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty|no element found"),
        (b"hello", "syntax error"),
        (DIGIKAM.encode()[:900], "unclosed|no element|not well-formed"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "document type"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>", "document type"),
        (b"<a>" * 200 + b"</a>" * 200, "stand in one another"),
        (b"<x/>" + b" " * LARGEST, "are read at most"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><x/>", "is in ISO-8859-1"),
        ("<x>\u00e4</x>".encode("latin-1"), "not well-formed"),
    ],
)
def test_hostile_xml_is_refused_with_a_sentence(data, said):
    for use in (read_people, lambda data: edited(data, wanted(ADA))):
        with pytest.raises(BadXmp, match=said):
            use(data)


@pytest.mark.parametrize(
    ("prefix", "uri", "inside"),
    [
        ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "<Iptc4xmpExt:PersonInImage/>"),
        ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", None),
        ("mwg-rs", "http://www.metadataworkinggroup.com/schemas/regions/",
         '<mwg-rs:Regions rdf:parseType="Resource"/>'),
    ],
)  # fmt: skip
def test_a_property_in_another_form_is_not_written_a_second_time(prefix, uri, inside):
    attribute = "" if inside else ' Iptc4xmpExt:PersonInImage="Ada"'
    before = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:{prefix}="{uri}"{attribute}>{inside or ""}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    )
    with pytest.raises(BadXmp, match="in another form"):
        edited(before.encode(), wanted(ADA))


def test_whom_another_program_names_otherwise_is_not_named_on_the_photo():
    done = edited(DIGIKAM.encode(), wanted(Region("Bob", ADA.area), tags=True))
    assert done.conflicts == ((Region("Bob", ADA.area), "Ada"),)
    assert done.data is None
    both = edited(DIGIKAM.encode(), wanted(Region("Bob", ADA.area), Region("Bob", BEA.area)))
    assert read_people(both.data).names == ("Bob",)


def test_keywords_stay_as_they_are_unless_that_is_said():
    with_tags = edited(None, wanted(ADA, tags=True)).data
    assert b"People/Bea<" in edited(with_tags, wanted(ADA, BEA, tags=None)).data
    assert b"People/" not in edited(with_tags, wanted(ADA, BEA, tags=False)).data
    assert b"People/" not in edited(edited(None, wanted(ADA)).data, wanted(ADA, BEA, tags=None)).data


def test_zeros_behind_xmp_do_not_matter():
    assert read_people(DIGIKAM.encode() + bytes(40)).regions == (ADA,)


def test_xml_that_is_no_xmp_says_nobody_and_is_not_edited():
    assert read_people(b"<html><body/></html>").regions == ()
    with pytest.raises(BadXmp, match="holds no rdf:RDF"):
        edited(b"<html/>", wanted(ADA))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless(data):
    damaged = bytearray(data.draw(st.sampled_from([text.encode() for text in CORPUS.values()])))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_people(bytes(damaged))
        after = edited(bytes(damaged), wanted(BEA)).data
    except BadXmp:
        return
    assert BEA in read_people(after or bytes(damaged)).regions or b"Bea" in (after or b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_area_is_turned_and_turned_back(orientation):
    area = Area(0.2, 0.3, 0.1, 0.05)
    assert area.turned(orientation).turned_back(orientation).rounded() == area.rounded()


def test_areas_are_turned_as_pixels_are():
    import cv2
    import numpy as np

    from facesearch.photos.decode import upright

    for orientation in range(1, 9):
        stored = np.zeros((40, 60, 3), np.uint8)
        cv2.rectangle(stored, (6, 4), (17, 9), (255, 255, 255), -1)  # 12 x 6 pixels at 6, 4
        area = Area(12 / 60, 7 / 40, 12 / 60, 6 / 40).turned(orientation)
        turned = upright(stored, orientation)
        rows, columns = np.nonzero(turned[..., 0])
        height, width = turned.shape[:2]
        left, top = area.x - area.w / 2, area.y - area.h / 2
        assert (round(left * width), round(top * height)) == (columns.min(), rows.min()), orientation
        assert (round(area.w * width), round(area.h * height)) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
