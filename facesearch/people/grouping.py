"""Group faces into people, without a matrix of all distances.

A group is represented by the sum of its faces' unit vectors. If the sums are divided by the number of faces,
the product of two of them is 1 minus the mean of all cosine distances between the groups: average linkage. If
they are divided by their lengths, the product is the cosine between the two centroids: centroid linkage.
Average linkage keeps distant groups apart, but blurred, small or grainy faces are far from everything, so
their people fall into pieces. Centroid linkage averages that away, but lets wide groups grow. `CENTRING`
interpolates between the two.

All pairs of groups that are each other's nearest are joined at once. With average linkage a joined group is
never nearer to a third one than its parts were, so the result is that of joining one pair at a time;
otherwise the step is repeated until there is nothing left to join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.errors import ModelError
from facesearch.machine import processors

if TYPE_CHECKING:
    from facesearch.models.card import Card

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

# The share of pairs of strangers that are as near as two groups of one person may be. On LFW with SFace this
# is a distance of 0.485, where precision is 0.998 at a recall of 0.973; beyond 0.49 two people become one.
STRANGER_RATE = 2e-6
MAKE_ONE = "Make an index with a model that tells people apart: `facesearch index FOLDER --model sface`."
# Rows and columns of one product: small enough to be looked through while it is in the cache.
BLOCK, TILE = 256, 2048
# 0 is average linkage, 1 centroid linkage. tests/benchmarks/people_grouping.py: on LFW, and on LFW with 15
# grainy copies of each face, recall is within half a point at one distance here, at average linkage 15 apart.
CENTRING = 0.85
ALONE = -1

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]


def group_faces(
    vectors: Vectors, *, within: float, known: Numbers | None = None, centring: float = CENTRING
) -> Numbers:
    """Group faces so that the faces of one person are in one group.

    Args:
        vectors: (n, dim) float32 of any length above 0.
        within: The distance up to which two groups are one person.
        known: (n,) the number of the group of each face that is in one already, -1 for the others. Known
            groups stay together and are never joined; other faces join them, or each other.
        centring: From 0, average linkage, to 1, centroid linkage.

    Returns:
        (n,) numbers of groups: known ones keep theirs, the others follow in the order of their first faces.
    """
    if known is None:
        known = np.full(len(vectors), ALONE, np.int64)
    names, place = np.unique(known[known != ALONE], return_inverse=True)
    # Each known group, and each other face, is a group to begin with.
    group = np.empty(len(vectors), np.int64)
    group[known != ALONE] = place
    alone = np.flatnonzero(known == ALONE)
    group[alone] = len(names) + np.arange(len(alone))
    while True:
        became = _join(_Groups.of(vectors, group, len(names), centring), within)
        # Known groups have the lowest numbers, and the lower number of two stays: they remain as they are.
        _, joined = np.unique(became[group], return_inverse=True)
        done = np.array_equal(joined, group)
        group = joined
        if done or centring == 0:
            return _numbered(group, names)


@dataclass
class _Groups:
    """The groups that may still be joined.

    Attributes:
        number: (g,) the number of each group.
        total: (g, dim) the sum of its faces' unit vectors.
        size: (g,) the number of its faces.
        fixed: (g,) bool, whether it is a known group; two of these are never joined.
        centring: See `group_faces`.
    """

    number: Numbers
    total: Vectors
    size: Vectors
    fixed: NDArray[np.bool_]
    centring: float

    @classmethod
    def of(cls, vectors: Vectors, group: Numbers, known: int, centring: float) -> _Groups:
        flat = vectors / _lengths(vectors)[:, None]
        size = np.bincount(group).astype(np.float32)
        total = np.zeros((len(size), vectors.shape[1]), np.float32)
        np.add.at(total, group, flat)
        number = np.arange(len(size))
        return cls(number, total, size, number < known, centring)

    def take(self, kept: NDArray[np.bool_]) -> _Groups:
        return _Groups(self.number[kept], self.total[kept], self.size[kept], self.fixed[kept], self.centring)

    def nearest(self, rows: Numbers) -> tuple[Numbers, Vectors]:
        """Return the nearest other group of some groups, as a position, and the similarity: (r,) each."""
        scale = self.size ** (1 - self.centring) * _lengths(self.total) ** self.centring
        middles = self.total / scale[:, None]

        def look(block: Numbers) -> tuple[Numbers, Vectors]:
            own = np.arange(len(block))
            near, similarity = np.zeros(len(block), np.int64), np.full(len(block), -np.inf, np.float32)
            queries, known = middles[block], np.flatnonzero(self.fixed[block])
            for at in range(0, len(middles), TILE):
                products = queries @ middles[at : at + TILE].T
                here = np.flatnonzero((block >= at) & (block < at + TILE))
                products[here, block[here] - at] = -np.inf
                if len(known):
                    products[np.ix_(known, np.flatnonzero(self.fixed[at : at + TILE]))] = -np.inf
                place = products.argmax(axis=1)
                found = products[own, place]
                nearer = found > similarity
                near[nearer], similarity[nearer] = at + place[nearer], found[nearer]
            return near, similarity

        blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
        # Each core multiplies blocks of its own: BLAS' threads would wait for each other at every one.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as threads:
            found = list(threads.map(look, blocks))
        near, similarity = zip(*found, strict=True)
        return np.concatenate(near), np.concatenate(similarity)


def _join(groups: _Groups, within: float) -> Numbers:
    """Return the group that each group becomes part of, (g,); itself if it stays."""
    became = np.arange(len(groups.number))
    changed = np.arange(len(groups.number))
    near, similarity = np.zeros(len(changed), np.int64), np.zeros(len(changed), np.float32)
    while len(changed):
        near[changed], similarity[changed] = groups.nearest(changed)
        first, second = _mutual(near, similarity, 1.0 - within)
        if not len(first):
            break
        became[groups.number[second]] = groups.number[first]
        groups.total[first] += groups.total[second]
        groups.size[first] += groups.size[second]
        groups.fixed[first] |= groups.fixed[second]
        moved = np.zeros(len(groups.number), np.bool_)
        moved[first] = moved[second] = True
        # Who was joined, or was nearest to one who was, looks anew; who has nobody near is done.
        looks = moved | moved[near]
        kept = similarity >= 1.0 - within
        kept[second] = False
        places = np.cumsum(kept) - 1
        near, similarity = places[near[kept]], similarity[kept]
        changed = np.flatnonzero(looks[kept])
        groups = groups.take(kept)
    return _roots(became)


def _mutual(near: Numbers, similarity: Vectors, least: float) -> tuple[Numbers, Numbers]:
    """Return the pairs of groups that are each other's nearest and near enough, lower position first."""
    own = np.arange(len(near))
    first = np.flatnonzero((near[near] == own) & (own < near) & (similarity >= least))
    if len(first) or similarity.max() < least:
        return first, near[first]
    # Rounding can make each of some equal ones nearest to the next.
    best = int(similarity.argmax())
    pair = np.sort([best, near[best]])
    return pair[:1], pair[1:]


