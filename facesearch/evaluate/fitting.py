"""Fit what a distance means to labelled pairs: the best threshold, a probability, the rate of strangers."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from facesearch.errors import FacesearchError
from facesearch.models.calibration import Calibration

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
