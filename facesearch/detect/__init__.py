"""Where the faces of a photo are: the Detector protocol and the table of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from facesearch import plugins
from facesearch.errors import FacesearchError
from facesearch.faces import Box, Face
from facesearch.models.store import ModelStore, silent

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from facesearch.faces import Face
    from facesearch.models.sources import Recipe


# name -> "module:class"; a detector is one class in one file and one line here. Those of other packages are
# found by their entry points.
DETECTORS: Mapping[str, str] = {
    "haar": "facesearch.detect.haar:HaarDetector",
    "whole": "facesearch.detect:WholeDetector",
    "yunet": "facesearch.detect.yunet:YuNetDetector",
}

# What most detectors need of a photo, in pixels of its longer side.
WORKING_SIDE = 1280


class Detector(Protocol):
    """Finds the faces of a photo.

    The keyword arguments of its constructor are its settings; a detector with a recipe gets the folder of its
    network before them. An index remembers the settings that it was made with. Several threads may call one
    instance at once.

    Attributes:
        landmarks: Whether its faces have landmarks, by which crops can be aligned.
        recipe: Where its network comes from; None for a detector without one.

    Example:
        >>> class CornerDetector(Detector):
        ...     def detect(self, image, scale):
        ...         return [Face(Box(0, 0, image.shape[1] // 2, image.shape[0] // 2), 1.0)]
    """

    landmarks: bool = False
    recipe: ClassVar[Recipe | None] = None

    def working_side(self, width: int, height: int) -> int:
        """Return the longer side, in pixels, that is enough to search a photo of this size.

        A larger photo need not be decoded at a larger size, or be given to `detect` at one.
        """
        return min(max(width, height), WORKING_SIDE)

    def detect(self, image: NDArray[np.uint8], scale: float) -> list[Face]:
        """Find all faces of an upright photo.

        Args:
            image: (height, width, 3) BGR uint8, of the working side or more.
            scale: Pixels of the photo to a pixel of `image`, 1.0 or more. What is said in pixels of the
                photo, such as a smallest face, is so many times less here.

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
    """Build a detector by its name, and fetch its network if it is missing.

    Args:
        name: One of `DETECTORS`, or the name of a plug-in.
        settings: The detector's settings.
        store: The networks of this machine.
        notify: Called with a sentence about a fetch.

    Raises:
        FacesearchError: There is no detector of this name, or it does not have these settings.
        FetchFailed: Its network is missing and could not be fetched.
        ModelBroken: Its network is not the pinned one.
    """
    kind = _detector_class(name)
    settings = _taken(name, kind, settings or {})
    if kind.recipe is None:
        return _build(name, kind, settings)
    store = store or ModelStore()
    if not store.installed(name):
        store.fetch(kind.recipe, notify=notify)
    store.detector_card(name)
    return _build(name, kind, settings, store.path(name))


def gives_landmarks(name: str) -> bool:
    """Return whether the faces of a detector have landmarks; the detector is not built.

    Raises:
        FacesearchError: There is no detector of this name.
    """
    return _detector_class(name).landmarks


def detector_recipe(name: str) -> Recipe | None:
    """Return where a detector's network comes from; None for one without a network, and for other names.

    Raises:
        FacesearchError: The detector is a plug-in and cannot be loaded.
    """
    kind = _find_class(name)
    return kind.recipe if kind else None


def detector_names() -> list[str]:
    """Return the names of all detectors, those of plug-ins too."""
    return sorted({*DETECTORS, *plugins.plugin_names(plugins.DETECTORS)})


def _taken(name: str, kind: type[Detector], settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that a detector is built with.

    An index always holds whether photos are turned. A detector that cannot turn them need not be told not to.

    Raises:
        FacesearchError: The detector does not have one of them.
    """
    known = signature(kind).parameters
    settings = {key: value for key, value in settings.items() if key != "rotations" or key in known or value}
    if unknown := [setting for setting in settings if setting not in known]:
        has = [setting for setting, parameter in known.items() if parameter.kind is parameter.KEYWORD_ONLY]
        raise FacesearchError(
            f"The detector {name} has no setting {unknown[0]!r}.",
            f"Its settings are {', '.join(has)}." if has else "It has no settings.",
        )
    return settings


def _build(name: str, kind: type[Detector], settings: Mapping[str, object], *folder: Path) -> Detector:
    try:
        return cast("Callable[..., Detector]", kind)(*folder, **settings)
    except FacesearchError:
        raise
    except Exception as error:  # whatever a foreign class raises
        if name in DETECTORS:
            raise
        raise plugins.broken_plugin(name, f"it raises {type(error).__name__}: {error}") from error


def _detector_class(name: str) -> type[Detector]:
    if kind := _find_class(name):
        return kind
    raise FacesearchError(
        f"There is no detector named {name!r}.", f"Known detectors: {', '.join(detector_names())}."
    )


def _find_class(name: str) -> type[Detector] | None:
    if name in DETECTORS:
        module, _, attribute = DETECTORS[name].partition(":")
        return cast("type[Detector]", getattr(import_module(module), attribute))
    kind = plugins.load_plugin(plugins.DETECTORS, name)
    if kind is None:
        return None
    detect = getattr(kind, "detect", None)
    if not (isinstance(kind, type) and callable(detect)):
        raise plugins.broken_plugin(name, "it is not a class with a method `detect`")
    if list(signature(detect).parameters)[2:3] != ["scale"]:
        raise plugins.broken_plugin(name, "its method is not `detect(self, image, scale)`")
    if Detector not in kind.__mro__:
        # The attributes that it leaves out are the protocol's.
        kind = type(kind.__name__, (kind, Detector), {})
    detector = cast("type[Detector]", kind)
    if detector.recipe is not None and detector.recipe.card.name != name:
        raise plugins.broken_plugin(name, f"its recipe is that of {detector.recipe.card.name}")
    return detector


class WholeDetector(Detector):
    """Returns the whole photo as its one face.

    Args:
        min_face: A photo whose longer side has fewer pixels has no face.
        rotations: Ignored: without a search nothing tells which side of a picture is up.
    """

    def __init__(self, *, min_face: int = 0, rotations: bool = False) -> None:
        self.min_face = min_face
        self.rotations = rotations

    def detect(self, image: NDArray[np.uint8], scale: float) -> list[Face]:
        """Return the one face; see `Detector.detect`."""
        height, width = image.shape[:2]
        if max(height, width) * scale < self.min_face:
            return []
        return [Face(Box(0, 0, width, height), 1.0)]
