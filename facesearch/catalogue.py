"""All networks by name: models and detectors, those in the store and those that can be fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
    """

    name: str
    state: str
    facts: str
    card: StoredCard | None

    def as_dict(self) -> dict[str, Any]:
        """Return a form for JSON, without the card's list of files."""
        known = {"kind": self.card.kind, **asdict(self.card)} if self.card else {}
        known.pop("files", None)
        return {"name": self.name, "state": self.state, "facts": self.facts, "card": known or None}


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
        return Listed(name, state, _facts(model := card_of(name, store)), model)
    except FacesearchError as error:
        return Listed(name, "broken", error.message, None)


def _facts(card: Card) -> str:
    height, width = card.size
    measures = "who it is" if card.identity else "how alike faces look"
    return f"{measures}: {card.dim} numbers of {height}x{width} pixels, faces by {card.detector}"
