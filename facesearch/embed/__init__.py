"""Turns faces into vectors: the Embedder protocol, and the table of models that can be opened by a name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from facesearch import plugins
from facesearch.errors import ModelError, UnknownModel
from facesearch.models.card import with_own_calibration
from facesearch.models.store import ModelStore, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.models.card import Card
    from facesearch.models.sources import Recipe

# name -> the module with its RECIPE. Models of other packages are found by their entry points; a network in
# a file needs no code at all: `models import`.
MODELS: Mapping[str, str] = {
    "resnet50": "facesearch.embed.resnet50",
    "sface": "facesearch.embed.sface",
}


class Embedder(Protocol):
    """Turns face crops into vectors. Several threads may call `embed` at once.

    Attributes:
        card: The network's properties: size and margin of the crops, dimension of the vectors.
        precision: What it calculates in; empty where that is not known.

    Example:
        >>> class MeanColor(Embedder):
        ...     card = Card(name="mean-color", dim=3, size=(16, 16), margin=0.0, detector="haar")
        ...     def embed(self, crops):
        ...         return crops.mean(axis=(1, 2), dtype="float32")
    """

    card: Card
    precision: str = ""

    def prepare(self) -> None:
        """Begin to open the network, where that takes a while: crops will come soon."""
        return

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector of each crop.

        Args:
            crops: (n, height, width, 3) BGR uint8, height and width as the card says; n may be 0.

        Returns:
            (n, dim) float32, as the network gives them (not normalised).
        """
        ...


def recipe_of(name: str) -> Recipe | None:
    """Return the recipe of a model that can be fetched by its name; None for every other name."""
    if module := MODELS.get(name):
        return cast("Recipe", import_module(module).RECIPE)
    if (plugin := plugins.load_plugin(plugins.EMBEDDERS, name)) is not None:
        return _plugin_recipe(name, plugin)
    from facesearch.embed.conversion import application_recipe

    return application_recipe(name)


def model_names() -> list[str]:
    """Return the names of the models that can be fetched by a plain name, those of plug-ins too."""
    return sorted({*MODELS, *plugins.plugin_names(plugins.EMBEDDERS)})


def check_known(name: str) -> None:
    """Raise UnknownModel for a name that no model has, here or where models come from."""
    if not ModelStore().installed(name):
        card_of(name)


def card_of(name: str, store: ModelStore | None = None) -> Card:
    """Return a model's card without loading the network; those of `model_names` need not be in the store.

    Raises:
        UnknownModel: The model is not in the store, and its card is known only when it is fetched.
        ModelBroken: The model's card or files are damaged.
    """
    store = store or ModelStore()
    if store.installed(name):
        return _current(store.card(name))
    recipe = _recipe(name, store)
    if not _has_recipe_card(name):
        raise UnknownModel(f"The model {name} is not here yet.", f"Run 'facesearch models fetch {name}'.")
    return cast("Card", recipe.card)


def fetch_model(name: str, store: ModelStore, *, notify: Callable[[str], None] = silent) -> Card:
    """Fetch a model by its name, unless it is in the store and intact; see `ModelStore.fetch`.

    Raises:
        UnknownModel: No model of this name can be fetched.
    """
    return cast("Card", store.fetch(_recipe(name, store), notify=notify))


def open_embedder(
    name: str,
    *,
    store: ModelStore | None = None,
    runtime: str = "openvino",
    precision: str = "auto",
    usual: str = "",
    device: str = "CPU",
    streams: int = 1,
    threads: int = 0,
    notify: Callable[[str], None] = silent,
) -> Embedder:
    """Open a model, and fetch it if it is missing.

    Args:
        name: One of `model_names`, or any model of the store.
        store: The model store of this machine.
        runtime: "openvino", or "tensorflow" to run the Keras model itself if there is one.
        precision: "auto", "f32", "bf16" or "f16".
        usual: What "auto" is on a CPU that has it; empty for the precision that is measured to be fastest.
        device: The OpenVINO device.
        streams: How many calls of `embed` run at once on a CPU, each on its share of the cores. One has the
            lowest latency. One for each core has the highest throughput when calls come from several
            threads, since the threads of a single call wait for each other at every layer.
        threads: How many threads of a CPU the network uses; 0 for all.
        notify: Called with a sentence about a fetch.

    Raises:
        UnknownModel: No model of this name is in the store or can be fetched.
        FetchFailed: The model is missing and could not be fetched.
        ModelBroken: The model's files are not those of its card.
        ModelError: The runtime, precision or device is not available.
    """
    store = store or ModelStore()
    if not store.installed(name):
        store.fetch(_recipe(name, store), notify=notify)
    card = _current(store.card(name))
    if runtime == "tensorflow":
        return _open_keras(card, store, precision)
    if runtime != "openvino":
        raise ModelError(f"There is no runtime {runtime!r}.", "Use openvino or tensorflow.")
    from facesearch.embed.openvino_runtime import OpenVinoEmbedder

    return OpenVinoEmbedder(
        card,
        store.path(name),
        precision=precision,
        usual=usual,
        device=device,
        streams=streams,
        threads=threads,
    )


