"""An index in a file, and beside it its journal and its people."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import StorageError
from facesearch.faces import Face, PhotoFaces, Status
from facesearch.files import storage_error, write_lock
from facesearch.index.backend import Companion, IndexBackend
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.npz import store as beside
from facesearch.index.npz.arrays import ArrayWriter, map_arrays
from facesearch.index.npz.store import unfinished_path, written_whole
from facesearch.index.npz.writer import NpzIndexWriter, index_meta, open_index
from facesearch.ranking import Metric


class NpzBackend:
    """An .npz file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = os.fspath(path)
        self.title = path.stem
        self.metric: Metric = "cosine"
        self.people: Companion = CompanionFile(beside.people_path(path))

    def meta(self) -> Meta | None:
        """Return what makes the index, also of one whose first run was interrupted."""
        return index_meta(self.path)

    def whole(self) -> Index:
        """Map the index."""
        return open_index(self.path)

    listing = whole

    def searched(self) -> None:
        """Return None: the whole file is searched."""

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Return some photos with their faces."""
        return (photo_of(listing, row) for row in rows)

    def facts(self) -> dict[str, Any]:
        """Say nothing: a file is searched exactly."""
        return {}

    def state(self) -> tuple[Hashable, Hashable]:
        """Return what the files are now: another inode, time or size is another content."""
        return _state(self.path), _state(Path(self.people.name))

    def written_over(self, before: Hashable) -> bool:
        """Return whether the very file has new content: mapped pages of it must not be touched again."""
        now = _state(self.path)
        return isinstance(before, tuple) and now is not None and before[0] == now[0] and before != now

    def writer(self, meta: Meta | None = None) -> NpzIndexWriter:
        """Return the file's writer."""
        return NpzIndexWriter(self.path, meta)

    def alone(self) -> AbstractContextManager[None]:
        """Be the only one who writes the file."""
        return write_lock(self.path)

    def beside(self) -> NpzBackend:
        """Return where the file is rebuilt."""
        return NpzBackend(beside.rebuild_path(self.path))

    def take_over(self, built: IndexBackend) -> None:
        """Let another file take this one's place."""
        other = Path(built.name)
        try:
            # The old one's journal goes first: beside the new index it would be of another making.
            beside.journal_path(self.path).unlink(missing_ok=True)
            other.replace(self.path)
            other.with_name(other.name + ".lock").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def discard(self) -> None:
        """Remove the file, its journal, and what a killed process left of it."""
        beside.discard(self.path)

    def look_for(self, traces: Collection[bytes]) -> int:
        """Look through all files of the index.

        Raises:
            StorageError: Something is left in one.
        """
        return _scan(self._files(), traces)

    def _files(self) -> list[Path]:
        file, built = self.path, beside.rebuild_path(self.path)
        people = beside.people_path(file)
        own = [file, beside.journal_path(file), beside.unfinished_path(file)]
        own += [people, beside.unfinished_path(people)]
        own += [built, beside.journal_path(built), beside.unfinished_path(built)]
        return [path for path in own if path.exists()]


def photo_of(index: Index, row: int) -> PhotoFaces:
    """Return a photo of an index as a pipeline would."""
    rows = index.faces_of(row)
    span, digest = slice(rows.start, rows.stop), index.digest[row].tobytes()
    faces = []
    for number, score in zip(rows, index.scores[span].tolist(), strict=True):
        points = index.landmarks[number]
        landmarks = None if bool(np.isnan(points).all()) else tuple((x, y) for x, y in points.tolist())
        faces.append(Face(index.box(number), score, landmarks))
    return PhotoFaces(
        index.path(row),
        int(index.size[row]),
        int(index.mtime_ns[row]),
        digest if any(digest) else b"",
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
                unfinished_path(self.path).unlink(missing_ok=True)  # of a process that was killed
            yield
