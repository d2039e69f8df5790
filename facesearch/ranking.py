"""Finds the exact nearest rows of a large array, by cosine or euclidean distance.

Blocks of rows are multiplied with all queries at once in float32. Rows that may be among the nearest
(within a bound on the arithmetic's error) are kept, and their distances are computed again in float64, row
by row. So equal rows have equal distances wherever they are, and the order is exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesearch.machine import processors

Metric = Literal["cosine", "euclidean"]
# By what faces can be ranked; "centred" is the cosine distance of directions from what all have in common.
Ranking = Literal["cosine", "euclidean", "centred"]
FloatT = TypeVar("FloatT", np.float32, np.float64)

# 8,192 rows of 2048 float32: few enough calls that BLAS works at the speed of memory even when the cores
# are busy, and the products of 100 queries take only a few MB.
BLOCK_BYTES = 64 << 20
# Each core has the products of two blocks waiting. More queries than this take another pass over the
# vectors: smaller blocks would spend most of the time on selecting rows for each query and block.
QUERIES_AT_ONCE = 256
# The products of one block, queries by rows. It limits the rows where vectors are short.
PRODUCT_BYTES = 16 << 20
# Float32 dot products of unit vectors err by less than sqrt(D) * 2^-24 in practice; this is 30 times as
# much at D = 2048, and only costs a few more rows in the second pass.
SLACK = 1e-4
# The square of a row's distance from a centre below which only the exact pass tells its direction.
NEAR_CENTRE = 0.01
# Below this, float32 products lose digits; as part of the bound, it leaves such rows to the exact pass.
TINY = 1e-30
# Pairs whose vectors are gathered at once: 2 x 64 MB of 2048 float64.
PAIRS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of one query, nearest first, ties by row.

    Attributes:
        rows: (k,) int64.
        distances: (k,) float64.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]


def norms_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the euclidean length of each row: (n, dim) float32 to (n,) float32."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    with np.errstate(over="ignore"):  # a length beyond float32 is infinite
        return np.sqrt(squares).astype(np.float32)


def distances(
    query: NDArray[np.float32], rows: NDArray[np.float32] | NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    """Return the exact distances from one query to some rows.

    Cosine distance is 1 - cosine, 0 to 2; to or from a vector without length it is 1. A row that is not
    finite is infinitely far.

    Args:
        query: (dim,) float32.
        rows: (n, dim) float32 or float64.
        metric: Which distance.

    Returns:
        (n,) float64.
    """
    one, many = query.astype(np.float64), rows.astype(np.float64)
    with np.errstate(all="ignore"):  # values that are not finite are replaced below
        if metric == "euclidean":
            difference = many - one
            result = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        else:
            lengths = np.sqrt(np.einsum("ij,ij->i", many, many) * (one @ one))
            cosine = np.einsum("ij,j->i", many, one) / np.where(lengths > 0, lengths, 1.0)
            result = np.clip(1.0 - cosine, 0.0, 2.0)
    return np.where(np.isfinite(result), result, np.inf)


def unit_vectors(vectors: NDArray[FloatT]) -> NDArray[FloatT]:
    """Return vectors scaled to length 1, of the same shape and type; those of length 0 stay as they are.

    Args:
        vectors: (..., dim) float32 or float64.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), vectors.dtype)


def usable_unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the unit vectors of those of some vectors, (n, dim) float32, that point anywhere."""
    lengths = norms_of(vectors)
    return unit_vectors(vectors[np.isfinite(lengths) & (lengths > 0)])


def about(vectors: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the directions of vectors as seen from a centre: their unit vectors less the centre.

    Args:
        vectors: (..., dim) float32; those of length 0 stay as they are.
        centre: (dim,) float32, such as the mean of an index' unit vectors.
    """
    unit = unit_vectors(vectors.astype(np.float64))
    return np.where(unit.any(axis=-1, keepdims=True), unit - centre, unit)


