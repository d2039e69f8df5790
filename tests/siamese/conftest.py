from pathlib import Path

import numpy as np
import pytest
from support.drawn_people import draw_people

from facesearch.embed.foreign import OWN_SIZE, import_model
from facesearch.models.card import Card
from facesearch.models.store import ModelStore

PEOPLE, PHOTOS = 16, 5


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder of 16 drawn people with five photos of each; tests only read it."""
    return draw_people(tmp_path_factory.mktemp("drawn") / "people", PEOPLE, PHOTOS)


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """Features of all tests' photos, kept between them."""
    folder = tmp_path_factory.getbasetemp() / "training-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def write_soft_network(path):
    """Write an OpenVINO network that gives a picture's colours in 4 x 4 fields: (n, 48)."""
    from facesearch.models.openvino import load_openvino

    openvino = load_openvino()
    ops = openvino.opset13
    picture = ops.parameter([-1, 3, 16, 16], np.float32, name="picture")
    fields = ops.avg_pool(picture, [4, 4], [0, 0], [0, 0], [4, 4], False)
    flat = ops.reshape(fields, np.array([-1, 48]), False)
    openvino.save_model(openvino.Model([flat], [picture], "soft"), path, compress_to_fp16=False)
    return path


@pytest.fixture(scope="session")
def soft_store(tmp_path_factory):
    """A store with the model "soft"; tests only read it."""
    folder = tmp_path_factory.mktemp("soft")
    store = ModelStore(folder / "models")
    card = Card(name="soft", dim=1, size=OWN_SIZE, margin=0.2, detector="haar", mean=(128.0, 128.0, 128.0))
    import_model(write_soft_network(Path(folder) / "soft.xml"), card, store)
    return store


@pytest.fixture
def store(tmp_path, soft_store):
    """A store of the test's own, with the model "soft" in it."""
    import shutil

    shutil.copytree(soft_store.root, tmp_path / "models")
    return ModelStore(tmp_path / "models")
