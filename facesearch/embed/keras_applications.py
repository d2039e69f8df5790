"""Builds a network of keras.applications and writes it for OpenVINO, with what its preprocessing does.

Runs in a process of its own (`conversion.run_keras`).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.models.card import Channels, Color
from facesearch.models.tensors import tensors_digest


@dataclass(frozen=True)
class Preprocessing:
    """How pixels, 0 to 255, become a network's input: (pixel - mean) / scale, in its order of channels."""

    color: Color
    mean: Channels
    scale: Channels


def write_application(name: str, folder: Path, weights: str | None = "imagenet") -> Any:  # noqa: ANN401
    """Write plain.xml, plain.bin and facts.json into a folder, and return the Keras model."""
    import keras

    from facesearch.embed.keras_conversion import export_network

    build = getattr(keras.applications, name)
    size = build(weights=None).input_shape[1:3]
    model = build(include_top=False, pooling="avg", weights=weights, input_shape=(*size, 3))
    export_network(model, folder / "plain.xml")
    preprocessing = read_preprocessing(sys.modules[build.__module__].preprocess_input)
    tensors = {variable.path: np.asarray(variable) for variable in model.weights}
    facts = {**asdict(preprocessing), "size": size, "digest": tensors_digest(tensors)}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return model


def read_preprocessing(preprocess: Any) -> Preprocessing:  # noqa: ANN401 - a function of Keras
    """Find out what a family's `preprocess_input` does, by passing it black and the three pure colours.

    All families shift and scale each channel, and some swap red and blue. Four pixels reveal all of that, so
    no table of families has to be maintained.
    """
    pixels = np.vstack([np.zeros((1, 3)), 255 * np.eye(3)]).astype(np.float32).reshape(1, 1, 4, 3)
    answers = np.asarray(preprocess(pixels.copy(), data_format="channels_last"), np.float64).reshape(4, 3)
    black, steps = answers[0], answers[1:] - answers[0]
    color: Color = "rgb" if steps[0, 0] else "bgr"
    gain = (np.diag(steps) if color == "rgb" else np.diag(steps[::-1])) / 255
    mean, scale = (np.round(values, 4) + 0.0 for values in (-black / gain, 1 / gain))
    return Preprocessing(color, tuple(mean.tolist()), tuple(scale.tolist()))


if __name__ == "__main__":
    # The download goes to the work folder, so that a killed process leaves nothing behind.
    os.environ["KERAS_HOME"] = sys.argv[2]
    write_application(sys.argv[1], Path(sys.argv[2]))
