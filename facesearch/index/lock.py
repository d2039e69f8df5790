"""One writer at a time: a lock file beside the index; readers need none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from facesearch.errors import IndexBusy, storage_error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one who writes an index.

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
