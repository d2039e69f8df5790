"""One model on one data set: all its figures, and the calibration that follows from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import NoFaceFound
from facesearch.evaluate.dataset import Dataset
from facesearch.evaluate.fitting import LabelledLibrary, fit_calibration, fit_library
from facesearch.evaluate.labelled_faces import LabelledFaces, find_faces
from facesearch.evaluate.resampling import Intervals, intervals
from facesearch.evaluate.verification import Pairs, Retrieval, Verification, retrieve, verify
from facesearch.faces import PhotoFaces
from facesearch.model import Model
from facesearch.models.calibration import Calibration, LibraryScale
from facesearch.models.card import Card
from facesearch.plan import Plan
from facesearch.ranking import Metric, Ranking, about, pair_distances, unit_vectors

METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
# What fewer say of rare strangers is guessed: probabilities then come from the distances alone.
LEAST_FACES, LEAST_PEOPLE = 500, 50
# Faces are taken to show one person where so few pairs of strangers are as near.
NEAR_RATE = 1e-4


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of a model on a data set.

    Attributes:
        card: The model's card.
        metric: The distance; "centred" is about the mean of all these faces.
        verification: Same person or not.
        retrieval: Finding the other photos of a person; None if no person has two.
        intervals: The range of the figures for other people.
        faces: The faces that were found in the photos.
        pairs: The pairs and their distances.
    """

    card: Card
    metric: Ranking
    verification: Verification
    retrieval: Retrieval | None
    intervals: Intervals
    faces: LabelledFaces = field(repr=False)
    pairs: Pairs = field(repr=False)


def evaluate(
    dataset: Dataset,
    model: Model,
    metric: Ranking | None = None,
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Evaluation:
    """Measure a model.

    Args:
        dataset: The labelled photos.
        model: The model.
        metric: Which distance; None for the model's own.
        on_plan: Called with the plan: how many photos have to be embedded.
        on_photo: Called with each embedded photo.

    Raises:
        NoFaceFound: No face was found in any photo.
        FacesearchError: The model or the disk cannot be used.
    """
    metric = metric or model.card.metric
    faces = find_faces(dataset, model, on_plan=on_plan, on_photo=on_photo)
    if all(box is None for box in faces.boxes):
        raise NoFaceFound(
            f"No face was found in any of the {len(dataset.paths):,} photos of {dataset.folder!r}.",
            "Look at some of them: faces have to be upright, and 30 pixels or more.",
        )
    vectors, by = faces.vectors, metric
    if by == "centred":
        centre = np.nanmean(unit_vectors(vectors), axis=0)
        vectors, by = about(vectors, centre).astype(np.float32), "cosine"
    pairs = _pairs(dataset, vectors, by)
    verification = verify(pairs, model.card.calibration.get(metric))
    retrieval = retrieve(vectors, dataset.person, by)
    spread = intervals(pairs, verification, retrieval)
    return Evaluation(model.card, metric, verification, retrieval, spread, faces, pairs)


def calibrations(dataset: Dataset, faces: LabelledFaces) -> dict[str, Calibration]:
    """Fit the threshold and the probabilities of each metric to a data set.

    Raises:
        FacesearchError: There are too few pairs, or the distances do not separate them.
    """
    data = f"{len(dataset.names):,} people in {os.path.basename(dataset.folder)}: {dataset.protocol}"
    return {
        metric: fit_calibration(
            _pairs(dataset, faces.vectors, metric),
            data="".join(one if one.isprintable() else "?" for one in data)[:4000],
            date=date.today().isoformat(),
            own=True,
        )
        for metric in METRICS
    }


def library_scale(dataset: Dataset, faces: LabelledFaces, cosine: Calibration) -> LibraryScale | None:
    """Fit what nearness in a library of these photos means; None where there are too few faces or people.

    Args:
        dataset: The labelled photos.
        faces: The faces that were found in them.
        cosine: What cosine distances were fitted to mean.
    """
    found = np.isfinite(faces.vectors).all(axis=1)
    library = LabelledLibrary(faces.vectors[found], dataset.person[found])
    if len(library.person) < LEAST_FACES or len(np.unique(library.person)) < LEAST_PEOPLE:
        return None
    near = 1.0 - max(cosine.stranger_distance(NEAR_RATE), 0.0)
    return fit_library([library], near, data=cosine.data, date=cosine.date, own=True)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A pair on the wrong side of the threshold; `first` and `second` are positions of photos."""

    first: int
    second: int
    distance: float
    same: bool


def worst_mistakes(
    dataset: Dataset, evaluation: Evaluation, kind: Literal["same", "different"], most: int
) -> list[Mistake]:
    """Return the pairs of one person that are farthest apart, or the pairs of strangers that are nearest.

    Only pairs beyond the best threshold are mistakes; a pair that occurs twice is returned once.
    """
    pairs, threshold = evaluation.pairs, evaluation.verification.threshold
    if threshold is None:
        return []
    same = kind == "same"
    wrong: NDArray[np.bool_] = pairs.distance > threshold if same else pairs.distance <= threshold
    rows = np.flatnonzero(wrong & (pairs.same == same))
    rows = rows[np.argsort(pairs.distance[rows] * (-1 if same else 1), kind="stable")]
    trials, found = dataset.trials, dict[tuple[int, int], Mistake]()
    for row in rows.tolist():
        first, second = sorted((int(trials.first[row]), int(trials.second[row])))
        found.setdefault((first, second), Mistake(first, second, float(pairs.distance[row]), same))
        if len(found) == most:
            break
    return list(found.values())


def _pairs(dataset: Dataset, vectors: NDArray[np.float32], metric: Metric) -> Pairs:
    trials = dataset.trials
    return Pairs(
        pair_distances(vectors, trials.first, trials.second, metric),
        trials.same,
        np.stack([dataset.person[trials.first], dataset.person[trials.second]], axis=1),
        trials.fold,
        trials.balanced,
    )
