"""The index as a file: read it whole at any time, write it as the only one who does."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexBroken, IndexConflict, IndexFormat, IndexMissing
from facesearch.faces import Box, PhotoFaces, Status
from facesearch.files import storage_error, write_lock
from facesearch.index.index import ARRAYS, FORMAT, Index, check_index, empty_index
from facesearch.index.meta import Meta, is_within, joined_roots, moved_path, root_of
from facesearch.index.npz.arrays import ArrayWriter, NpzError, map_arrays
from facesearch.index.npz.journal import Journal, JournalEntry, read_journal
from facesearch.index.npz.store import journal_path, unfinished_path, written_whole
from facesearch.ranking import norms_of


def broken(path: Path, clause: str) -> IndexBroken:
    """Make the error for a file that cannot be used, from a clause that says why."""
    return IndexBroken(
        f"{os.fspath(path)!r} cannot be used as an index: {clause}.",
        "It was left as it is. Put back a copy, or build it anew with `facesearch index FOLDER --rebuild`.",
    )


def open_index(path: Path) -> Index:
    """Map an index; it stays as it was when another process replaces the file.

    Raises:
        IndexMissing: There is none.
        IndexBroken: It is truncated, inconsistent, or not an index.
        IndexFormat: A newer facesearch wrote it.
    """
    try:
        return check_index(map_arrays(path), partial(broken, path))
    except FileNotFoundError as error:
        hint = "Make one with `facesearch index FOLDER`."
        if journal_path(path).exists():
            hint = "One is being made, or was interrupted: `facesearch index FOLDER` completes it."
        raise IndexMissing(f"There is no index at {os.fspath(path)!r}.", hint) from error
    except IndexFormat as error:
        raise IndexFormat(f"{os.fspath(path)!r} cannot be used: {error.message}", error.hint) from error
    except NpzError as error:
        raise broken(path, str(error)) from error
    except OSError as error:
        raise broken(path, f"it cannot be read ({error.strerror or error})") from error


def index_meta(path: Path) -> Meta | None:
    """Return what makes an index, also of one whose first run was interrupted; None where there is none.

    Raises:
        IndexBroken, IndexFormat: It cannot be used.
    """
    try:
        return open_index(path).meta
    except IndexMissing:
        left = journal_path(path)
        return read_journal(left).meta if left.exists() else None


class NpzIndexWriter:
    """The one writer of an index file.

    Used as a context: it takes the lock, folds in the journal that an interrupted run left, and lets go.
    What is added goes to the journal at once; `commit` folds all changes into a new file that takes the
    old one's place.

    Attributes:
        index: The index as it stands in the file.
        recovered: How many photos an interrupted run had left in the journal.
        torn: Bytes at the journal's end that were in flight when that run died.

    Args:
        path: The index file.
        meta: For an index that does not exist yet, what makes it.

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
        self._taken: dict[bytes, KeptPhoto] = {}
        self._dropped: set[bytes] = set()
        self._moved: tuple[bytes, bytes] | None = None
        self._forgotten: set[bytes] = set()
        self._erased: dict[bytes, tuple[Box, ...]] = {}
        self._spared: set[tuple[bytes, Box]] = set()
        self._roots: tuple[str, ...] = ()

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
        unfinished_path(self.path).unlink(missing_ok=True)  # of a process that was killed while it wrote
        left = journal_path(self.path)
        journal = read_journal(left) if left.exists() else None
        try:
            index = open_index(self.path)
        except IndexMissing:
            meta = journal.meta if journal is not None and journal.meta is not None else self._new_meta
            if meta is None:
                raise
            index = empty_index(meta)
        self._set(index)
        self._check_roots(index)
        if journal is None:
            return
        if journal.meta is not None:
            check_same_making(index.meta, journal.meta, what=f"The journal {os.fspath(left)!r}")
            self._roots = joined_roots(self._roots, journal.meta.roots)
        if any(root_of(entry.path, self._roots) is None for entry in journal.entries):
            raise broken(left, "a photo lies under no root")
        self.recovered, self.torn = len(journal.entries), journal.torn
        self.commit()

    def _check_roots(self, index: Index) -> None:
        """See that each photo lies under its root, which a reader need not care for, and a writer must."""
        roots = [os.fsencode(root) for root in index.meta.roots]
        for photo, root in enumerate(index.root.tolist()):
            if not is_within(index.path_bytes(photo), roots[root]):
                raise broken(self.path, "a photo does not lie under its root")

    def _set(self, index: Index) -> None:
        self.index = index
        self._roots = index.meta.roots
        self._forgotten = {digest.tobytes() for digest in index.forgotten}
        self._erased = dict(index.erased_faces)

    @property
    def forgotten(self) -> frozenset[bytes]:
        """The digests of photos that are not to be taken in."""
        return frozenset(self._forgotten)

    def cover(self, roots: Iterable[str]) -> None:
        """Add folders to what the index covers."""
        self._roots = joined_roots(self._roots, roots)

    def add(self, photo: PhotoFaces) -> None:
        """Take in a photo that was looked at; killing the process after this does not lose it."""
        try:
            if self._journal is None:
                meta = replace(self.index.meta, roots=self._roots)
                self._journal = Journal(journal_path(self.path), meta)
            self._journal.add(photo)
        except OSError as error:
            raise storage_error(journal_path(self.path), error) from error

    def take(self, path: str, photo: int, size: int, mtime_ns: int) -> None:
        """Let a path (new, or known with another time) have the faces of a photo of the file."""
        name = os.fsencode(path)
        self._taken[name] = KeptPhoto(name, photo, size, mtime_ns)

    def drop(self, path: str) -> None:
        """Remove a photo."""
        self._dropped.add(os.fsencode(path))

    def forget(self, digests: Iterable[bytes]) -> None:
        """Remove all photos of these contents and do not take them in again."""
        self._forgotten.update(digests)

    def remember(self, digest: bytes) -> None:
        """Let a forgotten content, and the faces that were erased from it, be taken in again."""
        self._forgotten.discard(digest)
        self._erased.pop(digest, None)

    def erase(self, faces: Iterable[tuple[bytes, Box]], *, here: bool = True) -> None:
        """Remove single faces, each by its photo's digest and its box, and do not take them in again.

        With `here` false those that are here, and those that this writer adds, stay.
        """
        for digest, box in faces:
            known = self._erased.get(digest, ())
            if box not in known:
                self._erased[digest] = (*known, box)
            if not here:
                self._spared.add((digest, box))

    def move_root(self, old: str, new: str) -> None:
        """Let all that lies at or below `old` lie at `new`."""
        self._moved = os.fsencode(old), os.fsencode(new)
        moved = [os.fsdecode(moved_path(os.fsencode(root), *self._moved)) for root in self._roots]
        self._roots = joined_roots((), moved)
        if any(is_within(self._moved[0], os.fsencode(root)) for root in self.index.meta.roots):
            self.cover([new])  # what lay inside a root may lie outside of it now

    def uncover(self, folders: Iterable[str]) -> None:
        """Take from what the index covers all that is or lies below some folders; they hold no photo."""
        names = [os.fsencode(folder) for folder in folders]
        self._roots = tuple(
            root for root in self._roots if not any(is_within(os.fsencode(root), name) for name in names)
        )

    def commit(self) -> None:
        """Fold all changes into the file; does nothing where there are none."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        left = journal_path(self.path)
        if not self._changed() and not left.exists() and self.path.exists():
            return
        try:
            entries = read_journal(left).entries if left.exists() else []
            photos = self._photos(entries)
            forgotten = frozenset(self._forgotten)
            write_index(self.path, self.index, photos, self._roots, forgotten, self._erased, self._spared)
            left.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._taken, self._dropped, self._moved = {}, set(), None
        self._set(open_index(self.path))

    def _changed(self) -> bool:
        forgotten = {digest.tobytes() for digest in self.index.forgotten}
        same = self._roots == self.index.meta.roots and forgotten == self._forgotten
        same = same and self._erased == self.index.erased_faces
        return bool(self._taken or self._dropped or self._moved) or not same

    def _photos(self, entries: Sequence[JournalEntry]) -> list[KeptPhoto]:
        """Return the photos of the new file, by path."""
        index = self.index
        photos: dict[bytes, KeptPhoto] = {}
        for row in range(index.photo_count):
            path = index.path_bytes(row)
            if path not in self._dropped:
                if self._moved is not None:
                    path = moved_path(path, *self._moved)
                photos[path] = KeptPhoto(path, row, int(index.size[row]), int(index.mtime_ns[row]))
        photos.update(self._taken)
        for entry in entries:
            photos[entry.path] = KeptPhoto(entry.path, entry, entry.size, entry.mtime_ns)
        return sorted(
            (photo for photo in photos.values() if photo.digest(self.index) not in self._forgotten),
            key=lambda photo: photo.path,
        )


def check_same_making(meta: Meta, other: Meta, *, what: str) -> None:
    """Refuse to mix vectors of two makings.

    Raises:
        IndexConflict: The models or the detectors' settings differ.
    """
    pairs = (
        ("model", meta.model, other.model),
        ("weights of the model", meta.model_digest, other.model_digest),
        ("numbers in a vector", meta.dim, other.dim),
        ("detector", meta.detector, other.detector),
        ("settings", _differing(meta, other), _differing(other, meta)),
    )
    for name, mine, theirs in pairs:
        if mine != theirs:
            raise IndexConflict(
                f"{what} does not fit the index: {name} {theirs!r}, and the index has {mine!r}.",
                "Use the index's own, another --index, or embed everything anew with --rebuild.",
            )


def _differing(meta: Meta, other: Meta) -> str:
    """List the settings that another making has otherwise."""
    return ", ".join(
        f"{name}={value}"
        for name, value in sorted(meta.settings.items())
        if name not in other.settings or other.settings[name] != value
    )


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

    def digest(self, old: Index) -> bytes:
        """Return the digest of its content."""
        source = self.source
        return old.digest[source].tobytes() if isinstance(source, int) else source.digest


def write_index(
    path: Path,
    old: Index,
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
        old: Index,
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

    def write(self, writer: ArrayWriter, roots: Sequence[str], forgotten: frozenset[bytes]) -> None:
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

    def _write_photos(self, writer: ArrayWriter, roots: Sequence[str]) -> None:
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
        """Return one of the faces' arrays for a photo, with the faces that are left out."""
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
