import shutil
from dataclasses import replace

import numpy as np
import pytest
from support.onnx_bytes import weighted_mean_onnx

from facesearch.embed import card_of, foreign, open_embedder
from facesearch.embed.conversion import store_network
from facesearch.embed.foreign import OWN_SIZE, import_model
from facesearch.embed.openvino_runtime import OpenVinoEmbedder
from facesearch.errors import ModelBroken, ModelError
from facesearch.models.archive import export_model
from facesearch.models.card import NETWORK, TENSORS, WEIGHTS, Card
from facesearch.models.sources import Recipe
from facesearch.models.store import ModelStore
from facesearch.models.tensors import load_tensors, save_tensors, tensors_digest

WISHED = Card(
    name="mine", dim=1, size=OWN_SIZE, margin=0.2, detector="haar",
    color="rgb", mean=(10.0, 20.0, 30.0), scale=(2.0, 4.0, 8.0),
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def pictures():
    return np.random.default_rng(5).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def means_by_hand(pictures, card):
    """Average each channel of BGR pictures, in the card's order and with its mean and scale."""
    means = pictures.astype(np.float64).mean(axis=(1, 2))
    means = means[:, ::-1] if card.color == "rgb" else means
    return (means - card.mean) / card.scale


def embed(store, pictures):
    return open_embedder("mine", store=store, precision="f32").embed(pictures)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [[-1, 3, 8, 8], [1, 3, 8, 8], [-1, 8, 8, 3]])
@pytest.mark.parametrize("ending", ["map", "vector"])
def test_an_openvino_network_gives_vectors_told_by_hand(
    ending, shape, color, store, mean_network, tmp_path, pictures
):
    wished = replace(WISHED, color=color)

    card = import_model(mean_network(tmp_path / "n.xml", shape, ending), wished, store)

    np.testing.assert_allclose(embed(store, pictures), means_by_hand(pictures, wished), rtol=1e-5, atol=1e-5)
    assert (card.dim, card.size, card.margin, card.detector) == (3, (8, 8), 0.2, "haar")
    assert card_of("mine", store) == store.verify("mine") == card


def test_a_network_for_one_picture_serves_any_number(store, mean_network, tmp_path, pictures):
    import_model(mean_network(tmp_path / "n.xml", [1, 3, 8, 8], "fixed batch"), WISHED, store)

    np.testing.assert_allclose(embed(store, pictures), means_by_hand(pictures, WISHED), rtol=1e-5, atol=1e-5)


def test_an_onnx_network_gives_the_vectors_told_by_hand(store, tmp_path, pictures):
    weights = np.random.default_rng(6).normal(size=(3, 5)).astype(np.float32)
    (tmp_path / "net.onnx").write_bytes(weighted_mean_onnx(weights))

    card = import_model(tmp_path / "net.onnx", WISHED, store)

    assert card.dim == 5
    wanted = means_by_hand(pictures, WISHED) @ weights
    np.testing.assert_allclose(embed(store, pictures), wanted, rtol=1e-4, atol=1e-4)


def test_the_same_import_has_the_same_digest_and_another_has_not(store, mean_network, tmp_path):
    file = mean_network(tmp_path / "n.xml", [-1, 3, 8, 8])

    first, again, other = (
        import_model(file, replace(WISHED, name=name, mean=mean), store).digest
        for name, mean in (("a", WISHED.mean), ("b", WISHED.mean), ("c", (0.0, 0.0, 0.0)))
    )

    assert first == again != other
    assert first.startswith("sha256:")


def test_an_exported_model_is_imported_as_it_was(store, mean_network, tmp_path, pictures):
    card = import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), WISHED, store)
    archive = export_model(store, "mine", tmp_path)
    other = ModelStore(tmp_path / "other")

    assert import_model(archive, replace(WISHED, margin=9.0), other) == card
    np.testing.assert_array_equal(embed(other, pictures), embed(store, pictures))


def test_an_archive_does_not_pass_for_a_model_that_it_is_not(store, mean_network, tmp_path):
    import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), WISHED, store)
    archive = export_model(store, "mine", tmp_path)

    with pytest.raises(ModelBroken, match=r"mine\.zip does not hold the weights of resnet50"):
        import_model(archive, replace(WISHED, name="resnet50"), store)
    assert store.names() == ["mine"]


