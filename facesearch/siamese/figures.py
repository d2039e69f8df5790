"""How good vectors are on people who were not learned from, and what simpler ways give."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from facesearch.evaluate.dataset import all_pairs, fold_people
from facesearch.evaluate.faces import pair_distances
from facesearch.evaluate.fitting import best_threshold
from facesearch.evaluate.pairs import Pairs
from facesearch.evaluate.resampling import Intervals, intervals
from facesearch.evaluate.retrieval import Retrieval, retrieve
from facesearch.evaluate.verification import Verification, verify
from facesearch.ranking import Metric

# Of the plain pixel distance: grey, so many pixels in each direction.
SMALL = 16
COMPONENTS = 300


@dataclass(frozen=True, slots=True)
class Figures:
    """What some vectors give on held-out people.

    Attributes:
        name: What made them.
        verification: One person or two, all pairs, both kinds weighing the same.
        retrieval: Finding the other photos of a person.
        intervals: Where 95 % of the figures for other people like these lie.
    """

    name: str
    verification: Verification
    retrieval: Retrieval | None
    intervals: Intervals


def pairs_of(vectors: NDArray[np.float32], person: NDArray[np.int32], metric: Metric) -> Pairs:
    """Give all pairs of vectors, folds being of people, both kinds weighing the same."""
    person = np.asarray(np.unique(person, return_inverse=True)[1], np.int32)
    trials = all_pairs(person, fold_people(person))
    return Pairs(
        pair_distances(vectors, trials.first, trials.second, metric),
        trials.same,
        np.stack([person[trials.first], person[trials.second]], axis=1),
        trials.fold,
        balanced=True,
    )


def measure(name: str, vectors: NDArray[np.float32], person: NDArray[np.int32], metric: Metric) -> Figures:
    """Measure vectors, (n, dim), of these persons, (n,)."""
    # Pairs and queries number people alike, as intervals draw both by their people.
    person = np.asarray(np.unique(person, return_inverse=True)[1], np.int32)
    pairs = pairs_of(vectors, person, metric)
    verification = verify(pairs)
    retrieval = retrieve(vectors, person, metric)
    return Figures(name, verification, retrieval, intervals(pairs, verification, retrieval))


def validate(vectors: NDArray[np.float32], person: NDArray[np.int32]) -> tuple[float, float]:
    """Give accuracy at the best threshold and AUC by euclidean distance, both kinds weighing the same."""
    pairs = pairs_of(vectors, person, "euclidean")
    order = np.argsort(pairs.distance)
    distance, same = pairs.distance[order], pairs.same[order]
    threshold = best_threshold(distance, same, pairs.worth)
    accuracy = float(pairs.weight[order] @ ((distance <= threshold) == same))
    return min(accuracy, 1.0), float(roc_auc_score(same, -distance))


def pixel_vectors(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give 16x16 grey pixels of crops, (n, height, width, 3), less their mean: what needs no learning."""
    small = [
        cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        for crop in crops
    ]
    vectors = np.stack(small).reshape(len(crops), -1).astype(np.float32)
    return np.asarray(vectors - vectors.mean(axis=1, keepdims=True), np.float32)


def discriminant(
    learned: NDArray[np.float32], person: NDArray[np.int32], tested: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Give tested vectors by a linear discriminant on components; None where nobody has two photos."""
    several = np.bincount(person)[person] > 1
    if len(np.unique(person[several])) < 2:
        return None
    fitted = PCA(min(COMPONENTS, int(several.sum()) - 1, learned.shape[1]), random_state=0).fit(
        learned[several]
    )
    linear = LinearDiscriminantAnalysis().fit(fitted.transform(learned[several]), person[several])
    return np.asarray(linear.transform(fitted.transform(tested)), np.float32)
