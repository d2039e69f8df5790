"""The Haar detector: OpenCV's cascades, quick on one core, with attempts for what they miss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesearch.detect import Detector
from facesearch.detect.cascades import Cascade, shrunk
from facesearch.detect.second_opinion import SecondOpinion, Sighting, without_duplicates
from facesearch.errors import FacesearchError
from facesearch.faces import Box, Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRONTAL = "haarcascade_frontalface_alt2.xml"
SECOND_FRONTAL = "haarcascade_frontalface_default.xml"
PROFILE = "haarcascade_profileface.xml"

# Nothing smaller is looked for at the working size: the cascades' windows are 20 and 24 pixels.
SMALLEST_WINDOW = 24
# The scan of the whole picture takes nearly all of the time, and the second opinion makes up for its coarseness.
STEP = 1.35
# Log-odds of a face, fitted on half of the people of LFW (at several sizes) and photographs without faces.
WEIGHTS, BIAS = (1.01, 2.23, 2.53), -7.12
PROFILE_WEIGHTS, PROFILE_BIAS = (1.5, 1.5), -6.0
ACCEPTED = 0.5
# The later attempts are for photos in which the first scan saw nothing, most of them landscapes: they look
# at a smaller picture, so that all of them together cost less than the first.
RETRY_SIDE = 480
RETRY_STEP = 1.2
# A crop that ends at the chin and the forehead leaves the cascades no room (AT&T: 0.87 found without).
BORDER = 0.25
TIGHT_SIDE = 160
TIGHT_FACE = 0.4


class HaarDetector(Detector):
    """Finds faces with OpenCV's Haar cascades.

    Args:
        min_face: Side of the smallest face looked for, in pixels of the photo; in photos that are larger than
            `working_side`, no face is found that is smaller than 24 pixels at the working size.
        rotations: Whether photos without an upright face are searched in the three other quarter turns.
    """

    def __init__(self, *, min_face: int = 28, rotations: bool = False) -> None:
        if min_face < 1:
            raise FacesearchError(f"The smallest face cannot be {min_face} pixels.", "Give 1 or more.")
        self.min_face = min_face
        self.rotations = rotations
        self._frontal, self._second = Cascade(FRONTAL), Cascade(SECOND_FRONTAL)
        self._profile = Cascade(PROFILE)
        self._opinion = SecondOpinion([self._second, self._frontal], weights=WEIGHTS, bias=BIAS)
        self._profile_opinion = SecondOpinion([self._profile], weights=PROFILE_WEIGHTS, bias=PROFILE_BIAS)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find all faces of an upright photo.

        Args:
            image: (height, width, 3) BGR uint8.

        Returns:
            The faces, largest first, boxes in pixels of `image` and inside it; empty when there is none.
        """
        height, width = image.shape[:2]
        factor = min(1.0, self.working_side / max(height, width))
        grey = np.asarray(cv2.cvtColor(shrunk(image, factor), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        smallest = max(SMALLEST_WINDOW, self.min_face * factor)
        found = [
            replace(one, x=one.x / factor, y=one.y / factor, side=one.side / factor)
            for one in self._attempts(grey, smallest)
        ]
        faces = [_face(one, width, height) for one in found if one.side >= self.min_face]
        return sorted(faces, key=lambda face: (-face.box.area, face.box.x, face.box.y))

    def _attempts(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Search in the order of what is cheap and sure, up to the first attempt that finds a face."""
        return (
            self._search(grey, self._frontal, smallest, STEP)
            or self._at_retry_size(grey, smallest)
            or (self._turned(grey, smallest) if self.rotations else [])
        )

    def _search(
        self, grey: NDArray[np.uint8], cascade: Cascade, smallest: float, step: float
    ) -> list[Sighting]:
        """Scan a picture with one cascade and have what it shows looked at closely."""
        opinion = self._profile_opinion if cascade is self._profile else self._opinion
        judged = [opinion.judge(grey, candidate) for candidate in cascade.scan(grey, smallest, step)]
        return without_duplicates([one for one in judged if one.score >= ACCEPTED])

    def _at_retry_size(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        factor = min(1.0, RETRY_SIDE / max(grey.shape))
        small = shrunk(grey, factor)
        least = max(SMALLEST_WINDOW, smallest * factor)
        found = (
            self._search(small, self._second, least, RETRY_STEP)
            or self._with_border(small, least)
            or self._profiles(small, least)
        )
        return [replace(one, x=one.x / factor, y=one.y / factor, side=one.side / factor) for one in found]

    def _with_border(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Look for a face that fills the picture, after giving it room on each side."""
        factor = min(1.0, TIGHT_SIDE / max(grey.shape))
        small = shrunk(grey, factor)
        border = round(BORDER * max(small.shape))
        padded = np.asarray(
            cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE), dtype=np.uint8
        )
        least = max(SMALLEST_WINDOW, smallest * factor, TIGHT_FACE * min(small.shape))
        return [
            replace(one, x=(one.x - border) / factor, y=(one.y - border) / factor, side=one.side / factor)
            for one in self._search(padded, self._frontal, least, RETRY_STEP)
        ]

    def _profiles(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Look for faces turned to the left, and in the mirrored picture for those turned to the right."""
        mirrored = np.ascontiguousarray(grey[:, ::-1])
        right = self._search(mirrored, self._profile, smallest, RETRY_STEP)
        return without_duplicates(
            [
                *self._search(grey, self._profile, smallest, RETRY_STEP),
                *(replace(one, x=grey.shape[1] - one.x - one.side) for one in right),
            ]
        )

    def _turned(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Search the other three quarter turns and keep the one with the surest face."""
        found = [
            [
                _turned_back(one, turns, grey.shape)
                for one in self._search(
                    np.ascontiguousarray(np.rot90(grey, turns)), self._frontal, smallest, STEP
                )
            ]
            for turns in (1, 2, 3)
        ]
        return max(found, key=lambda faces: max((one.score for one in faces), default=0.0))


def _turned_back(one: Sighting, turns: int, shape: tuple[int, ...]) -> Sighting:
    """Bring a sighting in `numpy.rot90(picture, turns)` back to the picture of this shape."""
    height, width = shape
    x, y = {
        1: (width - one.y - one.side, one.x),
        2: (width - one.x - one.side, height - one.y - one.side),
        3: (one.y, height - one.x - one.side),
    }[turns]
    return replace(one, x=x, y=y, turns=turns)


def _face(one: Sighting, width: int, height: int) -> Face:
    left, top = max(0, round(one.x)), max(0, round(one.y))
    right, bottom = min(width, round(one.x + one.side)), min(height, round(one.y + one.side))
    box = Box(left, top, max(1, right - left), max(1, bottom - top))
    return Face(box, one.score, turns=one.turns)
