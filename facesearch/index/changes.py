"""What is to change in an index, as every writer holds it until it writes; which faces are the same again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Face, FileState, Moment, PhotoFaces, Status, scaled_place
from facesearch.index.index import Index
from facesearch.paths import beginning, is_within, joined_roots, moved_path
from facesearch.ranking import unit_vectors

# A face that was found again, by a detector with other settings, overlaps the one that was known this far.
SAME_FACE = 0.5
# A face in a photo that was saved again, in another size perhaps, overlaps the one that was known so far.
SAME_PLACE = 0.7
# Nobody saves a picture in a size that differs by less; a detector places faces as differently as that.
_NO_CHANGE = 0.05


@dataclass(frozen=True, slots=True)
class Taken:
    """A path that is to have the faces of a photo that the index knows.

    Attributes:
        photo: The photo's row in the index.
        file: The file at the path.
    """

    photo: int
    file: FileState


class Changes:
    """The changes to an index since it was opened or committed, except for photos that were added.

    A path is the file system's bytes in what this class holds, and text in its methods.

    Attributes:
        roots: The folders that the index is to cover.
        mounts: Folders that are other file systems; see `Meta`.
        precision: What the network calculates in; see `Meta`. It is written with other changes.
        forgotten: Keys of photos that are not to be indexed again; see `FileState.keys`.
        erased: Faces that are not to be indexed again, by their photos' digests.
        taken: Paths that are to have the faces of a known photo.
        dropped: Paths that are to be removed.
        permanent: Whether photos or faces are removed for good: then an unfinished rebuild of the index,
            which may hold them too, has to go as well.

    Args:
        index: The index as it is stored.
    """

    def __init__(self, index: Index) -> None:
        self._stored_roots, self._stored_mounts = index.meta.roots, index.meta.mounts
        self._stored_forgotten = frozenset(digest.tobytes() for digest in index.forgotten)
        self._stored_erased: Mapping[bytes, tuple[Box, ...]] = index.erased_faces
        self.roots, self.mounts = index.meta.roots, index.meta.mounts
        self.precision = index.meta.precision
        self.forgotten = set(self._stored_forgotten)
        self.erased: dict[bytes, tuple[Box, ...]] = dict(index.erased_faces)
        self.taken: dict[bytes, Taken] = {}
        self.dropped: set[bytes] = set()
        self.permanent = False
        self._spared: set[tuple[bytes, Box]] = set()
        self._moved: tuple[bytes, bytes] | None = None

    def __bool__(self) -> bool:
        """Return whether anything changes."""
        same = (self.roots, self.mounts) == (self._stored_roots, self._stored_mounts)
        same = same and self.forgotten == self._stored_forgotten and self.erased == self._stored_erased
        return bool(self.taken or self.dropped or self._moved) or not same

    @property
    def moved_to(self) -> bytes | None:
        """Where a folder was moved; None where none was."""
        return None if self._moved is None else self._moved[1]

    def cover(self, roots: Iterable[str]) -> None:
        """Add folders to what the index covers."""
        self.roots = joined_roots(self.roots, roots)

    def uncover(self, folders: Iterable[str]) -> None:
        """Remove roots that are or lie below some folders, where the index holds no photo any more."""
        names = [os.fsencode(folder) for folder in folders]
        self.roots = tuple(
            root for root in self.roots if not any(is_within(os.fsencode(root), name) for name in names)
        )

    def mount(self, folders: Iterable[str], below: Iterable[str] = ()) -> None:
        """Record folders as other file systems, and that there are no others below some folders any more."""
        gone = [os.fsencode(folder) for folder in below]
        stay = (one for one in self.mounts if not any(is_within(os.fsencode(one), folder) for folder in gone))
        self.mounts = tuple(sorted({*folders, *stay}))

    def take(self, path: str, photo: int, file: FileState) -> None:
        """Let a path (new, or known with another state) have the faces of a photo of the index."""
        self.taken[os.fsencode(path)] = Taken(photo, file)

    def drop(self, path: str) -> None:
        """Remove a photo."""
        self.dropped.add(os.fsencode(path))

    def forget(self, keys: Iterable[bytes]) -> None:
        """Remove all photos with these keys for good: they are not indexed again."""
        self.permanent = True
        self.forgotten.update(keys)

    def learn(self, file: FileState) -> None:
        """Let what is known of a photo by one of its digests be known by the other too."""
        if any(digest in self.forgotten for digest in file.digests):
            self.forgotten.update(file.digests)
        gone = {box: None for digest in file.digests for box in self.erased.get(digest, ())}
        for digest in file.digests if gone else ():
            self.erase([(digest, box) for box in gone], here=False)

    def remember(self, *keys: bytes) -> None:
        """Let a forgotten photo, and the faces that were erased from it, be indexed again."""
        for key in keys:
            self.forgotten.discard(key)
            self.erased.pop(key, None)

    def erase(self, faces: Iterable[tuple[bytes, Box]], *, here: bool = True) -> None:
        """Remove single faces for good, each named by its photo's digest and its place.

        Args:
            faces: Digests and places.
            here: Whether to remove faces that are in the index or that this writer adds; otherwise those
                stay, and such faces are only not indexed again later.
        """
        self.permanent = self.permanent or here
        for digest, box in faces:
            known = self.erased.get(digest, ())
            if box in known:
                continue
            self.erased[digest] = (*known, box)
            if not here:
                self._spared.add((digest, box))

    def move_root(self, old: str, new: str) -> None:
        """Move all that lies at or below the folder `old` to `new`."""
        self._moved = os.fsencode(old), os.fsencode(new)
        roots, mounts = (
            [os.fsdecode(self.path_after(os.fsencode(folder))) for folder in folders]
            for folders in (self.roots, self.mounts)
        )
        self.roots, self.mounts = joined_roots((), roots), tuple(mounts)
        if any(is_within(self._moved[0], os.fsencode(root)) for root in self._stored_roots):
            self.cover([new])  # what lay inside a root may lie outside of it now

    def path_after(self, path: bytes) -> bytes:
        """Return the path that a photo of the index will have."""
        return path if self._moved is None else moved_path(path, *self._moved)

    def paths_after(self, paths: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield the rows of the photos that are not dropped, each with the path that it will have.

        Args:
            paths: The paths of all photos of the index, in order.
        """
        if self._moved is None:
            yield from ((row, path) for row, path in enumerate(paths) if path not in self.dropped)
            return
        old, new = map(beginning, self._moved)
        alike = old[-1:] == new[-1:]
        for row, path in enumerate(paths):
            if path not in self.dropped:
                # What `path_after` does, for a million photos.
                simple = alike and path.startswith(old) and path != old
                yield row, new + path[len(old) :] if simple else self.path_after(path)

    def leaves_out(self, path: bytes, file: FileState) -> bool:
        """Return whether a photo is not to be in the index."""
        return bool(self.forgotten) and any(key in self.forgotten for key in file.keys(os.fsdecode(path)))

    def erased_from(self, file: FileState, *, stored: bool) -> list[Box]:
        """Return the faces to remove from a photo.

        Args:
            file: The photo's.
            stored: Whether the photo comes from the stored index, which no longer holds what it lists as
                erased.
        """
        found: list[Box] = []
        for digest in file.digests:
            done = self._stored_erased.get(digest, ()) if stored else ()
            boxes = (box for box in self.erased.get(digest, ()) if box not in done and box not in found)
            found += [box for box in boxes if (digest, box) not in self._spared]
        return found


