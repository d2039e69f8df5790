"""Judges how near two faces are by how near strangers come in the same library.

A distance does not mean the same everywhere: children look more alike to a network than adults do, and so do
people from one part of the world, small faces, and old photographs. So a library is its own measure. A sample
of its faces, the cohort, says for each face how near it comes to others; a pair's similarity is counted in
units of what is usual for its two faces.

1. The cohort's mean is subtracted from the unit vectors: what all faces of the library share tells nothing.
   In the mean each person counts about once, however many photos there are of them.
2. For each face, the median and the 90th percentile of its similarities to the cohort are its location and
   spread. Faces that may show the same person are left out first: those near to it, and those near to two of
   the cohort that are near to it. Otherwise a library of six people would call them all strangers.
3. The nearness of two faces is the mean of (similarity - location) / spread for the one and for the other.

This is adaptive score normalisation as known from speaker verification (S-norm: Shum et al., Odyssey 2010),
with a cohort from the library itself and without labels. A small cohort is completed by the reference of the
model's card, as if by `PRIOR` more faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facesearch.models.calibration import LibraryScale
from facesearch.ranking import unit_vectors, usable_unit_vectors

# Faces in a cohort.
SIZE = 1000
# Fewer faces than this say nothing of their own: the reference alone counts.
LEAST = 50
# The reference weighs as much as so many faces, or people, of the cohort.
PRIOR = 20
# Strangers' location lies at most this much above the reference, and their spread is at most so many times as
# large, to the first number surely, beyond the second never.
FOREIGN, WIDE = (0.04, 0.1), (1.8, 2.8)
# Nearness, with the spread taken from the lower half, at which two faces may show one person.
LINKED = 5.75
# Standard deviations from the median of a normal distribution to its quartile and to its 90th percentile.
_QUARTILE, NINETIETH = 0.6745, 1.2816
_LEAST_SPREAD = 0.01
# Rows compared with the cohort at once: some MB.
_BLOCK = 2048

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where some faces stand among the faces of a library.

    Attributes:
        vectors: (n, dim) float32, of length 1, about the library's centre.
        location: (n,) float32, the usual similarity of a stranger.
        spread: (n,) float32, how much it varies, in standard deviations.
    """

    vectors: Vectors
    location: Vectors
    spread: Vectors


@dataclass(frozen=True)
class Cohort:
    """A sample of a library's faces.

    Attributes:
        faces: (c, dim) float32, their unit vectors.
        centre: (dim,) float32, the mean of the unit vectors, each person counted about once.
        people: About how many people they show.
        scale: The reference of the model.
    """

    faces: Vectors
    centre: Vectors
    people: float
    scale: LibraryScale

    @classmethod
    def of(cls, sample: Vectors, scale: LibraryScale) -> Cohort:
        """Return the cohort of a random sample of a library's faces, (n, dim) float32 of any length."""
        faces = usable_unit_vectors(sample)
        # Faces that are near to each other share the weight of a person.
        share = 1.0 / (faces @ faces.T >= scale.near).sum(axis=1).clip(1)
        people, reference = float(share.sum()), np.asarray(scale.centre, np.float32)
        if len(faces) < LEAST:
            return cls(faces, reference, people, scale)
        centre = (share.astype(np.float32) @ faces + PRIOR * reference) / (people + PRIOR)
        return cls(faces, np.asarray(centre, np.float32), people, scale)

    @property
    def speaks(self) -> bool:
        """Whether there are enough faces to say something of their own."""
        return len(self.faces) >= LEAST

    def standing(self, vectors: Vectors) -> Standing:
        """Return where some faces stand: (n, dim) float32 of any length."""
        centred = self._centred(vectors)
        blocks = [self._block(centred[at : at + _BLOCK]) for at in range(0, max(len(centred), 1), _BLOCK)]
        location, spread = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return Standing(centred, location, spread)

    def _centred(self, vectors: Vectors) -> Vectors:
        unit = unit_vectors(vectors)
        centred = unit_vectors(unit - self.centre)
        # A vector without length points nowhere, and is near to nobody.
        centred[~unit.any(axis=1)] = np.nan
        return centred

    @cached_property
    def _members(self) -> tuple[Vectors, Vectors, Vectors, Vectors]:
        """The cohort about the centre; its locations and lower spreads; which are near to which."""
        members = self._centred(self.faces)
        similarity = members @ members.T
        location, spread = _lower(similarity)
        linked = _nearness(similarity, location, spread, location, spread) >= LINKED
        return members, location, spread, linked.astype(np.float32)

    def _block(self, centred: Vectors) -> tuple[Vectors, Vectors]:
        """Return the location and spread of some faces."""
        scale, count = self.scale, len(centred)
        if not self.speaks:
            return np.full(count, scale.location, np.float32), np.full(count, scale.spread, np.float32)
        members, location, spread, linked = self._members
        similarity = centred @ members.T
        near = _nearness(similarity, *_lower(similarity), location, spread) >= LINKED
        # A face that is near to two others that are near to it is of the same person, more likely than not.
        near |= near.astype(np.float32) @ linked >= 2
        middle, high, left = _quantiles_without(similarity, near)
        # People are worth more than faces: two people in a thousand photos say little of strangers.
        told = np.minimum(left, self.people)
        # A face that is usually much nearer than strangers are, or far more variably, is compared with its
        # own person for a good part; then the library says nothing of strangers, and the reference stands in.
        wide = (high - middle) / NINETIETH / scale.spread
        strange = np.minimum(_fading(middle - scale.location, FOREIGN), _fading(wide, WIDE))
        weight = strange * told / (told + PRIOR)
        location = weight * middle + (1 - weight) * scale.location
        spread = weight * (high - middle) / NINETIETH + (1 - weight) * scale.spread
        return location.astype(np.float32), np.maximum(spread, _LEAST_SPREAD).astype(np.float32)


