"""Arrays that are kept with an index: in a file of their own, or wherever the index is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from facesearch.errors import storage_error
from facesearch.index.beside import unfinished_path
from facesearch.index.lock import alone
from facesearch.index.npz import NpzWriter, map_arrays
from facesearch.index.whole import written_whole


class Kept(Protocol):
    """Some arrays by name.

    Attributes:
        name: Where they are.
    """

    name: str

    def there(self) -> bool:
        """Say whether there are any."""

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Give them.

        Raises:
            FileNotFoundError: There are none.
            NpzError, OSError: They cannot be used.
        """

    def write(self, write: Callable[[NpzWriter], None]) -> None:
        """Keep the arrays that a function writes in place of those before."""

    def editing(self) -> AbstractContextManager[None]:
        """Be the only one who changes them, from reading to writing.

        Raises:
            IndexBusy: Another process does.
        """


class KeptInFile:
    """Arrays in an .npz of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = os.fspath(path)

    def there(self) -> bool:
        """Say whether the file is there."""
        return self.path.exists()

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Map the file."""
        return map_arrays(self.path)

    def write(self, write: Callable[[NpzWriter], None]) -> None:
        """Write beside the file, then take its place.

        Raises:
            StorageError: The disk is full or the folder cannot be written; the file is as it was.
        """
        try:
            with written_whole(self.path) as writer:
                write(writer)
        except OSError as error:
            raise storage_error(self.path, error) from error

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Be the only one who changes the file.

        Raises:
            IndexBusy: Another process does.
            StorageError: The folder cannot be written.
        """
        with alone(self.path):
            with suppress(OSError):
                unfinished_path(self.path).unlink(missing_ok=True)  # of a process that was killed
            yield
