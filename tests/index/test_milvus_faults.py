"""What goes wrong with an index in Milvus: it is said in a sentence, and a second run completes the work."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import META, coloured, looked_at, pipeline
from support.milvus_server import MilvusServer, why_not

from facesearch.errors import FacesearchError, IndexAway, IndexBroken, IndexBusy, IndexConflict, StorageError
from facesearch.faces import Box, Reference
from facesearch.index.backend import open_backend
from facesearch.index.milvus import face_collection as faces_module
from facesearch.index.milvus import server
from facesearch.index.milvus import state as lease
from facesearch.index.milvus.address import Address
from facesearch.index.milvus.photo_collection import PhotoCollection
from facesearch.index.milvus.server import Server
from facesearch.index.milvus.state import read_state
from facesearch.index.milvus.writer import MilvusIndexWriter
from facesearch.plan import IndexRequest
from facesearch.search import Question, search
from facesearch.update import update_index

pytestmark = pytest.mark.slow

_NUMBERS = itertools.count()
_LEFT = []


@pytest.fixture
def url(milvus):
    return milvus.url(f"faults_{os.getpid()}_{next(_NUMBERS)}")


@pytest.fixture(scope="module")
def breakable(tmp_path_factory):
    """A server of these tests alone, which they cut off and kill."""
    if reason := why_not():
        pytest.skip(reason)
    server = MilvusServer(tmp_path_factory.mktemp("breakable"))
    yield server
    server.stop()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setenv("FACESEARCH_MILVUS_TIMEOUT", "2")


@pytest.fixture
def photos(tmp_path):
    for number in range(30):
        coloured(tmp_path / "photos" / f"{number:02d}.png", number)
    return tmp_path / "photos"


def check_each_is_there_once(url, count):
    """Every photo has its face, once, and there is no other."""
    whole = open_backend(url).read()
    assert (whole.photo_count, whole.face_count) == (count, count)
    check_sound(url)


def check_sound(url):
    """Ask the server itself: faces are there once, and for their photos alone."""
    collection = PhotoCollection(Server(Address.parse(url)))
    state = read_state(collection, 1)
    rows = list(faces_module.FaceCollection(collection.server, 1, state.meta.dim).numbers())
    assert len(rows) == len(set(rows))
    assert {face_set for face_set, _ in rows} == {photo.face_set for photo in collection.photos(1)} - {""}
    assert collection.head("open/1") == ""


def add_all(url, photos):
    with open_backend(url).writer(META) as writer:
        writer.changes.cover(["/p"])
        for one in photos:
            writer.add(one)
        writer.commit()


def test_a_server_that_is_away_is_said_and_nothing_hangs(breakable, hasty, photos):
    url = breakable.url(f"broken_{next(_NUMBERS)}")
    wanted = IndexRequest((str(photos),))
    update_index(open_backend(url), META, wanted, pipeline)
    for word in ("close", "hold"):
        breakable.tell(word)
        try:
            began = time.monotonic()
            for use in ("meta", "read", "searchable", "state"):
                with pytest.raises(IndexAway) as caught:
                    getattr(open_backend(url), use)()
                assert "127.0.0.1" in caught.value.message
                assert "run the same command again" in caught.value.hint
            assert time.monotonic() - began < 60
        finally:
            breakable.tell("open")
    check_each_is_there_once(url, 30)


def test_a_server_that_is_away_for_a_moment_is_waited_for(breakable, photos):
    url = breakable.url(f"broken_{next(_NUMBERS)}")

    def come_back():
        time.sleep(3)
        breakable.tell("open")

    coming = []

    def go_away(photo):
        if not coming:
            breakable.tell("close")
            coming.append(threading.Thread(target=come_back))
            coming[0].start()

    report = update_index(open_backend(url), META, IndexRequest((str(photos),)), pipeline, on_photo=go_away)
    coming[0].join()
    assert report.indexed == 30
    check_each_is_there_once(url, 30)


def test_a_server_that_goes_away_in_a_run(breakable, hasty, photos, monkeypatch):
    url = breakable.url(f"broken_{next(_NUMBERS)}")

    def go_away(photo):
        if photo.path.endswith("09.png"):
            breakable.tell("close")

    with pytest.raises(IndexAway):
        update_index(open_backend(url), META, IndexRequest((str(photos),)), pipeline, on_photo=go_away)
    breakable.tell("open")
    monkeypatch.delenv("FACESEARCH_MILVUS_TIMEOUT")  # it may take a moment until it is reached again
    report = update_index(open_backend(url), META, IndexRequest((str(photos),)), pipeline)
    assert report.indexed + report.unchanged == 30
    check_each_is_there_once(url, 30)


def test_a_server_that_is_killed_and_started_in_a_run(breakable, monkeypatch, photos):
    url = breakable.url(f"broken_{next(_NUMBERS)}")
    monkeypatch.setenv("FACESEARCH_MILVUS_TIMEOUT", "150")

    def restart(photo):
        if photo.path.endswith("09.png"):
            breakable.tell("kill")
            breakable.tell("start")

    report = update_index(open_backend(url), META, IndexRequest((str(photos),)), pipeline, on_photo=restart)
    assert report.indexed == 30
    check_each_is_there_once(url, 30)


class Killed(BaseException):
    """What a process feels of a kill: nothing after it is done."""


def dying(call, kill_at):
    """Do as the server's call does, but for one call that is not done, or (.5) the last thing that is."""
    calls = itertools.count()

    def act(self, *args, **options):
        number = next(calls)
        if number == kill_at:
            raise Killed
        call(self, *args, **options)
        if number + 0.5 == kill_at:
            raise Killed

    return act


