"""Measures of vectors on people who were held out, two baselines, and the drawing of training curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from facesearch.evaluate.dataset import all_pairs, fold_people
from facesearch.evaluate.fitting import best_threshold
from facesearch.evaluate.plots import COLOURS, FAINT, GREY, save_figure
from facesearch.evaluate.resampling import Intervals, intervals
from facesearch.evaluate.verification import Pairs, Retrieval, Verification, retrieve, verify
from facesearch.ranking import Metric, pair_distances
from facesearch.siamese.run import Epoch

# The side of the grey pictures whose pixels are a baseline.
SMALL = 16
COMPONENTS = 300
ACCURACY, LOSS, AREA = COLOURS[:3]


@dataclass(frozen=True, slots=True)
class Figures:
    """What vectors achieve on held-out people.

    Attributes:
        name: What made the vectors.
        verification: One person or two, over all pairs, balanced.
        retrieval: How well a person's photos find each other; None where no person has two.
        intervals: The 95 % intervals of the figures for other people like these.
    """

    name: str
    verification: Verification
    retrieval: Retrieval | None
    intervals: Intervals


def measure(name: str, vectors: NDArray[np.float32], person: NDArray[np.int32], metric: Metric) -> Figures:
    """Return the figures of vectors, (n, dim), that show these people, (n,)."""
    # Pairs and queries number people alike, because intervals resample both by their people.
    person = np.asarray(np.unique(person, return_inverse=True)[1], np.int32)
    pairs = pairs_of(vectors, person, metric)
    verification = verify(pairs)
    retrieval = retrieve(vectors, person, metric)
    return Figures(name, verification, retrieval, intervals(pairs, verification, retrieval))


def pairs_of(vectors: NDArray[np.float32], person: NDArray[np.int32], metric: Metric) -> Pairs:
    """Return all pairs of vectors, balanced, in folds of people."""
    person = np.asarray(np.unique(person, return_inverse=True)[1], np.int32)
    trials = all_pairs(person, fold_people(person))
    return Pairs(
        pair_distances(vectors, trials.first, trials.second, metric),
        trials.same,
        np.stack([person[trials.first], person[trials.second]], axis=1),
        trials.fold,
        balanced=True,
    )


def validate(vectors: NDArray[np.float32], person: NDArray[np.int32]) -> tuple[float, float]:
    """Return the balanced accuracy at the best threshold, and the AUC, by euclidean distance."""
    pairs = pairs_of(vectors, person, "euclidean")
    order = np.argsort(pairs.distance)
    distance, same = pairs.distance[order], pairs.same[order]
    threshold = best_threshold(distance, same, pairs.worth)
    accuracy = float(pairs.weight[order] @ ((distance <= threshold) == same))
    return min(accuracy, 1.0), float(roc_auc_score(same, -distance))


def pixel_vectors(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the 16x16 grey pixels of crops, (n, height, width, 3), minus their mean."""
    small = [
        cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        for crop in crops
    ]
    vectors = np.stack(small).reshape(len(crops), -1).astype(np.float32)
    return np.asarray(vectors - vectors.mean(axis=1, keepdims=True), np.float32)


def discriminant(
    trained: NDArray[np.float32], person: NDArray[np.int32], tested: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Return tested vectors after principal components and a linear discriminant.

    Args:
        trained: (n, dim) vectors to fit to.
        person: (n,) their people.
        tested: (m, dim) vectors to transform.

    Returns:
        (m, components) float32; None where fewer than two people have two photos to fit to.
    """
    several = np.bincount(person)[person] > 1
    if len(np.unique(person[several])) < 2:
        return None
    components = PCA(min(COMPONENTS, int(several.sum()) - 1, trained.shape[1]), random_state=0).fit(
        trained[several]
    )
    linear = LinearDiscriminantAnalysis().fit(components.transform(trained[several]), person[several])
    return np.asarray(linear.transform(components.transform(tested)), np.float32)


def draw_curves(history: Sequence[Epoch], best: int, path: Path) -> None:
    """Draw the loss on the left, accuracy and AUC on the validation people on the right.

    Args:
        history: The epochs, starting with the network before training.
        best: The number of the epoch that is kept.
        path: The PNG.

    Raises:
        StorageError: The file cannot be written.
    """
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    numbers = [epoch.number for epoch in history]
    left, right = figure.subplots(1, 2)
    left.plot(
        numbers[1:], [epoch.loss for epoch in history if epoch.loss is not None], color=LOSS, linewidth=2
    )
    left.set_ylabel("loss")
    right.plot(numbers, [100 * epoch.accuracy for epoch in history], color=ACCURACY, label="accuracy, %")
    right.plot(numbers, [100 * epoch.auc for epoch in history], color=AREA, label="AUC, hundredths")
    right.set_ylabel("on the validation people")
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.5)
        axes.set_xlabel("epoch (0: before training; dotted: the epoch that is kept)")
        axes.grid(color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
