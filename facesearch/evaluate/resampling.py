"""The variation of figures with other people: a bootstrap over the people, not over their photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from facesearch.evaluate.verification import (
    Pairs,
    Retrieval,
    Verification,
    equal_error_rate,
    true_accept_rate,
)

Array = NDArray[np.float64]
Interval = tuple[float, float]

REPLICATES = 200
# Of different pairs, for the ROC figures of every replicate.
DIFFERENT = 300_000
SPAN = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Intervals:
    """The range of 95 % of the figures for other people like these; None without a figure.

    Attributes:
        accuracy: The range of Verification.accuracy.
        auc: The range of its figures.auc, missed faces counted as there.
        eer: The range of its figures.eer.
        tar: The ranges of its figures.tar, at the same rates.
        rank1: The range of Retrieval.rank1.
        rank5: The range of Retrieval.rank5.
        map: The range of Retrieval.map.
    """

    accuracy: Interval | None
    auc: Interval | None
    eer: Interval | None
    tar: dict[float, Interval | None]
    rank1: Interval | None
    rank5: Interval | None
    map: Interval | None


def intervals(
    pairs: Pairs,
    verification: Verification,
    retrieval: Retrieval | None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Intervals:
    """Draw people with replacement many times, and measure how the figures vary.

    A pair counts as often as its person was drawn; a pair of two people, as often as the product of both. A
    query counts as often as its person. The weights of same and different pairs belong to the protocol and
    stay.
    """
    persons = np.empty(0, np.int32) if retrieval is None else retrieval.person
    times = _draw(np.concatenate([pairs.people.ravel(), persons]), replicates, seed)
    rates = [rate for rate, value in verification.figures.tar.items() if value is not None]
    tar: dict[float, Interval | None] = dict.fromkeys(verification.figures.tar)
    auc = eer = None
    if verification.figures.auc is not None:
        drawn = _roc_figures(pairs, times, rates, seed)
        auc, eer, *found = (_interval(column) for column in drawn.T)
        tar.update(zip(rates, found, strict=True))
    rank1 = rank5 = precision = None
    if retrieval is not None:
        rank1, rank5, precision = (
            _interval(_mean(of, times[persons]))
            for of in (retrieval.rank <= 1, retrieval.rank <= 5, retrieval.precision)
        )
    accuracy = None if verification.right is None else _interval(_accuracy(pairs, verification.right, times))
    return Intervals(accuracy, auc, eer, tar, rank1, rank5, precision)


def _draw(people: NDArray[np.int32], replicates: int, seed: int) -> Array:
    """Return how often each person was drawn in each replicate: (people, replicates)."""
    there = np.zeros(int(people.max(initial=-1)) + 1, bool)
    there[people] = True
    persons = np.flatnonzero(there)
    times = np.zeros((len(there), replicates))
    if len(persons):
        share = np.full(len(persons), 1.0 / len(persons))
        times[persons] = np.random.default_rng(seed).multinomial(len(persons), share, replicates).T
    return times


def _interval(drawn: Array) -> Interval | None:
    """Return the middle 95 %; a replicate without pairs of one kind has no figure and is left out."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    low, high = np.percentile(drawn, SPAN)
    return float(low), float(high)


def _ratio(part: Array, whole: Array) -> Array:
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: NDArray[np.bool_] | Array, times: Array) -> Array:
    """Return the weighted means of (n,) values, one for each column of the (n, replicates) weights."""
    return _ratio(values @ times, times.sum(axis=0))


def _accuracy(pairs: Pairs, right: Array, times: Array) -> Array:
    """Return the accuracy of each replicate, (replicates,).

    Pairs are summed by their people first, so that the millions of pairs are read once, not once per
    replicate.
    """
    same, people = pairs.same, pairs.people
    person = people[same, 0]
    size = len(times)
    same_right = np.bincount(person, right[same], size) @ times
    of_same = _ratio(same_right, np.bincount(person, minlength=size) @ times)
    first, second = people[~same, 0], people[~same, 1]
    sums = [
        np.einsum("pr,pr->r", times, sparse.csr_array((values, (first, second)), (size, size)) @ times)
        for values in (right[~same], np.ones(len(first)))
    ]
    of_different = _ratio(sums[0], sums[1])
    share = float(pairs.weight[same].sum())
    return share * of_same + (1 - share) * of_different


def _roc_figures(pairs: Pairs, times: Array, rates: list[float], seed: int) -> Array:
    """Return AUC, EER and the true accept rates of each replicate: (replicates, 2 + rates)."""
    chosen, weight = _sample(pairs, seed)
    order = np.argsort(np.where(pairs.found, pairs.distance, np.inf)[chosen])
    chosen, weight = chosen[order], weight[order]
    distance, same = np.where(pairs.found, pairs.distance, np.inf)[chosen], pairs.same[chosen]
    # Equal distances are one step of the curve.
    steps = np.flatnonzero(np.append(distance[1:] > distance[:-1], True))
    first = pairs.people[chosen, 0]
    # A same pair counts as its person alone: its other side is somebody who is there once in every replicate.
    second = np.where(same, len(times), pairs.people[chosen, 1])
    rows = np.ascontiguousarray(np.vstack([times, np.ones(times.shape[1])]).T)
    return np.array([_curve_figures(row[first] * row[second] * weight, same, steps, rates) for row in rows])


def _sample(pairs: Pairs, seed: int) -> tuple[NDArray[np.int64], Array]:
    """Choose the pairs for the ROC figures, and return the weight of each.

    All same pairs; of too many different pairs the nearest ones, which decide the low false accept rates, and
    as many of the others.
    """
    different = np.flatnonzero(~pairs.same)
    if len(different) <= DIFFERENT:
        return np.arange(len(pairs.same)), np.ones(len(pairs.same))
    half = DIFFERENT // 2
    distance = pairs.distance[different]
    near = np.argpartition(distance, half)  # NaN is last
    others = np.random.default_rng(seed).choice(near[half:], DIFFERENT - half, replace=False)
    same = np.flatnonzero(pairs.same)
    chosen = np.concatenate([same, different[near[:half]], different[others]])
    weight = np.ones(len(chosen))
    weight[len(same) + half :] = (len(different) - half) / len(others)
    return chosen, weight


def _curve_figures(
    weight: Array, same: NDArray[np.bool_], steps: NDArray[np.int64], rates: list[float]
) -> list[float]:
    """Return AUC, EER and true accept rates of pairs with weights (n,), the nearest first."""
    accepted_same = np.concatenate([[0.0], np.cumsum(weight * same)[steps]])
    accepted_different = np.concatenate([[0.0], np.cumsum(weight * ~same)[steps]])
    if not accepted_same[-1] or not accepted_different[-1]:
        return [np.nan] * (2 + len(rates))
    far, tar = accepted_different / accepted_different[-1], accepted_same / accepted_same[-1]
    area = float(np.diff(far) @ (tar[1:] + tar[:-1]) / 2)
    return [area, equal_error_rate(far, tar), *(true_accept_rate(far, tar, rate) for rate in rates)]