class BackgroundEmbedder(Embedder):
    """An embedder that opens its model in a thread while the first photos are looked at.

    Where all photos are known pictures, it is never opened.

    Args:
        card: The model's card.
        opening: Opens the model; `embed` raises its errors.
    """

    def __init__(self, card: Card, opening: Callable[[], Embedder]) -> None:
        self.card = card
        self._opening = opening
        self._lock = threading.Lock()
        self._opened: Future[Embedder] | None = None

    def prepare(self) -> None:
        """Begin to open the model; see `Embedder.prepare`."""
        self._begin()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector of each crop; see `Embedder.embed`."""
        return self._begin().result().embed(crops)

    def _begin(self) -> Future[Embedder]:
        with self._lock:
            if self._opened is None:
                thread = ThreadPoolExecutor(1, thread_name_prefix="open-model")
                self._opened = thread.submit(self._opening)
                thread.shutdown(wait=False)
            return self._opened

    @property
    def precision(self) -> str:  # type: ignore[override]
        """What the model calculates in; empty as long as it is not open."""
        done = self._opened is not None and self._opened.done() and not self._opened.exception()
        return self._opened.result().precision if self._opened is not None and done else ""


def check_crops(crops: NDArray[np.uint8], card: Card) -> None:
    """Check that crops are (n, height, width, 3) uint8 of the card's size; for embedders.

    Raises:
        ModelError: They are not.
    """
    if crops.dtype != "uint8" or crops.shape[1:] != (*card.size, 3):
        height, width = card.size
        raise ModelError(
            f"The model {card.name} takes crops of shape (n, {height}, {width}, 3) in uint8, "
            f"not {crops.shape} in {crops.dtype}."
        )


def _has_recipe_card(name: str) -> bool:
    """Return whether a model's card is known before it is fetched."""
    return name in MODELS or name in plugins.plugin_names(plugins.EMBEDDERS)


def _plugin_recipe(name: str, plugin: object) -> Recipe:
    from facesearch.models.sources import Recipe

    recipe = getattr(plugin, "RECIPE", plugin)
    if not isinstance(recipe, Recipe) or recipe.card.name != name:
        raise plugins.broken_plugin(name, "it has no recipe for a model of this name")
    return recipe


def _current(stored: Card) -> Card:
    """Return this version's card of a model of ours (a stored one may be older), with the user's figures."""
    # A plug-in's model uses its stored card: searching for the plug-in takes a while.
    if stored.name not in MODELS:
        return stored
    card = cast("Card", cast("Recipe", recipe_of(stored.name)).card)
    if card.digest != stored.digest:
        return stored
    return replace(with_own_calibration(card, stored), files=stored.files)


def _open_keras(card: Card, store: ModelStore, precision: str) -> Embedder:
    recipe = recipe_of(card.name)
    if recipe is None or not recipe.keras:
        raise ModelError(f"The model {card.name} is not a Keras model.", "Leave out --runtime tensorflow.")
    from facesearch.embed.keras_networks import KerasEmbedder

    return KerasEmbedder(card, store.path(card.name), recipe.keras, precision=precision)


def _recipe(name: str, store: ModelStore) -> Recipe:
    if recipe := recipe_of(name):
        return recipe
    from facesearch.embed.conversion import APPLICATIONS, PREFIX

    known = {*model_names(), *store.names(), *(PREFIX + application for application in APPLICATIONS)}
    near = get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    here = ", ".join(model_names())
    raise UnknownModel(
        f"There is no model {name!r}. {'Near to it: ' + ', '.join(near) if near else 'There are ' + here}.",
        "Run 'facesearch models list' for all, or 'facesearch models import' for a network from elsewhere.",
    )
