"""Where the faces of a photo are: the Detector protocol and the table of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from facesearch.errors import FacesearchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.faces import Face

# name -> "module:class"; a detector is one class in one file and one line here.
DETECTORS: Mapping[str, str] = {
    "haar": "facesearch.detect.haar:HaarDetector",
}


class Detector(Protocol):
    """Finds faces.

    A detector is built from its settings, which are its constructor's keyword arguments. An instance
    may be called from several threads at once.

    Attributes:
        working_side: The longer side, in pixels, at which photos are looked at: a larger photo is
            scaled down to it, so it need not be decoded at more than that.
        landmarks: Whether its faces come with landmarks, by which crops can be aligned.
    """

    working_side: int = 1280
    landmarks: bool = False

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find all faces of an upright photo.

        Args:
            image: (height, width, 3) BGR uint8.

        Returns:
            The faces, largest first, boxes in pixels of `image` and inside it; empty when there is none.
        """
        ...


def open_detector(name: str, **settings: object) -> Detector:
    """Build the detector of this name with its settings.

    Raises:
        FacesearchError: There is no detector of this name.
    """
    return _detector_class(name)(**settings)


def gives_landmarks(name: str) -> bool:
    """Tell whether the faces of the detector of this name come with landmarks; builds no detector.

    Raises:
        FacesearchError: There is no detector of this name.
    """
    return bool(getattr(_detector_class(name), "landmarks", False))


def _detector_class(name: str) -> Callable[..., Detector]:
    if name not in DETECTORS:
        raise FacesearchError(
            f"There is no detector named {name!r}.", f"Known detectors: {', '.join(sorted(DETECTORS))}."
        )
    module, _, attribute = DETECTORS[name].partition(":")
    return cast("Callable[..., Detector]", getattr(import_module(module), attribute))