@pytest.fixture
def known_weights(monkeypatch, mean_network):
    """A recipe for resnet50 with small weights, which makes a network of means of them."""
    tensors = {"scale/kernel": np.ones(3, np.float32)}
    card = replace(WISHED, name="resnet50", dim=3, size=(8, 8), digest=tensors_digest(tensors))
    converted = []

    def build(file, folder):
        given = load_tensors(file)
        if tensors_digest(given) != card.digest:
            raise ModelBroken("Other weights.")
        converted.append(tensors_digest(given))
        save_tensors(given, folder / TENSORS)
        store_network(mean_network(folder.parent / "plain.xml", [-1, 3, 8, 8]), card, folder)
        return card

    recipe = Recipe(card, (), build, origin=TENSORS, by_hand="")
    monkeypatch.setattr(foreign, "recipe_of", {"resnet50": recipe}.get)
    return recipe, tensors, converted


def test_a_known_names_network_is_made_of_its_tensors_not_taken_from_the_archive(
    known_weights, store, mean_network, tmp_path, pictures
):
    recipe, tensors, converted = known_weights

    def forge(folder):
        save_tensors(tensors, folder / TENSORS)
        false = replace(recipe.card, scale=(1e9, 1e9, 1e9), margin=5.0)
        store_network(mean_network(tmp_path / "false.xml", [-1, 3, 8, 8]), false, folder)
        return false

    store.install("resnet50", forge)
    other = ModelStore(tmp_path / "other")

    card = import_model(export_model(store, "resnet50", tmp_path), replace(WISHED, name="resnet50"), other)

    assert converted == [recipe.card.digest]
    assert replace(card, files={}) == recipe.card
    assert other.verify("resnet50") == card
    vectors = OpenVinoEmbedder(card, other.path("resnet50"), precision="f32").embed(pictures)
    np.testing.assert_allclose(vectors, means_by_hand(pictures, WISHED), rtol=1e-5, atol=1e-5)


def test_a_known_names_archive_with_other_weights_is_refused(known_weights, store, mean_network, tmp_path):
    recipe, tensors, converted = known_weights

    def forge(folder):
        save_tensors({name: 0 * value for name, value in tensors.items()}, folder / TENSORS)
        store_network(mean_network(tmp_path / "false.xml", [-1, 3, 8, 8]), recipe.card, folder)
        return recipe.card

    store.install("resnet50", forge)
    archive = export_model(store, "resnet50", tmp_path)

    with pytest.raises(ModelBroken, match="does not hold the weights of resnet50"):
        import_model(archive, replace(WISHED, name="resnet50"), ModelStore(tmp_path / "other"))
    assert converted == []


@pytest.mark.slow
def test_zeroed_weights_in_an_archive_do_not_pass_for_resnet50(model_store, store, crops, tmp_path):
    def forge(folder):
        for file in (NETWORK, WEIGHTS, TENSORS):
            shutil.copyfile(model_store.path("resnet50") / file, folder / file)
        (folder / WEIGHTS).write_bytes(bytes((folder / WEIGHTS).stat().st_size))
        return replace(model_store.card("resnet50"), files={})

    store.install("resnet50", forge)
    other = ModelStore(tmp_path / "other")

    import_model(export_model(store, "resnet50", tmp_path), replace(WISHED, name="resnet50"), other)

    given, wanted = (
        open_embedder("resnet50", store=one, precision="f32").embed(crops[:2]) for one in (other, model_store)
    )
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_aligned_crops_want_a_detector_that_gives_landmarks(store, mean_network, tmp_path):
    file = mean_network(tmp_path / "n.xml", [-1, 3, 8, 8])
    aligned = replace(WISHED, landmarks=True)

    with pytest.raises(
        ModelError, match="mine wants aligned crops, and the detector haar gives no"
    ) as raised:
        import_model(file, aligned, store)
    assert raised.value.hint
    assert store.names() == []

    assert import_model(file, aligned, store, gives_landmarks=lambda name: name == "haar").landmarks
    archive = export_model(store, "mine", tmp_path)
    other = ModelStore(tmp_path / "other")
    with pytest.raises(ModelError, match="wants aligned crops"):
        import_model(archive, WISHED, other)
    assert other.names() == []


@pytest.mark.parametrize(
    ("shape", "ending", "said"),
    [
        ([-1, 3, 8, 8], "tokens", "where one vector for each picture is wanted"),
        ([-1, 3, 8, 8], "two", "gives 2 outputs"),
        ([-1, 1, 8, 8], "map", "does not take colour pictures"),
        ([-1, 3, -1, -1], "map", "takes pictures of any size"),
    ],
)
def test_a_network_that_makes_no_vectors_of_pictures_is_refused(
    shape, ending, said, store, mean_network, tmp_path
):
    with pytest.raises(ModelError, match=said):
        import_model(mean_network(tmp_path / "n.xml", shape, ending), WISHED, store)
    assert store.names() == []


