import pytest
from support.command import LIBRARY, Tool


@pytest.fixture
def tool(tmp_path, model_store):
    return Tool(tmp_path, model_store.root)


@pytest.fixture(scope="session")
def sample_index(tmp_path_factory, model_store):
    """An index of samples/library, made once by the command itself; tests only read it."""
    folder = tmp_path_factory.mktemp("sample-index")
    done = Tool(folder, model_store.root).run("index", LIBRARY, "--index", "samples.npz")
    assert done.status == 0, done
    return folder / "samples.npz"
