import pytest
from support.command import LIBRARY, Tool
from support.once import made_once


@pytest.fixture
def tool(tmp_path, model_store):
    return Tool(tmp_path, model_store.root)


@pytest.fixture(scope="session")
def sample_index(tmp_path_factory, model_store):
    """An index of samples/library, made once by the command itself; tests only read it."""
    return _sample_index(tmp_path_factory, model_store, "resnet50")


@pytest.fixture(scope="session")
def people_index(tmp_path_factory, model_store):
    """The same by a model that tells persons apart."""
    return _sample_index(tmp_path_factory, model_store, "sface")


def _sample_index(tmp_path_factory, model_store, model):
    def make(folder):
        tool = Tool(folder, model_store.root)
        done = tool.run("index", LIBRARY, "--index", "samples.npz", "--model", model)
        assert done.status == 0, done

    return made_once(tmp_path_factory, f"sample-index-{model}", make) / "samples.npz"
