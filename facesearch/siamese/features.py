"""What a network learns from: one face of each photo, as a trunk's vectors or as pixels, in some views."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.detect import Detector, open_detector
from facesearch.embed import Embedder, open_embedder
from facesearch.evaluate.cache import bring_up_to_date, cache_file
from facesearch.faces import Box, Face, PhotoFaces
from facesearch.index.layout import Layout, Meta
from facesearch.index.store import open_index
from facesearch.models.card import Card
from facesearch.models.store import ModelStore, Notify, silent
from facesearch.pipeline import Pipeline
from facesearch.siamese.warps import Strength, views
from facesearch.update import Plan, Wanted, update_index

# Faces with all their views in one call of the trunk.
BATCH = 4


@dataclass(frozen=True, slots=True)
class Features:
    """One face of each photo, in some views.

    Attributes:
        vectors: (m, views, dim) float32, the first view being the photo as it is; NaN where it is unreadable.
        whole: How many photos show no face that was found, and were taken whole.
        unreadable: Photos that cannot be read.
    """

    vectors: NDArray[np.float32]
    whole: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """How features are made.

    Attributes:
        card: Of the trunk, or of the network that is to be: crop, detector, alignment.
        views: How many warps of each photo there are beside the photo itself.
        strength: How strong they are.
        pixels: Whether the crops themselves are wanted, and no trunk's vectors.
    """

    card: Card
    views: int
    strength: Strength
    pixels: bool = False


def find_features(
    folder: str,
    paths: Sequence[str],
    source: Source,
    *,
    store: ModelStore,
    notify: Notify = silent,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Features:
    """Make the features of photos that were not made before; the others are in the cache.

    Args:
        folder: What the photos lie below, absolute.
        paths: The photos, absolute.
        source: How features are made.
        store: Where the networks lie.
        notify: Is told of a network that is fetched.
        on_plan: Told how many photos there are to look at.
        on_photo: Told of each that was.

    Raises:
        FacesearchError: The model, the disk or another process is in the way.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    cache = _cache_path(folder, source)
    dim = (1 + source.views) * (_pixels(source.card) if source.pixels else source.card.dim)
    meta = Meta(source.card.name, source.card.digest, dim, source.card.detector)
    wanted = Wanted((), files=tuple(paths), roots=(folder,))

    def pipeline() -> Pipeline:
        return _pipeline(source, dim, store, notify)

    bring_up_to_date(
        cache,
        lambda: update_index(cache, meta, wanted, pipeline, on_plan=on_plan, on_photo=on_photo),
    )
    return _gathered(open_index(cache), paths, source)


def _pipeline(source: Source, dim: int, store: ModelStore, notify: Notify) -> Pipeline:
    trunk: Embedder
    if source.pixels:
        trunk = _Pixels(source.card)
    else:
        streams = os.cpu_count() or 1
        trunk = open_embedder(source.card.name, store=store, streams=streams, notify=notify)
    detector = CentralOrWhole(open_detector(source.card.detector, store=store, notify=notify))
    return Pipeline(detector, _Views(trunk, source, dim), batch=BATCH, margin=source.card.margin)


class CentralOrWhole(Detector):
    """Takes the most central of the faces that a detector finds, and the whole photo where it finds none."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.working_side = detector.working_side
        self.landmarks = detector.landmarks

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Give the one face."""
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
        """Give (n, views * dim) float32."""
        if not len(crops):
            return np.empty((0, self.card.dim), np.float32)
        shown = np.concatenate([views(crop, self._source.views, self._source.strength) for crop in crops])
        return self._trunk.embed(shown).reshape(len(crops), -1)


class _Pixels(Embedder):
    """Gives a crop's pixels as they are."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give (n, height * width * 3) float32 of 0 to 255."""
        return crops.reshape(len(crops), -1).astype(np.float32)


def _pixels(card: Card) -> int:
    return card.size[0] * card.size[1] * 3


def _cache_path(folder: str, source: Source) -> Path:
    card = source.card
    made_by = (
        *(os.path.realpath(folder), card.name, card.digest, card.detector),
        *(card.margin, card.size, card.landmarks, source.views, asdict(source.strength), source.pixels),
    )
    return cache_file("train", made_by)


def _gathered(layout: Layout, paths: Sequence[str], source: Source) -> Features:
    vectors = np.full((len(paths), layout.meta.dim), np.nan, np.float32)
    whole, unreadable = 0, []
    for place, path in enumerate(paths):
        photo = layout.find(path)
        faces = range(0) if photo is None else layout.faces_of(photo)
        if not faces:
            unreadable.append(path)
            continue
        vectors[place] = layout.vectors[faces[0]]
        whole += float(layout.scores[faces[0]]) == 0.0
    return Features(vectors.reshape(len(paths), 1 + source.views, -1), int(whole), tuple(unreadable))