def change(url, photos):
    """Bring some photos in, let another go, and one move."""
    with open_backend(url).writer(META) as writer:
        rows = writer.index.rows
        for one in photos:
            writer.add(one)
        writer.changes.drop("/p/0.jpg")
        if "/p/5.jpg" in rows:
            writer.changes.take("/p/moved.jpg", rows["/p/5.jpg"], looked_at("/p/5.jpg").file)
            writer.changes.drop("/p/5.jpg")
        writer.changes.erase([(looked_at("/p/4.jpg").file.digest, looked_at("/p/4.jpg", 2).faces[0].box)])
        writer.commit()


POINTS = [("upsert", point) for point in (2, 3.5, 5.5, 6, 8.5, 10)]
POINTS += [("delete", point) for point in (1, 3.5, 4.5)] + [("flush", 0), ("flush", 1.5)]


def test_a_run_that_is_killed_at_any_call_is_completed_by_the_next(url, monkeypatch):
    """The process ends before or after a call of the server; the next run makes good what it left."""
    add_all(url, [looked_at(f"/p/{number}.jpg", 2) for number in range(6)])
    died = 0
    for step, point in POINTS:
        photos = [looked_at("/p/new.jpg", 2, seed=died), looked_at("/p/2.jpg", 2, seed=died)]
        with monkeypatch.context() as patch:
            patch.setattr(Server, step, dying(getattr(Server, step), point))
            patch.setattr(MilvusIndexWriter, "__exit__", die)
            with suppress(Killed):
                change(url, photos)
                continue
        died += 1
        if died % 5:
            continue  # the next kill comes upon what this one left
        change(url, photos)
        add_all(url, [])
        whole = open_backend(url).read()
        assert {"/p/new.jpg", "/p/2.jpg", "/p/3.jpg"} <= set(whole.rows)
        row = whole.faces_of(whole.find("/p/2.jpg"))
        assert np.array_equal(whole.vectors[row.start : row.stop], photos[1].vectors)
        check_sound(url)
    assert died >= 6
    change(url, [])
    assert len(open_backend(url).read().faces_of(open_backend(url).read().find("/p/4.jpg"))) == 1
    check_sound(url)


def die(writer, kind, error, trace):
    lease._ended_here.add(writer._lease._owner)  # as the next process would find this one dead
    end_without_a_word(writer, kind, error, trace)


def end_without_a_word(writer, kind, error, trace):
    writer._lease._ended.set()
    writer._lease._lost = True
    _LEFT.append(writer._alone.pop_all())  # or what is open would be closed when it is forgotten


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from support.fakes import META, pipeline
from facesearch.index.backend import open_backend
from facesearch.plan import IndexRequest
from facesearch.update import update_index
from facesearch.index.milvus import pending
pending._PHOTOS = 4
update_index(open_backend(sys.argv[1]), META, IndexRequest((sys.argv[3],)), pipeline,
             on_photo=lambda photo: print(photo.path, flush=True))
