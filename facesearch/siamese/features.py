"""What a network learns from: one face of each photo, as numbers that a trunk gives or as pixels."""

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
from facesearch.models.card import Card
from facesearch.models.store import ModelStore, Notify, silent
from facesearch.pipeline import Pipeline
from facesearch.siamese.augmentation import Strength, views
from facesearch.siamese.backbone import beside_vectors, width
from facesearch.update import IndexRequest, update_index

# Faces with all their views in one call of the trunk.
BATCH = 4
# Changes when other numbers come out of the same network, so that kept ones are made anew.
_MAKING = 3


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of the looking at photos.

    Attributes:
        notify: Of a network that is fetched, in sentences.
        on_start: How many photos there are to look at.
        on_photo: Of each that was.
    """

    notify: Notify = silent
    on_start: Callable[[int], None] = lambda count: None
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None


NOBODY = Listener()


@dataclass(frozen=True, slots=True)
class Found:
    """One face of each photo.

    Attributes:
        faces: (m, views, width) float32, the first view being the photo as it is; or crops, (m, height,
            width, 3) BGR uint8. Whatever stands for a photo that cannot be read.
        readable: (m,) bool.
        whole: How many photos show no face that was found, and were taken whole.
    """

    faces: NDArray[Any]
    readable: NDArray[np.bool_]
    whole: int


@dataclass(frozen=True, slots=True)
class Source:
    """How a trunk's numbers are made.

    Attributes:
        card: Of the trunk: crop, detector, alignment.
        views: How many warps of each photo there are beside the photo itself.
        strength: How strong they are.
    """

    card: Card
    views: int
    strength: Strength


def find_features(
    folder: str, paths: Sequence[str], source: Source, store: ModelStore, listener: Listener
) -> Found:
    """Make a trunk's vectors and a head's features of photos that were not made before; others are kept.

    Args:
        folder: What the photos lie below, absolute.
        paths: The photos, absolute.
        source: How they are made.
        store: Where the networks lie.
        listener: Who is told.

    Returns:
        In each view the trunk's vector and, behind it, what `trunk.features` gives.

    Raises:
        FacesearchError: The model, the disk or another process is in the way.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    card = source.card
    cache = _cache_path(folder, source)
    each = width(store.path(card.name), card)
    dim = (1 + source.views) * each
    meta = Meta(card.name, card.digest, dim, card.detector)
    wanted = IndexRequest((), files=tuple(paths), roots=(folder,))

    def pipeline() -> Pipeline:
        trunk = OpenVinoEmbedder(
            replace(card, dim=each),
            store.path(card.name),
            streams=os.cpu_count() or 1,
            cut=beside_vectors(card),
        )
        return _pipeline(_Views(trunk, source, dim), store, listener.notify)

    bring_up_to_date(
        cache,
        lambda: update_index(
            cache,
            meta,
            wanted,
            pipeline,
            on_plan=lambda plan: listener.on_start(len(plan.new)),
            on_photo=listener.on_photo,
        ),
    )
    return _gathered(open_index(cache), paths, source)


def find_crops(paths: Sequence[str], card: Card, store: ModelStore, listener: Listener) -> Found:
    """Cut the face out of each photo, as a card says.

    They are not kept: that takes longer than to look again, where the network is a small one.

    Raises:
        FacesearchError: The detector is in the way.
        KeyboardInterrupt: Ctrl-C.
    """
    crops = np.zeros((len(paths), *card.size, 3), np.uint8)
    readable = np.zeros(len(paths), np.bool_)
    whole = 0
    listener.on_start(len(paths))
    photos = _pipeline(_Pixels(card), store, listener.notify).run(paths)
    for place, photo in enumerate(photos):
        listener.on_photo(photo)
        if photo.vectors is None or not len(photo.vectors):
            continue
        readable[place] = True
        crops[place] = photo.vectors[0].reshape(*card.size, 3)
        whole += photo.faces[0].score == 0.0
    return Found(crops, readable, whole)


def _pipeline(embedder: Embedder, store: ModelStore, notify: Notify) -> Pipeline:
    card = embedder.card
    detector = CentralOrWhole(open_detector(card.detector, store=store, notify=notify))
    return Pipeline(detector, embedder, batch=BATCH, margin=card.margin)


class CentralOrWhole(Detector):
    """Takes the most central of the faces that a detector finds, and the whole photo where it finds none."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.working_side = detector.working_side
        self.landmarks = detector.landmarks

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the one face."""
        height, width = image.shape[:2]

        whole = Face(Box(0, 0, width, height), 0.0)
        faces = self.detector.detect(image)
        return [min(faces, key=lambda face: face.box.off_centre(width, height), default=whole)]


class _Views(Embedder):
    """Gives the vectors of all views of a crop as one."""

    def __init__(self, trunk: Embedder, source: Source, dim: int) -> None:
        self._trunk, self._source = trunk, source
        self.card = replace(source.card, dim=dim)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, views * dim) float32."""
        if not len(crops):
            return np.empty((0, self.card.dim), np.float32)
        shown = np.concatenate([views(crop, self._source.views, self._source.strength) for crop in crops])
        return self._trunk.embed(shown).reshape(len(crops), -1)


class _Pixels(Embedder):
    """Gives a crop's pixels as they are."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, height * width * 3) float32 of 0 to 255."""
        return crops.reshape(len(crops), -1).astype(np.float32)


def _cache_path(folder: str, source: Source) -> Path:
    card = source.card
    made_by = (
        *(os.path.realpath(folder), card.name, card.digest, card.detector),
        *(card.margin, card.size, card.landmarks, source.views, asdict(source.strength), _MAKING),
    )
    return cache_file("train", made_by)


def _gathered(index: Index, paths: Sequence[str], source: Source) -> Found:
    vectors = np.zeros((len(paths), index.meta.dim), np.float32)
    readable = np.zeros(len(paths), np.bool_)
    whole = 0
    for place, path in enumerate(paths):
        photo = index.find(path)
        faces = range(0) if photo is None else index.faces_of(photo)
        if not faces:
            continue
        readable[place] = True
        vectors[place] = index.vectors[faces[0]]
        whole += float(index.scores[faces[0]]) == 0.0
    return Found(vectors.reshape(len(paths), 1 + source.views, -1), readable, int(whole))
