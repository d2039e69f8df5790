"""An index in memory: its arrays, the search for the nearest faces, and the checks of a foreign file."""

from __future__ import annotations

import ntpath
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexBroken, IndexFormat
from facesearch.faces import (
    FRAME_HEIGHT,
    NO_DIGEST,
    NO_MOMENT,
    NOT_ASKED,
    Box,
    FileState,
    Moment,
    Reference,
    Status,
    are_dates,
    place_of,
)
from facesearch.index.meta import Meta
from facesearch.paths import ESCAPES
from facesearch.ranking import Metric, nearest

FORMAT = 4
# An index of the first format has no `ctime_ns` and no `file_digest`: its `digest` is the file's. One of the
# second has no `captured`, and one of the third no `moments`.
READABLE = (1, 2, 3, FORMAT)
LANDMARKS = 5

# name -> dtype, shape behind the first axis, what the first axis counts.
ARRAYS: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "vectors": ("<f4", (-1,), "faces"),
    "norms": ("<f4", (), "faces"),
    "boxes": ("<i4", (4,), "faces"),
    "scores": ("<f4", (), "faces"),
    "landmarks": ("<f4", (LANDMARKS, 2), "faces"),
    "photo": ("<i4", (), "faces"),
    "moments": ("<i4", (3,), "faces"),
    "paths": ("|u1", (), "bytes"),
    "path_ends": ("<i8", (), "photos"),
    "root": ("<i4", (), "photos"),
    "size": ("<i8", (), "photos"),
    "mtime_ns": ("<i8", (), "photos"),
    "ctime_ns": ("<i8", (), "photos"),
    "digest": ("|u1", (16,), "photos"),
    "file_digest": ("|u1", (16,), "photos"),
    "captured": ("<i8", (), "photos"),
    "status": ("|u1", (), "photos"),
    "forgotten": ("|u1", (16,), "digests"),
    "erased": ("|u1", (16,), "erased"),
    "erased_boxes": ("<i4", (4,), "erased"),
}

# So many faces of a clip are in a sample: one film must not fill it.
_OF_A_CLIP = 4

