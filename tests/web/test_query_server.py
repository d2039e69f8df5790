"""`query --server`: the same answers as without it, and nothing heavy is loaded for them."""

import json
import os
import socket

import pytest
from support.command import CURIE, LIBRARY, OBAMA, Tool

SOLVAY = LIBRARY / "solvay_1927.jpg"


@pytest.fixture
def ask(tmp_path, album, server, model_store):
    """Asks the server, and without it the index; gives both."""
    tool = Tool(tmp_path, model_store.root)

    def ask(*args, input=None):
        with_server = tool.run("query", *args, "--server", server.address, input=input)
        return with_server, tool.run("query", *args, "--index", album / "album.npz", input=input)

    return ask


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--top", "9", "--json"),
        ("--format", "table"),
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                ("--metric", "euclidean", "--format", "csv"),
                ("--threshold", "0.5", "--format", "paths"),
                ("--min-probability", "0.9"),
                ("--by", "face", "--top", "30"),
                ("-0",),
                ("--unique",),
            )
        ),
    ],
)
def test_the_answers_are_the_same(ask, options):
    with_server, without = ask(CURIE, OBAMA, *options)
    assert with_server.out == without.out
    assert with_server.out
    assert (with_server.status, with_server.err) == (without.status, without.err)


@pytest.mark.parametrize("options", [("--all-faces",), ("--face", "2")])
def test_faces_are_chosen_as_without_it(ask, options):
    with_server, without = ask(SOLVAY, *options)
    assert with_server.out == without.out
    assert (with_server.status, with_server.err) == (without.status, without.err)


def test_a_photo_of_the_index_is_left_out_of_its_own_matches(ask, album):
    own = album / "album" / "biden.jpg"
    for options in ((), ("--include-self",)):
        with_server, without = ask(own, *options, "--format", "paths")
        assert with_server.out == without.out
        assert (os.fsencode(own) in with_server.out) == bool(options)


def test_a_batch_goes_on_past_what_is_no_reference(ask, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    refs = [OBAMA, "missing.jpg", LIBRARY / "chelsea.png", tmp_path / "text.jpg", tmp_path, CURIE]
    with_server, without = ask(*refs)
    assert with_server.out == without.out
    assert with_server.status == without.status == 2
    for name in ("missing.jpg", "chelsea.png: No face", "text.jpg", f"{tmp_path}: "):
        assert name in with_server.err
    names = b"\0".join(os.fsencode(ref) for ref in refs[:3])
    listed, _ = ask("--files0-from", "-", input=names)
    assert listed.out.count(b"\n") == 4


def test_nothing_found_is_one(ask):
    with_server, without = ask(OBAMA, "--threshold=-1")
    assert (with_server.status, with_server.err) == (without.status, without.err)
    assert with_server.status == 1


def test_pictures_and_pages_are_made_of_the_answers(ask, tmp_path):
    with_server, _ = ask(OBAMA, "--sheet", "s.jpg", "--html", "p.html", "--copy-to", "found")
    assert with_server.status == 0, with_server
    assert (tmp_path / "s.jpg").stat().st_size > 10_000
    assert "obama.jpg" in (tmp_path / "p.html").read_text()
    assert len(os.listdir(tmp_path / "found")) == 4


def test_the_environment_names_the_server(tmp_path, server, model_store):
    tool = Tool(tmp_path, model_store.root)
    done = tool.run("query", OBAMA, "--top", "1", env={"FACESEARCH_SERVER": server.address})
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


@pytest.mark.parametrize("options", [("--together",), ("--whole",), ("--rotations",)])
def test_what_a_server_is_not_asked_for_is_a_mistake_of_use(ask, options):
    done, _ = ask(OBAMA, *options)
    assert done.status == 2
    assert "does not work with a server: leave out --server." in done.err


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:{free}/token/", "does not answer"),
        ("http://{server}/wrong-token/", "is not facesearch of this version"),
        ("https://127.0.0.1/x", "is not the address of a server"),
        ("127.0.0.1:8765", "is not the address of a server"),
        ("http://", "is not the address of a server"),
        ("http://127.0.0.1:99999/x", "is not the address of a server"),
    ],
)
def test_an_address_at_which_no_server_is(tmp_path, server, model_store, address, said):
    address = address.format(free=free_port(), server=f"{server.host}:{server.port}")
    done = Tool(tmp_path, model_store.root).run("query", OBAMA, "--server", address)
    assert done.status == 2
    assert said in done.err


def test_another_index_than_the_one_that_is_served(tmp_path, server, model_store, album):
    tool = Tool(tmp_path, model_store.root)
    done = tool.run("query", OBAMA, "--server", server.address, "--index", "other.npz")
    assert done.status == 2
    assert "The server does not serve this index." in done.err
    assert tool.run("query", OBAMA, "--server", server.address, "--model", "resnet50").status == 2
    assert tool.run("query", OBAMA, "--server", server.address, "--index", album / "album.npz").status == 0
