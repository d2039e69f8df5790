"""An index copied to another place, a photo at a time, and compared there with what it was copied from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facesearch.errors import IndexConflict, IndexFileError
from facesearch.faces import PhotoFaces
from facesearch.index.backend import IndexBackend
from facesearch.index.index import Index
from facesearch.index.npz.writer import check_same_making


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to.

    Attributes:
        photos: In the copy.
        faces: In the copy.
        already: Photos that were there before.
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
    """Bring an index to another place; what is there of it already is not copied again.

    Args:
        source: Where it is; it stays as it is.
        target: Where it goes; there may be part of it, and nothing else.
        on_start: Told how many photos there are to copy.
        on_photo: Told of each that was.

    Raises:
        IndexConflict: There is another index.
        IndexFileError: One cannot be used, is written by another process, or changed meanwhile.
        StorageError: There is no room for it.
    """
    listing = source.listing()
    meta = replace(listing.meta, roots=(), created="", updated="", facesearch="")
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
        writer.cover(listing.meta.roots)
        writer.forget(digest.tobytes() for digest in listing.forgotten)
        erased = [(digest, box) for digest, boxes in listing.erased_faces.items() for box in boxes]
        writer.erase(erased, here=False)  # they are not among the photos' faces any more
        for photo in source.photos(listing, rows):
            writer.add(photo)
            on_photo(photo)
        writer.commit()
    copy = target.listing()
    _compare(source, listing, target, copy)
    return Copied(copy.photo_count, copy.face_count, listing.photo_count - len(rows))


def _is_there(listing: Index, row: int, there: Index, path: str) -> bool:
    other = there.rows.get(path)
    return other is not None and _about(listing, row) == _about(there, other)


def _about(index: Index, row: int) -> tuple[object, ...]:
    numbers = (index.size, index.mtime_ns, index.status)
    about = tuple(int(values[row]) for values in numbers)
    return (*about, index.digest[row].tobytes(), len(index.faces_of(row)))


def _compare(source: IndexBackend, listing: Index, target: IndexBackend, copy: Index) -> None:
    """See that every row is the same to the bit.

    Raises:
        IndexFileError: One is not.
    """
    rows: Sequence[int] = range(listing.photo_count)
    same = np.array_equal(listing.paths, copy.paths) and np.array_equal(listing.path_ends, copy.path_ends)
    same = same and np.array_equal(listing.forgotten, copy.forgotten)
    pairs = zip(source.photos(listing, rows), target.photos(copy, rows), strict=True) if same else ()
    wrong = next((mine.path for mine, theirs in pairs if _whole(mine) != _whole(theirs)), None)
    if not same or wrong is not None:
        what = "its photos are others" if wrong is None else f"its faces of {wrong!r} are others"
        raise IndexFileError(
            f"The copy at {target.name!r} is not what {source.name!r} is: {what}.",
            "Was one of them written meanwhile? Copy it to a new place.",
        )


def _whole(photo: PhotoFaces) -> tuple[object, ...]:
    vectors = b"" if photo.vectors is None else np.asarray(photo.vectors, np.float32).tobytes()
    about = (photo.path, photo.size, photo.mtime_ns, photo.digest, photo.status)
    return (*about, repr(photo.faces), vectors)  # NaN is itself by its name alone
