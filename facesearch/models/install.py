"""Folders that appear whole or not at all: built beside their place, flushed, moved there by a rename."""

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
from facesearch.files import is_full, sync_folder
from facesearch.models.card import SLASH

_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT})
_HINT = "Free some space, or set FACESEARCH_MODELS to another folder."

_WORK = ".unfinished"
_LOCKS = ".locks"


@contextmanager
def locked(root: Path, name: str, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one name under a root. A process that has to wait for it says so through `notify`."""
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
    """Yield an empty folder on the root's disk; it is removed at the end, with those of killed processes.

    Only for the holder of `locked(root, name)`: any other such folder was left by a process that died.
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
    """Move a finished folder to its place, where it replaces an older one.

    Args:
        built: The finished folder, on the disk of `place`.
        place: Where it goes.
        work: The work folder, which takes the older one and is removed later.
    """
    for path in built.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(built)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(work / "replaced")
    built.rename(place)
    sync_folder(place.parent)


@contextmanager
def storage_errors(root: Path, hint: str = _HINT) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into StorageError."""
    try:
        yield
    except OSError as error:
        if not is_full(error) and error.errno not in _CLOSED:
            raise
        if is_full(error):
            message = f"There is no room left to store the model in {root}."
        else:
            message = f"The folder {root} cannot be written: {error.strerror}."
        raise StorageError(message, hint) from error


def _flat(name: str) -> str:
    return name.replace("/", SLASH)
