"""Uncompressed .npz files whose arrays are mapped into memory instead of being read.

An .npz is a zip of .npy members. Without compression, a member's data lies in the file unchanged, and
padding in the zip's extra field can align it: BLAS needs no copy of a mapped array that is aligned, and an
array that begins on a page is mapped fastest.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from facesearch.files import content, open_without_waiting

BOUNDARY = 4096  # a page
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ZIP64_EXTRA = 20  # bytes that zipfile adds to the local header of a member that may exceed 4 GiB
_PADDING_ID = 0xD935  # the extra field that Android's zipalign uses for the same purpose
_MAX_HEADER = 10_000
# More than any index has, and than any later version will: a zip of something else.
_MEMBERS = 200
# Every .npy header that numpy writes for a plain dtype. A header from a stranger is matched, not evaluated.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[biufU]\d{1,9})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*"
)


class NpzError(ValueError):
    """A file is not an .npz as this module writes it."""


class ArrayWriter:
    """Writes arrays into an open file as an .npz, each member's data on a page boundary."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array."""
        self.write_blocks(name, array.shape, array.dtype, [array])

    def write_blocks(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]]
    ) -> None:
        """Write an array given as blocks along its first axis, so that it need not fit into memory."""
        header = io.BytesIO()
        npy.write_array_header_1_0(
            header, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        )
        info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o600 << 16
        assert self._zip.fp is not None
        unpadded = (
            self._zip.fp.tell() + _LOCAL_HEADER.size + len(info.filename) + 4 + _ZIP64_EXTRA + header.tell()
        )
        padding = -unpadded % BOUNDARY
        info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
        with self._zip.open(info, "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for block in blocks:
                member.write(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the zip by writing its directory; after an error, leave the file incomplete."""
        if kind is None:
            self._zip.close()
        else:
            self._zip.fp = None  # or zipfile would write it when the object is deleted, to a closed file


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Map all arrays of an uncompressed .npz read-only.

    The arrays keep the mapping alive, and the file's content even after it has been replaced.

    Raises:
        NpzError: The file is not a zip of stored .npy members, or a member is shorter than it claims.
        OSError: It cannot be read.
    """
    with open(path, "rb", opener=open_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise NpzError("it is not an ordinary file")
        if about.st_size == 0:
            raise NpzError("it is empty")
        return _arrays_in(content(file), file)


def arrays_in(data: bytes) -> dict[str, NDArray[Any]]:
    """Return all arrays of an uncompressed .npz that is in memory.

    Raises:
        NpzError: It is not a zip of stored .npy members, or a member is shorter than it claims.
    """
    return _arrays_in(data, io.BytesIO(data))


def _arrays_in(mapped: mmap.mmap | bytes, file: IO[bytes]) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MEMBERS:
                raise NpzError(f"it holds {len(members):,} members")
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise NpzError(f"it is not a whole .npz ({error})") from error
    return dict(_map_member(mapped, member) for member in members)


def _map_member(mapped: mmap.mmap | bytes, member: zipfile.ZipInfo) -> tuple[str, NDArray[Any]]:
    name = member.filename.removesuffix(".npy")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise NpzError(f"{name} is compressed or encrypted")
    start = member.header_offset
    local = mapped[start : start + _LOCAL_HEADER.size] if start >= 0 else b""
    if len(local) < _LOCAL_HEADER.size or not local.startswith(b"PK\x03\x04"):
        raise NpzError(f"{name} has no local header")
    name_length, extra_length = _LOCAL_HEADER.unpack(local)[-2:]
    start += _LOCAL_HEADER.size + name_length + extra_length
    stop = start + member.file_size
    if stop > len(mapped):
        raise NpzError(f"{name} ends past the end of the file")
    shape, dtype, offset = _read_header(name, mapped[start : min(stop, start + _MAX_HEADER + 16)])
    count = _count(shape)
    if count * dtype.itemsize != member.file_size - offset:
        raise NpzError(f"{name} claims {shape} {dtype}, and holds {member.file_size - offset} bytes")
    try:
        flat = np.frombuffer(mapped, dtype, count, start + offset) if count else np.empty(0, dtype)
        return name, flat.reshape(shape)
    except (ValueError, OverflowError) as error:  # more axes, or longer ones, than numpy has
        raise NpzError(f"{name} has no usable shape ({error})") from error


def _read_header(name: str, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    major, fixed, length = head[6:7], 10, head[8:10]
    if major in (b"\x02", b"\x03"):
        fixed, length = 12, head[8:12]
    end = fixed + int.from_bytes(length, "little")
    header = _HEADER.fullmatch(head, fixed, end)
    if not head.startswith(npy.MAGIC_PREFIX) or end > len(head) or header is None:
        raise NpzError(f"{name} has no plain .npy header; pickled objects and records are never loaded")
    try:
        shape = tuple(int(number) for number in header[3].replace(b" ", b"").split(b",") if number)
        return shape, _plain_dtype(header[1].decode(), header[2] == b"True" and len(shape) > 1), end
    except (ValueError, TypeError, OverflowError) as error:
        raise NpzError(f"{name} has no usable header ({error})") from error


def _plain_dtype(text: str, by_columns: bool) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(text)
    if not dtype.itemsize:
        raise ValueError("its items are empty")
    if by_columns:
        raise ValueError("it is stored column by column")
    return dtype


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length  # Python's integers: a huge shape does not wrap round
    return count