def test_a_size_that_the_network_does_not_take_is_refused(store, mean_network, tmp_path):
    file = mean_network(tmp_path / "n.xml", [-1, 3, 8, 8])

    with pytest.raises(ModelError, match="takes no pictures of 16x16"):
        import_model(file, replace(WISHED, size=(16, 16)), store)


def test_a_network_of_any_size_takes_the_size_that_is_wished(store, mean_network, tmp_path):
    file = mean_network(tmp_path / "n.xml", [-1, 3, -1, -1])

    assert import_model(file, replace(WISHED, size=(8, 12)), store).size == (8, 12)


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite", "net.xml"])
@pytest.mark.parametrize("content", [b"", b"no network at all", bytes(range(256)) * 64])
def test_a_file_that_is_no_network_is_refused_with_a_sentence(name, content, store, tmp_path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelError, match=f"OpenVINO cannot use {name}"):
        import_model(tmp_path / name, WISHED, store)
    assert store.names() == []


def test_an_xml_without_its_weights_is_refused(store, mean_network, tmp_path):
    file = mean_network(tmp_path / "n.xml", [-1, 3, 8, 8])
    file.with_suffix(".bin").unlink()

    with pytest.raises(ModelError, match=r"OpenVINO cannot use n\.xml"):
        import_model(file, WISHED, store)


@pytest.mark.parametrize(("name", "said"), [("none.onnx", "not a file that can"), ("net.h5", "of no kind")])
def test_a_file_of_another_kind_is_refused(name, said, store, tmp_path):
    (tmp_path / "net.h5").write_bytes(b"\x89HDF")

    with pytest.raises(ModelError, match=said):
        import_model(tmp_path / name, WISHED, store)


@pytest.mark.parametrize(
    "wish", [{"margin": -1.0}, {"scale": (0.0, 1.0, 1.0)}, {"size": (2, 2)}, {"name": "../up"}]
)
def test_an_unusable_wish_is_refused(wish, store, mean_network, tmp_path):
    with pytest.raises(ModelBroken):
        import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), replace(WISHED, **wish), store)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_keras_file_gives_what_keras_gives(kind, store, tmp_path, pictures):
    import keras

    layers = [keras.layers.Conv2D(6, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    if kind == "functional":
        model = keras.Model(model.inputs, model.outputs)
    model.save(tmp_path / "net.keras")

    card = import_model(tmp_path / "net.keras", WISHED, store)

    rgb = (pictures[..., ::-1].astype(np.float32) - WISHED.mean) / WISHED.scale
    assert (card.dim, card.size) == (6, (8, 8))
    np.testing.assert_allclose(embed(store, pictures), model.predict(rgb, verbose=0), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_keras_file_that_brings_code_is_refused(store, tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "net.keras")

    with pytest.raises(ModelError, match=r"Keras failed: .*(Lambda|lambda)"):
        import_model(tmp_path / "net.keras", WISHED, store)
    assert store.names() == []


@pytest.mark.slow
def test_a_tflite_network_gives_what_keras_gives(store, tmp_path, pictures):
    import keras
    import tensorflow as tf

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    )
    model.export(tmp_path / "saved", verbose=False)
    (tmp_path / "net.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    )

    import_model(tmp_path / "net.tflite", WISHED, store)

    rgb = (pictures[..., ::-1].astype(np.float32) - WISHED.mean) / WISHED.scale
    np.testing.assert_allclose(embed(store, pictures), model.predict(rgb, verbose=0), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_publishers_file_can_be_given_by_hand(model_store, store, tmp_path):
    """In the layout of Keras' own file, which lies where a machine may not reach."""
    import h5py

    with h5py.File(tmp_path / "notop.h5", "w") as file:
        for name, value in load_tensors(model_store.path("resnet50") / TENSORS).items():
            file[f"{name.partition('/')[0]}/{name}:0"] = value

    card = import_model(tmp_path / "notop.h5", replace(WISHED, name="resnet50"), store)

    assert card.digest == card_of("resnet50", model_store).digest
    assert replace(card, files={}) == replace(card_of("resnet50", model_store), files={})
    store.verify("resnet50")
