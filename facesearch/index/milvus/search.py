"""The nearest faces of an index in Milvus, without the whole of it; distances are computed here, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import IndexFileError
from facesearch.faces import Box
from facesearch.index.index import Hit, SearchRequest, places_of
from facesearch.index.meta import Meta
from facesearch.index.milvus.face_collection import METRICS, FaceCollection, FaceRows
from facesearch.index.milvus.pending import joined
from facesearch.index.milvus.photo_collection import PhotoCollection, PhotoRow
from facesearch.index.milvus.server import MOST
from facesearch.index.milvus.state import Assembly, State, path_bytes, read_lengths
from facesearch.ranking import SLACK, Metric, distances, nearest, norms_of

# Vectors that one answer of the server may hold.
_BYTES = 48 << 20
# Hits besides those that are wanted: so seldom does a photo with many near faces make a second search.
_SPARE = 12

Vector = NDArray[np.float32]


@dataclass
class _Found:
    """What was found of one query: faces with their exact distances."""

    rows: FaceRows
    distances: NDArray[np.float64]


class MilvusSearch:
    """An index as it is searched.

    Args:
        collection: Its photos.
        state: What it is.
        counts: Of its photos and faces.
        facts: Of its index over the vectors.
    """

    def __init__(
        self, collection: PhotoCollection, state: State, counts: tuple[int, int], facts: Mapping[str, Any]
    ) -> None:
        self._collection = collection
        self._state = state
        self._faces = FaceCollection(collection.server, state.generation, state.meta.dim)
        self._facts = facts
        self._held: Metric = next(
            (metric for metric, name in METRICS.items() if name == facts.get("metric_type")), "cosine"
        )
        self._lengths = read_lengths(collection, state.generation)
        self.meta: Meta = state.meta
        self.photo_count, self.face_count = counts

    def near(self, request: SearchRequest) -> list[list[Hit]]:
        """Return the nearest faces for each query, by distance, then by path, then by face."""
        if request.captured is not None:
            raise IndexFileError(
                "An index in Milvus is not searched by date.", "Copy it to a file with `facesearch copy`."
            )
        own = self._own(request)
        places = len(own) if request.by == "photo" else sum(photo.faces for photo in own)
        found = self._find(request, request.k + places)
        photos, strays = self._photos_of(found)
        if strays:  # faces whose photo is not written yet, or never was: they take no place
            found = self._find(request, request.k + places + strays)
            photos, _ = self._photos_of(found)
        photos |= {photo.path: photo for photo in own}
        assembly = Assembly(self._state, [photos[path] for path in sorted(photos)])
        for one in found:
            assembly.put(one.rows)
        return assembly.index(self._collection.address.name).near(request)

    def sample(self, count: int) -> Vector:
        """Return the vectors of up to `count` faces, those of the photos with the smallest digests."""
        some, seen = [], 0
        for block in self._faces.all():  # by key, which begins with the photo's digest
            some.append(block.vectors)
            seen += len(block.vectors)
            if seen >= count:
                break
        return np.concatenate([*some, np.empty((0, self.meta.dim), np.float32)])[:count]

    def vectors_of(self, digest: bytes) -> dict[Box, Vector]:
        """Return the vectors of the faces of a picture, by their places; empty for one that is not known."""
        photos = self._collection.with_digests(self._state.generation, [digest]) if digest else []
        vectors: dict[Box, Vector] = {}
        for block in self._faces.of({photo.face_set: photo.faces for photo in photos if photo.faces}):
            places = [Box(*corners) for corners in places_of(block.boxes, block.moments).tolist()]
            vectors |= dict(zip(places, block.vectors, strict=True))
        return vectors

    def _photos_of(self, found: Sequence[_Found]) -> tuple[dict[bytes, PhotoRow], int]:
        """Return the photos of faces by path, and how many face sets have none."""
        face_sets = sorted({face_set for one in found for face_set in one.rows.face_set})
        photos = {
            photo.path: photo for photo in self._collection.with_face_sets(self._state.generation, face_sets)
        }
        return photos, len(set(face_sets) - {photo.face_set for photo in photos.values()})

    def _own(self, request: SearchRequest) -> list[PhotoRow]:
        generation = self._state.generation
        paths = {path for paths in request.own for path in paths}
        own = self._collection.with_paths(generation, map(path_bytes, paths)) if paths else []
        if request.unique and own:
            own = self._collection.with_digests(generation, {photo.file.digest for photo in own})
        return own

    def _find(self, request: SearchRequest, want: int) -> list[_Found]:
        if not (self._facts and self.face_count):
            return []
        ranked_exactly = self._facts["index_type"] == "FLAT"
        # By euclidean distance Milvus says nothing of cosines, and by neither of directions from a centre.
        if request.centre is not None or (self._held == "euclidean" and request.metric == "cosine"):
            return self._in_all(request, want, request.queries)
        if request.how == "exact" and not ranked_exactly:
            return self._in_all(request, want, request.queries)
        return self._by_search(request, want, exact=ranked_exactly)

    def _by_search(self, request: SearchRequest, want: int, *, exact: bool) -> list[_Found]:
        """Search, with more hits for those queries that may have nearer faces still."""
        found: dict[int, _Found] = {}
        limit, left = want + _SPARE, list(range(len(request.queries)))
        most = min(MOST, max(limit, _BYTES // (4 * self.meta.dim)))
        while left and limit <= most:
            left = self._search(request, want, limit, left, found)
            limit = limit * 4 if limit == most else min(limit * 4, most)
        if left and exact:
            rest = self._in_all(request, want, request.queries[left])
            found.update(zip(left, rest, strict=True))
        return [found[number] for number in range(len(request.queries))]

    def _search(
        self, request: SearchRequest, want: int, limit: int, asked: Sequence[int], found: dict[int, _Found]
    ) -> list[int]:
        """Search for some queries; give those that may have nearer faces still."""
        left = []
        at_once = max(1, _BYTES // (4 * self.meta.dim * limit))
        for start in range(0, len(asked), at_once):
            some = asked[start : start + at_once]
            answers = self._faces.near(request.queries[list(some)], limit, self._facts)
            for number, (rows, given) in zip(some, answers, strict=True):
                query = request.queries[number]
                ended = len(given) < limit
                if ended:  # what Milvus does not rank may still be wanted
                    rows = joined([rows, self._faces.odd()], self.meta.dim)
                exact = distances(query, rows.vectors, request.metric)
                found[number], farthest = self._nearest(request, want, rows, exact)
                if not ended and self._beyond(float(given[-1]), query, request.metric) <= farthest:
                    left.append(number)
        return left

    def _nearest(
        self, request: SearchRequest, want: int, rows: FaceRows, exact: NDArray[np.float64]
    ) -> tuple[_Found, float]:
        """Return the faces that can count, and how far one may be that still can."""
        order = np.argsort(exact, kind="stable")
        farthest, seen = request.threshold, set()
        for place in order.tolist():
            seen.add(_group(request, rows, place))
            if len(seen) == want:
                farthest = min(farthest, float(exact[place]))
                break
        keep = np.flatnonzero((exact <= farthest) & np.isfinite(exact))
        return _Found(_picked(rows, keep), exact[keep]), farthest

    def _beyond(self, last: float, query: Vector, metric: Metric) -> float:
        """Return how near a face can be at least that is not among the hits, the last of which is so far."""
        if metric == self._held:
            return last - SLACK * max(1.0, last)
        length = float(np.linalg.norm(query.astype(np.float64)))
        # Of all vectors at an angle, the nearest is the one that ends at its foot, if one is so long.
        cosine = min(1.0, 1.0 - last + SLACK)
        other = min(max(length * cosine, self._lengths[0]), self._lengths[1])
        square = length**2 + other**2 - 2.0 * length * other * cosine
        return (1.0 - SLACK) * float(np.sqrt(max(square, 0.0)))

    def _in_all(self, request: SearchRequest, want: int, queries: Vector) -> list[_Found]:
        """Look at every face, in blocks."""
        nothing = joined([], self.meta.dim)
        best = [_Found(nothing, np.empty(0)) for _ in queries]
        for block in self._faces.all():
            names = [_group(request, block, place) for place in range(len(block.face_set))]
            _, groups = np.unique(names, return_inverse=True)
            look = partial(
                nearest,
                block.vectors,
                _finite(norms_of(block.vectors)),
                metric=request.metric,
                centre=request.centre,
                groups=groups.reshape(-1),
            )
            near = [
                # Of faces that are equally far the path decides, which is not known here.
                look(query[None], len(names), threshold=one.distances[-1])[0]
                if len(one.rows) == want
                else one
                for query, one in zip(queries, look(queries, want, threshold=request.threshold), strict=True)
            ]
            here = [_Found(_picked(block, one.rows), one.distances) for one in near]
            best = [self._both(request, want, *pair) for pair in zip(best, here, strict=True)]
        return best

    def _both(self, request: SearchRequest, want: int, one: _Found, other: _Found) -> _Found:
        rows = joined([one.rows, other.rows], self.meta.dim)
        return self._nearest(request, want, rows, np.concatenate([one.distances, other.distances]))[0]


def _group(request: SearchRequest, rows: FaceRows, place: int) -> str:
    """Return what counts once, of what is known without the photos: of one content there may be several."""
    face_set = rows.face_set[place][:32] if request.unique else rows.face_set[place]
    return face_set if request.by == "photo" else f"{face_set}-{rows.number[place]}"


def _picked(rows: FaceRows, which: NDArray[np.int64]) -> FaceRows:
    return FaceRows(
        [rows.face_set[place] for place in which.tolist()],
        rows.number[which],
        rows.boxes[which],
        rows.scores[which],
        rows.landmarks[which],
        rows.moments[which],
        rows.vectors[which],
    )


def _finite(norms: Vector) -> Vector:
    return np.where(np.isfinite(norms), norms, np.float32(0))
