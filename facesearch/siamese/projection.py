"""Where a head starts: a projection in closed form, which does most of what there is to do.

Components of the vectors that vary much in all photos, whoever they show, are made smaller, and so are
directions in which the photos of one person differ. What is learned is a matrix behind that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.ranking import unit_vectors

# Components beyond these hold nothing that helps with LFW's faces.
COMPONENTS = 300
# Of the largest variance: what is less is rounding's.
DEAD = 1e-7


@dataclass(frozen=True, slots=True)
class Start:
    """A projection of vectors of unit length.

    Attributes:
        mean: (dim,) float32, what is taken off first.
        projection: (dim, components) float32.
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project vectors, (..., dim), of any length."""
        return np.asarray((unit_vectors(vectors) - self.mean) @ self.projection, np.float32)


def find_start(
    vectors: NDArray[np.float32], person: NDArray[np.int32], *, whitening: float, within: float
) -> Start:
    """Fit the projection.

    Args:
        vectors: (n, dim) of the photos that are learned from.
        person: (n,) whose they are.
        whitening: 0 leaves principal components as large as they are, 1 makes all of them equally large.
        within: 0 leaves the directions in which photos of one person differ as they are, 1 makes those
            differences as large in one direction as in another.

    Raises:
        DatasetError: The vectors are all the same.
    """
    flat = unit_vectors(vectors).astype(np.float64)
    mean = flat.mean(axis=0)
    centred = flat - mean
    count = min(COMPONENTS, len(centred) - 1, centred.shape[1])
    variances, axes = _principal(centred, count)
    if not len(variances):
        raise DatasetError("All faces look the same.", "Bring photos of people that differ.")
    projection = axes * variances ** (-whitening / 2)
    if within:
        projection = projection @ _evened(centred @ projection, person, within)
    size = np.sqrt(((centred @ projection) ** 2).sum(axis=1).mean())
    return Start(mean.astype(np.float32), (projection / size).astype(np.float32))


def _principal(centred: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest variances (count,) and their axes (dim, count), from the smaller matrix."""
    n, dim = centred.shape
    if n <= dim:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        largest = slice(-1, -count - 1, -1)
        kept = _varying(values[largest])
        lengths = np.sqrt(values[largest][kept])
        return lengths**2 / n, centred.T @ vectors[:, largest][:, kept] / lengths
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    largest = slice(-1, -count - 1, -1)
    kept = _varying(values[largest])
    return values[largest][kept], vectors[:, largest][:, kept]


def _varying(variances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which axes hold more than rounding: made large, that would be all that is seen."""
    return np.asarray(variances > max(DEAD * variances[0], 1e-12), np.bool_)


def _evened(projected: NDArray[np.float64], person: NDArray[np.int32], within: float) -> NDArray[np.float64]:
    """Return what makes differences within people more alike in all directions, (k, k)."""
    _, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    middles = np.zeros((len(counts), projected.shape[1]))
    np.add.at(middles, number, projected)
    apart = (projected - middles[number] / counts[number, None])[counts[number] > 1]
    scatter = apart.T @ apart / max(1, len(apart))
    even = np.eye(len(scatter)) * np.trace(scatter) / len(scatter)
    values, vectors = np.linalg.eigh((1 - within) * even + within * scatter)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.T)
