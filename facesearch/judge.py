"""Says what a distance means for persons, and how good a face is: whether its vector can tell who it is.

Vectors of blurred faces, of faces a few pixels high, and of things that a detector takes for faces are short
and lie in one direction: two blurred strangers are nearer to each other than two sharp photos of one person.
So a vector itself tells how much it is worth, and faces that were indexed long ago are judged like new ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facesearch.cohort import LEAST, SIZE, Cohort, mean_nearness, nearness_among
from facesearch.faces import Match, Reference
from facesearch.index.backend import SearchableIndex
from facesearch.models.calibration import Calibration, QualityScale, probability_beside
from facesearch.models.card import Card
from facesearch.ranking import Ranking, norms_of, unit_vectors

NO_PROBABILITY = "This model's distances do not say how likely it is that two faces show one person."
MEASURE_IT = (
    "Use an index made with --model sface, ask by --threshold, or measure this model on people of your own: "
    "`facesearch evaluate DIR --calibrate`."
)
# A face below this is poor: it is found, but makes no person and gets no probability.
POOR = 0.5
_BLOCK = 16_384

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Judge:
    """Says what a distance means for persons: how likely it is one, and how many strangers come as near.

    Attributes:
        faces: The number of faces in the index.
        calibration: What distances mean; None if that was not measured.
        cohort: A sample of the index, by which nearness is judged instead of the distance; None for a model
            whose nearness was not measured.
        quality: What tells poor faces, of which nothing is said; None for a model that does not tell.
    """

    faces: int
    calibration: Calibration | None = None
    cohort: Cohort | None = None
    quality: QualityScale | None = None

    @classmethod
    def of(cls, card: Card, index: SearchableIndex, metric: Ranking) -> Judge:
        """Return the judge of an index: by nearness where that was measured, by distances where users did."""
        calibration = card.calibration.get(metric)
        if card.library is None or (calibration is not None and calibration.own and not card.library.own):
            return cls(index.face_count, calibration, None, card.quality)
        return cls(index.face_count, calibration, Cohort.of(index.sample(SIZE), card.library), card.quality)

    @property
    def knows(self) -> bool:
        """Whether a probability can be said."""
        return self.cohort is not None or self.calibration is not None

    def judged(
        self, matches: Sequence[Match], vectors: Sequence[Vector], references: Sequence[Reference]
    ) -> list[Match]:
        """Return matches with their probabilities and the strangers to expect.

        Args:
            matches: Matches.
            vectors: The vector of each match.
            references: The references, which show one person.
        """
        if not matches:
            return []
        found, asked = np.stack(vectors), np.stack([one.vector for one in references])
        if self.cohort is None:
            told = [match.distance for match in matches]
        else:
            told = (-mean_nearness(self.cohort.standing(found), self.cohort.standing(asked))).tolist()
        if self.quality is None:
            return [self.verdict(*pair) for pair in zip(matches, told, strict=True)]
        good = quality_of(found, self.quality).tolist()
        # What a poor face is near to says nothing, on either side.
        asked_well = quality_of(asked, self.quality).max() >= POOR
        return [
            replace(self.verdict(match, one) if asked_well and quality >= POOR else match, quality=quality)
            for match, one, quality in zip(matches, told, good, strict=True)
        ]

    def among(self, vectors: Vector, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what `verdict` judges the faces of one person by.

        Args:
            vectors: (n, dim) float32, the faces'.
            distances: (n,) of each face from the others.
        """
        if self.cohort is None:
            return distances
        return -nearness_among(self.cohort.standing(vectors)).astype(np.float64)

    def verdict(self, match: Match, distance: float) -> Match:
        """Return a match judged by its distance, or by its nearness with the sign changed."""
        probability = self.probability(distance)
        if probability is None:
            return match
        if self.cohort is not None:
            strangers = self.cohort.scale.strangers_within(-distance, self.faces)
            return replace(match, probability=probability, same=probability >= 0.5, strangers=strangers)
        assert self.calibration is not None
        strangers = self.faces * self.calibration.stranger_rate(distance)
        same = distance <= self.calibration.threshold
        return replace(match, probability=probability, same=same, strangers=strangers)

    def probability(self, distance: float) -> float | None:
        """Return the probability at a distance, or at nearness with the sign changed; None if unknown."""
        if not math.isfinite(distance):
            return None
        if self.cohort is not None:
            # In a library of few faces not only strangers are few: as few are the person's own.
            faces = max(self.faces, LEAST)
            return probability_beside(self.cohort.scale.strangers_within(-distance, faces))
        return self.calibration.probability(distance) if self.calibration is not None else None


def quality_of(vectors: NDArray[np.float32], scale: QualityScale) -> NDArray[np.float32]:
    """Return how good some faces are, (n,) from 0 to 1; 0 for a vector without length.

    Args:
        vectors: (n, dim) float32 of any length.
        scale: The model's.
    """
    lengths = norms_of(vectors)
    usable = np.isfinite(lengths) & (lengths > 0)
    odds = np.full(len(vectors), -np.inf)
    direction = np.asarray(scale.direction, np.float32)
    odds[usable] = unit_vectors(vectors[usable]) @ direction + scale.length * lengths[usable] + scale.offset
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))), np.float32)


def poor_faces(vectors: NDArray[np.float32], scale: QualityScale) -> NDArray[np.bool_]:
    """Return which of many faces are poor, (n,); the vectors are read in blocks.

    Args:
        vectors: (n, dim) float32, or an array that is read from a file.
        scale: The model's.
    """
    blocks = [quality_of(vectors[at : at + _BLOCK], scale) < POOR for at in range(0, len(vectors), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.bool_)


def doubt(match: Match) -> str:
    """Return which face of a match is too poor to tell who it is, in words; empty where none is."""
    if match.quality is None or match.probability is not None:
        return ""
    return "poor face" if match.quality < POOR else "poor reference"
