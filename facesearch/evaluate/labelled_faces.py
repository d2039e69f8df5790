"""The face of each labelled photo, embedded as for an index, and cached for the next time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from facesearch.errors import IndexBusy, IndexFileError, UnreadablePhoto
from facesearch.evaluate.dataset import Dataset
from facesearch.faces import Box, PhotoFaces, Status
from facesearch.index.index import Index
from facesearch.library import Library
from facesearch.model import Model
from facesearch.paths import ESCAPES
from facesearch.photos.content import read_content
from facesearch.photos.decode import decode
from facesearch.plan import IndexRequest, Plan
from facesearch.update import Report


@dataclass(frozen=True, slots=True)
class LabelledFaces:
    """One face of each photo of a data set.

    Attributes:
        vectors: (m, dim) float32; NaN where no face was found.
        boxes: The boxes of the faces; None where no face was found.
        no_face: The number of photos without a detected face.
        unreadable: Photos that cannot be read.
        remarks: Peculiarities of the photos, in sentences.
    """

    vectors: NDArray[np.float32]
    boxes: tuple[Box | None, ...]
    no_face: int
    unreadable: tuple[str, ...]
    remarks: tuple[str, ...]


def find_faces(
    dataset: Dataset,
    model: Model,
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> LabelledFaces:
    """Embed the photos that are not in the cache of this model and folder, and choose a face of each.

    Of several faces, the data set says whether the largest or the most central one is chosen. The choice does
    not look at the vectors: a model that chose the face nearest to its person's others would flatter itself.

    Raises:
        FacesearchError: The model or the disk cannot be used, or another process writes the cache.
        KeyboardInterrupt: Ctrl-C; what was embedded is kept.
    """
    cache = cache_path(dataset.folder, model)
    wanted = IndexRequest((), files=dataset.paths, roots=(dataset.folder,))
    library = Library(cache, model.name, store=model.store, runtime=model.runtime, notify=model.notify)
    bring_up_to_date(cache, lambda: library.index(wanted, on_plan=on_plan, on_photo=on_photo))
    return _taken(dataset, library.contents)


def cache_path(folder: str, model: Model) -> Path:
    """Return the cache file of a model's vectors of a folder."""
    card, runtime = model.card, model.runtime
    made_by = (
        *(os.path.realpath(folder), card.name, card.digest, card.detector, str(card.margin)),
        *(runtime.runtime, runtime.precision),
    )
    return cache_file("evaluate", made_by)


def _taken(dataset: Dataset, index: Index) -> LabelledFaces:
    vectors = np.full((len(dataset.paths), index.meta.dim), np.nan, np.float32)
    boxes: list[Box | None] = [None] * len(dataset.paths)
    no_face, unreadable = 0, []
    owners: dict[bytes, dict[int, str]] = {}
    for place, path in enumerate(dataset.paths):
        photo = index.find(path)
        if photo is None or index.status[photo] == Status.UNREADABLE:
            unreadable.append(path)
            continue
        owners.setdefault(index.digest[photo].tobytes(), {}).setdefault(int(dataset.person[place]), path)
        faces = index.faces_of(photo)
        if not faces:
            no_face += 1
            continue
        face = faces[0]  # the largest
        if dataset.face == "central":
            face = faces[_most_central(path, [index.box(face) for face in faces])]
        vectors[place], boxes[place] = index.vectors[face], index.box(face)
    remarks = _about_copies(owners, dataset.names)
    return LabelledFaces(vectors, tuple(boxes), no_face, tuple(unreadable), remarks)


def _most_central(path: str, boxes: list[Box]) -> int:
    """Return the position of the most central box; the photo is opened only where there are several."""
    if len(boxes) == 1:
        return 0
    width = height = 0
    with suppress(OSError, UnreadablePhoto):
        picture = decode(read_content(path).picture, side=1)
        width, height = picture.width, picture.height

    return min(range(len(boxes)), key=lambda place: boxes[place].off_centre(width, height))


def _about_copies(owners: dict[bytes, dict[int, str]], names: tuple[str, ...]) -> tuple[str, ...]:
    shared = [people for people in owners.values() if len(people) > 1]
    if not shared:
        return ()
    (one, first), (other, second) = list(shared[0].items())[:2]
    return (
        f"Pictures that lie with two people or more, so that pairs of strangers show one picture: "
        f"{len(shared):,}; the first is {os.path.basename(first)!r} of {names[one]!r} and "
        f"{os.path.basename(second)!r} of {names[other]!r}.",
    )


def cache_file(kind: str, made_by: Iterable[object]) -> Path:
    """Return the cache file of vectors that are made in one way; `kind` is its folder."""
    text = "\0".join(map(str, made_by)).encode("utf-8", ESCAPES)
    key = hashlib.blake2b(text, digest_size=12).hexdigest()
    return Path(user_cache_dir("facesearch", appauthor=False), kind, f"{key}.npz")


def bring_up_to_date(cache: Path, update: Callable[[], Report]) -> None:
    """Update a cache; a broken one is replaced, since all of it can be computed again.

    Raises:
        FacesearchError: Any other error of `update`.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        report = update()
    except IndexBusy:
        raise
    except IndexFileError:
        cache.unlink(missing_ok=True)
        report = update()
    if report.interrupted:
        raise KeyboardInterrupt
