"""Who was forgotten is nowhere any more, and does not come back unless that is asked for."""

import json
import os
import shutil

import numpy as np
import pytest
from support.command import LIBRARY
from support.fakes import photo as drawn
from support.known_people import WITHIN, grouped, kept, opened, shows, whose

from facesearch import library as library_module
from facesearch.errors import IndexBusy, PeopleBroken, PeopleError, StorageError
from facesearch.faces import Box
from facesearch.index.changes import Changes
from facesearch.index.npz.backend import CompanionFile, NpzBackend
from facesearch.index.npz.store import journal_path, open_index, people_path, rebuild_path, unfinished_path
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.library import Library
from facesearch.model import DetectionSettings
from facesearch.people.register import read_register
from facesearch.photos.content import fingerprint
from facesearch.plan import IndexRequest
from facesearch.show.thumbnails import Thumbnails

ADA, BEA, CLEO = range(3)
WHO = {"a.png": (ADA, BEA), "b.png": (ADA,), "c.png": (BEA,), "d.png": (CLEO,)}
NAME = "Ada \u00d6zlem O\u2019Hara"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    paths = [drawn(tmp_path / "photos" / name, (at, 5, 30, (9, 200, at))) for at, name in enumerate(WHO)]
    return [
        shows(str(path), *who, digest=fingerprint(path.read_bytes()))
        for path, who in zip(paths, WHO.values(), strict=True)
    ]


@pytest.fixture
def path(tmp_path, photos):
    (tmp_path / "index").mkdir()
    path = tmp_path / "index" / "i.npz"
    people = grouped(path, photos)
    people.name(people.person(1), NAME)
    people.name(people.person(2), "Bea")
    kept(path, people)
    for photo in photos:
        Thumbnails().photo(photo.path, photo.file.digest, 64)
        Thumbnails().face(photo.path, photo.file.digest, Box(0, 5, 30, 30), 32)
    return path


@pytest.fixture
def library(path):
    return Library(path)


