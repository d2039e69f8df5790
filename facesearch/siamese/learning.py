"""A network with the faces that it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.faces import PhotoFaces
from facesearch.models.card import Card
from facesearch.models.store import ModelStore, Notify
from facesearch.siamese.features import Source, find_features
from facesearch.siamese.figures import validate
from facesearch.siamese.material import People, Pixels, Vectors, items
from facesearch.siamese.run import Run, State
from facesearch.siamese.sampling import Sampler
from facesearch.siamese.split import Split
from facesearch.siamese.start import Start, find_start
from facesearch.siamese.warps import SLIGHT, STRONG
from facesearch.siamese.wish import CNN, IDENTITY, LEAST_BATCHES, LOOKS, Wish
from facesearch.update import Plan

if TYPE_CHECKING:
    from facesearch.siamese.keras_training import Trainer


@dataclass(frozen=True)
class Faces:
    """The faces of all photos that can be read, and whose they are."""

    material: Vectors | Pixels
    person: NDArray[np.int32]
    whole: int
    unreadable: tuple[str, ...]

    @classmethod
    def found(
        cls, people: People, wish: Wish, base: Card, store: ModelStore, notify: Notify,
        on_plan: Callable[[Plan], None], on_photo: Callable[[PhotoFaces], None],
    ) -> Faces:  # fmt: skip
        """Look for them, and make the trunk's vectors."""
        pixels = wish.base == CNN
        strength = STRONG if wish.single else SLIGHT
        source = Source(base, 0 if pixels else int(wish.warps or 0), strength, pixels)
        features = find_features(
            people.folder,
            people.paths,
            source,
            store=store,
            notify=notify,
            on_plan=on_plan,
            on_photo=on_photo,
        )
        readable = np.isfinite(features.vectors[:, 0, 0])
        if not readable.any():
            raise DatasetError(
                f"None of the photos in {people.folder!r} can be read.", "Look at some of them."
            )
        vectors = features.vectors[readable]
        material: Vectors | Pixels = Vectors(vectors)
        if pixels:
            material = Pixels(vectors.reshape(-1, *base.size, 3).astype(np.uint8), strength)
        return cls(material, people.person[readable], features.whole, features.unreadable)


class Learned:
    """A network with what it learns from."""

    def __init__(
        self, wish: Wish, base: Card, faces: Faces, split: Split, device: str, notify: Notify
    ) -> None:
        from facesearch.siamese import keras_networks, keras_training

        self.wish, self.faces, self.split = wish, faces, split
        self.device = keras_training.device_name(device)
        keras_training.prepare(wish.seed)
        self.start: Start | None = None
        self.material: Vectors | Pixels = faces.material
        if isinstance(faces.material, Vectors):
            self.start = _start(faces.material, faces.person, split, base)
            self.material = Vectors(self.start.apply(faces.material.views))
            self.network = keras_networks.build_head(self.start.projection.shape[1])
        else:
            self.network = keras_networks.build_cnn(base.size, base.dim)
        self.trainer: Trainer = keras_training.Trainer(
            self.network,
            keras_training.Lesson(
                str(wish.loss),
                wish.margin,
                float(wish.rate or 0),
                int(wish.epochs or 0),
                int(wish.patience or 0),
                wish.seed,
            ),
            self._sampler(),
            self.material.inputs,
            notify,
        )

    def on_device(self) -> Any:  # noqa: ANN401 (TensorFlow's own context)
        """Give the context in which the network runs on the device."""
        from facesearch.siamese.keras_training import on_device

        return on_device(self.device)

    def _sampler(self) -> Sampler:
        own = [np.flatnonzero(self.faces.person == one) for one in self.split.train]
        paired = tuple(photos for photos in own if self.wish.single or len(photos) > 1)
        alone = [photos for photos in own if not self.wish.single and len(photos) == 1]
        return Sampler(
            paired,
            np.concatenate([np.empty(0, np.int64), *alone]),
            self.material.count,
            int(self.wish.batch or 0),
            2 if self.wish.single else 3,
            self.wish.seed,
            LEAST_BATCHES if isinstance(self.material, Pixels) else 1,
        )

    def run(self, run: Run, state: State | None, on_epoch: Callable[[State], None]) -> State:
        """Train."""
        photo, view, person = self.items(self.split.validation)
        inputs = self.material.inputs(photo, view)

        def measured(embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> tuple[float, float]:
            return validate(embed(inputs), person)

        def each(state: State) -> None:
            run.keep(state)
            on_epoch(state)

        return self.trainer.run(measured, state, each)

    def items(
        self, people: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Give what people are tested on."""
        return items(self.faces.person, people, int(self.wish.warps or 0), single=self.wish.single)

    def vectors(self, people: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Give the vectors of what people are tested on, and whose they are."""
        photo, view, person = self.items(people)
        return self.trainer.embed(self.material.inputs(photo, view)), person


def _start(material: Vectors, person: NDArray[np.int32], split: Split, base: Card) -> Start:
    photos = np.flatnonzero(np.isin(person, split.train))
    seen = material.views[photos]
    count = seen.shape[1]
    whitening, within = IDENTITY if base.identity else LOOKS
    return find_start(
        seen.reshape(-1, seen.shape[-1]), np.repeat(person[photos], count), whitening=whitening, within=within
    )
