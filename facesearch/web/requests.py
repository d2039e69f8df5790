"""What the pages and the API share: the libraries, what was uploaded, and how a request is understood."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from facesearch.errors import FacesearchError, NoFace, PeopleError, UnreadablePhoto
from facesearch.faces import PhotoFaces, Status
from facesearch.people.people import People, Person
from facesearch.photos.read import content_of
from facesearch.search import FaceWanted, Question
from facesearch.web.guard import LARGEST_UPLOAD, Bodies, Refused
from facesearch.web.state import ServedLibrary, Snapshot, Uploads

MOST = 1000  # matches of one question

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ServedState:
    """What is served, and what is at hand for it.

    Attributes:
        libraries: The libraries, counted from 1 in addresses.
        root: What all addresses begin with: a slash and the token.
        uploads: Photos that were brought.
        bodies: Reads what is sent.
    """

    libraries: Sequence[ServedLibrary]
    root: str
    uploads: Uploads = field(default_factory=Uploads)
    bodies: Bodies = field(default_factory=Bodies)

    def served(self, request: Request) -> ServedLibrary:
        """Return the library that a request is about.

        Raises:
            Refused: There is none of this number.
        """
        number = int(request.path_params["served"])
        if not 1 <= number <= len(self.libraries):
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such index.")
        return self.libraries[number - 1]

    def has(self, number: int) -> bool:
        """Return whether there is a library of this number, and it can be used."""
        try:
            return 1 <= number <= len(self.libraries) and self.libraries[number - 1].now() is not None
        except FacesearchError:
            return False

    def face(self, request: Request, snapshot: Snapshot) -> int:
        """Return the face that a request is about.

        Raises:
            Refused: The index does not hold it.
        """
        row = snapshot.face(request.path_params["digest"], int(request.path_params["face"]))
        if row is None:
            raise Refused(HTTPStatus.NOT_FOUND, "The index holds no such face now.")
        return row

    def person(self, request: Request, people: People) -> Person:
        """Return the person that a request is about.

        Raises:
            Refused: There is nobody of this number.
        """
        try:
            return people.person(request.path_params["person"])
        except PeopleError as error:
            raise Refused(HTTPStatus.NOT_FOUND, error.message) from error

    async def with_photo(self, request: Request, work: Callable[[bytes], Response]) -> Response:
        """Read a photo that is sent, and work on it in a thread.

        As many at once as there are cores: what others ask for meanwhile need not wait behind all of them.
        """
        async with self.bodies.read(request, LARGEST_UPLOAD) as data:
            return await anyio.to_thread.run_sync(work, data, limiter=self._at_work)

    @cached_property
    def _at_work(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(os.cpu_count() or 1)

    def look_at(self, served: ServedLibrary, data: bytes, name: str, face: FaceWanted = "all") -> PhotoFaces:
        """Find the faces of a photo that was sent, those that are meant.

        Raises:
            UnreadablePhoto: It is no picture.
            NoFace: There is none in it.
        """
        found = served.look_at(content_of(data), name, face)
        if found.status is Status.UNREADABLE:
            raise UnreadablePhoto(f"This is no photo that can be read. {found.reason}")
        if not found.faces:
            number = f" number {face}" if isinstance(face, int) else ""
            raise NoFace(f"No face{number} was found in it.", "Try a photo that shows it larger or upright.")
        return found


def question_of(values: Mapping[str, str], metric: str) -> Question:
    """Read a question from an address.

    Args:
        values: `top`, `metric`, `threshold`, `min_probability`, `by`, `include_self`, `unique`; all optional.
        metric: The model's.

    Raises:
        Refused: One of them is out of range.
    """
    chosen: dict[str, Any] = {
        "top": _read(values, "top", int, lambda number: 1 <= number <= MOST),
        "metric": _read(values, "metric", str, lambda name: name in ("cosine", "euclidean")) or metric,
        "threshold": _read(values, "threshold", float, lambda number: not math.isnan(number)),
        "min_probability": _read(values, "min_probability", float, lambda number: 0 <= number < 1),
        "by": _read(values, "by", str, lambda name: name in ("photo", "face")),
        "include_self": _read(values, "include_self", _flag, lambda _: True),
        "unique": _read(values, "unique", _flag, lambda _: True),
    }
    return Question(**{name: value for name, value in chosen.items() if value is not None})


def _read(
    values: Mapping[str, str], name: str, kind: Callable[[str], _Value], good: Callable[[_Value], bool]
) -> _Value | None:
    if name not in values:
        return None
    try:
        value = kind(values[name])
    except ValueError:
        value = None
    if value is None or not good(value):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name}={values[name]!r} is not understood.")
    return value


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def whole_number(text: str, least: int = 1) -> int:
    """Read a number from an address or a form; what is none counts as the least one."""
    return max(least, int(text[:9])) if text.isascii() and text.isdigit() else least


def status_of(error: FacesearchError) -> HTTPStatus:
    """Return the status under which an error is answered."""
    return (
        HTTPStatus.UNPROCESSABLE_ENTITY
        if isinstance(error, (NoFace, UnreadablePhoto))
        else HTTPStatus.CONFLICT
    )
