"""The stored people of an index: which faces belong to whom, what is said of people, and the log.

Known faces are found in an index by their photos' digests and their places.
"""

from __future__ import annotations

import json
import operator
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexBusy, PeopleBroken
from facesearch.faces import Box, FaceId
from facesearch.index.backend import Companion
from facesearch.index.changes import SAME_FACE
from facesearch.index.index import Index
from facesearch.index.npz.arrays import ArrayWriter, NpzError
from facesearch.models.card import Card
from facesearch.people.facts import MANY, Facts, renamed_entries
from facesearch.people.grouping import ALONE
from facesearch.people.log import (
    FACE_ARRAYS,
    Entry,
    KnownFaces,
    as_values,
    log_arrays,
    log_json,
    read_log,
    shortened,
)
from facesearch.photos.content import DIGEST_BYTES

FORMAT = 2
_FIRST_FORMAT = 1  # it knew nothing but names, and no faces that are alone
IGNORED = 0  # in place of a person's number: a face that is ignored
NEW = -2  # the same: a face that was never grouped

Corners = tuple[int, int, int, int]
_DIGEST = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")


class _OtherFormat(ValueError):
    """The file has the format of another facesearch."""


@dataclass(frozen=True)
class Register(KnownFaces):
    """The faces whose person is known.

    Attributes:
        person: (n,) int32, from 1; 0 for an ignored face, -1 for one that was grouped and is like no other.
        facts: What is said of people.
        last: The highest number that a person ever had; no number is given twice.
        log: What was changed, the oldest first.
    """

    facts: Facts = field(default_factory=Facts)
    last: int = 0
    log: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, faces: KnownFaces, facts: Facts, last: int, log: Sequence[Entry] = ()) -> Register:
        """Return a register of some faces."""
        return cls(faces.digest, faces.boxes, faces.person, facts, last, tuple(log))

    def brought_up(self, index: Index, faces: Sequence[tuple[FaceId, FaceId]] = ()) -> Register:
        """Return the register with all faces of an index named by the digests of their pictures.

        Args:
            index: An index; its faces may only be counted.
            faces: Faces of photos that were saved again, each as it was and as it is: what is known of the
                first is known of the second too.
        """
        now = dict(zip(map(bytes, index.file_digest), map(bytes, index.digest), strict=True))
        again = {(now.get(digest, digest), was.corners): face for (digest, was), face in faces}
        here = set(now.values()) if again else set()
        gone = {digest: face[0] for (digest, _), face in again.items() if digest not in here}

        def picture(digest: bytes) -> bytes:
            return now.get(digest, digest)

        def photo(digest: bytes) -> bytes:
            digest = picture(digest)
            return gone.get(digest, digest)

        def face(known: FaceId) -> FaceId:
            digest, box = picture(known[0]), known[1]
            return again.get((digest, box.corners), (digest, box))

        def faces_now(known: KnownFaces) -> KnownFaces:
            return _renamed(known, picture, again, gone.keys())

        named = faces_now(self)
        facts = self.facts.renamed(face, photo)
        if again:  # of a copy that is as it was, all stays true
            as_it_was = self.facts.renamed(lambda known: (picture(known[0]), known[1]), picture)
            facts.apart |= {
                pair
                for pair in as_it_was.apart
                if any(side[0] in here for side in pair if isinstance(side, tuple))
            }
        log = [_entry_now(entry, faces_now, face, photo) for entry in self.log]
        if named is self and facts == self.facts and all(map(operator.is_, log, self.log)):
            return self
        return Register.of(named, facts, self.last, log)

    def of_people(self) -> Register:
        """Return the register without the faces that are alone."""
        return Register.of(self.take(self.person != ALONE), self.facts, self.last, self.log)

    def without(self, digests: Collection[bytes], names: Collection[str] = ()) -> Register:
        """Return the register without the faces of some photos, by their digests, and without its log.

        Nothing is left of a photo that was forgotten, and no change before that can be taken back.

        Args:
            digests: Of the photos; of one that has copies which stay, there is none.
            names: Of their files, which the log may tell.
        """
        stays = np.array([digest.tobytes() not in digests for digest in self.digest], np.bool_)
        facts = self.facts.without(lambda digest: digest in digests)
        told = any(_are_of(entry, digests) or any(name in entry.did for name in names) for entry in self.log)
        if stays.all() and facts == self.facts and not told:
            return self
        return Register.of(self.take(stays), facts, self.last)


