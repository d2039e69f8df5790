"""Whether a window of a coarse scan is a face: a close look at it with more than one cascade."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facesearch.detect.cascades import Cascade, Cluster

# The neighbourhood of the candidate, in its sides, and what its side becomes in pixels: small, so that a
# close look costs about a millisecond a cascade, yet 1.5 times the cascades' windows, so that they have room.
REGION = 1.7
SIDE = 36
# The sizes looked for in it, and the factor between them.
SMALLEST, LARGEST = 24, 54
STEP = 1.15


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face that more than one look agreed on; pixels of the picture that was searched.

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
        weights: What a judge's logarithmic count of windows adds to the log-odds of a face, one a judge,
            then that of the coarse scan's own windows.
        bias: The log-odds where nothing was counted.
    """

    def __init__(self, judges: Sequence[Cascade], *, weights: Sequence[float], bias: float) -> None:
        self.judges = judges
        self.weights = weights
        self.bias = bias

    def judge(self, grey: NDArray[np.uint8], candidate: Cluster) -> Sighting:
        """Look closely at one candidate; its box becomes the mean of all opinions."""
        region, left, top, scale = _enlarged(grey, candidate)
        boxes = [np.array([candidate.x, candidate.y, candidate.side])]
        odds = self.bias + self.weights[-1] * math.log1p(candidate.count)
        for judge, weight in zip(self.judges, self.weights, strict=False):
            windows = judge.windows(region, STEP, SMALLEST, LARGEST)
            if len(windows):
                boxes.append(windows.mean(axis=0) / scale + (left, top, 0))
                odds += weight * math.log1p(len(windows))
        x, y, side = (float(value) for value in np.mean(boxes, axis=0))
        return Sighting(x, y, side, 1 / (1 + math.exp(-odds)))


def _enlarged(grey: NDArray[np.uint8], candidate: Cluster) -> tuple[NDArray[np.uint8], int, int, float]:
    """Cut the neighbourhood out and bring the candidate in it to `SIDE` pixels; also its left, top, scale."""
    reach = candidate.side * REGION / 2
    x, y = candidate.x + candidate.side / 2, candidate.y + candidate.side / 2
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    region = grey[top : round(y + reach), left : round(x + reach)]
    scale = SIDE / candidate.side
    size = (max(1, round(region.shape[1] * scale)), max(1, round(region.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(region, size, interpolation=how), dtype=np.uint8), left, top, scale


def without_duplicates(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Keep the surest of sightings that cover one another by more than half of the smaller one."""
    kept: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: -sighting.score):
        if not any(_covered(one, other) > 0.5 for other in kept):
            kept.append(one)
    return kept


def _covered(one: Sighting, other: Sighting) -> float:
    width = min(one.x + one.side, other.x + other.side) - max(one.x, other.x)
    height = min(one.y + one.side, other.y + other.side) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height) / min(one.side, other.side) ** 2
