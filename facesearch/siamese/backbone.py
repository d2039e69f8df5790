"""What a head stands on: a network's own vectors, or rows of an earlier map where it was not taught persons.

A network that was taught what things are drops, in its last layers, what tells one face from another. Its
map at a sixteenth of the picture's size still holds it. Averaged over the width, a row says what there is
at that height of the face, wherever it is across: turning the head or mirroring the photo changes little.
On held-out people of LFW a start (`start.find_start`) on ResNet-50's rows decides 86.8 % of the pairs
rightly, on its vectors 78.2 %, on the whole map, which is seven times as large, 87.0 %; of AT&T's 95.8, 95.3
and 94.5 %.
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
from facesearch.embed.openvino_runtime import load_openvino, openvino_core, reason, save_network
from facesearch.errors import ModelError
from facesearch.models.card import NETWORK, Card

STRIDE = 16
# Fewer rows than this cannot tell eyes from a mouth.
LEAST_ROWS = 7


def features(openvino: Any, model: Any, card: Card) -> Any:  # noqa: ANN401 (OpenVINO has no types)
    """Return the output of a network's graph that a head stands on, (n, k).

    Args:
        openvino: The package.
        model: The stored network; nodes are added to its graph.
        card: The network's.
    """
    found = None if card.identity else _map(model, card.size)
    if found is None:
        return model.get_results()[0].input_value(0)
    ops = openvino.opset13
    channels, height = (found.get_partial_shape()[axis].get_length() for axis in (1, 2))
    rows = ops.reduce_mean(found, np.array([3]), False)
    together = 2 if height >= 2 * LEAST_ROWS and height % 2 == 0 else 1
    pairs = ops.reshape(rows, np.array([-1, channels, height // together, together]), False)
    averaged = ops.reduce_mean(pairs, np.array([3]), False)
    flat = np.array([-1, channels * (height // together)])
    return ops.reshape(averaged, flat, False).output(0)


def beside_vectors(card: Card) -> Callable[[Any, Any], Any]:
    """Return a function that extends a stored network: its vectors, followed by a head's features."""

    def cut(openvino: Any, model: Any) -> Any:  # noqa: ANN401
        vectors = model.get_results()[0].input_value(0)
        both = openvino.opset13.concat([vectors, features(openvino, model, card)], 1)
        return openvino.Model([openvino.opset13.result(both)], model.get_parameters(), "features")

    return cut


def width(folder: Path, card: Card) -> int:
    """Return how many numbers `beside_vectors` makes of a face.

    Raises:
        ModelError: The network cannot be read.
    """
    openvino = load_openvino()
    try:
        model = openvino_core().read_model(folder / NETWORK)
        return int(beside_vectors(card)(openvino, model).output().partial_shape[1].get_length())
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot use the model {card.name}: {reason(error)}.") from error


def _map(model: Any, size: tuple[int, int]) -> Any:  # noqa: ANN401
    """Return the last map, (n, channels, height, width), at a sixteenth of the picture's size."""
    sides = tuple(side // STRIDE for side in size)
    faces = model.input().partial_shape[0]
    found = None
    for node in model.get_ordered_ops():
        for output in node.outputs():
            shape = output.get_partial_shape()
            if shape.rank.is_dynamic or len(shape) != 4 or any(shape[axis].is_dynamic for axis in (1, 2, 3)):
                continue
            # Weights of a convolution have no axis of faces.
            if shape[0] == faces and tuple(shape[axis].get_length() for axis in (2, 3)) == sides:
                found = output
    return found if sides[0] >= LEAST_ROWS else None


Build = Callable[[Path], Card]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer between two normalisations.

    Attributes:
        weights: (k, dim), on features of unit length.
        bias: (dim,).
        length: Of the vectors that come out.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    length: float


def head_on_trunk(trunk: Path, base: Card, head: Head, card: Card) -> Build:
    """Return what writes a stored trunk, as far as it is needed, with a head behind it.

    Args:
        trunk: The trunk's folder in the store.
        base: Its card.
        head: On what `trunk.features` gives.
        card: The model's.
    """

    def build(folder: Path) -> Card:
        openvino = load_openvino()
        try:
            model = openvino_core().read_model(trunk / NETWORK)
            ops, float32 = openvino.opset13, np.float32
            axis = ops.constant(np.array([1]))
            flow: Any = ops.normalize_l2(features(openvino, model, base), axis, 1e-12, "max")
            flow = ops.add(
                ops.matmul(flow, ops.constant(head.weights), False, False), ops.constant(head.bias[None])
            )
            flow = ops.normalize_l2(flow, axis, 1e-12, "max")
            flow = ops.multiply(flow, ops.constant(np.full((1, 1), head.length, float32)))
            whole = openvino.Model([ops.result(flow)], model.get_parameters(), card.name.replace("/", "_"))
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot put the head on {trunk.name}: {reason(error)}.") from error
        save_network(openvino, whole, folder / NETWORK)
        return card

    return build


def network_on_pixels(network: Any, card: Card) -> Build:  # noqa: ANN401 (Keras has no types)
    """Return what writes a Keras network that takes crops as they are, 0 to 255, BGR."""

    def build(folder: Path) -> Card:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            saved, plain = Path(work) / "network.keras", Path(work) / "plain.xml"
            network.save(saved)
            run_keras("keras_conversion", saved, plain)
            store_network(plain, card, folder)
        return card

    return build
