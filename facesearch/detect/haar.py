"""The Haar detector: OpenCV's cascades, fast on one core, with further attempts for faces that they miss.

A coarse scan of the whole photo gives candidates; a second opinion, a close look at each by several cascades,
decides which of them are faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesearch.detect import WORKING_SIDE, Detector
from facesearch.detect.cascades import Cascade, Cluster, shrunk
from facesearch.errors import FacesearchError
from facesearch.faces import Box, Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


FRONTAL = "haarcascade_frontalface_alt2.xml"
FRONTAL_JUDGE = "haarcascade_frontalface_default.xml"
PROFILE = "haarcascade_profileface.xml"

# Nothing smaller is looked for at the working size: the cascades' windows are 20 and 24 pixels.
SMALLEST_WINDOW = 24
# The scan of the whole picture takes most of the time, and the close look makes up for its coarseness:
# 1.4 costs two thirds of 1.2 and leaves one to two in a hundred photos of LFW to the later attempts.
STEP = 1.4
# Log-odds of a face by its windows, fitted on half of the people of LFW (at several sizes) and half of 80
# photographs without a face.
WEIGHTS, BIAS = (1.46, 3.16, 2.2), -6.9
# Set by hand: few photos come so far (under 1 % of LFW) and no other profile cascade can be asked. On
# photographs without faces the log-odds stayed far below what is accepted.
PROFILE_WEIGHTS, PROFILE_BIAS = (1.5, 1.5), -5.3
# In the first scan a lapel reached 0.93; a necktie of the Solvay photograph (0.97) and a pattern (0.98) still
# pass. The later attempts look for large faces only, and in 40 photographs without one nothing reached 0.5.
ACCEPTED, RETRY_ACCEPTED = 0.95, 0.75
# Of upside-down photos one in twenty shows an upright face too, rarely as sure as this; asked for turned
# photos, the detector then compares all four turns before it settles.
SURE = 0.999
# The cascades' windows end above the chin. Boxes lowered by so much of their side verify better: on LFW the
# area under ROC of ResNet-50's cosine rises from 0.819 to 0.823.
LOWERED = 0.08
# The later attempts are for photos in which the first scan saw nothing, most of them landscapes: they look at
# a small picture for large faces, so that all together cost about 60 ms. On LFW the fine step finds half of
# what the first scan missed; the other frontal cascade in its place finds less and costs more.
RETRY_SIDE = 320
RETRY_FACE = 0.15
RETRY_STEP, PROFILE_STEP = 1.1, 1.2
# A crop that ends at the chin and the forehead leaves the cascades no room: of UTKFace's chips half are
# found without a border, 97 % with it. It comes first because it is the cheapest, 4 ms.
BORDER = 0.25
TIGHT_SIDE = 160
TIGHT_FACE = 0.4
TIGHT_STEP = 1.2
# The neighbourhood of the candidate, in its sides, and what its side becomes in pixels: small, so that a
# close look costs about a millisecond a cascade, yet 1.5 times the cascades' windows, so that they have room.
REGION = 1.7
SIDE = 36
# The sizes looked for in it, and the factor between them.
SMALLEST, LARGEST = 24, 54
CLOSE_LOOK_STEP = 1.15


class HaarDetector(Detector):
    """Finds faces with OpenCV's Haar cascades.

    Args:
        min_face: Side of the smallest face to find, in pixels of the photo. In photos that are larger than
            `WORKING_SIDE`, no face is found that is smaller than 24 pixels at that size.
        rotations: Whether photos without a sure upright face are also searched in the other quarter turns.
    """

    def __init__(self, *, min_face: int = 30, rotations: bool = False) -> None:
        if min_face < 1:
            raise FacesearchError(f"The smallest face cannot be {min_face} pixels.", "Give 1 or more.")
        self.min_face = min_face
        self.rotations = rotations
        self._frontal, self._frontal_judge = Cascade(FRONTAL), Cascade(FRONTAL_JUDGE)
        self._profile = Cascade(PROFILE)
        self._opinion = SecondOpinion([self._frontal_judge, self._frontal], weights=WEIGHTS, bias=BIAS)
        self._profile_opinion = SecondOpinion([self._profile], weights=PROFILE_WEIGHTS, bias=PROFILE_BIAS)

    def detect(self, image: NDArray[np.uint8], scale: float) -> list[Face]:
        """Find all faces of an upright photo; see `Detector.detect`."""
        height, width = image.shape[:2]
        factor = min(1.0, WORKING_SIDE / max(height, width))
        grey = shrunk(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), factor)
        least = self.min_face / scale
        smallest = max(SMALLEST_WINDOW, least * factor)
        found = [
            replace(one, x=one.x / factor, y=one.y / factor, side=one.side / factor)
            for one in self._attempts(grey, smallest)
        ]
        faces = [_face(one, width, height) for one in found if one.side >= least]
        return sorted(faces, key=lambda face: (-face.box.area, face.box.x, face.box.y))

    def _attempts(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Search, surest and cheapest first, up to the first attempt that finds a face."""
        found = self._search(grey, self._frontal, smallest, STEP, ACCEPTED)
        if self.rotations and _best_score(found) < SURE:
            found = max(found, *self._turned(grey, smallest), key=_best_score)
        return found or self._at_retry_size(grey, smallest)

    def _search(
        self, grey: NDArray[np.uint8], cascade: Cascade, smallest: float, step: float, accepted: float
    ) -> list[Sighting]:
        """Scan a picture with one cascade and have what it shows looked at closely."""
        opinion = self._profile_opinion if cascade is self._profile else self._opinion
        judged = [opinion.judge(grey, candidate) for candidate in cascade.scan(grey, smallest, step)]
        found = without_duplicates([one for one in judged if one.score >= accepted])
        return [replace(one, y=one.y + LOWERED * one.side) for one in found]

    def _at_retry_size(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Look for a large face that the first scan missed."""
        factor = min(1.0, RETRY_SIDE / max(grey.shape))
        small = shrunk(grey, factor)
        least = max(SMALLEST_WINDOW, smallest * factor, RETRY_FACE * min(small.shape))
        found = (
            self._with_border(small, least)
            or self._search(small, self._frontal, least, RETRY_STEP, RETRY_ACCEPTED)
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
            for one in self._search(padded, self._frontal, least, TIGHT_STEP, RETRY_ACCEPTED)
        ]

    def _profiles(self, grey: NDArray[np.uint8], smallest: float) -> list[Sighting]:
        """Look for faces turned to the left, and in the mirrored picture for those turned to the right."""
        mirrored = np.ascontiguousarray(grey[:, ::-1])
        right = self._search(mirrored, self._profile, smallest, PROFILE_STEP, RETRY_ACCEPTED)
        return without_duplicates(
            [
                *self._search(grey, self._profile, smallest, PROFILE_STEP, RETRY_ACCEPTED),
                *(replace(one, x=grey.shape[1] - one.x - one.side) for one in right),
            ]
        )

    def _turned(self, grey: NDArray[np.uint8], smallest: float) -> list[list[Sighting]]:
        """Search the other three quarter turns."""
        return [
            [
                _turned_back(one, turns, grey.shape)
                for one in self._search(
                    np.ascontiguousarray(np.rot90(grey, turns)), self._frontal, smallest, STEP, ACCEPTED
                )
            ]
            for turns in (1, 2, 3)
        ]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face that more than one search agreed on, in pixels of the picture that was searched.

    Attributes:
        x: Left edge.
        y: Upper edge.
        side: Width and height.
        score: Probability of a face, as calibrated on photographs with and without faces.
        turns: Quarter turns counter-clockwise that bring it upright.
    """

    x: float
    y: float
    side: float
    score: float
    turns: int = 0


class SecondOpinion:
    """Scores candidates by how many windows agree with them.

    Args:
        judges: The cascades that look closely.
        weights: What the logarithm of a count of windows adds to the log-odds of a face: one weight for each
            judge, then one for the windows of the coarse scan.
        bias: The log-odds without any windows.
    """

    def __init__(self, judges: Sequence[Cascade], *, weights: Sequence[float], bias: float) -> None:
        self.judges = judges
        self.weights = weights
        self.bias = bias

    def judge(self, grey: NDArray[np.uint8], candidate: Cluster) -> Sighting:
        """Return the candidate after a close look; its box is the mean of all opinions."""
        region, left, top, scale = _enlarged(grey, candidate)
        boxes = [np.array([candidate.x, candidate.y, candidate.side])]
        odds = self.bias + self.weights[-1] * math.log1p(candidate.count)
        for judge, weight in zip(self.judges, self.weights, strict=False):
            windows = judge.windows(region, CLOSE_LOOK_STEP, SMALLEST, LARGEST)
            if len(windows):
                boxes.append(windows.mean(axis=0) / scale + (left, top, 0))
                odds += weight * math.log1p(len(windows))
        x, y, side = (float(value) for value in np.mean(boxes, axis=0))
        return Sighting(x, y, side, 1 / (1 + math.exp(-odds)))


def _best_score(sightings: list[Sighting]) -> float:
    return max((one.score for one in sightings), default=0.0)


def _turned_back(one: Sighting, turns: int, shape: tuple[int, ...]) -> Sighting:
    """Convert a sighting in `numpy.rot90(picture, turns)` to the pixels of the picture of this shape."""
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


def _enlarged(grey: NDArray[np.uint8], candidate: Cluster) -> tuple[NDArray[np.uint8], int, int, float]:
    """Return a candidate's neighbourhood, scaled to `SIDE` pixels a candidate, left, top, scale."""
    reach = candidate.side * REGION / 2
    x, y = candidate.x + candidate.side / 2, candidate.y + candidate.side / 2
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    region = grey[top : round(y + reach), left : round(x + reach)]
    scale = SIDE / candidate.side
    size = (max(1, round(region.shape[1] * scale)), max(1, round(region.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(region, size, interpolation=how), dtype=np.uint8), left, top, scale


def without_duplicates(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Return the sightings without those that a surer one covers by more than half of the smaller."""
    kept: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: -sighting.score):
        if not any(_covered(one, other) > 0.5 for other in kept):
            kept.append(one)
    return kept


def _covered(one: Sighting, other: Sighting) -> float:
    width = min(one.x + one.side, other.x + other.side) - max(one.x, other.x)
    height = min(one.y + one.side, other.y + other.side) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height) / min(one.side, other.side) ** 2
