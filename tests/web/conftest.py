import pytest
from command import OBAMA, Tool
from serving import Served, check_end, make_album


@pytest.fixture(scope="session")
def album(tmp_path_factory, model_store):
    """A folder with photos and an index of them; tests only read it."""
    folder = tmp_path_factory.mktemp("album")
    make_album(Tool(folder, model_store.root))
    return folder


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
