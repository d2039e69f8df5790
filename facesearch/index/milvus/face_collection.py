"""The collection that holds an index' faces, a row each."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import NO_MOMENT
from facesearch.index.index import LANDMARKS
from facesearch.index.milvus.photo_collection import DESCRIPTION
from facesearch.index.milvus.server import Fields, Row, Server, batches, quoted
from facesearch.ranking import Metric, norms_of

METRICS: Mapping[Metric, str] = {"cosine": "COSINE", "euclidean": "L2"}

# Up to so many faces every vector is looked at; beyond, a graph finds the way; beyond that, vectors would not
# fit into a server's memory and are kept there at a quarter of their size.
EXACT_UP_TO = 50_000
WHOLE_UP_TO = 2_000_000

_FACE = ("hold", "number", "x", "y", "width", "height", "detail", "raw", "vector")
# Milvus cannot rank shorter or longer vectors: their squared lengths underflow or overflow in float32.
_SHORTEST, _LONGEST = 1e-15, 1e15
# The bytes of a score and landmarks, and of a moment that is none.
_DETAIL, _NO_MOMENT = 4 * (1 + 2 * LANDMARKS), np.array(NO_MOMENT, "<i4").tobytes()
# Bytes of vectors in one request or answer: the server takes 64 MB.
_BYTES = 8 << 20


@dataclass(frozen=True)
class FaceRows:
    """Some faces.

    Attributes:
        face_set: (n,) the name of the set of faces that each belongs to, those of one photo and its copies.
        number: (n,) int64, from 0 within its set.
        boxes: (n, 4) int32.
        scores: (n,) float32.
        landmarks: (n, 5, 2) float32.
        moments: (n, 3) int32, as an `Index` has them.
        vectors: (n, dim) float32.
    """

    face_set: Sequence[str]
    number: NDArray[np.int64]
    boxes: NDArray[np.int32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    moments: NDArray[np.int32]
    vectors: NDArray[np.float32]


class FaceCollection:
    """The faces of one generation of an index.

    Args:
        server: Where they are.
        generation: Which.
        dim: Numbers in a vector.
    """

    def __init__(self, server: Server, generation: int, dim: int) -> None:
        self.server = server
        self.dim = dim
        self.name = collection_name(server, generation)
        self._page = max(1, min(2000, _BYTES // (4 * dim)))

    def make(self, metric: Metric) -> None:
        """Make the collection where there is none."""
        if self.server.description(self.name) is None:
            fields: Fields = {
                "id": ("key", 100),
                "hold": ("text", 80),
                "number": ("number", 0),
                **{name: ("number", 0) for name in ("x", "y", "width", "height")},
                "detail": ("text", 100),  # score and landmarks to the bit, and in a clip the moment
                "odd": ("number", 0),  # 1 for a vector that Milvus does not rank
                "raw": ("text", 65_535),  # a vector that Milvus does not take
                "vector": ("vector", self.dim),
            }
            index = {"index_type": "FLAT", "metric_type": METRICS[metric], "params": {}}
            self.server.create(self.name, DESCRIPTION, fields, index)

    def facts(self) -> dict[str, Any]:
        """Describe how they are searched."""
        return self.server.index_of(self.name, "vector")

    def suit(self, count: int) -> None:
        """Change the index over the vectors, if necessary, to the one for so many faces."""
        wanted = index_for(count)
        held = self.facts()
        if held.get("index_type") == wanted["index_type"]:
            return
        metric = held.get("metric_type", "COSINE")
        if held:
            self.server.unindex(self.name, "vector")
        self.server.index(self.name, "vector", {**wanted, "metric_type": metric})

    def put(self, rows: FaceRows) -> None:
        """Write faces, each in place of one of the same key."""
        for some in batches(range(len(rows.face_set)), self._page):
            self.server.upsert(self.name, [_row(rows, number) for number in some])

    def all(self) -> Iterator[FaceRows]:
        """Return all faces, by face set and number, in blocks."""
        return self._blocks(self.server.where(self.name, 'hold != ""', _FACE, page=self._page))

    def of(self, counts: Mapping[str, int]) -> Iterator[FaceRows]:
        """Yield the faces of some face sets, whose counts are given, in blocks."""
        keys = [key(face_set, number) for face_set, count in counts.items() for number in range(count)]
        for some in batches(keys, self._page):
            yield from self._blocks(iter(self.server.get(self.name, some, _FACE)))

    def odd(self) -> FaceRows:
        """Return the faces that Milvus does not rank."""
        return self._made(list(self.server.where(self.name, "odd == 1", _FACE, page=self._page)))

    def near(
        self, queries: NDArray[np.float32], limit: int, facts: Mapping[str, Any]
    ) -> list[tuple[FaceRows, NDArray[np.float64]]]:
        """Return the faces nearest to each query, and their distances in Milvus; smaller is nearer."""
        params = {"metric_type": facts["metric_type"], "params": search_params(facts, limit)}
        found = []
        for hits in self.server.search(self.name, queries, limit, params, _FACE):
            given = np.array([hit["distance"] for hit in hits], np.float64)
            cosine = facts["metric_type"] == "COSINE"
            found.append((self._made(hits), 1.0 - given if cosine else np.sqrt(np.maximum(given, 0.0))))
        return found

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Yield the face set and number of every face."""
        for row in self.server.where(self.name, 'hold != ""', ["hold", "number"]):
            yield str(row["hold"]), int(row["number"])

    def keys_of(self, face_sets: Sequence[str]) -> list[str]:
        """Return the keys of all faces that are kept under some names."""
        found: list[str] = []
        for some in batches(face_sets, 500):
            rows = self.server.where(self.name, f"hold in {quoted(some)}", [])
            found += [str(row["id"]) for row in rows]
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Remove faces by key."""
        self.server.delete(self.name, keys)

    def _blocks(self, rows: Iterator[Row]) -> Iterator[FaceRows]:
        block: list[Row] = []
        for row in rows:
            block.append(row)
            if len(block) == self._page:
                yield self._made(block)
                block = []
        if block:
            yield self._made(block)

    def _made(self, rows: Sequence[Row]) -> FaceRows:
        details = [base64.b64decode(row["detail"]) for row in rows]
        numbers = np.frombuffer(b"".join(one[:_DETAIL] for one in details), "<f4")
        numbers = numbers.reshape(len(rows), 1 + 2 * LANDMARKS)
        moments = b"".join(one[_DETAIL:] or _NO_MOMENT for one in details)
        boxes = [[row[name] for name in ("x", "y", "width", "height")] for row in rows]
        vectors = np.empty((len(rows), self.dim), np.float32)
        for at, row in enumerate(rows):
            vectors[at] = np.frombuffer(base64.b64decode(row["raw"]), "<f4") if row["raw"] else row["vector"]
        return FaceRows(
            [str(row["hold"]) for row in rows],
            np.array([row["number"] for row in rows], np.int64),
            np.array(boxes, np.int32).reshape(-1, 4),
            numbers[:, 0].copy(),
            numbers[:, 1:].reshape(-1, LANDMARKS, 2).copy(),
            np.frombuffer(moments, "<i4").reshape(-1, 3).copy(),
            vectors,
        )


def collection_name(server: Server, generation: int) -> str:
    """Name the collection of a generation's faces."""
    return f"{server.address.collection}_faces_{generation}"