def traces(photos, person=ADA):
    """Return what may be nowhere: a person's vectors, and the name in every way that text is written."""
    vectors = [
        photo.vectors[at].tobytes()
        for photo, who in zip(photos, WHO.values(), strict=True)
        for at, one in enumerate(who)
        if one == person
    ]
    names = [NAME.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le")]
    names += [json.dumps(NAME)[1:-1].encode(code) for code in ("ascii", "utf-16-le", "utf-32-le")]
    return [vector[at : at + 32] for vector in vectors for at in (0, 256)] + names


def holding(folder, wanted):
    """Return the files that hold one of some bytes, photos aside."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "photos"]
    return {file.name for file in files if any(trace in file.read_bytes() for trace in wanted)}


def pictures(cache, photos):
    names = [file.name for file in cache.rglob("*.jpg")]
    return [sum(name.startswith(photo.file.digest.hex()) for name in names) for photo in photos]


def test_a_person_is_in_no_file_any_more_and_the_others_are(library, path, photos, tmp_path, cache):
    assert holding(tmp_path, traces(photos)) == {"i.npz", "i.npz.people"}
    assert pictures(cache, photos) == [2, 2, 2, 2]
    before = whose(opened(path))
    grouped_now = library.people().up_to_date
    done = library.forget_person(NAME)
    assert (done.faces, done.photos) == (2, 2)
    assert library.people().up_to_date is grouped_now is True  # nothing came that is not grouped
    assert done.scanned == path.stat().st_size + people_path(path).stat().st_size
    assert holding(tmp_path, traces(photos)) == set()
    assert holding(tmp_path, traces(photos, BEA)[:2]) == {"i.npz"}
    assert pictures(cache, photos) == [0, 0, 2, 2]
    people = library.people()
    assert [one.name for one in people.everyone()] == ["Bea"]
    after = whose(people)
    assert after == {
        (photos[0].path, 1): before[photos[0].path, 2],
        (photos[2].path, 1): before[photos[2].path, 1],
        (photos[3].path, 1): -1,
    }
    assert library.contents.photo_count == 4
    with pytest.raises(PeopleError):
        library.forget_person(NAME)


def test_one_without_a_name_is_forgotten_by_number(library, photos, tmp_path):
    with library.changing_people() as people:
        people.facts.names.clear()
    assert library.forget_person("1").faces == 2
    assert holding(tmp_path, traces(photos)) == set()
    with pytest.raises(PeopleError):
        library.people().person(1)


def test_what_interrupted_runs_left_is_looked_through_too(library, path, photos, tmp_path):
    for place in (rebuild_path(path), unfinished_path(path), unfinished_path(people_path(path))):
        place.write_bytes(photos[1].vectors.tobytes())
    shutil.copy(path, rebuild_path(path))
    with NpzIndexWriter(path) as writer:  # in the journal, not yet in the index
        writer.add(shows(str(tmp_path / "late.png"), CLEO))
    assert journal_path(path).exists()
    library.forget_person(NAME)
    assert holding(tmp_path, traces(photos)) == set()
    assert {file.name for file in path.parent.iterdir()} == {
        *("i.npz", "i.npz.lock", "i.npz.people", "i.npz.people.lock")
    }
    assert library.contents.photo_count == 5


def test_a_trace_that_is_left_is_told(library, path, photos, monkeypatch):
    def erase_nothing(_changes, _faces):
        pass

    monkeypatch.setattr(Changes, "erase", erase_nothing)
    with pytest.raises(StorageError, match=r"i\.npz' still holds something") as caught:
        library.forget_person(NAME)
    assert "again" in caught.value.hint


def test_an_equal_face_in_another_file_is_its_own(library, path, photos, tmp_path):
    """A copy with other data about it has the same vectors; that its face stays is no trace."""
    with NpzIndexWriter(path) as writer:
        writer.add(shows("/p/tagged.png", ADA, content=photos[1].path))
        writer.commit()
    library.refresh()
    np.testing.assert_array_equal(library.contents.vectors[0], photos[1].vectors[0])
    assert library.forget_person(NAME).faces == 2
    assert whose(library.people())["/p/tagged.png", 1] == -1


@pytest.mark.parametrize("at", ["commit", "thumbnails", "register", "scan"])
def test_interrupted_half_way_it_is_done_by_doing_it_again(library, path, photos, tmp_path, cache, at):
    class Stopped(Exception):
        pass

    def stop(*_args, **_more):
        raise Stopped

    place, name = {
        "commit": (NpzIndexWriter, "commit"),
        "thumbnails": (Thumbnails, "forget"),
        "register": (library_module, "write_register"),
        "scan": (NpzBackend, "look_for"),
    }[at]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(Stopped):
            library.forget_person(NAME)
    if at == "scan":
        with pytest.raises(PeopleError):
            library.forget_person(NAME)
    else:
        assert Library(path).forget_person(NAME).faces == (2 if at == "commit" else 0)
    assert holding(tmp_path, traces(photos)) == set()
    assert pictures(cache, photos) == [0, 0, 2, 2]
    assert [one.name for one in Library(path).people().everyone()] == ["Bea"]
    assert read_register(CompanionFile(people_path(path))).of_people().person.tolist() == [2, 2]


def test_faces_in_photos_that_are_away_stay_out_when_those_come_back(library, path, photos):
    with NpzIndexWriter(path) as writer:
        writer.changes.drop(photos[0].path)
        writer.commit()
    assert library.forget_person(NAME).faces == 1
    with NpzIndexWriter(path) as writer:
        writer.add(photos[0])
        writer.commit()
    library.refresh()
    people = library.people()
    bea = people.person("Bea")
    assert whose(people)[photos[0].path, 1] == bea.number
    assert bea.photos == 2
    assert open_index(path).face_count == 3


def test_nothing_is_forgotten_while_another_writes(library, path, photos, cache):
    before = path.read_bytes(), people_path(path).read_bytes()
    with NpzIndexWriter(path), pytest.raises(IndexBusy):
        library.forget_person(NAME)
    with Library(path).changing_people(), pytest.raises(IndexBusy):
        library.forget_person(NAME)
    assert path.read_bytes() == before[0]
    assert pictures(cache, photos) == [2, 2, 2, 2]
    assert library.people().person(NAME).photos == 2


def test_what_was_said_by_another_process_is_not_brought_back(path, photos):
    """One who opened the people before sees, when it changes them, what was forgotten since."""
    early = Library(path)
    assert early.people().person(NAME).photos == 2
    Library(path).forget_person(NAME)
    with early.changing_people() as people:
        people.group(WITHIN)
    assert [one.name for one in early.people().everyone()] == ["Bea"]
    assert read_register(CompanionFile(people_path(path))).of_people().person.tolist() == [2, 2]


def test_forgotten_photos_take_along_who_is_in_them(library, path, photos):
    assert library.forget([photos[0].path]).removed == (photos[0].path,)
    register = read_register(CompanionFile(people_path(path)))
    assert sorted(register.person.tolist()) == [-1, 1, 2]
    assert photos[0].file.digest not in {digest.tobytes() for digest in register.digest}
    assert register.facts.names == {1: NAME, 2: "Bea"}
    assert library.forget([photos[0].path]).removed == ()


def test_the_log_does_not_name_a_photo_that_was_forgotten_though_a_copy_stays(path, photos, tmp_path):
    copy = tmp_path / "photos" / "secret.png"
    shutil.copy(photos[3].path, copy)
    same = shows(str(copy), CLEO, content=photos[3].path, digest=photos[3].file.digest)
    people = grouped(path, [*photos, same])
    people.ignore([people.face(str(copy), 1)])
    kept(path, people)
    trace = ["secret.png".encode("utf-32-le")]
    assert holding(path.parent, trace) == {"i.npz.people"}
    assert Library(path).forget([copy]).copies == (photos[3].path,)
    assert holding(path.parent, trace) == set()
    assert opened(path).whose[-1] == 0


def test_photos_that_were_tagged_are_not_counted_with_those_that_lost_a_face(library, path, photos):
    people = opened(path)
    people.tag(3, people.person(1))
    kept(path, people)
    gone = library.forget_person("1")
    assert (gone.faces, gone.photos) == (2, 2)


def test_forgetting_photos_that_was_interrupted_is_made_good_by_the_next(library, path, photos, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(library_module, "write_register", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            library.forget([photos[0].path])
    assert len(read_register(CompanionFile(people_path(path))).person) == 5
    library.forget(["/nowhere"])
    assert len(read_register(CompanionFile(people_path(path))).person) == 3


def test_people_who_cannot_be_read_are_found_out_before_photos_are_forgotten(library, path, photos):
    people_path(path).write_bytes(b"broken")
    before = path.read_bytes()
    for forget in (lambda: library.forget([photos[0].path]), lambda: library.forget_person("1")):
        with pytest.raises(PeopleBroken):
            forget()
    assert path.read_bytes() == before
    assert people_path(path).read_bytes() == b"broken"


def test_photos_of_an_index_without_people(library, path, photos):
    for file in (people_path(path), people_path(path).with_name("i.npz.people.lock")):
        file.unlink(missing_ok=True)
    assert library.forget([photos[1].path]).removed == (photos[1].path,)
    assert not list(path.parent.glob("*.people*"))


@pytest.fixture(scope="module")
def real(tmp_path_factory, model_store):
    """Return a library of real photos in which he is named, and the folder of the photos."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "photos").mkdir()
    for name in ("obama_2009.jpg", "obama_2010.jpg", "grace_hopper.jpg"):
        shutil.copy2(LIBRARY / name, folder / "photos")
    shutil.copy2(LIBRARY / "obama_2009.jpg", folder / "photos" / "copy.jpg")
    library = Library(folder / "i.npz", "sface", store=model_store)
    library.index([folder / "photos"])
    with library.changing_people() as people:
        people.group(WITHIN)
        people.name(people.person(1), "Barack Obama")
    return library, folder / "photos"


def names(library):
    layout = library.contents
    return sorted(os.path.basename(layout.path(int(photo))) for photo in layout.photo)


@pytest.mark.slow
def test_a_forgotten_person_stays_out_until_again(real, tmp_path):
    """One after the other: indexing, new settings, photos that come again; then --again."""
    library, photos = real
    assert names(library) == ["copy.jpg", "grace_hopper.jpg", "obama_2009.jpg", "obama_2010.jpg"]
    assert library.forget_person("barack obama").faces == 3
    hers = ["grace_hopper.jpg"]
    assert names(library) == hers
    library.index([photos])
    assert names(library) == hers
    library.index([photos], rebuild=True)
    assert names(library) == hers
    library.index([photos], DetectionSettings(min_face=40), rebuild=True)  # boxes may differ by some pixels
    assert names(library) == hers
    for name in ("obama_2009.jpg", "obama_2010.jpg"):  # touched, and under another name
        os.utime(photos / name, (1, 1))
        shutil.copy(photos / name, photos / f"again-{name}")
    library.index([photos])
    assert names(library) == hers
    library.index(IndexRequest((str(photos),), again=True))
    assert names(library) == [
        *("again-obama_2009.jpg", "again-obama_2010.jpg", "copy.jpg", "grace_hopper.jpg"),
        *("obama_2009.jpg", "obama_2010.jpg"),
    ]
    with library.changing_people() as people:
        assert people.group(WITHIN).new == 1
        (him,) = people.everyone()
        assert (him.number, him.name, him.photos) == (2, "", 5)
    library.index([photos], rebuild=True)
    assert len(names(library)) == 6
