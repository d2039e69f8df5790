"""The log of what was changed of people: each entry holds what was before, so that it can be taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.people.facts import TABLES

# The log forgets what is older than so many changes, or than changes of so many faces together.
MOST_ENTRIES, MOST_FACES = 1000, 1_000_000


@dataclass(frozen=True)
class KnownFaces:
    """Faces by their photos and boxes, and whose they are.

    Attributes:
        digest: (n, 16) uint8, the content digest of each face's photo.
        boxes: (n, 4) int32, their places: x, y, width, height; see `facesearch.faces.place_of`.
        person: (n,) int32, the person's number; see `Register`.
    """

    digest: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    person: NDArray[np.int32]

    @classmethod
    def none(cls) -> KnownFaces:
        """Return no faces."""
        return cls(np.empty((0, 16), np.uint8), np.empty((0, 4), np.int32), np.empty(0, np.int32))

    def take(self, rows: NDArray[Any]) -> KnownFaces:
        """Return some of the faces, by their numbers or by a mask."""
        return KnownFaces(self.digest[rows], self.boxes[rows], self.person[rows])

    @property
    def keys(self) -> NDArray[np.void]:
        """What tells each face from others, (n,); see `face_keys`."""
        return face_keys(self.digest, self.boxes)

    @classmethod
    def joined(cls, parts: Sequence[KnownFaces]) -> KnownFaces:
        """Return the faces of several together."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in FACE_ARRAYS))


# Name, type and shape behind the first axis of what is stored of faces.
FACE_ARRAYS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "digest": ("|u1", (16,)),
    "boxes": ("<i4", (4,)),
    "person": ("<i4", ()),
}


def face_keys(digest: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.void]:
    """Return the keys of faces, (n,): their photo's content digest and their place."""
    both = np.concatenate([digest, np.ascontiguousarray(boxes, "<i4").view(np.uint8).reshape(-1, 16)], axis=1)
    return as_values(both)


def as_values(array: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each row as one value, which can be compared."""
    return np.ascontiguousarray(array).view(f"V{array.shape[1]}").reshape(-1)


@dataclass(frozen=True)
class Entry:
    """A change of people.

    Attributes:
        time: When it was made, ISO 8601, UTC.
        did: What was done, as in "merged person 12 into Ada".
        faces: The faces whose person changed, with the number before; -2 for one that was not known.
        facts: What was said of people before; see `facts.differences`.
    """

    time: str
    did: str
    faces: KnownFaces
    facts: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """A few letters that tell it from other changes."""
        told = json.dumps([self.time, self.did, self.facts], sort_keys=True).encode()
        mixed = hashlib.blake2b(told, digest_size=8)
        for name, (kind, _) in FACE_ARRAYS.items():
            mixed.update(getattr(self.faces, name).astype(kind).tobytes())
        return mixed.hexdigest()

    @classmethod
    def now(cls, did: str, faces: KnownFaces, facts: Mapping[str, Any]) -> Entry:
        """Return a change that is made now."""
        return cls(datetime.now(timezone.utc).isoformat(timespec="seconds"), did, faces, facts)


def shortened(log: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the newest entries, as many as are kept."""
    kept: list[Entry] = []
    faces = 0
    for entry in reversed(log[-MOST_ENTRIES:]):
        faces += len(entry.faces.person)
        if kept and faces > MOST_FACES:
            break
        kept.append(entry)
    return tuple(reversed(kept))


def log_arrays(log: Sequence[Entry]) -> dict[str, NDArray[Any]]:
    """Return the faces of all entries as arrays to store, and which entry each is of."""
    faces = KnownFaces.joined([entry.faces for entry in log])
    lengths = [len(entry.faces.person) for entry in log]
    arrays = {f"log_{name}": getattr(faces, name) for name in FACE_ARRAYS}
    return {**arrays, "log_entry": np.repeat(np.arange(len(log), dtype=np.int32), lengths)}


def log_json(log: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the rest of all entries, as JSON."""
    return [{"time": entry.time, "did": entry.did, "facts": entry.facts} for entry in log]


def read_log(told: object, faces: KnownFaces, entry: NDArray[np.int32]) -> tuple[Entry, ...]:
    """Read what `log_json` and `log_arrays` returned, which may come from a stranger.

    Raises:
        ValueError: It is not that; a clause says what is wrong.
    """
    if not isinstance(told, list) or not all(map(_is_entry, told)):
        raise ValueError("its log cannot be read")
    if len(entry) != len(faces.person) or np.any(np.diff(entry) < 0):
        raise ValueError("the faces of its log are not in order")
    ends = np.searchsorted(entry, np.arange(len(told) + 1))
    if len(entry) and not (entry[0] >= 0 and entry[-1] < len(told)):
        raise ValueError("the faces of its log belong to no entry")
    return tuple(
        Entry(one["time"], one["did"], faces.take(np.arange(start, stop)), one["facts"])
        for one, start, stop in zip(told, ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    )


def _is_entry(told: object) -> bool:
    if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in ("time", "did")):
        return False
    try:
        datetime.fromisoformat(told["time"])
    except ValueError:
        return False
    facts = told.get("facts")
    return isinstance(facts, dict) and all(
        name in TABLES
        and isinstance(table, dict)
        and all(isinstance(was, list) and len(was) < 2 for was in table.values())
        for name, table in facts.items()
    )
