"""Turns a Keras model into an OpenVINO file; for the modules that `conversion.run_keras` runs."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from facesearch.embed.openvino_runtime import save_network


def export_network(model: Any, path: Path) -> None:  # noqa: ANN401 - Keras has no types
    """Write a Keras model as an OpenVINO .xml and .bin, without preprocessing."""
    # Before anything of the conversion is imported: it starts processes that send usage figures.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino
    from openvino.frontend.tensorflow import utils

    # OpenVINO's own deletes a name through exec(), which fails from Python 3.13 on (PEP 667).
    utils.get_environment_setup = _environment
    # OpenVINO converts a functional model; a Sequential one is the same graph once it is written as one.
    functional = keras.Model(model.inputs, model.outputs)
    save_network(openvino, openvino.convert_model(functional), path)


def _environment(_framework: str) -> dict[str, str]:
    """Say what the conversion runs in, in OpenVINO's words."""
    return {
        "python_version": platform.python_version(),
        "tensorflow": version("tensorflow"),
        "sys_platform": sys.platform,
    }
