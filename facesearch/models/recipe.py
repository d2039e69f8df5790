"""How a model comes to be: the sources of its weights, and what turns them into a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facesearch.models.card import StoredCard
from facesearch.models.sources import Source

# Reads a weight file and writes the files that are stored into a folder; gives the card. A file with other
# weights than are pinned is ModelBroken.
Build = Callable[[Path, Path], StoredCard]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model that can be fetched by its name.

    Attributes:
        card: What is known of it before it is fetched.
        sources: Where its weights come from, in the order in which they are tried.
        build: Turns the weight file of any of them into the model's files.
        origin: The stored file from which `build` can make all of them again.
        by_hand: What can be imported in place of a fetch, as a phrase.
        keras: The module whose `build_model` makes the Keras model of the stored tensors; "" for none.
    """

    card: StoredCard
    sources: tuple[Source, ...]
    build: Build
    origin: str
    by_hand: str
    keras: str = ""
