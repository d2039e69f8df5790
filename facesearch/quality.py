"""Says how good a face is: whether its vector can tell who it is.

Vectors of blurred faces, of faces a few pixels high, and of things that a detector takes for faces are short
and lie in one direction: two blurred strangers are nearer to each other than two sharp photos of one person.
So a vector itself tells how much it is worth, and faces that were indexed long ago are judged like new ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Match
from facesearch.models.calibration import QualityScale
from facesearch.ranking import norms_of, unit_vectors

# A face below this is poor: it is found, but makes no person and gets no probability.
POOR = 0.5
_BLOCK = 16_384


def quality_of(vectors: NDArray[np.float32], scale: QualityScale) -> NDArray[np.float32]:
    """Return how good some faces are, (n,) from 0 to 1; 0 for a vector without length.

    Args:
        vectors: (n, dim) float32 of any length.
        scale: The model's.
    """
    lengths = norms_of(vectors)
    usable = np.isfinite(lengths) & (lengths > 0)
    odds = np.full(len(vectors), -np.inf)
    direction = np.asarray(scale.direction, np.float32)
    odds[usable] = unit_vectors(vectors[usable]) @ direction + scale.length * lengths[usable] + scale.offset
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))), np.float32)


def poor_faces(vectors: NDArray[np.float32], scale: QualityScale) -> NDArray[np.bool_]:
    """Return which of many faces are poor, (n,); the vectors are read in blocks.

    Args:
        vectors: (n, dim) float32, or an array that is read from a file.
        scale: The model's.
    """
    blocks = [quality_of(vectors[at : at + _BLOCK], scale) < POOR for at in range(0, len(vectors), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.bool_)


def doubt(match: Match) -> str:
    """Return which face of a match is too poor to tell who it is, in words; empty where none is."""
    if match.quality is None or match.probability is not None:
        return ""
    return "poor face" if match.quality < POOR else "poor reference"
