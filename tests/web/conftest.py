import pytest
from support.browsing import a_browser
from support.command import OBAMA, Tool
from support.once import made_once
from support.serving import Served, check_end, copy_index, make_album, serving


@pytest.fixture(scope="module")
def browser():
    with a_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def album(tmp_path_factory, model_store):
    """A folder with photos and an index of them; tests only read it."""
    return made_once(tmp_path_factory, "album", lambda folder: make_album(Tool(folder, model_store.root)))


@pytest.fixture(scope="session")
def server(album, tmp_path_factory, model_store):
    """A server over the album, for tests that change nothing."""
    served = Served(Tool(tmp_path_factory.mktemp("served"), model_store.root), "--index", album / "album.npz")
    yield served
    check_end(served)


@pytest.fixture(scope="session")
def digest(server):
    """A photo of the index."""
    matches = server.ask("/1/api/query", "POST", OBAMA.read_bytes()).json["results"][0]["matches"]
    assert matches
    return server.ask("/1/api/people/1").json["faces"][0]["photo"]


@pytest.fixture
def home(tmp_path, album, model_store):
    """A tool over a copy of the album's index and people, which a test may change."""
    copy_index(album, tmp_path)
    return Tool(tmp_path, model_store.root)


@pytest.fixture(scope="module")
def changing(album, tmp_path_factory, model_store):
    """A server over another copy, which the tests of a module change one after the other."""
    folder = tmp_path_factory.mktemp("changing")
    copy_index(album, folder)
    with serving(folder, model_store.root, folder / "album.npz") as server:
        yield server


@pytest.fixture
def changed(changing, album):
    """That server, with the index and the people as they are in the album: it sees what changes on disk."""
    copy_index(album, changing.tool.folder)
    assert changing.ask("/1/").status == 200  # it has read them
    return changing
