"""No detector at all: each photo is nothing but a face, cut out already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.detect import Detector
from facesearch.faces import Box, Face

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WholeDetector(Detector):
    """Takes the whole photo for a face.

    Args:
        min_face: Photos smaller than this hold none, in pixels of the longer side.
        rotations: Means nothing here: which side of a picture is up cannot be told without looking.
    """

    def __init__(self, *, min_face: int = 0, rotations: bool = False) -> None:
        self.min_face = min_face
        self.rotations = rotations

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the one face; see `Detector.detect`."""
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height), 1.0)] if max(height, width) >= self.min_face else []
