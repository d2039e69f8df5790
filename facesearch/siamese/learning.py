"""A network together with the faces that it is trained, validated and tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.models.card import Card
from facesearch.models.store import ModelStore
from facesearch.ranking import unit_vectors
from facesearch.siamese.config import CNN, IDENTITY_BACKBONE, LEAST_BATCHES, OBJECT_BACKBONE, TrainingConfig
from facesearch.siamese.data import (
    SLIGHT,
    STRONG,
    LabelledPhotos,
    PixelViews,
    Sampler,
    Split,
    VectorViews,
    views_of_people,
)
from facesearch.siamese.features import FeatureSettings, Listener, extract_crops, extract_features
from facesearch.siamese.figures import Figures, discriminant, measure, pixel_vectors, validate
from facesearch.siamese.projection import Projection, fit_projection
from facesearch.siamese.run import Run, TrainingState

if TYPE_CHECKING:
    from facesearch.siamese.keras_training import Embed, Trainer


@dataclass(frozen=True, slots=True)
class BackboneFeatures:
    """A backbone's vectors of all faces, and the features that a head stands on."""

    vectors: VectorViews
    head: VectorViews


@dataclass(frozen=True, slots=True)
class TrainingFaces:
    """The faces of all readable photos, and the people whom they show.

    Attributes:
        person: (m,) int32.
        features: What the backbone gives for them; None for a network from scratch.
        pixels: Their crops; None for a head alone.
        whole: The number of photos without a detected face, which are used whole.
        unreadable: The other photos.
    """

    person: NDArray[np.int32]
    features: BackboneFeatures | None
    pixels: PixelViews | None
    whole: int
    unreadable: tuple[str, ...]

    @classmethod
    def extract(
        cls, photos: LabelledPhotos, config: TrainingConfig, base: Card, store: ModelStore, listener: Listener
    ) -> TrainingFaces:
        """Find the faces in photos and compute what the network's input is made of.

        Raises:
            DatasetError: No photo can be read.
            FacesearchError: The detector, the backbone or the disk cannot be used.
        """
        strength = STRONG if config.single else SLIGHT
        warps = int(config.warps or 0)
        extracted = []
        if config.base != CNN:
            settings = FeatureSettings(base, warps if config.single else 0, strength)
            extracted.append(extract_features(photos.folder, photos.paths, settings, store, listener))
        if config.base == CNN or config.unfreeze:
            extracted.append(extract_crops(photos.paths, base, store, listener))
        readable = np.logical_and.reduce([one.readable for one in extracted])
        if not readable.any():
            raise DatasetError(
                f"None of the photos in {photos.folder!r} can be read.", "Check some of them in a viewer."
            )
        features = pixels = None
        if config.base != CNN:
            both = extracted[0].faces[readable]
            features = BackboneFeatures(
                VectorViews(both[..., : base.dim]), VectorViews(both[..., base.dim :])
            )
        if config.base == CNN or config.unfreeze:
            pixels = PixelViews(extracted[-1].faces[readable], strength, warps > 0)
        unreadable = tuple(path for path, ok in zip(photos.paths, readable, strict=True) if not ok)
        return cls(photos.person[readable], features, pixels, extracted[0].whole, unreadable)


