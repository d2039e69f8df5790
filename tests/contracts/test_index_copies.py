"""An index is copied from one backend to another."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import META, looked_at
from test_index_backends import assert_same, odd_photos, written

from facesearch.errors import IndexConflict, IndexFileError, IndexMissing
from facesearch.index.backend import open_backend
from facesearch.index.npz.backend import NpzBackend
from facesearch.index.operations import copy_index
from facesearch.library import copy_library
from facesearch.people.facts import Facts
from facesearch.people.register import Register, only_editor, read_register, write_register

REGISTER = Register(
    np.arange(32, dtype=np.uint8).reshape(2, 16),
    np.ones((2, 4), np.int32),
    np.array([1, 0]),
    Facts({1: "Ada"}),
    1,
)


@pytest.fixture
def source(tmp_path):
    place = open_backend(tmp_path / "source.npz")
    written(place, odd_photos(), roots=("/p", "/empty"))
    with place.writer() as writer:
        writer.changes.forget([looked_at("/p/3.jpg").file.digest])
        writer.changes.erase([(looked_at("/p/7.jpg").file.digest, looked_at("/p/7.jpg", 3).faces[0].box)])
        writer.commit()
    register = replace(REGISTER, facts=Facts({1: "Ada"}, grouped=place.meta().updated))
    with only_editor(place.people):
        write_register(place.people, register)
    return place


@pytest.fixture(params=["file", pytest.param("milvus", marks=pytest.mark.slow)])
def target(request, tmp_path):
    if request.param == "file":
        return open_backend(tmp_path / "target.npz")
    return open_backend(
        request.getfixturevalue("milvus").url(f"copies_{request.node.name.partition('[')[0]}")
    )


def test_there_and_back_nothing_is_lost(source, target, tmp_path):
    done = copy_library(source, target)
    assert (done.photos, done.faces, done.already) == (source.read().photo_count, source.read().face_count, 0)
    assert_same(target.read(), source.read())
    assert copy_library(source, target).already == done.photos
    back = open_backend(tmp_path / "back.npz")
    copy_library(target, back)
    assert_same(back.read(), source.read())
    kept = read_register(back.people)
    assert kept.facts.names == {1: "Ada"}
    assert kept.facts.grouped == back.meta().updated  # they need not be grouped again
    assert np.array_equal(kept.digest, REGISTER.digest)


def test_what_was_interrupted_goes_on(source, target):
    class Stopped(Exception):
        pass

    seen = []

    def stop(photo):
        seen.append(photo.path)
        if len(seen) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        copy_index(source, target, on_photo=stop)
    started = []
    done = copy_index(source, target, on_start=started.append)
    assert done.already >= 5
    assert started == [source.read().photo_count - done.already]
    assert_same(target.read(), source.read())


def test_into_another_index_nothing_is_copied(source, target):
    written(target, [looked_at("/q/other.jpg")], roots=("/q",))
    before = target.read()
    with pytest.raises(IndexConflict) as caught:
        copy_index(source, target)
    assert target.name in caught.value.message
    assert_same(target.read(), before)


def test_into_an_index_of_another_making_nothing_is_copied(source, target):
    with target.writer(replace(META, model="other")) as writer:
        writer.changes.cover(["/p"])
        writer.commit()
    with pytest.raises(IndexConflict):
        copy_index(source, target)
    assert target.read().photo_count == 0


def test_a_copy_that_is_not_the_same_is_not_called_one(source, target, monkeypatch):
    sizes = itertools.count()

    def with_another_size(self, listing, rows, given=NpzBackend.photos):
        for photo in given(self, listing, rows):
            yield replace(photo, file=replace(photo.file, size=next(sizes)))

    with monkeypatch.context() as patch:
        patch.setattr(NpzBackend, "photos", with_another_size)
        with pytest.raises(IndexFileError, match="not what"):
            copy_index(source, target)


def test_there_has_to_be_something_to_copy(target, tmp_path):
    with pytest.raises(IndexMissing):
        copy_index(open_backend(tmp_path / "none.npz"), target)
    assert target.meta() is None
