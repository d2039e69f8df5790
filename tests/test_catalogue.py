"""All networks by name: what is here, what can be fetched, and that a model brings its detector."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from facesearch import model as catalogue
from facesearch.embed import MODELS
from facesearch.errors import FetchFailed, UnknownModel
from facesearch.models.card import NETWORK, ONNX, WEIGHTS, Card, DetectorCard
from facesearch.models.sources import Recipe
from facesearch.models.store import ModelStore


@dataclass(frozen=True)
class Given:
    """A source that gives these bytes, or fails."""

    data: bytes = b"weights"
    fails: bool = False

    def __str__(self):
        return "the place given"

    def fetch(self, folder, *, progress):
        if self.fails:
            raise FetchFailed("no way.")
        (folder / "weights").write_bytes(self.data)
        return folder / "weights"


def build_model(card):
    def build(file, folder):
        (folder / NETWORK).write_text("<net/>")
        (folder / WEIGHTS).write_bytes(file.read_bytes())
        return card

    return build


def build_detector(card):
    def build(file, folder):
        (folder / ONNX).write_bytes(file.read_bytes())
        return card

    return build


WHO = Card(name="who", dim=4, size=(8, 12), margin=0.0, detector="eyes", landmarks=True, identity=True)
LOOKS = Card(name="resnet50", dim=3, size=(8, 8), margin=0.4, detector="haar")
EYES = DetectorCard(name="eyes", licence="MIT")


def recipe(card, build, source):
    return Recipe(card, (source,), build(card), origin=WEIGHTS, by_hand="the file weights")


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def sources(monkeypatch):
    """Put small recipes in the place of the real ones: a model with its detector, and one that needs none.

    A test may change which source each has.
    """
    given = {"who": Given(), "resnet50": Given(), "eyes": Given()}
    models = {
        name: lambda card=card: recipe(card, build_model, given[card.name])
        for name, card in (("who", WHO), ("resnet50", LOOKS))
    }

    def recipe_of(name):
        return models[name]() if name in models else None

    def detector_recipe(name):
        return recipe(EYES, build_detector, given["eyes"]) if name == "eyes" else None

    monkeypatch.setattr("facesearch.embed.MODELS", dict.fromkeys(models, ""))
    monkeypatch.setattr("facesearch.embed.recipe_of", recipe_of)
    monkeypatch.setattr(catalogue, "detector_names", lambda: ["eyes", "haar"])
    monkeypatch.setattr(catalogue, "detector_recipe", detector_recipe)
    return given


def test_of_an_empty_store_all_that_can_be_fetched_is_listed(sources, store):
    listed = catalogue.list_all(store)

    assert [(one.name, one.state, one.facts) for one in listed] == [
        ("eyes", "to fetch", "detector, gives boxes and landmarks"),
        ("resnet50", "to fetch", "how alike faces look: 3 numbers of 8x8 pixels, faces by haar"),
        ("who", "to fetch", "who it is: 4 numbers of 8x12 pixels, faces by eyes"),
    ]
    assert [one.card for one in listed] == [EYES, LOOKS, WHO]
    assert not store.root.exists()


def test_a_fetched_model_brings_the_detector_that_it_was_measured_with(sources, store):
    said = []

    catalogue.fetch("who", store, notify=said.append)

    assert store.names() == ["eyes", "who"]
    store.verify("who")
    assert store.detector_card("eyes").files[ONNX].size == len(b"weights")
    assert said == [
        "Fetching the model who from the place given.",
        "Fetching the model eyes from the place given.",
    ]


def test_a_model_whose_detector_needs_no_network_comes_alone(sources, store):
    catalogue.fetch("resnet50", store)

    assert store.names() == ["resnet50"]


def test_a_detector_can_be_fetched_alone(sources, store):
    catalogue.fetch("eyes", store)

    assert store.names() == ["eyes"]


def test_what_is_here_is_not_fetched_again(sources, store):
    catalogue.fetch("who", store)
    said = []
    sources.update(who=Given(fails=True), eyes=Given(fails=True))

    catalogue.fetch("who", store, notify=said.append)

    assert said == []


def test_a_detector_that_is_missing_is_brought_by_a_model_that_is_here(sources, store):
    catalogue.fetch("who", store)
    store.remove("eyes")

    catalogue.fetch("who", store)

    assert store.names() == ["eyes", "who"]


def test_a_detector_that_cannot_be_had_is_said_and_the_model_stays(sources, store):
    sources["eyes"] = Given(fails=True)

    with pytest.raises(FetchFailed, match="eyes could not be fetched from any") as raised:
        catalogue.fetch("who", store)

    assert raised.value.hint.endswith("'facesearch models import FILE --name eyes'.")
    assert store.names() == ["who"]


@pytest.mark.parametrize("name", ["whom", "haar"])
def test_a_name_that_nothing_has_cannot_be_fetched(name, sources, store):
    with pytest.raises(UnknownModel, match=f"no model '{name}'"):
        catalogue.fetch(name, store)
    assert store.names() == []


def test_what_is_here_is_listed_with_the_card_that_it_has(sources, store):
    catalogue.fetch("who", store)

    eyes, looks, who = catalogue.list_all(store)

    assert [one.state for one in (eyes, looks, who)] == ["here", "to fetch", "here"]
    assert eyes.card == store.detector_card("eyes")
    assert replace(who.card, files={}) == WHO


def test_a_model_from_elsewhere_is_listed_too(sources, store):
    mine = replace(LOOKS, name="mine", dim=7)

    store.fetch(recipe(mine, build_model, Given()))

    assert "mine" in {one.name for one in catalogue.list_all(store)}
    (listed,) = (one for one in catalogue.list_all(store) if one.name == "mine")
    assert (listed.state, listed.card.dim) == ("here", 7)


@pytest.mark.parametrize(("name", "file"), [("who", WEIGHTS), ("eyes", ONNX)])
def test_what_is_broken_is_listed_with_what_is_wrong(name, file, sources, store):
    catalogue.fetch("who", store)
    (store.path(name) / file).unlink()

    (listed,) = (one for one in catalogue.list_all(store) if one.name == name)

    assert listed.state == "broken"
    assert listed.facts == f"The model {name} is broken: {file} is missing."
    assert listed.card is None
    assert listed.as_dict() == {"name": name, "state": "broken", "facts": listed.facts, "card": None}


def test_as_json_the_card_stands_with_its_kind_and_without_its_files(sources, store):
    catalogue.fetch("who", store)

    eyes, _, who = (json.loads(json.dumps(one.as_dict())) for one in catalogue.list_all(store))

    assert (eyes["card"]["kind"], who["card"]["kind"]) == ("detector", "embedder")
    assert (who["card"]["dim"], who["card"]["size"], who["card"]["landmarks"]) == (4, [8, 12], True)
    assert "files" not in eyes["card"]
    assert "files" not in who["card"]


def test_all_that_the_package_knows_is_in_the_list(tmp_path):
    listed = {one.name: one for one in catalogue.list_all(ModelStore(Path(tmp_path)))}

    assert set(listed) == {*MODELS, "yunet"}
    assert all(one.state == "to fetch" for one in listed.values())
    assert listed["yunet"].facts == "detector, gives boxes and landmarks"
    assert listed["sface"].facts == "who it is: 128 numbers of 112x112 pixels, faces by yunet"
    assert all(one.card.licence and one.card.digest for one in listed.values())
