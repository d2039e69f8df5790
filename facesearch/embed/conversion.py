"""Converts networks: preprocessing baked into a network that OpenVINO reads, and Keras in its own process.

The image networks of keras.applications, as `keras/NAME`, Keras fetches and converts itself. A keras_*.py
module runs in a process of its own, where TensorFlow's memory, threads and log stay.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from facesearch.errors import FetchFailed, ModelError
from facesearch.models.card import NETWORK, Card
from facesearch.models.openvino import load_openvino, read_network, reason, save_network
from facesearch.models.sources import Recipe

# Of a conversion, in seconds.
_LONGEST = 1800

# OpenVINO's classes have no types of their own.
Model = Any

_SIDES = {"NHWC": (1, 2), "NCHW": (2, 3)}
_CHANNELS = {"NHWC": 3, "NCHW": 1}


def run_keras(what: Literal["file", "application"], source: str | Path, target: Path) -> None:
    """Let Keras convert a network, in a process of its own; see `facesearch.embed.keras_networks`.

    Args:
        what: What `source` is.
        source: A file of Keras, or the name of a network of keras.applications.
        target: For a file, the .xml to be written; for an application, the folder where all is written.

    Raises:
        ModelError: The process failed; the message ends with its last line.
        OSError: The disk is full.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [_package_home(), os.environ.get("PYTHONPATH")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # to convert needs no GPU, and a busy one would fail it
    }
    if what == "application":
        # Keras' download goes there too, so that a killed process leaves nothing behind.
        environment["KERAS_HOME"] = str(target)
    call = [sys.executable, "-m", "facesearch.embed.keras_networks", what, str(source), str(target)]
    # In an empty folder: "-m" looks for modules in the current one first, and that is the user's.
    with tempfile.TemporaryDirectory(prefix="facesearch-") as empty:
        try:
            done = subprocess.run(
                call, cwd=empty, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=_LONGEST, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ModelError("Keras did not end the conversion in half an hour.") from error
    if done.returncode and "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        raise ModelError(f"Keras failed: {_last_words(done.stderr, done.returncode)}.")


def store_network(source: Path, card: Card, folder: Path) -> int:
    """Bake a card's preprocessing into a network and write it as network.xml and network.bin.

    Args:
        source: A network that takes one picture, in a format that OpenVINO reads (.xml, .onnx, .tflite).
        card: Size, order of channels, mean and scale; its dim is ignored.
        folder: Where the files are written.

    Returns:
        The length of the vectors.

    Raises:
        ModelError: The network cannot be read, or does not turn pictures into vectors.
        OSError: The disk is full.
    """
    openvino = load_openvino()
    try:
        model, dim = _prepare(openvino, source, card)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot use {source.name}: {reason(error)}.") from error
    save_network(openvino, model, folder / NETWORK)
    return dim


def own_size(source: Path) -> tuple[int, int]:
    """Return the height and width that a network's input is fixed to.

    Raises:
        ModelError: The network cannot be read, or takes pictures of any size.
    """
    try:
        model = read_network(source)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot use {source.name}: {reason(error)}.") from error
    layouts = _image_layouts(model, source.name)
    shape = model.input().partial_shape
    for layout in layouts:
        height, width = (shape[axis] for axis in _SIDES[layout])
        if height.is_static and width.is_static:
            return int(height.get_length()), int(width.get_length())
    raise ModelError(f"{source.name} takes pictures of any size: its input is {shape}.", "Give its --size.")


def _prepare(openvino: Any, source: Path, card: Card) -> tuple[Model, int]:  # noqa: ANN401
    """Return the network to store, and the length of its vectors."""
    model = read_network(source)
    layout = _image_layout(model, card.size, source.name)
    if len(model.outputs) != 1:
        raise ModelError(f"{source.name} gives {len(model.outputs)} outputs where one vector is wanted.")
    try:
        ready = _finish(openvino, model, layout, card, batch=-1)
        if ready.output().partial_shape[0].is_dynamic:
            return ready, _vector_length(ready, source.name)
    except RuntimeError:
        pass
    # The batch is written into the network's own nodes: it serves one crop at a time.
    ready = _finish(openvino, read_network(source), layout, card, batch=1)
    return ready, _vector_length(ready, source.name)


def _image_layouts(model: Model, name: str) -> list[str]:
    """Return the layouts in which the network may take a picture: "NHWC", "NCHW", or both."""
    if len(model.inputs) != 1:
        raise ModelError(f"{name} takes {len(model.inputs)} inputs where one picture is wanted.")
    shape = model.input().partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        raise ModelError(f"{name} does not take pictures: its input is {shape}.")
    layouts = [layout for layout, axis in _CHANNELS.items() if _may_be(shape[axis], 3)]
    if not layouts:
        raise ModelError(f"{name} does not take colour pictures: its input is {shape}.")
    return layouts


def _image_layout(model: Model, size: tuple[int, int], name: str) -> str:
    """Return the layout in which pictures of this size fit."""
    layouts = _image_layouts(model, name)
    shape = model.input().partial_shape
    for layout in layouts:
        if all(_may_be(shape[axis], side) for axis, side in zip(_SIDES[layout], size, strict=True)):
            return layout
    wanted = f"{size[0]}x{size[1]}"
    raise ModelError(f"{name} takes no pictures of {wanted}: its input is {shape}.", "Give its --size.")


def _may_be(dimension: Any, length: int) -> bool:  # noqa: ANN401
    return bool(dimension.is_dynamic) or dimension.get_length() == length


def _finish(openvino: Any, model: Model, layout: str, card: Card, batch: int) -> Model:  # noqa: ANN401
    model.reshape([batch, *card.size, 3] if layout == "NHWC" else [batch, 3, *card.size])
    steps = openvino.preprocess.PrePostProcessor(model)
    colors, float32 = openvino.preprocess.ColorFormat, openvino.Type.f32
    crops = steps.input()
    crops.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    crops.tensor().set_color_format(colors.BGR)
    crops.model().set_layout(openvino.Layout(layout))
    work = crops.preprocess().convert_element_type(float32)
    if card.color == "rgb":
        work.convert_color(colors.RGB)
    if any(card.mean):
        work.mean(list(card.mean))
    if card.scale != (1.0, 1.0, 1.0):
        work.scale(list(card.scale))
    steps.output().tensor().set_element_type(float32)
    return _pooled(openvino, steps.build(), _SIDES[layout])


def _pooled(openvino: Any, model: Model, sides: tuple[int, int]) -> Model:  # noqa: ANN401
    """Return the network with a map of features averaged over its two sides; vectors are unchanged."""
    shape = model.output().partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        return model
    ops = openvino.opset13
    vectors = ops.reduce_mean(model.get_results()[0].input_value(0), list(sides), keep_dims=False)
    return openvino.Model([ops.result(vectors)], model.get_parameters(), model.get_friendly_name())


def _vector_length(model: Model, name: str) -> int:
    shape = model.output().partial_shape
    if shape.rank.is_dynamic or len(shape) != 2 or shape[1].is_dynamic:
        raise ModelError(
            f"{name} gives {shape} where one vector for each picture is wanted.",
            "Cut the network where it gives (n, dim), or (n, dim, height, width), which is averaged.",
        )
    return int(shape[1].get_length())


def _package_home() -> str:
    return str(Path(__file__).resolve().parents[2])


def _last_words(log: str, status: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else f"it ended with status {status}"


PREFIX = "keras/"

# Written out, since to ask Keras takes seconds; a test compares.
APPLICATIONS = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"DenseNet{depth}" for depth in (121, 169, 201)),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("InceptionResNetV2", "InceptionV3", "Xception"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *("NASNetMobile", "NASNetLarge"),
    *(f"ResNet{depth}{version}" for depth in (50, 101, 152) for version in ("", "V2")),
    *("VGG16", "VGG19"),
)


@dataclass(frozen=True, slots=True)
class KerasDownload:
    """Keras' own download of an application's ImageNet weights; Keras checks their digest."""

    application: str

    def __str__(self) -> str:
        return f"Keras' own download of {self.application}"

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Have Keras fetch the weights and write plain.xml and facts.json; see `Source`."""
        del progress  # Keras draws it on a stdout that is not the user's
        try:
            run_keras("application", self.application, folder)
        except ModelError as error:
            raise FetchFailed(error.message) from error
        return folder / "facts.json"


def application_recipe(name: str) -> Recipe | None:
    """Return the recipe of `keras/NAME`; None for every other name."""
    application = name.removeprefix(PREFIX)
    if application == name or application not in APPLICATIONS:
        return None
    # Size, preprocessing and length of the vectors are known when Keras has built the network.
    card = Card(name=name, dim=1, size=(224, 224), margin=0.4, detector="haar", licence="see Keras")
    return Recipe(
        replace(card, source=f"keras.applications.{application}, ImageNet weights, no top, average pooling"),
        (KerasDownload(application),),
        partial(_build, card),
        origin="",
        by_hand=f"a .keras file of {application}",
    )


def _build(card: Card, facts: Path, folder: Path) -> Card:
    said = json.loads(facts.read_text(encoding="utf-8"))
    card = replace(
        card,
        size=tuple(said["size"]),
        color=said["color"],
        mean=tuple(said["mean"]),
        scale=tuple(said["scale"]),
        digest=said["digest"],
    )
    return replace(card, dim=store_network(facts.with_name("plain.xml"), card, folder))
