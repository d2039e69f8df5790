"""The collection that holds an index' photos, and its documents: what made it, who writes it, its people.

An index that is rebuilt is built as the next generation beside the present one; the document `current`
says which one is read. A photo's row is what makes it known: its faces are written before it, and removed
after it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from facesearch.errors import IndexBroken
from facesearch.faces import NO_DIGEST, NOT_ASKED, FileState, Status
from facesearch.index.milvus.address import Address
from facesearch.index.milvus.server import MOST, Fields, Row, Server, batches, quoted

DESCRIPTION = "facesearch index 1"
FIELDS: Fields = {
    "id": ("key", 200),
    "part": ("text", 64),
    # A document's content; or a photo's path in base64, and what indexes of the first format did not have:
    # `file_digest`, `ctime_ns` and `captured`.
    "text": ("text", 65_535),
    "size": ("number", 0),
    "mtime_ns": ("number", 0),
    "digest": ("text", 32),
    "status": ("number", 0),
    "hold": ("text", 80),
    "faces": ("number", 0),
    "nothing": ("vector", 2),  # a collection has to have one
}
_INDEX = {"index_type": "FLAT", "metric_type": "L2"}
_PHOTO = ("text", "size", "mtime_ns", "digest", "status", "hold", "faces")
_CHUNK = 60_000


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo as it is stored.

    Attributes:
        path: The filesystem's bytes.
        file: What is known of the file.
        status: Whether faces were found.
        face_set: The name of the set of its faces; photos with the same content share it.
        faces: The number of faces.
    """

    path: bytes
    file: FileState
    status: Status
    face_set: str
    faces: int