def nearness(one: Standing, other: Standing) -> Vectors:
    """Return how near each face of one is to each face of the other, (n, m) float32; larger is nearer."""
    similarity = one.vectors @ other.vectors.T
    return _nearness(similarity, one.location, one.spread, other.location, other.spread)


def mean_nearness(faces: Standing, to: Standing) -> Vectors:
    """Return how near each face is to some others on average, (n,) float32; larger is nearer."""
    similarity = faces.vectors @ to.vectors.mean(axis=0)
    here = (similarity - faces.location) / faces.spread
    there = faces.vectors @ (to.vectors / to.spread[:, None]).mean(axis=0) - (to.location / to.spread).mean()
    return np.asarray((here + there) / 2, np.float32)


def nearness_among(faces: Standing) -> Vectors:
    """Return how near each of several faces is to the others on average, (n,) float32; larger is nearer."""
    count = len(faces.vectors)
    itself = (1.0 - faces.location) / faces.spread
    if count == 1:
        return np.asarray(itself, np.float32)
    return np.asarray((count * mean_nearness(faces, faces) - itself) / (count - 1), np.float32)


def _nearness(
    similarity: Vectors, location: Vectors, spread: Vectors, locations: Vectors, spreads: Vectors
) -> Vectors:
    rows = (similarity - location[:, None]) / spread[:, None]
    columns = (similarity - locations) / spreads
    return np.asarray((rows + columns) / 2, np.float32)


def _fading(value: Vectors, ends: tuple[float, float]) -> Vectors:
    """Return 1 up to the first end, 0 from the second on, and between them what lies between."""
    low, high = ends
    return np.asarray(np.clip((high - value) / (high - low), 0.0, 1.0), np.float32)


def _lower(similarity: Vectors) -> tuple[Vectors, Vectors]:
    """Return the median of each row, and the spread of its lower half, which holds strangers alone."""
    places = [round(share * (similarity.shape[1] - 1)) for share in (0.25, 0.5)]
    ordered = np.partition(similarity, places, axis=1)
    quartile, median = ordered[:, places[0]], ordered[:, places[1]]
    return median, np.maximum((median - quartile) / _QUARTILE, _LEAST_SPREAD).astype(np.float32)


def _quantiles_without(similarity: Vectors, near: NDArray[np.bool_]) -> tuple[Vectors, Vectors, Vectors]:
    """Return the median and the 90th percentile of each row without some columns, and how many are left."""
    ordered = np.sort(np.where(near, np.float32(np.inf), similarity), axis=1)
    left = (~near).sum(axis=1)
    rows, last = np.arange(len(ordered)), np.maximum(left - 1, 0)
    middle, high = (ordered[rows, np.rint(share * last).astype(np.int64)] for share in (0.5, 0.9))
    nobody = left == 0  # then the weight of what is returned here is 0
    return np.where(nobody, 0, middle), np.where(nobody, 0, high), left
