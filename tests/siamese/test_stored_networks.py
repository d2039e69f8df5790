"""What is stored of a trained network gives what was trained, by OpenVINO alone."""

from dataclasses import replace

import numpy as np
import pytest

from facesearch.embed import open_embedder
from facesearch.embed.foreign import OWN_SIZE, import_model
from facesearch.errors import ModelError
from facesearch.models.card import NETWORK, Card
from facesearch.models.store import ModelStore
from facesearch.siamese.backbone import LinearHead, head_on_backbone

TRUNK = Card(
    name="mean", dim=1, size=OWN_SIZE, margin=0.2, detector="haar", color="rgb", mean=(10.0, 20.0, 30.0)
)


@pytest.fixture
def store(tmp_path, mean_network):
    """A store with a backbone in it that gives the mean of each channel."""
    store = ModelStore(tmp_path / "models")
    import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), TRUNK, store)
    return store


@pytest.fixture
def pictures():
    # No two of a colour, so that means differ.
    rng = np.random.default_rng(5)
    return (rng.integers(0, 200, (9, 1, 1, 3)) + rng.integers(0, 56, (9, 8, 8, 3))).astype(np.uint8)


def head(dim, out, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(dim, out)).astype(np.float32), rng.normal(size=out).astype(np.float32)


def install(store, weights, bias, *, length=2.0, name="mine", backbone="mean"):
    card = replace(store.card(backbone), name=name, dim=weights.shape[1], digest="sha256:" + "0" * 64)
    base = store.card(backbone)
    return store.install(
        name, head_on_backbone(store.path(backbone), base, LinearHead(weights, bias, length), card)
    )


def plainly(vectors, weights, bias, length):
    """Return what a head makes of a backbone's vectors, in numpy."""
    vectors = vectors.astype(np.float64)
    found = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ weights + bias
    return length * found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("out", [1, 2, 3, 7])
def test_a_head_on_a_trunk_is_what_numpy_gives(store, pictures, out):
    weights, bias = head(3, out)
    card = install(store, weights, bias)
    backbone = open_embedder("mean", store=store, precision="f32").embed(pictures)

    found = open_embedder("mine", store=store, precision="f32").embed(pictures)

    assert (found.shape, found.dtype, card.dim) == ((9, out), np.float32, out)
    np.testing.assert_allclose(found, plainly(backbone, weights, bias, 2.0), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2.0, atol=1e-5)
    assert store.verify("mine") == card


@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_any_number_of_faces_is_one_batch(store, pictures, n):
    install(store, *head(3, 4))
    embedder = open_embedder("mine", store=store, precision="f32")
    some = pictures[np.arange(n) % 9]

    found = embedder.embed(some)

    assert found.shape == (n, 4)
    for one, vector in zip(some, found, strict=True):
        np.testing.assert_allclose(embedder.embed(one[None])[0], vector, atol=1e-5)


def test_another_length_is_kept(store, pictures):
    install(store, *head(3, 4), length=0.5)
    found = open_embedder("mine", store=store, precision="f32").embed(pictures)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 0.5, atol=1e-5)


def test_a_head_can_be_put_on_a_trained_model(store, pictures):
    install(store, *head(3, 4))
    weights, bias = head(4, 2, seed=1)
    install(store, weights, bias, name="again", backbone="mine")
    backbone = open_embedder("mine", store=store, precision="f32").embed(pictures)
    found = open_embedder("again", store=store, precision="f32").embed(pictures)
    np.testing.assert_allclose(found, plainly(backbone, weights, bias, 2.0), atol=1e-5)


def test_vectors_without_length_are_no_fault(store):
    install(store, *head(3, 4))
    black = np.zeros((1, 8, 8, 3), np.uint8)
    assert np.isfinite(open_embedder("mine", store=store, precision="f32").embed(black)).all()
    install(store, np.zeros((3, 4), np.float32), np.zeros(4, np.float32), name="nothing")
    found = open_embedder("nothing", store=store, precision="f32").embed(black)
    np.testing.assert_array_equal(found, np.zeros((1, 4)))


def test_the_trunk_stays_as_it_was(store, pictures):
    before = store.verify("mean")
    install(store, *head(3, 4))
    assert store.verify("mean") == before
    assert sorted(store.names()) == ["mean", "mine"]


def test_a_head_that_does_not_fit_is_refused_and_nothing_is_stored(store):
    with pytest.raises(ModelError, match="OpenVINO cannot put the head on mean: "):
        install(store, *head(5, 4))
    assert store.names() == ["mean"]


def test_a_trunk_whose_file_is_gone_is_said(store):
    weights, bias = head(3, 4)
    card = replace(store.card("mean"), name="mine")
    build = head_on_backbone(store.path("mean"), store.card("mean"), LinearHead(weights, bias, 2.0), card)
    (store.path("mean") / NETWORK).write_text("no network")
    with pytest.raises(ModelError, match="OpenVINO cannot put the head on mean: "):
        store.install("mine", build)


@pytest.mark.slow
def test_a_small_network_gives_by_openvino_what_it_gives_by_keras(tmp_path):
    from facesearch.siamese.backbone import pixel_network
    from facesearch.siamese.config import CNN_CARD
    from facesearch.siamese.keras_networks import build_cnn

    network = build_cnn((32, 24), 8)
    faces = np.random.default_rng(0).integers(0, 256, (5, 32, 24, 3), dtype=np.uint8)
    # Statistics of batches that are not those of the beginning.
    for _ in range(5):
        network(faces.astype(np.float32), training=True)
    store = ModelStore(tmp_path)
    card = replace(CNN_CARD, name="mine", size=(32, 24), dim=8, detector="haar", landmarks=False)

    store.install("mine", pixel_network(network, card))

    wanted = network(faces.astype(np.float32), training=False).numpy()
    found = open_embedder("mine", store=store, precision="f32").embed(faces)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2.0, atol=1e-4)
