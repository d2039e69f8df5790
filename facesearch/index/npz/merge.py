"""Several indexes made one: of what shards of a library were indexed into, or of several libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from facesearch.errors import IndexFileError
from facesearch.faces import Box, Status
from facesearch.files import storage_error, write_lock
from facesearch.index.index import Index
from facesearch.index.meta import joined_roots
from facesearch.index.npz.journal import JournalEntry
from facesearch.index.npz.store import journal_path
from facesearch.index.npz.writer import KeptPhoto, NpzIndexWriter, check_same_making, open_index, write_index


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge gave.

    Attributes:
        photos: In the new index.
        faces: In the new index.
        twice: Photos that more than one index held; the one of the newest file was taken.
    """

    photos: int
    faces: int
    twice: int


def merge_indexes(sources: Sequence[Path], into: Path) -> Merged:
    """Write one index of several, which stay as they are; no photo is opened.

    What one of them has forgotten, or erased, is in the new one neither.

    Args:
        sources: Indexes of one making.
        into: Where the new one goes; it may be one of them, and may not be there otherwise.

    Raises:
        IndexConflict: They were made by different models or with different settings.
        IndexFileError: One cannot be used, or is being written.
        StorageError: The disk is full or the folder cannot be written.
    """
    if into.exists() and not any(into.samefile(source) for source in sources if source.exists()):
        raise IndexFileError(
            f"There is an index at {os.fspath(into)!r} already.",
            "Name it among those that are merged, or another place with --into.",
        )
    with ExitStack() as stack:
        for source in dict.fromkeys(path.resolve() for path in sources):
            if journal_path(source).exists():
                with NpzIndexWriter(source):
                    pass  # folds in what an interrupted run left
            if source != into.resolve():
                stack.enter_context(write_lock(source))
        stack.enter_context(write_lock(into))
        indexes = [open_index(source) for source in sources]
        for source, index in zip(sources, indexes, strict=True):
            check_same_making(indexes[0].meta, index.meta, what=f"The index {os.fspath(source)!r}")
        return _write(indexes, into)


def _write(indexes: Sequence[Index], into: Path) -> Merged:
    first, *others = indexes
    photos = {photo.path: photo for photo in _photos_of(first)}
    twice = 0
    for index in others:
        for photo in _entries_of(index):
            known = photos.get(photo.path)
            twice += known is not None
            if known is None or photo.mtime_ns > known.mtime_ns:
                photos[photo.path] = photo
    roots = first.meta.roots
    for index in others:
        roots = joined_roots(roots, index.meta.roots)
    forgotten = frozenset(digest.tobytes() for index in indexes for digest in index.forgotten)
    kept = [photo for photo in photos.values() if photo.digest(first) not in forgotten]
    kept.sort(key=lambda photo: photo.path)
    created = min(index.meta.created for index in indexes)
    base = replace(first, meta=replace(first.meta, created=created))
    try:
        write_index(into, base, kept, roots, forgotten, _erased(indexes))
    except OSError as error:
        raise storage_error(into, error) from error
    merged = open_index(into)
    return Merged(merged.photo_count, merged.face_count, twice)


def _photos_of(index: Index) -> Iterator[KeptPhoto]:
    for row in range(index.photo_count):
        yield KeptPhoto(index.path_bytes(row), row, int(index.size[row]), int(index.mtime_ns[row]))


def _entries_of(index: Index) -> Iterator[KeptPhoto]:
    """Yield an index's photos as a journal would have them; their arrays are views into the mapped file."""
    for photo in _photos_of(index):
        assert isinstance(photo.source, int)
        faces = slice(int(index.first_face[photo.source]), int(index.first_face[photo.source + 1]))
        entry = JournalEntry(
            photo.path,
            photo.size,
            photo.mtime_ns,
            index.digest[photo.source].tobytes(),
            Status(int(index.status[photo.source])),
            index.vectors[faces],
            index.boxes[faces],
            index.scores[faces],
            index.landmarks[faces],
        )
        yield replace(photo, source=entry)


def _erased(indexes: Sequence[Index]) -> dict[bytes, tuple[Box, ...]]:
    erased: dict[bytes, tuple[Box, ...]] = {}
    for index in indexes:
        for digest, boxes in index.erased_faces.items():
            erased[digest] = tuple(dict.fromkeys((*erased.get(digest, ()), *boxes)))
    return erased
