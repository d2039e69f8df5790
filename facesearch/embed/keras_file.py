"""Turns a .keras file into an OpenVINO file; runs in a process of its own (`conversion.run_keras`)."""

from __future__ import annotations

import sys
from pathlib import Path

import keras

from facesearch.embed.keras_conversion import export_network

if __name__ == "__main__":
    # Safe mode refuses what would run code of the file's own, such as a Lambda layer.
    export_network(keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True), Path(sys.argv[2]))
