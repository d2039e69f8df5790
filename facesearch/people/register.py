"""The stored people of an index: which faces belong to whom, and the names; what a name can be."""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexBusy, PeopleBroken, PeopleError
from facesearch.faces import FaceId
from facesearch.index.backend import Companion
from facesearch.index.changes import SAME_FACE
from facesearch.index.index import Index
from facesearch.index.npz.arrays import ArrayWriter, NpzError
from facesearch.models.card import Card
from facesearch.people.grouping import ALONE
from facesearch.show.wording import escaped

LONGEST = 100  # characters

# Characters that some file system does not allow in names.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])\s*(\..*)?", re.IGNORECASE)
_LONGEST_FOLDER = 80  # bytes: with a number behind it, it fits wherever 143 or more do


def good_name(text: str) -> str:
    """Return a name as it is stored: composed characters, single spaces.

    Raises:
        PeopleError: It is empty, too long, not text, or looks like a person's number.
    """
    name = _spaced(text)
    if not name:
        raise PeopleError("An empty name names nobody.", 'Give a name: facesearch people name 3 "Ada".')
    if len(name) > LONGEST:
        raise PeopleError(f"A name of {len(name)} characters is too long.", f"{LONGEST} are the most.")
    if escaped(name) != name:
        raise PeopleError("A name holds characters that cannot be shown.", "Write it without them.")
    if name.isdigit():
        raise PeopleError(f"{name!r} is a person's number, not a name.", "Add a letter to it.")
    return name


def folded(name: str) -> str:
    """Return a name without differences of case, spaces and composition, to compare it with others."""
    return _spaced(name).casefold()


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def folder_name(name: str, number: int) -> str:
    """Return the name of a person's folder: the name as far as file systems allow, else the number."""
    safe = _UNSAFE.sub("_", name).strip(". ")
    while len(safe.encode()) > _LONGEST_FOLDER:
        safe = safe[:-1]
    safe = safe.strip(". ")
    if _RESERVED.fullmatch(safe):  # in front: a device's name is one whatever stands behind a dot
        return f"_{safe}"
    return safe or f"person-{number}"


FORMAT = 2
_READ = (1, FORMAT)  # the first knew no faces that are alone
IGNORED = 0  # in place of a person's number: a face that is ignored
NEW = -2  # the same: a face that was never grouped

_MANY = 2**30  # of numbers that were given; as many more fit
_NUMBER = re.compile("[1-9][0-9]{0,9}")  # of a person, as JSON has it

# name -> dtype and shape behind the first axis, which counts faces.
_ARRAYS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "digest": ("|u1", (16,)),
    "boxes": ("<i4", (4,)),
    "person": ("<i4", ()),
}


class _OtherFormat(ValueError):
    """The file has the format of another facesearch."""


@dataclass(frozen=True)
class Register:
    """The faces whose person is known.

    Attributes:
        digest: (n, 16) uint8, the content digest of each face's photo.
        boxes: (n, 4) int32, x, y, width, height in the upright photo.
        person: (n,) int32, from 1; 0 for an ignored face, -1 for one that was grouped and is like no other.
        names: The names by number.
        last: The highest number that a person ever had; no number is given twice.
        grouped: The time at which the index that was grouped last had been written.
        alike: By what faces were grouped: the model and the distance.
        changed: The people who were changed by hand since.
    """

    digest: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    person: NDArray[np.int32]
    names: Mapping[int, str] = field(default_factory=dict)
    last: int = 0
    grouped: str = ""
    alike: str = ""
    changed: frozenset[int] = frozenset()

    def brought_up(self, index: Index, faces: Sequence[tuple[FaceId, FaceId]] = ()) -> Register:
        """Return the register with all faces of an index named by the digests of their pictures.

        Args:
            index: An index; its faces may only be counted.
            faces: Faces of photos that were saved again, each as it was and as it is: what is known of the
                first is known of the second too.
        """
        now = dict(zip(map(bytes, index.file_digest), map(bytes, index.digest), strict=True))
        digests = [now.get(digest, digest) for digest in map(bytes, self.digest)]
        known = {
            (digest, tuple(box)): person
            for digest, box, person in zip(digests, self.boxes.tolist(), self.person.tolist(), strict=True)
        }
        for (digest, was), (other, box) in faces:
            person = known.get((now.get(digest, digest), was.corners))
            if person is not None:
                known.setdefault((other, box.corners), person)
        if len(known) == len(digests) and list(map(bytes, self.digest)) == digests:
            return self
        return replace(
            self,
            digest=np.frombuffer(b"".join(digest for digest, _ in known), np.uint8).reshape(-1, 16),
            boxes=np.array([box for _, box in known], np.int32).reshape(-1, 4),
            person=np.array(list(known.values()), np.int32),
        )

    def of_people(self) -> Register:
        """Return the register without the faces that are alone."""
        kept = self.person != ALONE
        return replace(self, digest=self.digest[kept], boxes=self.boxes[kept], person=self.person[kept])

    def without(self, digests: Collection[bytes]) -> Register:
        """Return the register without the faces of some photos, by their digests."""
        stays = np.array([digest.tobytes() not in digests for digest in self.digest], np.bool_)
        return replace(self, digest=self.digest[stays], boxes=self.boxes[stays], person=self.person[stays])


