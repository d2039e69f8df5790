"""The files that belong to an index and lie beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facesearch.errors import StorageError
from facesearch.files import replaced
from facesearch.index.npz.arrays import ArrayWriter


def journal_path(path: Path) -> Path:
    """Return where an index's journal lies."""
    return path.with_name(path.name + ".journal")


def unfinished_path(path: Path) -> Path:
    """Return where an index is written before it takes the old one's place."""
    return path.with_name(path.name + ".new")


def rebuild_path(path: Path) -> Path:
    """Return where an index is rebuilt."""
    return path.with_name(f"{path.stem}.rebuild{path.suffix}")


def people_path(path: Path) -> Path:
    """Return where the people of an index are kept."""
    return path.with_name(path.name + ".people")


def discard(path: Path) -> None:
    """Remove an index with its journal and what a killed process left of it.

    Raises:
        StorageError: They cannot be removed.
    """
    try:
        for file in (path, journal_path(path), unfinished_path(path)):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)!r} cannot be removed: {error.strerror}.") from error


@contextmanager
def written_whole(path: Path) -> Iterator[ArrayWriter]:
    """Write an .npz that takes a file's place when the context ends well; after an error that one stays.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    with replaced(path, beside=unfinished_path(path), private=True) as file, ArrayWriter(file) as writer:
        yield writer
