"""Which faces stand in one batch: some people, a few faces of each, so that both kinds of pairs are in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
        """Give an epoch's batches: together they have about as many faces as there are photos, or more."""
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
