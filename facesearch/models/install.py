"""A folder that appears whole or not at all: built beside its place, flushed, moved there by a rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from facesearch.errors import StorageError
from facesearch.models.card import SLASH

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT})
_HINT = "Free some space, or set FACESEARCH_MODELS to another folder."

_WORK = ".unfinished"
_LOCKS = ".locks"


@contextmanager
def locked(root: Path, name: str, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one name under a root; another process that wants it says so and waits."""
    with storage_errors(root):
        folder = root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{_flat(name)}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            notify(f"Another process is at the model {name}; waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def work_folder(root: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder on the root's disk; it goes at the end, and so does what killed ones left.

    Only for the holder of `locked(root, name)`, who knows by it that any other such folder is a dead one's.
    """
    work = root / _WORK
    work.mkdir(exist_ok=True)
    for stale in work.glob(f"{_flat(name)}@*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_flat(name)}@", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def land(built: Path, place: Path, work: Path) -> None:
    """Move a finished folder to its place; what was there goes.

    Args:
        built: The finished folder, on the disk of `place`.
        place: Where it is to be.
        work: The work folder, where what was there waits for its end.
    """
    for path in built.iterdir():
        _flush(path)
    _flush(built)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(work / "replaced")
    built.rename(place)
    _flush(place.parent)


@contextmanager
def storage_errors(root: Path, hint: str = _HINT) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL | _CLOSED:
            raise
        if error.errno in _FULL:
            message = f"There is no room left to store the model in {root}."
        else:
            message = f"The folder {root} cannot be written: {error.strerror}."
        raise StorageError(message, hint) from error


def write_flushed(path: Path, text: str) -> None:
    """Write a file that is on the disk when this returns."""
    path.write_text(text, encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    # A folder can be opened for this on POSIX only; on Windows a rename is journalled by the file system.
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flat(name: str) -> str:
    return name.replace("/", SLASH)
