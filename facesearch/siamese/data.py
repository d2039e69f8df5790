"""The faces that there are to learn from and to be tested on, be they a trunk's vectors or pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.evaluate.dataset import read_people
from facesearch.photos.find import Scan, find_photos
from facesearch.siamese.augmentation import Strength, chance_of, warped


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
        """Return views of photos; see `keras_training.Inputs`."""
        return self.views[photo, view]

    @property
    def count(self) -> int:
        """How many views there are to draw from."""
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
        """Return views of photos; see `keras_training.Inputs`."""
        faces = [
            warped(self.crops[p], self.strength, chance_of(self.crops[p], v)) if v else self.crops[p]
            for p, v in zip(photo.tolist(), view.tolist(), strict=True)
        ]
        return np.stack(faces).astype(np.float32)

    @property
    def count(self) -> int:
        """How many views there are to draw from: one, or more than will ever be drawn."""
        return 1 << 31 if self.warps else 1


def items(
    person: NDArray[np.int32], people: NDArray[np.int64], warps: int, *, single: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return what some people are tested on: photos, views and persons, (n,) each.

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


# An accuracy on fewer people than this is chance's.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Split:
    """People's numbers, each in one part only, so that nobody is tested on whom it learned from.

    Attributes:
        train: The network learns from their photos.
        validation: Stop the training, and give threshold and probabilities.
        test: Looked at once, at the end.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_people(
    person: NDArray[np.int32], *, validation: float, test: float, seed: int, single: bool = False
) -> Split:
    """Deal people into three parts.

    Where some have several photos, those with one all go to training, as strangers to the others.

    Args:
        person: (m,) the person of each photo, numbered from 0.
        validation: The share of people for validation, of those who are not for the test.
        test: The share of people for the test.
        seed: Of the order in which they are dealt.
        single: Whether all have one photo, whose warps stand for others.

    Raises:
        DatasetError: There are too few people for that.
    """
    photos = np.bincount(person)
    several = np.flatnonzero(photos > (0 if single else 1))
    order = np.random.default_rng(seed).permutation(several)
    tested = round(test * len(order))
    validated = round(validation * (len(order) - tested))
    learned = len(order) - tested - validated
    if min(tested, validated, learned) < FEWEST:
        raise DatasetError(
            f"Of {len(several)} people, {learned} to learn from, {validated} for validation and {tested} for "
            "the test are too few.",
            f"Each part takes {FEWEST} people at least: add people, or change --validation and --test.",
        )
    alone = np.flatnonzero(photos == 1) if not single else several[:0]
    return Split(
        np.sort(np.concatenate([order[tested + validated :], alone])),
        np.sort(order[tested : tested + validated]),
        np.sort(order[:tested]),
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Faces of one batch.

    Attributes:
        photo: (n,) int64, numbers of photos.
        view: (n,) int64, which of a photo's views.
        person: (n,) int64.
    """

    photo: NDArray[np.int64]
    view: NDArray[np.int64]
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """Draws batches; the same seed and epoch give the same ones.

    Attributes:
        photos: For each person of whom pairs are made, the numbers of their photos; or one photo, whose other
            views stand for others.
        strangers: Numbers of photos whose people have no other: they fill batches up, as strangers to all.
        views: How many views a photo has.
        batch: Faces in a batch, at most.
        faces: Of one person in a batch.
        seed: Of all draws.
        least: Batches in an epoch, at least.
    """

    photos: tuple[NDArray[np.int64], ...]
    strangers: NDArray[np.int64]
    views: int
    batch: int
    faces: int
    seed: int
    least: int = 1

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield an epoch's batches: together they have about as many faces as there are photos, or more."""
        chance = np.random.default_rng([self.seed, number])
        total = sum(max(len(photos), self.faces) for photos in self.photos) + len(self.strangers)
        people = max(2, min(len(self.photos), self.batch // self.faces))
        if len(self.strangers):
            people = max(2, min(len(self.photos), 2 * people // 3))
        whole = min(self.batch, people * self.faces + len(self.strangers))
        for _ in range(max(self.least, -(-total // whole))):
            yield self._batch(chance.choice(len(self.photos), people, replace=False), chance)

    def _batch(self, people: NDArray[np.int64], chance: np.random.Generator) -> Batch:
        photo, view, person = [], [], []
        for one in people.tolist():
            own = self.photos[one]
            if len(own) > 1:
                chosen = chance.permutation(own)[: self.faces]
                shown = chance.integers(self.views, size=len(chosen))
            else:
                # The same photo in different views.
                chosen = np.repeat(own, self.faces)
                shown = (chance.integers(self.views) + np.arange(self.faces)) % self.views
            photo.append(chosen)
            view.append(shown)
            person.append(np.full(len(chosen), one))
        room = min(self.batch - sum(map(len, photo)), len(self.strangers))
        if room > 0:
            photo.append(chance.choice(self.strangers, room, replace=False))
            view.append(chance.integers(self.views, size=room))
            person.append(len(self.photos) + np.arange(room))
        return Batch(*(np.concatenate(parts).astype(np.int64) for parts in (photo, view, person)))
