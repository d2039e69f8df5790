import json

import numpy as np
import pytest

from facesearch.embed import open_embedder
from facesearch.embed.conversion import APPLICATIONS, _build, application_recipe
from facesearch.models.store import ModelStore


def test_only_names_of_keras_applications_have_a_recipe():
    recipe = application_recipe("keras/MobileNet")

    assert recipe.card.name == "keras/MobileNet"
    assert [str(source) for source in recipe.sources] == ["Keras' own download of MobileNet"]
    assert application_recipe("MobileNet") is None
    assert application_recipe("keras/Nothing") is None


@pytest.mark.slow
def test_the_list_is_that_of_keras():
    import keras

    assert sorted(APPLICATIONS) == sorted(name for name in dir(keras.applications) if name[0].isupper())


@pytest.mark.slow
def test_an_application_gives_what_keras_gives_with_its_own_preprocessing(crops, tmp_path):
    import keras

    from facesearch.embed.keras_networks import write_application

    name = "MobileNet"
    keras.utils.set_random_seed(3)
    model = write_application(name, tmp_path, weights=None)
    store = ModelStore(tmp_path / "models")
    recipe = application_recipe(f"keras/{name}")
    facts = tmp_path / "facts.json"
    card = store.install(recipe.card.name, lambda folder: _build(recipe.card, facts, folder))

    found = open_embedder(recipe.card.name, store=store, precision="f32").embed(crops)

    module = keras.applications.mobilenet
    rgb = crops[..., ::-1].astype(np.float32)
    wanted = model.predict(module.preprocess_input(rgb.copy()), verbose=0)
    assert (card.dim, card.size) == (wanted.shape[1], (224, 224))
    assert card.digest.startswith("tensors-sha256:")
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    # The test means something only if it notices a wrong preprocessing.
    assert np.abs(model.predict(rgb, verbose=0) - wanted).max() > 0.01 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "color", "mean", "scale"),
    [
        ("resnet", "bgr", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
        ("mobilenet_v2", "rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
        ("densenet", "rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ("efficientnet", "rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_each_kind_of_preprocessing_is_read_from_keras_itself(family, color, mean, scale):
    import keras

    from facesearch.embed.keras_networks import read_preprocessing

    found = read_preprocessing(getattr(keras.applications, family).preprocess_input)

    assert found.color == color
    np.testing.assert_allclose(found.mean, mean, atol=1e-3)
    np.testing.assert_allclose(found.scale, scale, atol=1e-3)


@pytest.mark.slow
def test_facts_are_plain_json(tmp_path):
    from facesearch.embed.keras_networks import write_application

    write_application("MobileNet", tmp_path, weights=None)

    facts = json.loads((tmp_path / "facts.json").read_text())
    assert (facts["size"], facts["color"]) == ([224, 224], "rgb")
