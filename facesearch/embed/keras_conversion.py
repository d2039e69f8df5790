"""Converts Keras models to OpenVINO files, in a process of its own (`conversion.run_keras`).

python -m facesearch.embed.keras_conversion IN.keras OUT.xml

ResNet-50 is given as its tensors; it is built here, also to run it in TensorFlow as the reference.
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from facesearch.embed.openvino_runtime import save_network
from facesearch.errors import ModelBroken
from facesearch.models.card import TENSORS
from facesearch.models.tensors import Tensors, load_tensors


def build_model(tensors: Tensors) -> Any:  # noqa: ANN401 - Keras has no types
    """Return ResNet-50 with these weights and average pooling instead of its head: 2048 numbers."""
    model = keras.applications.ResNet50(
        include_top=False, pooling="avg", weights=None, input_shape=(224, 224, 3)
    )
    for variable in model.weights:
        value = tensors.get(variable.path)
        if value is None or value.shape != tuple(variable.shape):
            raise ModelBroken(f"The weights of ResNet-50 lack a usable {variable.path}.")
        variable.assign(value)
    return model


def export_network(model: Any, path: Path) -> None:  # noqa: ANN401 - Keras has no types
    """Write a Keras model as an OpenVINO .xml and .bin, without preprocessing."""
    # Before anything of the conversion is imported: it starts processes that send usage figures.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino
    from openvino.frontend.tensorflow import utils

    # OpenVINO's version deletes a name through exec(), which fails from Python 3.13 on (PEP 667).
    utils.get_environment_setup = _environment
    # OpenVINO converts functional models; a Sequential model becomes one from its inputs and outputs.
    functional = keras.Model(model.inputs, model.outputs)
    save_network(openvino, openvino.convert_model(functional), path)


def _environment(_framework: str) -> dict[str, str]:
    """Return the versions that the conversion runs with, under OpenVINO's names."""
    return {
        "python_version": platform.python_version(),
        "tensorflow": version("tensorflow"),
        "sys_platform": sys.platform,
    }


def read_model(file: Path) -> Any:  # noqa: ANN401
    """Return the model of a file. Safe mode refuses layers that would run code from it, such as Lambda."""
    if file.name == TENSORS:
        return build_model(load_tensors(file))
    return keras.saving.load_model(file, compile=False, safe_mode=True)


if __name__ == "__main__":
    export_network(read_model(Path(sys.argv[1])), Path(sys.argv[2]))
