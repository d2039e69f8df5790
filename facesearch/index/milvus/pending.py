"""Photos that were processed and wait to be written together."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from facesearch.faces import NO_DIGEST, NO_MOMENT, Box, FileState, PhotoFaces, Status
from facesearch.index.changes import faces_left
from facesearch.index.index import LANDMARKS, places_of
from facesearch.index.milvus.face_collection import FaceCollection, FaceRows
from facesearch.index.milvus.photo_collection import PhotoRow

# What a kill may lose.
_BYTES = 8 << 20
_PHOTOS = 256
_SECONDS = 5.0


class Pending:
    """Photos that wait to be written.

    Args:
        dim: Numbers in a vector.
        photos: The photos of the index.
    """

    def __init__(self, dim: int, photos: Iterable[PhotoRow]) -> None:
        self._dim = dim
        self._users = Counter(photo.face_set for photo in photos)
        self._written: dict[str, bytes] = {}
        self.clear()

    def clear(self) -> None:
        """Begin again, after what waited was written."""
        self.photos: list[PhotoRow] = []
        self._faces: list[FaceRows] = []
        self._size = 0
        self._since = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        late = time.monotonic() - self._since > _SECONDS
        return bool(self.photos) and (late or self._size >= _BYTES or len(self.photos) >= _PHOTOS)

    @property
    def faces(self) -> FaceRows:
        """All faces that wait."""
        return joined(self._faces, self._dim)

    def add(self, photo: PhotoFaces, erased: Sequence[Box]) -> None:
        """Add a photo without the faces that are erased from it."""
        rows = _rows_of(photo, self._dim)
        stays = faces_left([face.place for face in photo.faces], erased)
        status = Status.NO_FACE if photo.status is Status.OK and not stays.any() else photo.status
        digest = photo.file.digest or NO_DIGEST
        rows = some_of(rows, stays, "")
        face_set, new = self._face_set_of(digest, rows)
        if new:
            self._faces.append(some_of(rows, np.ones(len(rows.face_set), np.bool_), face_set))
            self._size += rows.vectors.nbytes
        path = os.fsencode(photo.path)
        self.photos.append(PhotoRow(path, photo.file, status, face_set, len(rows.face_set)))

    def _face_set_of(self, digest: bytes, rows: FaceRows) -> tuple[str, bool]:
        """Return what faces are kept under, and whether they are new there.

        Copies of a photo share their faces where they are the same to the bit.
        """
        if not len(rows.face_set):
            return "", False
        what = hashlib.blake2b(
            b"".join(
                one.tobytes() for one in (rows.vectors, rows.boxes, rows.scores, rows.landmarks, rows.moments)
            )
        ).digest()
        face_set = digest.hex()
        if self._written.get(face_set) == what:
            return face_set, False
        if self._users[face_set] or face_set in self._written:
            face_set = new_face_set(digest)
        self._written[face_set] = what
        return face_set, True


def new_face_set(digest: bytes) -> str:
    """Return a name for a new set of faces."""
    return f"{digest.hex()}-{secrets.token_hex(6)}"


def some_of(rows: FaceRows, which: np.ndarray[tuple[int], np.dtype[np.bool_]], face_set: str) -> FaceRows:
    """Return some faces, numbered again, as one face set."""
    count = int(which.sum())
    return FaceRows(
        [face_set] * count,
        np.arange(count),
        rows.boxes[which],
        rows.scores[which],
        rows.landmarks[which],
        rows.moments[which],
        rows.vectors[which],
    )


def joined(blocks: Sequence[FaceRows], dim: int) -> FaceRows:
    """Make one of several."""
    none = _rows_of(PhotoFaces("", FileState(0, 0), Status.NO_FACE), dim)
    every = [none, *blocks]
    return FaceRows(
        [face_set for block in every for face_set in block.face_set],
        np.concatenate([block.number for block in every]),
        np.concatenate([block.boxes for block in every]),
        np.concatenate([block.scores for block in every]),
        np.concatenate([block.landmarks for block in every]),
        np.concatenate([block.moments for block in every]),
        np.concatenate([block.vectors for block in every]),
    )


def _rows_of(photo: PhotoFaces, dim: int) -> FaceRows:
    faces = photo.faces
    boxes = [face.box.corners for face in faces]
    points = [face.landmarks or [(np.nan, np.nan)] * LANDMARKS for face in faces]
    vectors = photo.vectors if photo.vectors is not None else np.empty((0, dim))
    return FaceRows(
        [""] * len(faces),
        np.arange(len(faces)),
        np.array(boxes, np.int32).reshape(-1, 4),
        np.array([face.score for face in faces], np.float32),
        np.array(points, np.float32).reshape(-1, LANDMARKS, 2),
        np.array([face.moment or NO_MOMENT for face in faces], np.int32).reshape(-1, 3),
        np.asarray(vectors, np.float32).reshape(len(faces), dim),
    )


def with_newly_erased(
    todo: Mapping[str, tuple[Box, ...]],
    photos: Iterable[PhotoRow],
    erased: Callable[[FileState], tuple[Box, ...]],
) -> dict[str, tuple[Box, ...]]:
    """Return the faces to remove, by face set.

    Args:
        todo: The faces that a killed run has not removed.
        photos: All photos of the index.
        erased: Returns the newly erased faces of a photo by its file.
    """
    new = {photo.face_set: boxes for photo in photos if photo.faces and (boxes := erased(photo.file))}
    return {face_set: (*todo.get(face_set, ()), *new.get(face_set, ())) for face_set in {**todo, **new}}


def without_erased(
    photos: Mapping[bytes, PhotoRow], faces: FaceCollection, erased: Mapping[str, Sequence[Box]]
) -> dict[bytes, PhotoRow]:
    """Return photos without the faces that are erased; the others are written as another face set.

    Args:
        photos: By path.
        faces: Where their faces are.
        erased: The faces to remove, by face set.
    """
    changed: dict[bytes, PhotoRow] = {}
    by_face_set = defaultdict(list)
    for photo in photos.values():
        if photo.face_set in erased:
            by_face_set[photo.face_set].append(photo)
    for face_set, sharing in by_face_set.items():
        first = sharing[0]
        rows = joined(list(faces.of({face_set: first.faces})), faces.dim)
        places = places_of(rows.boxes, rows.moments)
        stays = faces_left([Box(*corners) for corners in places.tolist()], erased[face_set])
        if stays.all():
            continue
        count = int(stays.sum())
        other = new_face_set(first.file.digest) if count else ""
        faces.put(some_of(rows, stays, other))
        status = Status.OK if count else Status.NO_FACE
        for photo in sharing:
            changed[photo.path] = replace(photo, face_set=other, faces=count, status=status)
    return {**photos, **changed}
