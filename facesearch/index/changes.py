"""Changes to an index that look at no photo: forget some, move a root."""

from __future__ import annotations

import os
from collections.abc import Sequence

from facesearch.errors import IndexFileError
from facesearch.index.backend import IndexBackend, open_backend
from facesearch.index.index import Index
from facesearch.index.meta import is_within

_NO_DIGEST = bytes(16)


def forget(backend: IndexBackend | os.PathLike[str], folders: Sequence[str]) -> list[str]:
    """Remove photos for good, their copies too, and remember their digests alone.

    Args:
        backend: Where the index is; a path stands for a file.
        folders: Photos, or folders for all below them, absolute; they need not exist any more.

    Returns:
        The paths that were removed.

    Raises:
        IndexFileError: There is no index, or it cannot be used.
        StorageError: The file cannot be rewritten.
    """
    backend = open_backend(backend)
    with backend.writer() as writer:
        index = writer.index
        digests = [digest.tobytes() for digest in index.digest]
        named = set(_below(index, folders))
        forgotten = {digests[row] for row in named} - {_NO_DIGEST}
        gone = [row for row, digest in enumerate(digests) if row in named or digest in forgotten]
        removed = [index.path(row) for row in gone]
        for name in removed:
            writer.drop(name)
        writer.forget(forgotten)
        writer.uncover(folders)
        writer.commit()
        backend.beside().discard()  # what an interrupted rebuild left may hold them too
    return removed


def move_root(backend: IndexBackend | os.PathLike[str], old: str, new: str) -> int:
    """Let what lay below one folder lie below another.

    Returns:
        How many photos were moved.

    Raises:
        IndexFileError: There is no index, it cannot be used, or holds nothing below `old`.
        StorageError: The file cannot be rewritten.
    """
    with open_backend(backend).writer() as writer:
        count = len(_below(writer.index, [old]))
        if not count:
            raise IndexFileError(
                f"The index holds no photo below {old!r}.", "`facesearch info` lists its roots."
            )
        writer.move_root(old, new)
        writer.commit()
    return count


def _below(index: Index, folders: Sequence[str]) -> list[int]:
    names = [os.fsencode(folder) for folder in folders]
    return [
        row
        for row in range(index.photo_count)
        if any(is_within(index.path_bytes(row), name) for name in names)
    ]
