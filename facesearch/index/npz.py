"""Uncompressed .npz files whose arrays are mapped into memory instead of being read.

An .npz is a zip of .npy members. Stored without compression, a member's data lies in the file as it is,
and padding in the zip's extra field brings it to any boundary: BLAS works on a mapped array without a
copy when it is aligned, and pages are mapped fastest when it begins on one.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

BOUNDARY = 4096  # a page
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ZIP64_EXTRA = 20  # bytes that zipfile adds to the local header of a member that may exceed 4 GiB
_PADDING_ID = 0xD935  # the extra field that Android's zipalign uses for the same purpose
_MAX_HEADER = 10_000


class NpzError(ValueError):
    """A file is not an .npz as this module writes it."""


class NpzWriter:
    """Writes arrays into an open file as an .npz, each member's data on a page boundary."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array."""
        self.write_blocks(name, array.shape, array.dtype, [array])

    def write_blocks(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]]
    ) -> None:
        """Write an array that comes in blocks along its first axis, so that it need not fit into memory."""
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

    def close(self) -> None:
        """Write the zip's directory; without it the file is no zip."""
        self._zip.close()


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Map all arrays of an uncompressed .npz read-only.

    The arrays keep the mapping alive, and the file's content even after it has been replaced.

    Raises:
        NpzError: The file is not a zip of stored .npy members, or a member claims what it does not hold.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise NpzError("it is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
            raise NpzError(f"it is not a whole .npz ({error})") from error
    return dict(_map_member(mapped, member) for member in members)


def _map_member(mapped: mmap.mmap, member: zipfile.ZipInfo) -> tuple[str, NDArray[Any]]:
    name = member.filename.removesuffix(".npy")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise NpzError(f"{name} is compressed or encrypted")
    start = member.header_offset
    local = mapped[start : start + _LOCAL_HEADER.size]
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
    if count == 0:
        return name, np.empty(shape, dtype)
    return name, np.frombuffer(mapped, dtype, count, start + offset).reshape(shape)


def _read_header(name: str, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    stream = io.BytesIO(head)
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=_MAX_HEADER)
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise NpzError(f"{name} has no readable header ({error})") from error
    if dtype.hasobject:
        raise NpzError(f"{name} holds pickled objects, which are never loaded")
    if fortran and len(shape) > 1:
        raise NpzError(f"{name} is stored column by column")
    return shape, dtype, stream.tell()


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        if length < 0:
            raise NpzError(f"a length of {length}")
        count *= length  # Python's integers: a huge shape does not wrap round
    return count
