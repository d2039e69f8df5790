"""The detector for photos that are faces already, cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.detect import Detector
from facesearch.faces import Box, Face

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
