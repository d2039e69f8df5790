"""Paths of every system, on any: an index is carried from one to another."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.paths import (
    beginning,
    is_within,
    joined_roots,
    known_path,
    listed_path,
    moved_path,
    relative_path,
    root_of,
)

NAMES = st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=5)
ROOTS = st.sampled_from(["/", "/photos", "C:\\", "C:\\photos", "\\\\nas\\photos", "s3://bucket/photos"])


def below(root, names):
    sign = "\\" if "\\" in root else "/"
    return root.rstrip(sign) + sign + sign.join(names)


def test_roots_are_joined():
    assert joined_roots([], ["/a", "/b", "/a"]) == ("/a", "/b")
    assert joined_roots(["/a"], ["/a/b"]) == ("/a",)
    assert joined_roots(["/a/b", "/c", "/a/d"], ["/a"]) == ("/c", "/a")
    assert joined_roots(["/a"], ["/ab"]) == ("/a", "/ab")
    assert joined_roots(["/a"], ["/"]) == ("/",)


def test_what_lies_within_a_folder():
    assert is_within(b"/a/b", b"/a")
    assert is_within(b"/a", b"/a")
    assert is_within(b"/a", b"/")
    assert not is_within(b"/ab", b"/a")
    assert not is_within(b"/", b"/a")
    assert root_of(b"/b/x", ["/a", "/b"]) == 1
    assert root_of(b"/c/x", ["/a", "/b"]) is None
    assert moved_path(b"/ab/x", b"/a", b"/q") == b"/ab/x"


def test_paths_of_windows():
    assert is_within(b"C:\\photos\\a.jpg", b"C:\\photos")
    assert is_within(b"C:\\photos\\a.jpg", b"C:\\")
    assert is_within(b"\\\\nas\\photos\\a.jpg", b"\\\\nas\\photos")
    assert not is_within(b"C:\\photos2\\a.jpg", b"C:\\photos")
    assert not is_within(b"C:\\photos/a.jpg", b"C:\\photos")
    assert joined_roots(["C:\\a"], ["C:\\a\\b", "D:\\"]) == ("C:\\a", "D:\\")
    assert not is_within(b"/photos\\a.jpg", b"/photos")  # one name, where slashes separate
    assert is_within(b"/:x/photos/a.jpg", b"/:x/photos")


@given(root=ROOTS, other=ROOTS, names=st.lists(NAMES, min_size=1, max_size=4))
def test_a_photo_moves_with_its_root_from_any_system_to_any_other(root, other, names):
    path, moved = below(root, names), below(other, names)
    assert path.startswith(beginning(root))
    assert relative_path(path, root) == "/".join(names)
    assert os.fsdecode(moved_path(path.encode(), root.encode(), other.encode())) == moved
    assert moved_path(moved.encode(), other.encode(), root.encode()) == path.encode()
    assert moved_path(root.encode(), root.encode(), other.encode()) == other.encode()


def test_a_place_has_one_name_where_case_and_composition_do_not_matter(tmp_path, lax):
    folder = tmp_path / "Photos" / unicodedata.normalize("NFD", "Été")
    folder.mkdir(parents=True)
    (folder / "A.JPG").touch()
    for typed in ("Photos/Été/A.JPG", "photos/été/a.jpg", "PHOTOS/ÉTÉ/a.JPG"):
        assert listed_path(str(tmp_path / typed)) == str(folder / "A.JPG")
    assert listed_path(str(tmp_path / "photos" / "NEW" / "x")) == str(tmp_path / "Photos" / "NEW" / "x")
    (folder / "b.jpg").touch()
    assert known_path(listed_path(str(tmp_path / "photos/été/B.jpg")), [str(folder)]) == str(folder / "b.jpg")
    # A root that was typed in another way before keeps its name.
    old = str(tmp_path / "PHOTOS" / "été")
    assert known_path(str(folder / "b.jpg"), [old]) == f"{old}/b.jpg"


def test_names_that_differ_by_case_are_two_where_the_system_tells_them_apart(tmp_path):
    for name in ("Photos", "photos", "ete", "Straße"):
        (tmp_path / name).mkdir()
    for name in ("Photos", "photos", "ete", "ETE", "Straße", "STRASSE", "none"):
        assert listed_path(str(tmp_path / name)) == str(tmp_path / name)


@pytest.mark.parametrize("path", ["/", "//", "//nas/a", "/a//b", "/a/"])
def test_what_is_not_there_is_named_as_it_is(path):
    assert listed_path(path) == path


def test_a_folder_that_cannot_be_listed_is_named_as_it_is(tmp_path, lax, monkeypatch):
    (tmp_path / "Photos").mkdir()

    def refused(folder):
        raise PermissionError(folder)

    monkeypatch.setattr(os, "listdir", refused)
    (tmp_path / "photos").mkdir()
    assert listed_path(str(tmp_path / "photos")) == str(tmp_path / "photos")
