"""Operations on whole indexes that open no photo: forget photos, move a root, copy to a backend, merge."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facesearch.errors import IndexConflict, IndexFileError
from facesearch.faces import PhotoFaces, Status
from facesearch.files import storage_error, write_lock
from facesearch.index.backend import IndexBackend, open_backend
from facesearch.index.changes import Changes
from facesearch.index.index import Index
from facesearch.index.meta import check_same_making
from facesearch.index.npz.journal import JournalEntry
from facesearch.index.npz.store import journal_path, open_index
from facesearch.index.npz.writer import Kept, NpzIndexWriter, PhotoToWrite, write_index
from facesearch.paths import beginning, known_path
from facesearch.photos.urls import is_there


@dataclass(frozen=True, slots=True)
class ForgottenPhotos:
    """The result of forgetting photos.

    Attributes:
        removed: The paths that the index has no more.
        copies: The paths of other files with the same pictures, which stay.
    """

    removed: tuple[str, ...]
    copies: tuple[str, ...] = ()


def forget(
    backend: IndexBackend | os.PathLike[str],
    folders: Sequence[str],
    *,
    copies: bool = False,
    dry_run: bool = False,
) -> ForgottenPhotos:
    """Remove photos for good, and remember no more of them than digests.

    Copies of them that are not there any more, such as those at the name that a folder had, go with them.
    Where other copies stay, the photos are left out at their own paths only. What an interrupted rebuild left
    is removed as well, since it may hold them too.

    Args:
        backend: Where the index is; a path stands for a file.
        folders: Photos, or folders for all photos below them, absolute; they need not exist any more.
        copies: Whether to remove all copies too, wherever they are.
        dry_run: Whether to change nothing, and only say what would be done.

    Raises:
        IndexFileError: There is no index, or it cannot be used.
        StorageError: The file cannot be rewritten.
    """
    with open_backend(backend).writer() as writer:
        index, changes = writer.index, writer.changes
        names = [known_path(folder, index.meta.roots) for folder in folders]
        gone = set(_below(index, names))
        stay: set[int] = set()
        keys: set[bytes] = set()
        files = {row: index.file(row) for row in sorted(gone)}
        alike: dict[bytes, set[int]] = {}
        for one in index.photos_with({digest for file in files.values() for digest in file.digests}):
            for digest in index.file(one).digests:
                alike.setdefault(digest, set()).add(one)
        for row, file in files.items():
            others = set().union(*(alike[digest] for digest in file.digests)) - gone
            left = {one for one in others if not copies and is_there(index.path(one))}
            stay |= left
            gone |= others - left
            keys.update(file.keys(index.path(row))[-1:] if left else file.digests)
        done = ForgottenPhotos(*(tuple(map(index.path, sorted(rows))) for rows in (gone, stay)))
        if dry_run:
            return done
        for name in done.removed:
            changes.drop(name)
        changes.forget(keys)
        changes.uncover(names)
        writer.commit()
    return done


def move_root(backend: IndexBackend | os.PathLike[str], old: str, new: str) -> int:
    """Change an index so that what lay below one folder lies below another.

    Returns:
        The number of photos that were moved.

    Raises:
        IndexFileError: There is no index, it cannot be used, or it holds nothing below `old`.
        StorageError: The file cannot be rewritten.
    """
    with open_backend(backend).writer() as writer:
        name = known_path(old, writer.index.meta.roots)
        count = len(_below(writer.index, [name]))
        if not count:
            raise IndexFileError(
                f"The index holds no photo below {old!r}.", "`facesearch info` lists its roots."
            )
        writer.changes.move_root(name, new)
        writer.commit()
    return count


def _below(index: Index, folders: Sequence[str]) -> list[int]:
    # Photos stand in the order of their paths: those below a folder follow each other.
    rows, found = range(index.photo_count), set[int]()
    for folder in folders:
        inside = beginning(os.fsencode(folder))
        beyond = inside[:-1] + bytes([inside[-1] + 1])
        start, stop = (bisect_left(rows, path, key=index.path_bytes) for path in (inside, beyond))
        found.update(range(start, stop))
        if (itself := index.find(folder)) is not None:
            found.add(itself)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of a copy.

    Attributes:
        photos: The number of photos in the copy.
        faces: The number of faces in the copy.
        already: The number of photos that were there before.
    """

    photos: int
    faces: int
    already: int


