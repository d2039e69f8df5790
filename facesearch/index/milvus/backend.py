"""The index in Milvus as a backend."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from facesearch.errors import IndexFileError, StorageError
from facesearch.faces import PhotoFaces
from facesearch.index.backend import Companion, IndexState
from facesearch.index.index import Index
from facesearch.index.meta import Meta
from facesearch.index.milvus.address import Address
from facesearch.index.milvus.face_collection import FaceCollection
from facesearch.index.milvus.photo_collection import PhotoCollection
from facesearch.index.milvus.search import MilvusSearch
from facesearch.index.milvus.server import Server, batches
from facesearch.index.milvus.state import (
    Assembly,
    Lease,
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
        collection: The index' photos and documents.
        ahead: 1 for the index that a rebuild writes beside the present one.
    """

    def __init__(self, collection: PhotoCollection, ahead: int = 0) -> None:
        self._collection = collection
        self._ahead = ahead
        self.name = collection.address.name
        self.title = collection.address.collection
        self.metric: Metric = "cosine"
        self.people: Companion = _MilvusCompanion(collection)

    @classmethod
    def of(cls, url: str) -> MilvusBackend:
        """Return the backend of a URL.

        Raises:
            FacesearchError: The URL is not one of a collection, or pymilvus is not installed.
        """
        return cls(PhotoCollection(Server(Address.parse(url))))

    def meta(self) -> Meta | None:
        """Return the meta data of the index; None where there is none."""
        return read_meta(self._collection, self._generation()) if self._collection.there() else None

    def read(self, *, faces: bool = True) -> Index:
        """Return the index.

        Raises:
            IndexFileError: It was changed meanwhile.
        """
        state = self._state()
        photos = self._collection.photos(state.generation)
        assembly = Assembly(state, photos, empty=not faces)
        if not faces:
            return assembly.index(self.name)
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

    def searchable(self) -> MilvusSearch:
        """Return what a search needs: no face is read yet."""
        state = self._state()
        data = self._collection.read(f"counts/{state.generation}")
        if data is None or self._collection.head(f"open/{state.generation}"):
            counts = self._collection.count(state.generation)
        else:
            counts = _counts(data)
        return MilvusSearch(self._collection, state, counts, self._faces(state).facts())

    def photos(self, listing: Index, rows: Sequence[int]) -> Iterator[PhotoFaces]:
        """Yield some photos with their faces, of which few are in memory at once."""
        state = self._state()
        for some in batches(rows, _PHOTOS_AT_ONCE):
            paths = [listing.path_bytes(row) for row in some]
            photos = sorted(
                self._collection.with_paths(state.generation, paths), key=lambda photo: photo.path
            )
            assembly = Assembly(state, photos)
            for block in self._faces(state).of({photo.face_set: photo.faces for photo in photos}):
                assembly.put(block)
            index = assembly.index(self.name)
            places = {photo.path: place for place, photo in enumerate(photos)}
            if assembly.missing or places.keys() != set(paths):
                raise IndexFileError(f"{self.name!r} was changed while it was read.", "Run this again.")
            yield from (photo_of(index, places[path]) for path in paths)

    def search_details(self) -> dict[str, Any]:
        """Return how the index is searched, and by which server."""
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
            "milvus": self._collection.server.version,
        }

    def state(self) -> IndexState:
        """Return what tells whether the index or its people have been written since."""
        generation = self._generation()
        return IndexState(
            (generation, self._collection.head(f"meta/{generation}")), self._collection.head("people")
        )

    def writer(self, meta: Meta | None = None) -> MilvusIndexWriter:
        """Return its writer."""
        return MilvusIndexWriter(self._collection, self._ahead, meta, self.metric)

    @contextmanager
    def rebuild(self) -> Iterator[MilvusRebuild]:
        """Yield what is built as the next generation; nobody else writes the index meanwhile."""
        self._collection.make()
        with Lease(self._collection, "index").held():
            yield MilvusRebuild(self._collection, self.metric)

    def discard(self) -> None:
        """Remove the index; its people stay."""
        if self._collection.there():
            remove_generation(self._collection, self._generation())

    def look_for(self, traces: Collection[bytes]) -> int:
        """Search all faces and the people for bytes of what was forgotten; return how many were searched.

        Raises:
            StorageError: Something is left.
        """
        state, count = self._state(), 0
        faces = self._faces(state)
        self._collection.server.settle(faces.name)
        kept = self._collection.read("people") or b""
        for data in (kept, *(rows.vectors.tobytes() for rows in faces.all())):
            count += len(data)
            if any(trace in data for trace in traces):
                raise StorageError(
                    f"{self.name!r} still holds something of what was to be forgotten.",
                    "Run the same command again.",
                )
        return count

    def _generation(self) -> int:
        return current_generation(self._collection) + self._ahead

    def _state(self) -> State:
        state = read_state(self._collection, self._generation()) if self._collection.there() else None
        if state is None:
            raise missing(self._collection)
        return state

    def _faces(self, state: State) -> FaceCollection:
        return FaceCollection(self._collection.server, state.generation, state.meta.dim)


class MilvusRebuild:
    """An index that is being built beside the present one, as its next generation.

    Attributes:
        backend: The new index.

    Args:
        collection: The photos and documents of both.
        metric: By which the new one is searched.
    """

    def __init__(self, collection: PhotoCollection, metric: Metric) -> None:
        self._collection = collection
        self.backend = MilvusBackend(collection, ahead=1)
        self.backend.metric = metric

    def discard(self) -> None:
        """Remove what has been built."""
        self.backend.discard()

    def finish(self) -> None:
        """Let the new index take the place of the present one, in a single step."""
        before = current_generation(self._collection)
        self._collection.write("current", str(before + 1).encode())
        self._collection.settle()
        remove_generation(self._collection, before)


class _MilvusCompanion:
    """The people of an index, kept as one of its documents."""

    def __init__(self, collection: PhotoCollection) -> None:
        self._collection = collection
        self.name = f"{collection.address.name} (people)"

    def there(self) -> bool:
        """Return whether there are any."""
        return self._collection.there() and bool(self._collection.head("people"))

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays."""
        data = self._collection.read("people") if self._collection.there() else None
        if data is None:
            raise FileNotFoundError(self.name)
        return arrays_in(data)

    def write(self, write: Callable[[ArrayWriter], None]) -> None:
        """Replace the arrays by those that a function writes."""
        file = io.BytesIO()
        with ArrayWriter(file) as writer:
            write(writer)
        self._collection.write("people", file.getvalue())
        self._collection.settle()

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Return a context that lets nobody else change the arrays."""
        with Lease(self._collection, "people").held():
            yield


def _counts(data: bytes) -> tuple[int, int]:
    photos, _, faces = data.partition(b" ")
    return int(photos), int(faces)
