"""What a model's vectors mean: a threshold, a probability, the share of strangers, and how good a face is."""

from __future__ import annotations

import math
from dataclasses import dataclass

Rates = tuple[tuple[float, float], ...]

# Expected strangers beside which a face of the person is as likely as one of theirs.
OWN = 0.5
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
    strangers: Rates
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
        """Return the share of strangers that are as near as this; see `rate_at`."""
        return rate_at(self.strangers, distance)

    def stranger_distance(self, rate: float) -> float:
        """Return the distance up to which this share of strangers is near, as `stranger_rate` has it."""
        table = self.strangers
        if rate >= table[-1][0]:
            return table[-1][1]
        above = next(place for place, (limit, _) in enumerate(table) if limit > rate)
        high_rate, high, steepness = _below(table, above)
        return high - (high_rate - math.log(rate)) / steepness


def rate_at(table: Rates, distance: float) -> float:
    """Return the share of strangers that are as near as this.

    Between what was measured, the rate's logarithm is taken to be linear in the distance; so it is below
    the smallest rate that was measured, where this is an estimate.

    Args:
        table: (rate, distance) rows, both rising.
        distance: A distance, or nearness with the sign changed.
    """
    if distance >= table[-1][1]:
        return table[-1][0]
    above = next(place for place, (_, limit) in enumerate(table) if limit > distance)
    high_rate, high, steepness = _below(table, above)
    return math.exp(max(high_rate - steepness * (high - distance), -_CERTAIN))


def _below(table: Rates, place: int) -> tuple[float, float, float]:
    """Return a place's log-rate and distance, and the slope of the line from the one before."""
    (low_rate, low), (high_rate, high) = table[max(place - 1, 0)], table[max(place, 1)]
    steepness = (math.log(high_rate) - math.log(low_rate)) / (high - low)
    return math.log(high_rate), high, steepness


@dataclass(frozen=True, slots=True)
class LibraryScale:
    """What nearness in a library means for persons; see `facesearch.cohort`.

    It was measured like a `Calibration`, each set of photos being a library of its own. The numbers before
    `near` stand in for a library's own where it has few faces.

    Attributes:
        centre: The mean of the unit vectors of all faces, each person counted once.
        location: The usual similarity of two strangers about the centre.
        spread: How much it varies, in standard deviations.
        near: The cosine similarity from which two faces are taken to show one person when people are counted.
        strangers: (rate, minus nearness), rising: this share of all pairs of strangers is at least so near.
        data: What it was measured on.
        date: When, as YYYY-MM-DD.
        own: Whether the user measured it on people of their own.
    """

    centre: tuple[float, ...]
    location: float
    spread: float
    near: float
    strangers: Rates
    data: str
    date: str
    own: bool = False

    def strangers_within(self, nearness: float, faces: int) -> float:
        """Return how many strangers to expect as near as this among so many faces."""
        return faces * rate_at(self.strangers, -nearness)


@dataclass(frozen=True, slots=True)
class QualityScale:
    """What tells a face that can be told apart from one that cannot; see `facesearch.judge`.

    The log-odds of the former are `offset` + `length` x a vector's length + `direction` . its unit vector.

    Attributes:
        direction: One number for each of the vector's.
        length: Per unit of length.
        offset: Those log-odds of a vector without direction and length.
        data: What it was fitted to.
        date: When, as YYYY-MM-DD.
    """

    direction: tuple[float, ...]
    length: float
    offset: float
    data: str
    date: str


def probability_beside(strangers: float) -> float:
    """Return the probability that a face shows the person searched for, beside so many expected strangers.

    It is that of a library with about a dozen photos of the person. The form follows from the tails of both
    distributions: that of strangers falls exponentially, while that of the person's own faces is wide and
    hardly changes meanwhile. The constant is fitted to the collections in docs/accuracy.md.
    """
    return OWN / (OWN + strangers)


def strangers_beside(probability: float) -> float:
    """Return the expected strangers beside which a face has this probability; the inverse."""
    return OWN * (1.0 - probability) / probability if probability > 0.0 else math.inf