def _lengths(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(np.where(lengths > 0, lengths, 1.0), np.float32)


def _roots(became: Numbers) -> Numbers:
    """Follow the joins to the group in which each one ended."""
    while not np.array_equal(further := became[became], became):
        became = further
    return became


def _numbered(group: Numbers, names: Numbers) -> Numbers:
    """Number the groups: known ones keep their numbers, the others follow by their first faces."""
    known = group < len(names)
    numbers = np.empty(len(group), np.int64)
    numbers[known] = names[group[known]]
    _, at, place = np.unique(group[~known], return_index=True, return_inverse=True)
    order = np.empty(len(at), np.int64)
    order[np.argsort(at)] = np.arange(len(at))
    numbers[~known] = (names[-1] + 1 if len(names) else 0) + order[place]
    return numbers


def grouping_distance(card: Card) -> float:
    """Return the cosine distance up to which two groups are one person.

    Raises:
        ModelError: The model's distances were not measured on people, or do not tell them apart well enough.
    """
    calibration = card.calibration.get("cosine")
    if calibration is None:
        raise ModelError(
            f"{card.name} has not been measured on people: its distances are not known to show one person.",
            "Measure it on people of your own: `facesearch evaluate DIR --calibrate`, or choose --within D.",
        )
    within = min(calibration.stranger_distance(STRANGER_RATE), calibration.threshold)
    if within <= 0:
        raise ModelError(
            f"{card.name} does not tell people apart well enough to group them.",
            "Use --model sface, or choose a distance with --within D.",
        )
    return within


def check_tells_persons(card: Card) -> None:
    """Refuse a model that measures looks, not persons.

    Raises:
        ModelError: The model measures looks.
    """
    if not card.identity:
        raise ModelError(
            f"{card.name} measures how alike pictures of faces look, not who they show: it groups no people.",
            MAKE_ONE,
        )
