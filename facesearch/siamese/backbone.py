"""The networks that are stored: a backbone with a head on it, or a network from pixels to vectors.

A head stands on the backbone's own vectors where the backbone was trained to recognise people. A network that
was trained to recognise objects drops, in its last layers, what tells one face from another; the feature map
at a sixteenth of the picture's size still holds it. Averaged over the width, a row of the map describes one
height of the face, wherever it is across: turning the head or mirroring the photo changes little.

On held-out people of LFW, a projection (`projection.fit_projection`) of ResNet-50's rows decides 86.8 % of
the pairs correctly, of its vectors 78.2 %, and of the whole map, which is seven times as large, 87.0 %; for
AT&T's people these are 95.8, 95.3 and 94.5 %.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.embed.conversion import run_keras, store_network
from facesearch.errors import ModelError
from facesearch.models.card import NETWORK, Card
from facesearch.models.openvino import load_openvino, read_network, reason, save_network

STRIDE = 16
# Fewer rows than this cannot tell the eyes from the mouth.
LEAST_ROWS = 7

# Writes a network into a folder and returns its card.
Build = Callable[[Path], Card]


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A linear layer between two normalisations.

    Attributes:
        weights: (k, dim), applied to features of length 1.
        bias: (dim,).
        length: The length of the vectors that come out.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    length: float


def head_features(openvino: Any, model: Any, card: Card) -> Any:  # noqa: ANN401 (OpenVINO has no types)
    """Return the output of a network's graph that a head stands on, (n, k).

    Args:
        openvino: The package.
        model: The stored network; nodes are added to its graph.
        card: The network's card.
    """
    feature_map = None if card.identity else _feature_map(model, card.size)
    if feature_map is None:
        return model.get_results()[0].input_value(0)
    ops = openvino.opset13
    channels, height = (feature_map.get_partial_shape()[axis].get_length() for axis in (1, 2))
    rows = ops.reduce_mean(feature_map, np.array([3]), False)
    together = 2 if height >= 2 * LEAST_ROWS and height % 2 == 0 else 1
    pairs = ops.reshape(rows, np.array([-1, channels, height // together, together]), False)
    averaged = ops.reduce_mean(pairs, np.array([3]), False)
    flat = np.array([-1, channels * (height // together)])
    return ops.reshape(averaged, flat, False).output(0)


def vectors_and_features(card: Card) -> Callable[[Any, Any], Any]:
    """Return a function that makes a stored network return its vectors followed by a head's features."""

    def cut(openvino: Any, model: Any) -> Any:  # noqa: ANN401
        vectors = model.get_results()[0].input_value(0)
        both = openvino.opset13.concat([vectors, head_features(openvino, model, card)], 1)
        return openvino.Model([openvino.opset13.result(both)], model.get_parameters(), "features")

    return cut


def feature_width(folder: Path, card: Card) -> int:
    """Return how many numbers `vectors_and_features` gives for a face.

    Raises:
        ModelError: The network cannot be read.
    """
    openvino = load_openvino()
    try:
        model = read_network(folder / NETWORK)
        return int(vectors_and_features(card)(openvino, model).output().partial_shape[1].get_length())
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot use the model {card.name}: {reason(error)}.") from error


def head_on_backbone(backbone: Path, base: Card, head: LinearHead, card: Card) -> Build:
    """Return a function that writes the needed part of a stored backbone with a head on it.

    Args:
        backbone: The backbone's folder in the store.
        base: The backbone's card.
        head: The head, on what `head_features` gives.
        card: The new model's card.
    """

    def build(folder: Path) -> Card:
        openvino = load_openvino()
        try:
            model = read_network(backbone / NETWORK)
            ops, float32 = openvino.opset13, np.float32
            axis = ops.constant(np.array([1]))
            flow: Any = ops.normalize_l2(head_features(openvino, model, base), axis, 1e-12, "max")
            flow = ops.add(
                ops.matmul(flow, ops.constant(head.weights), False, False), ops.constant(head.bias[None])
            )
            flow = ops.normalize_l2(flow, axis, 1e-12, "max")
            flow = ops.multiply(flow, ops.constant(np.full((1, 1), head.length, float32)))
            whole = openvino.Model([ops.result(flow)], model.get_parameters(), card.name.replace("/", "_"))
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot put the head on {backbone.name}: {reason(error)}.") from error
        save_network(openvino, whole, folder / NETWORK)
        return card

    return build


def pixel_network(network: Any, card: Card) -> Build:  # noqa: ANN401 (Keras has no types)
    """Return a function that writes a Keras network whose input is crops as they are, BGR, 0 to 255."""

    def build(folder: Path) -> Card:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            saved, plain = Path(work) / "network.keras", Path(work) / "plain.xml"
            network.save(saved)
            run_keras("file", saved, plain)
            store_network(plain, card, folder)
        return card

    return build


def _feature_map(model: Any, size: tuple[int, int]) -> Any:  # noqa: ANN401
    """Return the last map, (n, channels, height, width), at a sixteenth of the picture's size, or None."""
    sides = tuple(side // STRIDE for side in size)
    faces = model.input().partial_shape[0]
    found = None
    for node in model.get_ordered_ops():
        for output in node.outputs():
            shape = output.get_partial_shape()
            if shape.rank.is_dynamic or len(shape) != 4 or any(shape[axis].is_dynamic for axis in (1, 2, 3)):
                continue
            # The weights of a convolution have no axis of faces.
            if shape[0] == faces and tuple(shape[axis].get_length() for axis in (2, 3)) == sides:
                found = output
    return found if sides[0] >= LEAST_ROWS else None
