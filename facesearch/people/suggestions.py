"""What is likely and not certain: who may be the same person, and which faces may be somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facesearch.faces import Match, Reference
from facesearch.judge import Judge
from facesearch.models.calibration import QualityScale
from facesearch.models.card import Card
from facesearch.people.grouping import ALONE, grouping_distance, likely_pairs
from facesearch.people.log import as_values
from facesearch.people.people import People, Person
from facesearch.people.register import IGNORED

# The share of pairs of strangers that are as near as two who are suggested.
STRANGER_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two who may be the same person.

    Attributes:
        one: A person, or the row of a face that belongs to nobody.
        other: The same.
        distance: The distance of the two.
    """

    one: Person | int
    other: Person | int
    distance: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """A face of a person.

    Attributes:
        row: The face's row in the index.
        distance: The mean distance from the person's other faces.
        like: The number of the other person who is nearest to it; 0 where nobody else is there.
        like_distance: The distance of that person's mean face.
    """

    row: int
    distance: float
    like: int
    like_distance: float


def suggested_distance(card: Card) -> float:
    """Return the distance up to which two groups are suggested as the same person.

    Raises:
        ModelError: The model does not tell people apart well enough; see `grouping_distance`.
    """
    within = grouping_distance(card)
    return max(within, card.calibration["cosine"].stranger_distance(STRANGER_RATE))


def suggestions(
    people: People, within: float, quality: QualityScale | None = None, *, top: int | None = None
) -> list[Suggestion]:
    """Return who may be the same person: two people, a person and a face of nobody, or two such faces.

    Who was told apart is not suggested, nor are two who are on one photo, hidden people and poor faces.

    Args:
        people: The people of an index.
        within: The largest distance; see `suggested_distance`.
        quality: What tells poor faces; None to take all.
        top: How many suggestions to return; None for all.

    Returns:
        The surest first.
    """
    index = people.index
    usable = (index.norms > 0) & (people.whose != IGNORED)
    usable &= ~np.isin(people.whose, sorted(people.facts.hidden))
    if quality is not None:
        usable &= (people.whose != ALONE) | ~people.poor(quality)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return []
    picture = as_values(index.digest)[index.photo[rows]]
    _, photo = np.unique(picture, return_inverse=True)
    start = index.moments[rows, 0].astype(np.int64)
    timed = np.flatnonzero(start >= 0)
    photo[timed] = len(photo) + np.arange(len(timed))  # a person may be in a clip more than once
    if np.any(start < -1):  # and in several frames of a picture
        _, photo = np.unique((photo.astype(np.int64) << 32) - np.minimum(start, 0), return_inverse=True)
    whose = people.whose[rows].copy()
    alone = whose == ALONE
    _, copy = np.unique(people.keys(rows[alone]), return_inverse=True)
    whose[alone] = -1 - copy  # copies of a photo are one
    names, first, group = np.unique(whose, return_index=True, return_inverse=True)
    pairs, distances = likely_pairs(
        np.asarray(index.vectors[rows]), group, within=within, apart=people.apart_among(rows), photo=photo
    )
    pairs, distances = pairs[:top], distances[:top]
    sides: dict[int, Person | int] = {}
    for place in np.unique(pairs).tolist():
        number = int(names[place])
        sides[place] = people.person(number) if number > IGNORED else int(rows[first[place]])
    return [
        Suggestion(sides[one], sides[other], distance)
        for (one, other), distance in zip(pairs.tolist(), distances.tolist(), strict=True)
    ]


def probabilities(people: People, pairs: Sequence[Suggestion], card: Card) -> list[float | None]:
    """Return how likely it is that each pair is one person; None where the model does not tell.

    It is what a query with the portrait of the one says of the portrait of the other: judged by the distance
    alone, pairs of a large index would look too likely.
    """
    judge = Judge.of(card, people.index, "cosine")

    def face(side: Person | int) -> Reference:
        return people.index.reference(people.portrait(side) if isinstance(side, Person) else side)

    def probability(pair: Suggestion) -> float | None:
        one, other = face(pair.one), face(pair.other)
        match = Match(1, other.path, other.face, other.box, pair.distance)
        return judge.judged([match], [other.vector], [one])[0].probability

    return [probability(pair) for pair in pairs]


def doubts(people: People, person: Person) -> list[Doubt]:
    """Return a person's faces, the most doubtful first, and whom else each is like."""
    rows = np.asarray(person.faces, np.int64)
    if not len(rows):
        return []
    distances = people.mean_distances(person.faces)
    numbers, means = people.mean_faces()
    others = numbers != person.number
    numbers, means = numbers[others], means[others]
    near = np.full(len(rows), -1)
    like = np.full(len(rows), np.inf)
    if len(numbers):
        products = people.unit_vectors(rows) @ means.T
        near = products.argmax(axis=1)
        like = 1.0 - products.max(axis=1)
    # First who is nearer to somebody else, then who is far from the rest.
    order = np.lexsort((-distances, like - distances))
    return [
        Doubt(
            int(rows[at]),
            float(distances[at]),
            int(numbers[near[at]]) if len(numbers) else 0,
            float(like[at]),
        )
        for at in order.tolist()
    ]
