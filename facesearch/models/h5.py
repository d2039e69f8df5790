"""Reads the tensors of a Keras .h5 weight file, in either of the layouts that Keras has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelBroken

# In the layout of Keras 3 a layer's variables are numbered, in this order; by how many there are.
_NUMBERED = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def read_h5_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read all float tensors as `layer/variable`.

    Raises:
        ModelBroken: The file is damaged or not HDF5.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            layers = file.get("layers", file.get("model_weights", file))
            return {
                f"{_name(layers[key], key)}/{variable}": value
                for key in layers
                for variable, value in _variables(h5py, layers[key]).items()
            }
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelBroken(f"{path.name} is not a whole HDF5 file: {error}.") from error


def _name(layer: Any, key: str) -> str:  # noqa: ANN401 - h5py has no types
    """Give a layer's name: since Keras 3 the key is its class, and the name stands beside the variables."""
    return str(layer["vars"].attrs.get("name", key)) if "vars" in layer else key


def _variables(h5py: Any, layer: Any) -> dict[str, NDArray[np.float32]]:  # noqa: ANN401 - h5py has no types
    found: dict[str, NDArray[np.float32]] = {}

    def keep(name: str, item: Any) -> None:  # noqa: ANN401
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name.rsplit("/", 1)[-1].partition(":")[0]] = np.asarray(item, np.float32)

    layer.visititems(keep)
    if all(name.isdigit() for name in found):
        names = _NUMBERED.get(len(found), ())
        return {name: found[str(number)] for number, name in enumerate(names)}
    return found