def pair_distances(
    vectors: NDArray[np.float32], first: NDArray[np.int32], second: NDArray[np.int32], metric: Metric
) -> NDArray[np.float64]:
    """Return the distance of each pair of rows, (n,) float64; NaN where one of the rows is NaN.

    Args:
        vectors: (m, dim) float32.
        first: (n,) rows.
        second: (n,) rows.
        metric: Which distance.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    if len(first) > len(vectors) ** 2 // 4:
        rows = vectors.astype(np.float64)
        products = (rows @ rows.T)[first, second]
    else:
        products = np.empty(len(first))
        for start in range(0, len(first), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            one, other = (vectors[side[part]].astype(np.float64) for side in (first, second))
            products[part] = np.einsum("ij,ij->i", one, other)
    if metric == "cosine":
        lengths = np.sqrt(np.where(squares > 0, squares, 1.0))
        return np.asarray(np.clip(1.0 - products / (lengths[first] * lengths[second]), 0.0, 2.0))
    return np.asarray(np.sqrt(np.maximum(squares[first] + squares[second] - 2.0 * products, 0.0)))


def nearest(
    vectors: NDArray[np.float32],
    norms: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    metric: Metric = "cosine",
    *,
    centre: NDArray[np.float32] | None = None,
    groups: NDArray[np.int64] | NDArray[np.int32] | None = None,
    threshold: float = np.inf,
    wanted: NDArray[np.bool_] | None = None,
) -> list[Neighbours]:
    """Find the k nearest rows for each query; fewer when there are fewer.

    Args:
        vectors: (n, dim) float32; may be memory-mapped, it is read in blocks, once for every 256 queries.
        norms: (n,) float32, the rows' lengths.
        queries: (q, dim) float32.
        k: How many; 1 or more.
        metric: Which distance.
        centre: (dim,) float32; the cosine distance is that of directions `about` it, and the queries are such
            directions.
        groups: (n,) the group of each row; of a group only the nearest row counts.
        threshold: Rows farther than this are left out.
        wanted: (n,) bool, the rows that may be found; None for all.

    Returns:
        One for each query.
    """
    searches = [_Search(query, metric, k, threshold, centre) for query in queries]
    for first in range(0, len(searches), QUERIES_AT_ONCE):
        some = slice(first, first + QUERIES_AT_ONCE)
        asked = queries[some] if centre is None else np.concatenate([queries[some], centre[None]])
        for start, block, products in _products(vectors, asked):
            part: slice | NDArray[np.int64] = slice(start, start + len(block))
            rows = np.arange(start, start + len(block))
            if wanted is not None:
                chosen = np.flatnonzero(wanted[part])
                part = rows = rows[chosen]
                block, products = block[chosen], products[:, chosen]
            lengths = norms[part]
            if centre is not None:
                products, lengths = _about_centre(products, lengths, asked)
            members = None if groups is None else groups[part]
            for row, search in enumerate(searches[some]):
                search.look(rows, block, lengths, products[row], members)
    return [search.result() for search in searches]


def _about_centre(
    products: NDArray[np.float32], norms: NDArray[np.float32], asked: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return products and lengths of rows about a centre, which is the last of what was asked."""
    queries, centre = asked[:-1], asked[-1]
    with np.errstate(all="ignore"):  # rows without length are left to the exact look
        unit = products / norms
        squares = 1.0 - 2.0 * unit[-1] + np.float32(centre @ centre)
        # So near to the centre, or so short, rounding decides the direction.
        unsure = ~((squares > NEAR_CENTRE) & (norms > TINY))
        shifted = unit[:-1] - (queries @ centre)[:, None]
        return np.where(unsure, 0, shifted), np.where(unsure, 0, np.sqrt(squares)).astype(np.float32)


