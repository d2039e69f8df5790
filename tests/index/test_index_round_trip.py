import dataclasses
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import META, looked_at, write_index

from facesearch.errors import IndexConflict, IndexMissing
from facesearch.faces import Box, Face, FileState, PhotoFaces, Status
from facesearch.index.index import ARRAYS, FORMAT
from facesearch.index.meta import Meta, check_same_making
from facesearch.index.npz.arrays import BOUNDARY
from facesearch.index.npz.store import index_meta, journal_path, open_index
from facesearch.index.npz.writer import NpzIndexWriter

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in (b".", b"..")
)
figures = st.floats(-(2.0**60), 2.0**60, width=32)


digests = st.binary(min_size=16, max_size=16).filter(any)


@st.composite
def faces(draw):
    edge, side = st.integers(-(2**31), 2**31 - 1), st.integers(1, 2**31 - 1)
    marks = draw(st.none() | st.lists(st.tuples(figures, figures), min_size=5, max_size=5).map(tuple))
    box = Box(draw(edge), draw(edge), draw(side), draw(side))
    return Face(box, draw(st.floats(width=32, allow_nan=False)), marks)


@st.composite
def photos(draw, dim):
    """Return what a pipeline may yield: with faces, without, unreadable."""
    path = os.fsdecode(b"/library/" + b"/".join(draw(st.lists(names, min_size=1, max_size=3))))
    size, mtime_ns = draw(st.integers(0, 2**63 - 1)), draw(st.integers(-(2**63), 2**63 - 1))
    digest, file_digest = draw(digests), draw(st.just(b"") | digests)
    file = FileState(size, mtime_ns, draw(st.integers(-1, 2**63 - 1)), digest, file_digest)
    kind = draw(st.sampled_from(Status))
    if kind is Status.UNREADABLE:
        return PhotoFaces(path, draw(st.sampled_from([file, FileState(size, -1)])), kind, reason="It is.")
    found = tuple(draw(st.lists(faces(), min_size=1, max_size=4))) if kind is Status.OK else ()
    vectors = [draw(st.lists(figures, min_size=dim, max_size=dim)) for _ in found]
    return PhotoFaces(path, file, kind, found, np.float32(vectors) if found else None)


@st.composite
def libraries(draw):
    dim = draw(st.integers(1, 9))
    return dim, draw(st.lists(photos(dim), max_size=8, unique_by=lambda photo: photo.path))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(library=libraries(), parts=st.integers(1, 3))
def test_what_is_written_is_read(library, parts):
    dim, kept = library
    meta = dataclasses.replace(META, dim=dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.npz"
        for part in range(parts):  # in several runs, each on top of the other
            write_index(path, kept[part::parts], meta, roots=["/library"])
        index = open_index(path)
        kept = sorted(kept, key=lambda photo: os.fsencode(photo.path))
        assert [index.path(photo) for photo in range(index.photo_count)] == [p.path for p in kept]
        assert [index.file(photo) for photo in range(index.photo_count)] == [photo.file for photo in kept]
        assert index.status.tolist() == [int(photo.status) for photo in kept]
        rows = [
            (number, photo, face) for number, photo in enumerate(kept) for face in range(len(photo.faces))
        ]
        assert index.photo.tolist() == [number for number, _, _ in rows]
        for row, (_, photo, face) in enumerate(rows):
            assert index.box(row) == photo.faces[face].box
            assert index.scores[row] == np.float32(photo.faces[face].score)
            np.testing.assert_array_equal(index.vectors[row], photo.vectors[face])
            marks = photo.faces[face].landmarks
            wanted = np.full((5, 2), np.nan) if marks is None else marks
            np.testing.assert_array_equal(index.landmarks[row], np.float32(wanted))
        lengths = np.sqrt((index.vectors.astype(np.float64) ** 2).sum(axis=1))
        np.testing.assert_allclose(index.norms, lengths, rtol=1e-6)
        for number, photo in enumerate(kept):
            assert index.find(photo.path) == number == index.rows[photo.path]
        assert index.find("/library/\udcff\udcff not there") is None
        assert index.meta.roots == (("/library",))
        with np.load(path, allow_pickle=False) as plain:
            assert set(plain.files) == {"format", "meta", *ARRAYS}
            assert int(plain["format"]) == FORMAT
            assert Meta.from_json(str(plain["meta"])) == index.meta
            for name in ARRAYS:
                np.testing.assert_array_equal(plain[name], getattr(index, name))
        assert not journal_path(path).exists()


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_arrays_lie_on_pages_and_are_mapped(tmp_path, count):
    path = write_index(tmp_path / "i.npz", [looked_at(f"/p/{n:03}.jpg", 2) for n in range(count)])
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            head = member.header_offset
            names, extra = (int.from_bytes(data[head + at : head + at + 2], "little") for at in (26, 28))
            start = head + 30 + names + extra
            array_start = start + 10 + int.from_bytes(data[start + 8 : start + 10], "little")
            assert array_start % BOUNDARY == 0, member.filename
    vectors = open_index(path).vectors
    assert vectors.shape == (2 * count, META.dim)
    if count:
        assert vectors.ctypes.data % BOUNDARY == 0
        assert not vectors.flags.writeable
        assert not vectors.flags.owndata


def test_meta_is_kept_and_told(tmp_path):
    meta = dataclasses.replace(META, settings={"min_face": 20, "faces": "all", "rotations": True})
    write_index(tmp_path / "i.npz", [], meta, roots=["/b", "/a\udcff"])
    kept = index_meta(tmp_path / "i.npz")
    assert dataclasses.replace(kept, roots=(), created="", updated="", facesearch="") == meta
    assert kept.roots == ("/b", "/a\udcff")
    assert kept.created == kept.updated != ""
    assert kept.facesearch
    write_index(tmp_path / "i.npz", [looked_at("/b/x.jpg")], meta, roots=["/c"])
    assert index_meta(tmp_path / "i.npz").created == kept.created
    assert index_meta(tmp_path / "i.npz").roots == ("/b", "/a\udcff", "/c")


def test_an_index_that_is_not_there(tmp_path):
    path = tmp_path / "i.npz"
    with pytest.raises(IndexMissing, match="There is no index"):
        open_index(path)
    assert index_meta(path) is None
    with pytest.raises(IndexMissing), NpzIndexWriter(path):
        pass


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": "other"}, "model"),
        ({"model_digest": "fake:ff"}, "weights"),
        ({"dim": 4}, "numbers"),
        ({"detector": "circles"}, "detector"),
        ({"settings": {"margin": 0.5}}, "settings"),
    ],
)
def test_two_makings_are_not_mixed(change, word):
    check_same_making(META, dataclasses.replace(META, roots=("/x",), created="now"), what="It")
    with pytest.raises(IndexConflict, match=word) as caught:
        check_same_making(META, dataclasses.replace(META, **change), what="What is asked for")
    assert "--rebuild" in caught.value.hint


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 1e38])
def test_a_vector_that_the_network_spoiled_does_not_cost_the_index(tmp_path, spoilt):
    bad = dataclasses.replace(looked_at("/p/a.jpg"), vectors=np.full((1, 3), spoilt, np.float32))
    path = write_index(tmp_path / "i.npz", [bad, looked_at("/p/b.jpg")])
    index = open_index(path)
    assert index.photo_count == index.face_count == 2
    assert np.all(np.isfinite(index.norms))
