"""The projection that a head begins with: fitted in closed form, it does most of the head's work.

Principal components that vary much in all photos, whoever they show, are scaled down, and so are the
directions in which the photos of one person differ. The matrix that is trained comes after the projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.ranking import unit_vectors

# Further components did not help with LFW's faces.
COMPONENTS = 300
# Smaller variances, relative to the largest, are rounding errors.
NEGLIGIBLE = 1e-7


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear projection of vectors of length 1.

    Attributes:
        mean: (dim,) float32, subtracted first.
        matrix: (dim, components) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project vectors, (..., dim), of any length."""
        return np.asarray((unit_vectors(vectors) - self.mean) @ self.matrix, np.float32)


def fit_projection(
    vectors: NDArray[np.float32], person: NDArray[np.int32], *, whitening: float, within: float
) -> Projection:
    """Fit the projection to the photos of the training people.

    Args:
        vectors: (n, dim) float32.
        person: (n,) int32, the person of each vector.
        whitening: 0 leaves the principal components as large as they are, 1 makes them equally large.
        within: 0 leaves the directions in which photos of one person differ as they are, 1 makes those
            differences equally large in all directions.

    Raises:
        DatasetError: The vectors are all the same.

    Example:
        >>> projection = fit_projection(vectors, person, whitening=0.9, within=0.75)
        >>> projection.apply(vectors).shape
        (480, 300)
    """
    flat = unit_vectors(vectors).astype(np.float64)
    mean = flat.mean(axis=0)
    centred = flat - mean
    count = min(COMPONENTS, len(centred) - 1, centred.shape[1])
    variances, axes = _principal_components(centred, count)
    if not len(variances):
        raise DatasetError("All faces look the same.", "Use photos of people who look different.")
    matrix = axes * variances ** (-whitening / 2)
    if within:
        matrix = matrix @ _equalising_matrix(centred @ matrix, person, within)
    size = np.sqrt(((centred @ matrix) ** 2).sum(axis=1).mean())
    return Projection(mean.astype(np.float32), (matrix / size).astype(np.float32))


def _principal_components(
    centred: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest variances, (count,), and their axes, (dim, count), from the smaller matrix."""
    n, dim = centred.shape
    if n <= dim:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        largest = slice(-1, -count - 1, -1)
        kept = _significant(values[largest])
        lengths = np.sqrt(values[largest][kept])
        return lengths**2 / n, centred.T @ vectors[:, largest][:, kept] / lengths
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    largest = slice(-1, -count - 1, -1)
    kept = _significant(values[largest])
    return values[largest][kept], vectors[:, largest][:, kept]


def _significant(variances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which axes hold more than rounding errors, which whitening would blow up."""
    return np.asarray(variances > max(NEGLIGIBLE * variances[0], 1e-12), np.bool_)


def _equalising_matrix(
    projected: NDArray[np.float64], person: NDArray[np.int32], within: float
) -> NDArray[np.float64]:
    """Return the matrix, (k, k), that makes differences within people more alike in all directions."""
    _, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), projected.shape[1]))
    np.add.at(sums, number, projected)
    deviations = (projected - sums[number] / counts[number, None])[counts[number] > 1]
    scatter = deviations.T @ deviations / max(1, len(deviations))
    even = np.eye(len(scatter)) * np.trace(scatter) / len(scatter)
    values, vectors = np.linalg.eigh((1 - within) * even + within * scatter)
    return np.asarray((vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.T)
