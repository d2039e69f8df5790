"""The networks that are trained: a head on a trunk's vectors, or a small network on pixels.

Either is one branch of the Siamese pair: both faces go through the same weights, so the distance is
symmetric, and zero for a face with itself. The vectors have length 2: distances lie between 0 and 4.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

# Keras has no types.
Network = Any

LENGTH = 2.0
FILTERS = (16, 32, 64, 128)


def build_head(dim: int) -> Network:
    """Build a linear layer, from the identity, on vectors that `start.Start` has projected."""
    vector = keras.Input((dim,))
    matrix = layers.Dense(dim, use_bias=False, kernel_initializer="identity", name="matrix")
    return keras.Model(vector, _ended(matrix(vector)))


def build_cnn(size: tuple[int, int], dim: int = 64) -> Network:
    """Build a convolutional network for pictures of 0 to 255, (height, width, 3)."""
    picture = keras.Input((*size, 3))
    # Each channel of each picture at mean 0 and deviation 1: undoes the light's strength and colour.
    flow = layers.LayerNormalization(axis=[1, 2], center=False, scale=False, epsilon=16.0)(picture)
    for filters in FILTERS:
        flow = layers.Conv2D(filters, 3, padding="same", use_bias=False)(flow)
        flow = layers.BatchNormalization(momentum=0.9)(flow)
        flow = layers.ReLU()(flow)
        flow = layers.MaxPooling2D(2)(flow)
    # Where something is counts as well as what it is: the faces lie alike.
    return keras.Model(picture, _ended(layers.Dense(dim)(layers.Flatten()(flow))))


def _ended(flow: Any) -> Any:  # noqa: ANN401
    return layers.Rescaling(LENGTH)(layers.UnitNormalization()(flow))
