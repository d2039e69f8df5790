"""Compare the faces of some photos, each with each: distances, probabilities, verdicts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import PhotoError
from facesearch.faces import PhotoFaces, Reference
from facesearch.model import DetectionSettings, Model, make_meta
from facesearch.models.calibration import Calibration
from facesearch.photos.urls import absolute_path
from facesearch.ranking import Metric, distances
from facesearch.search import FaceWanted, find_references

SAME, DIFFERENT = "same person", "different people"


@dataclass(frozen=True, slots=True)
class FacePair:
    """Two of the faces that were compared.

    Attributes:
        a: The position of the first among the references, from 0.
        b: The position of the second, above a.
        distance: By the comparison's metric; smaller is nearer.
        similarity: 1 - cosine distance, whatever the metric.
        probability: The probability that both show one person; None if the model is not calibrated.
        verdict: The verdict of the threshold; None without one.
    """

    a: int
    b: int
    distance: float
    similarity: float
    probability: float | None
    verdict: str | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of n faces.

    Attributes:
        references: The faces, in the order of their photos.
        problems: Photos that gave no face, with the reason.
        metric: Which distance.
        distances: (n, n) float64, exact; symmetric, 0 from each face to itself.
        similarities: (n, n) float64, 1 - cosine distance, whatever the metric.
        calibration: What the model's distances say about persons; None if that was not measured.
    """

    references: tuple[Reference, ...]
    problems: tuple[tuple[str, PhotoError], ...]
    metric: Metric
    distances: NDArray[np.float64]
    similarities: NDArray[np.float64]
    calibration: Calibration | None

    @cached_property
    def probabilities(self) -> NDArray[np.float64] | None:
        """The probabilities that two faces show one person, (n, n) float64; None if not calibrated."""
        if self.calibration is None:
            return None
        told = [self.calibration.probability(distance) for distance in self.distances.ravel().tolist()]
        return np.array(told, np.float64).reshape(self.distances.shape)

    @property
    def threshold(self) -> float | None:
        """The distance up to which two faces are called one person; None if not calibrated."""
        return None if self.calibration is None else self.calibration.threshold

    def pair(self, a: int, b: int) -> FacePair:
        """Return the figures of two faces, by their positions."""
        distance = float(self.distances[a, b])
        similarity = float(self.similarities[a, b])
        if self.calibration is None:
            return FacePair(a, b, distance, similarity, None, None)
        verdict = SAME if distance <= self.calibration.threshold else DIFFERENT
        return FacePair(a, b, distance, similarity, self.calibration.probability(distance), verdict)

    @property
    def pair_count(self) -> int:
        """The number of pairs."""
        return len(self.references) * (len(self.references) - 1) // 2

    def pairs(self) -> Iterator[FacePair]:
        """Return every pair, in the order of the references."""
        count = len(self.references)
        return (self.pair(a, b) for a in range(count) for b in range(a + 1, count))

    def nearest_pairs(self, most: int) -> list[FacePair]:
        """Return the nearest pairs, nearest first, ties in the order of the references.

        Args:
            most: How many at most.
        """
        first, second = np.triu_indices(len(self.references), 1)
        order = np.argsort(self.distances[first, second], kind="stable")[:most]
        return [self.pair(a, b) for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True)]


def compare(
    photos: Sequence[str | os.PathLike[str]],
    model: Model,
    *,
    metric: Metric | None = None,
    face: FaceWanted = "largest",
    whole: bool = False,
    rotations: bool | None = None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Comparison:
    """Compare the faces of some photos, each with each; a photo named twice counts twice.

    Args:
        photos: Photos of one face each; those without a face become problems of the result.
        model: Turns the faces into vectors.
        metric: Which distance; None for the model's own.
        face: Which face of each photo: a number (1 for the largest), "largest" or "all".
        whole: Whether each photo is nothing but the face.
        rotations: Whether photos without an upright face are searched in the other three orientations.
        on_photo: Called with each processed photo.

    Raises:
        FacesearchError: The model cannot be used.

    Example:
        >>> result = compare(["a.jpg", "b.jpg"], Model("sface"))
        >>> result.pair(0, 1).verdict
    """
    card = model.card
    metric = metric or card.metric
    meta = make_meta(card, DetectionSettings(rotations=rotations), None)
    pipeline = model.pipeline(meta, few=len(photos) <= model.runtime.batch, whole=whole)
    found, problems = find_references(
        pipeline, [absolute_path(os.fspath(one)) for one in photos], face, on_photo
    )
    vectors = [one.vector for one in found]
    apart = _distances(vectors, metric)
    return Comparison(
        tuple(found),
        tuple(problems),
        metric,
        apart,
        1.0 - (apart if metric == "cosine" else _distances(vectors, "cosine")),
        # Where the model wants aligned faces, a picture taken whole is not what was measured.
        None if whole and card.landmarks else card.calibration.get(metric),
    )


def _distances(vectors: Sequence[NDArray[np.float32]], metric: Metric) -> NDArray[np.float64]:
    """Return the distances of n vectors to each other, (n, n) float64."""
    result = np.zeros((len(vectors), len(vectors)), np.float64)
    # Each pair once: the other way round its last bit may be another.
    for place in range(len(vectors) - 1):
        others = slice(place + 1, None)
        result[place, others] = distances(vectors[place], np.stack(vectors[others]), metric)
        result[others, place] = result[place, others]
    return result