How = Literal["exact", "approximate"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Which faces of an index to find for some queries.

    Attributes:
        queries: (q, dim) float32, vectors.
        k: How many photos, or faces, are wanted for each query.
        metric: Which distance.
        by: "photo": of each photo only the nearest face counts; "face": each face counts.
        unique: Whether copies of one photo count once.
        threshold: Faces farther than this from a query are not wanted.
        own: For each query the paths of photos that are not to be found; with `unique`, nor their copies.
        how: "exact" or "approximate" where the backend knows both; None for what suits the index' size.
        centre: (dim,) float32; by cosine, the queries are directions from this point, and so are the faces'
            vectors to be taken.
        captured: The first date of a photo, and the first that is too late, as `Captured.code`; None where it
            does not matter. A photo without a date is then not found.
    """

    queries: NDArray[np.float32]
    k: int
    metric: Metric
    by: Literal["photo", "face"]
    unique: bool
    threshold: float
    own: Sequence[Collection[str]]
    how: How | None
    centre: NDArray[np.float32] | None = None
    captured: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A face that was found.

    Attributes:
        path: The photo's path.
        face: The face's number in its photo, 1 for the largest.
        box: In the upright photo.
        distance: From the query.
        vector: (dim,) float32, the face's.
        captured: When the photo was taken, as `Captured.code`; or `UNDATED` or `NOT_ASKED`.
        moment: When in a clip; None in a photo.
    """

    path: str
    face: int
    box: Box
    distance: float
    vector: NDArray[np.float32] = field(repr=False, compare=False)
    captured: int = NOT_ASKED
    moment: Moment | None = None


@dataclass(frozen=True)
class Index:
    """An index in memory or mapped into it: F faces of P photos.

    Photos stand in the order of their paths' bytes and the faces of a photo stand together, largest
    first, so that a face's row orders it by path and then by number.

    Attributes:
        meta: What made it.
        vectors: (F, dim) float32, as the model gave them.
        norms: (F,) float32, their lengths.
        boxes: (F, 4) int32, x, y, width, height in the upright photo.
        scores: (F,) float32, the detector's.
        landmarks: (F, 5, 2) float32, NaN where there are none.
        photo: (F,) int32, the photo that a face is in.
        moments: (F, 3) int32, when a face of a clip comes, goes and is best, in milliseconds; -1 in a photo;
            three times -n in frame n of a picture, from the second.
        paths: uint8, the paths' filesystem bytes one after the other.
        path_ends: (P,) int64, where each ends.
        root: (P,) int32, the root that a photo lies under.
        size: (P,) int64, bytes.
        mtime_ns: (P,) int64, -1 where the file could not be read.
        ctime_ns: (P,) int64, -1 where it is not known.
        digest: (P, 16) uint8, the picture's; zeros where the file could not be read.
        file_digest: (P, 16) uint8, the whole file's; zeros where the file could not be read, and where
            `digest` is the file's, as in an index of the first format.
        captured: (P,) int64, when each was taken, as `Captured.code`; or `UNDATED` or `NOT_ASKED`.
        status: (P,) uint8, a `Status`.
        forgotten: (K, 16) uint8, keys of photos that are left out; see `FileState.keys`.
        erased: (E, 16) uint8, digests of photos of which one face is not to be indexed again.
        erased_boxes: (E, 4) int32, where that face is.
    """

    meta: Meta
    vectors: NDArray[np.float32]
    norms: NDArray[np.float32]
    boxes: NDArray[np.int32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    photo: NDArray[np.int32]
    moments: NDArray[np.int32]
    paths: NDArray[np.uint8]
    path_ends: NDArray[np.int64]
    root: NDArray[np.int32]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    ctime_ns: NDArray[np.int64]
    digest: NDArray[np.uint8]
    file_digest: NDArray[np.uint8]
    captured: NDArray[np.int64]
    status: NDArray[np.uint8]
    forgotten: NDArray[np.uint8]
    erased: NDArray[np.uint8]
    erased_boxes: NDArray[np.int32]

    @property
    def photo_count(self) -> int:
        """The number of photos, whatever their status."""
        return len(self.path_ends)

    @property
    def face_count(self) -> int:
        """The number of faces."""
        return len(self.photo)

    def path_bytes(self, photo: int) -> bytes:
        """Return a photo's path as the file system has it."""
        start = int(self.path_ends[photo - 1]) if photo else 0
        return self.paths[start : int(self.path_ends[photo])].tobytes()

    def path(self, photo: int) -> str:
        """Return a photo's path, surrogate-escaped where it is not UTF-8."""
        return os.fsdecode(self.path_bytes(photo))

    def file(self, photo: int) -> FileState:
        """Return what is known of a photo's file."""
        digest, file_digest = self.digest[photo].tobytes(), self.file_digest[photo].tobytes()
        return FileState(
            int(self.size[photo]),
            int(self.mtime_ns[photo]),
            int(self.ctime_ns[photo]),
            digest if any(digest) else b"",
            file_digest if any(file_digest) else b"",
            int(self.captured[photo]),
        )

    def find(self, path: str) -> int | None:
        """Return the photo with this path; None where there is none. Reads only a few of the paths."""
        name, low, high = os.fsencode(path), 0, self.photo_count
        while low < high:
            middle = (low + high) // 2
            if self.path_bytes(middle) < name:
                low = middle + 1
            else:
                high = middle
        return low if low < self.photo_count and self.path_bytes(low) == name else None

    def box(self, face: int) -> Box:
        """Return a face's box in its upright photo."""
        return Box(*(int(value) for value in self.boxes[face]))

    def moment(self, face: int) -> Moment | None:
        """Return when a face is seen in its clip, or in which frame; None for one in a photo."""
        moment = Moment(*(int(value) for value in self.moments[face]))
        return moment if moment != NO_MOMENT else None

    @cached_property
    def places(self) -> NDArray[np.int32]:
        """(F, 4) int32, what tells each face from the others of its photo; see `place_of`."""
        return places_of(self.boxes, self.moments)

    def place(self, face: int) -> Box:
        """Return what tells a face from the others of its photo."""
        return place_of(self.box(face), self.moment(face))

    def reference(self, face: int, person: str = "") -> Reference:
        """Return a face as one to search for, for itself or for a person."""
        path, vector = self.path(int(self.photo[face])), np.asarray(self.vectors[face])
        return Reference(path, self.number(face), self.box(face), vector, person, self.moment(face))

    def faces_of(self, photo: int) -> range:
        """Return the rows of a photo's faces; looks at few rows."""
        # In the array's own type: for another one numpy would convert all of it first.
        start, stop = np.searchsorted(self.photo, np.array([photo, photo + 1], self.photo.dtype))
        return range(int(start), int(stop))

    def number(self, face: int) -> int:
        """Return a face's number in its photo, 1 for the largest."""
        return face - self.faces_of(int(self.photo[face])).start + 1

    @cached_property
    def erased_faces(self) -> dict[bytes, tuple[Box, ...]]:
        """The faces that are not to be indexed again, by their photos' digests."""
        faces: dict[bytes, tuple[Box, ...]] = {}
        for digest, corners in zip(self.erased, self.erased_boxes.tolist(), strict=True):
            here = faces.get(digest.tobytes(), ())
            faces[digest.tobytes()] = (*here, Box(*corners))
        return faces

    @cached_property
    def photos_by_digest(self) -> dict[bytes, list[int]]:
        """The photos with each digest, of the picture or of the file."""
        photos: dict[bytes, list[int]] = {}
        for array in (self.digest, self.file_digest):
            known = array.any(axis=1)
            whole = array.tobytes()
            for photo in np.flatnonzero(known).tolist():
                photos.setdefault(whole[16 * photo : 16 * photo + 16], []).append(photo)
        return photos

    def photos_with(self, digests: Collection[bytes]) -> set[int]:
        """Return the photos whose picture or file has one of some digests."""
        known = {digest for digest in digests if len(digest) == len(NO_DIGEST) and any(digest)}
        return {*_rows_with(self.digest, known), *_rows_with(self.file_digest, known)}

    @cached_property
    def first_face(self) -> NDArray[np.int64]:
        """(P + 1,) int64: the faces of photo p are the rows from first_face[p] to first_face[p + 1]."""
        return np.searchsorted(self.photo, np.arange(self.photo_count + 1))

    @property
    def all_paths(self) -> list[bytes]:
        """All paths as the file system has them: much faster than to ask for each."""
        whole, ends = self.paths.tobytes(), self.path_ends.tolist()
        return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @cached_property
    def names(self) -> list[str]:
        """All paths as text; see `path`."""
        whole, ends = self.paths.tobytes(), self.path_ends.tolist()
        if not whole.isascii():
            return [os.fsdecode(path) for path in self.all_paths]
        text = whole.decode("ascii")  # all at once, which takes a third of the time
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Each path's photo."""
        return {name: photo for photo, name in enumerate(self.names)}

    def vectors_of(self, digest: bytes) -> dict[Box, NDArray[np.float32]]:
        """Return the vectors of the faces of a picture, by their places; empty for one that is not known."""
        faces = (face for photo in self._copies_of(digest or NO_DIGEST) for face in self.faces_of(photo))
        return {self.place(face): np.asarray(self.vectors[face]) for face in faces}

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return the vectors of up to `count` faces, (n, dim): a random sample that is always the same.

        They are the faces of the photos with the smallest digests, which are random numbers; copies of a
        photo count once. A photo that comes or goes changes little of it.
        """
        photos = np.flatnonzero(self.status == Status.OK)
        start = np.ascontiguousarray(self.digest[photos, :8]).view(">u8").reshape(-1)
        if len(photos) > 4 * count:
            smallest = np.argpartition(start, 4 * count)[: 4 * count]
            if len(np.unique(start[smallest])) > count:
                photos, start = photos[smallest], start[smallest]
        rows: list[int] = []
        before = b""
        for photo in photos[np.argsort(start, kind="stable")].tolist():
            digest = self.digest[photo].tobytes()
            if digest != before:
                faces = self.faces_of(photo)
                rows.extend(faces[:_OF_A_CLIP] if faces and self.moment(faces[0]) else faces)
            if len(rows) >= count:
                break
            before = digest
        return np.asarray(self.vectors[rows[:count]])

    def near(self, request: SearchRequest) -> list[list[Hit]]:
        """Return the nearest faces for each query, by distance, then by path, then by face."""
        own = [self._photos_at(paths, copies=request.unique) for paths in request.own]
        found = nearest(
            self.vectors,
            self.norms,
            request.queries,
            # Faces in a query's own photos are taken out afterwards.
            request.k + max(self._places(photos, request) for photos in own),
            request.metric,
            centre=request.centre,
            groups=self._groups(request),
            threshold=request.threshold,
            wanted=self._of_the_time(request.captured),
        )
        answers = []
        for neighbours, photos in zip(found, own, strict=True):
            pairs = zip(neighbours.rows.tolist(), neighbours.distances.tolist(), strict=True)
            others = [(row, distance) for row, distance in pairs if int(self.photo[row]) not in photos]
            shown = ((self._of_a_file(row) if request.unique else row, distance) for row, distance in others)
            answers.append([self._hit(row, distance) for row, distance in islice(shown, request.k)])
        return answers

    def _of_the_time(self, captured: tuple[int, int] | None) -> NDArray[np.bool_] | None:
        """Return which faces are in photos that were taken in a time, (F,); None for any time."""
        if captured is None:
            return None
        first, end = captured
        return np.asarray(((self.captured >= first) & (self.captured < end))[self.photo])

    def _of_a_file(self, face: int) -> int:
        """Return a face, or where its file is gone the same one in a copy whose file is there."""
        photo = int(self.photo[face])
        if _is_there(self.path(photo)):
            return face
        copies = self._copies_of(self.digest[photo].tobytes())
        faces = len(self.faces_of(photo))
        there = (copy for copy in copies if len(self.faces_of(copy)) == faces and _is_there(self.path(copy)))
        copy = next(there, photo)
        return self.faces_of(copy)[self.number(face) - 1]

    def _copies_of(self, digest: bytes) -> list[int]:
        """Return the photos of a picture."""
        return _rows_with(self.digest, {digest})

    def _photos_at(self, paths: Collection[str], *, copies: bool) -> frozenset[int]:
        """Return the photos with some paths, and if wanted all others with the same content."""
        found = (self.find(path) for path in paths)
        photos = {photo for photo in found if photo is not None}
        if copies:
            for photo in tuple(photos):
                photos.update(self._copies_of(self.digest[photo].tobytes()))
        return frozenset(photos)

    def _places(self, photos: Collection[int], request: SearchRequest) -> int:
        """Return how many places these photos can take among the nearest."""
        if request.by == "photo":
            return len(photos)
        return sum(len(self.faces_of(photo)) for photo in photos)

    def _groups(self, request: SearchRequest) -> NDArray[np.int64] | NDArray[np.int32] | None:
        """Return what counts once: photos, contents, or (None) each face."""
        if not request.unique:
            return self.photo if request.by == "photo" else self._appearances
        _, content = np.unique(self.digest, axis=0, return_inverse=True)
        groups: NDArray[np.int64] = content.reshape(-1)[self.photo]
        if request.by == "face":
            number = np.arange(self.face_count) - self.first_face[self.photo]
            groups = groups * (int(number.max(initial=0)) + 1) + number
        return groups

    @cached_property
    def _appearances(self) -> NDArray[np.int64] | None:
        """(F,) int64: faces of one appearance in a clip have one number; None where there is no clip."""
        timed = np.flatnonzero(self.moments[:, 0] >= 0)
        if not len(timed):
            return None
        numbers = np.arange(self.face_count, dtype=np.int64)
        both = np.column_stack([self.photo[timed], self.moments[timed, :2]])
        _, first, which = np.unique(both, axis=0, return_index=True, return_inverse=True)
        numbers[timed] = timed[first[which.reshape(-1)]]
        return numbers

    def _hit(self, face: int, distance: float) -> Hit:
        photo = int(self.photo[face])
        path, vector, captured = self.path(photo), np.asarray(self.vectors[face]), int(self.captured[photo])
        box, moment = self.box(face), self.moment(face)
        return Hit(path, self.number(face), box, distance, vector, captured, moment)


def empty_index(meta: Meta) -> Index:
    """Return an index of nothing."""
    arrays: dict[str, Any] = {}
    for name, (dtype, inner, _) in ARRAYS.items():
        arrays[name] = np.empty((0, *(meta.dim if n < 0 else n for n in inner)), dtype)
    return Index(meta, **arrays)


def check_index(arrays: Mapping[str, NDArray[Any]], complain: Callable[[str], IndexBroken]) -> Index:
    """Return the index made of a file's arrays, after checking them.

    Args:
        arrays: As they came from the file.
        complain: Makes the error from a clause that says what is wrong.

    Raises:
        IndexFormat: A newer facesearch wrote it.
        IndexBroken: Anything is missing, of another type or shape, or out of range.
    """
    missing = _LACKS.get(_check_format(arrays, complain), ())
    try:
        meta = Meta.from_json(_text(arrays.get("meta")))
    except (ValueError, RecursionError) as error:
        raise complain(f"its meta data cannot be read ({error})") from error
    counts: dict[str, int] = {}
    checked: dict[str, Any] = {}
    for name, (dtype, inner, counted) in ARRAYS.items():
        array = arrays.get(name) if name in arrays or name not in missing else _absent(name, checked)
        shape = tuple(meta.dim if length < 0 else length for length in inner)
        if array is None or array.dtype != np.dtype(dtype) or array.shape[1:] != shape or array.ndim < 1:
            raise complain(f"its array {name!r} is missing or of another type or shape")
        if counts.setdefault(counted, len(array)) != len(array):
            raise complain(f"its array {name!r} counts {len(array)} {counted}, not {counts[counted]}")
        checked[name] = array
    index = Index(meta, **checked)
    problem = _out_of_range(index)
    if problem:
        raise complain(problem)
    return index


def _absent(name: str, others: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return an array that an older format does not have, from those before it."""
    photos = len(others["path_ends"]) if "path_ends" in others else 0
    if name == "moments":
        return np.full((len(others["photo"]), 3), -1, "<i4")
    if name == "file_digest":
        return np.zeros((photos, 16), np.uint8)
    return np.full(photos, -1 if name == "ctime_ns" else NOT_ASKED, "<i8")


# The arrays that older formats do not have.
_LACKS = {
    1: ("moments", "ctime_ns", "file_digest", "captured"),
    2: ("moments", "captured"),
    3: ("moments",),
}


def _check_format(arrays: Mapping[str, NDArray[Any]], complain: Callable[[str], IndexBroken]) -> int:
    """Return the format's number."""
    number = arrays.get("format")
    if number is None or number.dtype.kind not in "iu" or number.size != 1:
        raise complain("it carries no format number")
    found = int(number.reshape(-1)[0])
    if found not in READABLE:
        raise IndexFormat(
            f"The index has format {found}, and this facesearch knows format {FORMAT}.",
            "Use the facesearch that wrote it, or build it anew with `facesearch index FOLDER --rebuild`.",
        )
    return found


def _text(array: NDArray[Any] | None) -> str:
    if array is None or array.dtype.kind != "U" or array.ndim != 0:
        raise ValueError("they are not there")
    return str(array)


def _out_of_range(index: Index) -> str:
    """Return what is out of range, as a clause; empty when nothing is."""
    photos, ends, blob = index.photo_count, index.path_ends, len(index.paths)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if photos else ends
    checks: tuple[tuple[str, bool], ...] = (
        (
            "its paths end out of order",
            bool(np.any(ends <= starts)) or (int(ends[-1]) if photos else 0) != blob,
        ),
        ("a face belongs to no photo", _outside(index.photo, 0, photos)),
        ("its faces are not in the order of their photos", bool(np.any(np.diff(index.photo) < 0))),
        ("a photo lies under no root", _outside(index.root, 0, len(index.meta.roots))),
        ("a photo has no known status", _outside(index.status, 0, len(Status))),
        ("a photo has a negative size", bool(np.any(index.size < 0))),
        ("a photo has a date that is none", not are_dates(index.captured)),
        ("a moment is none", not are_moments(index.moments)),
        ("a box is empty", any(bool(np.any(b[:, 2:] < 1)) for b in (index.boxes, index.erased_boxes))),
        ("a length is not a number", not bool(np.all(np.isfinite(index.norms) & (index.norms >= 0)))),
        ("a path holds a zero byte", bool(np.any(index.paths == 0))),
        ("a path is not Unicode, which this system's are", not _are_of_this_system(index)),
        ("a path is not absolute", not _are_absolute(index, starts)),
    )
    return next((clause for clause, wrong in checks if wrong), "")


def places_of(boxes: NDArray[np.int32], moments: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the places of faces, (n, 4) int32; see `facesearch.faces.place_of`."""
    frame = -moments[:, 2]
    if not (later := frame > 1).any():
        return boxes
    places = np.array(boxes)
    places[later, 1] += frame[later] * np.int32(FRAME_HEIGHT)
    return places


def are_moments(moments: NDArray[np.int32]) -> bool:
    """Return whether each has its best time between its first and its last one, or is that of a frame."""
    start, end, best = moments.T
    timed = (start >= 0) & (start <= best) & (best <= end)
    return bool(np.all(timed | ((start < 0) & (start == best) & (best == end))))


def _rows_with(array: NDArray[np.uint8], digests: Collection[bytes]) -> list[int]:
    """Return the rows of (n, 16) digests that are one of some."""
    if not digests:
        return []
    # Digests are random numbers: few have the same first half.
    beginnings = np.frombuffer(b"".join(digests), np.uint64)[::2]
    alike = np.isin(np.ascontiguousarray(array).view(np.uint64)[:, 0], beginnings)
    return [row for row in np.flatnonzero(alike).tolist() if array[row].tobytes() in digests]


def _is_there(path: str) -> bool:
    """Return whether a file exists; a URL's server is not asked for that."""
    return "://" in path or os.path.lexists(path)


def _are_absolute(index: Index, starts: NDArray[np.int64]) -> bool:
    """Return whether all paths are absolute, or URLs."""
    if not len(starts) or _outside(starts, 0, len(index.paths)):
        return True  # nothing to say, or another clause says it
    others = np.flatnonzero(index.paths[starts] != ord("/"))
    return all(ntpath.isabs(path) or "://" in path for path in map(index.path, others.tolist()))


def _are_of_this_system(index: Index) -> bool:
    if ESCAPES == "surrogateescape":  # a path is any bytes
        return True
    try:
        index.paths.tobytes().decode("utf-8", ESCAPES)
    except UnicodeDecodeError:
        return False
    return True


def _outside(values: NDArray[Any], low: int, high: int) -> bool:
    return bool(len(values)) and not (int(values.min()) >= low and int(values.max()) < high)
