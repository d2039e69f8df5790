"""Same person or not: accuracy by folds, ROC figures and calibration error of a model on labelled pairs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from facesearch.evaluate.fitting import best_threshold, fit_logistic
from facesearch.evaluate.pairs import Array, Mask, Pairs, both_kinds
from facesearch.evaluate.roc import Roc, roc_figures
from facesearch.models.calibration import Calibration

BINS = 10


@dataclass(frozen=True, slots=True)
class Bins:
    """How often pairs of about one probability were truly the same; NaN where a bin is empty.

    Attributes:
        probability: (10,) the mean probability told.
        same: (10,) the share of same pairs.
        weight: (10,) the bin's share of all pairs.
    """

    probability: Array
    same: Array
    weight: Array


@dataclass(frozen=True, slots=True)
class Verification:
    """How well a model tells the same person from another.

    Attributes:
        accuracy: Share of right decisions over all folds, a missed face being wrong; None where some fold
            leaves no same or no different pairs to choose a threshold on.
        accuracy_found: The same without the pairs in which a face was missed.
        folds: Each fold's accuracy; empty where there is none.
        threshold: The best one on all pairs in which faces were found; None without any.
        accepted: The false and the true accept rate at that threshold.
        figures: A missed face is never accepted.
        figures_found: Missed faces left out.
        same, different, missed: How many pairs of one person, of two people, and with a missed face.
        people: How many people the pairs are of.
        ece: Expected calibration error of a logistic map fitted on the other folds.
        ece_card: That of the calibration that the model came with; None without one.
        bins: What ece is the error of; None where ece is.
        right: (n,) each pair's share of right decisions; None where accuracy is.
    """

    accuracy: float | None
    accuracy_found: float | None
    folds: tuple[float, ...]
    threshold: float | None
    accepted: tuple[float, float] | None
    figures: Roc
    figures_found: Roc
    same: int
    different: int
    missed: int
    people: int
    ece: float | None
    ece_card: float | None
    bins: Bins | None = field(compare=False, repr=False)
    right: Array | None = field(compare=False, repr=False)


def verify(pairs: Pairs, card: Calibration | None = None) -> Verification:
    """Measure a model on pairs; with the calibration it came with, measure that as well."""
    order = np.flatnonzero(pairs.found)
    order = order[np.argsort(pairs.distance[order])]
    rising, count = pairs.take(order), int(pairs.same.sum())
    decided = _decide(pairs, order, rising)
    right, folds = decided if decided is not None else (None, ())
    ece, bins = _honesty(rising) if decided is not None else (None, None)
    threshold = best_threshold(rising.distance, rising.same, pairs.worth) if both_kinds(rising.same) else None
    figures, figures_found = roc_figures(pairs)
    return Verification(
        accuracy=None if right is None else _share(right, pairs),
        accuracy_found=None if right is None else _share(right[order], rising),
        folds=folds,
        threshold=threshold,
        accepted=None if threshold is None else _accepted(pairs, threshold),
        figures=figures,
        figures_found=figures_found,
        same=count,
        different=len(pairs.same) - count,
        missed=len(pairs.same) - len(order),
        people=len(np.unique(pairs.people)),
        ece=ece,
        ece_card=_card_error(rising, card),
        bins=bins,
        right=right,
    )


def _share(right: Array, pairs: Pairs, whole: Array | None = None) -> float:
    """Give the share of right decisions, of both kinds alike where pairs are balanced.

    Args:
        right: (n,) each pair's right decisions.
        pairs: The pairs.
        whole: (n,) each pair's decisions; None for 1 each.
    """
    whole = np.ones(len(right)) if whole is None else whole
    kinds = [pairs.same, ~pairs.same] if pairs.balanced else [np.ones(len(right), bool)]
    shares = [right[kind].sum() / total for kind in kinds if (total := whole[kind].sum())]
    return min(1.0, float(np.mean(shares)))


def _sides(pairs: Pairs, fold: np.int16) -> NDArray[np.int8]:
    """Give how many sides of each pair, (n,), lie in a fold; each makes half of its decision."""
    inside = (pairs.fold == fold).view(np.int8)
    sides: NDArray[np.int8] = inside[:, 0] + inside[:, 1]
    return sides


def _decide(pairs: Pairs, order: NDArray[np.int64], rising: Pairs) -> tuple[Array, tuple[float, ...]] | None:
    """Give each pair's share of right decisions, (n,), and each fold's accuracy.

    Thresholds are chosen on pairs that touch the fold with neither side, so that it is new to them.
    `rising` are the found ones of the pairs, nearest first, and `order` says which these are.
    """
    if not both_kinds(rising.same):
        return None
    right, accuracies = np.zeros(len(pairs.same)), []
    for fold in np.unique(pairs.fold):
        sides = _sides(rising, fold)
        train, tested = sides == 0, np.flatnonzero(sides)
        if not both_kinds(rising.same[train]):
            return None
        known = rising.take(train)
        threshold = best_threshold(known.distance, known.same, known.worth)
        correct = (rising.distance[tested] <= threshold) == rising.same[tested]
        gained = 0.5 * sides[tested] * correct
        right[order[tested]] += gained
        part = np.zeros(len(pairs.same))
        part[order[tested]] = gained
        accuracies.append(_share(part, pairs, _sides(pairs, fold) / 2))
    return right, tuple(accuracies)


def _accepted(pairs: Pairs, threshold: float) -> tuple[float, float]:
    accepted = pairs.distance <= threshold  # never a missed one
    return float(accepted[~pairs.same].mean()), float(accepted[pairs.same].mean())


def reliability(probability: Array, same: Mask, weight: Array) -> tuple[float, Bins]:
    """Give the expected calibration error over ten bins of equal width, and the bins.

    Args:
        probability: (n,) that a pair is one person's, as a model tells it.
        same: (n,) whether it is.
        weight: (n,) what the pair counts.
    """
    return _error(_sums(probability, same, weight))


def _sums(probability: Array, same: Mask, weight: Array) -> Array:
    """Give of each bin the weight, the probability and the same pairs in sum: (3, 10)."""
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(place, of, BINS) for of in (weight, weight * probability, weight * same)])


def _error(sums: Array) -> tuple[float, Bins]:
    weight, probability, same = sums
    full = np.where(weight > 0, weight, np.nan)
    error = float(np.abs(probability - same).sum() / weight.sum())
    return error, Bins(probability / full, same / full, weight / weight.sum())


def _honesty(rising: Pairs) -> tuple[float, Bins]:
    """Measure the calibration error of a logistic map, fitted for each fold on the others.

    It tells a probability where both kinds are as likely beforehand, so both weigh the same here.
    """
    weight, sums = replace(rising, balanced=True).weight, np.zeros((3, BINS))
    for fold in np.unique(rising.fold):
        sides = _sides(rising, fold)
        train, tested = sides == 0, np.flatnonzero(sides)
        slope, intercept = fit_logistic(rising.distance[train], rising.same[train])
        told = expit(intercept - slope * rising.distance[tested])
        sums += _sums(told, rising.same[tested], weight[tested] * sides[tested])
    return _error(sums)


def _card_error(rising: Pairs, card: Calibration | None) -> float | None:
    if card is None or not both_kinds(rising.same):
        return None
    told = expit(card.intercept - card.slope * rising.distance)
    return reliability(told, rising.same, replace(rising, balanced=True).weight)[0]
