"""Verification: the pairs of labelled photos as one model sees them, and how often it decides them right.

And retrieval: the rank of the right person when each photo is searched for among all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import auc, roc_curve

from facesearch.evaluate.fitting import ENOUGH, best_threshold, fit_logistic
from facesearch.models.calibration import Calibration
from facesearch.ranking import Metric

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of photos, as one model sees them.

    Attributes:
        distance: (n,) float64; NaN where no face was found in one of the two photos.
        same: (n,) bool, whether they show one person.
        people: (n, 2) int32, the person of each side, numbered from 0.
        fold: (n, 2) int16, the fold of each side; two different ones where folds are of people.
        balanced: Whether same and different pairs weigh equally in sum; else every pair weighs the same.
    """

    distance: Array
    same: Mask
    people: NDArray[np.int32]
    fold: NDArray[np.int16]
    balanced: bool

    @property
    def found(self) -> Mask:
        """Whether both faces of each pair were found, (n,)."""
        return np.isfinite(self.distance)

    @property
    def worth(self) -> tuple[int, int]:
        """The weights of a same and of a different pair, as whole numbers."""
        if not self.balanced:
            return 1, 1
        same = int(self.same.sum())
        return max(len(self.same) - same, 1), max(same, 1)

    @property
    def weight(self) -> Array:
        """Each pair's share of the whole, (n,); the sum is 1, half of it for each kind if balanced."""
        of_same, of_different = self.worth
        weight: Array = np.where(self.same, float(of_same), float(of_different))
        weight /= max(float(weight.sum()), 1.0)
        return weight

    def take(self, chosen: Mask | NDArray[np.int64]) -> Pairs:
        """Return some of the pairs."""
        people, fold = self.people[chosen], self.fold[chosen]
        return Pairs(self.distance[chosen], self.same[chosen], people, fold, self.balanced)


def both_kinds(same: Mask) -> bool:
    """Return whether there are both pairs of one person and pairs of two."""
    return bool(same.any()) and not bool(same.all())


FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
CURVE_POINTS = 600  # all that a plot needs of a ROC curve of millions
# A rate that is reached exactly counts as reached, also where its division was rounded.
ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Roc:
    """The trade-off of false and true accepts; figures that the pairs do not support are None.

    Attributes:
        auc: The probability that a same pair is nearer than a different one; ties count half.
        eer: The rate at which false accepts and false rejections are equal.
        tar: For each false accept rate, the largest share of accepted same pairs with no more false accepts.
        curve: (k, 2) false and true accept rates, rising.
    """

    auc: float | None
    eer: float | None
    tar: dict[float, float | None]
    curve: Array = field(compare=False, repr=False)


def roc_figures(pairs: Pairs) -> tuple[Roc, Roc]:
    """Return the ROC figures with missed faces as the farthest, and those without missed faces."""
    nothing = Roc(None, None, dict.fromkeys(FALSE_ACCEPT_RATES), np.empty((0, 2)))
    if not both_kinds(pairs.same):
        return nothing, nothing
    found = pairs.found
    farthest = np.nextafter(pairs.distance[found].max(initial=0.0), np.inf)
    distance = np.where(found, pairs.distance, farthest)
    far, tar, _ = roc_curve(pairs.same, -distance, drop_intermediate=False)
    with_missed = _roc(far, tar, int((~pairs.same).sum()))
    if found.all():
        return with_missed, with_missed
    far, tar = far[:-1], tar[:-1]  # the last step is where the missed ones would be accepted
    if not far[-1] or not tar[-1]:
        return with_missed, nothing
    return with_missed, _roc(far / far[-1], tar / tar[-1], int((found & ~pairs.same).sum()))


def _roc(far: Array, tar: Array, different: int) -> Roc:
    rates = {
        rate: true_accept_rate(far, tar, rate) if rate * different >= ENOUGH else None
        for rate in FALSE_ACCEPT_RATES
    }
    shown = np.geomspace(1.0 / different, 1.0, CURVE_POINTS)
    points = np.unique([0, *(np.searchsorted(far, shown * ROUNDING, "right") - 1)])
    curve = np.stack([far[points], tar[points]], axis=1)
    return Roc(float(auc(far, tar)), equal_error_rate(far, tar), rates, curve)


