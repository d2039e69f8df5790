"""The photos to train and test on, their division by people, and the batches drawn from them.

Batches show each face in another pose, in another light, taken by another camera: image augmentation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.evaluate.dataset import read_people
from facesearch.photos.find import Scan, find_photos

# With fewer people in a part, its accuracy is a matter of chance.
FEWEST_PEOPLE = 2
# More views than are ever drawn.
UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """Photos and the people whom they show.

    Attributes:
        folder: The folder that holds the photos, as an absolute path.
        paths: Absolute paths.
        person: (m,) int32, the person of each photo.
        names: The people's names.
        remarks: What is unusual about the photos, in sentences.
        single: Whether each photo is a person of its own, represented by augmented views of it.
    """

    folder: str
    paths: tuple[str, ...]
    person: NDArray[np.int32]
    names: tuple[str, ...]
    remarks: tuple[str, ...]
    single: bool


def photos_of_people(folder: str) -> LabelledPhotos:
    """Return the photos in a folder that has a folder for each person.

    Raises:
        DatasetError: The folder cannot be used for that.
    """
    found = read_people(folder)
    return LabelledPhotos(folder, found.paths, found.person, found.names, found.remarks, single=False)


def photos_of_singles(folder: str) -> LabelledPhotos:
    """Return the photos in a folder and its subfolders, each as a person of its own.

    Raises:
        DatasetError: The folder cannot be read, or holds fewer than two photos.
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
        raise DatasetError(
            f"{folder!r} holds {'only one photo' if paths else 'no photos'}.",
            "Add photos of other people, one of each.",
        )
    names = tuple(os.path.relpath(path, folder) for path in paths)
    return LabelledPhotos(folder, paths, np.arange(len(paths), dtype=np.int32), names, (), single=True)


