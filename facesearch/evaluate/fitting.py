"""Fit what a distance means to labelled pairs: the best threshold, a probability, the rate of strangers.

The same is fitted to nearness in a library (`facesearch.cohort`), with each set of photos as a library.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from facesearch.cohort import NINETIETH, SIZE, Cohort, Standing, nearness
from facesearch.errors import FacesearchError
from facesearch.models.calibration import Calibration, LibraryScale
from facesearch.ranking import unit_vectors

if TYPE_CHECKING:
    from facesearch.evaluate.verification import Pairs

# More different pairs than this move the fit of two numbers by less than they are printed with.
FITTED = 200_000
# scikit-learn's C: a prior of standard deviation 10 on the change of log-odds per standard deviation of
# distance. Hundreds of pairs outweigh it; without it, pairs that a threshold parts without a single error
# would give an infinite slope, that is a probability that is never anything but 0 or 1.
LOOSENESS = 100.0
# A rate among strangers is told where at least so many different pairs stand behind it.
ENOUGH = 10


def best_threshold(
    distance: NDArray[np.float64], same: NDArray[np.bool_], worth: tuple[int, int] = (1, 1)
) -> float:
    """Return the threshold with most right decisions; the lowest of several equally good ones.

    Args:
        distance: (n,) finite, rising; 1 or more.
        same: (n,) whether the pair is of one person.
        worth: The weight of a right decision on a same and on a different pair. Whole numbers, so that sums
            are exact and the order of the pairs cannot decide between two thresholds.

    Returns:
        A value halfway between two neighbouring distances; the largest distance if all pairs are best called
        the same, or just below the smallest if none is.
    """
    # Only where a same pair is accepted can more be right than below it; with it go those equally near.
    accepted = np.concatenate([[0], np.searchsorted(distance, distance[same], "right")])
    accepted_same = np.searchsorted(np.flatnonzero(same), accepted)
    gained = worth[0] * accepted_same - worth[1] * (accepted - accepted_same)
    best = int(accepted[np.argmax(gained)])
    if best == 0:
        return float(np.nextafter(distance[0], -np.inf))
    if best == len(distance):
        return float(distance[-1])
    below, above = float(distance[best - 1]), float(distance[best])
    halfway = below + (above - below) / 2
    return halfway if halfway < above else below  # between two neighbouring floats there is none


def fit_logistic(distance: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit the log-odds that a pair shows one person, at even prior odds.

    Args:
        distance: (n,) finite, rising.
        same: (n,) with both kinds among them.

    Returns:
        slope and intercept: the log-odds are intercept - slope * distance. The slope is 0 if all distances
            are equal, and negative if larger distances are more likely to be one person.
    """
    different = np.flatnonzero(~same)
    if len(different) > FITTED:
        # Evenly over the rising distances, which is nearer to all of them than any draw.
        different = different[np.linspace(0, len(different) - 1, FITTED).astype(np.int64)]
        chosen = np.concatenate([np.flatnonzero(same), different])
        distance, same = distance[chosen], same[chosen]
    centre, spread = float(distance.mean()), float(distance.std())
    if not spread > 1e-12 * abs(centre):
        return 0.0, 0.0
    model = LogisticRegression(C=LOOSENESS, class_weight="balanced", solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        # Where the first guess is the answer, the solver finds nothing better and says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(((distance - centre) / spread)[:, None], same)
    change, at_centre = float(model.coef_[0, 0]), float(model.intercept_[0])
    slope = -change / spread
    return slope, at_centre + slope * centre


def fit_calibration(pairs: Pairs, *, data: str, date: str, own: bool) -> Calibration:
    """Measure what a model's distances mean, on labelled pairs in which both faces were found.

    Same and different pairs have the same total weight, whatever their numbers.

    Args:
        pairs: The pairs and their distances.
        data: The name of the data.
        date: Today, as YYYY-MM-DD.
        own: Whether the data are the user's own people.

    Raises:
        FacesearchError: There are too few pairs, or the distances do not separate them.
    """
    order = np.argsort(pairs.distance)
    order = order[np.isfinite(pairs.distance[order])]
    distance, same = pairs.distance[order], pairs.same[order]
    count, different = int(same.sum()), int((~same).sum())
    if not count or not different:
        kind = "of two different people" if count else "of the same person"
        raise FacesearchError(
            f"There is no pair {kind} in which both faces were found.",
            "Give photos of at least two people, with two photos or more of each.",
        )
    slope, intercept = fit_logistic(distance, same)
    strangers = _strangers(distance[~same])
    if not slope > 0 or len(strangers) < 2:
        raise FacesearchError(
            "The distances tell nothing: photos of one person are not nearer to each other than to others'.",
            "Check that each folder holds one person, or choose another model.",
        )
    threshold = best_threshold(distance, same, (different, count))
    return Calibration(threshold, slope, intercept, strangers, data, date, own)


def _strangers(distance: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Return (rate, distance) rows, both rising, of the rising distances (n,) of different pairs.

    The rate is the share of pairs that are really this near, so that a row is right also among equal
    distances.
    """
    n = len(distance)
    smallest = max(0, math.floor(2 * math.log10(n / ENOUGH)))
    rates = [10.0 ** (-half / 2) for half in range(smallest, 0, -1)]
    rates = sorted([*(rate for rate in rates if rate * n >= ENOUGH), 0.5, 1.0])
    # Rounding must not turn the hundredth of a hundred into the hundred-and-first.
    limits = {float(distance[math.ceil(rate * n - 1e-6) - 1]) for rate in rates}
    if len(limits) == 1:
        limits.add(float(distance[0]))
    return tuple((int(np.searchsorted(distance, limit, "right")) / n, limit) for limit in sorted(limits))


# Rates among strangers down to a millionth, two for each power of ten.
_RATES = (*(10.0 ** (-half / 2) for half in range(12, 0, -1)), 0.5, 1.0)
_ROWS = 1000


@dataclass(frozen=True)
class LabelledLibrary:
    """Faces whose people are known.

    Attributes:
        vectors: (n, dim) float32, finite.
        person: (n,) int, the person of each.
    """

    vectors: NDArray[np.float32]
    person: NDArray[np.int32]


def fit_library(
    libraries: Sequence[LabelledLibrary], near: float, *, data: str, date: str, own: bool
) -> LibraryScale:
    """Measure what nearness in a library means, on libraries of labelled faces that all count the same.

    Args:
        libraries: One or more; in the fit all count the same.
        near: The cosine similarity from which two faces are taken to show one person.
        data: The name of the data.
        date: Today, as YYYY-MM-DD.
        own: Whether the data are the user's own people.

    Raises:
        FacesearchError: There are too few people or photos.
    """
    reference = _reference(libraries, near)
    strangers = _mean_rates([nearness_of_pairs(library, reference)[1] for library in libraries])
    if len(strangers) < 2:
        raise FacesearchError("There are too few pairs of strangers.", "Give photos of more people.")
    return replace(reference, strangers=strangers, data=data, date=date, own=own)


def nearness_of_pairs(
    library: LabelledLibrary, scale: LibraryScale
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the nearness, with the sign changed, of all pairs of one person and of all pairs of strangers.

    Returns:
        Two rising arrays; the pairs of one person, then those of strangers.
    """
    person = library.person
    chosen = np.random.default_rng(0).permutation(len(person))[:SIZE]
    standing = Cohort.of(library.vectors[chosen], scale).standing(library.vectors)
    same, different = [], []
    for start in range(0, len(person), _ROWS):
        rows = slice(start, start + _ROWS)
        one = Standing(standing.vectors[rows], standing.location[rows], standing.spread[rows])
        distance = -nearness(one, standing)
        later = np.arange(len(person)) > np.arange(len(person))[rows][:, None]
        alike = person[rows][:, None] == person
        same.append(distance[later & alike])
        different.append(distance[later & ~alike])
    return np.sort(np.concatenate(same)).astype(np.float64), np.sort(np.concatenate(different)).astype(
        np.float64
    )


def _reference(libraries: Sequence[LabelledLibrary], near: float) -> LibraryScale:
    """Return what stands in for a library of few faces, without the rates, which are still to be fitted."""
    flat = [unit_vectors(library.vectors) for library in libraries]
    centres = []
    for vectors, library in zip(flat, libraries, strict=True):
        _, person, count = np.unique(library.person, return_inverse=True, return_counts=True)
        total = np.zeros((len(count), vectors.shape[1]))
        np.add.at(total, person, vectors)
        centres.append((total / count[:, None]).mean(axis=0))
    centre = np.mean(centres, axis=0)
    places = []
    for vectors, library in zip(flat, libraries, strict=True):
        some = np.random.default_rng(0).permutation(len(vectors))[:SIZE]
        centred = unit_vectors(vectors[some] - centre.astype(np.float32))
        strangers = (centred @ centred.T)[library.person[some][:, None] != library.person[some]]
        if len(strangers):
            places.append(np.quantile(strangers, [0.5, 0.9]))
    if not places:
        raise FacesearchError("All photos show one person.", "Give photos of at least two people.")
    location, high = np.mean(places, axis=0)
    rounded = tuple(round(float(value), 4) for value in centre)
    return LibraryScale(rounded, float(location), float(high - location) / NINETIETH, near, (), "", "")


def _mean_rates(pools: Sequence[NDArray[np.float64]]) -> tuple[tuple[float, float], ...]:
    """Return (rate, distance) rows, both rising: the mean share of strangers that are as near."""

    def rate(distance: float) -> float:
        return float(np.mean([np.searchsorted(pool, distance, "right") / len(pool) for pool in pools]))

    least = min(ENOUGH / max(map(len, pools)), 0.5)
    found: dict[float, float] = {}
    for wanted in _RATES:
        if wanted < least:
            continue
        low, high = min(pool[0] for pool in pools) - 1e-6, max(pool[-1] for pool in pools)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if rate(middle) < wanted else (low, middle)
        found[high] = rate(high)
    table = sorted((told, limit) for limit, told in found.items())
    return tuple(
        row
        for at, row in enumerate(table)
        if at == 0 or (row[0] > table[at - 1][0] and row[1] > table[at - 1][1])
    )
