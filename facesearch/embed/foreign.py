"""Imports networks from elsewhere: any file that OpenVINO or Keras reads becomes a model like the others."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from facesearch.embed import MODELS, recipe_of
from facesearch.embed.conversion import own_size, run_keras, store_network
from facesearch.errors import ModelBroken, ModelError
from facesearch.models.archive import is_exported, unpack_model
from facesearch.models.card import Card, StoredCard, check_name, file_digest, with_own_calibration
from facesearch.models.sources import Recipe
from facesearch.models.store import ModelStore, Notify, silent

# What OpenVINO reads as it is; Keras' own format goes through Keras.
_READ_AS_IS = (".xml", ".onnx", ".tflite")
_KERAS = ".keras"

# Stands in a card for the size that the network itself says.
OWN_SIZE = (0, 0)

_AnyCard = TypeVar("_AnyCard", bound=StoredCard)


def import_model(
    file: Path,
    card: Card,
    store: ModelStore,
    *,
    recipe: Recipe | None = None,
    gives_landmarks: Callable[[str], bool] = lambda detector: False,
    notify: Notify = silent,
) -> StoredCard:
    """Import a network into the store.

    Args:
        file: A network (.onnx, .tflite, .keras, or .xml with its .bin beside it), an archive that
            `export_model` wrote, or the weight file that a recipe starts from.
        card: What the file does not say: name, size (OWN_SIZE for the network's own), color, mean, scale,
            margin, detector, landmarks. An archive and a weight file bring a card of their own.
        store: Where the model is stored.
        recipe: How a network of this name is fetched; None for one of `MODELS` or an unknown name.
        gives_landmarks: Returns for a detector's name whether it gives landmarks to align crops by.
        notify: Called with a sentence at each step.

    Returns:
        The card as it was stored.

    Raises:
        ModelError: The file is of no kind that can be imported, the network makes no vectors of pictures
            or wants crops aligned by a detector without landmarks, or there is a model of this name already.
        ModelBroken: The file is damaged, holds other weights than its name says, or the card is unusable.
        StorageError: The disk is full or the folder cannot be written.
    """
    check_name(card.name)
    # What the caller wishes is checked as strictly as what a file says.
    Card.from_json(replace(card, size=(224, 224) if card.size == OWN_SIZE else card.size).to_json())
    recipe = recipe or (recipe_of(card.name) if card.name in MODELS else None)
    build = _builder_for(file, card, recipe)

    def build_checked(folder: Path) -> StoredCard:
        # An archive's card says only now what it wants.
        return _alignable(build(folder), gives_landmarks)

    if recipe is None:
        _alignable(card, gives_landmarks)
    return store.install(card.name, build_checked, notify=notify)


def _alignable(card: _AnyCard, gives_landmarks: Callable[[str], bool]) -> _AnyCard:
    # It would be given crops as they are, and its distances would mean nothing.
    if isinstance(card, Card) and card.landmarks and not gives_landmarks(card.detector):
        raise ModelError(
            f"{card.name} wants aligned crops, and the detector {card.detector} gives no landmarks for that.",
            "Name a --detector that gives them, such as yunet, or leave out --align.",
        )
    return card


def _builder_for(file: Path, card: Card, recipe: Recipe | None) -> Callable[[Path], StoredCard]:
    if not file.is_file() or not os.access(file, os.R_OK):
        raise ModelError(f"{file} is not a file that can be read.", "Name the network's file.")
    if is_exported(file):
        return partial(_unpack, file, recipe)
    if recipe is not None:
        return partial(recipe.build, file)
    if file.suffix.lower() not in (*_READ_AS_IS, _KERAS):
        raise ModelError(
            f"{file.name} is of no kind that can be imported.",
            f"Give a network as {', '.join(_READ_AS_IS)} or {_KERAS}, an archive of 'models export', or with "
            f"--name {' or '.join(MODELS)} its weight file.",
        )
    return partial(_convert, file, card)


def _unpack(file: Path, recipe: Recipe | None, folder: Path) -> StoredCard:
    if recipe is None:
        if not isinstance(card := unpack_model(file, folder), Card):
            raise ModelError(
                f"{file.name} holds the detector {card.name}.", f"Import it with --name {card.name}."
            )
        return card
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        card = unpack_model(file, Path(work))
        # A name that everyone knows must mean the same weights everywhere, and the archive's network may hold
        # others than its card says: it is made anew of what the pinned digest is of.
        try:
            built = recipe.build(Path(work) / recipe.origin, folder)
        except (OSError, ModelBroken) as error:
            raise ModelBroken(
                f"{file.name} does not hold the weights of {recipe.card.name}.", "Give it another --name."
            ) from error
    # What the archive's owner measured on people of their own goes with it.
    return with_own_calibration(built, card)


def _convert(file: Path, card: Card, folder: Path) -> Card:
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        network = file
        if file.suffix.lower() == _KERAS:
            network = Path(work) / f"{file.stem}.xml"
            run_keras("file", file.resolve(), network)
        if card.size == OWN_SIZE:
            card = replace(card, size=own_size(network))
        return replace(card, dim=store_network(network, card, folder), digest=_digest(file, card))


def _digest(file: Path, card: Card) -> str:
    """Return SHA-256 over the file as it came and over what is baked in: the same import, the same digest."""
    baked = json.dumps([card.size, card.color, card.mean, card.scale])
    parts = [file_digest(part, "sha256") for part in (file, file.with_suffix(".bin")) if part.is_file()]
    return f"sha256:{hashlib.sha256(' '.join([*parts, baked]).encode()).hexdigest()}"