def faces_left(faces: Sequence[Box], erased: Iterable[Box]) -> NDArray[np.bool_]:
    """Return which faces of a photo stay when some are erased.

    Each erased face removes the one face that overlaps it most, if by `SAME_FACE` or more.

    Returns:
        (n,) bool, one for each of `faces`.
    """
    stays = np.ones(len(faces), np.bool_)
    for box in erased:
        overlap = [box.overlap(face) if stay else 0.0 for face, stay in zip(faces, stays, strict=True)]
        if overlap and max(overlap) >= SAME_FACE:
            stays[int(np.argmax(overlap))] = False
    return stays


def faces_again(old: PhotoFaces, new: PhotoFaces, within: float) -> tuple[list[tuple[Box, Box]], float]:
    """Find the faces that two pictures show at the same places, where one is the other in some size.

    Args:
        old: A photo with its vectors.
        new: A photo that was saved under the same path, with its vectors.
        within: The largest cosine distance.

    Returns:
        The place of each face in the old picture and in the new one; and how many times as large that one is.
    """
    found: list[tuple[Box, Box]] = []
    scale = 0.0
    if old.vectors is None or new.vectors is None:
        return found, scale
    distances = _distances(old.vectors, new.vectors)
    left, right = set(range(len(old.faces))), set(range(len(new.faces)))
    for place in np.argsort(distances, axis=None).tolist():
        one, other = divmod(place, len(new.faces))
        if not distances[one, other] <= within:
            break
        was, now = old.faces[one], new.faces[other]
        larger = scale or _scale(was.box, now.box)
        near = scaled_place(was.place, larger).overlap(now.place) > SAME_PLACE
        if one in left and other in right and near:
            scale = larger
            found.append((was.place, now.place))
            left.remove(one)
            right.remove(other)
    return found, scale


