"""The people of an index: which faces belong to whom, the names, and the user's corrections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import PeopleError
from facesearch.faces import Box
from facesearch.index.index import Index
from facesearch.judge import poor_faces
from facesearch.models.calibration import QualityScale
from facesearch.paths import known_path
from facesearch.people.grouping import ALONE, group_faces
from facesearch.people.register import IGNORED, Register, face_keys, folded, good_name, placed

# Of so many people at once the portraits are chosen: their vectors are in memory together.
_BLOCK = 2048
# More digits than any number has; Python refuses to read thousands of them.
_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Person:
    """One of the people of an index.

    Attributes:
        number: From 1; it stays.
        name: Empty where none was given.
        faces: Rows of the index, in its order.
        photos: Number of photos.
    """

    number: int
    name: str
    faces: tuple[int, ...]
    photos: int

    @property
    def title(self) -> str:
        """The name, or what stands in for it."""
        return self.name or f"Person {self.number}"


@dataclass(frozen=True, slots=True)
class Grouped:
    """What grouping did.

    Attributes:
        new: Newly found people.
        joined: Faces that joined known people.
        alone: Faces like no other, which belong to nobody yet.
    """

    new: int
    joined: int
    alone: int


class People:
    """The people of an index. Changes last once `register` is written.

    Args:
        index: The index.
        register: What is known of faces; entries of faces that are not in the index stay.

    Attributes:
        whose: (F,) int64, the number of each face's person; 0 for an ignored face, -1 for an unknown one.
    """

    def __init__(self, index: Index, register: Register) -> None:
        self.index = index
        whose, elsewhere = placed(index, register)
        self.whose = np.maximum(whose, ALONE)
        self._settled = whose >= ALONE  # who was grouped need not look for others again
        self._elsewhere = elsewhere.of_people()
        self._names = dict(register.names)
        self._last = register.last
        self._grouped = register.grouped
        self._alike, self._changed = register.alike, set(register.changed)

    @property
    def up_to_date(self) -> bool:
        """Whether the index is as it was when it was grouped."""
        return self._grouped == self.index.meta.updated

    def stay_up_to_date(self, index: Index) -> None:
        """Record that a newly written index holds no face that was not grouped."""
        if self.up_to_date:
            self._grouped = index.meta.updated

    @property
    def register(self) -> Register:
        """The register to write."""
        known = np.flatnonzero((self.whose >= IGNORED) | self._settled)
        keys = face_keys(self.index.digest[self.index.photo[known]], self.index.boxes[known])
        _, first = np.unique(keys, return_index=True)  # copies of a photo count once
        rows, old = known[np.sort(first)], self._elsewhere
        return Register(
            np.concatenate([old.digest, self.index.digest[self.index.photo[rows]]]),
            np.concatenate([old.boxes, self.index.boxes[rows]]),
            np.concatenate([old.person, self.whose[rows].astype(np.int32)]),
            self._names,
            self._last,
            self._grouped,
            self._alike,
            frozenset(self._changed),
        )

    def group(self, within: float, quality: QualityScale | None = None) -> Grouped:
        """Group the faces that belong to nobody yet: each joins a known person, or others form a new one.

        Copies of a photo count once, so that copies alone do not make a person. Those who were grouped in the
        same way before do not look for others again, apart from people who were changed by hand.

        Args:
            within: The cosine distance up to which two groups are one person.
            quality: What tells poor faces, which are left out; None to group all.
        """
        alike = f"{self.index.meta.model} {self.index.meta.model_digest} {within!r}"
        settled = self._settled & ~np.isin(self.whose, sorted(self._changed))
        settled &= alike == self._alike
        usable = self.index.norms > 0
        if quality is not None:
            usable &= (self.whose != ALONE) | ~self.poor(quality)
        open_rows = np.flatnonzero((self.whose != IGNORED) & usable)
        keys = face_keys(self.index.digest[self.index.photo[open_rows]], self.index.boxes[open_rows])
        _, first, copy = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)  # in the index's order, which decides who is numbered first
        rows, place = open_rows[first[order]], np.argsort(order)[copy.reshape(-1)]
        before = self.whose[rows]
        numbers = group_faces(
            np.asarray(self.index.vectors[rows]), within=within, known=before, settled=settled[rows]
        )
        known = np.isin(numbers, before[before != ALONE])
        _, group, sizes = np.unique(numbers[~known], return_inverse=True, return_counts=True)
        people = sizes > 1
        after = numbers.copy()
        after[~known] = np.where(people, self._last + np.cumsum(people), ALONE)[group]
        new = int(people.sum())
        self._last += new
        self.whose[open_rows] = after[place]
        self._settled[open_rows] = True
        self._grouped, self._alike = self.index.meta.updated, alike
        self._changed.clear()
        joined = int(np.sum((before == ALONE) & known))
        return Grouped(new, joined, int(np.sum(after == ALONE)))

    def poor(self, scale: QualityScale) -> NDArray[np.bool_]:
        """Return which faces of the index are poor, (F,)."""
        return poor_faces(self.index.vectors, scale)

    def poor_and_alone(self, scale: QualityScale) -> list[int]:
        """Return the rows of the poor faces that belong to nobody."""
        rows: list[int] = np.flatnonzero((self.whose == ALONE) & self.poor(scale)).tolist()
        return rows

    def everyone(self) -> list[Person]:
        """Return all people: the named ones by name, then the others by number of photos."""
        order = np.argsort(self.whose, kind="stable")
        order = order[np.searchsorted(self.whose[order], IGNORED, "right") :]
        whose, photo = self.whose[order], self.index.photo[order]
        # Within a person the faces are in the index's order, those of a photo together.
        first = np.ones(len(order), np.bool_)
        first[1:] = (whose[1:] != whose[:-1]) | (photo[1:] != photo[:-1])
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(first)])
        numbers, starts, counts = np.unique(whose, return_index=True, return_counts=True)
        stops = starts + counts
        rows, photos = order.tolist(), (before[stops] - before[starts]).tolist()
        people = [
            Person(number, self._names.get(number, ""), tuple(rows[start:stop]), count)
            for number, start, stop, count in zip(
                numbers.tolist(), starts.tolist(), stops.tolist(), photos, strict=True
            )
        ]
        gone = self._names.keys() - set(numbers.tolist())
        people += [Person(number, self._names[number], (), 0) for number in gone]
        return sorted(people, key=lambda one: (not one.name, one.name.casefold(), -one.photos, one.number))

    def person(self, who: str | int, *, exact: bool = True) -> Person:
        """Return a person by number or name.

        Args:
            who: The number or the name.
            exact: Whether it has to be the whole name; otherwise some whole words of it will do, where only
                one person has them.

        Raises:
            PeopleError: No person has that number or name, or several have these words in theirs.
        """
        number = self._number(str(who), exact=exact)
        rows = np.flatnonzero(self.whose == number)
        known = len(rows) or number in self._names or number in self._elsewhere.person
        if number <= IGNORED or not known:
            raise PeopleError(f"There is no person {number}.", "`facesearch people list` names them.")
        return Person(
            number,
            self._names.get(number, ""),
            tuple(rows.tolist()),
            len(np.unique(self.index.photo[rows])),
        )

    def face(self, photo: str, number: int) -> int:
        """Return the row of a photo's face by its number, 1 for the largest.

        Raises:
            PeopleError: The index does not hold it.
        """
        row = self.index.find(known_path(photo, self.index.meta.roots))
        if row is None:
            raise PeopleError(
                f"The index holds no photo {photo!r}.", "`facesearch info --list ok` lists them."
            )
        faces = self.index.faces_of(row)
        if not 1 <= number <= len(faces):
            raise PeopleError(f"{photo!r} has no face number {number}; it has {len(faces)}.")
        return faces[number - 1]

    def name(self, person: Person, text: str) -> Person:
        """Name a person.

        Raises:
            PeopleError: It is not a name, or another person has it.
        """
        name = good_name(text)
        for number, other in self._names.items():
            if folded(other) == folded(name) and number != person.number:
                raise PeopleError(
                    f"Person {number} is called {other!r} already.",
                    f"If both are the same person: facesearch people merge {number} {person.number}",
                )
        self._names[person.number] = name
        return self.person(person.number)

    def merge(self, into: Person, others: Iterable[Person]) -> Person:
        """Merge several people into one, which keeps the first number, and the first name that is given."""
        for other in others:
            self._changed.add(into.number)
            self.whose[self.whose == other.number] = into.number
            self._elsewhere.person[self._elsewhere.person == other.number] = into.number
            name = self._names.pop(other.number, "")
            if name:
                self._names.setdefault(into.number, name)
        return self.person(into.number)

    def assign(self, faces: Iterable[int], person: Person | None) -> Person:
        """Assign faces to a person, or to a new one; the same faces in copies of their photos too."""
        number = person.number if person is not None else self._last + 1
        self._last = max(self._last, number)
        self._set(faces, number)
        return self.person(number)

    def ignore(self, faces: Iterable[int]) -> None:
        """Ignore faces: false detections and strangers."""
        self._set(faces, IGNORED)

    def release(self, faces: Iterable[int]) -> None:
        """Undo that faces are ignored or belong to a person."""
        self._set(faces, ALONE)

    def elsewhere(self, person: Person) -> list[tuple[bytes, Box]]:
        """Return a person's faces that are not in the index, each by its photo's digest and its box."""
        own = self._elsewhere.person == person.number
        digests, boxes = self._elsewhere.digest[own], self._elsewhere.boxes[own].tolist()
        return [(digest.tobytes(), Box(*box)) for digest, box in zip(digests, boxes, strict=True)]

    def remove(self, person: Person) -> None:
        """Remove a person; the faces then belong to nobody."""
        gone = self.whose == person.number
        self.whose[gone], self._settled[gone] = ALONE, False
        old, stays = self._elsewhere, self._elsewhere.person != person.number
        self._elsewhere = Register(old.digest[stays], old.boxes[stays], old.person[stays])
        self._names.pop(person.number, None)

    def mean_distances(self, faces: Sequence[int]) -> NDArray[np.float64]:
        """Return the mean cosine distance of each face from the others, (n,); 0 for a single face."""
        if not len(faces):
            return np.empty(0)
        flat = self._flat(np.asarray(faces, np.int64))
        # A face's distance from itself is 0, and does not count.
        others = max(len(flat) - 1, 1) / len(flat)
        return np.asarray((1.0 - flat @ flat.mean(axis=0)) / others, np.float64)

    def portrait(self, person: Person) -> int:
        """Return a person's most typical face: of the larger half, the one nearest to the others."""
        return self.portraits([person])[0]

    def portraits(self, people: Sequence[Person]) -> list[int]:
        """Return the portrait of each of several people, each of whom has a face."""
        blocks = (people[at : at + _BLOCK] for at in range(0, len(people), _BLOCK))
        return [face for block in blocks for face in self._portraits(block)]

    def _portraits(self, people: Sequence[Person]) -> list[int]:
        count = np.array([len(person.faces) for person in people])
        whose, starts = np.repeat(np.arange(len(people)), count), np.cumsum(count) - count
        rows = np.fromiter((row for person in people for row in person.faces), np.int64, len(whose))
        areas = self.index.boxes[rows, 2].astype(np.int64) * self.index.boxes[rows, 3]
        rising = areas[np.lexsort((areas, whose))]
        median = (rising[starts + (count - 1) // 2] + rising[starts + count // 2]) / 2
        large = areas >= median[whose]
        rows, whose = rows[large], whose[large]
        starts = np.searchsorted(whose, np.arange(len(people)))
        flat = self._flat(rows)
        near = np.einsum("fd,fd->f", flat, np.add.reduceat(flat, starts)[whose])
        order = np.lexsort((-near, whose))
        return [int(row) for row in rows[order[starts]]]

    def _flat(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors of unit length, (n, dim)."""
        lengths = np.maximum(self.index.norms[rows], 1e-12)[:, None]
        return np.asarray(self.index.vectors[rows] / lengths, np.float32)

    def _number(self, who: str, *, exact: bool) -> int:
        if who.isdecimal() and len(who) <= _LONGEST_NUMBER:
            return int(who)
        for number, name in self._names.items():
            if folded(name) == folded(who):
                return number
        part = f" {folded(who)} "
        some = [] if exact else [one for one, name in self._names.items() if part in f" {folded(name)} "]
        if len(some) == 1:
            return some[0]
        if some:
            names = ", ".join(repr(self._names[number]) for number in some[:3])
            raise PeopleError(f"Several people are called {who!r}: {names}.", "Give the whole name.")
        from difflib import get_close_matches

        near = get_close_matches(who, self._names.values(), n=1)
        meant = f"Did you mean {near[0]!r}?" if near else "`facesearch people list` names them."
        raise PeopleError(f"Nobody is called {who!r}.", meant)

    def _set(self, faces: Iterable[int], number: int) -> None:
        rows = np.asarray(list(faces), np.int64)
        keys = face_keys(self.index.digest[self.index.photo], self.index.boxes)
        same = np.isin(keys, keys[rows])
        self._changed.update(one for one in {number, *self.whose[same].tolist()} if one > IGNORED)
        self.whose[same] = number
        self._settled[same] = False