def _entry_now(
    entry: Entry,
    faces_now: Callable[[KnownFaces], KnownFaces],
    face: Callable[[FaceId], FaceId],
    photo: Callable[[bytes], bytes],
) -> Entry:
    """Return an entry with its faces and photos renamed; the same one where nothing is different."""
    faces = faces_now(entry.faces)
    try:
        facts = renamed_entries(entry.facts, face, photo)
    except ValueError:  # from a stranger: it cannot be taken back either
        facts = dict(entry.facts)
    if faces is entry.faces and facts == entry.facts:
        return entry
    return replace(entry, faces=faces, facts=facts)


def _renamed(
    faces: KnownFaces,
    photo: Callable[[bytes], bytes],
    again: Mapping[tuple[bytes, Corners], FaceId],
    gone: Collection[bytes],
) -> KnownFaces:
    """Return faces with their photos' digests renamed, and with those of photos that were saved again.

    What was said of a photo as it was goes with a photo that is gone, where its face is there again.
    """
    before = list(map(bytes, faces.digest))
    digests = list(map(photo, before))
    boxes = [Box(*corners).corners for corners in faces.boxes.tolist()]
    known = dict(zip(zip(digests, boxes, strict=True), faces.person.tolist(), strict=True))
    for face, (digest, box) in again.items():
        if face in known:
            known.setdefault((digest, box.corners), known[face])
            if face[0] in gone:
                del known[face]
    if list(known) == list(zip(digests, boxes, strict=True)) and before == digests:
        return faces
    return KnownFaces(
        np.frombuffer(b"".join(digest for digest, _ in known), np.uint8).reshape(-1, 16),
        np.array([box for _, box in known], np.int32).reshape(-1, 4),
        np.array(list(known.values()), np.int32),
    )


def _are_of(entry: Entry, digests: Collection[bytes]) -> bool:
    """Return whether a change was of faces in some photos, or of what is said of them."""
    told = {bytes.fromhex(digest) for digest in _DIGEST.findall(json.dumps(entry.facts))}
    faces = any(digest.tobytes() in digests for digest in entry.faces.digest)
    return faces or any(digest in digests for digest in told)


def empty_register() -> Register:
    """Return a register without people."""
    return Register.of(KnownFaces.none(), Facts(), 0)


def read_register(companion: Companion) -> Register:
    """Read a register; an empty one if there is none.

    Raises:
        PeopleBroken: It is truncated, inconsistent, or not a register.
    """
    hint = (
        "It was left as it is. Move a copy into its place, or move it away and run `facesearch people` again."
    )
    try:
        return _checked(companion.read())
    except FileNotFoundError:
        return empty_register()
    except _OtherFormat as error:
        reason, hint = str(error), "It was left as it is. Use the facesearch that wrote it."
    except (NpzError, ValueError, RecursionError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror or error})"
        if isinstance(error, PermissionError):
            hint = "It was left as it is. Check the rights of the file and of its folder."
    raise PeopleBroken(f"{companion.name!r} cannot be used as a list of people: {reason}.", hint)


def only_editor(companion: Companion) -> AbstractContextManager[None]:
    """Be the only process that changes a register, from reading it to writing it.

    Raises:
        IndexBusy: Another process does.
        StorageError: The folder cannot be written.
    """
    return companion.editing()


def write_register(companion: Companion, register: Register) -> None:
    """Write a register in place of the one before.

    Raises:
        StorageError: It cannot be written; the one before is as it was.
    """
    log = shortened(register.log)
    facts = register.facts
    meta = {**facts.tables(), "mark": facts.mark, "last": register.last, "log": log_json(log)}

    def write(writer: ArrayWriter) -> None:
        writer.write("format", np.array(FORMAT, np.int64))
        writer.write("meta", np.array(json.dumps(meta, sort_keys=True)))
        for name, (dtype, _) in FACE_ARRAYS.items():
            writer.write(name, getattr(register, name).astype(dtype))
        for name, array in log_arrays(log).items():
            writer.write(name, array)

    companion.write(write)