def faces_followed(old: PhotoFaces, new: PhotoFaces, within: float) -> list[tuple[Box, Box]]:
    """Find the faces of a film or an animation where other frames of it were looked at, by their vectors.

    Args:
        old: It, with its vectors.
        new: The same, with vectors of the same model.
        within: The largest cosine distance; 0 where the vectors are of another model.

    Returns:
        For each face where it was, and its place now: the same one, or that of the face most like it.
    """
    if old.vectors is None or new.vectors is None:
        return []
    there = {face.place for face in new.faces}
    found = [(face.place, face.place) for face in old.faces if face.place in there]
    if not within:
        return found
    distances = _distances(old.vectors, new.vectors)
    return found + [
        (face.place, new.faces[int(row.argmin())].place)
        for face, row in zip(old.faces, distances, strict=True)
        if face.place not in there and row.min() <= within
    ]


def only_faces_of(old: PhotoFaces, new: PhotoFaces, within: float) -> PhotoFaces:
    """Return a film or an animation with those of its faces only that it had before.

    Any other one may be of somebody who was forgotten, in another frame.

    Args:
        old: It as the index has it, with its vectors.
        new: It, looked at again.
        within: The largest cosine distance of vectors; 0 where they are of another model.
    """
    if new.vectors is None:
        return new
    stays = np.zeros(len(new.faces), np.bool_)
    if old.vectors is not None and within:
        stays = _distances(new.vectors, old.vectors).min(axis=1) <= within
    elif old.vectors is not None:
        places = [(face.place, face.moment) for face in old.faces]
        stays = np.array([_was_there(face, places) for face in new.faces], np.bool_)
    return _with_faces(new, stays)


def _was_there(face: Face, places: Iterable[tuple[Box, Moment | None]]) -> bool:
    return any(face.moment == moment and face.place.overlap(place) >= SAME_FACE for place, moment in places)


def without_faces(photo: PhotoFaces, erased: Sequence[Box]) -> PhotoFaces:
    """Return a photo without the faces that are erased from it."""
    return _with_faces(photo, faces_left([face.place for face in photo.faces], erased))


def _with_faces(photo: PhotoFaces, stay: NDArray[np.bool_]) -> PhotoFaces:
    """Return a photo with some of its faces."""
    if photo.vectors is None or stay.all():
        return photo
    faces = tuple(face for face, stays in zip(photo.faces, stay, strict=True) if stays)
    status, vectors = (Status.OK, photo.vectors[stay]) if faces else (Status.NO_FACE, None)
    return replace(photo, status=status, faces=faces, vectors=vectors)


def _distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine distance of each vector to each, (n, m)."""
    similar: NDArray[np.float32] = unit_vectors(np.asarray(one)) @ unit_vectors(np.asarray(other)).T
    return 1.0 - similar


def _scale(was: Box, now: Box) -> float:
    """Return how many times as far from the corner a face is now; its size would tell that less well."""
    (x, y), (to_x, to_y) = was.centre, now.centre
    scale = (x * to_x + y * to_y) / (x * x + y * y)
    return 1.0 if abs(scale - 1.0) < _NO_CHANGE else scale
