"""What a head stands on is what numpy makes of the network's map, or the network's own vectors."""

from dataclasses import replace

import numpy as np
import pytest

from facesearch.embed.openvino_runtime import OpenVinoEmbedder
from facesearch.errors import ModelError
from facesearch.models.card import NETWORK, Card
from facesearch.siamese.backbone import feature_width, head_features, vectors_and_features

SIDE = 224


def card_of(size=SIDE, **changes):
    return replace(Card(name="net", dim=5, size=(size, size), margin=0.2, detector="haar"), **changes)


@pytest.fixture
def write():
    """Writes a network: maps of 5 channels at the strides that are named, then their mean."""
    from facesearch.models.openvino import load_openvino

    openvino = load_openvino()
    ops = openvino.opset13

    def write(folder, size, strides):
        picture = ops.parameter([-1, 5, size, size], np.float32, name="picture")
        flow, before = picture, 1
        for stride in strides:
            step = stride // before
            flow = ops.avg_pool(flow, [step, step], [0, 0], [0, 0], [step, step], False)
            before = stride
        vector = ops.reduce_mean(flow, np.array([2, 3]), False)
        folder.mkdir(exist_ok=True)
        openvino.save_model(
            openvino.Model([vector], [picture], "net"), folder / NETWORK, compress_to_fp16=False
        )
        return folder

    return write


def run(folder, card, pictures):
    """Return what stands behind the vectors of pictures, (n, 5, size, size)."""
    from facesearch.models.openvino import load_openvino

    openvino = load_openvino()
    model = vectors_and_features(card)(openvino, openvino.Core().read_model(folder / NETWORK))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    both = compiled(pictures)[0]
    np.testing.assert_allclose(both[:, :5], pictures.mean(axis=(2, 3)), atol=1e-5)
    assert both.shape[1] == feature_width(folder, card)
    return both[:, 5:]


def means(pictures, rows):
    """Return rows of a picture, averaged over the width: (n, 5 * rows), a channel's rows side by side."""
    n, channels, height, _ = pictures.shape
    return pictures.reshape(n, channels, rows, height // rows, -1).mean(axis=(3, 4)).reshape(n, -1)


@pytest.mark.parametrize(
    ("size", "strides", "rows"), [(224, (4, 16, 32), 7), (256, (16,), 8), (112, (8, 16), 7)]
)
def test_rows_of_the_map_at_a_sixteenth_are_what_numpy_gives(write, tmp_path, size, strides, rows):
    pictures = np.random.default_rng(0).uniform(size=(3, 5, size, size)).astype(np.float32)
    found = run(write(tmp_path / "net", size, strides), card_of(size), pictures)
    np.testing.assert_allclose(found, means(pictures, rows), atol=1e-5)


def test_a_mirrored_picture_gives_the_same_rows(write, tmp_path):
    pictures = np.random.default_rng(0).uniform(size=(2, 5, SIDE, SIDE)).astype(np.float32)
    folder = write(tmp_path / "net", SIDE, (16,))
    mirrored = np.ascontiguousarray(pictures[..., ::-1])
    np.testing.assert_allclose(run(folder, card_of(), mirrored), run(folder, card_of(), pictures), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "strides", "changes"),
    [(SIDE, (4, 32), {}), (SIDE, (16,), {"identity": True}), (64, (16,), {})],
    ids=["no such map", "knows people", "a map of four rows"],
)
def test_the_vectors_themselves_are_taken_where_rows_are_of_no_use(write, tmp_path, size, strides, changes):
    pictures = np.random.default_rng(0).uniform(size=(3, 5, size, size)).astype(np.float32)
    found = run(write(tmp_path / "net", size, strides), card_of(size, **changes), pictures)
    np.testing.assert_allclose(found, pictures.mean(axis=(2, 3)), atol=1e-5)


def test_a_network_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / NETWORK).write_text("no network")
    with pytest.raises(ModelError, match="OpenVINO cannot use the model net: "):
        feature_width(tmp_path, card_of())


@pytest.mark.slow
def test_of_resnet50_it_is_the_last_map_of_the_fourth_stage(model_store, crops):
    import keras

    from facesearch.embed.keras_networks import build_model
    from facesearch.models.card import TENSORS
    from facesearch.models.tensors import load_tensors

    card, folder = model_store.card("resnet50"), model_store.path("resnet50")
    whole = build_model(load_tensors(folder / TENSORS))
    fourth = keras.Model(whole.input, whole.get_layer("conv4_block6_out").output)
    centred = crops[:3].astype(np.float32) - np.array(card.mean, np.float32)
    maps = np.asarray(fourth(centred)).transpose(0, 3, 1, 2)

    wide = replace(card, dim=feature_width(folder, card))
    found = OpenVinoEmbedder(wide, folder, precision="f32", cut=vectors_and_features(card)).embed(crops[:3])

    assert wide.dim == 2048 + 7 * 1024
    np.testing.assert_allclose(found[:, 2048:], means(maps, 7), atol=1e-3 * maps.max())


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "convolutions"), [(1, 3), (6, 19), (13, 43)])
def test_as_many_blocks_learn_as_are_asked_for(model_store, blocks, convolutions):
    from facesearch.siamese.keras_networks import build_fine_tuned
    from facesearch.siamese.projection import Projection

    projection = Projection(np.zeros(7168, np.float32), np.eye(7168, 4, dtype=np.float32))
    network = build_fine_tuned(model_store.path("resnet50"), blocks, projection)
    # Kernel and bias of each; 13 are all of them, and the first convolution is before the first block.
    assert len(network.trainable_variables) - 1 in (2 * convolutions, 2 * convolutions - 2)


@pytest.mark.slow
def test_unfrozen_resnet50_begins_as_its_projection_and_only_its_last_blocks_learn(model_store, crops):
    from facesearch.ranking import unit_vectors
    from facesearch.siamese.keras_networks import build_fine_tuned
    from facesearch.siamese.projection import fit_projection

    card, folder = model_store.card("resnet50"), model_store.path("resnet50")
    wide = replace(card, dim=feature_width(folder, card))
    backbone = OpenVinoEmbedder(wide, folder, precision="f32", cut=vectors_and_features(card))
    head = backbone.embed(crops)[:, 2048:]
    projection = fit_projection(head, np.arange(len(head), dtype=np.int32) // 2, whitening=0.5, within=0.5)

    network = build_fine_tuned(folder, 2, projection)

    found = np.asarray(network(crops.astype(np.float32), training=True))
    np.testing.assert_allclose(found, 2 * unit_vectors(projection.apply(head)), atol=2e-3)
    learning = [variable.path for variable in network.trainable_variables]
    assert len(learning) == 2 * 3 * 2 + 1  # kernels and biases of two blocks of three, and the matrix
    assert all(path.startswith(("conv4_block5", "conv4_block6", "matrix")) for path in learning)


def test_features_of_a_model_that_was_trained_here_are_its_vectors(write, tmp_path):
    from facesearch.models.openvino import load_openvino

    openvino = load_openvino()
    model = openvino.Core().read_model(write(tmp_path / "net", SIDE, (16,)) / NETWORK)
    output = head_features(openvino, model, card_of(identity=True))
    assert output.get_node() == model.get_results()[0].input_value(0).get_node()
