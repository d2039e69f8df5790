"""Merges several indexes into one: those of the shards of a library, or of several libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facesearch.errors import IndexFileError
from facesearch.faces import Status
from facesearch.files import storage_error, write_lock
from facesearch.index.changes import Changes
from facesearch.index.index import Index
from facesearch.index.meta import check_same_making
from facesearch.index.npz.journal import JournalEntry
from facesearch.index.npz.store import journal_path, open_index
from facesearch.index.npz.writer import Kept, NpzIndexWriter, PhotoToWrite, write_index


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a merge.

    Attributes:
        photos: The number of photos in the new index.
        faces: The number of faces in the new index.
        twice: The number of photos that more than one index held; the one of the newest file was taken.
    """

    photos: int
    faces: int
    twice: int


def merge_indexes(sources: Sequence[Path], into: Path) -> Merged:
    """Merge several indexes into a new one; no photo is opened, and the sources do not change.

    What one of them has forgotten or erased is left out of the new one.

    Args:
        sources: Indexes that were made with the same model and settings.
        into: The new file, which must not exist unless it is one of the sources.

    Raises:
        IndexConflict: They were made by different models or with different settings.
        IndexFileError: One of them cannot be used, or is being written.
        StorageError: The disk is full or the folder cannot be written.
    """
    if into.exists() and not any(into.samefile(source) for source in sources if source.exists()):
        raise IndexFileError(
            f"There is an index at {os.fspath(into)!r} already.",
            "Name it among those that are merged, or another place with --into.",
        )
    with ExitStack() as stack:
        for source in dict.fromkeys(map(_real, sources)):
            if journal_path(source).exists():
                with NpzIndexWriter(source):
                    pass  # writes what an interrupted run left into the file
            if source != _real(into):
                stack.enter_context(write_lock(source))
        stack.enter_context(write_lock(into))
        indexes = [open_index(source) for source in sources]
        for source, index in zip(sources, indexes, strict=True):
            check_same_making(indexes[0].meta, index.meta, what=f"The index {os.fspath(source)!r}")
        return _write(indexes, into)


def _real(path: Path) -> Path:
    # Unlike `Path.resolve`, it makes nothing of a loop of links: to open it is an error of the system.
    return Path(os.path.realpath(path))


def _write(indexes: Sequence[Index], into: Path) -> Merged:
    first, *more = indexes
    rows = {path: row for row, path in enumerate(first.all_paths)}
    others: dict[bytes, PhotoToWrite] = {}
    twice = 0
    for index in more:
        for photo in _entries_of(index):
            known = others[photo.path].file if photo.path in others else None
            if known is None and photo.path in rows:
                known = first.file(rows[photo.path])
            twice += known is not None
            if known is None or photo.file.mtime_ns > known.mtime_ns:
                others[photo.path] = photo
    created = min(index.meta.created for index in indexes)
    base = replace(first, meta=replace(first.meta, created=created))
    changes = Changes(base)
    for index in more:
        changes.cover(index.meta.roots)
        changes.forget(digest.tobytes() for digest in index.forgotten)
        changes.erase((digest, box) for digest, boxes in index.erased_faces.items() for box in boxes)
    rows = {
        path: row
        for path, row in rows.items()
        if path not in others and not changes.leaves_out(path, first.file(row))
    }
    kept = Kept(np.fromiter(rows.values(), np.int64, len(rows)), list(rows))
    added = [photo for photo in others.values() if not changes.leaves_out(photo.path, photo.file)]
    try:
        write_index(into, base, kept, added, changes)
    except OSError as error:
        raise storage_error(into, error) from error
    merged = open_index(into)
    return Merged(merged.photo_count, merged.face_count, twice)


def _entries_of(index: Index) -> Iterator[PhotoToWrite]:
    """Yield an index's photos as a journal would have them; their arrays are views into the mapped file."""
    for row in range(index.photo_count):
        faces = slice(int(index.first_face[row]), int(index.first_face[row + 1]))
        entry = JournalEntry(
            index.path_bytes(row),
            index.file(row),
            Status(int(index.status[row])),
            index.vectors[faces],
            index.boxes[faces],
            index.scores[faces],
            index.landmarks[faces],
        )
        yield PhotoToWrite(entry.path, entry, entry.file)
