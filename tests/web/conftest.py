import pytest
from command import Tool
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
