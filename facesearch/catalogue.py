"""All networks by name: models and detectors, those in the store and those that can be fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from facesearch.detect import detector_names, detector_recipe
from facesearch.embed import card_of, fetch_model, model_names
from facesearch.errors import FacesearchError
from facesearch.models.card import Card, StoredCard
from facesearch.models.store import ModelStore, silent


@dataclass(frozen=True, slots=True)
class Listed:
    """A network in a list.

    Attributes:
        name: Its name.
        state: "here", "to fetch", or "broken".
        facts: A few words about it; for a broken one, what is wrong.
        card: Its card; None for a broken one.
        seconds: What a face takes on this machine in each precision, as far as that was measured.
    """

    name: str
    state: str
    facts: str
    card: StoredCard | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a form for JSON, without the card's list of files."""
        known = {"kind": self.card.kind, **asdict(self.card)} if self.card else {}
        known.pop("files", None)
        told = {"name": self.name, "state": self.state, "facts": self.facts, "card": known or None}
        return told | ({"seconds_a_face": dict(self.seconds)} if self.seconds else {})


def list_all(store: ModelStore) -> list[Listed]:
    """List the networks of the store and those that can be fetched by a plain name, sorted by name.

    A plug-in that cannot be loaded is listed as broken.
    """
    listed = {name: _listed(name, store) for name in {*model_names(), *store.names()}}
    for name in detector_names():
        try:
            if detector_recipe(name):
                listed[name] = _listed(name, store)
        except FacesearchError as error:
            listed[name] = Listed(name, "broken", error.message, None)
    return [listed[name] for name in sorted(listed)]


def fetch(name: str, store: ModelStore, *, notify: Callable[[str], None] = silent) -> None:
    """Fetch a network by its name; for a model, fetch the detector that it was measured with too.

    Raises:
        UnknownModel: No network of this name can be fetched.
        FetchFailed: No source delivered it.
    """
    if recipe := detector_recipe(name):
        store.fetch(recipe, notify=notify)
        return
    card = fetch_model(name, store, notify=notify)
    if recipe := detector_recipe(card.detector):
        store.fetch(recipe, notify=notify)


def _listed(name: str, store: ModelStore) -> Listed:
    try:
        state = "here" if store.installed(name) else "to fetch"
        if recipe := detector_recipe(name):
            card = store.detector_card(name) if state == "here" else recipe.card
            return Listed(name, state, "detector, gives boxes and landmarks", card)
        model = card_of(name, store)
        seconds = _seconds(model) if state == "here" else {}
        return Listed(name, state, _facts(model) + _speed(seconds), model, seconds)
    except FacesearchError as error:
        return Listed(name, "broken", error.message, None)


def _seconds(card: Card) -> Mapping[str, float]:
    from facesearch.embed.openvino_runtime import timings_of

    return timings_of(card).seconds


def _speed(seconds: Mapping[str, float]) -> str:
    fastest_first = sorted(seconds.items(), key=lambda item: item[1])
    told = ", ".join(f"{name} {1000 * value:.1f} ms a face" for name, value in fastest_first)
    return f"; here {told}" if told else ""


def _facts(card: Card) -> str:
    height, width = card.size
    measures = "who it is" if card.identity else "how alike faces look"
    return f"{measures}: {card.dim} numbers of {height}x{width} pixels, faces by {card.detector}"
