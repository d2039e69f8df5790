"""`query --server`: the same answers as without it, and nothing heavy is loaded for them."""

import json
import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.command import CURIE, LIBRARY, OBAMA, Tool
from support.serving import slow_after

from facesearch.errors import FacesearchError, NoFace, UnreadablePhoto
from facesearch.web.client import ServerQuery, ask_server

SOLVAY = LIBRARY / "solvay_1927.jpg"


@pytest.fixture
def ask_both(ask, album, server):
    """Asks the server, and without it the index; returns what came of both."""

    def ask_both(*args):
        with_server = ask("query", *args, "--server", server.address)
        return with_server, ask("query", *args, "--index", album / "album.npz")

    return ask_both


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--top", "9", "--json"),
        ("--format", "table"),
        *slow_after(
            0,
            [
                (),
                ("--metric", "euclidean", "--format", "csv"),
                ("--threshold", "0.5", "--format", "paths"),
                ("--min-probability", "0.9"),
                ("--by", "face", "--top", "30"),
                ("-0",),
                ("--unique",),
                ("--since", "1900", "--sort", "date"),
                ("--until", "2011-06", "--json"),
            ],
        ),
    ],
)
def test_the_answers_are_the_same(ask_both, options):
    with_server, without = ask_both(CURIE, OBAMA, *options)
    assert with_server.out == without.out
    assert with_server.out
    assert with_server.status == without.status
    # Only an index that is at hand tells how many photos have no date.
    assert with_server.err == re.sub(r"\d+ of \d+ photos have no date.*\n", "", without.err)


@pytest.mark.slow
@pytest.mark.parametrize("options", slow_after(1, [("--all-faces",), ("--face", "2")]))
def test_faces_are_chosen_as_without_it(ask_both, options):
    with_server, without = ask_both(SOLVAY, *options)
    assert with_server.out == without.out
    assert (with_server.status, with_server.err) == (without.status, without.err)


@pytest.mark.slow
def test_a_photo_of_the_index_is_left_out_of_its_own_matches(ask_both, album):
    own = album / "album" / "biden.jpg"
    for options in ((), ("--include-self",)):
        with_server, without = ask_both(own, *options, "--format", "paths")
        assert with_server.out == without.out
        assert (os.fsencode(own) in with_server.out) == bool(options)


@pytest.mark.slow
def test_a_batch_goes_on_past_what_is_not_a_reference(ask_both, tmp_path, server, model_store):
    (tmp_path / "text.jpg").write_text("no photo")
    refs = [OBAMA, "missing.jpg", LIBRARY / "chelsea.png", tmp_path / "text.jpg", tmp_path, CURIE]
    with_server, without = ask_both(*refs)
    assert with_server.out == without.out
    assert with_server.status == without.status == 2
    for name in ("missing.jpg", "chelsea.png: No face", "text.jpg", f"{tmp_path}: "):
        assert name in with_server.err
    names = b"\0".join(os.fsencode(ref) for ref in refs[:3])
    tool = Tool(tmp_path, model_store.root)
    listed = tool.run("query", "--files0-from", "-", "--server", server.address, input=names)
    assert listed.out.count(b"\n") == 4


@pytest.mark.slow
def test_nothing_found_is_one(ask_both):
    with_server, without = ask_both(OBAMA, "--threshold=-1")
    assert (with_server.status, with_server.err) == (without.status, without.err)
    assert with_server.status == 1


@pytest.mark.slow
def test_pictures_and_pages_are_made_of_the_answers(ask, server, tmp_path):
    outputs = ("--sheet", "s.jpg", "--html", "p.html", "--copy-to", "found")
    with_server = ask("query", OBAMA, *outputs, "--server", server.address)
    assert with_server.status == 0, with_server
    assert (tmp_path / "s.jpg").stat().st_size > 10_000
    assert "obama.jpg" in (tmp_path / "p.html").read_text()
    assert len(os.listdir(tmp_path / "found")) == 4


def test_the_environment_names_the_server(ask, server, monkeypatch):
    monkeypatch.setenv("FACESEARCH_SERVER", server.address)
    done = ask("query", OBAMA, "--top", "1")
    assert done.status == 0, done
    assert len(done.rows) == 1


def test_no_model_and_no_picture_library_is_loaded(tmp_path, server, model_store):
    tool = Tool(tmp_path, model_store.root)
    notes = tmp_path / "notes"
    done = tool.run("query", OBAMA, "--server", server.address, env={"SPY_LOG": notes})
    assert done.status == 0, done
    imported = {
        first for _, event, first in map(json.loads, notes.read_text().splitlines()) if event == "import"
    }
    assert {"openvino", "cv2", "tensorflow", "scipy", "PIL", "starlette", "uvicorn"} & imported == set()


def test_options_that_do_not_work_with_a_server(ask, server):
    for option in ("--together", "--whole", "--rotations"):
        done = ask("query", OBAMA, option, "--server", server.address)
        assert done.status == 2
        assert "does not work with a server: leave out --server." in done.err


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_an_address_at_which_no_server_is(ask, server):
    for address, said in (
        (f"http://127.0.0.1:{free_port()}/token/", "does not answer"),
        (f"http://{server.host}:{server.port}/wrong-token/", "is not facesearch of this version"),
        ("ftp://127.0.0.1/x", "is not the address of a server"),
        ("127.0.0.1:8765", "is not the address of a server"),
        ("http://", "is not the address of a server"),
        ("http://127.0.0.1:99999/x", "is not the address of a server"),
    ):
        done = ask("query", OBAMA, "--server", address)
        assert done.status == 2, address
        assert said in done.err


@pytest.mark.slow
def test_another_index_than_the_one_that_is_served(ask, server, album):
    done = ask("query", OBAMA, "--server", server.address, "--index", "other.npz")
    assert done.status == 2
    assert "The server does not serve this index." in done.err
    assert ask("query", OBAMA, "--server", server.address, "--model", "resnet50").status == 2
    assert ask("query", OBAMA, "--server", server.address, "--index", album / "album.npz").status == 0


@pytest.mark.parametrize(
    ("kind", "error"), [("no-face", NoFace), ("unreadable", UnreadablePhoto), ("other", FacesearchError)]
)
def test_the_kind_of_an_error_is_told_by_its_field(kind, error, tmp_path):
    """Not by the words of its sentence, which may change."""
    (tmp_path / "a.jpg").write_bytes(b"a photo")
    index = {"number": 1, "index": "a.npz", "model": "sface", "metric": "cosine", "knows_persons": True}
    listed = {"schema": 2, "indexes": [{**index, "photos": 1, "faces": 1}]}
    refusal = {"schema": 2, "error": "In other words.", "hint": "A step.", "kind": kind}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, listed)

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(422, refusal)

        def answer(self, status, value):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as other:
        threading.Thread(target=other.serve_forever, args=[0.02], daemon=True).start()
        address, photo = f"http://127.0.0.1:{other.server_port}/token/", str(tmp_path / "a.jpg")
        try:
            if kind == "other":
                with pytest.raises(FacesearchError, match="In other words") as caught:
                    ask_server(address, [photo], ServerQuery())
                problem = caught.value
            else:
                answers, _ = ask_server(address, [photo], ServerQuery())
                ((_, problem),) = answers.problems
        finally:
            other.shutdown()
    assert type(problem) is error
    assert (problem.message, problem.hint) == (f"{photo}: In other words.", "A step.")