def copy_index(
    source: IndexBackend,
    target: IndexBackend,
    *,
    on_start: Callable[[int], None] = lambda count: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Copied:
    """Copy an index to another backend, a photo at a time, and compare the two.

    Photos that an interrupted copy has brought there already are not copied again.

    Args:
        source: Where the index is; it is not changed.
        target: Where to copy it; there may be a part of it, but nothing else.
        on_start: Called with the number of photos to copy.
        on_photo: Called with each photo that was copied.

    Raises:
        IndexConflict: There is another index at the target.
        IndexFileError: One of the two cannot be used, is written by another process, or changed meanwhile.
        StorageError: The target has no room for it.
    """
    listing = source.read(faces=False)
    meta = listing.meta.making()
    with target.writer(meta) as writer:
        there = writer.index
        check_same_making(there.meta, listing.meta, what=f"The index {source.name!r}")
        others = sum(listing.find(path) is None for path in there.rows)
        if others:
            raise IndexConflict(
                f"{target.name!r} is another index: {source.name!r} lacks {others:,} photos of it.",
                "Copy it to a place of its own.",
            )
        rows = [row for path, row in listing.rows.items() if not _is_there(listing, row, there, path)]
        on_start(len(rows))
        writer.changes.cover(listing.meta.roots)
        writer.changes.precision = listing.meta.precision
        writer.changes.forget(digest.tobytes() for digest in listing.forgotten)
        erased = [(digest, box) for digest, boxes in listing.erased_faces.items() for box in boxes]
        writer.changes.erase(erased, here=False)  # they are not among the photos' faces any more
        for photo in source.photos(listing, rows):
            writer.add(photo)
            on_photo(photo)
        writer.commit()
    copy = target.read(faces=False)
    _compare(source, listing, target, copy)
    return Copied(copy.photo_count, copy.face_count, listing.photo_count - len(rows))


def _is_there(listing: Index, row: int, there: Index, path: str) -> bool:
    other = there.rows.get(path)
    return other is not None and _about(listing, row) == _about(there, other)


def _about(index: Index, row: int) -> tuple[object, ...]:
    return index.file(row), int(index.status[row]), len(index.faces_of(row))


def _compare(source: IndexBackend, listing: Index, target: IndexBackend, copy: Index) -> None:
    """Check that every row of a copy is the same to the bit.

    Raises:
        IndexFileError: One is not.
    """
    rows: Sequence[int] = range(listing.photo_count)
    same = np.array_equal(listing.paths, copy.paths) and np.array_equal(listing.path_ends, copy.path_ends)
    same = same and np.array_equal(listing.forgotten, copy.forgotten)
    pairs = zip(source.photos(listing, rows), target.photos(copy, rows), strict=True) if same else ()
    wrong = next((mine.path for mine, theirs in pairs if _content(mine) != _content(theirs)), None)
    if not same or wrong is not None:
        what = "its photos are others" if wrong is None else f"its faces of {wrong!r} are others"
        raise IndexFileError(
            f"The copy at {target.name!r} is not what {source.name!r} is: {what}.",
            "Was one of them written meanwhile? Copy it to a new place.",
        )


def _content(photo: PhotoFaces) -> tuple[object, ...]:
    vectors = b"" if photo.vectors is None else np.asarray(photo.vectors, np.float32).tobytes()
    # The faces as text, since NaN is not equal to itself.
    return photo.path, photo.file, photo.status, repr(photo.faces), vectors


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
            index.moments[faces],
        )
        yield PhotoToWrite(entry.path, entry, entry.file)
