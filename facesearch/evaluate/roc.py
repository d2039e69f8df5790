"""How false accepts trade against true ones, and the figures that are read off that curve."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import auc, roc_curve

from facesearch.evaluate.fitting import ENOUGH
from facesearch.evaluate.pairs import Array, Pairs, both_kinds

FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
CURVE_POINTS = 600  # all that a plot needs of a ROC curve of millions
# A rate that is reached exactly counts as reached, also where its division was rounded.
ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Roc:
    """How false accepts trade against true accepts; figures are None where the pairs do not support them.

    Attributes:
        auc: The probability that a same pair is nearer than a different one; ties count half.
        eer: The rate at which false accepts and false rejections are equal.
        tar: For each false accept rate, the largest share of same pairs accepted at no more false accepts.
        curve: (k, 2) false and true accept rates, rising.
    """

    auc: float | None
    eer: float | None
    tar: dict[float, float | None]
    curve: Array = field(compare=False, repr=False)


def roc_figures(pairs: Pairs) -> tuple[Roc, Roc]:
    """Give the ROC figures with a missed face as the farthest of all, and those without missed faces."""
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
    """Give the largest true accept rate of a curve, (k,) each and rising, at no more than a false one."""
    return float(tar[np.searchsorted(far, at * ROUNDING, "right") - 1])


def equal_error_rate(far: Array, tar: Array) -> float:
    """Give where a curve from (0, 0) to (1, 1) has as many false accepts as false rejections."""
    surplus = far + tar - 1
    above = int(np.searchsorted(surplus, 0.0))
    part = -surplus[above - 1] / (surplus[above] - surplus[above - 1])
    return float(far[above - 1] + part * (far[above] - far[above - 1]))
