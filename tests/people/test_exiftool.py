"""What is written to sidecars exiftool reads, and what exiftool writes is read here, in all orientations."""

import json
import os
import shutil
import subprocess

import pytest
from PIL import Image
from support.known_people import grouped, shows

from facesearch.people.imports import import_regions
from facesearch.people.sidecars import sidecars, write_sidecar

pytestmark = pytest.mark.slow

ADA, BEA = range(2)
NAMES = {1: 'Ada, "A." <Lovelace> & Co', 2: "Be\u00e1trix \U0001f600"}
# In the upright picture of 400x200 pixels, the first face is at 0, 5 and the second at 100, 5.
UPRIGHT = (400, 200)


@pytest.fixture(scope="module")
def exiftool():
    program = shutil.which("exiftool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no exiftool")
        pytest.skip("there is no exiftool")

    def run(*args):
        done = subprocess.run(
            [program, *map(str, args)],
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


@pytest.fixture
def photo(tmp_path, request):
    orientation = request.param
    size = UPRIGHT[::-1] if orientation >= 5 else UPRIGHT
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'{orientation}, it\'s "a".jpg'
    Image.new("RGB", size).save(path, exif=exif)
    return orientation, path


def stored(orientation, box):
    """Return a box of the upright picture in parts of the stored one: the middle, width and height."""
    (left, top), (right, bottom) = (
        {
            1: lambda x, y: (x, y),
            2: lambda x, y: (1 - x, y),
            3: lambda x, y: (1 - x, 1 - y),
            4: lambda x, y: (x, 1 - y),
            5: lambda x, y: (y, x),
            6: lambda x, y: (y, 1 - x),
            7: lambda x, y: (1 - y, 1 - x),
            8: lambda x, y: (1 - y, x),
        }[orientation](x / UPRIGHT[0], y / UPRIGHT[1])
        for x, y in ((box[0], box[1]), (box[0] + box[2], box[1] + box[3]))
    )
    return (left + right) / 2, (top + bottom) / 2, abs(right - left), abs(bottom - top)


@pytest.mark.parametrize("photo", range(1, 9), indirect=True)
def test_exiftool_reads_what_is_written(exiftool, photo, tmp_path):
    orientation, path = photo
    people = grouped(tmp_path / "i.npz", [shows(str(path), ADA, BEA), shows("/away/b.jpg", ADA, BEA)])
    for number, name in NAMES.items():
        people.name(people.person(number), name)
    for sidecar in sidecars(people, people.everyone(), tags=True):
        write_sidecar(sidecar)
    (told,) = json.loads(exiftool("-j", "-struct", "-n", f"{path}.xmp"))
    assert "Warning" not in told
    assert told["PersonInImage"] == [*NAMES.values()]
    assert told["TagsList"] == [f"People/{name}" for name in NAMES.values()]
    assert told["HierarchicalSubject"] == [f"People|{name}" for name in NAMES.values()]
    with Image.open(path) as image:
        assert told["RegionInfo"]["AppliedToDimensions"] == {
            "W": image.width,
            "H": image.height,
            "Unit": "pixel",
        }
    for at, region in enumerate(told["RegionInfo"]["RegionList"]):
        assert (region["Name"], region["Type"], region["Area"]["Unit"]) == (
            NAMES[at + 1],
            "Face",
            "normalized",
        )
        wanted = stored(orientation, (100 * at, 5, 80 - at, 80 - at))
        assert [region["Area"][side] for side in "XYWH"] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("inside", [True, False], ids=["photo", "sidecar"])
@pytest.mark.parametrize("photo", range(1, 9), indirect=True)
def test_what_exiftool_writes_is_read(exiftool, photo, inside, tmp_path):
    orientation, path = photo
    regions = []
    for at in range(2):
        x, y, w, h = stored(orientation, (100 * at - 4, 1, 88, 88))
        area = {"X": x, "Y": y, "W": w, "H": h, "Unit": "normalized"}
        regions.append({"Area": area, "Name": NAMES[at + 1], "Type": "Face"})
    told = [{"SourceFile": "*", "RegionInfo": {"RegionList": regions}, "PersonInImage": ["Nobody"]}]
    (tmp_path / "told.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    target = path if inside else f"{path}.xmp"
    exiftool(
        "-overwrite_original",
        "-struct",
        f"-json={tmp_path / 'told.json'}",
        *(["-o", target] if not inside else []),
        path if not inside else target,
    )
    people = grouped(tmp_path / "i.npz", [shows(str(path), ADA, BEA)])
    done = import_regions(people)
    assert sorted(done.people) == sorted(NAMES.values())
    assert (done.problems, done.unmatched) == ([], ["Nobody"])
    assert [people.facts.names[number] for number in people.whose.tolist()] == [*NAMES.values()]


@pytest.mark.parametrize("photo", [6], indirect=True)
def test_what_exiftool_wrote_stays(exiftool, photo, tmp_path):
    orientation, path = photo
    sidecar = f"{path}.xmp"
    exiftool(
        "-o",
        sidecar,
        "-XMP:Rating=4",
        "-XMP-dc:Subject=sea",
        "-XMP-dc:Title=A title",
        "-TagsFromFile",
        path,
        path,
    )
    before = json.loads(exiftool("-j", "-struct", "-G1", sidecar))[0]
    people = grouped(tmp_path / "i.npz", [shows(str(path), ADA, BEA), shows("/away/b.jpg", ADA, BEA)])
    people.name(people.person(1), NAMES[1])
    for one in sidecars(people, people.everyone()):
        write_sidecar(one)
    after = json.loads(exiftool("-j", "-struct", "-G1", sidecar))[0]
    assert after["XMP-iptcExt:PersonInImage"] == [NAMES[1]]
    own = {name for name in before if name.startswith("XMP") and name != "XMP-x:XMPToolkit"}
    assert len(own) >= 3
    assert {name: after[name] for name in own} == {name: before[name] for name in own}
    assert orientation == 6