def key(face_set: str, number: int) -> str:
    """Return a face's key: with the same face set and number it is the same face."""
    return f"{face_set}-{number:06d}"


def index_for(count: int) -> dict[str, Any]:
    """Choose the index over so many vectors."""
    if count <= EXACT_UP_TO:
        return {"index_type": "FLAT", "params": {}}
    if count <= WHOLE_UP_TO:
        return {"index_type": "HNSW", "params": {"M": 32, "efConstruction": 320}}
    return {"index_type": "IVF_SQ8", "params": {"nlist": min(65_536, round(4 * count**0.5))}}


def search_params(facts: Mapping[str, Any], limit: int) -> dict[str, int]:
    """Choose how far a search goes."""
    if facts["index_type"] == "HNSW":
        return {"ef": max(512, 4 * limit)}
    if facts["index_type"] == "IVF_SQ8":
        # Faces lie in no clusters: of the ten nearest, a quarter of the lists holds 97 %, half of them 99.
        return {"nprobe": max(16, int(facts["nlist"]) // 2)}
    return {}


def _row(rows: FaceRows, at: int) -> Row:
    vector = rows.vectors[at]
    whole = bool(np.isfinite(vector).all())
    numbers = np.concatenate([rows.scores[at : at + 1], rows.landmarks[at].reshape(-1)])
    moment = rows.moments[at].astype("<i4").tobytes()
    detail = numbers.astype("<f4").tobytes() + (b"" if moment == _NO_MOMENT else moment)
    x, y, width, height = rows.boxes[at].tolist()
    return {
        "id": key(rows.face_set[at], int(rows.number[at])),
        "hold": rows.face_set[at],
        "number": int(rows.number[at]),
        **{"x": x, "y": y, "width": width, "height": height},
        "detail": base64.b64encode(detail).decode(),
        "odd": int(not _SHORTEST < float(norms_of(vector[None])[0]) < _LONGEST),
        "raw": "" if whole else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        "vector": vector if whole else np.zeros_like(vector),
    }
