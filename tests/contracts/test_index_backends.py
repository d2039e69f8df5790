"""One body of tests for every backend that an index can be kept in; the file sets the standard."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support.fakes import CARD, GREEN, META, RED, YELLOW, coloured, looked_at, photo, pipeline, write_index

from facesearch.errors import IndexBusy, IndexConflict, IndexMissing, StorageError
from facesearch.faces import Box, Face, FileState, Moment, PhotoFaces, Reference, Status
from facesearch.index import operations
from facesearch.index.backend import open_backend
from facesearch.index.meta import Meta
from facesearch.judge import Judge
from facesearch.models.calibration import LibraryScale
from facesearch.people.facts import Facts
from facesearch.people.log import Entry, KnownFaces
from facesearch.people.register import Register, empty_register, only_editor, read_register, write_register
from facesearch.plan import IndexRequest
from facesearch.search import Question, search
from facesearch.update import rebuild_index, update_index

_NUMBERS = itertools.count()
ODD = "/p/odd.jpg"


@pytest.fixture(params=["file", "plugin", pytest.param("milvus", marks=pytest.mark.slow)])
def name(request, tmp_path, monkeypatch):
    """The name of a backend where no index is yet."""
    if request.param == "file":
        return tmp_path / "i.npz"
    if request.param == "plugin":
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support" / "plugin_package"))
        return f"example://{tmp_path}/i"
    return request.getfixturevalue("milvus").url(f"contract_{os.getpid()}_{next(_NUMBERS)}")


@pytest.fixture
def backend(name):
    return open_backend(name)


BIG = FileState(2**40, 2**62, 2**61, file_digest=b"0123456789ABCDEF")


def odd_photos():
    """Photos of every kind: with many faces, one, none, unreadable; of odd names, vectors and landmarks."""
    points = tuple((float(x), 1.5) for x in range(5))
    vectors = np.array([[0, 0, 0], [np.nan, 1, 2], [1e-30, 2e-30, 0], [1, 2, 3]], np.float32)
    faces = tuple(Face(Box(9 - n, -3, 50 - n, 7), 0.1 * n, points if n else None) for n in range(4))
    return [
        *(looked_at(f"/p/{number}.jpg", number % 4) for number in range(12)),
        looked_at("/p/\udcff\n'\"\\ .jpg", 2),
        looked_at("/p/\u00e9\u4e2d.jpg"),
        replace(looked_at("/p/copy of 7.jpg", 3), **same("/p/7.jpg")),
        a_film(),
        an_animation(),
        PhotoFaces(ODD, replace(BIG, digest=b"0123456789abcdef"), Status.OK, faces, vectors),
        PhotoFaces("/p/torn.jpg", FileState(5, -1), Status.UNREADABLE, reason="it is torn"),
        PhotoFaces("/p/none.jpg", FileState(5, 9, -1, b"fedcba9876543210"), Status.NO_FACE),
    ]


def a_film():
    """A film in which somebody is seen twice, as a pipeline gives it."""
    photo = looked_at("/p/film.mp4", 3)
    moments = (Moment(0, 900, 400), Moment(0, 900, 800), Moment(2**30, 2**31 - 1, 2**31 - 2))
    faces = zip(photo.faces, moments, strict=True)
    return replace(photo, faces=tuple(replace(face, moment=moment) for face, moment in faces))


def an_animation():
    """An animation with faces in its first, second and last frame."""
    photo = looked_at("/p/waving.gif", 3)
    faces = zip(photo.faces, (1, 2, 5000), strict=True)
    return replace(photo, faces=tuple(replace(face, moment=Moment.of_frame(frame)) for face, frame in faces))


def same(path):
    one = looked_at(path, 3)
    return {"faces": one.faces, "vectors": one.vectors, "file": one.file}


def written(backend, photos, roots=("/p",)):
    with backend.writer(META) as writer:
        writer.changes.cover(roots)
        for one in photos:
            writer.add(one)
        writer.commit()
    return backend


def assert_same(index, other):
    """Every array is the same to the bit; of the meta data all but when and by whom."""
    for field in fields(index):
        mine, theirs = getattr(index, field.name), getattr(other, field.name)
        if field.name == "meta":
            nobody = {"created": "", "updated": "", "facesearch": ""}
            assert replace(mine, **nobody) == replace(theirs, **nobody)
        else:
            assert mine.dtype == theirs.dtype
            assert mine.shape == theirs.shape, field.name
            assert mine.tobytes() == theirs.tobytes(), field.name


def reference_of(vector, path="/x/ref.jpg"):
    return Reference(path, 1, Box(0, 0, 1, 1), np.asarray(vector, np.float32))


def test_where_nothing_is(backend, name):
    assert backend.meta() is None
    for use in (
        lambda: backend.read(faces=False),
        backend.read,
        backend.searchable,
        lambda: backend.writer().__enter__(),
    ):
        with pytest.raises(IndexMissing) as caught:
            use()
        assert str(backend.name) in caught.value.message
        assert caught.value.hint
    assert not backend.people.there()
    assert backend.name in (os.fspath(name), os.fspath(name).removeprefix("example://") + ".npz")


def test_what_is_written_is_read_to_the_bit(backend, name, tmp_path):
    written(backend, odd_photos())
    held = open_backend(write_index(tmp_path / "held.npz", odd_photos(), roots=("/p",)))
    again = open_backend(name)
    assert_same(again.read(), held.read())
    listing = again.read(faces=False)
    assert [listing.path(row) for row in range(listing.photo_count)] == list(held.read().rows)
    assert listing.face_count == held.read().face_count
    assert again.meta() == again.read().meta
    assert again.meta().created
    rows = [listing.find(path) for path in ("/p/7.jpg", ODD, "/p/torn.jpg")]
    seven, odd, torn = again.photos(listing, rows)
    assert seven.faces == looked_at("/p/7.jpg", 3).faces
    assert np.array_equal(odd.vectors, odd_photos()[-3].vectors, equal_nan=True)
    assert odd.faces[1].landmarks[4] == (4.0, 1.5)
    assert (torn.status, torn.file.digest, torn.file.mtime_ns) == (Status.UNREADABLE, b"", -1)


def test_a_picture_is_known_by_its_digest(backend):
    index = written(backend, odd_photos()).searchable()
    seven = looked_at("/p/7.jpg", 3)
    known = index.vectors_of(seven.file.digest)
    assert set(known) == {face.box for face in seven.faces}
    for face, vector in zip(seven.faces, seven.vectors, strict=True):
        np.testing.assert_array_equal(known[face.box], vector)
    assert len(index.vectors_of(b"0123456789abcdef")) == 4
    for nothing in (b"", b"fedcba9876543210", seven.file.digest[:8] + bytes(8), bytes(16)):
        assert index.vectors_of(nothing) == {}


QUESTIONS = [
    Question(),
    Question(top=1000),
    Question(top=7, by="face"),
    Question(top=7, unique=True),
    Question(top=3, by="face", unique=True),
    Question(metric="euclidean"),
    Question(metric="euclidean", top=9, by="face"),
    Question(together=True),
    Question(together=True, metric="euclidean"),
    Question(metric="centred", top=9),
    Question(metric="centred", top=9, by="face", together=True),
    Question(metric="centred", threshold=0.3, top=50, unique=True),
    Question(threshold=0.3, top=50),
    Question(include_self=True, top=5),
    Question(how="exact"),
    Question(how="approximate"),
]


def test_a_search_finds_what_the_ranking_of_the_whole_finds(backend):
    rng = np.random.default_rng(3)
    many = [looked_at(f"/p/many/{number:03d}.jpg", 3, seed=1) for number in range(200)]
    copies = [replace(many[5], path=f"/p/copies/{number}.jpg") for number in range(40)]
    written(backend, [*odd_photos(), *many, *copies])
    whole, remote = backend.read(), backend.searchable()
    assert (remote.photo_count, remote.face_count) == (whole.photo_count, whole.face_count)
    assert remote.meta == whole.meta
    references = [reference_of(vector) for vector in rng.normal(size=(5, 3))]
    references += [
        reference_of(many[5].vectors[0], "/p/copies/3.jpg"),
        reference_of(many[8].vectors[1], many[8].path),
        reference_of([0, 0, 0]),
    ]
    for question in QUESTIONS:
        assert search(remote, references, question) == search(whole, references, question), question


def test_a_sample_is_of_the_same_faces_wherever_they_are(backend):
    many = [looked_at(f"/p/many/{number:03d}.jpg", 3, seed=1) for number in range(60)]
    copies = [replace(many[5], path=f"/p/copies/{number}.jpg") for number in range(40)]
    written(backend, [*odd_photos(), *many, *copies])
    whole, remote = backend.read(), backend.searchable()
    contents = {whole.digest[photo].tobytes(): photo for photo in np.unique(whole.photo)[::-1].tolist()}
    rows = [row for digest in sorted(contents) for row in whole.faces_of(contents[digest])]
    for count in (0, 1, 10, 100, 10_000):
        expected = whole.vectors[rows[:count]]
        np.testing.assert_array_equal(remote.sample(count), expected)
        np.testing.assert_array_equal(whole.sample(count), expected)


def test_probabilities_are_the_same_wherever_the_faces_are(backend):
    many = [looked_at(f"/p/many/{number:03d}.jpg", 3, seed=1) for number in range(60)]
    written(backend, [*odd_photos(), *many])
    whole, remote = backend.read(), backend.searchable()
    rates = ((1e-6, -1.5), (0.1, -0.5), (1.0, 3.0))
    card = replace(CARD, library=LibraryScale((0.1, 0.0, 0.0), 0.0, 0.3, 0.9, rates, "drawn", "2026-11-29"))
    references = [reference_of(vector) for vector in np.random.default_rng(3).normal(size=(5, 3))]
    for question in (
        Question(top=30),
        Question(top=30, min_probability=0.2),
        Question(top=9, together=True),
        Question(top=20, expand=True),
    ):
        told = [search(one, references, question, Judge.of(card, one, "cosine")) for one in (remote, whole)]
        assert told[0] == told[1]
        probabilities = [match.probability for answer in told[0] for match in answer.matches]
        assert min(probabilities) >= question.min_probability
        assert len(set(probabilities)) > 3


def test_every_change_is_that_of_the_file(backend, name, tmp_path):  # noqa: C901 (one story)
    held = open_backend(tmp_path / "held.npz")

    def change(act):
        for one in (held, open_backend(name)):
            with one.writer(META) as writer:
                act(writer)
                writer.commit()
        assert_same(backend.read(), held.read())

    def fill(writer):
        writer.changes.cover(["/p", "/q"])
        for one in odd_photos():
            writer.add(one)

    def take(writer):
        rows = writer.index.rows
        writer.changes.take("/p/7 moved.jpg", rows["/p/7.jpg"], looked_at("/p/7.jpg").file)
        writer.changes.drop("/p/7.jpg")
        edited = FileState(10, 21, 22, b"another digest..", b"and of the file.")
        writer.changes.take("/p/6.jpg", rows["/p/6.jpg"], edited)
        writer.changes.take(
            "/q/3.jpg", rows["/p/3.jpg"], FileState(10, 20, -1, looked_at("/p/3.jpg").file.digest)
        )

    def anew(writer):
        writer.add(looked_at("/p/5.jpg", 3, seed=9))
        writer.add(looked_at("/p/6.jpg", 1, seed=9, digest=looked_at("/p/2.jpg").file.digest))
        writer.changes.drop("/p/9.jpg")

    def forget(writer):
        writer.changes.forget([looked_at("/p/11.jpg").file.digest, b"never seen here!"])

    def erase(writer):
        of_file = looked_at("/p/7.jpg").file.file_digest  # either digest names the photo
        boxes = (of_file, Box(1, 2, 29, 40)), (looked_at("/p/1.jpg").file.digest, Box(0, 2, 30, 40))
        writer.changes.erase(boxes)

    def remember(writer):
        writer.changes.remember(b"never seen here!")
        writer.changes.remember(*looked_at("/p/7.jpg").file.digests)
        writer.add(looked_at("/p/7.jpg", 3))
        writer.add(looked_at("/p/1.jpg", 1))  # its face is still erased

    def move(writer):
        writer.changes.move_root("/p", "/else/where")

    def nothing(writer):
        pass

    for act in (fill, take, anew, forget, erase, remember, move, nothing):
        change(act)
    assert operations.forget(backend, ["/q"]) == operations.forget(held, ["/q"])
    assert operations.move_root(backend, "/else", "/p") == operations.move_root(held, "/else", "/p") > 10
    assert_same(open_backend(name).read(), held.read())
    assert backend.read(faces=False).face_count == backend.read().face_count


def test_what_was_added_is_kept_without_a_commit(backend, name):
    with pytest.raises(ZeroDivisionError), backend.writer(META) as writer:  # noqa: PT012
        writer.changes.cover(["/p"])
        writer.add(looked_at("/p/a.jpg", 2))
        raise ZeroDivisionError
    assert open_backend(name).meta().model == META.model
    with open_backend(name).writer(META) as writer:
        writer.add(looked_at("/p/b.jpg"))
        writer.commit()
    assert list(backend.read().rows) == ["/p/a.jpg", "/p/b.jpg"]
    assert backend.read().face_count == 3


def test_one_writer_at_a_time_and_readers_do_not_wait(backend, name):
    written(backend, [looked_at("/p/a.jpg")])
    with backend.writer():
        with pytest.raises(IndexBusy) as caught, open_backend(name).writer():
            pass
        assert backend.name in caught.value.message
        assert open_backend(name).read().photo_count == 1
    with backend.writer(), only_editor(backend.people), pytest.raises(IndexBusy):
        only_editor(open_backend(name).people).__enter__()
    with backend.writer():
        pass


def test_an_index_of_another_making_is_refused(backend, tmp_path):
    written(backend, [looked_at("/p/a.jpg")])
    for other in (replace(META, model="other"), replace(META, settings={"margin": 0.5})):
        with pytest.raises(IndexConflict):
            update_index(backend, other, IndexRequest((str(tmp_path),)), pipeline)
    assert backend.read().photo_count == 1


def test_an_update_is_that_of_the_file(backend, name, tmp_path):
    held, folder = open_backend(tmp_path / "held.npz"), tmp_path / "photos"

    def update(**wanted):
        reports = []
        for one in (held, open_backend(name)):
            wish = IndexRequest((str(folder),), **wanted)
            reports.append(update_index(one, META, wish, pipeline))
        assert replace(reports[0], seconds=0) == replace(reports[1], seconds=0)
        assert_same(backend.read(), held.read())
        return reports[1]

    for number in range(6):
        coloured(folder / f"{number}.png", number)
    photo(folder / "two.png", (5, 5, 20, RED), (60, 30, 30, GREEN))
    photo(folder / "none.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8torn")
    report = update()
    assert (report.indexed, report.no_face, len(report.unreadable), report.faces) == (7, 1, 1, 8)
    assert update().unchanged == 9
    (folder / "0.png").rename(folder / "moved.png")
    (folder / "1.png").unlink()
    photo(folder / "2.png", (20, 20, 30, YELLOW))
    report = update()
    assert (report.moved, report.removed, report.indexed) == (1, 1, 1)
    assert operations.forget(held, [str(folder / "3.png")]) == operations.forget(
        backend, [str(folder / "3.png")]
    )
    assert update().forgotten == 1
    assert update(again=True).indexed == 1
    for number in (3, 4, 5):
        (folder / f"{number}.png").unlink()
    for gone in ("moved.png", "2.png"):
        (folder / gone).unlink()
    assert list(update().kept.values()) == [5]
    assert update(prune=True).removed == 5


def test_a_rebuild_serves_the_old_one_until_it_is_done(backend, name, tmp_path):
    for number in range(4):
        coloured(tmp_path / "photos" / f"{number}.png", number)
    wanted = IndexRequest((str(tmp_path / "photos"),))
    update_index(backend, META, wanted, pipeline)
    before, other = backend.read(), replace(META, model="other", settings={"margin": 0.5})

    def look(one):
        assert open_backend(name).meta().model == META.model
        assert_same(open_backend(name).read(), before)
        with pytest.raises(IndexBusy), open_backend(name).writer():
            pass

    rebuild_index(backend, other, wanted, pipeline, on_photo=look)
    assert open_backend(name).meta().model == "other"
    assert_same(open_backend(name).read(), replace(before, meta=replace(other, roots=before.meta.roots)))
    with backend.rebuild() as again:
        assert again.backend.meta() is None
    with backend.writer():
        pass


def test_people_are_kept(backend, name):
    written(backend, [looked_at("/p/a.jpg")])
    assert read_register(backend.people).facts.names == {}
    rng = np.random.default_rng(0)
    boxes = rng.integers(1, 99, (5000, 4), np.int32)
    register = Register(
        rng.integers(0, 255, (5000, 16), np.uint8),
        boxes,
        np.ones(5000, np.int32),
        Facts({1: "Zo\u00eb"}, grouped="then"),
        7,
        (
            Entry.now(
                "named person 1",
                KnownFaces(np.eye(3, 16, dtype=np.uint8), boxes[:3], np.arange(3, dtype=np.int32)),
                {},
            ),
        ),
    )
    before = backend.state()
    for one in (register, empty_register(), register):
        with only_editor(backend.people):
            write_register(backend.people, one)
        found = read_register(open_backend(name).people)
        assert (found.facts, found.last) == (one.facts, one.last)
        assert [entry.did for entry in found.log] == [entry.did for entry in one.log]
        assert np.array_equal(found.digest, one.digest)
        assert np.array_equal(found.boxes, one.boxes)
    assert backend.state().index == before.index
    assert backend.state().people != before.people
    assert not backend.state().overwrites(before)


def test_its_state_tells_that_it_was_written(backend):
    written(backend, [looked_at("/p/a.jpg")])
    before = backend.state()
    assert backend.state() == before
    written(backend, [looked_at("/p/b.jpg")])
    assert backend.state().index != before.index
    assert backend.state().people == before.people
    assert not backend.state().overwrites(before)  # what readers have mapped is still whole


def test_what_is_forgotten_is_looked_for(backend):
    one = looked_at("/p/a.jpg", 2)
    written(backend, [one, looked_at("/p/b.jpg")])
    trace = one.vectors[0].tobytes()
    with pytest.raises(StorageError, match="forgotten"):
        backend.look_for([trace])
    operations.forget(backend, ["/p/a.jpg"])
    assert backend.look_for([trace]) > 0


def test_an_index_of_nothing(backend):
    written(backend, [])
    assert backend.read().photo_count == 0
    (answer,) = search(backend.searchable(), [reference_of([1, 0, 0])], Question())
    assert answer.matches == ()


def test_a_file_needs_nothing_of_the_others(tmp_path):
    code = (
        "import sys, json\nfrom facesearch.library import Library\n"
        "from facesearch.index.backend import open_backend\nopen_backend(sys.argv[1]).read(faces=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "print([name for name in sys.modules if 'milvus' in name])"
    )
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    loaded, ours = ran.stdout.splitlines()
    assert {"pymilvus", "grpc", "pandas"} & set(json.loads(loaded)) == set()
    assert ours == "[]"


def test_meta_of_any_dimension(backend):
    meta = Meta("wide", "fake:1", 2048, "squares")
    one = looked_at("/p/a.jpg", 3, dim=2048)
    with backend.writer(meta) as writer:
        writer.changes.cover(["/p"])
        writer.add(one)
        writer.commit()
    assert np.array_equal(backend.read().vectors, one.vectors)
