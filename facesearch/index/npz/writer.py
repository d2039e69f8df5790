"""Writes the index file: a journal of what was added, and a new file in the old one's place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexConflict, IndexMissing
from facesearch.faces import NO_DIGEST, Box, FileState, PhotoFaces, Status
from facesearch.files import remove_file, storage_error, write_lock
from facesearch.index.changes import Changes, faces_left
from facesearch.index.index import ARRAYS, FORMAT, Index, empty_index
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
            write_index(self.path, self.index, self._photos(entries), self.changes)
            remove_file(left)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._begin(open_index(self.path))

    def _photos(self, entries: Sequence[JournalEntry]) -> list[PhotoToWrite]:
        """Return the photos of the new file, by path."""
        index, changes = self.index, self.changes
        photos: dict[bytes, PhotoToWrite] = {}
        for row, path in changes.paths_after(index.all_paths):
            photos[path] = PhotoToWrite(path, row, index.file(row))
        for path, taken in changes.taken.items():
            photos[path] = PhotoToWrite(path, taken.photo, taken.file)
        for entry in entries:
            photos[entry.path] = PhotoToWrite(entry.path, entry, entry.file)
        return sorted(
            (photo for photo in photos.values() if not changes.leaves_out(photo.path, photo.file)),
            key=lambda photo: photo.path,
        )


# Vectors are copied from the old file and the journal in blocks of at least this many rows, 2 MB of 2048
# numbers: memory stays as it was while the photos were looked at.
_BLOCK_ROWS = 256


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


def write_index(path: Path, old: Index, photos: Sequence[PhotoToWrite], changes: Changes) -> None:
    """Write an index beside the file, then let it take the file's place; readers see either one whole.

    Args:
        path: The index file; it may be the one that `old` is mapped from.
        old: The index that the photos' sources are rows of.
        photos: The photos of the new index, by path.
        changes: The roots of the new index, what it has forgotten, and the faces that are erased.

    Raises:
        OSError: The disk is full or the folder cannot be written; the file is as it was.
    """
    with written_whole(path) as writer:
        _NewIndex(old, photos, changes).write(writer)


class _NewIndex:
    """The arrays of the new file, made from those of the old one and of the journal."""

    def __init__(self, old: Index, photos: Sequence[PhotoToWrite], changes: Changes) -> None:
        self._old = old
        self._photos = photos
        self._changes = changes
        # Which faces stay, for the photos that have erased ones.
        self._stay = {
            photo.path: self._stays(photo)
            for photo in photos
            if any(digest in changes.erased for digest in photo.file.digests)
        }

    def write(self, writer: ArrayWriter) -> None:
        """Write all arrays."""
        photos, changes = self._photos, self._changes
        meta = self._old.meta.written(changes.roots, changes.mounts, changes.precision)
        counts = np.array([self._face_count(photo) for photo in photos], np.int64)
        faces = int(counts.sum())
        writer.write("format", np.array(FORMAT, np.int64))
        writer.write("meta", np.array(meta.to_json()))
        norms: list[NDArray[np.float32]] = []
        vectors = _noting_norms(self._blocks("vectors"), norms)
        writer.write_blocks("vectors", (faces, meta.dim), np.dtype("<f4"), vectors)
        writer.write("norms", _joined("norms", norms, meta.dim))
        for name in ("boxes", "scores", "landmarks"):
            writer.write(name, _joined(name, self._blocks(name), meta.dim))
        writer.write("photo", np.repeat(np.arange(len(photos), dtype=np.int32), counts))
        self._write_photos(writer, changes.roots)
        writer.write("forgotten", _digests(sorted(changes.forgotten)))
        gone = [(digest, box) for digest, boxes in sorted(changes.erased.items()) for box in boxes]
        writer.write("erased", _digests(digest for digest, _ in gone))
        corners = [box.corners for _, box in gone]
        writer.write("erased_boxes", np.array(corners, np.int32).reshape(-1, 4))

    def _write_photos(self, writer: ArrayWriter, roots: Sequence[str]) -> None:
        photos = self._photos
        lengths = np.array([len(photo.path) for photo in photos], np.int64)
        writer.write("paths", np.frombuffer(b"".join(photo.path for photo in photos), np.uint8))
        writer.write("path_ends", np.cumsum(lengths, dtype=np.int64))
        under = [root_of(photo.path, roots) for photo in photos]
        assert None not in under, "an index covers all its photos"
        writer.write("root", np.array(under, np.int32))
        files = [photo.file for photo in photos]
        writer.write("size", np.array([file.size for file in files], np.int64))
        writer.write("mtime_ns", np.array([file.mtime_ns for file in files], np.int64))
        writer.write("ctime_ns", np.array([file.ctime_ns for file in files], np.int64))
        writer.write("digest", _digests(file.digest or NO_DIGEST for file in files))
        writer.write("file_digest", _digests(file.file_digest or NO_DIGEST for file in files))
        writer.write("status", np.array([self._status(photo) for photo in photos], np.uint8))

    def _status(self, photo: PhotoToWrite) -> int:
        source = photo.source
        status = int(self._old.status[source]) if isinstance(source, int) else source.status
        all_erased = photo.path in self._stay and not self._face_count(photo)
        return Status.NO_FACE if status == Status.OK and all_erased else status

    def _face_count(self, photo: PhotoToWrite) -> int:
        if photo.path in self._stay:
            return int(self._stay[photo.path].sum())
        return len(self._of_photo("boxes", photo))

    def _of_photo(self, name: str, photo: PhotoToWrite) -> NDArray[Any]:
        """Return the rows of a photo in one of the faces' arrays, erased faces included."""
        source, first = photo.source, self._old.first_face
        if isinstance(source, int):
            rows: NDArray[Any] = getattr(self._old, name)[first[source] : first[source + 1]]
            return rows
        of_entry: NDArray[Any] = getattr(source, name)
        return of_entry

    def _stays(self, photo: PhotoToWrite) -> NDArray[np.bool_]:
        faces = [Box(*corners) for corners in self._of_photo("boxes", photo).tolist()]
        stored = isinstance(photo.source, int)
        return faces_left(faces, self._changes.erased_from(photo.file, stored=stored))

    def _blocks(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield one of the faces' arrays for all photos, in blocks."""
        pieces: list[NDArray[Any]] = []
        rows = 0
        for photo in self._photos:
            piece = self._of_photo(name, photo)
            if photo.path in self._stay:
                piece = piece[self._stay[photo.path]]
            pieces.append(piece)
            rows += len(piece)
            if rows >= _BLOCK_ROWS:
                yield np.concatenate(pieces)
                pieces, rows = [], 0
        if rows:
            yield np.concatenate(pieces)


def _digests(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def _noting_norms(
    blocks: Iterator[NDArray[np.float32]], norms: list[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        lengths = norms_of(block)
        # A vector that a network spoiled: its photo stays known, and the ranking leaves it out.
        norms.append(np.where(np.isfinite(lengths), lengths, np.float32(0)))
        yield block


def _joined(name: str, blocks: Iterable[NDArray[Any]], dim: int) -> NDArray[Any]:
    dtype, inner, _ = ARRAYS[name]
    none = np.empty((0, *(dim if length < 0 else length for length in inner)), dtype)
    return np.concatenate([none, *blocks])