class Learner:
    """A network and its training data: builds the network, trains it, and measures it on people.

    Attributes:
        config: The configuration, with all defaults filled in.
        faces: The faces.
        split: The people of each part.
        projection: What precedes the trained matrix; None for a network from scratch.
        network: The Keras network.
    """

    def __init__(
        self,
        config: TrainingConfig,
        base: Card,
        faces: TrainingFaces,
        split: Split,
        store: ModelStore,
        listener: Listener,
    ) -> None:
        from facesearch.siamese import keras_networks, keras_training

        self.config, self.faces, self.split = config, faces, split
        keras_training.make_deterministic(config.seed)
        self.projection = None if faces.features is None else _fitted(faces.features.head, faces, split, base)
        self._views: VectorViews | PixelViews
        if faces.pixels is None:
            assert self.projection is not None
            assert faces.features is not None
            self._views = VectorViews(self.projection.apply(faces.features.head.views))
            self.network = keras_networks.build_head(self.projection.matrix.shape[1])
        elif self.projection is None:
            self._views = faces.pixels
            self.network = keras_networks.build_cnn(base.size, base.dim)
        else:
            self._views = faces.pixels
            self.network = keras_networks.build_fine_tuned(
                store.path(base.name), config.unfreeze, self.projection
            )
        self.trainer: Trainer = keras_training.Trainer(
            self.network,
            keras_training.LoopSettings(
                str(config.loss),
                config.margin,
                float(config.rate or 0),
                int(config.epochs or 0),
                int(config.patience or 0),
                config.seed,
            ),
            self._sampler(),
            self._views.inputs,
            listener.notify,
        )

    def run(
        self, run: Run, state: TrainingState | None, on_epoch: Callable[[TrainingState], None]
    ) -> TrainingState:
        """Train the network, saving the state after each epoch; see `Trainer.run`."""
        photo, view, person = self.views_of(self.split.validation)

        def measured(embed: Embed) -> tuple[float, float]:
            return validate(embed(photo, view), person)

        def save_and_report(state: TrainingState) -> None:
            run.save(state)
            on_epoch(state)

        return self.trainer.run(measured, state, save_and_report)

    def views_of(
        self, people: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Return the views that people are tested on; see `data.views_of_people`."""
        warps = int(self.config.warps or 0)
        return views_of_people(self.faces.person, people, warps, single=self.config.single)

    def vectors(self, people: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the network's vectors of the views that people are tested on, and who these people are."""
        photo, view, person = self.views_of(people)
        return self.trainer.embed(photo, view), person

    def baselines(self, base: Card) -> list[Figures]:
        """Return the figures on the test people that training has to beat."""
        photo, view, person = self.views_of(self.split.test)
        if self.projection is None or self.faces.features is None:
            crops = self._views.inputs(photo, view).astype(np.uint8)
            return [measure("16x16 grey pixels", pixel_vectors(crops), person, "cosine")]
        vectors = self.faces.features.vectors
        tested = vectors.inputs(photo, view)
        found = [measure(f"{base.name} alone", tested, person, base.metric)]
        training = np.flatnonzero(np.isin(self.faces.person, self.split.train))
        linear = discriminant(vectors.views[training, 0], self.faces.person[training], tested)
        if linear is not None:
            found.append(measure("linear discriminant", linear, person, "cosine"))
        return found

    def projection_figures(self) -> Figures | None:
        """Return the figures of the projection alone on the test people; None for a network from scratch."""
        if self.projection is None or self.faces.features is None:
            return None
        photo, view, person = self.views_of(self.split.test)
        projected = self.projection.apply(self.faces.features.head.inputs(photo, view))
        return measure("its projection alone", unit_vectors(projected), person, "euclidean")

    def _sampler(self) -> Sampler:
        single = self.config.single
        own = [np.flatnonzero(self.faces.person == one) for one in self.split.train]
        paired = tuple(photos for photos in own if single or len(photos) > 1)
        strangers = [photos for photos in own if not single and len(photos) == 1]
        return Sampler(
            paired,
            np.concatenate([np.empty(0, np.int64), *strangers]),
            self._views.count,
            int(self.config.batch or 0),
            2 if single else 3,
            self.config.seed,
            LEAST_BATCHES if self.config.base == CNN else 1,
        )


def _fitted(features: VectorViews, faces: TrainingFaces, split: Split, base: Card) -> Projection:
    photos = np.flatnonzero(np.isin(faces.person, split.train))
    views = features.views[photos]
    whitening, within = IDENTITY_BACKBONE if base.identity else OBJECT_BACKBONE
    return fit_projection(
        views.reshape(-1, views.shape[-1]),
        np.repeat(faces.person[photos], views.shape[1]),
        whitening=whitening,
        within=within,
    )
