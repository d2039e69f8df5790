"""Writes the index file: a journal of what was added, and a new file in the old one's place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import compress, pairwise, repeat
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexConflict, IndexMissing
from facesearch.faces import NO_DIGEST, Box, FileState, PhotoFaces, Status
from facesearch.files import remove_file, storage_error, write_lock
from facesearch.index.changes import Changes, faces_left
from facesearch.index.index import ARRAYS, FORMAT, Index, empty_index, places_of
from facesearch.index.meta import Meta, check_same_making
from facesearch.index.npz.arrays import ArrayWriter
from facesearch.index.npz.journal import Journal, JournalEntry, read_journal
from facesearch.index.npz.store import (
    broken,
    discard,
    journal_path,
    open_index,
    rebuild_path,
    unfinished_path,
    written_whole,
)
from facesearch.paths import beginning, root_of
from facesearch.ranking import norms_of


class NpzIndexWriter:
    """Writes an index file, as the only one that does.

    It is used as a context, which holds the lock. On entry it writes the journal that an interrupted run left
    into the file. What is added goes to the journal at once; `commit` writes all changes into a new file that
    takes the old one's place.

    Attributes:
        index: The index as it is in the file.
        changes: What `commit` will change besides what was added.
        recovered: The number of photos that an interrupted run had left in the journal.
        torn: The number of bytes at the journal's end that were being written when that run died.

    Args:
        path: The index file.
        meta: The meta data of an index that does not exist yet.

    Raises:
        IndexBusy: Another process writes it.
        IndexBroken, IndexFormat, IndexConflict: The file or the journal is not what it has to be.
        StorageError: The folder cannot be written or the disk is full.
    """

    def __init__(self, path: Path, meta: Meta | None = None) -> None:
        self.path = path
        self.recovered = 0
        self.torn = 0
        self._new_meta = meta
        self._alone = ExitStack()
        self._journal: Journal | None = None

    def __enter__(self) -> NpzIndexWriter:
        with ExitStack() as stack:
            stack.enter_context(write_lock(self.path))
            self._open()
            self._alone = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._alone:
            if self._journal is not None:
                self._journal.close()

    def _open(self) -> None:
        remove_file(unfinished_path(self.path))  # of a process that was killed while it wrote
        left = journal_path(self.path)
        journal = read_journal(left) if left.exists() else None
        try:
            index = open_index(self.path)
        except IndexMissing:
            meta = journal.meta if journal is not None and journal.meta is not None else self._new_meta
            if meta is None:
                raise
            index = empty_index(meta)
        self._begin(index)
        self._check_roots(index)
        if journal is None:
            return
        if journal.meta is not None:
            begun, ours = journal.meta.created, index.meta.created
            # An index that was first written when the process died has no date in its journal.
            if begun and ours and begun != ours:
                raise IndexConflict(
                    f"The journal {os.fspath(left)!r} belongs to another index, which was begun {begun}.",
                    "Put that index back beside it, or move the journal away and index again.",
                )
            check_same_making(index.meta, journal.meta, what=f"The journal {os.fspath(left)!r}")
            self.changes.cover(journal.meta.roots)
        if any(root_of(entry.path, self.changes.roots) is None for entry in journal.entries):
            raise broken(left, "a photo lies under no root")
        self.recovered, self.torn = len(journal.entries), journal.torn
        self.commit()

    def _check_roots(self, index: Index) -> None:
        """Check that each photo lies under its root, which matters to a writer only."""
        roots = index.meta.roots
        folders = [beginning(root) for root in roots]
        below = map(str.startswith, index.names, map(folders.__getitem__, index.root.tolist()))
        for photo in (photo for photo, inside in enumerate(below) if not inside):
            if index.names[photo] != roots[int(index.root[photo])]:
                raise broken(self.path, "a photo does not lie under its root")

    def _begin(self, index: Index) -> None:
        """Take an index as what changes begin from."""
        self.index = index
        self.changes = Changes(index)

    def add(self, photo: PhotoFaces) -> None:
        """Add a photo that was processed; once this returns, killing the process does not lose it."""
        try:
            if self._journal is None:
                meta = replace(self.index.meta, roots=self.changes.roots)
                self._journal = Journal(journal_path(self.path), meta)
            self._journal.add(photo)
        except OSError as error:
            raise storage_error(journal_path(self.path), error) from error

    def commit(self) -> None:
        """Write all changes into the file; do nothing where there are none.

        Raises:
            StorageError: The disk is full or the folder cannot be written; the file is as it was.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self.changes.permanent:
            discard(rebuild_path(self.path))  # what an interrupted rebuild left may hold them too
        left = journal_path(self.path)
        if not self.changes and not left.exists() and self.path.exists():
            return
        try:
            entries = read_journal(left).entries if left.exists() else []
            write_index(self.path, self.index, *self._photos(entries), self.changes)
            remove_file(left)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._begin(open_index(self.path))

    def _photos(self, entries: Sequence[JournalEntry]) -> tuple[Kept, list[PhotoToWrite]]:
        """Return the photos that stay as the old file has them, and the others, by path."""
        index, changes = self.index, self.changes
        others = {path: PhotoToWrite(path, taken.photo, taken.file) for path, taken in changes.taken.items()}
        others.update((entry.path, PhotoToWrite(entry.path, entry, entry.file)) for entry in entries)
        left_out = index.photos_with(changes.forgotten)
        kept = {
            path: row
            for row, path in changes.paths_after(index.all_paths)
            if path not in others and row not in left_out
        }
        if changes.moved_to is not None:  # at another path a photo may have been forgotten
            kept = {path: row for path, row in kept.items() if not changes.leaves_out(path, index.file(row))}
        return Kept(np.fromiter(kept.values(), np.int64, len(kept)), list(kept)), [
            photo for _, photo in sorted(others.items()) if not changes.leaves_out(photo.path, photo.file)
        ]


