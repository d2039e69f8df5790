"""Requests, read: what each asks for, as typed values, and the bodies that are sent, within bounds.

Whatever cannot be understood, or is not there, raises `Refused`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from facesearch.errors import PeopleError
from facesearch.faces import moment_of
from facesearch.machine import decoders
from facesearch.people.people import People, Person
from facesearch.ranking import Ranking
from facesearch.search import FaceWanted, Question
from facesearch.web.state import ServedLibrary, ServedState, Snapshot

MOST_MATCHES = 1000  # of one question
LARGEST_UPLOAD = 64 << 20  # bytes
LARGEST_FORM = 64 << 10
LARGEST_SELECTION, MOST_SELECTED = 512 << 10, 10_000  # of faces, in a form
DIGITS = 9  # of a number in an address
ALL_UPLOADS = 256 << 20  # at one time
UPLOAD_SECONDS = 30.0

_Value = TypeVar("_Value")


class Refused(Exception):
    """A request that is refused, with the status of the answer and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def library_of(request: Request, state: ServedState) -> ServedLibrary:
    """Return the library that a request is about.

    Raises:
        Refused: No library has this number.
    """
    number = int(request.path_params["library"])
    if not 1 <= number <= len(state.libraries):
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such index.")
    return state.libraries[number - 1]


def photo_of(request: Request, snapshot: Snapshot) -> int:
    """Return the number of the photo that a request is about.

    Raises:
        Refused: It is not in the index.
    """
    photo = snapshot.photo(request.path_params["digest"])
    if photo is None:
        raise Refused(HTTPStatus.NOT_FOUND, "This photo is not in the index now.")
    return photo


def face_of(request: Request, snapshot: Snapshot) -> int:
    """Return the row of the face that a request is about.

    Raises:
        Refused: It is not in the index.
    """
    row = snapshot.face(request.path_params["digest"], int(request.path_params["face"]))
    if row is None:
        raise Refused(HTTPStatus.NOT_FOUND, "This face is not in the index now.")
    return row


def person_of(request: Request, people: People) -> Person:
    """Return the person that a request is about.

    Raises:
        Refused: No person has this number.
    """
    try:
        return people.person(request.path_params["person"])
    except PeopleError as error:
        raise Refused(HTTPStatus.NOT_FOUND, error.message) from error


def page_of(request: Request) -> int:
    """Return which page of several is asked for, from 1; 1 for anything that is not a number."""
    text = request.query_params.get("page", "")
    return max(1, int(text[:9])) if text.isascii() and text.isdigit() else 1


def question_of(values: Mapping[str, str], metric: str) -> Question:
    """Read a question from the parameters of an address.

    Args:
        values: `top`, `metric`, `threshold`, `min_probability`, `min_quality`, `by`, `include_self`,
            `unique`, `expand`, `since`, `until`, `sort`; all optional.
        metric: The distance if none is given.

    Raises:
        Refused: One of them is out of range, or is none.
    """
    if unknown := sorted(values.keys() - _PARAMETERS):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{unknown[0]!r} is none of {', '.join(sorted(_PARAMETERS))}.")
    chosen: dict[str, Any] = {
        "top": _value(values, "top", _whole, lambda number: 1 <= number <= MOST_MATCHES),
        "metric": _value(values, "metric", str, lambda name: name in get_args(Ranking)) or metric,
        "threshold": _value(values, "threshold", _number, lambda number: not math.isnan(number)),
        "min_probability": _value(values, "min_probability", _number, lambda number: 0 <= number < 1),
        "min_quality": _value(values, "min_quality", _number, lambda number: 0 <= number < 1),
        "by": _value(values, "by", str, lambda name: name in ("photo", "face")),
        "include_self": _value(values, "include_self", _flag, lambda _: True),
        "unique": _value(values, "unique", _flag, lambda _: True),
        "expand": _value(values, "expand", _flag, lambda _: True),
        "since": _value(values, "since", moment_of, lambda _: True),
        "until": _value(values, "until", partial(moment_of, last=True), lambda _: True),
        "sort": _value(values, "sort", str, lambda name: name in ("distance", "date")),
    }
    return Question(**{name: value for name, value in chosen.items() if value is not None})


_PARAMETERS = frozenset(
    ["top", "metric", "threshold", "min_probability", "min_quality", "by", "include_self", "unique", "expand",
     "since", "until", "sort", "face", "path"]
)  # fmt: skip


