"""Losses over all pairs of a batch; distances are euclidean, between 0 and 4 for vectors of length 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# A tensor; TensorFlow has no types.
Tensor = Any

# Keeps the root's gradient finite where two vectors are equal.
_TINY = 1e-8
_FAR = 1e9
# Of the logistic loss: a cosine that is so much beyond the margin has log-odds of 1.
_TEMPERATURE = 0.1


def distances(vectors: Tensor) -> Tensor:
    """Give the euclidean distance of each pair of rows: (n, dim) to (n, n)."""
    squares = tf.reduce_sum(vectors * vectors, axis=1)
    between = squares[:, None] + squares[None] - 2.0 * tf.matmul(vectors, vectors, transpose_b=True)
    return tf.sqrt(tf.maximum(between, 0.0) + _TINY)


def _kinds(person: Tensor) -> tuple[Tensor, Tensor]:
    """Give which pairs are of one person (a face with itself left out) and which of two: (n, n) float."""
    equal = tf.cast(person[:, None] == person[None], tf.float32)
    return equal - tf.eye(tf.shape(person)[0]), 1.0 - equal


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return tf.reduce_sum(values * chosen) / tf.maximum(tf.reduce_sum(chosen), 1.0)


def contrastive(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Draw pairs of one person together, push others apart up to the margin (Hadsell, Chopra, LeCun 2006).

    Both kinds weigh the same.
    """
    same, different = _kinds(person)
    distance = distances(vectors)
    return _mean(distance**2, same) + _mean(tf.maximum(margin - distance, 0.0) ** 2, different)


def logistic(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Let cosines above the margin mean one person, those below two, by log-odds; both weigh the same."""
    same, different = _kinds(person)
    cosine = tf.matmul(vectors, vectors, transpose_b=True) / 4.0
    odds = (cosine - margin) / _TEMPERATURE
    return _mean(tf.nn.softplus(-odds), same) + _mean(tf.nn.softplus(odds), different)


def triplet(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """For each face, set its farthest own one against its nearest foreign one (Hermans et al. 2017)."""
    same, different = _kinds(person)
    distance = distances(vectors)
    farthest = tf.reduce_max(distance * same, axis=1)
    nearest = tf.reduce_min(distance + _FAR * (1.0 - different), axis=1)
    paired = tf.cast(tf.reduce_sum(same, axis=1) > 0, tf.float32)
    return _mean(tf.maximum(margin + farthest - nearest, 0.0), paired)


def supervised_contrastive(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Of all faces in the batch, let a face's own ones be the likeliest (Khosla et al. 2020).

    Args:
        vectors: (n, dim) of length 2.
        person: (n,).
        margin: The temperature by which cosines are divided.
    """
    same, _ = _kinds(person)
    cosine = tf.matmul(vectors, vectors, transpose_b=True) / 4.0
    logits = cosine / margin - _FAR * tf.eye(tf.shape(person)[0])
    likely = logits - tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    return -_mean(tf.where(same > 0, likely, tf.zeros_like(likely)), same)


# name -> the loss and the margin (or temperature) that it takes by default.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor, float], Tensor], float]] = {
    "contrastive": (contrastive, 2.4),
    "logistic": (logistic, 0.3),
    "supcon": (supervised_contrastive, 0.2),
    "triplet": (triplet, 0.6),
}
