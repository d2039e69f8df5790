import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import META, looked_at, write_index

from facesearch.errors import FacesearchError, IndexBusy, IndexConflict, IndexFileError, IndexMissing
from facesearch.files import write_lock
from facesearch.index.index import ARRAYS
from facesearch.index.npz.store import open_index
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.index.operations import Merged, forget, merge_indexes


def arrays_of(path):
    index = open_index(path)
    return {name: np.asarray(getattr(index, name)) for name in ARRAYS}


def assert_same(one, other):
    for name, array in arrays_of(one).items():
        np.testing.assert_array_equal(array, arrays_of(other)[name], name)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(parts=st.lists(st.integers(1, 3), max_size=12))
def test_merged_parts_are_the_index_made_in_one_go(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    photos = [looked_at(f"/p/{number:02}.jpg", number % 3) for number in range(len(parts))]
    whole = write_index(folder / "whole.npz", photos, roots=["/p"])
    sources = [
        write_index(
            folder / f"{part}.npz", [p for p, q in zip(photos, parts, strict=True) if q == part], roots=["/p"]
        )
        for part in (1, 2, 3)
    ]
    done = merge_indexes(sources, folder / "merged.npz")
    assert done == Merged(len(photos), sum(len(photo.faces) for photo in photos), 0)
    assert_same(folder / "merged.npz", whole)


def test_the_newest_of_one_photo_is_taken_whichever_comes_first(tmp_path):
    old, new = looked_at("/p/a.jpg", 1, mtime_ns=10), looked_at("/p/a.jpg", 2, seed=1, mtime_ns=11)
    a, b = write_index(tmp_path / "a.npz", [old]), write_index(tmp_path / "b.npz", [new])
    for number, sources in enumerate(([a, b], [b, a])):
        into = tmp_path / f"{number}.npz"
        assert merge_indexes(sources, into) == Merged(1, 2, 1)
        np.testing.assert_array_equal(open_index(into).vectors, new.vectors)


def test_what_one_has_forgotten_or_erased_is_not_taken_from_another(tmp_path):
    secret, group = looked_at("/p/secret.jpg"), looked_at("/p/group.jpg", 2)
    a = write_index(tmp_path / "a.npz", [secret, group], roots=["/p"])
    b = write_index(tmp_path / "b.npz", [secret, group], roots=["/p"])
    forget(a, ["/p/secret.jpg"])
    with NpzIndexWriter(a) as writer:
        writer.changes.erase([(group.file.digest, group.faces[0].box)])
        writer.commit()
    for number, sources in enumerate(([a, b], [b, a])):
        into = tmp_path / f"{number}.npz"
        merge_indexes(sources, into)
        index = open_index(into)
        assert [index.path(photo) for photo in range(index.photo_count)] == ["/p/group.jpg"]
        np.testing.assert_array_equal(index.vectors, group.vectors[1:])
        assert [digest.tobytes() for digest in index.forgotten] == sorted(secret.file.digests)
        assert index.erased_faces == {group.file.digest: (group.faces[0].box,)}
        write_index(into, [replace(group, file=replace(group.file, mtime_ns=99)), secret])
        assert open_index(into).face_count == 1


def test_an_index_may_be_merged_into_itself(tmp_path):
    a = write_index(tmp_path / "a.npz", [looked_at("/p/a.jpg")], roots=["/p"])
    b = write_index(tmp_path / "b.npz", [looked_at("/q/b.jpg")], roots=["/q"])
    assert merge_indexes([a, b], a) == Merged(2, 2, 0)
    assert open_index(a).meta.roots == ("/p", "/q")
    assert open_index(b).photo_count == 1


def test_nothing_is_overwritten_that_was_not_named(tmp_path):
    a, b = (write_index(tmp_path / f"{n}.npz", [looked_at(f"/p/{n}.jpg")]) for n in "ab")
    before = b.read_bytes()
    with pytest.raises(IndexFileError, match="already"):
        merge_indexes([a], b)
    assert b.read_bytes() == before


def test_indexes_of_two_makings_are_refused(tmp_path):
    a = write_index(tmp_path / "a.npz", [looked_at("/p/a.jpg")])
    other = replace(META, model="another")
    b = write_index(tmp_path / "b.npz", [looked_at("/p/b.jpg")], meta=other)
    with pytest.raises(IndexConflict, match=r"b\.npz.*another"):
        merge_indexes([a, b], tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


def test_what_an_interrupted_run_left_is_merged_too(tmp_path):
    a = write_index(tmp_path / "a.npz", [looked_at("/p/a.jpg")])
    with NpzIndexWriter(a) as writer:
        writer.add(looked_at("/p/b.jpg"))
    assert merge_indexes([a], tmp_path / "c.npz").photos == 2


def test_a_loop_of_links_is_said(tmp_path):
    (tmp_path / "a.npz").symlink_to(tmp_path / "b.npz")
    (tmp_path / "b.npz").symlink_to(tmp_path / "a.npz")
    with pytest.raises(FacesearchError) as caught:
        merge_indexes([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "all.npz")
    assert "a.npz" in caught.value.message


def test_one_that_is_missing_or_being_written_is_said(tmp_path):
    a = write_index(tmp_path / "a.npz", [looked_at("/p/a.jpg")])
    with pytest.raises(IndexMissing):
        merge_indexes([a, tmp_path / "no.npz"], tmp_path / "c.npz")
    with write_lock(a), pytest.raises(IndexBusy):
        merge_indexes([a], tmp_path / "c.npz")
    assert not any(os.path.exists(tmp_path / name) for name in ("c.npz", "no.npz"))
