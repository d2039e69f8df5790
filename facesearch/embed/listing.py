"""What models there are: those that are here, and those that can be fetched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facesearch.embed import MODELS, card_of
from facesearch.errors import ModelError
from facesearch.models.card import Card
from facesearch.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in a list.

    Attributes:
        name: Its name.
        state: "here", "to fetch", or "broken".
        facts: What it is, in a few words; for a broken one, what is wrong.
        card: Its card; None for a broken one.
    """

    name: str
    state: str
    facts: str
    card: Card | None

    def as_dict(self) -> dict[str, Any]:
        """Give it in the form of JSON, without the card's list of files."""
        known = asdict(self.card) if self.card else {}
        known.pop("files", None)
        return {"name": self.name, "state": self.state, "facts": self.facts, "card": known or None}


def list_all(store: ModelStore) -> list[Listed]:
    """List the models of the store and of `MODELS`, by name."""
    return [_listed(name, store) for name in sorted({*MODELS, *store.names()})]


def _listed(name: str, store: ModelStore) -> Listed:
    try:
        card = card_of(name, store)
    except ModelError as error:
        return Listed(name, "broken", error.message, None)
    height, width = card.size
    facts = f"{card.dim} numbers of {height}x{width} pixels, faces by {card.detector}"
    return Listed(name, "here" if store.installed(name) else "to fetch", facts, card)
