"""Files that are seen whole or not at all, locks, and what to say when a disk is full or closed.

Everything that must not be lost is written by `replaced`: beside its place, flushed to the disk, and moved
there by a rename. A reader sees the old file or the new one, and a process that is killed leaves the old one.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import filelock

from facesearch.errors import IndexBusy, StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
REPLACES_MAPPED = os.name != "nt"
# Windows' "access is denied" and "the file is being used by another process".
_IN_USE = frozenset({5, 32})
PATIENCE = 10.0  # seconds
_PAUSE = 0.05


@contextmanager
def replaced(
    path: Path, *, beside: Path | None = None, private: bool = False, durable: bool = True
) -> Iterator[BinaryIO]:
    """Write a file that takes another's place when the context ends well; after an error that one stays.

    Args:
        path: The file to replace, or to make.
        beside: Where it is written first, on the same disk; by default in its folder, under a random name.
        private: Whether a new file is readable by its owner alone. One that is replaced keeps its mode.
        durable: Whether to wait until it is on the disk; not needed for what can be made anew.

    Yields:
        The file, open for writing bytes.

    Raises:
        OSError: The disk is full or the folder cannot be written; see `storage_error`.
    """
    draft = beside or path.with_name(f".facesearch-{secrets.token_hex(8)}.tmp")
    try:
        if beside is not None:
            remove_file(draft)  # left by a process that died, with any mode
        with open(draft, "xb", opener=open_private if private else None) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        _copy_mode(path, draft)
        move_into_place(draft, path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        # In a folder that is not there or not ours, there is nothing to remove.
        with suppress(OSError):
            remove_file(draft)
        raise


def write_output(destination: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that the user named; where that fails, one that was there before stays as it was.

    Args:
        destination: The file.
        write: Called with the file, open for bytes; writes its content.

    Raises:
        StorageError: The disk is full, or the folder does not exist or cannot be written.
    """
    try:
        with replaced(destination) as file:
            write(file)
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"The disk is full: {destination} was not written.", "Free some space and try again."
            ) from error
        raise StorageError(
            f"{destination} cannot be written: {error.strerror or error}.",
            "Name a file in a folder that is there and that you may write to.",
        ) from error


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Be the only process that writes a file; readers need no lock.

    Raises:
        IndexBusy: Another process writes it.
        StorageError: The folder cannot be written.
    """
    lock = filelock.FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise IndexBusy(
            f"Another facesearch is writing {os.fspath(path)!r}.",
            "Run this again when it has ended; queries need not wait.",
        ) from error
    except OSError as error:
        raise storage_error(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def move_into_place(draft: Path, path: Path) -> None:
    """Let a file take another's place.

    Raises:
        OSError: The folder cannot be written.
    """
    _when_unused(lambda: os.replace(draft, path))


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        OSError: The folder cannot be written.
    """
    with suppress(FileNotFoundError):
        _when_unused(lambda: os.unlink(path))


def _when_unused(change: Callable[[], object]) -> None:
    """Make a change that Windows refuses as long as a reader or a virus scanner has the file open."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            change()
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE or time.monotonic() >= end:
                raise
        time.sleep(_PAUSE)


def content(file: BinaryIO) -> mmap.mmap | bytes:
    """Return the content of an open file that is not empty: mapped, or, on Windows, read.

    Windows lets no file take the place of one that is mapped.
    """
    if REPLACES_MAPPED:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return file.read()


def open_private(path: str, flags: int) -> int:
    """Open a file as `open`'s opener; a new file is readable by its owner alone: vectors identify people."""
    return os.open(path, flags, 0o600)


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file as `open`'s opener; on a named pipe it does not block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse it; the file is in its place
            os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Return whether an error says that a disk, or a user's share of it, is full."""
    return error.errno in _FULL


def storage_error(path: str | os.PathLike[str], error: OSError) -> StorageError:
    """Return the error that says why a file or folder could not be written, and what to do about it."""
    if is_full(error):
        hint = "Free some space and run the same command again: what was done so far is kept."
    elif error.errno in _CLOSED:
        hint = "Choose a place that you may write to."
    else:
        hint = "Fix that, then run the same command again."
    return StorageError(f"{os.fspath(path)!r} cannot be written: {error.strerror or error}.", hint)


def _copy_mode(path: Path, draft: Path) -> None:
    with suppress(OSError):  # no old file, or a file system without modes
        draft.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
