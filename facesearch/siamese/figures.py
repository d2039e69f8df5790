"""How good vectors are on people who were not learned from, and what simpler ways give."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from facesearch.evaluate.dataset import all_pairs, fold_people
from facesearch.evaluate.fitting import best_threshold
from facesearch.evaluate.resampling import Intervals, intervals
from facesearch.evaluate.retrieval import Retrieval, retrieve
from facesearch.evaluate.verification import Pairs, Verification, verify
from facesearch.files import storage_error
from facesearch.models.card import Card
from facesearch.ranking import Metric, pair_distances, unit_vectors
from facesearch.siamese.run import Epoch

if TYPE_CHECKING:
    from facesearch.siamese.learning import Learned

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
    """Return all pairs of vectors, folds being of people, both kinds weighing the same."""
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
    """Return accuracy at the best threshold and AUC by euclidean distance, both kinds weighing the same."""
    pairs = pairs_of(vectors, person, "euclidean")
    order = np.argsort(pairs.distance)
    distance, same = pairs.distance[order], pairs.same[order]
    threshold = best_threshold(distance, same, pairs.worth)
    accuracy = float(pairs.weight[order] @ ((distance <= threshold) == same))
    return min(accuracy, 1.0), float(roc_auc_score(same, -distance))


def pixel_vectors(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 16x16 grey pixels of crops, (n, height, width, 3), less their mean: what needs no learning."""
    small = [
        cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        for crop in crops
    ]
    vectors = np.stack(small).reshape(len(crops), -1).astype(np.float32)
    return np.asarray(vectors - vectors.mean(axis=1, keepdims=True), np.float32)


def discriminant(
    learned: NDArray[np.float32], person: NDArray[np.int32], tested: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Return tested vectors by a linear discriminant on components; None where nobody has two photos."""
    several = np.bincount(person)[person] > 1
    if len(np.unique(person[several])) < 2:
        return None
    fitted = PCA(min(COMPONENTS, int(several.sum()) - 1, learned.shape[1]), random_state=0).fit(
        learned[several]
    )
    linear = LinearDiscriminantAnalysis().fit(fitted.transform(learned[several]), person[several])
    return np.asarray(linear.transform(fitted.transform(tested)), np.float32)


def baselines(base: Card, learned: Learned) -> list[Figures]:
    """Measure what training has to beat, on the same faces."""
    photo, view, person = learned.items(learned.split.test)
    if learned.start is None or learned.faces.features is None:
        crops = learned.material.inputs(photo, view).astype(np.uint8)
        return [measure("16x16 grey pixels", pixel_vectors(crops), person, "cosine")]
    features = learned.faces.features
    plain = features.plain.inputs(photo, view)
    found = [measure(f"{base.name} alone", plain, person, base.metric)]
    learned_from = np.flatnonzero(np.isin(learned.faces.person, learned.split.train))
    vectors = features.plain.views[learned_from, 0]
    discriminated = discriminant(vectors, learned.faces.person[learned_from], plain)
    if discriminated is not None:
        found.append(measure("linear discriminant", discriminated, person, "cosine"))
    return found


def start_figures(learned: Learned) -> Figures | None:
    """Measure what a head begins with on the test people; None for a network from scratch."""
    if learned.start is None or learned.faces.features is None:
        return None
    photo, view, person = learned.items(learned.split.test)
    started = unit_vectors(learned.start.apply(learned.faces.features.head.inputs(photo, view)))
    return measure("its start (closed form)", started, person, "euclidean")


LOSS, ACCURACY, AREA = "#D55E00", "#0072B2", "#009E73"
GREY, FAINT = "#666666", "#E3E3E3"


def draw_curves(history: Sequence[Epoch], best: int, path: Path) -> None:
    """Draw the loss at the left, accuracy and AUC on the validation people at the right.

    Args:
        history: The epochs.
        best: The one that is kept.
        path: The PNG.

    Raises:
        StorageError: It cannot be written.
    """
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
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
        axes.set_xlabel("epoch (0: before training; dotted: the one that is kept)")
        axes.grid(color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        figure.savefig(beside, format="png")
        beside.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        beside.unlink(missing_ok=True)
