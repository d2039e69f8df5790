"""An index in Milvus as a place like any other."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from facesearch.errors import IndexFileError, StorageError
from facesearch.faces import PhotoFaces
from facesearch.index.backend import Companion, IndexBackend
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.milvus.address import Address
from facesearch.index.milvus.face_collection import FaceCollection
from facesearch.index.milvus.lease import Lease
from facesearch.index.milvus.photo_collection import PhotoCollection
from facesearch.index.milvus.search import MilvusSearch
from facesearch.index.milvus.server import Server, batches
from facesearch.index.milvus.state import (
    Assembly,
    State,
    current_generation,
    missing,
    read_meta,
    read_state,
    remove_generation,
)
from facesearch.index.milvus.writer import MilvusIndexWriter
from facesearch.index.npz.arrays import ArrayWriter, arrays_in
from facesearch.index.npz.backend import photo_of
from facesearch.ranking import Metric

_PHOTOS_AT_ONCE = 256


class MilvusBackend:
    """An index in Milvus.

    Args:
        book: Its photos and documents.
        ahead: 1 for the one that is built beside the present one.
    """

    def __init__(self, book: PhotoCollection, ahead: int = 0) -> None:
        self._book = book
        self._ahead = ahead
        self.name = book.address.name
        self.title = book.address.collection
        self.metric: Metric = "cosine"
        self.people: Companion = _MilvusCompanion(book)

    @classmethod
    def of(cls, url: str) -> MilvusBackend:
        """Return the place that a URL names.

        Raises:
            FacesearchError: It names none, or pymilvus is not installed.
        """
        return cls(PhotoCollection(Server(Address.parse(url))))

    def meta(self) -> Meta | None:
        """Return what makes the index; None where there is none."""
        return read_meta(self._book, self._generation()) if self._book.there() else None

    def listing(self) -> Index:
        """Return the photos; their faces are counted alone."""
        state = self._state()
        photos = self._book.photos(state.generation)
        return Assembly(state, photos, empty=True).index(self.name)

    def whole(self) -> Index:
        """Return all of it.

        Raises:
            IndexFileError: It was changed meanwhile.
        """
        state = self._state()
        assembly = Assembly(state, self._book.photos(state.generation))
        if assembly.missing:
            for rows in self._faces(state).all():
                assembly.put(rows)
        if assembly.missing:
            raise IndexFileError(
                f"In {self.name!r} {assembly.missing:,} faces are not there: it is just being written, or "
                "a run was killed.",
                "Run this again; if it says so still, `facesearch index FOLDER` puts it right.",
            )
        return assembly.index(self.name)

    def searched(self) -> MilvusSearch:
        """Return what a search needs: no face is read yet."""
        state = self._state()
        data = self._book.read(f"counts/{state.generation}")
        if data is None or self._book.head(f"open/{state.generation}"):
            counts = self._book.count(state.generation)
        else:
            counts = _counts(data)
        return MilvusSearch(self._book, state, counts, self._faces(state).facts())

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Yield some photos with their faces; few are in memory at once."""
        state = self._state()
        for some in batches(rows, _PHOTOS_AT_ONCE):
            paths = [listing.path_bytes(row) for row in some]
            photos = sorted(self._book.with_paths(state.generation, paths), key=lambda photo: photo.path)
            assembly = Assembly(state, photos)
            for block in self._faces(state).of({photo.hold: photo.faces for photo in photos}):
                assembly.put(block)
            index = assembly.index(self.name)
            found = {path: number for number, path in enumerate(photo.path for photo in photos)}
            if assembly.missing or found.keys() != set(paths):
                raise IndexFileError(f"{self.name!r} was changed while it was read.", "Run this again.")
            yield from (photo_of(index, found[path]) for path in paths)

    def facts(self) -> dict[str, Any]:
        """Say how it is searched, and by which server."""
        found = self._faces(self._state()).facts()
        names = {"index_type": "index", "metric_type": "metric"}
        hidden = {"field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows", "state"}
        shown = {names.get(name, name): value for name, value in found.items() if name not in hidden}
        first: dict[str, Any] = {name: shown[name] for name in ("index", "metric") if name in shown}
        exact = found.get("index_type") == "FLAT"
        return {
            "search": "exact" if exact else "approximate",
            **first,
            **dict(sorted(shown.items() - first.items())),
            "milvus": self._book.server.version,
        }

    def state(self) -> tuple[Hashable, Hashable]:
        """Return what changes when the index is written, and what does when its people are."""
        generation = self._generation()
        return (generation, self._book.head(f"meta/{generation}")), self._book.head("people")

    def written_over(self, before: Hashable) -> bool:
        """Say no: what was read is in memory."""
        return False

    def writer(self, meta: Meta | None = None) -> MilvusIndexWriter:
        """Return its writer."""
        return MilvusIndexWriter(self._book, self._ahead, meta, self.metric)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who writes it."""
        self._book.make()
        with Lease(self._book, "index").held():
            yield

    def beside(self) -> MilvusBackend:
        """Return where it is rebuilt."""
        other = MilvusBackend(self._book, 1)
        other.metric = self.metric
        return other

    def take_over(self, built: IndexBackend) -> None:
        """Let what was built beside it take its place, at one stroke."""
        before = self._generation()
        self._book.write("current", str(before + 1).encode())
        self._book.settle()
        remove_generation(self._book, before)

    def discard(self) -> None:
        """Remove it."""
        if self._book.there():
            remove_generation(self._book, self._generation())

    def look_for(self, traces: Collection[bytes]) -> int:
        """Look through all faces and through what is kept of people.

        Raises:
            StorageError: Something is left.
        """
        state, count = self._state(), 0
        faces = self._faces(state)
        self._book.server.settle(faces.name)
        kept = self._book.read("people") or b""
        for data in (kept, *(rows.vectors.tobytes() for rows in faces.all())):
            count += len(data)
            if any(trace in data for trace in traces):
                raise StorageError(
                    f"{self.name!r} still holds something of what was to be forgotten.",
                    "Run the same command again.",
                )
        return count

    def _generation(self) -> int:
        return current_generation(self._book) + self._ahead

    def _state(self) -> State:
        state = read_state(self._book, self._generation()) if self._book.there() else None
        if state is None:
            raise missing(self._book)
        return state

    def _faces(self, state: State) -> FaceCollection:
        return FaceCollection(self._book.server, state.generation, state.meta.dim)


class _MilvusCompanion:
    """The people of an index as one of its documents."""

    def __init__(self, book: PhotoCollection) -> None:
        self._book = book
        self.name = f"{book.address.name} (people)"

    def there(self) -> bool:
        """Return whether there are any."""
        return self._book.there() and bool(self._book.head("people"))

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays."""
        data = self._book.read("people") if self._book.there() else None
        if data is None:
            raise FileNotFoundError(self.name)
        return arrays_in(data)

    def write(self, write: Callable[[ArrayWriter], None]) -> None:
        """Keep arrays in place of those before."""
        file = io.BytesIO()
        with ArrayWriter(file) as writer:
            write(writer)
        self._book.write("people", file.getvalue())
        self._book.settle()

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Be the only one who changes them."""
        with Lease(self._book, "people").held():
            yield


def _counts(data: bytes) -> tuple[int, int]:
    photos, _, faces = data.partition(b" ")
    return int(photos), int(faces)