class PhotoCollection:
    """The photos and documents of an index.

    Args:
        server: Where it is.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.address.collection

    @property
    def address(self) -> Address:
        """Where it is."""
        return self.server.address

    def there(self) -> bool:
        """Return whether there is one, loaded.

        Raises:
            IndexBroken: The collection is not one of ours.
        """
        found = self.server.description(self.name)
        if found is None:
            return False
        if found != (DESCRIPTION, FIELDS):
            raise IndexBroken(
                f"The collection {self.name!r} at {self.address.server} is not an index of this facesearch.",
                "It was left as it is. Name another COLLECTION.",
            )
        return True

    def make(self) -> None:
        """Make one where there is none."""
        if not self.there():
            self.server.create(self.name, DESCRIPTION, FIELDS, _INDEX)

    def settle(self) -> None:
        """Wait until what was written before can be read."""
        self.server.settle(self.name)

    # Documents.

    def read(self, name: str) -> bytes | None:
        """Return a document; None where there is none."""
        head = self.head(name)
        if not head:
            return None
        about = json.loads(head)
        if "data" in about:
            return base64.b64decode(about["data"])
        keys = _chunks(name, about)
        rows = {row["id"]: row["text"] for row in self.server.get(self.name, keys, ["text"])}
        data = base64.b64decode("".join(rows.get(key, "") for key in keys))
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise IndexBroken(
                f"In {self.address.name!r} {name!r} is not whole.",
                "Run this again; it may just be being written.",
            )
        return data

    def head(self, name: str) -> str:
        """Return what changes when a document does; empty where there is none."""
        rows = self.server.get(self.name, [f"d/{name}"], ["text"])
        return str(rows[0]["text"]) if rows else ""

    def write(self, name: str, data: bytes) -> None:
        """Write a document; readers see the old one or the new one, whole."""
        before = self.head(name)
        text, version = base64.b64encode(data).decode(), secrets.token_hex(8)
        about: dict[str, Any] = {"version": version}
        if len(text) <= _CHUNK:
            about["data"] = text
        else:
            pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
            about.update(chunks=len(pieces), sha256=hashlib.sha256(data).hexdigest())
            keys = _chunks(name, about)
            for piece in batches([_document(*pair) for pair in zip(keys, pieces, strict=True)], 50):
                self.server.upsert(self.name, piece)
        self.server.upsert(self.name, [_document(f"d/{name}", json.dumps(about))])
        if before:
            self.server.delete(self.name, _chunks(name, json.loads(before)))

    def erase(self, name: str) -> None:
        """Remove a document."""
        before = self.head(name)
        if before:
            self.server.delete(self.name, [f"d/{name}", *_chunks(name, json.loads(before))])

    # Photos.

    def photos(self, generation: int) -> list[PhotoRow]:
        """Return all photos of a generation, in the order of their paths."""
        rows = self.server.where(self.name, f'part == "{_part(generation)}"', _PHOTO)
        return sorted(map(_photo, rows), key=lambda photo: photo.path)

    def with_paths(self, generation: int, paths: Iterable[bytes]) -> list[PhotoRow]:
        """Return the photos of some paths."""
        return list(
            map(_photo, self.server.get(self.name, [_key(generation, path) for path in paths], _PHOTO))
        )

    def with_face_sets(self, generation: int, face_sets: Sequence[str]) -> list[PhotoRow]:
        """Return the photos with some face sets."""
        return list(self._among(generation, "hold", face_sets))

    def with_digests(self, generation: int, digests: Iterable[bytes]) -> list[PhotoRow]:
        """Return the photos of some contents."""
        return list(self._among(generation, "digest", [digest.hex() for digest in digests]))

    def _among(self, generation: int, field: str, values: Sequence[str]) -> Iterator[PhotoRow]:
        for some in batches(values, 500):
            condition = f'part == "{_part(generation)}" and {field} in {quoted(some)}'
            yield from map(_photo, self.server.where(self.name, condition, _PHOTO))

    def count(self, generation: int) -> tuple[int, int]:
        """Return how many photos and faces a generation has."""
        rows = self.server.where(self.name, f'part == "{_part(generation)}"', ["faces"])
        faces = [int(row["faces"]) for row in rows]
        return len(faces), sum(faces)

    def put(self, generation: int, photos: Sequence[PhotoRow]) -> None:
        """Write photos, each in place of one of the same path."""
        rows = [
            {
                "id": _key(generation, photo.path),
                "part": _part(generation),
                "text": _text(photo),
                "size": photo.file.size,
                "mtime_ns": photo.file.mtime_ns,
                "digest": (photo.file.digest or NO_DIGEST).hex(),
                "status": int(photo.status),
                "hold": photo.face_set,
                "faces": photo.faces,
                "nothing": [0.0, 0.0],
            }
            for photo in photos
        ]
        for some in batches(rows, 2000):
            self.server.upsert(self.name, some)

    def drop(self, generation: int, paths: Iterable[bytes]) -> None:
        """Remove photos."""
        self.server.delete(self.name, [_key(generation, path) for path in paths])

    def discard(self, generation: int) -> None:
        """Remove all photos of a generation."""
        rows = self.server.where(self.name, f'part == "{_part(generation)}"', [], page=MOST)
        self.server.delete(self.name, [str(row["id"]) for row in rows])


def _text(photo: PhotoRow) -> str:
    path, file = base64.b64encode(photo.path).decode(), photo.file
    return f"{path} {file.file_digest.hex() or '-'} {file.ctime_ns} {file.captured}"


def _photo(row: Row) -> PhotoRow:
    path, *more = str(row["text"]).split(" ")
    file_digest, ctime_ns, captured, *_ = [*more, *("-", "-1", str(NOT_ASKED))[len(more) :]]
    digest = bytes.fromhex(row["digest"])
    return PhotoRow(
        base64.b64decode(path),
        FileState(
            int(row["size"]),
            int(row["mtime_ns"]),
            int(ctime_ns),
            digest if any(digest) else b"",
            b"" if file_digest == "-" else bytes.fromhex(file_digest),
            int(captured),
        ),
        Status(int(row["status"])),
        str(row["hold"]),
        int(row["faces"]),
    )


def _key(generation: int, path: bytes) -> str:
    return f"{generation}/{hashlib.blake2b(path, digest_size=16).hexdigest()}"


def _part(generation: int) -> str:
    return f"photos/{generation}"


def _chunks(name: str, about: dict[str, Any]) -> list[str]:
    return [f"d/{name}/{about['version']}/{number}" for number in range(about.get("chunks", 0))]


def _document(key: str, text: str) -> Row:
    numbers = dict.fromkeys(("size", "mtime_ns", "status", "faces"), 0)
    texts = {"id": key, "part": "documents", "text": text, "digest": "", "hold": ""}
    return {**texts, **numbers, "nothing": [0.0, 0.0]}
