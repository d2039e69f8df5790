"""Networks in Keras: converted to OpenVINO in a process of their own (`conversion.run_keras`), and run.

    python -m facesearch.embed.keras_networks file IN.keras OUT.xml
    python -m facesearch.embed.keras_networks application NAME FOLDER

ResNet-50 is given as its tensors; it is built here, also to run it in TensorFlow as the reference. A network
of keras.applications is fetched by Keras; what its preprocessing does is found out and written down.

Keras is imported where it is used: TensorFlow writes to the terminal as soon as it is loaded, unless that is
held back.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facesearch.embed import Embedder, check_crops
from facesearch.errors import ModelBroken, ModelError
from facesearch.models.card import TENSORS, Card, Channels, Color
from facesearch.models.openvino import save_network
from facesearch.models.tensors import Tensors, load_tensors, tensors_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Large enough to keep a GPU busy, and small enough to bound the memory of a batch.
_BATCH = 32


@dataclass(frozen=True)
class Preprocessing:
    """How pixels, 0 to 255, become a network's input: (pixel - mean) / scale, in its order of channels."""

    color: Color
    mean: Channels
    scale: Channels


def build_model(tensors: Tensors) -> Any:  # noqa: ANN401 - Keras has no types
    """Return ResNet-50 with these weights and average pooling instead of its head: 2048 numbers."""
    import keras

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
    import keras

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
    import keras

    if file.name == TENSORS:
        return build_model(load_tensors(file))
    return keras.saving.load_model(file, compile=False, safe_mode=True)


def write_application(name: str, folder: Path, weights: str | None = "imagenet") -> Any:  # noqa: ANN401
    """Write plain.xml, plain.bin and facts.json into a folder, and return the Keras model."""
    import keras

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


class KerasEmbedder(Embedder):
    """A model in TensorFlow, on a CUDA GPU where TensorFlow sees one.

    Args:
        card: The model's card, as it was stored.
        folder: The model's folder.
        builder: The module whose `build_model` makes the Keras model of the stored tensors.
        precision: "auto" lets a GPU multiply in TF32, "f32" does not; only OpenVINO has bf16.

    Raises:
        ModelBroken: The tensors are missing or damaged.
        ModelError: The precision is not available.
    """

    def __init__(self, card: Card, folder: Path, builder: str, *, precision: str = "auto") -> None:
        if precision not in ("auto", "f32"):
            raise ModelError(f"TensorFlow does not run {card.name} in {precision}.", "Use auto or f32.")
        self.card, self.precision = card, "f32"
        tensors = load_tensors(folder / TENSORS)
        with _greetings_held():
            tensorflow = _load_tensorflow(tf32=precision == "auto")
            model = import_module(builder).build_model(tensors)
        crops = tensorflow.TensorSpec((None, *card.size, 3), tensorflow.uint8)
        self._forward = tensorflow.function(_forward(tensorflow, model, card), input_signature=[crops])

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector of each crop; see `Embedder.embed`."""
        check_crops(crops, self.card)
        vectors = np.empty((len(crops), self.card.dim), np.float32)
        for start in range(0, len(crops), _BATCH):
            block = crops[start : start + _BATCH]
            vectors[start : start + len(block)] = self._forward(block).numpy()
        return vectors


def _load_tensorflow(*, tf32: bool) -> Any:  # noqa: ANN401 - TensorFlow has no types
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    for gpu in tensorflow.config.list_physical_devices("GPU"):
        # Otherwise TensorFlow takes all of the GPU's memory at once. It raises if the GPU is in use already.
        with suppress(RuntimeError):
            tensorflow.config.experimental.set_memory_growth(gpu, True)
    tensorflow.config.experimental.enable_tensor_float_32_execution(tf32)
    return tensorflow


@contextmanager
def _greetings_held() -> Iterator[None]:
    """Hold back what TensorFlow's C++ code writes to stderr at its start; print it only if the start fails.

    The log level does not help: these lines are written before it is read.
    """
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        screen = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(screen, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


def _forward(tensorflow: Any, model: Any, card: Card) -> Any:  # noqa: ANN401
    def forward(crops: Any) -> Any:  # noqa: ANN401
        pixels = tensorflow.cast(crops, tensorflow.float32)
        if card.color == "rgb":
            pixels = pixels[..., ::-1]
        return model((pixels - card.mean) / card.scale, training=False)

    return forward


if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    if what == "application":
        write_application(source, Path(target))
    else:
        export_network(read_model(Path(source)), Path(target))
