"""The people of an index: which faces belong to whom, the names, and the user's corrections."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import PeopleError
from facesearch.faces import UNDATED, Box, Captured, FaceId
from facesearch.index.changes import SAME_FACE
from facesearch.index.index import Index
from facesearch.judge import poor_faces
from facesearch.models.calibration import QualityScale
from facesearch.paths import known_path
from facesearch.people.facts import (
    LONGEST_NUMBER,
    Facts,
    Side,
    differences,
    folded,
    good_name,
    numbered,
    plain,
    put_back,
)
from facesearch.people.grouping import ALONE, NOBODY, group_faces
from facesearch.people.log import Entry, KnownFaces, face_keys
from facesearch.people.register import IGNORED, NEW, Register, placed
from facesearch.show.wording import escaped

# Of so many people at once the portraits are chosen: their vectors are in memory together.
_BLOCK = 2048
_WHO_THERE_IS = "`facesearch people list` shows who there is."
# So that no number of a face that is taken back means "not in the index".
_ABOVE = 1 - 2 * NEW


@dataclass(frozen=True, slots=True)
class Person:
    """One of the people of an index.

    Attributes:
        number: From 1; it stays.
        name: Empty where none was given.
        faces: Rows of the index, in its order.
        photos: Number of photos: those with a face of the person, and those that were tagged by hand.
        hidden: Whether the person is not listed.
        tagged: Number of those photos that were tagged and in which no face of the person was found.
    """

    number: int
    name: str
    faces: tuple[int, ...]
    photos: int
    hidden: bool = False
    tagged: int = 0

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
    """The people of an index. Changes last once `register` is written; `undo` takes them back.

    Args:
        index: The index.
        register: What is known of faces; entries of faces that are not in the index stay.

    Attributes:
        whose: (F,) int64, the number of each face's person; 0 for an ignored face, -1 for an unknown one.
        facts: What is said of people.
        log: The changes that can be taken back, the oldest first.
    """

    def __init__(self, index: Index, register: Register) -> None:
        self.index = index
        whose, elsewhere = placed(index, register)
        self.whose = np.maximum(whose, ALONE)
        self._settled = whose >= ALONE  # who was grouped need not look for others again
        self._elsewhere = elsewhere.take(elsewhere.person != ALONE)
        self.facts = register.facts.copy()
        self._last = register.last
        self.log = register.log
        self._did: list[str] = []
        self._photos_with: dict[bytes, set[int]] = {}
        self._before = whose, self._elsewhere.person.copy(), self.facts.tables()

    @property
    def up_to_date(self) -> bool:
        """Whether the index is as it was when it was grouped."""
        return self.facts.grouped == self.index.meta.updated

    def stay_up_to_date(self, index: Index) -> None:
        """Record that a newly written index holds no face that was not grouped."""
        if self.up_to_date:
            self.facts.grouped = index.meta.updated

    @property
    def register(self) -> Register:
        """The register to write."""
        known = np.flatnonzero((self.whose >= IGNORED) | self._settled)
        faces = KnownFaces.joined([self._elsewhere, self._faces(known, self.whose)])
        entry = self._entry()
        return Register.of(faces, self.facts, self._last, self.log if entry is None else (*self.log, entry))

    def keys(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """Return what tells some faces from others, (n,); the same for copies of a photo."""
        return face_keys(self.index.digest[self.index.photo[rows]], self.index.places[rows])

    def _faces(self, rows: NDArray[np.int64], person: NDArray[np.int64]) -> KnownFaces:
        """Return some faces of the index, and whose they are by an array of all; copies of a photo once."""
        faces = KnownFaces(
            self.index.digest[self.index.photo[rows]], self.index.places[rows], person[rows].astype(np.int32)
        )
        return faces.take(np.sort(np.unique(faces.keys, return_index=True)[1]))

    def _entry(self) -> Entry | None:
        """Return what is different now, to be taken back one day; None where nothing is."""
        if not self._did:
            return None
        whose, elsewhere, tables = self._before
        facts = differences(tables, self.facts.tables())
        now = np.where(self._settled | (self.whose >= IGNORED), self.whose, NEW)
        rows = np.flatnonzero(now != whose)
        others = np.flatnonzero(self._elsewhere.person != elsewhere)
        if not (facts or len(rows) or len(others)):
            return None
        away = KnownFaces(self._elsewhere.digest[others], self._elsewhere.boxes[others], elsewhere[others])
        faces = KnownFaces.joined([away, self._faces(rows, whose)])
        return Entry.now("; ".join(self._did), faces, facts)

    def say(self, did: str) -> None:
        """Let the log say what was done, in place of all steps of it."""
        self._did = [did]

    def undo(self, count: int = 1) -> tuple[Entry, ...]:
        """Take the last changes back.

        Photos that came or went meanwhile do not matter. Numbers of people are not given again.

        Returns:
            What was taken back, the last change first.

        Raises:
            PeopleError: The log does not hold so many changes, or is damaged.
        """
        if count > len(self.log):
            raise self._no_more_to_undo()
        undone = tuple(reversed(self.log[len(self.log) - count :]))
        for entry in undone:
            self._take_back(entry)
        self.log = self.log[: len(self.log) - count]
        return undone

    def _no_more_to_undo(self) -> PeopleError:
        if self.log:
            changes = "1 change" if len(self.log) == 1 else f"{len(self.log):,} changes"
            return PeopleError(f"Only {changes} can be taken back.", "`facesearch people log` lists them.")
        forgot = len(self.index.forgotten) or len(self.index.erased)
        hint = "What was done before `forget` cannot be taken back." if forgot else ""
        return PeopleError("There is no change to undo.", hint)

    def photos_of(self, entries: Iterable[Entry]) -> list[int]:
        """Return the photos that some changes were about, as far as the index has them."""
        named = {number for entry in entries for number in _persons_in(entry)}
        digests = {digest.tobytes() for entry in entries for digest in entry.faces.digest}
        photos = set(self.index.photo[np.isin(self.whose, sorted(named))].tolist())
        return sorted(photos | self.index.photos_with(digests))

    def _take_back(self, entry: Entry) -> None:
        try:
            tables = {**put_back(self.facts.tables(), entry.facts), "mark": self.facts.mark}
            self.facts = Facts.read(tables, self._last)
        except ValueError as error:
            raise PeopleError(f"{entry.did!r} cannot be taken back: {error}.") from error
        faces = entry.faces
        found, away = placed(self.index, KnownFaces(faces.digest, faces.boxes, faces.person + _ABOVE))
        rows = np.flatnonzero(found != NEW)
        was = found[rows] - _ABOVE
        self.whose[rows], self._settled[rows] = np.maximum(was, ALONE), was >= ALONE
        others = KnownFaces(away.digest, away.boxes, away.person - np.int32(_ABOVE))
        stay = ~np.isin(self._elsewhere.keys, others.keys)
        of_people = others.take(others.person >= IGNORED)
        self._elsewhere = KnownFaces.joined([self._elsewhere.take(stay), of_people])

    def group(self, within: float, quality: QualityScale | None = None) -> Grouped:
        """Group the faces that belong to nobody yet: each joins a known person, or others form a new one.

        Copies of a photo count once, so that copies alone do not make a person. Those who were grouped in the
        same way before do not look for others again, apart from people who were changed by hand.

        Args:
            within: The cosine distance up to which two groups are one person.
            quality: What tells poor faces, which are left out; None to group all.
        """
        alike = f"{self.index.meta.model} {self.index.meta.model_digest} {within!r}"
        settled = self._settled & ~np.isin(self.whose, sorted(self.facts.changed))
        settled &= alike == self.facts.alike
        usable = self.index.norms > 0
        if quality is not None:
            usable &= (self.whose != ALONE) | ~self.poor(quality)
        open_rows = np.flatnonzero((self.whose != IGNORED) & usable)
        _, first, copy = np.unique(self.keys(open_rows), return_index=True, return_inverse=True)
        order = np.argsort(first)  # in the index's order, which decides who is numbered first
        rows, place = open_rows[first[order]], np.argsort(order)[copy.reshape(-1)]
        before = self.whose[rows]
        numbers = group_faces(
            np.asarray(self.index.vectors[rows]),
            within=within,
            known=before,
            settled=settled[rows],
            apart=self.apart_among(rows),
        )
        known = np.isin(numbers, before[before != ALONE])
        _, group, sizes = np.unique(numbers[~known], return_inverse=True, return_counts=True)
        several = sizes > 1
        after = numbers.copy()
        after[~known] = np.where(several, self._last + np.cumsum(several), ALONE)[group]
        new = int(several.sum())
        self._last += new
        self.whose[open_rows] = after[place]
        self._settled[open_rows] = True
        self.facts.grouped, self.facts.alike = self.index.meta.updated, alike
        self.facts.changed.clear()
        joined = int(np.sum((before == ALONE) & known))
        if new or joined:
            people = "1 new person" if new == 1 else f"{new:,} new people"
            faces = "1 face" if joined == 1 else f"{joined:,} faces"
            self._did.append(f"grouped faces: {people}, {faces} joined known people")
        return Grouped(new, joined, int(np.sum(after == ALONE)))

    def apart_among(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return who is not whom, as pairs of places among some rows of the index, (k, 2)."""
        if not self.facts.apart:
            return NOBODY
        whose = enumerate(self.whose[rows].tolist())
        places = {number: place for place, number in whose if number > IGNORED}
        faces = [side for pair in self.facts.apart for side in pair if isinstance(side, tuple)]
        at = np.full(self.index.face_count, -1, np.int64)
        at[rows] = np.arange(len(rows))
        known: dict[Side, int] = {**places}
        for face, row in zip(faces, self._rows_of(faces), strict=True):
            if row is not None and at[row] >= 0:
                known[face] = int(at[row])
        pairs = [[known[one] for one in pair] for pair in self.facts.apart if pair <= known.keys()]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def told_apart_from(self, person: int) -> tuple[set[int], set[int]]:
        """Return who is not a person: the numbers of others, and rows of faces."""
        others = [side for pair in self.facts.apart if person in pair for side in pair if side != person]
        rows = self._rows_of([side for side in others if isinstance(side, tuple)])
        return {side for side in others if isinstance(side, int)}, {row for row in rows if row is not None}

    def _rows_of(self, faces: Sequence[FaceId]) -> list[int | None]:
        """Return the row of each of some faces in the index, even if it was found in another box since."""
        photos: dict[bytes, list[int]] = {}
        for photo in sorted(self.index.photos_with({digest for digest, _ in faces})):
            for digest in self.index.file(photo).digests:
                photos.setdefault(digest, []).append(photo)

        def row_of(face: FaceId) -> int | None:
            digest, place = face
            rows = [row for photo in photos.get(digest, ()) for row in self.index.faces_of(photo)]
            best = max(rows, key=lambda row: self.index.place(row).overlap(place), default=None)
            if best is None or self.index.place(best) == place:
                return best
            moment, overlap = self.index.moment(best), self.index.place(best).overlap(place)
            # In a film, another face may be at the same place at another time.
            return best if overlap >= SAME_FACE and (moment is None or moment.frame) else None

        return [row_of(face) for face in faces]

    def poor(self, scale: QualityScale) -> NDArray[np.bool_]:
        """Return which faces of the index are poor, (F,)."""
        return poor_faces(self.index.vectors, scale)

    def poor_and_alone(self, scale: QualityScale) -> list[int]:
        """Return the rows of the poor faces that belong to nobody."""
        rows: list[int] = np.flatnonzero((self.whose == ALONE) & self.poor(scale)).tolist()
        return rows

    def ignored(self) -> list[int]:
        """Return the rows of the faces that are ignored."""
        rows: list[int] = np.flatnonzero(self.whose == IGNORED).tolist()
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
        tags = self._tags()
        people = [
            self._person(number, tuple(rows[start:stop]), count, tags)
            for number, start, stop, count in zip(
                numbers.tolist(), starts.tolist(), stops.tolist(), photos, strict=True
            )
        ]
        on_photos = {number for number, own in tags.items() if own}
        gone = (self.facts.names.keys() | on_photos) - set(numbers.tolist())
        people += [self._person(number, (), 0, tags) for number in gone]
        return sorted(
            people,
            key=lambda one: (not one.name, plain(one.name), one.name.casefold(), -one.photos, one.number),
        )

    def _person(
        self, number: int, faces: tuple[int, ...], photos: int, tags: Mapping[int, set[int]]
    ) -> Person:
        """Return a person with some faces in so many photos, who is tagged on others."""
        tagged = 0
        if number in tags:
            tagged = len(tags[number].difference(self.index.photo[list(faces)].tolist()))
        name, hidden = self.facts.names.get(number, ""), number in self.facts.hidden
        return Person(number, name, faces, photos + tagged, hidden, tagged)

    def person(self, who: str | int, *, exact: bool = True) -> Person:
        """Return a person by number or name.

        Args:
            who: The number or the name.
            exact: Whether it has to be the whole name; otherwise some whole words of it will do, and accents
                may be missing, where only one person is meant.

        Raises:
            PeopleError: No person has that number or name, or several have these words in theirs.
        """
        number = self._number(str(who), exact=exact)
        rows = np.flatnonzero(self.whose == number)
        tags = self._tags()
        known = len(rows) or number in self.facts.names or number in tags or number in self._elsewhere.person
        if number <= IGNORED or not known:
            raise PeopleError(f"There is no person {number}.", _WHO_THERE_IS)
        photos = len(np.unique(self.index.photo[rows]))
        return self._person(number, tuple(rows.tolist()), photos, tags)

    def title(self, number: int) -> str:
        """Return what a person is called."""
        return self.facts.names.get(number) or f"Person {number}"

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
        for number, other in self.facts.names.items():
            if folded(other) == folded(name) and number != person.number:
                raise PeopleError(
                    f"Person {number} is called {other!r} already.",
                    f"If both are the same person: facesearch people merge {number} {person.number}",
                )
        before = self.facts.names.get(person.number)
        self.facts.names[person.number] = name
        self._did.append(
            f'renamed person {person.number} from "{before}" to "{name}"'
            if before
            else f'named person {person.number} "{name}"'
        )
        return self.person(person.number)

    def merge(self, into: Person, others: Iterable[Person]) -> Person:
        """Merge several people into one, which keeps the first number, and the first name that is given."""
        for other in others:
            if other.number == into.number:
                continue
            self.facts.changed.add(into.number)
            self.whose[self.whose == other.number] = into.number
            self._elsewhere.person[self._elsewhere.person == other.number] = into.number
            self.facts.merge(other.number, into.number)
            self._did.append(f"merged {other.title} into {into.title}")
        return self.person(into.number)

    def assign(self, faces: Iterable[int], person: Person | None) -> Person:
        """Assign faces to a person, or to a new one; the same faces in copies of their photos too."""
        number = person.number if person is not None else self._last + 1
        self._last = max(self._last, number)
        if which := self._set(faces, number):
            self._did.append(
                f"made Person {number} of {which}" if person is None else f"gave {which} to {person.title}"
            )
        return self.person(number)

    def ignore(self, faces: Iterable[int]) -> None:
        """Ignore faces: false detections and strangers."""
        if which := self._set(faces, IGNORED):
            self._did.append(f"ignored {which}")

    def release(self, faces: Iterable[int]) -> None:
        """Undo that faces are ignored."""
        if which := self._set(faces, ALONE):
            self._did.append(f"stopped ignoring {which}")

    def reject(self, faces: Sequence[int], person: Person) -> None:
        """Say that faces are not a person's: they leave the person, and do not join it again."""
        others = [row for row in faces if self.whose[row] != person.number]
        if taken := self._set([row for row in faces if row not in others], ALONE):
            self._did.append(f"took {taken} out of {person.title}")
        if others:
            self._did.append(f"kept {self._which(others)} out of {person.title}")
        self.facts.apart.update(frozenset[Side]((self.face_id(row), person.number)) for row in faces)

    def face_id(self, row: int) -> FaceId:
        """Return what tells a face from all others, wherever its photo lies."""
        return self.index.digest[self.index.photo[row]].tobytes(), self.index.place(row)

    def face_title(self, row: int) -> str:
        """Return what a face is called: the name of its photo's file, and its number."""
        return f"{self._photo_title(int(self.index.photo[row]))}#{self.index.number(row)}"

    def _photo_title(self, photo: int) -> str:
        return escaped(os.path.basename(self.index.path(photo)))

    def set_apart(self, one: Person, other: Person) -> None:
        """Remember that two are not the same person, as a part of another change."""
        if one.number != other.number:
            self.facts.apart.add(frozenset((one.number, other.number)))

    def tell_apart(self, one: Side, other: Side, titles: str) -> None:
        """Say that two are not the same person.

        Args:
            one: A person's number, or a face.
            other: The same.
            titles: What the two are called.

        Raises:
            PeopleError: Both are one.
        """
        if one == other:
            raise PeopleError(f"{titles}: nobody is told apart from themselves.", "Name two.")
        self.facts.apart.add(frozenset((one, other)))
        self._did.append(f"told {titles} apart")

    def hide(self, people: Iterable[Person], *, undo: bool = False) -> None:
        """Hide people, who are not listed then and not suggested; or show them again."""
        for person in people:
            (self.facts.hidden.discard if undo else self.facts.hidden.add)(person.number)
            self._did.append(f"{'showed' if undo else 'hid'} {person.title}")

    def tag(self, photo: int, person: Person, box: Box | None = None, *, undo: bool = False) -> None:
        """Say that a person is on a photo, where no face of the person was found; or take that back.

        Args:
            photo: The photo's row in the index.
            person: The person.
            box: Where the person's face is in the upright photo; None where that is not said.
            undo: Whether to take it back.

        Raises:
            PeopleError: There is nothing to take back, or a face of the person was found there.
        """
        key, path = (self.index.digest[photo].tobytes(), person.number), self.index.path(photo)
        if undo and key not in self.facts.tagged:
            raise PeopleError(f"{person.title} was not tagged on {path!r}.")
        rows = self.index.faces_of(photo)
        if undo:
            del self.facts.tagged[key]
            self._did.append(f"took the tag {person.title} off {self._photo_title(photo)}")
        elif person.number in self.whose[rows.start : rows.stop]:
            raise PeopleError(
                f"A face of {person.title} was found in {path!r}.",
                "A tag is for photos without one: `query --person` finds this photo already.",
            )
        else:
            self.facts.tagged[key] = box
            self._did.append(f"tagged {person.title} on {self._photo_title(photo)}")

    def tagged_photos(self, person: Person) -> dict[int, Box | None]:
        """Return the photos on which a person was tagged by hand, and where."""
        wanted = {
            digest: box for (digest, number), box in self.facts.tagged.items() if number == person.number
        }
        photos = self._photos_of(wanted)
        found = {photo: box for digest, box in wanted.items() for photo in photos[digest]}
        return dict(sorted(found.items()))

    def _tags(self) -> dict[int, set[int]]:
        """Return the photos that people were tagged on, by their numbers."""
        photos = self._photos_of({digest for digest, _ in self.facts.tagged})
        found = defaultdict[int, set[int]](set)
        for digest, number in self.facts.tagged:
            found[number] |= photos[digest]
        return found

    def _photos_of(self, digests: Iterable[bytes]) -> Mapping[bytes, set[int]]:
        """Return the photos that have some pictures; all of the index is searched once for each."""
        new = {digest for digest in digests if digest not in self._photos_with}
        if new:
            self._photos_with.update((digest, set()) for digest in new)
            for photo in self.index.photos_with(new):
                if (digest := self.index.digest[photo].tobytes()) in new:
                    self._photos_with[digest].add(photo)
        return self._photos_with

    def cover(self, person: Person, row: int) -> None:
        """Choose the face that stands for a person."""
        self.facts.covers[person.number] = self.face_id(row)
        self._did.append(f"chose {self.face_title(row)} as the picture of {person.title}")

    def elsewhere(self, person: Person) -> list[tuple[bytes, Box]]:
        """Return a person's faces that are not in the index, each by its photo's digest and its box."""
        own = self._elsewhere.person == person.number
        digests, boxes = self._elsewhere.digest[own], self._elsewhere.boxes[own].tolist()
        return [(digest.tobytes(), Box(*box)) for digest, box in zip(digests, boxes, strict=True)]

    def remove(self, person: Person) -> None:
        """Remove a person for good, and the log; the faces then belong to nobody."""
        gone = self.whose == person.number
        faces = self._faces(np.flatnonzero(gone), self.whose)
        faces = KnownFaces.joined([faces, self._elsewhere.take(self._elsewhere.person == person.number)])
        ids = {
            (digest.tobytes(), Box(*box))
            for digest, box in zip(faces.digest, faces.boxes.tolist(), strict=True)
        }
        self.whose[gone], self._settled[gone] = ALONE, False
        self._elsewhere = self._elsewhere.take(self._elsewhere.person != person.number)
        self.facts.remove(person.number)
        self.facts.apart = {pair for pair in self.facts.apart if not pair & ids}
        self.log, self._did = (), []

    def mean_distances(self, faces: Sequence[int]) -> NDArray[np.float64]:
        """Return the mean cosine distance of each face from the others, (n,); 0 for a single face."""
        if not len(faces):
            return np.empty(0)
        flat = self.unit_vectors(np.asarray(faces, np.int64))
        # A face's distance from itself is 0, and does not count.
        others = max(len(flat) - 1, 1) / len(flat)
        return np.asarray((1.0 - flat @ flat.mean(axis=0)) / others, np.float64)

    def mean_faces(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the numbers of all people with faces, (p,), and the mean of each one's faces, (p, dim)."""
        rows = np.flatnonzero(self.whose > IGNORED)
        rows = rows[np.argsort(self.whose[rows], kind="stable")]
        numbers, starts = np.unique(self.whose[rows], return_index=True)
        if not len(rows):
            return numbers, np.empty((0, self.index.meta.dim), np.float32)
        means = np.add.reduceat(self.unit_vectors(rows), starts)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return numbers, np.asarray(means, np.float32)

    def years(self, people: Sequence[Person]) -> list[tuple[int, int] | None]:
        """Return the first and the last year of each person's photos; None where no date is known."""
        count = np.array([len(person.faces) for person in people])
        rows = np.fromiter((row for person in people for row in person.faces), np.int64, int(count.sum()))
        codes = self.index.captured[self.index.photo[rows]]
        dated = codes > UNDATED
        starts = (np.cumsum(count) - count)[count > 0]
        bounds = np.iinfo(np.int64)
        first = np.full(len(people), bounds.max)
        last = np.full(len(people), bounds.min)
        if len(starts):
            first[count > 0] = np.minimum.reduceat(np.where(dated, codes, bounds.max), starts)
            last[count > 0] = np.maximum.reduceat(np.where(dated, codes, bounds.min), starts)
        both = (map(Captured.of, pair) for pair in zip(first.tolist(), last.tolist(), strict=True))
        known = last > UNDATED
        return [
            (low.year, high.year) if there and low and high else None
            for there, (low, high) in zip(known.tolist(), both, strict=True)
        ]

    def portrait(self, person: Person) -> int:
        """Return a person's most typical face: of the larger half, the one nearest to the others."""
        return self.portraits([person])[0]

    def portraits(self, people: Sequence[Person]) -> list[int]:
        """Return the portrait of each of several people, each of whom has a face."""
        blocks = (people[at : at + _BLOCK] for at in range(0, len(people), _BLOCK))
        found = [face for block in blocks for face in self._portraits(block)]
        chosen = [(at, self.facts.covers.get(person.number)) for at, person in enumerate(people)]
        covers = [(at, face) for at, face in chosen if face is not None]
        for (at, _), row in zip(covers, self._rows_of([face for _, face in covers]), strict=True):
            if row is not None and self.whose[row] == people[at].number:
                found[at] = row
        return found

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
        flat = self.unit_vectors(rows)
        near = np.einsum("fd,fd->f", flat, np.add.reduceat(flat, starts)[whose])
        order = np.lexsort((-near, whose))
        return [int(row) for row in rows[order[starts]]]

    def unit_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some faces, of unit length, (n, dim)."""
        lengths = np.maximum(self.index.norms[rows], 1e-12)[:, None]
        return np.asarray(self.index.vectors[rows] / lengths, np.float32)

    def _number(self, who: str, *, exact: bool) -> int:
        if who.isdecimal() and len(who) <= LONGEST_NUMBER:
            return int(who)
        names = self.facts.names
        if whole := [one for one, name in names.items() if folded(name) == folded(who)]:
            return whole[0]
        if (number := numbered(who)) is not None:
            return number
        some = [] if exact else self._called(who)
        if len(some) == 1:
            return some[0]
        if some:
            several = ", ".join(repr(names[number]) for number in some[:3])
            raise PeopleError(f"Several people are called {who!r}: {several}.", "Give the whole name.")
        raise PeopleError(f"Nobody is called {who!r}.", self._who_is_meant(who))

    def _called(self, who: str) -> list[int]:
        """Return who has a name without its accents, else who has some words of it in theirs."""
        names = self.facts.names.items()
        words = f" {folded(who)} ", f" {plain(who)} "
        return (
            [one for one, name in names if plain(name) == plain(who)]
            or [one for one, name in names if words[0] in f" {folded(name)} "]
            or [one for one, name in names if words[1] in f" {plain(name)} "]
        )

    def _who_is_meant(self, who: str) -> str:
        """Return whom a user may mean by a name that nobody has."""
        from difflib import get_close_matches

        written = {plain(name): name for name in self.facts.names.values()}
        near = get_close_matches(plain(who), written, n=1)
        return f"Did you mean {written[near[0]]!r}?" if near else _WHO_THERE_IS

    def _which(self, rows: Sequence[int]) -> str:
        """Return which faces something was done with: a single one by name."""
        return self.face_title(rows[0]) if len(rows) == 1 else f"{len(rows):,} faces"

    def _set(self, faces: Iterable[int], number: int) -> str:
        """Let faces and their copies belong to a person; return which they are, nothing for none."""
        rows = np.asarray(list(faces), np.int64)
        if not len(rows):
            return ""
        keys = self.keys(np.arange(self.index.face_count))
        same = np.isin(keys, keys[rows])
        self.facts.changed.update(one for one in {number, *self.whose[same].tolist()} if one > IGNORED)
        self.whose[same] = number
        self._settled[same] = False
        return self._which(rows.tolist())


def _persons_in(entry: Entry) -> set[int]:
    """Return the numbers of the people whose names or tags changed."""
    keys = (key.rpartition(" ")[2] for table in ("names", "tagged") for key in entry.facts.get(table, ()))
    return {int(number) for number in keys if number.isdecimal() and len(number) <= LONGEST_NUMBER}
