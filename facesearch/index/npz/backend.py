"""An index in a file, and beside it its journal and its people."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import StorageError
from facesearch.faces import Face, PhotoFaces, Status
from facesearch.files import move_into_place, remove_file, storage_error, write_lock
from facesearch.index.backend import Companion, IndexState
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.npz import store
from facesearch.index.npz.arrays import ArrayWriter, map_arrays
from facesearch.index.npz.store import index_meta, open_index, unfinished_path, written_whole
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.ranking import Metric


class NpzBackend:
    """An .npz file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = os.fspath(path)
        self.title = path.stem
        self.metric: Metric = "cosine"
        self.people: Companion = CompanionFile(store.people_path(path))

    def meta(self) -> Meta | None:
        """Return the meta data of the index, also of one whose first run was interrupted."""
        return index_meta(self.path)

    def read(self, *, faces: bool = True) -> Index:
        """Map the index into memory."""
        return open_index(self.path)

    def searchable(self) -> Index:
        """Map the index into memory; it is searched here."""
        return open_index(self.path)

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Return some photos with their faces."""
        return (photo_of(listing, row) for row in rows)

    def search_details(self) -> dict[str, Any]:
        """Return nothing: a file is searched exactly."""
        return {}

    def state(self) -> IndexState:
        """Return what the files are now: another inode, time or size is another content."""
        index = _state(self.path)
        return IndexState(index, _state(Path(self.people.name)), index and index[0])

    def writer(self, meta: Meta | None = None) -> NpzIndexWriter:
        """Return the file's writer."""
        return NpzIndexWriter(self.path, meta)

    @contextmanager
    def rebuild(self) -> Iterator[NpzRebuild]:
        """Yield what is built in a file beside this one, which nobody else writes meanwhile."""
        with write_lock(self.path):
            yield NpzRebuild(self.path)

    def look_for(self, traces: Collection[bytes]) -> int:
        """Search all files of the index for bytes of what was forgotten; return how many were searched.

        Raises:
            StorageError: Something is left in one.
        """
        return _scan(self._files(), traces)

    def _files(self) -> list[Path]:
        file, built = self.path, store.rebuild_path(self.path)
        people = store.people_path(file)
        own = [file, store.journal_path(file), store.unfinished_path(file)]
        own += [people, store.unfinished_path(people)]
        own += [built, store.journal_path(built), store.unfinished_path(built)]
        return [path for path in own if path.exists()]


class NpzRebuild:
    """An index file that is being built beside the present one.

    Attributes:
        backend: The new file.

    Args:
        path: The present file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.backend = NpzBackend(store.rebuild_path(path))

    def discard(self) -> None:
        """Remove the new file, its journal, and what a killed process left of it."""
        store.discard(self.backend.path)

    def finish(self) -> None:
        """Let the new file take the place of the present one."""
        built = self.backend.path
        try:
            # The old one's journal goes first: beside the new index it would be of another making.
            remove_file(store.journal_path(self._path))
            move_into_place(built, self._path)
            remove_file(built.with_name(built.name + ".lock"))
        except OSError as error:
            raise storage_error(self._path, error) from error


def photo_of(index: Index, row: int) -> PhotoFaces:
    """Return a photo of an index as a pipeline would."""
    rows = index.faces_of(row)
    span = slice(rows.start, rows.stop)
    faces = []
    for number, score in zip(rows, index.scores[span].tolist(), strict=True):
        points = index.landmarks[number]
        landmarks = None if bool(np.isnan(points).all()) else tuple((x, y) for x, y in points.tolist())
        faces.append(Face(index.box(number), score, landmarks, moment=index.moment(number)))
    return PhotoFaces(
        index.path(row),
        index.file(row),
        Status(int(index.status[row])),
        tuple(faces),
        np.asarray(index.vectors[span]) if faces else None,
    )


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def _scan(files: Sequence[Path], traces: Collection[bytes]) -> int:
    count = 0
    for path in files:
        with path.open("rb") as file:
            if not (size := path.stat().st_size):
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                count += size
                if any(content.find(trace) >= 0 for trace in traces):
                    raise StorageError(
                        f"{str(path)!r} still holds something of what was to be forgotten.",
                        "Run the same command again; where it says so again, remove the file.",
                    )
    return count


class CompanionFile:
    """Arrays in an .npz of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = os.fspath(path)

    def there(self) -> bool:
        """Return whether the file is there."""
        return self.path.exists()

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Map the file."""
        return map_arrays(self.path)

    def write(self, write: Callable[[ArrayWriter], None]) -> None:
        """Write beside the file, then take its place.

        Raises:
            StorageError: The disk is full or the folder cannot be written; the file is as it was.
        """
        try:
            with written_whole(self.path) as writer:
                write(writer)
        except OSError as error:
            raise storage_error(self.path, error) from error

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Be the only one who changes the file.

        Raises:
            IndexBusy: Another process does.
            StorageError: The folder cannot be written.
        """
        with write_lock(self.path):
            with suppress(OSError):
                remove_file(unfinished_path(self.path))  # of a process that was killed
            yield
