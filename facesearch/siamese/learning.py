"""A network with the faces that it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.models.card import Card
from facesearch.models.store import ModelStore
from facesearch.siamese.augmentation import SLIGHT, STRONG
from facesearch.siamese.config import CNN, IDENTITY, LEAST_BATCHES, LOOKS, TrainingConfig
from facesearch.siamese.data import People, Pixels, Sampler, Split, Vectors, items
from facesearch.siamese.features import Listener, Source, find_crops, find_features
from facesearch.siamese.figures import validate
from facesearch.siamese.projection import Start, find_start
from facesearch.siamese.run import Run, State

if TYPE_CHECKING:
    from facesearch.siamese.keras_training import Embed, Trainer


@dataclass(frozen=True, slots=True)
class Features:
    """What a trunk gives of faces.

    Attributes:
        plain: Its vectors.
        head: What a head stands on.
    """

    plain: Vectors
    head: Vectors


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of all photos that can be read, and whose they are.

    Attributes:
        person: (m,) int32.
        features: What a trunk gives of them; None for a network from scratch.
        pixels: Their crops; None for a head alone.
        whole: How many photos show no face that was found, and were taken whole.
        unreadable: The other photos.
    """

    person: NDArray[np.int32]
    features: Features | None
    pixels: Pixels | None
    whole: int
    unreadable: tuple[str, ...]

    @classmethod
    def found(
        cls, people: People, wish: TrainingConfig, base: Card, store: ModelStore, listener: Listener
    ) -> Faces:
        """Look for them, and make what is learned from."""
        strength = STRONG if wish.single else SLIGHT
        warps = int(wish.warps or 0)
        looks = []
        if wish.base != CNN:
            source = Source(base, warps if wish.single else 0, strength)
            looks.append(find_features(people.folder, people.paths, source, store, listener))
        if wish.base == CNN or wish.unfreeze:
            looks.append(find_crops(people.paths, base, store, listener))
        readable = np.logical_and.reduce([look.readable for look in looks])
        if not readable.any():
            raise DatasetError(
                f"None of the photos in {people.folder!r} can be read.", "Look at some of them."
            )
        features = pixels = None
        if wish.base != CNN:
            both = looks[0].faces[readable]
            features = Features(Vectors(both[..., : base.dim]), Vectors(both[..., base.dim :]))
        if wish.base == CNN or wish.unfreeze:
            pixels = Pixels(looks[-1].faces[readable], strength, warps > 0)
        unreadable = tuple(path for path, ok in zip(people.paths, readable, strict=True) if not ok)
        return cls(people.person[readable], features, pixels, looks[0].whole, unreadable)


class Learned:
    """A network with what it learns from."""

    def __init__(
        self,
        wish: TrainingConfig,
        base: Card,
        faces: Faces,
        split: Split,
        store: ModelStore,
        listener: Listener,
    ) -> None:
        from facesearch.siamese import keras_networks, keras_training

        self.wish, self.faces, self.split = wish, faces, split
        keras_training.prepare(wish.seed)
        self.start = None if faces.features is None else _start(faces.features.head, faces, split, base)
        self.material: Vectors | Pixels
        if faces.pixels is None:
            assert self.start is not None
            assert faces.features is not None
            self.material = Vectors(self.start.apply(faces.features.head.views))
            self.network = keras_networks.build_head(self.start.projection.shape[1])
        elif self.start is None:
            self.material = faces.pixels
            self.network = keras_networks.build_cnn(base.size, base.dim)
        else:
            self.material = faces.pixels
            self.network = keras_networks.build_unfrozen(store.path(base.name), wish.unfreeze, self.start)
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
            listener.notify,
        )

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
            LEAST_BATCHES if self.wish.base == CNN else 1,
        )

    def run(self, run: Run, state: State | None, on_epoch: Callable[[State], None]) -> State:
        """Train."""
        photo, view, person = self.items(self.split.validation)

        def measured(embed: Embed) -> tuple[float, float]:
            return validate(embed(photo, view), person)

        def each(state: State) -> None:
            run.keep(state)
            on_epoch(state)

        return self.trainer.run(measured, state, each)

    def items(
        self, people: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Return what people are tested on."""
        return items(self.faces.person, people, int(self.wish.warps or 0), single=self.wish.single)

    def vectors(self, people: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the vectors of what people are tested on, and whose they are."""
        photo, view, person = self.items(people)
        return self.trainer.embed(photo, view), person


def _start(head: Vectors, faces: Faces, split: Split, base: Card) -> Start:
    photos = np.flatnonzero(np.isin(faces.person, split.train))
    seen = head.views[photos]
    whitening, within = IDENTITY if base.identity else LOOKS
    return find_start(
        seen.reshape(-1, seen.shape[-1]),
        np.repeat(faces.person[photos], seen.shape[1]),
        whitening=whitening,
        within=within,
    )
