"""Builds Keras' ResNet-50 from its tensors, to convert it or to run it in TensorFlow as the reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras

from facesearch.embed.keras_conversion import export_network
from facesearch.errors import ModelBroken
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


if __name__ == "__main__":
    export_network(build_model(load_tensors(Path(sys.argv[1]))), Path(sys.argv[2]))