def _products(
    vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield each block's first row, its rows, and their products with the queries, (q, rows).

    Each core multiplies blocks of its own, which holds up better on busy machines than a BLAS whose
    threads wait for each other at every block.
    """
    rows = max(1, min(BLOCK_BYTES // max(1, vectors.shape[1] * 4), PRODUCT_BYTES // (len(queries) * 4)))
    cores = processors()
    with ThreadPoolExecutor(cores) as threads:
        ahead: deque[tuple[int, NDArray[np.float32], Future[NDArray[np.float32]]]] = deque()
        for start in range(0, len(vectors), rows):
            block = vectors[start : start + rows]
            ahead.append((start, block, threads.submit(_multiply, queries, block)))
            if len(ahead) > 2 * cores:
                first, oldest, products = ahead.popleft()
                yield first, oldest, products.result()
        for first, oldest, products in ahead:
            yield first, oldest, products.result()


def _multiply(queries: NDArray[np.float32], block: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # what is too large or not finite is left to the exact look
        products: NDArray[np.float32] = queries @ block.T
    return products


class _Search:
    """The nearest rows of one query among the blocks seen so far."""

    def __init__(
        self,
        query: NDArray[np.float32],
        metric: Metric,
        k: int,
        threshold: float,
        centre: NDArray[np.float32] | None,
    ) -> None:
        self._query = query
        self._centre = centre
        self._length = float(np.sqrt(query.astype(np.float64) @ query.astype(np.float64)))
        self._metric = metric
        self._k = k
        self._threshold = threshold
        self._limit = threshold  # no row beyond it can still be among the k nearest
        self._rows = np.empty(0, np.int64)
        self._groups = np.empty(0, np.int64)
        self._distances = np.empty(0, np.float64)

    def look(
        self,
        rows: NDArray[np.int64],
        block: NDArray[np.float32],
        norms: NDArray[np.float32],
        products: NDArray[np.float32],
        members: NDArray[np.int64] | NDArray[np.int32] | None,
    ) -> None:
        """Process a block: its rows' numbers, the rows, their lengths, products and groups."""
        if not np.isfinite(self._limit):
            # Without a limit every row would have to be looked at exactly: set one by the likeliest few.
            few = 4 * self._k + 64
            if few < len(products):
                self._take(rows, block, np.argpartition(self._roughly(norms, products), few)[:few], members)
        near = np.flatnonzero(self._may_be_near(norms, products))
        if len(near):
            self._take(rows, block, near, members)

    def _take(
        self,
        numbers: NDArray[np.int64],
        block: NDArray[np.float32],
        near: NDArray[np.int64],
        members: NDArray[np.int64] | NDArray[np.int32] | None,
    ) -> None:
        rows = numbers[near]
        found = block[near] if self._centre is None else about(block[near], self._centre)
        exact = distances(self._query, found, self._metric)
        keep = exact <= self._limit
        rows, exact = rows[keep], exact[keep]
        here = rows if members is None else members[near][keep]
        self._rows = np.concatenate([self._rows, rows])
        self._groups = np.concatenate([self._groups, here])
        self._distances = np.concatenate([self._distances, exact])
        self._keep_nearest()

    def _roughly(self, norms: NDArray[np.float32], products: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return figures that order the rows as their distances do, but for rounding."""
        with np.errstate(all="ignore"):
            rough = -products / norms if self._metric == "cosine" else norms * norms - 2 * products
        return np.where(np.isfinite(rough), rough, np.float32(np.inf))

    def _may_be_near(self, norms: NDArray[np.float32], products: NDArray[np.float32]) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            if self._metric == "cosine":
                scale = norms * np.float32(self._length)
                # 1 - p/s <= limit, without dividing; where a length is 0 the exact look decides.
                bound = np.float32(1.0 - self._limit - SLACK) * scale - np.float32(TINY)
                return ~(products < bound) if np.isfinite(self._limit) else np.ones(len(norms), bool)
            squares = norms.astype(np.float64) ** 2 + self._length**2
            slack = SLACK * squares + TINY
            return ~(squares - 2.0 * products - slack > self._limit**2)

    def _keep_nearest(self) -> None:
        order = np.lexsort((self._rows, self._distances))
        _, first = np.unique(self._groups[order], return_index=True)
        best = order[np.sort(first)[: self._k]]
        self._rows, self._groups = self._rows[best], self._groups[best]
        self._distances = self._distances[best]
        if len(best) == self._k:
            self._limit = min(self._limit, float(self._distances[-1]))

    def result(self) -> Neighbours:
        """Return what was found."""
        finite = np.isfinite(self._distances)
        return Neighbours(self._rows[finite], self._distances[finite])