def true_accept_rate(far: Array, tar: Array, at: float) -> float:
    """Return the largest true accept rate of a curve, (k,) each and rising, at no more than a false one."""
    return float(tar[np.searchsorted(far, at * ROUNDING, "right") - 1])


def equal_error_rate(far: Array, tar: Array) -> float:
    """Return the rate at which a curve from (0, 0) to (1, 1) has as many false accepts as rejections."""
    surplus = far + tar - 1
    above = int(np.searchsorted(surplus, 0.0))
    part = -surplus[above - 1] / (surplus[above] - surplus[above - 1])
    return float(far[above - 1] + part * (far[above] - far[above - 1]))


BINS = 10


@dataclass(frozen=True, slots=True)
class Bins:
    """How often pairs of a given probability were really the same; NaN for an empty bin.

    Attributes:
        probability: (10,) the mean predicted probability.
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
        accuracy: The share of right decisions over all folds, a missed face counting as wrong; None if some
            fold leaves no same or no different pairs for choosing a threshold.
        accuracy_found: The same without the pairs with a missed face.
        folds: Each fold's accuracy; empty without an accuracy.
        threshold: The best threshold on all pairs with both faces found; None without such pairs.
        accepted: The false and the true accept rate at that threshold.
        figures: ROC figures in which a missed face is never accepted.
        figures_found: ROC figures without missed faces.
        same, different, missed: The numbers of pairs of one person, of two people, and with a missed face.
        people: The number of people in the pairs.
        ece: The expected calibration error of a logistic map fitted on the other folds.
        ece_card: The same for the model's own calibration; None without one.
        bins: The bins behind `ece`; None without it.
        right: (n,) each pair's share of right decisions; None without an accuracy.
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
    """Measure a model on pairs, and its own calibration if it has one."""
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
    """Return the share of right decisions, with both kinds of the same weight if pairs are balanced.

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
    """Return how many sides of each pair, (n,), are in a fold; each makes up half of its decision."""
    inside = (pairs.fold == fold).view(np.int8)
    sides: NDArray[np.int8] = inside[:, 0] + inside[:, 1]
    return sides


def _decide(pairs: Pairs, order: NDArray[np.int64], rising: Pairs) -> tuple[Array, tuple[float, ...]] | None:
    """Return each pair's share of right decisions, (n,), and each fold's accuracy.

    Thresholds are chosen on pairs without a side in the fold, so that they do not know it. `rising` are the
    found pairs, nearest first, and `order` their positions.
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
    """Return the expected calibration error over ten bins of equal width, and the bins.

    Args:
        probability: (n,) the predicted probability that a pair shows one person.
        same: (n,) whether it does.
        weight: (n,) the weight of the pair.
    """
    return _error(_sums(probability, same, weight))


def _sums(probability: Array, same: Mask, weight: Array) -> Array:
    """Return the sums of weight, probability and same pairs of each bin: (3, 10)."""
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(place, of, BINS) for of in (weight, weight * probability, weight * same)])


def _error(sums: Array) -> tuple[float, Bins]:
    weight, probability, same = sums
    full = np.where(weight > 0, weight, np.nan)
    error = float(np.abs(probability - same).sum() / weight.sum())
    return error, Bins(probability / full, same / full, weight / weight.sum())


def _honesty(rising: Pairs) -> tuple[float, Bins]:
    """Measure the calibration error of a logistic map, fitted for each fold on the others.

    The map gives probabilities at even prior odds, so both kinds have the same weight here.
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


