"""Where an index is kept: one small interface, with the .npz file and Milvus behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from facesearch import plugins
from facesearch.errors import FacesearchError
from facesearch.faces import Box, PhotoFaces
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.npz.arrays import ArrayWriter
from facesearch.ranking import Metric

MILVUS = ("milvus", "milvus+tls")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

How = Literal["exact", "approximate"]


class IndexWriter(Protocol):
    """The one writer of an index; used as a context. See `facesearch.index.npz.writer.NpzIndexWriter`."""

    index: Index
    recovered: int
    torn: int

    def __enter__(self) -> IndexWriter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def forgotten(self) -> frozenset[bytes]:
        """The digests of photos that are not to be taken in."""

    def cover(self, roots: Iterable[str]) -> None:
        """Add folders to what the index covers."""

    def uncover(self, folders: Iterable[str]) -> None:
        """Take from what the index covers all that is or lies below some folders; they hold no photo."""

    def add(self, photo: PhotoFaces) -> None:
        """Take in a photo that was looked at."""

    def take(self, path: str, photo: int, size: int, mtime_ns: int) -> None:
        """Let a path (new, or known with another time) have the faces of a photo of the index."""

    def drop(self, path: str) -> None:
        """Remove a photo."""

    def forget(self, digests: Iterable[bytes]) -> None:
        """Remove all photos of these contents and do not take them in again."""

    def remember(self, digest: bytes) -> None:
        """Let a forgotten content, and the faces that were erased from it, be taken in again."""

    def erase(self, faces: Iterable[tuple[bytes, Box]], *, here: bool = True) -> None:
        """Remove single faces, each by its photo's digest and its box, and do not take them in again.

        With `here` false those that are here, and those that this writer adds, stay.
        """

    def move_root(self, old: str, new: str) -> None:
        """Let all that lies at or below `old` lie at `new`."""

    def commit(self) -> None:
        """Make all changes those of the index; does nothing where there are none."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Which faces are wanted for a search.

    Attributes:
        queries: (q, dim) float32.
        k: How many are wanted of what counts once.
        metric: Which distance.
        by: "photo": of each photo the nearest face counts; "face": each face does.
        unique: Whether copies of one photo count once.
        threshold: Faces farther than this from every query are not wanted.
        own: Paths of photos that take no place among the k.
        how: "exact", "approximate", or None as the index' size has it.
    """

    queries: NDArray[np.float32]
    k: int
    metric: Metric
    by: Literal["photo", "face"]
    unique: bool
    threshold: float
    own: Collection[str]
    how: How | None


class SearchableIndex(Protocol):
    """An index that is searched where it is."""

    @property
    def meta(self) -> Meta:
        """What made it."""

    @property
    def photo_count(self) -> int:
        """The number of photos, whatever their status."""

    @property
    def face_count(self) -> int:
        """The number of faces."""

    def near(self, wish: SearchRequest) -> Index:
        """Return the photos that can be among the nearest, as a small index.

        The nearest faces in it are the nearest of all. Faces of these photos that are far have no vector
        (NaN) and no place.
        """


class IndexBackend(Protocol):
    """Where an index and the people in it are kept.

    Attributes:
        name: A path or a URL.
        title: What a reader calls it.
        people: Who is in it.
        metric: The model's distance; a new index is made to be searched by it.
    """

    name: str
    title: str
    people: Companion
    metric: Metric

    def meta(self) -> Meta | None:
        """Return what makes the index, also of one whose first run was interrupted; None where there is none.

        Raises:
            IndexFileError: It cannot be used.
        """

    def listing(self) -> Index:
        """Return its photos; their faces may be counted alone, without being there.

        Raises:
            IndexMissing: There is none.
            IndexFileError: It cannot be used.
        """

    def whole(self) -> Index:
        """Return all of it.

        Raises:
            IndexMissing: There is none.
            IndexFileError: It cannot be used.
        """

    def searched(self) -> SearchableIndex | None:
        """Return the place that searches the index itself; None where all of it is searched here.

        Raises:
            IndexMissing: There is none.
            IndexFileError: It cannot be used.
        """

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Return some photos of a listing with their faces, in order; few are in memory at once."""

    def facts(self) -> dict[str, Any]:
        """Say what there is to know of how it is searched; empty where it is searched exactly."""

    def state(self) -> tuple[Hashable, Hashable]:
        """Return what changes when the index is written, and what does when its people are."""

    def written_over(self, before: Hashable) -> bool:
        """Return whether what was read in an earlier state must not be touched any more."""

    def writer(self, meta: Meta | None = None) -> IndexWriter:
        """Return its writer; `meta` makes an index that does not exist yet."""

    def alone(self) -> AbstractContextManager[None]:
        """Be the only one who writes it.

        Raises:
            IndexBusy: Another process writes it.
        """

    def beside(self) -> IndexBackend:
        """Return where the index is rebuilt while this one serves."""

    def take_over(self, built: IndexBackend) -> None:
        """Let what was built beside it take its place."""

    def discard(self) -> None:
        """Remove it, with what a killed process left of it; not its people."""

    def look_for(self, traces: Collection[bytes]) -> int:
        """Look for bytes of what was forgotten; give how many bytes were looked through.

        Raises:
            StorageError: Something is left.
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


class Companion(Protocol):
    """Some arrays by name.

    Attributes:
        name: Where they are.
    """

    name: str

    def there(self) -> bool:
        """Return whether there are any."""

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Return them.

        Raises:
            FileNotFoundError: There are none.
            NpzError, OSError: They cannot be used.
        """

    def write(self, write: Callable[[ArrayWriter], None]) -> None:
        """Keep the arrays that a function writes in place of those before."""

    def editing(self) -> AbstractContextManager[None]:
        """Be the only one who changes them, from reading to writing.

        Raises:
            IndexBusy: Another process does.
        """