def wanted_face(values: Mapping[str, str]) -> FaceWanted:
    """Read which face of a photo is asked for: "largest", "all" or a number.

    Raises:
        Refused: It is none of these.
    """
    text = values.get("face", "largest")
    if text in ("largest", "all"):
        return "largest" if text == "largest" else "all"
    if not text.isascii() or not text.isdigit() or not (number := int(text[:9])):
        raise Refused(HTTPStatus.BAD_REQUEST, f"face={text!r} is not understood.")
    return number


def client_path(values: Mapping[str, str]) -> str:
    """Read the path that a photo has on the client's side, in base64: it is compared and never opened.

    Raises:
        Refused: It is not base64, or no path.
    """
    try:
        encoded = values.get("path", "").encode("ascii")
        path = os.fsdecode(base64.b64decode(encoded, b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "path is not base64.") from error
    if "\0" in path:
        raise Refused(HTTPStatus.BAD_REQUEST, "path holds a zero byte.")
    return path


class Bodies:
    """Reads what is sent, bounded in size, in time, and in what is held at one time.

    Args:
        all_at_once: The most bytes held at one time.
        seconds: How long sending one body may take.
    """

    def __init__(self, all_at_once: int = ALL_UPLOADS, seconds: float = UPLOAD_SECONDS) -> None:
        self._left = all_at_once
        self._seconds = seconds

    async def process_photo(self, request: Request, work: Callable[[bytes], _Value]) -> _Value:
        """Read a photo, and return what `work` makes of it in a thread.

        As many photos at once as there are cores: other requests need not wait behind all of them.

        Raises:
            Refused: It is too large or too slow, or too much is being sent by others.
        """
        async with self._read(request, LARGEST_UPLOAD) as data:
            return await anyio.to_thread.run_sync(work, data, limiter=self._at_work)

    async def form(self, request: Request) -> dict[str, str]:
        """Read the fields of a form; of a field that is sent twice, the first.

        Raises:
            Refused: It is not a form, too large, or too slow.
        """
        fields = await self._fields(request, LARGEST_FORM, 16)
        return {name: values[0] for name, values in fields.items()}

    async def selection(self, request: Request) -> dict[str, list[str]]:
        """Read a form in which many things are selected: all values of each field.

        Raises:
            Refused: It is not a form, too large, or too slow.
        """
        return await self._fields(request, LARGEST_SELECTION, MOST_SELECTED)

    async def _fields(self, request: Request, limit: int, most: int) -> dict[str, list[str]]:
        async with self._read(request, limit) as data:
            try:
                return parse_qs(data.decode("utf-8"), max_num_fields=most)
            except ValueError as error:
                raise Refused(HTTPStatus.BAD_REQUEST, "This form is not understood.") from error

    async def json_object(self, request: Request) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            Refused: It is not a JSON object, too large, or too slow.
        """
        async with self._read(request, LARGEST_FORM) as data:
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                value = None
        if not isinstance(value, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "Send a JSON object.")
        return value

    @asynccontextmanager
    async def _read(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Read a body, which counts as held until the context ends."""
        parts: list[bytes] = []
        taken, held = 0, 0
        full = False
        try:
            _check_length(request.headers.get("content-length", "0"), limit)
            with anyio.fail_after(self._seconds):
                async for part in request.stream():
                    taken += len(part)
                    _check_length(str(taken), limit)
                    full = full or len(part) > self._left
                    if full:  # read to the end and kept nothing of, or the client would not read the answer
                        self._left += held
                        held = 0
                        parts.clear()
                        continue
                    self._left -= len(part)
                    held += len(part)
                    parts.append(part)
            if full:
                sentence = "Too much is being sent right now: try again later."
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
            yield b"".join(parts)
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "The request was sent too slowly.") from error
        except ClientDisconnect as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "The request was not sent in full.") from error
        finally:
            self._left += held

    @cached_property
    def _at_work(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(decoders())


def _value(
    values: Mapping[str, str], name: str, kind: Callable[[str], _Value], good: Callable[[_Value], bool]
) -> _Value | None:
    """Read one parameter; None where it is not given."""
    if name not in values:
        return None
    try:
        value = kind(values[name])
    except ValueError:
        value = None
    if value is None or not good(value):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name}={values[name]!r} is not understood.")
    return value


def _whole(text: str) -> int:
    return int(_plain(text))


def _number(text: str) -> float:
    return float(_plain(text))


def _plain(text: str) -> str:
    """Refuse what only Python reads as a number: underscores, and digits of any script."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return text


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def _check_length(length: str, limit: int) -> None:
    if not length.isascii() or not length.isdigit() or int(length[:20]) > limit:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {limit:,} bytes are accepted.")
