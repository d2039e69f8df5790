"""Write an index file anew: photos of the old file and of the journal, in the order of their paths."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Status
from facesearch.index.journal import JournalEntry
from facesearch.index.layout import ARRAYS, FORMAT, Layout
from facesearch.index.npz import NpzWriter
from facesearch.index.roots import root_of
from facesearch.index.whole import written_whole
from facesearch.ranking import norms_of

# Vectors are copied from the old file and the journal in blocks of at least this many rows, 2 MB of 2048
# numbers: memory stays as it was while the photos were looked at.
_BLOCK_ROWS = 256

# The faces of photos that are not to be taken in again, by the photo's digest.
Erased = Mapping[bytes, Sequence[Box]]
# A face that was found anew, by a detector of other settings, overlaps the one that was known this far.
SAME_FACE = 0.5


@dataclass(frozen=True, slots=True)
class KeptPhoto:
    """A photo of the file to be written; `source` is a photo of the old file or a journal's entry."""

    path: bytes
    source: int | JournalEntry
    size: int
    mtime_ns: int

    def digest(self, old: Layout) -> bytes:
        """Give the digest of its content."""
        source = self.source
        return old.digest[source].tobytes() if isinstance(source, int) else source.digest


def write_index(
    path: Path,
    old: Layout,
    photos: Sequence[KeptPhoto],
    roots: Sequence[str],
    forgotten: frozenset[bytes],
    erased: Erased,
    spared: Collection[tuple[bytes, Box]] = (),
) -> None:
    """Write beside the file, then take its place; readers see the old file or the new one, whole.

    Args:
        path: The index file; it may be the one that `old` is mapped from.
        old: What the photos' sources are rows of.
        photos: By path.
        roots: Of all photos.
        forgotten: Digests that are not to be taken in again.
        erased: Faces that are left out.
        spared: Those of them that photos do not have any more, so that none is left out for them.

    Raises:
        OSError: The disk is full or the folder cannot be written; the file is as it was.
    """
    with written_whole(path) as writer:
        _Fold(old, photos, erased, spared).write(writer, roots, forgotten)


class _Fold:
    """The arrays of the new file, made from the old one's and the journal's."""

    def __init__(
        self,
        old: Layout,
        photos: Sequence[KeptPhoto],
        erased: Erased,
        spared: Collection[tuple[bytes, Box]],
    ) -> None:
        self._old = old
        self._photos = photos
        self._erased = erased
        self._spared = spared
        # Which faces stay, for the photos where one may not.
        self._stay = {photo.path: self._stays(photo) for photo in photos if photo.digest(old) in erased}

    def write(self, writer: NpzWriter, roots: Sequence[str], forgotten: frozenset[bytes]) -> None:
        """Write all arrays."""
        old, photos = self._old, self._photos
        meta = old.meta.written(roots)
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
        self._write_photos(writer, roots)
        writer.write("forgotten", _digests(sorted(forgotten)))
        gone = [(digest, box) for digest, boxes in sorted(self._erased.items()) for box in boxes]
        writer.write("erased", _digests(digest for digest, _ in gone))
        corners = [(box.x, box.y, box.width, box.height) for _, box in gone]
        writer.write("erased_boxes", np.array(corners, np.int32).reshape(-1, 4))

    def _write_photos(self, writer: NpzWriter, roots: Sequence[str]) -> None:
        photos = self._photos
        lengths = np.array([len(photo.path) for photo in photos], np.int64)
        writer.write("paths", np.frombuffer(b"".join(photo.path for photo in photos), np.uint8))
        writer.write("path_ends", np.cumsum(lengths, dtype=np.int64))
        under = [root_of(photo.path, roots) for photo in photos]
        assert None not in under, "an index covers all its photos"
        writer.write("root", np.array(under, np.int32))
        writer.write("size", np.array([photo.size for photo in photos], np.int64))
        writer.write("mtime_ns", np.array([photo.mtime_ns for photo in photos], np.int64))
        writer.write("digest", _digests(photo.digest(self._old) for photo in photos))
        writer.write("status", np.array([self._status(photo) for photo in photos], np.uint8))

    def _status(self, photo: KeptPhoto) -> int:
        source = photo.source
        status = int(self._old.status[source]) if isinstance(source, int) else source.status
        all_erased = photo.path in self._stay and not self._face_count(photo)
        return Status.NO_FACE if status == Status.OK and all_erased else status

    def _face_count(self, photo: KeptPhoto) -> int:
        if photo.path in self._stay:
            return int(self._stay[photo.path].sum())
        return len(self._of_photo("boxes", photo))

    def _of_photo(self, name: str, photo: KeptPhoto) -> NDArray[Any]:
        """Give one of the faces' arrays for a photo, with the faces that are left out."""
        source, first = photo.source, self._old.first_face
        if isinstance(source, int):
            rows: NDArray[Any] = getattr(self._old, name)[first[source] : first[source + 1]]
            return rows
        of_entry: NDArray[Any] = getattr(source, name)
        return of_entry

    def _stays(self, photo: KeptPhoto) -> NDArray[np.bool_]:
        faces = [Box(*corners) for corners in self._of_photo("boxes", photo).tolist()]
        digest = photo.digest(self._old)
        # From what the file holds, what it counts as erased is gone already.
        done = self._old.erased_faces.get(digest, ()) if isinstance(photo.source, int) else ()
        return staying(
            faces,
            [box for box in self._erased[digest] if box not in done and (digest, box) not in self._spared],
        )

    def _blocks(self, name: str) -> Iterator[NDArray[Any]]:
        """Give one of the faces' arrays for all photos, in blocks."""
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


def staying(faces: Sequence[Box], erased: Iterable[Box]) -> NDArray[np.bool_]:
    """Say of each face of a photo whether it stays, when some are erased."""
    stays = np.ones(len(faces), np.bool_)
    for box in erased:
        overlap = [box.overlap(face) if stay else 0.0 for face, stay in zip(faces, stays, strict=True)]
        if overlap and max(overlap) >= SAME_FACE:
            stays[int(np.argmax(overlap))] = False
    return stays


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
