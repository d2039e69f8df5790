"""Trains a network on batches of faces, epoch by epoch, until validation says that it is enough."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from facesearch.errors import TrainingError
from facesearch.siamese.data import Batch, Sampler
from facesearch.siamese.keras_networks import LOSSES
from facesearch.siamese.run import Epoch, State

# What a batch's faces look like to the network: float32, the first axis being the faces.
Inputs = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
# The vectors of views of photos.
Embed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
# The accuracy and the AUC of a network.
Validate = Callable[[Embed], tuple[float, float]]

# Faces in one call where nothing is learned.
FORWARD = 64


@dataclass(frozen=True, slots=True)
class Lesson:
    """How a network is trained.

    Attributes:
        loss: One of `LOSSES`.
        margin: The loss's; None for its default.
        rate: Where Adam's learning rate starts; it falls along a cosine to a hundredth.
        epochs: How many at most.
        patience: So many epochs without a better AUC end the training.
        seed: Of all that is drawn.
    """

    loss: str
    margin: float | None
    rate: float
    epochs: int
    patience: int
    seed: int


def prepare(seed: int) -> None:
    """Make all that is drawn from here on the same for the same seed; call it before a network is built."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


class Trainer:
    """Trains one network.

    Args:
        network: Its weights are changed.
        lesson: How it is trained.
        sampler: Draws the batches.
        inputs: Gives the faces of a batch, from photos and views; called in threads of its own.
        notify: Is told in sentences of what is out of the ordinary.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401 (Keras has no types)
        lesson: Lesson,
        sampler: Sampler,
        inputs: Inputs,
        notify: Callable[[str], None],
    ) -> None:
        self._network, self._lesson, self._sampler = network, lesson, sampler
        self._inputs, self._notify = inputs, notify
        self._interrupts = _Interrupts()
        self._optimizer = keras.optimizers.Adam(lesson.rate)
        self._optimizer.build(network.trainable_variables)
        loss, margin = LOSSES[lesson.loss]
        self._loss = loss
        self._margin = margin if lesson.margin is None else lesson.margin
        shape = (None, *network.input_shape[1:])
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int64)]
        self._step = tf.function(self._learn, input_signature=signature)
        self._vectors = tf.function(
            lambda faces: network(faces, training=False), input_signature=signature[:1]
        )

    def run(self, validate: Validate, state: State | None, on_epoch: Callable[[State], None]) -> State:
        """Train to the end, or until Ctrl-C; the network then has the weights with which it was best.

        Args:
            validate: Measures the network.
            state: Where an earlier run stopped; None to begin.
            on_epoch: Told of each epoch, so that it can be shown and kept.

        Raises:
            TrainingError: The loss is no number any more before any epoch was good.
        """
        state = self._begin(state, validate)
        if not state.epochs:
            on_epoch(state)
        try:
            with self._interrupts:
                while not self._enough(state):
                    self._epoch(state, validate)
                    on_epoch(state)
                    self._interrupts.heed()
        except KeyboardInterrupt:
            if not state.epochs:
                raise  # nothing was learned
            self._notify(f"Interrupted after {state.epochs} epochs: the best so far is kept.")
        except _NoNumber as error:
            if not state.epochs:
                raise TrainingError(
                    "The loss is no number any more in the first epoch.",
                    "Choose a smaller --rate or another --loss.",
                ) from error
            kept = state.best_epoch.number
            self._notify(f"The loss is no number any more: training ends, epoch {kept} is kept.")
        self._network.set_weights(state.best)
        return state

    def embed(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of views of photos, (n, dim) float32; only some faces are in memory at once.

        Raises:
            TrainingError: They are no numbers.
        """
        parts = [
            self._vectors(self._inputs(photo[at : at + FORWARD], view[at : at + FORWARD])).numpy()
            for at in range(0, len(photo), FORWARD)
        ]
        vectors = np.concatenate(parts)
        if not np.isfinite(vectors).all():
            raise _NoNumber  # of weights that are too large, though they are numbers
        return vectors

    def _begin(self, state: State | None, validate: Validate) -> State:
        if state is None:
            began = time.monotonic()
            accuracy, auc = validate(self.embed)
            start = Epoch(0, None, accuracy, auc, time.monotonic() - began)
            weights = self._network.get_weights()
            return State(weights, weights, self._variables(), [start])
        try:
            for weights in (state.best, state.weights):
                self._network.set_weights(weights)
            for variable, value in zip(self._optimizer.variables, state.optimizer, strict=True):
                variable.assign(value)
        except (ValueError, TypeError) as error:
            raise TrainingError(
                "The run to go on with is of another network.", "Leave out --resume to begin anew."
            ) from error
        return state

    def _variables(self) -> list[NDArray[Any]]:
        return [variable.numpy() for variable in self._optimizer.variables]

    def _enough(self, state: State) -> bool:
        if state.epochs >= self._lesson.epochs:
            return True
        figures = [(epoch.auc, epoch.accuracy) for epoch in state.history]
        # Of epochs that are as good the last is kept, but patience counts from the first.
        return len(figures) - 1 - figures.index(max(figures)) >= self._lesson.patience

    def _epoch(self, state: State, validate: Validate) -> None:
        number, began = len(state.history), time.monotonic()
        part = (number - 1) / max(1, self._lesson.epochs)
        self._optimizer.learning_rate = self._lesson.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)
        loss = self._over_batches(number)
        if not all(np.isfinite(array).all() for array in self._network.get_weights()):
            raise _NoNumber  # by the last batch's step, after its loss
        accuracy, auc = validate(self.embed)
        best = state.best_epoch
        better = (auc, accuracy) >= (best.auc, best.accuracy)
        state.history.append(Epoch(number, loss, accuracy, auc, time.monotonic() - began))
        state.weights, state.optimizer = self._network.get_weights(), self._variables()
        if better:
            state.best = state.weights

    def _over_batches(self, number: int) -> float:
        """Learn from an epoch's batches; give the mean loss. Where memory is short, with smaller batches."""
        while True:
            try:
                losses = [self._learned(faces, person) for faces, person in self._feed(number)]
            except tf.errors.ResourceExhaustedError as error:
                if self._sampler.batch < 4 * self._sampler.faces:
                    raise TrainingError(
                        f"Memory is short even for batches of {self._sampler.batch} faces.",
                        "Close other programs, or take a smaller --unfreeze.",
                    ) from error
                self._sampler = replace(self._sampler, batch=self._sampler.batch // 2)
                self._notify(f"Memory is short: batches have {self._sampler.batch} faces from here on.")
                continue
            loss = float(np.mean(losses))
            if not math.isfinite(loss):
                raise _NoNumber
            return loss

    def _learned(self, faces: Any, person: Any) -> float:  # noqa: ANN401
        self._interrupts.heed()
        return float(self._step(faces, person))

    def _feed(self, number: int) -> Any:  # noqa: ANN401 (a tf.data.Dataset)
        """Yield an epoch's batches, made in other threads while the network learns."""
        indices = tf.TensorSpec((None,), tf.int64)

        def draw() -> Any:  # noqa: ANN401
            for batch in self._sampler.epoch(number):
                yield _as_tuple(batch)

        def make(photo: Any, view: Any, person: Any) -> tuple[Any, Any]:  # noqa: ANN401
            faces = tf.numpy_function(self._inputs, [photo, view], tf.float32)
            return tf.ensure_shape(faces, (None, *self._network.input_shape[1:])), person

        batches = tf.data.Dataset.from_generator(draw, output_signature=(indices, indices, indices))
        return batches.map(make, num_parallel_calls=2, deterministic=True).prefetch(2)

    def _learn(self, faces: Any, person: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            loss = self._loss(self._network(faces, training=True), person, self._margin)
        variables = self._network.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


class _NoNumber(TrainingError):
    """The loss, or a vector, is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__("What the network gives is no number.", "Choose a smaller --rate or another --loss.")


class _Interrupts:
    """Holds Ctrl-C back to where a step is whole: TensorFlow's own code may swallow it half-way.

    A second one is not held back. Outside the main thread nothing is.
    """

    def __init__(self) -> None:
        self._held = False

    def heed(self) -> None:
        """Be interrupted, if there was a Ctrl-C.

        Raises:
            KeyboardInterrupt: There was.
        """
        if self._held:
            self._held = False
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hold)

    def __exit__(self, *about: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            raise KeyboardInterrupt
        self._held = True


def _as_tuple(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return batch.photo, batch.view, batch.person


def on_device(device: str) -> Any:  # noqa: ANN401 (TensorFlow's own context)
    """Return the context in which networks are built and run on a device: "auto", "cpu" or "gpu".

    Raises:
        TrainingError: There is no GPU that TensorFlow sees.
    """
    seen = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not seen:
        raise TrainingError("TensorFlow sees no GPU on this machine.", "Leave out --device gpu.")
    return tf.device("/CPU:0" if device == "cpu" or not seen else "/GPU:0")