@dataclass(frozen=True, slots=True)
class VectorViews:
    """A backbone's vectors of each photo, in one or more views.

    Attributes:
        views: (m, views, dim) float32; view 0 is the photo as it is.
    """

    views: NDArray[np.float32]

    def inputs(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of views of photos; see `keras_training.Inputs`."""
        return self.views[photo, view]

    @property
    def count(self) -> int:
        """The number of views to draw from."""
        return int(self.views.shape[1])


@dataclass(frozen=True, slots=True)
class PixelViews:
    """The crop of each photo, augmented anew each time it is drawn; view 0 is the crop as it is.

    Attributes:
        crops: (m, height, width, 3) BGR uint8.
        strength: The largest change that augmentation makes.
        augmented: Whether augmented views are drawn for training at all.
    """

    crops: NDArray[np.uint8]
    strength: Strength
    augmented: bool = True

    def inputs(self, photo: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the pixels of views of photos; see `keras_training.Inputs`."""
        faces = [
            augment(self.crops[p], self.strength, rng_of(self.crops[p], v)) if v else self.crops[p]
            for p, v in zip(photo.tolist(), view.tolist(), strict=True)
        ]
        return np.stack(faces).astype(np.float32)

    @property
    def count(self) -> int:
        """The number of views to draw from: one, or more than are ever drawn."""
        return UNLIMITED if self.augmented else 1


def views_of_people(
    person: NDArray[np.int32], people: NDArray[np.int64], warps: int, *, single: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return the views that people are validated or tested on: photos, views and people, (n,) each.

    Args:
        person: (m,) the person of each photo.
        people: The people to test.
        warps: The number of augmented views of each photo.
        single: Whether people have one photo each, whose augmented views stand for other photos.
    """
    photo = np.flatnonzero(np.isin(person, people))
    if not single:
        return photo, np.zeros_like(photo), person[photo]
    view = np.tile(np.arange(1, warps + 1), len(photo))
    photo = np.repeat(photo, warps)
    return photo, view, person[photo]


@dataclass(frozen=True, slots=True)
class Split:
    """The people of each part, by number; the parts have no person in common.

    Attributes:
        train: People whose photos the network learns from.
        validation: People who decide when training stops, and give the threshold and the probabilities.
        test: People who are used once, at the end.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_people(
    person: NDArray[np.int32], *, validation: float, test: float, seed: int, single: bool = False
) -> Split:
    """Divide people at random into three parts.

    Where some people have several photos, those with one all go to the training part, as strangers to the
    others.

    Args:
        person: (m,) the person of each photo, numbered from 0.
        validation: The share of people for validation, among those outside the test part.
        test: The share of people for the test.
        seed: Seed of the random order.
        single: Whether all have one photo, whose augmented views stand for others.

    Raises:
        DatasetError: There are too few people.
    """
    photos = np.bincount(person)
    several = np.flatnonzero(photos > (0 if single else 1))
    order = np.random.default_rng(seed).permutation(several)
    tested = round(test * len(order))
    validated = round(validation * (len(order) - tested))
    trained = len(order) - tested - validated
    if min(tested, validated, trained) < FEWEST_PEOPLE:
        raise DatasetError(
            f"{len(several)} people give {trained} for training, {validated} for validation and {tested} for "
            "the test, which is too few.",
            f"Each part needs {FEWEST_PEOPLE} people or more: add people, or change --validation and --test.",
        )
    with_one = np.flatnonzero(photos == 1) if not single else several[:0]
    return Split(
        np.sort(np.concatenate([order[tested + validated :], with_one])),
        np.sort(order[tested : tested + validated]),
        np.sort(order[:tested]),
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """The faces of one batch.

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
    """Draws batches of several faces of each of several people; the same seed and epoch give the same ones.

    Attributes:
        photos: For each person of whom pairs are made, the numbers of their photos; or one photo, whose
            views stand for other photos.
        strangers: Numbers of photos whose people have no other photo. They fill up batches, as strangers to
            everyone.
        views: The number of views of a photo.
        batch: The most faces in a batch.
        faces: The most faces of one person in a batch.
        seed: Seed of all draws.
        least: The fewest batches in an epoch.
    """

    photos: tuple[NDArray[np.int64], ...]
    strangers: NDArray[np.int64]
    views: int
    batch: int
    faces: int
    seed: int
    least: int = 1

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield an epoch's batches, which together hold about as many faces as there are photos, or more."""
        rng = np.random.default_rng([self.seed, number])
        total = sum(max(len(photos), self.faces) for photos in self.photos) + len(self.strangers)
        people = max(2, min(len(self.photos), self.batch // self.faces))
        if len(self.strangers):
            people = max(2, min(len(self.photos), 2 * people // 3))
        full = min(self.batch, people * self.faces + len(self.strangers))
        for _ in range(max(self.least, -(-total // full))):
            yield self._batch(rng.choice(len(self.photos), people, replace=False), rng)

    def _batch(self, people: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        photo, view, person = [], [], []
        for one in people.tolist():
            own = self.photos[one]
            if len(own) > 1:
                photos = rng.permutation(own)[: self.faces]
                views = rng.integers(self.views, size=len(photos))
            else:
                # The same photo in different views.
                photos = np.repeat(own, self.faces)
                views = (rng.integers(self.views) + np.arange(self.faces)) % self.views
            photo.append(photos)
            view.append(views)
            person.append(np.full(len(photos), one))
        room = min(self.batch - sum(map(len, photo)), len(self.strangers))
        if room > 0:
            photo.append(rng.choice(self.strangers, room, replace=False))
            view.append(rng.integers(self.views, size=room))
            person.append(len(self.photos) + np.arange(room))
        return Batch(*(np.concatenate(parts).astype(np.int64) for parts in (photo, view, person)))


@dataclass(frozen=True, slots=True)
class Strength:
    """The largest change that augmentation makes, in either direction.

    Attributes:
        turn: Rotation in degrees.
        zoom: Change of size, as a fraction of it.
        shift: In widths of the picture.
        shear: In widths of the picture.
        tilt: How far each corner moves on its own, in widths of the picture.
        light: Change of brightness, as a fraction of it; the channels differ by a third of that.
        gamma: Change of the exponent, as a fraction of it.
        shade: How much darker one side is than the other, as a fraction.
        blur: Standard deviation, in hundredths of the width.
        grain: Standard deviation of the noise, in levels of 255.
        mirrored: The probability that the picture is mirrored.
    """

    turn: float
    zoom: float
    shift: float
    shear: float
    tilt: float
    light: float
    gamma: float
    shade: float
    blur: float
    grain: float
    mirrored: float = 0.5


# A photograph of the same moment: for the features of a pretrained backbone.
SLIGHT = Strength(8.0, 0.08, 0.04, 0.03, 0.03, 0.2, 0.2, 0.2, 0.8, 3.0)
# Another moment, another light: so strong that a plain 16x16 pixel distance, which is part of every report,
# gets about two of three pairs of UTKFace right. Not mirrored: a pixel distance could undo that.
STRONG = Strength(32.0, 0.25, 0.13, 0.13, 0.11, 0.3, 0.35, 0.3, 2.0, 4.0, mirrored=0.0)


def augment(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture with random changes of pose, light and sharpness.

    Args:
        crop: (height, width, 3) BGR uint8.
        strength: The largest change.
        rng: The source of the random numbers.

    Returns:
        A picture of the same shape. Areas from outside the crop are filled with its reflection.
    """
    return _relight(_move(crop, strength, rng), strength, rng)


def rng_of(crop: NDArray[np.uint8], number: int) -> np.random.Generator:
    """Return a generator that is always the same for the same pixels and number."""
    digest = hashlib.blake2b(
        np.ascontiguousarray(crop).data, digest_size=8, salt=number.to_bytes(8, "little")
    )
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


def augmented_views(crop: NDArray[np.uint8], count: int, strength: Strength) -> NDArray[np.uint8]:
    """Return a picture, followed by `count` augmented copies of it: (1 + count, height, width, 3)."""
    numbers = range(1, count + 1)
    return np.stack([crop, *(augment(crop, strength, rng_of(crop, number)) for number in numbers)])


def _move(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    angle = np.deg2rad(rng.uniform(-strength.turn, strength.turn))
    scale = np.exp(rng.uniform(-strength.zoom, strength.zoom))
    shear = rng.uniform(-strength.shear, strength.shear)
    mirror = -1.0 if rng.random() < strength.mirrored else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([mirror, 1.0])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    moved = corners @ linear.T + rng.uniform(-strength.shift, strength.shift, 2)
    moved += rng.uniform(-strength.tilt, strength.tilt, (4, 2)) / 2
    size = np.array([width - 1, height - 1])
    transform = cv2.getPerspectiveTransform(
        ((corners + 0.5) * size).astype(np.float32), ((moved + 0.5) * size).astype(np.float32)
    )
    return np.asarray(
        cv2.warpPerspective(crop, transform, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _relight(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    channels = 1.0 + rng.uniform(-strength.light, strength.light, 3) / 3
    gain = channels * (1.0 + rng.uniform(-strength.light, strength.light))
    gamma = np.exp(rng.uniform(-strength.gamma, strength.gamma)) * channels
    levels = np.arange(256)[:, None] / 255.0
    curve = np.clip(255.0 * gain * levels**gamma, 0, 255).astype(np.uint8)
    lit = cv2.LUT(crop, curve[None]).astype(np.float32)
    towards = rng.uniform(0, 2 * np.pi)
    across = np.cos(towards) * np.linspace(-1, 1, width, dtype=np.float32)
    down = np.sin(towards) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    lit *= (1.0 + rng.uniform(0, strength.shade) * (across + down)).astype(np.float32)[..., None]
    blur = rng.uniform(0, strength.blur) * width / 100
    if blur > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), blur)
    lit += np.float32(rng.uniform(0, strength.grain)) * rng.standard_normal(lit.shape, np.float32)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