# A photo that was saved again keeps its people up to the distance that one pair of strangers in so many has.
ONCE_IN = 1_000_000
_TRIES, _WAIT = 20, 0.5  # seconds, while another process changes the people


@dataclass(frozen=True)
class KeptPeople:
    """What lets the people of an index outlast that photos are saved again; see `facesearch.update.Carry`.

    Attributes:
        companion: Where the people are.
        card: The card of the model that made the index.
    """

    companion: Companion
    card: Card

    @property
    def within(self) -> float:
        """The cosine distance at which strangers come once in a million; 0 where it was not measured."""
        measured = self.card.calibration.get("cosine")
        return measured.stranger_distance(1 / ONCE_IN) if measured and self.card.identity else 0.0

    def over(self, index: Index, faces: Sequence[tuple[FaceId, FaceId]] = ()) -> None:
        """Name the stored faces as an index does now, and those of photos that were saved again.

        Raises:
            IndexBusy: Another process changes the people for too long.
            PeopleBroken: The stored people cannot be used.
        """
        if not self.companion.there() or self._after(index, faces) is None:
            return
        for left in reversed(range(_TRIES)):
            try:
                with self.companion.editing():
                    if (after := self._after(index, faces)) is not None:
                        write_register(self.companion, after)
                return
            except IndexBusy:
                if not left:
                    raise
                time.sleep(_WAIT)

    def _after(self, index: Index, faces: Sequence[tuple[FaceId, FaceId]]) -> Register | None:
        before = read_register(self.companion)
        after = before.brought_up(index, faces)
        return None if after is before else after


def _checked(arrays: Mapping[str, NDArray[Any]]) -> Register:
    """Check all of a file, which may come from a stranger.

    Raises:
        ValueError: Something is missing, of another type or shape, or out of range; a clause says what.
    """
    number = arrays.get("format")
    if number is None or number.dtype.kind not in "iu" or number.size != 1:
        raise ValueError("it carries no format number")
    first = int(number.reshape(-1)[0]) == _FIRST_FORMAT
    if not first and int(number.reshape(-1)[0]) != FORMAT:
        raise _OtherFormat(f"it has format {int(number.reshape(-1)[0])}, and this facesearch knows {FORMAT}")
    faces, meta = _faces(arrays), _meta(arrays.get("meta"))
    last = meta.get("last")
    if type(last) is not int or not 0 <= last < MANY:
        raise ValueError("its numbers cannot be read")
    if first:
        meta = {"names": meta.get("names"), "grouping": {"grouped": meta.get("grouped")}}
        log: tuple[Entry, ...] = ()
    else:
        entry = arrays.get("log_entry")
        if entry is None or entry.dtype != np.dtype("<i4") or entry.ndim != 1:
            raise ValueError("its array 'log_entry' is missing or of another type or shape")
        log = read_log(meta.get("log"), _faces(arrays, "log_", least=NEW), entry)
    for one in (faces, *(entry.faces for entry in log)):
        if len(one.person) and one.person.max() > last:
            raise ValueError("a person has a number that was never given")
    return Register.of(faces, Facts.read(meta, last), last, log)


def _faces(arrays: Mapping[str, NDArray[Any]], prefix: str = "", least: int = ALONE) -> KnownFaces:
    found: list[NDArray[Any]] = []
    for name, (dtype, inner) in FACE_ARRAYS.items():
        array = arrays.get(prefix + name)
        if array is None or array.dtype != np.dtype(dtype) or array.ndim < 1 or array.shape[1:] != inner:
            raise ValueError(f"its array {prefix + name!r} is missing or of another type or shape")
        found.append(array)
    faces = KnownFaces(*found)
    if len({len(array) for array in found}) > 1:
        raise ValueError("its arrays are not of one length")
    if np.any(faces.boxes[:, 2:] < 1):
        raise ValueError("a box is empty")
    if len(faces.person) and faces.person.min() < least:
        raise ValueError("a person has a number that was never given")
    return faces


