"""The training loop: batches of faces, epoch by epoch, until validation improves no more."""

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
from facesearch.siamese.run import Epoch, TrainingState

# From numbers of photos and views to the network's input: float32, the first axis being the faces.
Inputs = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
# From numbers of photos and views to vectors.
Embed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
# From a network, as a function that embeds, to its accuracy and its AUC.
Validate = Callable[[Embed], tuple[float, float]]

# Faces in one call outside training.
FORWARD = 64


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Settings of the training loop.

    Attributes:
        loss: One of `keras_networks.LOSSES`.
        margin: The margin of the loss; None for its default.
        rate: Adam's initial learning rate, which falls along a cosine to a hundredth.
        epochs: Maximum number of epochs.
        patience: Training stops after this many epochs without a better AUC.
        seed: Seed of all random draws.
    """

    loss: str
    margin: float | None
    rate: float
    epochs: int
    patience: int
    seed: int


def make_deterministic(seed: int) -> None:
    """Seed TensorFlow and make it deterministic; call this before a network is built."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


class Trainer:
    """Training of one network.

    Args:
        network: The network; its weights are changed.
        settings: Settings of the loop.
        sampler: Draws the batches.
        inputs: Returns the network's input for photos and views; called in other threads.
        notify: Called with messages about unusual events.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401 (Keras has no types)
        settings: LoopSettings,
        sampler: Sampler,
        inputs: Inputs,
        notify: Callable[[str], None],
    ) -> None:
        self._network, self._settings, self._sampler = network, settings, sampler
        self._inputs, self._notify = inputs, notify
        self._interrupts = _Interrupts()
        self._optimizer = keras.optimizers.Adam(settings.rate)
        self._optimizer.build(network.trainable_variables)
        loss, margin = LOSSES[settings.loss]
        self._loss = loss
        self._margin = margin if settings.margin is None else settings.margin
        shape = (None, *network.input_shape[1:])
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int64)]
        self._step = tf.function(self._update, input_signature=signature)
        self._vectors = tf.function(
            lambda faces: network(faces, training=False), input_signature=signature[:1]
        )

    def run(
        self, validate: Validate, state: TrainingState | None, on_epoch: Callable[[TrainingState], None]
    ) -> TrainingState:
        """Train to the end, or until Ctrl-C, and give the network the weights of its best epoch.

        Args:
            validate: Measures the network.
            state: The state in which an earlier run stopped; None to begin.
            on_epoch: Called with the state after each epoch, for showing and saving it.

        Raises:
            TrainingError: The loss becomes NaN or infinite in the first epoch.
        """
        state = self._begin(state, validate)
        if not state.epochs:
            on_epoch(state)
        try:
            with self._interrupts:
                while not self._enough(state):
                    self._epoch(state, validate)
                    on_epoch(state)
                    self._interrupts.raise_if_interrupted()
        except KeyboardInterrupt:
            if not state.epochs:
                raise  # nothing was learned
            self._notify(f"Interrupted after {state.epochs} epochs: the best so far is kept.")
        except _NotFinite as error:
            if not state.epochs:
                raise TrainingError(
                    "The loss became infinite or NaN in the first epoch.",
                    "Choose a smaller --rate or another --loss.",
                ) from error
            kept = state.best_epoch.number
            self._notify(f"The loss became infinite or NaN: training ends here, and epoch {kept} is kept.")
        self._network.set_weights(state.best)
        return state

    def embed(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of views of photos, (n, dim) float32; few faces are in memory at once.

        Raises:
            TrainingError: Vectors are NaN or infinite.
        """
        parts = [
            self._vectors(self._inputs(photo[at : at + FORWARD], view[at : at + FORWARD])).numpy()
            for at in range(0, len(photo), FORWARD)
        ]
        vectors = np.concatenate(parts)
        if not np.isfinite(vectors).all():
            raise _NotFinite  # the weights are finite, but too large
        return vectors

    def _begin(self, state: TrainingState | None, validate: Validate) -> TrainingState:
        if state is None:
            began = time.monotonic()
            accuracy, auc = validate(self.embed)
            start = Epoch(0, None, accuracy, auc, time.monotonic() - began)
            weights = self._network.get_weights()
            return TrainingState(weights, weights, self._variables(), [start])
        try:
            for weights in (state.best, state.weights):
                self._network.set_weights(weights)
            for variable, value in zip(self._optimizer.variables, state.optimizer, strict=True):
                variable.assign(value)
        except (ValueError, TypeError) as error:
            raise TrainingError(
                "The run to resume belongs to another network.", "Leave out --resume to start again."
            ) from error
        return state

    def _variables(self) -> list[NDArray[Any]]:
        return [variable.numpy() for variable in self._optimizer.variables]

    def _enough(self, state: TrainingState) -> bool:
        if state.epochs >= self._settings.epochs:
            return True
        figures = [(epoch.auc, epoch.accuracy) for epoch in state.history]
        # Of equally good epochs the last is kept, but patience counts from the first.
        return len(figures) - 1 - figures.index(max(figures)) >= self._settings.patience

    def _epoch(self, state: TrainingState, validate: Validate) -> None:
        number, began = len(state.history), time.monotonic()
        part = (number - 1) / max(1, self._settings.epochs)
        self._optimizer.learning_rate = self._settings.rate * (
            0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2
        )
        loss = self._over_batches(number)
        if not all(np.isfinite(array).all() for array in self._network.get_weights()):
            raise _NotFinite  # by the step of the last batch, after its loss
        accuracy, auc = validate(self.embed)
        best = state.best_epoch
        better = (auc, accuracy) >= (best.auc, best.accuracy)
        state.history.append(Epoch(number, loss, accuracy, auc, time.monotonic() - began))
        state.weights, state.optimizer = self._network.get_weights(), self._variables()
        if better:
            state.best = state.weights

    def _over_batches(self, number: int) -> float:
        """Train on an epoch's batches, smaller ones where memory is short, and return the mean loss."""
        while True:
            try:
                losses = [self._train_on(faces, person) for faces, person in self._feed(number)]
            except tf.errors.ResourceExhaustedError as error:
                if self._sampler.batch < 4 * self._sampler.faces:
                    raise TrainingError(
                        f"There is not enough memory even for batches of {self._sampler.batch} faces.",
                        "Close other programs, or use a smaller --unfreeze.",
                    ) from error
                self._sampler = replace(self._sampler, batch=self._sampler.batch // 2)
                self._notify(f"Memory is short: from now on, batches have {self._sampler.batch} faces.")
                continue
            loss = float(np.mean(losses))
            if not math.isfinite(loss):
                raise _NotFinite
            return loss

    def _train_on(self, faces: Any, person: Any) -> float:  # noqa: ANN401
        self._interrupts.raise_if_interrupted()
        return float(self._step(faces, person))

    def _feed(self, number: int) -> Any:  # noqa: ANN401 (a tf.data.Dataset)
        """Return an epoch's batches, which other threads prepare while the network is trained."""
        indices = tf.TensorSpec((None,), tf.int64)

        def draw() -> Any:  # noqa: ANN401
            for batch in self._sampler.epoch(number):
                yield _as_tuple(batch)

        def make(photo: Any, view: Any, person: Any) -> tuple[Any, Any]:  # noqa: ANN401
            faces = tf.numpy_function(self._inputs, [photo, view], tf.float32)
            return tf.ensure_shape(faces, (None, *self._network.input_shape[1:])), person

        batches = tf.data.Dataset.from_generator(draw, output_signature=(indices, indices, indices))
        return batches.map(make, num_parallel_calls=2, deterministic=True).prefetch(2)

    def _update(self, faces: Any, person: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            loss = self._loss(self._network(faces, training=True), person, self._margin)
        variables = self._network.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


class _NotFinite(TrainingError):
    """The loss, or a vector, is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__(
            "The network returns infinite values or NaN.", "Choose a smaller --rate or another --loss."
        )


class _Interrupts:
    """Context that delays Ctrl-C until a step is complete, as TensorFlow's own code may swallow it half-way.

    A second Ctrl-C is not delayed. Outside the main thread, nothing is.
    """

    def __init__(self) -> None:
        self._held = False

    def raise_if_interrupted(self) -> None:
        """Raise the exception of a delayed Ctrl-C.

        Raises:
            KeyboardInterrupt: There was one.
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
    """Return a context in which networks are built and run on a device: "auto", "cpu" or "gpu".

    Raises:
        TrainingError: A GPU is asked for, and TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise TrainingError("TensorFlow sees no GPU on this machine.", "Leave out --device gpu.")
    return tf.device("/CPU:0" if device == "cpu" or not gpus else "/GPU:0")