# Vectors are copied from the old file and the journal in blocks of at least this many rows, 2 MB of 2048
# numbers: memory stays as it was while the photos were looked at.
_BLOCK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Kept:
    """The photos that stay as the old file has them: of a million, most do.

    Attributes:
        rows: (k,) in the old file.
        paths: The file system's bytes, each once and in any order.
    """

    rows: NDArray[np.int64]
    paths: list[bytes]


@dataclass(frozen=True, slots=True)
class PhotoToWrite:
    """A photo of the file to write.

    Attributes:
        path: The file system's bytes.
        source: The photo's row in the old file, or its entry in the journal.
        file: What is known of the photo's file.
    """

    path: bytes
    source: int | JournalEntry
    file: FileState


def write_index(path: Path, old: Index, kept: Kept, others: Sequence[PhotoToWrite], changes: Changes) -> None:
    """Write an index beside the file, then let it take the file's place; readers see either one whole.

    Args:
        path: The index file; it may be the one that `old` is mapped from.
        old: The index that the photos' sources are rows of.
        kept: The photos of the new index that stay as they are.
        others: Its other photos, at other paths.
        changes: The roots of the new index, what it has forgotten, and the faces that are erased.

    Raises:
        OSError: The disk is full or the folder cannot be written; the file is as it was.
    """
    with written_whole(path) as writer:
        _NewIndex(old, kept, others, changes).write(writer)