RANKS = 20
# Queries at once: their distances to 100,000 photos are 100 MB.
BLOCK = 128
# Distances that differ by less are rounding's alone: 1,000 times the error of a float64 product of 2048
# numbers, and a 100,000th of what float32 vectors can tell apart.
TIE = 1e-12


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well the photos of a person find that person's other photos.

    Attributes:
        rank1: The share of queries whose nearest photo is right.
        rank5: The share with a right photo among the 5 nearest.
        map: Mean average precision; a missed photo is never retrieved, and finds nothing itself.
        cmc: (20,) the share of queries with a right photo among the 1, 2, ... nearest.
        queries: The number of queries: each photo of a person with two photos or more.
        found: The same figures without missed photos; None within itself, and if no person has two others.
        rank: (queries,) the rank of the first right photo, from 1; inf if none was retrieved.
        precision: (queries,) average precision.
        person: (queries,) int32, the person of each query.
    """

    rank1: float
    rank5: float
    map: float
    cmc: tuple[float, ...]
    queries: int
    found: Retrieval | None
    rank: NDArray[np.float64] = field(compare=False, repr=False)
    precision: NDArray[np.float64] = field(compare=False, repr=False)
    person: NDArray[np.int32] = field(compare=False, repr=False)


def retrieve(
    vectors: NDArray[np.float32], people: NDArray[np.int32], metric: Metric = "cosine"
) -> Retrieval | None:
    """Search with each photo of a person with two photos or more among all other photos.

    Of equally near photos, wrong ones come first: a network that gives all photos the same vector must not be
    lucky.

    Args:
        vectors: (m, dim) float32; rows of NaN where no face was found.
        people: (m,) int32, the person of each photo, numbered from 0.
        metric: The distance.

    Returns:
        The figures; None if no person has two photos.
    """
    seen = np.isfinite(vectors).all(axis=1)
    photos = np.bincount(people)[people]
    found = np.bincount(people, seen)[people]
    hits = _hits(vectors[seen], people[seen], metric)
    rank, gained = np.full(len(people), np.inf), np.zeros(len(people))
    rank[seen], gained[seen] = hits
    asked, asked_found = photos > 1, seen & (found > 1)
    without_missed = None
    if asked_found.any():
        precision = gained[asked_found] / (found[asked_found] - 1)
        without_missed = _retrieval(rank[asked_found], precision, people[asked_found], None)
    if not asked.any():
        return None
    return _retrieval(rank[asked], gained[asked] / (photos[asked] - 1), people[asked], without_missed)


def _retrieval(
    rank: NDArray[np.float64],
    precision: NDArray[np.float64],
    person: NDArray[np.int32],
    found: Retrieval | None,
) -> Retrieval:
    cmc = tuple(float((rank <= place).mean()) for place in range(1, RANKS + 1))
    return Retrieval(cmc[0], cmc[4], float(precision.mean()), cmc, len(rank), found, rank, precision, person)


def _hits(
    vectors: NDArray[np.float32], people: NDArray[np.int32], metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each photo's rank of the first right photo, and the sum of the precisions at its right ones."""
    rows = vectors.astype(np.float64)
    squares = np.einsum("ij,ij->i", rows, rows)
    if metric == "cosine":
        rows /= np.sqrt(np.where(squares > 0, squares, 1.0))[:, None]
        squares = np.full(len(rows), 0.5)  # then all below is 1 - cosine, and 1 without a length
    scale = 2.0 if metric == "euclidean" else 1.0
    rank, gained = np.full(len(rows), np.inf), np.zeros(len(rows))
    asked = np.flatnonzero(np.bincount(people)[people] > 1)
    for start in range(0, len(asked), BLOCK):
        queries = asked[start : start + BLOCK]
        total = squares[queries, None] + squares
        far = total - scale * (rows[queries] @ rows.T)
        right = people[queries, None] == people
        right[np.arange(len(queries)), queries] = False
        far += np.where(right, TIE, -TIE) * total
        far[np.arange(len(queries)), queries] = np.inf  # not its own answer
        wrong = np.sort(np.where(right, np.inf, far), axis=1)
        for row, query in enumerate(queries):
            rank[query], gained[query] = _ranked(np.sort(far[row, right[row]]), wrong[row])
    return rank, gained


def _ranked(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> tuple[float, float]:
    """Return the first rank and the precisions' sum of right photos among wrong ones, both rising."""
    place = np.arange(1, len(right) + 1)
    ranks = place + np.searchsorted(wrong, right, "right")
    return float(ranks[0]), float((place / ranks).sum())
