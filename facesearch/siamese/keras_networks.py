"""The networks that are trained: a head on a trunk's features, a trunk's last blocks, or a small network.

Either is one branch of the Siamese pair: both faces go through the same weights, so the distance is
symmetric, and zero for a face with itself. The vectors have length 2: distances lie between 0 and 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from facesearch.embed.keras_resnet50 import build_model
from facesearch.embed.resnet50 import CARD as RESNET50
from facesearch.models.card import TENSORS
from facesearch.models.tensors import load_tensors
from facesearch.siamese.start import Start
from facesearch.siamese.wish import LENGTH

# Keras has no types.
Network = Any

# The last map at a sixteenth of the picture's size.
LAST = "conv4_block6_out"
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


def build_unfrozen(trunk: Path, blocks: int, start: Start) -> Network:
    """Build ResNet-50 up to the map that `trunk.features` takes, with a head that begins with a start.

    Statistics of batches stay ImageNet's: those of a few faces would be worse.

    Args:
        trunk: ResNet-50's folder in the store.
        blocks: How many of the last residual blocks learn.
        start: Of the head.

    Returns:
        A network for pictures of 0 to 255, BGR, (224, 224, 3).
    """
    whole = build_model(load_tensors(trunk / TENSORS))
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
    # Whitened, it is too delicate to learn; the matrix behind it is what learns in a head alone.
    projection = layers.Dense(start.projection.shape[1], trainable=False)
    head = build_head(start.projection.shape[1])
    network = keras.Model(picture, head(projection(layers.UnitNormalization()(flow))))
    projection.set_weights([start.projection, -(start.mean @ start.projection)])
    return network


def _ended(flow: Any) -> Any:  # noqa: ANN401
    return layers.Rescaling(LENGTH)(layers.UnitNormalization()(flow))
