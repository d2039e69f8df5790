"""A file that is seen whole or not at all: written beside, then moved into place."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facesearch.index.beside import unfinished_path
from facesearch.index.journal import open_private
from facesearch.index.npz import NpzWriter


@contextmanager
def written_whole(path: Path) -> Iterator[NpzWriter]:
    """Write an .npz that takes a file's place when the context ends well; after an error that one stays.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    beside = unfinished_path(path)
    try:
        beside.unlink(missing_ok=True)  # left by a process that died, with any mode
        with open(beside, "xb", opener=open_private) as file:
            with NpzWriter(file) as writer:
                yield writer
            file.flush()
            os.fsync(file.fileno())
        _take_mode(beside, path)
        os.replace(beside, path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _take_mode(beside: Path, path: Path) -> None:
    """Let a new file be read by whom the old one was; where there is none, by its owner."""
    with suppress(OSError):  # no old file, or a file system without modes
        beside.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems refuse it; the file is in its place
                os.fsync(handle)
        finally:
            os.close(handle)
