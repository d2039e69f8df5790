"""Operations on a whole index that open no photo: forget photos, move a root, copy it to another backend."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from facesearch.errors import IndexConflict, IndexFileError
from facesearch.faces import PhotoFaces
from facesearch.index.backend import IndexBackend, open_backend
from facesearch.index.index import Index
from facesearch.index.meta import check_same_making
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
