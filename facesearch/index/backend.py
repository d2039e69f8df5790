"""Where an index is kept: the interface of every backend, and how a backend is found by a name.

The .npz file and Milvus are two backends. A package can add others: an entry point of the group
`facesearch.indexes`, named like the scheme of its URLs, that loads a function from URL to `IndexBackend`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from facesearch import plugins
from facesearch.errors import FacesearchError
from facesearch.faces import Box, PhotoFaces
from facesearch.index.changes import Changes
from facesearch.index.index import Hit, Index, SearchRequest
from facesearch.index.meta import Meta
from facesearch.index.npz.arrays import ArrayWriter
from facesearch.ranking import Metric

MILVUS = ("milvus", "milvus+tls")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class IndexWriter(Protocol):
    """Writes an index, as the only one that does; used as a context.

    Attributes:
        index: The index as it was opened or committed; its faces may only be counted.
        changes: What `commit` will change besides what was added.
        recovered: The number of photos that an interrupted run had left.
        torn: The number of bytes that were being written when that run died.
    """

    index: Index
    changes: Changes
    recovered: int
    torn: int

    def __enter__(self) -> IndexWriter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, photo: PhotoFaces) -> None:
        """Add a photo that was processed; it is kept without a commit too."""

    def commit(self) -> None:
        """Write all changes; do nothing where there are none.

        Where `changes.permanent`, what an interrupted rebuild left is removed too.
        """


class SearchableIndex(Protocol):
    """An index that can be searched: an `Index` itself, or one on a server that searches."""

    @property
    def meta(self) -> Meta:
        """The index' meta data."""

    @property
    def photo_count(self) -> int:
        """The number of photos, whatever their status."""

    @property
    def face_count(self) -> int:
        """The number of faces."""

    def near(self, request: SearchRequest) -> list[list[Hit]]:
        """Return the nearest faces for each query, by distance, then by path, then by face."""

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return the vectors of up to `count` faces, those of the photos with the smallest digests."""

    def vectors_of(self, digest: bytes) -> dict[Box, NDArray[np.float32]]:
        """Return the vectors of the faces of a picture, by their places; empty for one that is not known."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """What differs when an index or its people have been written.

    Attributes:
        index: Differs when the index has been written.
        people: Differs when its people have been written.
        place: The place that readers have mapped into memory: where it is the same and `index` differs, what
            they have mapped was overwritten. None where nothing is mapped.
    """

    index: Hashable = None
    people: Hashable = None
    place: Hashable = None

    def overwrites(self, before: IndexState) -> bool:
        """Return whether what was mapped in an earlier state must not be touched any more."""
        return self.place is not None and self.place == before.place and self.index != before.index


class Rebuild(Protocol):
    """An index that is being rebuilt while the present one serves.

    Attributes:
        backend: Where the new index is written.
    """

    @property
    def backend(self) -> IndexBackend:
        """Where the new index is written."""

    def discard(self) -> None:
        """Remove what has been built, to begin again."""

    def finish(self) -> None:
        """Let what has been built take the place of the present index."""


class IndexBackend(Protocol):
    """Where an index and the people in it are kept.

    Attributes:
        name: A path or a URL.
        title: The name that a reader sees.
        people: The people in the index.
        metric: The model's distance; a new index is made to be searched by it.
    """

    name: str
    title: str
    people: Companion
    metric: Metric

    def meta(self) -> Meta | None:
        """Return the meta data of the index, also of one whose first run was interrupted; None without one.

        Raises:
            IndexFileError: It cannot be used.
        """

    def read(self, *, faces: bool = True) -> Index:
        """Return the index.

        Args:
            faces: Whether all faces are needed. Otherwise they may only be counted: each has its photo, and
                neither a vector nor a box.

        Raises:
            IndexMissing: There is none.
            IndexFileError: It cannot be used.
        """

    def searchable(self) -> SearchableIndex:
        """Return the index to search it; faces are read only as far as the search needs them.

        Raises:
            IndexMissing: There is none.
            IndexFileError: It cannot be used.
        """

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Yield some photos of an index, read with or without faces, in order; few are in memory at once."""

    def search_details(self) -> dict[str, Any]:
        """Return how the index is searched, as names and JSON values; empty for an exact search here."""

    def state(self) -> IndexState:
        """Return what tells whether the index or its people have been written since."""

    def writer(self, meta: Meta | None = None) -> IndexWriter:
        """Return the index' writer; `meta` makes an index that does not exist yet."""

    def rebuild(self) -> AbstractContextManager[Rebuild]:
        """Return a context that rebuilds the index; nobody else writes it meanwhile.

        Raises:
            IndexBusy: Another process writes it.
        """

    def look_for(self, traces: Collection[bytes]) -> int:
        """Search all that is stored for bytes of what was forgotten; return the number of bytes searched.

        Raises:
            StorageError: Something is left.
        """


class Companion(Protocol):
    """Named arrays that are kept beside an index: the people in it.

    Attributes:
        name: A path, or what to call the place in a message.
    """

    name: str

    def there(self) -> bool:
        """Return whether there are any arrays."""

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays.

        Raises:
            FileNotFoundError: There are none.
            NpzError, OSError: They cannot be read.
        """

    def write(self, write: Callable[[ArrayWriter], None]) -> None:
        """Replace the arrays by those that a function writes."""

    def editing(self) -> AbstractContextManager[None]:
        """Return a context that lets nobody else change the arrays, from reading to writing.

        Raises:
            IndexBusy: Another process changes them.
        """


def is_server(name: object) -> TypeGuard[str]:
    """Return whether an index's name is the URL of a server, and not a file's path."""
    scheme = _scheme(name)
    return scheme in MILVUS or (scheme != "" and scheme in plugins.plugin_names(plugins.INDEXES))


def _scheme(name: object) -> str:
    found = _SCHEME.match(name) if isinstance(name, str) else None
    return found[1] if found else ""


def open_backend(index: IndexBackend | str | os.PathLike[str]) -> IndexBackend:
    """Return the backend of an index: a file's by its path, a server's by its URL.

    Example:
        >>> open_backend("faces.npz").title
        'faces'

    Raises:
        FacesearchError: The URL does not name a collection, or the package for it is not installed or broken.
    """
    # Backends are imported when they are used: they implement the protocols of this file.
    if is_server(index):
        scheme = _scheme(index)
        if scheme in MILVUS:
            from facesearch.index.milvus.backend import MilvusBackend

            return MilvusBackend.of(index)
        opening = plugins.load_plugin(plugins.INDEXES, scheme)
        if not callable(opening):
            raise FacesearchError(
                f"The plug-in {scheme!r} cannot open an index.", "Update the package that has it."
            )
        return cast("IndexBackend", opening(index))
    if isinstance(index, str | os.PathLike):
        from facesearch.index.npz.backend import NpzBackend

        return NpzBackend(Path(index))
    return index
