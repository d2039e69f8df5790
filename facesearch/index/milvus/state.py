"""The state of an index in Milvus, its photos and faces as an `Index`, and the lease of its only writer."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError, IndexBroken, IndexBusy, IndexMissing
from facesearch.faces import NO_DIGEST, Box
from facesearch.index.index import ARRAYS, FORMAT, Index, check_index
from facesearch.index.meta import Meta
from facesearch.index.milvus.face_collection import FaceCollection, FaceRows, key
from facesearch.index.milvus.photo_collection import PhotoCollection, PhotoRow
from facesearch.paths import root_of
from facesearch.ranking import SLACK, norms_of

_EMPTY_BOX = (0, 0, 1, 1)


@dataclass(frozen=True)
class State:
    """An index in Milvus at one time, without its photos and faces.

    Attributes:
        generation: The number that its photos and faces are stored under.
        meta: Its meta data.
        forgotten: Digests of photos that are not to be indexed again.
        erased: Faces that are not to be indexed again, by their photos' digests.
        todo: The erased faces that a killed run has not removed yet, by face set.
    """

    generation: int
    meta: Meta
    forgotten: frozenset[bytes] = frozenset()
    erased: Mapping[bytes, tuple[Box, ...]] = field(default_factory=dict)
    todo: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)


def broken(name: str, clause: str) -> IndexBroken:
    """Return the error for an index that cannot be used, from a clause that says why."""
    return IndexBroken(
        f"{name!r} cannot be used as an index: {clause}.",
        "It was left as it is. Build it anew with `facesearch index FOLDER --rebuild`.",
    )


def missing(collection: PhotoCollection) -> IndexMissing:
    """Return the error for an index that does not exist."""
    return IndexMissing(
        f"There is no index at {collection.address.name!r}.",
        "Make one with `facesearch index FOLDER`, or copy one there with `facesearch copy`.",
    )


def current_generation(collection: PhotoCollection) -> int:
    """Return the generation that is read."""
    data = collection.read("current")
    try:
        return int(data) if data is not None else 1
    except ValueError as error:
        raise broken(collection.address.name, "it does not say what is read") from error


def read_meta(collection: PhotoCollection, generation: int) -> Meta | None:
    """Return the meta data of an index; None where there is none."""
    data = collection.read(f"meta/{generation}")
    try:
        return None if data is None else Meta.from_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise broken(collection.address.name, f"its meta data cannot be read ({error})") from error


def read_state(collection: PhotoCollection, generation: int) -> State | None:
    """Return the state of an index; None where there is none."""
    meta = read_meta(collection, generation)
    if meta is None:
        return None
    data = collection.read(f"closed/{generation}")
    try:
        closed = json.loads(data) if data is not None else {"forgotten": [], "erased": [], "todo": {}}
        forgotten = frozenset(bytes.fromhex(digest) for digest in closed["forgotten"])
        erased: dict[bytes, tuple[Box, ...]] = {}
        for digest, *corners in closed["erased"]:
            here = erased.get(bytes.fromhex(digest), ())
            erased[bytes.fromhex(digest)] = (*here, Box(*map(int, corners)))
        todo = {
            str(face_set): tuple(Box(*map(int, corners)) for corners in boxes)
            for face_set, boxes in closed["todo"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise broken(collection.address.name, "what it has forgotten cannot be read") from error
    return State(generation, meta, forgotten, erased, todo)


def read_lengths(collection: PhotoCollection, generation: int) -> tuple[float, float]:
    """Return the least and the greatest length of the vectors; the range may be too wide after removals."""
    data = collection.read(f"lengths/{generation}")
    try:
        shortest, longest = (0.0, np.inf) if data is None else map(float, data.split())
    except ValueError as error:
        raise broken(collection.address.name, "it does not say how long its vectors are") from error
    return shortest, longest


def widened(lengths: tuple[float, float], vectors: NDArray[np.float32]) -> tuple[float, float]:
    """Return the range of the vectors' lengths when some more are added."""
    more = norms_of(vectors).astype(np.float64)
    more = more[np.isfinite(more)]
    if not len(more):
        return lengths
    # Rounded outwards: they were computed with the digits of float32.
    shortest, longest = float(more.min()) * (1 - SLACK), float(more.max()) * (1 + SLACK)
    return min(lengths[0], shortest), max(lengths[1], longest)