class _NewIndex:
    """The arrays of the new file, made from those of the old one and of the journal.

    Attributes:
        _source: (p,) for each photo, by path, its row in the old file; or, for the n-th of those that do not
            stay as they are, how many photos the old file has plus 2 n + 1, so that runs of rows end there.
    """

    def __init__(self, old: Index, kept: Kept, others: Sequence[PhotoToWrite], changes: Changes) -> None:
        self._old, self._changes = old, changes
        # Photos that have erased faces are looked at one by one.
        erased = old.photos_with(changes.erased)
        of_erased = [place for place, row in enumerate(kept.rows.tolist()) if row in erased] if erased else []
        apart = [(kept.paths[place], int(kept.rows[place])) for place in of_erased]
        self._others = [*others, *(PhotoToWrite(path, row, old.file(row)) for path, row in apart)]
        # Which faces stay, for those that have erased ones.
        self._stay = {
            photo.path: self._stays(photo)
            for photo in self._others
            if any(digest in changes.erased for digest in photo.file.digests)
        }
        stays = np.ones(len(kept.rows), np.bool_)
        stays[of_erased] = False
        paths = [*compress(kept.paths, stays.tolist()), *(photo.path for photo in self._others)]
        beyond = old.photo_count + 1 + 2 * np.arange(len(self._others))
        order = sorted(range(len(paths)), key=paths.__getitem__)
        self._paths = [paths[place] for place in order]
        self._source = np.concatenate([kept.rows[stays], beyond])[order]
        self._is_old = self._source < old.photo_count

    def write(self, writer: ArrayWriter) -> None:
        """Write all arrays."""
        changes, first = self._changes, self._old.first_face
        meta = self._old.meta.written(changes.roots, changes.mounts, changes.precision)
        counts = self._of_photos(np.diff(first), self._face_count)
        faces = int(counts.sum())
        writer.write("format", np.array(FORMAT, np.int64))
        writer.write("meta", np.array(meta.to_json()))
        vectors = self._of_faces("vectors")
        writer.write_blocks("vectors", (faces, meta.dim), np.dtype("<f4"), vectors)
        for name in ("norms", "boxes", "scores", "landmarks", "moments"):
            writer.write(name, _joined(name, self._of_faces(name), meta.dim))
        writer.write("photo", np.repeat(np.arange(len(counts), dtype=np.int32), counts))
        self._write_photos(writer, changes.roots)
        writer.write("forgotten", _digests(sorted(changes.forgotten)))
        gone = [(digest, box) for digest, boxes in sorted(changes.erased.items()) for box in boxes]
        writer.write("erased", _digests(digest for digest, _ in gone))
        corners = [box.corners for _, box in gone]
        writer.write("erased_boxes", np.array(corners, np.int32).reshape(-1, 4))

    def _write_photos(self, writer: ArrayWriter, roots: Sequence[str]) -> None:
        old = self._old
        writer.write("paths", np.frombuffer(b"".join(self._paths), np.uint8))
        writer.write("path_ends", np.cumsum(np.fromiter(map(len, self._paths), np.int64, len(self._paths))))
        writer.write("root", self._roots(roots))
        writer.write("size", self._of_photos(old.size, lambda photo: photo.file.size))
        writer.write("mtime_ns", self._of_photos(old.mtime_ns, lambda photo: photo.file.mtime_ns))
        writer.write("ctime_ns", self._of_photos(old.ctime_ns, lambda photo: photo.file.ctime_ns))
        writer.write("digest", self._of_photos(old.digest, lambda photo: _row(photo.file.digest)))
        writer.write(
            "file_digest", self._of_photos(old.file_digest, lambda photo: _row(photo.file.file_digest))
        )
        writer.write("captured", self._of_photos(old.captured, lambda photo: photo.file.captured))
        writer.write("status", self._of_photos(old.status, self._status))

    def _roots(self, roots: Sequence[str]) -> NDArray[np.int32]:
        under = np.full(len(self._paths), -1, np.int32)
        # A photo lies below its root, and so does what lies below where that root lies now.
        of_old = (root_of(os.fsencode(root), roots) for root in self._old.meta.roots)
        known = np.array([-1 if number is None else number for number in of_old], np.int32)
        under[self._is_old] = known[self._old.root[self._source[self._is_old]]]
        if (place := self._changes.moved_to) is not None:
            number = root_of(place, roots)
            moved = np.fromiter(map(bytes.startswith, self._paths, repeat(beginning(place))), np.bool_)
            moved |= np.fromiter(map(place.__eq__, self._paths), np.bool_)  # a single photo
            under[moved] = -1 if number is None else number
        for place in np.flatnonzero(under < 0).tolist():
            number = root_of(self._paths[place], roots)
            assert number is not None, "an index covers all its photos"
            under[place] = number
        return under

    def _of_photos(self, values: NDArray[Any], of_other: Callable[[PhotoToWrite], object]) -> NDArray[Any]:
        """Return a photos' array: of the old one where a photo stays, and what another one has."""
        found = np.empty((len(self._source), *values.shape[1:]), values.dtype)
        found[self._is_old] = values[self._source[self._is_old]]
        for place in np.flatnonzero(~self._is_old).tolist():
            found[place] = of_other(self._other(int(self._source[place])))
        return found

    def _other(self, source: int) -> PhotoToWrite:
        return self._others[(source - self._old.photo_count) // 2]

    def _status(self, photo: PhotoToWrite) -> int:
        source = photo.source
        status = int(self._old.status[source]) if isinstance(source, int) else source.status
        all_erased = photo.path in self._stay and not self._face_count(photo)
        return Status.NO_FACE if status == Status.OK and all_erased else status

    def _face_count(self, photo: PhotoToWrite) -> int:
        if photo.path in self._stay:
            return int(self._stay[photo.path].sum())
        return len(self._rows_of("boxes", photo))

    def _rows_of(self, name: str, photo: PhotoToWrite) -> NDArray[Any]:
        """Return the rows of a photo in one of the faces' arrays, erased faces included."""
        source, first = photo.source, self._old.first_face
        if isinstance(source, int):
            rows: NDArray[Any] = getattr(self._old, name)[first[source] : first[source + 1]]
            return rows
        of_entry: NDArray[Any] = _usable_norms(source.vectors) if name == "norms" else getattr(source, name)
        return of_entry

    def _stays(self, photo: PhotoToWrite) -> NDArray[np.bool_]:
        places = places_of(self._rows_of("boxes", photo), self._rows_of("moments", photo))
        faces = [Box(*corners) for corners in places.tolist()]
        stored = isinstance(photo.source, int)
        return faces_left(faces, self._changes.erased_from(photo.file, stored=stored))

    def _of_faces(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield one of the faces' arrays for all photos, in blocks."""
        pieces: list[NDArray[Any]] = []
        rows = 0
        for piece in self._pieces(name):
            pieces.append(piece)
            rows += len(piece)
            if rows >= _BLOCK_ROWS:
                yield np.concatenate(pieces) if len(pieces) > 1 else piece
                pieces, rows = [], 0
        if rows:
            yield np.concatenate(pieces)

    def _pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield one of the faces' arrays for all photos: in one piece where they follow each other."""
        values, first = getattr(self._old, name), self._old.first_face
        starts = np.flatnonzero(np.diff(self._source, prepend=-2) != 1).tolist()
        for start, stop in pairwise([*starts, len(self._source)]):
            source = int(self._source[start])
            if source < self._old.photo_count:
                begin, end = int(first[source]), int(first[source + stop - start])
                for at in range(begin, end, _BLOCK_ROWS):
                    yield values[at : min(at + _BLOCK_ROWS, end)]
            else:
                photo = self._other(source)
                rows = self._rows_of(name, photo)
                yield rows[self._stay[photo.path]] if photo.path in self._stay else rows


def _row(digest: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(digest or NO_DIGEST, np.uint8)


def _usable_norms(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths of vectors; 0 where a network spoiled one, so that the ranking leaves it out."""
    lengths = norms_of(vectors)
    return np.asarray(np.where(np.isfinite(lengths), lengths, 0), np.float32)


def _digests(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def _joined(name: str, blocks: Iterable[NDArray[Any]], dim: int) -> NDArray[Any]:
    dtype, inner, _ = ARRAYS[name]
    none = np.empty((0, *(dim if length < 0 else length for length in inner)), dtype)
    return np.concatenate([none, *blocks])
