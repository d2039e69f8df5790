"""Runs the Keras model itself: the reference implementation, and the way to use a CUDA GPU."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facesearch.embed import Embedder, check_crops
from facesearch.errors import ModelError
from facesearch.models.card import TENSORS, Card
from facesearch.models.tensors import load_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Large enough to keep a GPU busy, and small enough to bound the memory of a batch.
_BATCH = 32


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
