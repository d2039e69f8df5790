"""Retrieval: the rank of the right person when each photo is searched for among all others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facesearch.ranking import Metric

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