def empty_register() -> Register:
    """Return a register without people."""
    return Register(np.empty((0, 16), np.uint8), np.empty((0, 4), np.int32), np.empty(0, np.int32))


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
    meta = {
        "names": {str(number): name for number, name in register.names.items()},
        "last": register.last,
        "grouped": register.grouped,
        "alike": register.alike,
        "changed": sorted(register.changed),
    }

    def write(writer: ArrayWriter) -> None:
        writer.write("format", np.array(FORMAT, np.int64))
        writer.write("meta", np.array(json.dumps(meta, sort_keys=True)))
        for name, (dtype, _) in _ARRAYS.items():
            writer.write(name, getattr(register, name).astype(dtype))

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
    if int(number.reshape(-1)[0]) not in _READ:
        raise _OtherFormat(f"it has format {int(number.reshape(-1)[0])}, and this facesearch knows {FORMAT}")
    faces = _faces(arrays)
    register = Register(**faces, **_meta(arrays.get("meta")))
    person = register.person
    if len(person) and not (person.min() >= ALONE and person.max() <= register.last):
        raise ValueError("a person has a number that was never given")
    return register


def _faces(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    faces: dict[str, Any] = {}
    for name, (dtype, inner) in _ARRAYS.items():
        array = arrays.get(name)
        if array is None or array.dtype != np.dtype(dtype) or array.ndim < 1 or array.shape[1:] != inner:
            raise ValueError(f"its array {name!r} is missing or of another type or shape")
        faces[name] = array
    if len({len(array) for array in faces.values()}) > 1:
        raise ValueError("its arrays are not of one length")
    if np.any(faces["boxes"][:, 2:] < 1):
        raise ValueError("a box is empty")
    return faces


def _meta(text: NDArray[Any] | None) -> dict[str, Any]:
    """Return what a register says beside its faces."""
    if text is None or text.dtype.kind != "U" or text.ndim != 0:
        raise ValueError("it has no names")
    meta = json.loads(str(text))
    if not isinstance(meta, dict):
        raise ValueError("its names cannot be read")
    last, grouped, alike = meta.get("last"), meta.get("grouped"), meta.get("alike", "")
    changed = meta.get("changed", [])
    if type(last) is not int or not 0 <= last < _MANY or not isinstance(grouped, str):
        raise ValueError("its numbers cannot be read")
    if not isinstance(alike, str) or not isinstance(changed, list) or {*map(type, changed)} - {int}:
        raise ValueError("how its faces were grouped cannot be read")
    names = _names(meta.get("names"), last)
    return {"names": names, "last": last, "grouped": grouped, "alike": alike, "changed": frozenset(changed)}


def _names(names: object, last: int) -> dict[int, str]:
    if not isinstance(names, dict):
        raise ValueError("its names cannot be read")
    read: dict[int, str] = {}
    for number, name in names.items():
        if not _NUMBER.fullmatch(number) or int(number) > last:
            raise ValueError("a name belongs to no person")
        if not isinstance(name, str) or not _is_good(name):
            raise ValueError("a name is not one")
        read[int(number)] = name
    if len({folded(name) for name in read.values()}) < len(read):
        raise ValueError("two persons have one name")
    return read


def _is_good(name: str) -> bool:
    try:
        return name == good_name(name)
    except PeopleError:
        return False


Numbers = NDArray[np.int64]


def face_keys(digest: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.void]:
    """Return the keys of faces, (n,): their photo's content digest and their box."""
    both = np.concatenate([digest, np.ascontiguousarray(boxes, "<i4").view(np.uint8).reshape(-1, 16)], axis=1)
    return _rows(both)


def placed(index: Index, register: Register) -> tuple[Numbers, Register]:
    """Find the register's faces in an index.

    Returns:
        (F,) the number of each face's person, -2 if it is unknown; and the register's entries of other faces.
    """
    whose = np.full(index.face_count, NEW, np.int64)
    left = np.ones(len(register.person), np.bool_)
    # By the files' digests come those that an index of the first format knew.
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_exactly(face_keys(digests[index.photo], index.boxes), register, whose, left)
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_overlapping(index, digests, register, whose, left)
    return whose, Register(register.digest[left], register.boxes[left], register.person[left].copy())


def _place_exactly(
    faces: NDArray[np.void], register: Register, whose: Numbers, left: NDArray[np.bool_]
) -> None:
    """Find faces by their keys; updates `whose` and `left`."""
    known = face_keys(register.digest, register.boxes)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], faces), len(known) - 1)]
    exact = known[place] == faces
    fresh = exact & (whose == NEW)
    whose[fresh] = register.person[place[fresh]]
    left[place[exact]] = False


def _place_overlapping(
    index: Index, digests: NDArray[np.uint8], register: Register, whose: Numbers, left: NDArray[np.bool_]
) -> None:
    """Find faces that were detected again in other boxes; updates `whose` and `left`.

    Where several overlap, the two that overlap most are the same face.
    """
    entries = np.flatnonzero(left)
    contents, wanted = _rows(digests), _rows(register.digest[entries])
    order = np.argsort(contents)
    ranges = (np.searchsorted(contents[order], wanted, side) for side in ("left", "right"))
    pair, place = _spread(*ranges)
    photo = order[place]
    of_photo, face = _spread(index.first_face[photo], index.first_face[photo + 1])
    entry, photo = entries[pair[of_photo]], photo[of_photo]
    overlap = _overlaps(register.boxes[entry], index.boxes[face])
    near = np.flatnonzero((whose[face] == NEW) & (overlap >= SAME_FACE))
    near = near[np.argsort(-overlap[near], kind="stable")]
    done: set[tuple[int, int]] = set()  # an entry is one face of each copy of its photo
    for at in near.tolist():
        if whose[face[at]] == NEW and (here := (int(entry[at]), int(photo[at]))) not in done:
            done.add(here)
            whose[face[at]], left[entry[at]] = register.person[entry[at]], False


def _rows(array: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each row as one value, which can be compared."""
    return np.ascontiguousarray(array).view(f"V{array.shape[1]}").reshape(-1)


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
