import pytest
from support.command import LIBRARY, Tool
from support.once import made_once


@pytest.fixture
def tool(tmp_path, model_store):
    return Tool(tmp_path, model_store.root)


@pytest.fixture(scope="session")
def sample_index(tmp_path_factory, model_store):
    """An index of samples/library, made once by the command itself; tests only read it."""

    def make(folder):
        done = Tool(folder, model_store.root).run("index", LIBRARY, "--index", "samples.npz")
        assert done.status == 0, done

    return made_once(tmp_path_factory, "sample-index", make) / "samples.npz"
