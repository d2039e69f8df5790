import io
import tarfile
import zipfile

import pytest

from facesearch.errors import ModelBroken
from facesearch.models.archive import copy_members, read_member, read_members


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def zip_of(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


MAKERS = pytest.mark.parametrize("make", [tar_of, zip_of])


@MAKERS
def test_wanted_members_are_read_and_no_others(make, tmp_path):
    archive = make(tmp_path / "a", ("p/one", b"1"), ("p/two", b"22"), ("q", b"333"))

    assert read_members(archive, lambda name: 9 if name.startswith("p/") else 0) == {
        "p/one": b"1",
        "p/two": b"22",
    }


@MAKERS
def test_a_member_larger_than_allowed_is_refused_without_being_read_whole(make, tmp_path):
    archive = make(tmp_path / "bomb", ("big", bytes(50_000_000)))

    with pytest.raises(ModelBroken, match="big in bomb is larger than it can be"):
        read_member(archive, "big", 1000)


@MAKERS
def test_a_missing_member_is_named(make, tmp_path):
    with pytest.raises(ModelBroken, match="a holds no b"):
        read_member(make(tmp_path / "a", ("c", b"")), "b", 10)


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(ModelBroken, match="holds x twice"):
        read_member(tar_of(tmp_path / "a", ("x", b"1"), ("x", b"2")), "x", 10)


def test_a_link_in_a_tar_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a", "w:gz") as archive:
        entry = tarfile.TarInfo("x")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)

    with pytest.raises(ModelBroken, match="holds no x"):
        read_member(tmp_path / "a", "x", 10_000)


@MAKERS
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_refused_with_a_sentence(make, kept, tmp_path):
    whole = make(tmp_path / "whole", ("x", bytes(range(256)) * 400)).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * kept)])

    with pytest.raises(ModelBroken, match="cut is not a whole archive"):
        read_member(tmp_path / "cut", "x", 1 << 20)


def test_a_flipped_byte_in_a_zip_is_refused(tmp_path):
    data = bytearray(zip_of(tmp_path / "a", ("x", bytes(range(256)) * 400)).read_bytes())
    data[len(data) // 3] ^= 0xFF
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(ModelBroken, match="a is not a whole archive"):
        read_member(tmp_path / "a", "x", 1 << 20)


def test_members_are_copied_under_the_names_that_were_asked_for(tmp_path):
    archive = zip_of(tmp_path / "a", ("x", b"12345"), ("empty", b""), ("../evil", b"!"))
    folder = tmp_path / "into"
    folder.mkdir()

    copy_members(archive, {"x": 5, "empty": 0}, folder)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"12345", "empty": b""}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("sizes", "said"), [({"x": 4}, "x in a is not"), ({"x": 6}, "x in a is not"), ({"y": 1}, "no y")]
)
def test_a_copied_member_of_another_size_is_refused(sizes, said, tmp_path):
    with pytest.raises(ModelBroken, match=said):
        copy_members(zip_of(tmp_path / "a", ("x", b"12345")), sizes, tmp_path)
