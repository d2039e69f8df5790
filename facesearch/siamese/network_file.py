"""A trained network as a model of the store: one file for OpenVINO, crops in, vectors out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.embed.conversion import run_keras
from facesearch.embed.network import store_network
from facesearch.embed.vino import load_openvino, openvino_core, reason, save_network
from facesearch.errors import ModelError
from facesearch.models.card import NETWORK, Card
from facesearch.siamese.trunk import features

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
    """Give what writes a stored trunk, as far as it is needed, with a head behind it.

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
    """Give what writes a Keras network that takes crops as they are, 0 to 255, BGR."""

    def build(folder: Path) -> Card:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            saved, plain = Path(work) / "network.keras", Path(work) / "plain.xml"
            network.save(saved)
            run_keras("keras_file", saved, plain)
            store_network(plain, card, folder)
        return card

    return build
