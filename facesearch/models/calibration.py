"""What a model's distances mean for persons: a threshold, a probability, the share of strangers."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Of log-odds: beyond this a float knows no probability but 0 and 1.
_CERTAIN = 700.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured on labelled pairs of faces for one model and metric.

    Attributes:
        threshold: Up to this distance two faces are called one person's.
        slope: Of the log-odds that two faces are one person's, per unit of distance; larger distances make it
            less likely, so it is above 0.
        intercept: Those log-odds at distance 0.
        strangers: (rate, distance), rising: this share of all pairs of strangers is at most so far apart.
        data: What it was measured on.
        date: When, as YYYY-MM-DD.
        own: Whether the user measured it on people of their own.
    """

    threshold: float
    slope: float
    intercept: float
    strangers: tuple[tuple[float, float], ...]
    data: str
    date: str
    own: bool = False

    def probability(self, distance: float) -> float:
        """Return the probability that two faces show one person, at even prior odds."""
        odds = self.intercept - self.slope * distance
        return 1.0 / (1.0 + math.exp(min(max(-odds, -_CERTAIN), _CERTAIN)))

    def distance(self, probability: float) -> float:
        """Return the distance of a probability: -inf for 1, inf for 0."""
        if not 0.0 < probability < 1.0:
            return math.inf if probability <= 0.0 else -math.inf
        return (self.intercept - math.log(probability / (1.0 - probability))) / self.slope

    def stranger_rate(self, distance: float) -> float:
        """Return the share of strangers that are as near as this.

        Between what was measured, the rate's logarithm is taken to be linear in the distance; so it is below
        the smallest rate that was measured, where this is an estimate.
        """
        table = self.strangers
        if distance >= table[-1][1]:
            return table[-1][0]
        above = next(place for place, (_, limit) in enumerate(table) if limit > distance)
        high_rate, high, steepness = self._below(above)
        return math.exp(max(high_rate - steepness * (high - distance), -_CERTAIN))

    def stranger_distance(self, rate: float) -> float:
        """Return the distance up to which this share of strangers is near, as `stranger_rate` has it."""
        table = self.strangers
        if rate >= table[-1][0]:
            return table[-1][1]
        above = next(place for place, (limit, _) in enumerate(table) if limit > rate)
        high_rate, high, steepness = self._below(above)
        return high - (high_rate - math.log(rate)) / steepness

    def _below(self, place: int) -> tuple[float, float, float]:
        """Return a place's log-rate and distance, and the slope of the line from the one before."""
        (low_rate, low), (high_rate, high) = self.strangers[max(place - 1, 0)], self.strangers[max(place, 1)]
        steepness = (math.log(high_rate) - math.log(low_rate)) / (high - low)
        return math.log(high_rate), high, steepness
