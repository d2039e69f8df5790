"""The files of an index: where they lie, how they are read, how one takes another's place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from facesearch.errors import IndexBroken, IndexFormat, IndexMissing, StorageError
from facesearch.files import remove_file, replaced
from facesearch.index.index import Index, check_index
from facesearch.index.meta import Meta
from facesearch.index.npz.arrays import ArrayWriter, NpzError, map_arrays
from facesearch.index.npz.journal import read_journal


def journal_path(path: Path) -> Path:
    """Return the path of an index's journal."""
    return path.with_name(path.name + ".journal")


def unfinished_path(path: Path) -> Path:
    """Return the path of a file that is being written, before it takes the old one's place."""
    return path.with_name(path.name + ".new")


def rebuild_path(path: Path) -> Path:
    """Return the path of the file that a rebuild writes."""
    return path.with_name(f"{path.stem}.rebuild{path.suffix}")


def people_path(path: Path) -> Path:
    """Return the path of the file that holds the people of an index."""
    return path.with_name(path.name + ".people")


def discard(path: Path) -> None:
    """Remove an index, its journal, and what a killed process left of it.

    Raises:
        StorageError: They cannot be removed.
    """
    try:
        for file in (path, journal_path(path), unfinished_path(path)):
            remove_file(file)
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


def broken(path: Path, clause: str) -> IndexBroken:
    """Return the error for a file that cannot be used, from a clause that says why."""
    return IndexBroken(
        f"{os.fspath(path)!r} cannot be used as an index: {clause}.",
        "It was left as it is. Move a copy into its place (mv, not cp), or build it anew with "
        "`facesearch index FOLDER --rebuild`.",
    )


def open_index(path: Path) -> Index:
    """Map an index into memory; it stays as it was when another process replaces the file.

    Raises:
        IndexMissing: There is no index.
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
    """Return the meta data of an index, also of one whose first run was interrupted; None without an index.

    Raises:
        IndexBroken, IndexFormat: It cannot be used.
    """
    try:
        return open_index(path).meta
    except IndexMissing:
        left = journal_path(path)
        return read_journal(left).meta if left.exists() else None