def _meta(text: NDArray[Any] | None) -> dict[str, Any]:
    """Return what a register says beside its faces."""
    if text is None or text.dtype.kind != "U" or text.ndim != 0:
        raise ValueError("it has no names")
    meta = json.loads(str(text))
    if not isinstance(meta, dict):
        raise ValueError("its names cannot be read")
    return meta


Numbers = NDArray[np.int64]
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)


def placed(index: Index, known: KnownFaces) -> tuple[Numbers, KnownFaces]:
    """Find known faces in an index.

    Returns:
        (F,) the number of each face's person, -2 if it is unknown; and the faces that are not in the index.
    """
    whose = np.full(index.face_count, NEW, np.int64)
    left = np.ones(len(known.person), np.bool_)
    # By the files' digests come those that an index of the first format knew.
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_exactly(digests[index.photo], index.places, known, whose, left)
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_overlapping(index, digests, known, whose, left)
    return whose, known.take(left)


def _place_exactly(
    digest: NDArray[np.uint8],
    boxes: NDArray[np.int32],
    known: KnownFaces,
    whose: Numbers,
    left: NDArray[np.bool_],
) -> None:
    """Find faces by their digests and boxes; updates `whose` and `left`."""
    # Numbers are sorted ten times as fast as keys. Of two keys with one number, only one is found here, and
    # the other as one that overlaps.
    numbers, wanted = _numbers(known.digest, known.boxes), _numbers(digest, boxes)
    order = np.argsort(numbers)
    place = order[np.minimum(np.searchsorted(numbers[order], wanted), len(order) - 1)]
    exact = (known.digest[place] == digest).all(axis=1) & (known.boxes[place] == boxes).all(axis=1)
    fresh = exact & (whose == NEW)
    whose[fresh] = known.person[place[fresh]]
    left[place[exact]] = False


def _place_overlapping(
    index: Index, digests: NDArray[np.uint8], known: KnownFaces, whose: Numbers, left: NDArray[np.bool_]
) -> None:
    """Find faces that were detected again in other boxes; updates `whose` and `left`.

    Where several overlap, the two that overlap most are the same face.
    """
    entries = np.flatnonzero(left)
    contents, wanted = as_values(digests), as_values(known.digest[entries])
    order = np.argsort(contents)
    ranges = (np.searchsorted(contents[order], wanted, side) for side in ("left", "right"))
    pair, place = _spread(*ranges)
    photo = order[place]
    of_photo, face = _spread(index.first_face[photo], index.first_face[photo + 1])
    entry, photo = entries[pair[of_photo]], photo[of_photo]
    overlap = _overlaps(known.boxes[entry], index.places[face])
    # In a film, another face may be at the same place at another time.
    near = np.flatnonzero((whose[face] == NEW) & (overlap >= SAME_FACE) & (index.moments[face, 0] < 0))
    near = near[np.argsort(-overlap[near], kind="stable")]
    done: set[tuple[int, int]] = set()  # an entry is one face of each copy of its photo
    for at in near.tolist():
        if whose[face[at]] == NEW and (here := (int(entry[at]), int(photo[at]))) not in done:
            done.add(here)
            whose[face[at]], left[entry[at]] = known.person[entry[at]], False


def _numbers(digest: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Return a number for each face, which few others have."""
    mixed = boxes.astype(np.uint64) * np.array(_ODD, np.uint64)
    return np.asarray(
        np.ascontiguousarray(digest[:, :8]).view(np.uint64)[:, 0] ^ mixed.sum(axis=1, dtype=np.uint64)
    )


def _spread(start: Numbers, stop: Numbers) -> tuple[Numbers, Numbers]:
    """Expand ranges: the range of each number, and the number."""
    counts = stop - start
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + np.repeat(start - (np.cumsum(counts) - counts), counts)


def _overlaps(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return intersection over union of boxes, as `Box.overlap` does of two, (n,)."""
    a, b = one.astype(np.int64), other.astype(np.int64)
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    return np.asarray(shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared), np.float64)
