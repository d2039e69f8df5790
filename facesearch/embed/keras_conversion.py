"""Converts Keras models to OpenVINO files, in a process of its own (`conversion.run_keras`).

python -m facesearch.embed.keras_conversion IN.keras OUT.xml
"""

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


if __name__ == "__main__":
    # Safe mode refuses layers that would run code from the file, such as Lambda.
    export_network(keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True), Path(sys.argv[2]))
