import shutil

import pytest
from support.command import LIBRARY, SAMPLES, Tool
from support.once import made_once

from facesearch.index.npz.store import people_path


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


@pytest.fixture(scope="session")
def samples(tmp_path_factory, model_store):
    """An index of all samples, with people, made once by the command itself; tests only read it."""

    def make(folder):
        tool = Tool(folder, model_store.root)
        done = tool.run("index", LIBRARY, SAMPLES / "queries", "--index", "s.npz", "--model", "sface")
        assert done.status == 0, done
        done = tool.run("people", "--index", "s.npz")
        assert done.status == 0, done

    return made_once(tmp_path_factory, "samples", make) / "s.npz"


@pytest.fixture
def own(samples, tmp_path):
    """A copy of it that may be changed."""
    for path in (samples, people_path(samples)):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / samples.name


@pytest.fixture
def people(ask, own):
    """Runs `facesearch people` on a copy of the samples' index."""
    return lambda *args: ask("people", *args[:1], "--index", own, *args[1:])
