"""Where the faces of a photo are: the Detector protocol and the table of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from facesearch.errors import FacesearchError
from facesearch.models.store import ModelStore, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.faces import Face
    from facesearch.models.sources import Recipe

# name -> "module:class"; a detector is one class in one file and one line here.
DETECTORS: Mapping[str, str] = {
    "haar": "facesearch.detect.haar:HaarDetector",
    "whole": "facesearch.detect.whole:WholeDetector",
    "yunet": "facesearch.detect.yunet:YuNetDetector",
}


class Detector(Protocol):
    """Finds faces.

    A detector is built from its settings, which are its constructor's keyword arguments; one with a recipe
    is given the folder in which its network lies before them. An instance may be called from several threads
    at once.

    Attributes:
        working_side: The longer side, in pixels, at which photos are looked at: a larger photo is
            scaled down to it, so it need not be decoded at more than that.
        landmarks: Whether its faces come with landmarks, by which crops can be aligned.
        recipe: How its network is had; None for a detector that needs none.
    """

    working_side: int = 1280
    landmarks: bool = False
    recipe: ClassVar[Recipe | None] = None

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find all faces of an upright photo.

        Args:
            image: (height, width, 3) BGR uint8.

        Returns:
            The faces, largest first, boxes in pixels of `image` and inside it; empty when there is none.
        """
        ...


def open_detector(
    name: str,
    settings: Mapping[str, object] | None = None,
    *,
    store: ModelStore | None = None,
    notify: Callable[[str], None] = silent,
) -> Detector:
    """Build the detector of this name, fetching its network when that is missing.

    Args:
        name: One of `DETECTORS`.
        settings: The detector's own.
        store: Where the networks lie.
        notify: Is told of a fetch, in sentences.

    Raises:
        FacesearchError: There is no detector of this name, or it has no such settings.
        FetchFailed: Its network is not here and could not be fetched.
        ModelBroken: Its network is not what is pinned.
    """
    kind, settings = _detector_class(name), settings or {}
    known = signature(kind).parameters
    if unknown := [setting for setting in settings if setting not in known]:
        raise FacesearchError(f"The detector {name} has no setting {unknown[0]!r}.")
    if kind.recipe is None:
        return kind(**settings)
    store = store or ModelStore()
    if not store.installed(name):
        store.fetch(kind.recipe, notify=notify)
    store.detector_card(name)
    return cast("Callable[..., Detector]", kind)(store.path(name), **settings)


def gives_landmarks(name: str) -> bool:
    """Tell whether the faces of the detector of this name come with landmarks; builds no detector.

    Raises:
        FacesearchError: There is no detector of this name.
    """
    return _detector_class(name).landmarks


def detector_recipe(name: str) -> Recipe | None:
    """Return how a detector's network is had; None for a detector that needs none, and for any other name."""
    return _detector_class(name).recipe if name in DETECTORS else None


def _detector_class(name: str) -> type[Detector]:
    if name not in DETECTORS:
        raise FacesearchError(
            f"There is no detector named {name!r}.", f"Known detectors: {', '.join(sorted(DETECTORS))}."
        )
    module, _, attribute = DETECTORS[name].partition(":")
    return cast("type[Detector]", getattr(import_module(module), attribute))
