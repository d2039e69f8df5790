"""Pairs of labelled photos, as one model sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        """Give in which pairs both faces were found, (n,)."""
        return np.isfinite(self.distance)

    @property
    def worth(self) -> tuple[int, int]:
        """Give what a same and a different pair weigh, as whole numbers."""
        if not self.balanced:
            return 1, 1
        same = int(self.same.sum())
        return max(len(self.same) - same, 1), max(same, 1)

    @property
    def weight(self) -> Array:
        """Give each pair's share of the whole, (n,); 1 in sum, half of it each class where balanced."""
        of_same, of_different = self.worth
        weight: Array = np.where(self.same, float(of_same), float(of_different))
        weight /= max(float(weight.sum()), 1.0)
        return weight

    def take(self, chosen: Mask | NDArray[np.int64]) -> Pairs:
        """Give some of the pairs."""
        people, fold = self.people[chosen], self.fold[chosen]
        return Pairs(self.distance[chosen], self.same[chosen], people, fold, self.balanced)


def both_kinds(same: Mask) -> bool:
    """Tell whether there are pairs of one person and of two."""
    return bool(same.any()) and not bool(same.all())
