"""A package of others adds a detector, an embedder and an index backend, without touching facesearch."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.command import LIBRARY, OBAMA, Tool

from facesearch.cli import main
from facesearch.detect import detector_names, gives_landmarks, open_detector
from facesearch.embed import card_of, open_embedder
from facesearch.errors import FacesearchError
from facesearch.index.backend import is_server, open_backend
from facesearch.library import Library
from facesearch.model import DetectionSettings, list_all
from facesearch.models.store import ModelStore
from facesearch.plugins import load_plugin

PACKAGE = Path(__file__).parent / "support" / "plugin_package"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGE))


def test_a_detector_is_found_by_its_name_and_takes_settings_of_its_own():
    assert {"haar", "yunet", "example-half"} <= set(detector_names())
    picture = np.zeros((40, 100, 3), np.uint8)
    (left,) = open_detector("example-half").detect(picture, 1.0)
    (right,) = open_detector("example-half", {"side": "right"}).detect(picture, 1.0)
    assert (left.box.x, right.box.x) == (0, 50)
    with pytest.raises(FacesearchError, match="example-half has no setting 'colour'"):
        open_detector("example-half", {"colour": 1})


def test_a_detector_may_be_nothing_but_a_method(tmp_path):
    assert not gives_landmarks("example-plain")
    url = f"example://{tmp_path}/plain"
    library = Library(url, "example-colour", store=ModelStore(tmp_path / "models"))

    with pytest.raises(FacesearchError, match="example-plain has no setting 'rotations'"):
        library.index([LIBRARY], DetectionSettings("example-plain", rotations=True))
    report = library.index([LIBRARY], DetectionSettings("example-plain"))

    assert report.faces == report.photos == 12


def test_an_embedder_is_listed_fetched_and_run(tmp_path):
    store = ModelStore(tmp_path)
    assert card_of("example-colour", store).dim == 3
    assert "example-colour" in [one.name for one in list_all(store) if one.state == "to fetch"]
    crops = np.full((2, 16, 16, 3), 7, np.uint8)
    vectors = open_embedder("example-colour", store=store, precision="f32").embed(crops)
    np.testing.assert_allclose(vectors, 7, atol=1e-3)
    assert store.verify("example-colour").name == "example-colour"


def test_a_library_of_all_three_remembers_the_settings(tmp_path):
    url = f"example://{tmp_path}/family"
    assert is_server(url)
    library = Library(url, "example-colour", store=ModelStore(tmp_path / "models"))
    report = library.index([LIBRARY], DetectionSettings(own={"side": "right"}))
    assert report.faces == report.photos == 12
    again = Library(url, store=ModelStore(tmp_path / "models"))
    assert (again.model_name, again.contents.meta.detector) == ("example-colour", "example-half")
    assert again.contents.meta.settings["side"] == "right"
    (answer,) = again.query([LIBRARY / "coffee.png"]).answers
    assert answer.matches
    assert open_backend(url).read().photo_count == 12


@pytest.mark.slow
def test_the_commands_take_them(tmp_path, model_store):
    tool = Tool(tmp_path, tmp_path / "models")
    path = os.pathsep.join([tool.env["PYTHONPATH"], str(PACKAGE)])
    url = f"example://{tmp_path}/family"
    model = ["--model", "example-colour", "--index", url]
    done = tool.run("index", LIBRARY, *model, "--detector", "example-half", env={"PYTHONPATH": path})
    assert done.status == 0, done
    done = tool.run("query", OBAMA, "--index", url, "--format", "tsv", env={"PYTHONPATH": path})
    assert done.status == 0, done
    assert len(done.rows) == 4
    assert (tmp_path / "family.npz").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken", "The plug-in 'broken' of facesearch-example cannot be loaded"),
        (
            "not-a-class",
            "The plug-in 'not-a-class' cannot be used: it is not a class",
        ),
        ("raises", "The plug-in 'raises' cannot be used: it raises KeyError: 'weights'."),
        ("nowhere", "There is no detector named 'nowhere'."),
    ],
)
def test_what_is_wrong_with_one_is_a_sentence_and_the_next_step(name, sentence):
    with pytest.raises(FacesearchError) as caught:
        open_detector(name)
    assert caught.value.message.startswith(sentence)
    assert caught.value.hint


def test_a_recipe_of_another_name_and_an_unknown_plugin(tmp_path):
    with pytest.raises(FacesearchError, match="no recipe for a model of this name"):
        open_embedder("wrong-name", store=ModelStore(tmp_path))
    assert load_plugin("facesearch.detectors", "nothing") is None


def test_a_model_is_imported_for_the_detector_of_a_plug_in(tmp_path, mean_network):
    network = mean_network(tmp_path / "mine.xml", [-1, 3, 8, 8])
    store = tmp_path / "models"
    import_it = ["models", "import", str(network), "--detector"]

    done = CliRunner().invoke(main, [*import_it, "example-plain"], env={"FACESEARCH_MODELS": str(store)})
    assert done.exit_code == 0, done.output
    assert ModelStore(store).card("mine").detector == "example-plain"

    done = CliRunner().invoke(main, [*import_it, "nobody"], env={"FACESEARCH_MODELS": str(store)})
    assert done.exit_code == 2
    assert "'nobody' is not one of 'broken', 'example-half', 'example-plain', 'haar'" in done.output
