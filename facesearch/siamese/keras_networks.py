"""The networks that are trained, and their losses.

A network is a head on a backbone's features, a backbone whose last blocks are fine-tuned, or a small network
from scratch. Each is one branch of the Siamese pair: both faces go through the same weights, so the distance
is symmetric, and zero between a face and itself. The vectors have length 2: distances lie between 0 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from facesearch.embed.keras_networks import build_model
from facesearch.embed.resnet50 import CARD as RESNET50
from facesearch.models.card import TENSORS
from facesearch.models.tensors import load_tensors
from facesearch.siamese.config import LENGTH
from facesearch.siamese.projection import Projection

# Keras and TensorFlow have no types.
Network = Any
Tensor = Any

# The last map at a sixteenth of the picture's size.
LAST = "conv4_block6_out"
FILTERS = (16, 32, 64, 128)
# Keeps the gradient of the square root finite where two vectors are equal.
_TINY = 1e-8
_FAR = 1e9
# Of the logistic loss: a cosine that exceeds the margin by this much has log-odds of 1.
_TEMPERATURE = 0.1


def build_head(dim: int) -> Network:
    """Build a linear layer, initially the identity, for vectors that a `Projection` has projected."""
    vector = keras.Input((dim,))
    matrix = layers.Dense(dim, use_bias=False, kernel_initializer="identity", name="matrix")
    return keras.Model(vector, _normalised(matrix(vector)))


def build_cnn(size: tuple[int, int], dim: int = 64) -> Network:
    """Build a convolutional network for pictures of (height, width, 3), 0 to 255."""
    picture = keras.Input((*size, 3))
    # Each channel of each picture has mean 0 and deviation 1, which removes the light's strength and colour.
    flow = layers.LayerNormalization(axis=[1, 2], center=False, scale=False, epsilon=16.0)(picture)
    for filters in FILTERS:
        flow = layers.Conv2D(filters, 3, padding="same", use_bias=False)(flow)
        flow = layers.BatchNormalization(momentum=0.9)(flow)
        flow = layers.ReLU()(flow)
        flow = layers.MaxPooling2D(2)(flow)
    # Positions matter as well as contents, because the faces are aligned.
    return keras.Model(picture, _normalised(layers.Dense(dim)(layers.Flatten()(flow))))


def build_fine_tuned(backbone: Path, blocks: int, projection: Projection) -> Network:
    """Build ResNet-50 up to the map that `backbone.head_features` uses, with a projection and a head.

    Batch normalisation keeps ImageNet's statistics: those of a few faces would be worse.

    Args:
        backbone: ResNet-50's folder in the store.
        blocks: How many of the last residual blocks are trained.
        projection: The projection before the head.

    Returns:
        A network for pictures of 0 to 255, BGR, (224, 224, 3).
    """
    whole = build_model(load_tensors(backbone / TENSORS))
    places = [place for place, layer in enumerate(whole.layers) if layer.name.endswith("_out")]
    last = next(place for place in places if whole.layers[place].name == LAST)
    before = places.index(last) - blocks
    first = places[before] + 1 if before >= 0 else 0
    for place, layer in enumerate(whole.layers):
        layer.trainable = first <= place <= last and isinstance(layer, layers.Conv2D)
    picture = keras.Input((*RESNET50.size, 3))
    centred = layers.Normalization(mean=RESNET50.mean, variance=(1.0, 1.0, 1.0))(picture)
    flow = keras.Model(whole.input, whole.layers[last].output)(centred)
    flow = layers.AveragePooling2D((2, flow.shape[2]))(flow)
    flow = layers.Flatten()(layers.Permute((3, 1, 2))(flow))
    # Training the whitened projection would be unstable; as in a head alone, the matrix after it is trained.
    projected = layers.Dense(projection.matrix.shape[1], trainable=False)
    head = build_head(projection.matrix.shape[1])
    network = keras.Model(picture, head(projected(layers.UnitNormalization()(flow))))
    projected.set_weights([projection.matrix, -(projection.mean @ projection.matrix)])
    return network


def distances(vectors: Tensor) -> Tensor:
    """Return the euclidean distance of each pair of rows: (n, dim) to (n, n)."""
    squares = tf.reduce_sum(vectors * vectors, axis=1)
    between = squares[:, None] + squares[None] - 2.0 * tf.matmul(vectors, vectors, transpose_b=True)
    return tf.sqrt(tf.maximum(between, 0.0) + _TINY)


def contrastive(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Return the contrastive loss: pull pairs of one person together, push others apart up to the margin.

    Both kinds have the same weight. Source: Hadsell, Chopra, LeCun 2006.
    """
    same, different = _pair_masks(person)
    distance = distances(vectors)
    return _masked_mean(distance**2, same) + _masked_mean(tf.maximum(margin - distance, 0.0) ** 2, different)


def logistic(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Return the logistic loss of the decision by cosine: above the margin one person, below it two.

    Both kinds have the same weight.
    """
    same, different = _pair_masks(person)
    cosine = tf.matmul(vectors, vectors, transpose_b=True) / 4.0
    odds = (cosine - margin) / _TEMPERATURE
    return _masked_mean(tf.nn.softplus(-odds), same) + _masked_mean(tf.nn.softplus(odds), different)


def triplet(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Return the triplet loss with, for each face, the farthest of its person and the nearest stranger.

    Source: Hermans et al. 2017.
    """
    same, different = _pair_masks(person)
    distance = distances(vectors)
    farthest = tf.reduce_max(distance * same, axis=1)
    nearest = tf.reduce_min(distance + _FAR * (1.0 - different), axis=1)
    paired = tf.cast(tf.reduce_sum(same, axis=1) > 0, tf.float32)
    return _masked_mean(tf.maximum(margin + farthest - nearest, 0.0), paired)


def supervised_contrastive(vectors: Tensor, person: Tensor, margin: float) -> Tensor:
    """Return the supervised contrastive loss: those of its person are a face's likeliest in the batch.

    Source: Khosla et al. 2020.

    Args:
        vectors: (n, dim) of length 2.
        person: (n,).
        margin: The temperature that divides the cosines.
    """
    same, _ = _pair_masks(person)
    cosine = tf.matmul(vectors, vectors, transpose_b=True) / 4.0
    logits = cosine / margin - _FAR * tf.eye(tf.shape(person)[0])
    likely = logits - tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    return -_masked_mean(tf.where(same > 0, likely, tf.zeros_like(likely)), same)


# name -> the loss and its default margin (or temperature).
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor, float], Tensor], float]] = {
    "contrastive": (contrastive, 2.4),
    "logistic": (logistic, 0.3),
    "supcon": (supervised_contrastive, 0.2),
    "triplet": (triplet, 0.6),
}


def _normalised(flow: Any) -> Any:  # noqa: ANN401
    return layers.Rescaling(LENGTH)(layers.UnitNormalization()(flow))


def _pair_masks(person: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks of the pairs of one person, without each face with itself, and of two: (n, n) float."""
    equal = tf.cast(person[:, None] == person[None], tf.float32)
    return equal - tf.eye(tf.shape(person)[0]), 1.0 - equal


def _masked_mean(values: Tensor, chosen: Tensor) -> Tensor:
    return tf.reduce_sum(values * chosen) / tf.maximum(tf.reduce_sum(chosen), 1.0)
