"""Writes an index in Milvus, so that a kill at any moment leaves what a second run completes.

The order makes that so: faces before the photo's row that makes them known, a photo's row before its faces
are removed. While anything is under way the document `open` says so; the next writer then removes faces of
no photo, and photos whose faces are not all there, which are looked at again.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType

import numpy as np

from facesearch.errors import FacesearchError
from facesearch.faces import PhotoFaces
from facesearch.index.changes import Changes
from facesearch.index.index import Index, empty_index
from facesearch.index.meta import Meta
from facesearch.index.milvus.face_collection import FaceCollection
from facesearch.index.milvus.pending import Pending, with_newly_erased, without_erased
from facesearch.index.milvus.photo_collection import PhotoCollection, PhotoRow
from facesearch.index.milvus.state import (
    Assembly,
    Lease,
    State,
    current_generation,
    missing,
    read_lengths,
    read_state,
    remove_generation,
    remove_older,
    repair,
    widened,
    write_closed,
    write_lengths,
)
from facesearch.paths import joined_roots
from facesearch.ranking import Metric


class MilvusIndexWriter:
    """Writes an index in Milvus, as the only one that does; used as a context. Readers see additions at once.

    Attributes:
        index: The photos as they were when it was opened or committed; faces are only counted.
        changes: What `commit` will change besides what was added.
        recovered: Always 0: what an interrupted run has written is in the index.
        torn: Always 0.

    Args:
        collection: The index' photos and documents.
        ahead: 1 for an index that is built beside the present one.
        meta: The meta data of an index that does not exist yet.
        metric: The distance that a new index is searched by.

    Raises:
        IndexBusy: Another process writes it.
        IndexMissing: There is none, and no `meta`.
        IndexFileError: It cannot be used, or the server is away.
    """

    def __init__(self, collection: PhotoCollection, ahead: int, meta: Meta | None, metric: Metric) -> None:
        self.recovered = 0
        self.torn = 0
        self._collection = collection
        self._ahead = ahead
        self._new_meta = meta
        self._metric = metric
        self._lease = Lease(collection, "beside" if ahead else "index")
        self._alone = ExitStack()

    def __enter__(self) -> MilvusIndexWriter:
        if not self._collection.there():
            if self._new_meta is None:
                raise missing(self._collection)
            self._collection.make()
        with ExitStack() as stack:
            stack.enter_context(self._lease.held())
            self._open()
            self._alone = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._alone:
            if kind is not None and self._pending.photos:
                with suppress(FacesearchError):  # there is an error to tell of already
                    self._flush()
                    self._settle()

    def _open(self) -> None:
        self._generation = current_generation(self._collection) + self._ahead
        state = read_state(self._collection, self._generation)
        if state is None and self._new_meta is None:
            raise missing(self._collection)
        if state is None:
            assert self._new_meta is not None
            self._lengths = (np.inf, 0.0)
            self._start(State(self._generation, self._new_meta), [], new=True)
            return
        self._lengths = read_lengths(self._collection, self._generation)
        self._faces = FaceCollection(self._collection.server, self._generation, state.meta.dim)
        if not self._ahead:
            remove_older(self._collection, self._generation)
        repaired = bool(self._collection.head(self._mark))
        if repaired:
            self._faces.make(self._metric)
            repair(self._collection, self._faces, self._generation)
        self._start(state, self._collection.photos(self._generation), new=False)
        self._begun = repaired

    @property
    def _mark(self) -> str:
        return f"open/{self._generation}"

    def _start(self, state: State, photos: list[PhotoRow], *, new: bool) -> None:
        """Take an index as what changes begin from."""
        self._state, self._new, self._begun = state, new, False
        self._faces = FaceCollection(self._collection.server, self._generation, state.meta.dim)
        self._photos = photos
        assembly = Assembly(state, photos, empty=True)
        self.index: Index = empty_index(state.meta) if new else assembly.index(self._collection.address.name)
        self._pending = Pending(state.meta.dim, photos)
        self.changes = Changes(self.index)
        self._added: dict[bytes, PhotoRow] = {}

    def add(self, photo: PhotoFaces) -> None:
        """Add a photo that was processed; killing the process loses those of the last seconds at most."""
        self._pending.add(photo, self.changes.erased_from(photo.file, stored=False))
        if self._pending.full:
            self._flush()

    def commit(self) -> None:
        """Write all changes; do nothing where there are none."""
        self._flush()
        changes = self.changes
        if changes.permanent and not self._ahead:  # what an interrupted rebuild left may hold them too
            remove_generation(self._collection, self._generation + 1)
        if not (self._new or self._begun or changes):
            return
        self._begin()
        before = {photo.path: photo for photo in self._photos} | self._added
        after = self._after()
        todo = with_newly_erased(
            self._state.todo, after.values(), lambda file: tuple(changes.erased_from(file, stored=True))
        )
        write_closed(self._collection, self._generation, changes.forgotten, changes.erased, todo)
        after = without_erased(after, self._faces, todo)
        if changes.moved_to is not None:  # both, until all photos have moved
            self._write_meta(joined_roots(self._state.meta.roots, changes.roots))
        self._collection.put(
            self._generation, [photo for path, photo in after.items() if before.get(path) != photo]
        )
        self._collection.drop(self._generation, before.keys() - after.keys())
        if todo:
            write_closed(self._collection, self._generation, changes.forgotten, changes.erased, {})
        written = {photo.face_set for photo in (*self._photos, *self._added.values())}
        loose = written - {photo.face_set for photo in after.values()} - {""}
        self._faces.delete(self._faces.keys_of(sorted(loose)))
        self._finish(after, compact=bool(loose))

    def _after(self) -> dict[bytes, PhotoRow]:
        """Return the photos of the index after the changes, by path."""
        photos: dict[bytes, PhotoRow] = {}
        for row, path in self.changes.paths_after(photo.path for photo in self._photos):
            photos[path] = replace(self._photos[row], path=path)
        for path, taken in self.changes.taken.items():
            photos[path] = replace(self._photos[taken.photo], path=path, file=taken.file)
        photos.update(self._added)
        leaves_out = self.changes.leaves_out
        return {path: photo for path, photo in photos.items() if not leaves_out(path, photo.file)}

    def _begin(self) -> None:
        """Record that a change has begun, and make the collection of faces if there is none."""
        self._lease.check()
        if not self._begun:
            self._collection.write(self._mark, b"1")
            self._faces.make(self._metric)
            self._begun = True
        roots = joined_roots(self._state.meta.roots, self.changes.roots)
        if self._new or (roots, self.changes.mounts) != (self._state.meta.roots, self._state.meta.mounts):
            self._write_meta(roots)

    def _write_meta(self, roots: tuple[str, ...]) -> None:
        meta = self._state.meta.written(roots, self.changes.mounts, self.changes.precision)
        self._collection.write(f"meta/{self._generation}", meta.to_json().encode())

    def _flush(self) -> None:
        """Write the photos that wait."""
        if not self._pending.photos:
            return
        self._begin()
        faces = self._pending.faces
        lengths = widened(self._lengths, faces.vectors)
        if lengths != self._lengths:  # before there are such vectors
            write_lengths(self._collection, self._generation, lengths)
            self._lengths = lengths
        self._faces.put(faces)
        self._collection.put(self._generation, self._pending.photos)
        self._added.update((photo.path, photo) for photo in self._pending.photos)
        self._pending.clear()

    def _settle(self) -> None:
        """Make what was written visible to all readers."""
        self._collection.settle()
        self._collection.server.settle(self._faces.name)

    def _finish(self, after: dict[bytes, PhotoRow], *, compact: bool) -> None:
        """Let the server store everything and choose its index, then record that the index is whole."""
        faces = sum(photo.faces for photo in after.values())
        for name in (self._collection.name, self._faces.name):
            self._collection.server.flush(name)
            if compact:
                self._collection.server.compact(name)
        self._faces.suit(faces)
        self._collection.write(f"counts/{self._generation}", f"{len(after)} {faces}".encode())
        self._write_meta(self.changes.roots)
        self._collection.erase(self._mark)
        self._settle()
        state = read_state(self._collection, self._generation)
        assert state is not None, "it was written above"
        self._start(state, [after[path] for path in sorted(after)], new=False)
