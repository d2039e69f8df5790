"""The faces that there are to learn from and to be tested on, be they a trunk's vectors or pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.evaluate.dataset import read_people
from facesearch.photos.find import Scan, find_photos
from facesearch.siamese.warps import Strength, chance_of, warped


@dataclass(frozen=True, slots=True)
class People:
    """Photos and whom they show.

    Attributes:
        folder: What they lie below, absolute.
        paths: Absolute.
        person: (m,) int32.
        names: Of the people.
        remarks: What is odd, in sentences.
        single: Whether each photo is a person of its own, whose other photos are warps of it.
    """

    folder: str
    paths: tuple[str, ...]
    person: NDArray[np.int32]
    names: tuple[str, ...]
    remarks: tuple[str, ...]
    single: bool


def people_in(folder: str) -> People:
    """Take a folder with a folder for each person.

    Raises:
        DatasetError: It cannot be used for that.
    """
    found = read_people(folder)
    return People(folder, found.paths, found.person, found.names, found.remarks, single=False)


def singles_in(folder: str) -> People:
    """Take a folder in which each photo, in deeper folders too, is a person of its own.

    Raises:
        DatasetError: It cannot be read, or holds fewer than two photos.
    """
    scan = Scan()
    try:
        find_photos(folder, scan, follow=True)
    except OSError as error:
        raise DatasetError(
            f"{folder!r} cannot be read: {error.strerror or error}.", "Name a folder of photos."
        ) from error
    paths = tuple(sorted(scan.photos, key=os.fsencode))
    if len(paths) < 2:
        raise DatasetError(f"{folder!r} holds {len(paths) or 'no'} photos.", "Add people, one photo each.")
    names = tuple(os.path.relpath(path, folder) for path in paths)
    return People(folder, paths, np.arange(len(paths), dtype=np.int32), names, (), single=True)


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of a trunk, of each photo in some views.

    Attributes:
        views: (m, views, dim) float32, the photo as it is first.
    """

    views: NDArray[np.float32]

    def inputs(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give views of photos; see `keras_training.Inputs`."""
        return self.views[photo, view]

    @property
    def count(self) -> int:
        """Give how many views there are to draw from."""
        return int(self.views.shape[1])


@dataclass(frozen=True, slots=True)
class Pixels:
    """Crops, which are warped anew each time; view 0 is the crop as it is.

    Attributes:
        crops: (m, height, width, 3) BGR uint8.
        strength: How strongly.
        warps: Whether they are warped at all to learn from.
    """

    crops: NDArray[np.uint8]
    strength: Strength
    warps: bool = True

    def inputs(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give views of photos; see `keras_training.Inputs`."""
        faces = [
            warped(self.crops[p], self.strength, chance_of(self.crops[p], v)) if v else self.crops[p]
            for p, v in zip(photo.tolist(), view.tolist(), strict=True)
        ]
        return np.stack(faces).astype(np.float32)

    @property
    def count(self) -> int:
        """Give how many views there are to draw from: one, or more than will ever be drawn."""
        return 1 << 31 if self.warps else 1


def items(
    person: NDArray[np.int32], people: NDArray[np.int64], warps: int, *, single: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Give what some people are tested on: photos, views and persons, (n,) each.

    Args:
        person: (m,) the person of each photo.
        people: Who is tested.
        warps: How many warps of a photo.
        single: Whether people have one photo each, whose warps stand for others.
    """
    photo = np.flatnonzero(np.isin(person, people))
    if not single:
        return photo, np.zeros_like(photo), person[photo]
    view = np.tile(np.arange(1, warps + 1), len(photo))
    photo = np.repeat(photo, warps)
    return photo, view, person[photo]