def write_lengths(collection: PhotoCollection, generation: int, lengths: tuple[float, float]) -> None:
    """Store the range of the vectors' lengths."""
    collection.write(f"lengths/{generation}", f"{lengths[0]!r} {lengths[1]!r}".encode())


def write_closed(
    collection: PhotoCollection,
    generation: int,
    forgotten: Iterable[bytes],
    erased: Mapping[bytes, Sequence[Box]],
    todo: Mapping[str, Sequence[Box]],
) -> None:
    """Store what is not to be indexed again, and which erased faces are still to be removed."""
    faces = [[digest.hex(), *box.corners] for digest, boxes in sorted(erased.items()) for box in boxes]
    closed = {
        "forgotten": sorted(digest.hex() for digest in forgotten),
        "erased": faces,
        "todo": {face_set: [box.corners for box in boxes] for face_set, boxes in todo.items()},
    }
    collection.write(f"closed/{generation}", json.dumps(closed).encode())


class Assembly:
    """Puts an `Index` together: all photos first, then their faces as they are read.

    Args:
        state: The state of the index.
        photos: Its photos, by path.
        empty: Whether no faces will be put in; they are only counted.
    """

    def __init__(self, state: State, photos: Sequence[PhotoRow], *, empty: bool = False) -> None:
        self._state = state
        self._photos = photos
        counts = np.array([photo.faces for photo in photos], np.int64)
        starts = np.cumsum(counts) - counts
        self._starts: dict[str, list[int]] = {}
        for photo, start in zip(photos, starts.tolist(), strict=True):
            if photo.faces:
                self._starts.setdefault(photo.face_set, []).append(start)
        self._counts = {photo.face_set: photo.faces for photo in photos}
        total = int(counts.sum())
        fill = {"vectors": np.nan, "norms": 0.0, "boxes": _EMPTY_BOX, "scores": 0.0, "landmarks": np.nan}
        fill["moments"] = -1
        self._faces: dict[str, NDArray[Any]] = {}
        for name, value in fill.items():
            dtype, inner, _ = ARRAYS[name]
            shape = (total, *(state.meta.dim if n < 0 else n for n in inner))
            content = np.broadcast_to(np.array(value, dtype), shape)
            self._faces[name] = content if empty else content.copy()
        self._faces["photo"] = np.repeat(np.arange(len(photos), dtype=np.int32), counts)
        self.missing = total

    def put(self, rows: FaceRows) -> None:
        """Put faces into their rows; those of other photos are left out."""
        norms = norms_of(rows.vectors)
        norms = np.where(np.isfinite(norms), norms, np.float32(0))
        for at, (face_set, number) in enumerate(zip(rows.face_set, rows.number.tolist(), strict=True)):
            if number >= self._counts.get(face_set, 0):
                continue
            for start in self._starts[face_set]:
                place = start + number
                self._faces["vectors"][place], self._faces["norms"][place] = rows.vectors[at], norms[at]
                self._faces["boxes"][place], self._faces["scores"][place] = rows.boxes[at], rows.scores[at]
                self._faces["landmarks"][place] = rows.landmarks[at]
                self._faces["moments"][place] = rows.moments[at]
                self.missing -= 1

    def index(self, name: str) -> Index:
        """Return the index, checked as a file would be.

        Raises:
            IndexBroken: Something is out of range.
        """
        state, photos = self._state, self._photos
        gone = [(digest, box) for digest, boxes in sorted(state.erased.items()) for box in boxes]
        corners = [box.corners for _, box in gone]
        files = [photo.file for photo in photos]
        under = [root_of(photo.path, state.meta.roots) for photo in photos]
        arrays = {
            **self._faces,
            "format": np.array(FORMAT, np.int64),
            "meta": np.array(state.meta.to_json()),
            "paths": np.frombuffer(b"".join(photo.path for photo in photos), np.uint8),
            "path_ends": np.cumsum([len(photo.path) for photo in photos], dtype=np.int64),
            "root": np.array([-1 if root is None else root for root in under], np.int32),
            "size": np.array([file.size for file in files], np.int64),
            "mtime_ns": np.array([file.mtime_ns for file in files], np.int64),
            "ctime_ns": np.array([file.ctime_ns for file in files], np.int64),
            "digest": _digests(file.digest or NO_DIGEST for file in files),
            "file_digest": _digests(file.file_digest or NO_DIGEST for file in files),
            "captured": np.array([file.captured for file in files], np.int64),
            "status": np.array([int(photo.status) for photo in photos], np.uint8),
            "forgotten": _digests(sorted(state.forgotten)),
            "erased": _digests(digest for digest, _ in gone),
            "erased_boxes": np.array(corners, np.int32).reshape(-1, 4),
        }
        return check_index(arrays, partial(broken, name))


