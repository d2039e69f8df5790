"""Extraction of what a network is trained on: one face of each photo, as vectors or as pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.detect import Detector, open_detector
from facesearch.embed import Embedder
from facesearch.embed.openvino_runtime import OpenVinoEmbedder
from facesearch.evaluate.labelled_faces import bring_up_to_date, cache_file
from facesearch.faces import Box, Face, PhotoFaces
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.npz.store import open_index
from facesearch.machine import processors
from facesearch.models.card import Card
from facesearch.models.store import ModelStore, Notify, silent
from facesearch.pipeline import Pipeline
from facesearch.plan import IndexRequest
from facesearch.siamese.backbone import feature_width, vectors_and_features
from facesearch.siamese.data import Strength, augmented_views
from facesearch.update import update_index

# Crops in one call of the backbone, each with all its views.
BATCH = 4
# Increased when the same network comes to give other numbers, so that cached ones are computed anew.
_CACHE_VERSION = 4


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks that report the progress of a training run's extraction.

    Attributes:
        notify: Called with messages, such as that a network is being downloaded.
        on_start: Called with the number of photos to process.
        on_photo: Called with each photo that was processed.
    """

    notify: Notify = silent
    on_start: Callable[[int], None] = lambda count: None
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None


SILENT = Listener()


@dataclass(frozen=True, slots=True)
class ExtractedFaces:
    """One face of each photo.

    Attributes:
        faces: (m, views, width) float32, view 0 being the photo as it is; or crops, (m, height, width, 3)
            BGR uint8. Rows of unreadable photos are meaningless.
        readable: (m,) bool.
        whole: The number of photos without a detected face, which were used whole.
    """

    faces: NDArray[Any]
    readable: NDArray[np.bool_]
    whole: int


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """How a backbone's features are computed.

    Attributes:
        card: The backbone's card: crop, detector, alignment.
        views: The number of augmented views of each photo, besides the photo itself.
        strength: The largest change that augmentation makes.
    """

    card: Card
    views: int
    strength: Strength


def extract_features(
    folder: str, paths: Sequence[str], settings: FeatureSettings, store: ModelStore, listener: Listener
) -> ExtractedFaces:
    """Compute a backbone's vectors and a head's features of each photo; those of earlier runs are cached.

    Args:
        folder: The folder that holds the photos, as an absolute path.
        paths: The photos, as absolute paths.
        settings: How the features are computed.
        store: The model store.
        listener: Callbacks that report progress.

    Returns:
        For each view, the backbone's vector followed by what `backbone.head_features` gives.

    Raises:
        FacesearchError: The model or the disk cannot be used, or another process is writing the cache.
        KeyboardInterrupt: Ctrl-C; what was computed so far is kept.
    """
    card = settings.card
    cache = _cache_path(folder, settings)
    width = feature_width(store.path(card.name), card)
    dim = (1 + settings.views) * width
    meta = Meta(card.name, card.digest, dim, card.detector)
    request = IndexRequest((), files=tuple(paths), roots=(folder,))

    def pipeline() -> Pipeline:
        backbone = OpenVinoEmbedder(
            replace(card, dim=width),
            store.path(card.name),
            streams=processors(),
            cut=vectors_and_features(card),
        )
        return _pipeline(_ViewEmbedder(backbone, settings, dim), store, listener.notify)

    bring_up_to_date(
        cache,
        lambda: update_index(
            cache,
            meta,
            request,
            pipeline,
            on_plan=lambda plan: listener.on_start(len(plan.new)),
            on_photo=listener.on_photo,
        ),
    )
    return _gathered(open_index(cache), paths, settings)


def extract_crops(paths: Sequence[str], card: Card, store: ModelStore, listener: Listener) -> ExtractedFaces:
    """Cut the face out of each photo, as a card describes.

    Crops are not cached: for a small network, reading them back takes longer than detecting faces again.

    Raises:
        FacesearchError: The detector cannot be used.
        KeyboardInterrupt: Ctrl-C.
    """
    crops = np.zeros((len(paths), *card.size, 3), np.uint8)
    readable = np.zeros(len(paths), np.bool_)
    whole = 0
    listener.on_start(len(paths))
    photos = _pipeline(_PixelEmbedder(card), store, listener.notify).run(paths)
    for number, photo in enumerate(photos):
        listener.on_photo(photo)
        if photo.vectors is None or not len(photo.vectors):
            continue
        readable[number] = True
        crops[number] = photo.vectors[0].reshape(*card.size, 3)
        whole += photo.faces[0].score == 0.0
    return ExtractedFaces(crops, readable, whole)


class LargestOrWhole(Detector):
    """Detector of one face: the largest that another detector finds, or else the whole photo."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.landmarks = detector.landmarks

    def working_side(self, width: int, height: int) -> int:
        """Return the other detector's; see `Detector.working_side`."""
        return self.detector.working_side(width, height)

    def detect(self, image: NDArray[np.uint8], scale: float) -> list[Face]:
        """Return the one face, with the score 0 where it is the whole photo."""
        height, width = image.shape[:2]
        whole = Face(Box(0, 0, width, height), 0.0)
        return self.detector.detect(image, scale)[:1] or [whole]


class _ViewEmbedder(Embedder):
    """Returns the vectors of all views of a crop as one vector."""

    def __init__(self, backbone: Embedder, settings: FeatureSettings, dim: int) -> None:
        self._backbone, self._settings = backbone, settings
        self.card = replace(settings.card, dim=dim)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, views * width) float32."""
        if not len(crops):
            return np.empty((0, self.card.dim), np.float32)
        count, strength = self._settings.views, self._settings.strength
        views = np.concatenate([augmented_views(crop, count, strength) for crop in crops])
        return self._backbone.embed(views).reshape(len(crops), -1)


class _PixelEmbedder(Embedder):
    """Returns a crop's pixels as they are."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, height * width * 3) float32, from 0 to 255."""
        return crops.reshape(len(crops), -1).astype(np.float32)


def _pipeline(embedder: Embedder, store: ModelStore, notify: Notify) -> Pipeline:
    card = embedder.card
    detector = LargestOrWhole(open_detector(card.detector, store=store, notify=notify))
    return Pipeline(detector, embedder, batch=BATCH, margin=card.margin)


def _cache_path(folder: str, settings: FeatureSettings) -> Path:
    card = settings.card
    made_by = (
        *(os.path.realpath(folder), card.name, card.digest, card.detector),
        *(card.margin, card.size, card.landmarks, settings.views, asdict(settings.strength), _CACHE_VERSION),
    )
    return cache_file("train", made_by)


def _gathered(index: Index, paths: Sequence[str], settings: FeatureSettings) -> ExtractedFaces:
    vectors = np.zeros((len(paths), index.meta.dim), np.float32)
    readable = np.zeros(len(paths), np.bool_)
    whole = 0
    for number, path in enumerate(paths):
        photo = index.find(path)
        faces = range(0) if photo is None else index.faces_of(photo)
        if not faces:
            continue
        readable[number] = True
        vectors[number] = index.vectors[faces[0]]
        whole += float(index.scores[faces[0]]) == 0.0
    return ExtractedFaces(vectors.reshape(len(paths), 1 + settings.views, -1), readable, int(whole))