"""


@pytest.mark.parametrize("count", [1, 10, 30])
def test_a_process_that_is_killed(url, photos, count):
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-c", KILLED, url, tests, str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(count):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    report = update_index(open_backend(url), META, IndexRequest((str(photos),)), pipeline)
    assert report.indexed + report.unchanged == 30
    check_each_is_there_once(url, 30)


def test_a_writer_elsewhere_that_died_is_waited_for_only_so_long(url, monkeypatch):
    add_all(url, [looked_at("/p/a.jpg")])
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "elsewhere")
    dead = open_backend(url).writer()
    dead.__enter__()
    end_without_a_word(dead, None, None, None)
    monkeypatch.undo()
    with pytest.raises(IndexBusy) as caught, open_backend(url).writer():
        pass
    assert "60 seconds" in caught.value.hint
    monkeypatch.setattr(lease.time, "time", lambda now=time.time: now() + 61)
    with open_backend(url).writer():
        pass


def test_who_lost_the_lease_writes_no_more(url, monkeypatch):
    with pytest.raises(IndexBusy), open_backend(url).writer(META) as writer:  # noqa: PT012
        writer._lease._lost = True
        writer.add(looked_at("/p/a.jpg"))
        writer.commit()


def test_a_collection_that_is_not_ours_is_left_alone(url):
    theirs = Server(Address.parse(url))
    fields = {"id": ("key", 10), "vector": ("vector", 2)}
    index = {"index_type": "FLAT", "metric_type": "L2"}
    theirs.create(theirs.address.collection, "theirs", fields, index)
    for use in (
        open_backend(url).meta,
        open_backend(url).read,
        open_backend(url).discard,
        lambda: add_all(url, []),
        lambda: open_backend(url).rebuild().__enter__(),
    ):
        with pytest.raises(IndexBroken) as caught:
            use()
        assert "not an index of this facesearch" in caught.value.message
    assert theirs.description(theirs.address.collection) == ("theirs", fields)


def test_another_models_index_is_refused(url):
    add_all(url, [looked_at("/p/a.jpg")])
    with pytest.raises(IndexConflict, match="weights"):
        update_index(
            open_backend(url), replace(META, model_digest="fake:other"), IndexRequest(("/p",)), pipeline
        )


def test_what_a_stranger_wrote_is_checked(url):
    add_all(url, [looked_at("/p/a.jpg")])
    collection = PhotoCollection(Server(Address.parse(url)))
    for name, data in (("meta/1", b"{"), ("closed/1", b"[]"), ("current", b"x")):
        good = collection.read(name)
        collection.write(name, data)
        collection.settle()
        with pytest.raises(IndexBroken):
            open_backend(url).read()
        if good is None:
            collection.erase(name)
        else:
            collection.write(name, good)
        collection.settle()
    assert open_backend(url).read().photo_count == 1


@pytest.mark.parametrize(("kind", "limit"), [("HNSW", 10_000), ("IVF_SQ8", 1000)])
def test_beyond_a_limit_it_is_searched_approximately(kind, limit, url, monkeypatch):
    monkeypatch.setattr(faces_module, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(faces_module, "WHOLE_UP_TO", limit)
    many = [looked_at(f"/p/{number}.jpg", 3, dim=16) for number in range(700)]
    with open_backend(url).writer(replace(META, dim=16)) as writer:
        writer.changes.cover(["/p"])
        for one in many:
            writer.add(one)
        writer.commit()
    place = open_backend(url)
    assert place.search_details()["search"] == "approximate"
    assert place.search_details()["index"] == kind
    whole, searched = place.read(), place.searchable()
    asked = [
        Reference("/x", 1, Box(0, 0, 1, 1), vector.astype(np.float32))
        for vector in np.random.default_rng(0).normal(size=(20, 16))
    ]
    for metric in ("cosine", "euclidean"):
        truth = search(whole, asked, Question(top=10, metric=metric))
        assert search(searched, asked, Question(top=10, metric=metric, how="exact")) == truth
        near = search(searched, asked, Question(top=10, metric=metric))
        hits = sum(
            len({match.path for match in one.matches} & {match.path for match in other.matches})
            for one, other in zip(truth, near, strict=True)
        )
        assert hits >= 198


def test_an_index_by_euclidean_distance(url):
    place = open_backend(url)
    place.metric = "euclidean"
    with place.writer(META) as writer:
        writer.changes.cover(["/p"])
        for number in range(300):
            writer.add(looked_at(f"/p/{number}.jpg", 2))
        writer.commit()
    assert place.search_details()["metric"] == "L2"
    asked = [Reference("/x", 1, Box(0, 0, 1, 1), np.array(v, np.float32)) for v in ([1, 2, 3], [0, 0, 1])]
    for question in (
        Question(metric="euclidean"),
        Question(metric="cosine"),
        Question(metric="euclidean", top=99),
    ):
        assert search(place.searchable(), asked, question) == search(place.read(), asked, question)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("quota exceeded[reason=disk quota exceeded]", StorageError, "has no room left"),
        ("deny to write, reason: memory quota exceeded", StorageError, "has no room left"),
        ("auth check failure, please check api key is correct", IndexAway, "refuses the login"),
        ("unknown trouble", IndexAway, "does not answer as it should"),
    ],
)
def test_a_refusal_is_a_sentence_at_once(milvus, text, kind, words):
    pymilvus = pytest.importorskip("pymilvus")
    one = Server(Address.parse(milvus.url("none")))

    def refuse():
        raise pymilvus.MilvusException(1, text)

    began = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        one._patiently(refuse)
    assert time.monotonic() - began < 1
    assert text.split("[")[0] in caught.value.message
    assert caught.value.hint


def test_without_pymilvus_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(FacesearchError) as caught:
        open_backend("milvus://localhost/a").meta()
    assert "'.[cluster]'" in caught.value.hint
    assert server.MOST == 16_384


_FORKS = """
import subprocess, sys
from facesearch.index.backend import open_backend
assert open_backend(sys.argv[1]).meta() is None
said = [subprocess.run(["true"], preexec_fn=lambda: None).returncode for _ in range(500)]
print(*set(said))
"""


def test_processes_can_be_started_beside_an_open_connection(url):
    # As Ray starts its own; gRPC aborted one of a hundred or so.
    ran = subprocess.run([sys.executable, "-c", _FORKS, url], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "0\n"), ran.stderr