def path_bytes(path: str) -> bytes:
    """Return a path as the file system has it."""
    return os.fsencode(path)


def _digests(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def repair(collection: PhotoCollection, faces: FaceCollection, generation: int) -> None:
    """Remove faces of no photo, and photos whose faces are not all there: those are looked at again."""
    collection.server.settle(faces.name)
    photos = collection.photos(generation)
    wanted = {photo.face_set: photo.faces for photo in photos if photo.face_set}
    found: Counter[str] = Counter()
    stray: list[str] = []
    for face_set, number in faces.numbers():
        if number < wanted.get(face_set, 0):
            found[face_set] += 1
        else:
            stray.append(key(face_set, number))
    collection.drop(generation, [photo.path for photo in photos if found[photo.face_set] != photo.faces])
    faces.delete(stray)
    collection.settle()


def remove_older(collection: PhotoCollection, generation: int) -> None:
    """Remove what a rebuild that was killed at its end left of the index before it."""
    start = f"{collection.name}_faces_"
    names = [name.removeprefix(start) for name in collection.server.collections() if name.startswith(start)]
    for other in (int(name) for name in names if name.isdigit()):
        if other < generation:
            remove_generation(collection, other)


def remove_generation(collection: PhotoCollection, generation: int) -> None:
    """Remove a generation with all that belongs to it; its faces last, which tell that there is one."""
    for document in ("meta", "closed", "counts", "lengths", "open"):
        collection.erase(f"{document}/{generation}")
    collection.discard(generation)
    name = f"{collection.name}_faces_{generation}"
    if collection.server.description(name) is not None:
        collection.server.drop(name)
    collection.settle()


# A writer that was killed on another machine blocks others for this long.
SECONDS = 60.0
_RENEWED = SECONDS / 3
# After this pause, two writers that began in the same moment both see which of them wrote last.
_PAUSE = 0.2

# Owners of this process's ended leases: the server may have been away when they were to be removed.
_ended_here: set[str] = set()


class Lease:
    """The right to write an index, or its people.

    Args:
        collection: The collection that holds the document.
        name: The document's name.
    """

    def __init__(self, collection: PhotoCollection, name: str) -> None:
        self._collection = collection
        self._name = f"lease/{name}"
        self._owner = secrets.token_hex(8)
        self._ended = threading.Event()
        self._lost = False

    @contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the lease for the duration of the context.

        Raises:
            IndexBusy: Another process holds it.
        """
        self._refuse_others()
        self._write()
        time.sleep(_PAUSE)
        self._refuse_others()
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(timeout=SECONDS)
            _ended_here.add(self._owner)
            with suppress(FacesearchError):  # it expires by itself
                if not self._lost:
                    self._collection.erase(self._name)

    def check(self) -> None:
        """Check that no other process has taken the lease meanwhile.

        Raises:
            IndexBusy: One has.
        """
        if self._lost:
            raise self._busy()

    def _refuse_others(self) -> None:
        self._collection.settle()
        data = self._collection.read(self._name)
        if data is None:
            return
        try:
            about = json.loads(data)
            ours = {self._owner} | _ended_here
            others = about["owner"] not in ours and float(about["until"]) > time.time()
            others = others and not (about["host"] == socket.gethostname() and _is_dead(int(about["pid"])))
        except (ValueError, TypeError, KeyError):
            return  # not a lease that a process could hold
        if others:
            raise self._busy()

    def _busy(self) -> IndexBusy:
        return IndexBusy(
            f"Another facesearch is writing {self._collection.address.name!r}.",
            "Run this again when it has ended; queries need not wait. One that was killed elsewhere is in "
            f"the way for {SECONDS:.0f} seconds.",
        )

    def _write(self) -> None:
        about = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "until": time.time() + SECONDS,
        }
        self._collection.write(self._name, json.dumps(about).encode())

    def _renew(self) -> None:
        while not self._ended.wait(_RENEWED):
            try:
                self._refuse_others()
                self._write()
            except IndexBusy:
                self._lost = True
                return
            except FacesearchError:
                continue  # the server is away for a while: the next write reports it


def _is_dead(process: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
