"""The append-only journal beside an index: the photos embedded since the file was last written.

    magic, then records: length (uint32), CRC-32 of the payload (uint32), payload

The first record is the index's meta data, every other one photo with its faces and vectors. A record that
is cut off, is empty, or does not match its CRC ends the journal: it was being written when the process died.
After a power cut many file systems leave zeros where data had been appended, which read as empty records.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexBroken
from facesearch.faces import NO_DIGEST, NO_MOMENT, NOT_ASKED, FileState, PhotoFaces, Status, are_dates
from facesearch.files import content, open_private, open_without_waiting
from facesearch.index.index import LANDMARKS, are_moments
from facesearch.index.meta import Meta

MAGIC = b"facesearch journal 4\n"
# Of the first format, whose photos have one digest, the file's, and no `ctime_ns`; of the second, whose
# photos have no `captured`; and of the third, whose faces have no `moments`.
_FIRST, _SECOND = b"facesearch journal 1\n", b"facesearch journal 2\n"
_THIRD = b"facesearch journal 3\n"
# A killed process loses nothing that it has written; a power cut may lose the last seconds.
SYNC_SECONDS = 5.0

# Bytes that are looked through at once.
_ZEROS = 1 << 20

_RECORD = struct.Struct("<II")
# size, mtime_ns, ctime_ns, captured, digest (or zeros), file_digest (or zeros), status, faces, dim, length of
# the path
_PHOTO = struct.Struct("<qqqq16s16sBIII")
_HEADS = {
    MAGIC: _PHOTO,
    _THIRD: _PHOTO,
    _SECOND: struct.Struct("<qqq16s16sBIII"),
    _FIRST: struct.Struct("<qq16sBIII"),
}
# The size of a face beside its vector: a box, a score, landmarks; and since the fourth format a moment.
_FACE_BYTES = 16 + 4 + 8 * LANDMARKS
_MOMENT_BYTES = 12


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One photo of a journal; the arrays are views into the mapped file."""

    path: bytes
    file: FileState
    status: Status
    vectors: NDArray[np.float32]
    boxes: NDArray[np.int32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    moments: NDArray[np.int32]


class Journal:
    """Appends to a journal; a new one begins with the meta data.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, meta: Meta) -> None:
        self.path = path
        # Unbuffered, so that data refused by a full disk is not written again when the file is closed.
        self._file = open(path, "ab", buffering=0, opener=open_private)  # noqa: SIM115 (see close)
        self._synced = time.monotonic()
        try:
            if self._file.tell() == 0:
                self._write(MAGIC)
                self._append(meta.to_json().encode())
        except BaseException:
            self.close()
            raise

    def add(self, photo: PhotoFaces) -> None:
        """Append a photo; once this returns, killing the process does not lose it."""
        self._append(_pack(photo))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _append(self, payload: bytes) -> None:
        self._write(_RECORD.pack(len(payload), zlib.crc32(payload)) + payload)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file, without removing it."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pack(photo: PhotoFaces) -> bytes:
    path = os.fsencode(photo.path)
    count = len(photo.faces)
    vectors = np.zeros((0, 0), np.float32) if photo.vectors is None else photo.vectors
    boxes = np.array([face.box.corners for face in photo.faces], "<i4")
    scores = np.array([face.score for face in photo.faces], "<f4")
    landmarks = np.full((count, LANDMARKS, 2), np.nan, "<f4")
    for number, face in enumerate(photo.faces):
        if face.landmarks is not None:
            landmarks[number] = face.landmarks
    head = _PHOTO.pack(
        photo.file.size,
        photo.file.mtime_ns,
        photo.file.ctime_ns,
        photo.file.captured,
        photo.file.digest or NO_DIGEST,
        photo.file.file_digest or NO_DIGEST,
        photo.status,
        count,
        vectors.shape[1],
        len(path),
    )
    moments = np.array([face.moment or NO_MOMENT for face in photo.faces], "<i4")
    arrays = (vectors.astype("<f4", copy=False), boxes, scores, landmarks, moments)
    return b"".join([head, *(array.tobytes() for array in arrays), path])


@dataclass(frozen=True, slots=True)
class ReadJournal:
    """What a journal held.

    Attributes:
        meta: The index's meta data; None if not even that record was whole.
        entries: In the order they were added.
        torn: How many bytes at the end did not form a whole record.
    """

    meta: Meta | None
    entries: list[JournalEntry]
    torn: int


def read_journal(path: Path) -> ReadJournal:
    """Read a journal up to its last whole record.

    Raises:
        IndexBroken: The file is not a journal.
        OSError: It cannot be read.
    """
    mapped = _content(path)
    if not mapped:
        return ReadJournal(None, [], 0)
    magic = mapped[: len(MAGIC)]
    if magic not in _HEADS:
        # Only begun; or begun, and zeros from there on.
        if MAGIC.startswith(mapped[: len(MAGIC)].rstrip(b"\0")) and _is_zero_from(mapped, len(MAGIC)):
            return ReadJournal(None, [], len(mapped))
        raise IndexBroken(
            f"{path} is not a journal of facesearch.", "Move it away: the index does not need it."
        )
    meta: Meta | None = None
    entries: list[JournalEntry] = []
    end = len(MAGIC)
    for start, stop in _payloads(mapped):
        try:
            if meta is None:
                meta = Meta.from_json(mapped[start:stop].decode())
            else:
                entries.append(_unpack(mapped, start, stop, meta.dim, magic))
        except (ValueError, RecursionError) as error:
            raise IndexBroken(
                f"The journal {path} holds a record that cannot be read ({error}).",
                "Move it away and index again: what it held is embedded anew.",
            ) from error
        end = stop
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # the checksums have touched every page
    return ReadJournal(meta, entries, len(mapped) - end)


def _content(path: Path) -> mmap.mmap | bytes:
    """Return a journal's content, mapped where that can be."""
    with open(path, "rb", opener=open_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise IndexBroken(f"{path} is not an ordinary file, and so no journal.", "Move it away.")
        return content(file) if about.st_size else b""


def _is_zero_from(mapped: mmap.mmap | bytes, start: int) -> bool:
    blocks = (mapped[at : at + _ZEROS] for at in range(start, len(mapped), _ZEROS))
    return not any(block.strip(b"\0") for block in blocks)


def _payloads(mapped: mmap.mmap | bytes) -> Iterator[tuple[int, int]]:
    start = len(MAGIC)
    while start + _RECORD.size <= len(mapped):
        length, checksum = _RECORD.unpack_from(mapped, start)
        start, stop = start + _RECORD.size, start + _RECORD.size + length
        if not length or stop > len(mapped):
            return
        with memoryview(mapped)[start:stop] as payload:
            if zlib.crc32(payload) != checksum:
                return
        yield start, stop
        start = stop


def _unpack(mapped: mmap.mmap | bytes, start: int, stop: int, dim: int, magic: bytes) -> JournalEntry:
    head, timed = _HEADS[magic], magic == MAGIC
    if stop - start < head.size:
        raise ValueError("it is too short")
    *about, status, count, width, path_length = head.unpack_from(mapped, start)
    numbers: list[int] = [value for value in about if isinstance(value, int)]
    digests = [value if any(value) else b"" for value in about if isinstance(value, bytes)]
    size, mtime_ns, ctime_ns, captured = [*numbers, *(-1, NOT_ASKED)[len(numbers) - 2 :]]
    digest, file_digest = [*digests, b""][:2]
    file = FileState(size, mtime_ns, ctime_ns, digest, file_digest, captured)
    each = 4 * width + _FACE_BYTES + timed * _MOMENT_BYTES
    expected = head.size + count * each + path_length
    if stop - start != expected or (count and width != dim):
        raise ValueError("its lengths do not add up")
    offset = start + head.size

    def take(dtype: str, *shape: int) -> Any:  # noqa: ANN401 (an array of just this dtype)
        nonlocal offset
        array: NDArray[Any] = np.empty(shape, dtype)
        if array.size:
            array = np.frombuffer(mapped, dtype, array.size, offset).reshape(shape)
        offset += array.nbytes
        return array

    vectors = take("<f4", count, width if count else dim)
    boxes = take("<i4", count, 4)
    scores = take("<f4", count)
    landmarks = take("<f4", count, LANDMARKS, 2)
    moments = take("<i4", count, 3) if timed else np.full((count, 3), -1, "<i4")
    path = mapped[offset:stop]
    if not path or b"\0" in path or np.any(boxes[:, 2:] < 1):
        raise ValueError("its path or a box is none")
    if size < 0 or not are_dates(np.array([captured])):
        raise ValueError("its size or its date is none")
    if not are_moments(moments):
        raise ValueError("a moment is none")
    return JournalEntry(path, file, Status(status), vectors, boxes, scores, landmarks, moments)
