"""The client of `query --server`: a running `facesearch serve` answers, and no model is loaded here."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

from facesearch.answer_json import answer_from_json
from facesearch.errors import FacesearchError, NoFace, PhotoError, UnreadablePhoto
from facesearch.faces import Answer, Answers
from facesearch.files import open_without_waiting
from facesearch.photos.urls import absolute_path, is_photo_url, read_url

# A server that is grouping people, or reads a large index for the first time, may take as long.
_SECONDS = 60.0
_ERRORS: dict[str, type[PhotoError]] = {"no-face": NoFace, "unreadable": UnreadablePhoto}

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class ServerQuery:
    """A question to a server; None leaves a value to the server's default.

    Attributes:
        index: The file or URL of the index; None for the only one of the model.
        model: The name of the index's model.
        top: Matches for each reference.
        metric: The distance.
        threshold: The largest distance of a match.
        min_probability: The smallest probability of a match.
        min_quality: The smallest quality of a match.
        by: "photo" or "face".
        include_self: Whether a reference's own file may be a match.
        unique: Whether copies of one photo are listed once.
        expand: Whether the surest matches become references too.
        since: When the photos were taken at the earliest, by the camera's clock.
        until: Before when they were taken.
        sort: "distance" or "date".
        face: Which face of each reference: a number, "largest" or "all".
    """

    index: str | None = None
    model: str | None = None
    top: int | None = None
    metric: str | None = None
    threshold: float | None = None
    min_probability: float | None = None
    min_quality: float | None = None
    by: str | None = None
    include_self: bool = False
    unique: bool = False
    expand: bool = False
    since: datetime | None = None
    until: datetime | None = None
    sort: str | None = None
    face: int | str = "largest"


@dataclass(frozen=True, kw_only=True)
class ServedIndex:
    """An index as its server describes it.

    Attributes:
        number: Its number in addresses.
        path: Its file or URL.
        model: The name of its model.
        metric: The model's distance.
        identity: Whether the model tells persons apart.
        photos: Number of photos.
        faces: Number of faces.
    """

    number: int
    path: str
    model: str
    metric: str
    identity: bool
    photos: int
    faces: int


def ask_server(address: str, references: Sequence[str], query: ServerQuery) -> tuple[Answers, ServedIndex]:
    """Ask a server for the faces nearest to those of some photos.

    Args:
        address: The address that `facesearch serve` printed.
        references: Paths or URLs; the photos are read here and sent.
        query: What is asked about each of them.

    Returns:
        The answers, and the index that was searched.

    Raises:
        FacesearchError: The server does not answer, or not as expected; or it serves no such index.
    """
    with closing(_Server(address)) as server:
        index = _select(server.indexes(), query)
        found: list[Answer] = []
        problems: list[tuple[str, PhotoError]] = []
        for path in map(absolute_path, references):
            try:
                found.extend(server.query(index, path, query))
            except PhotoError as error:
                problems.append((path, error))
    return Answers(tuple(found), tuple(problems)), index


class _Server:
    """A connection that stays open for all questions."""

    def __init__(self, address: str) -> None:
        self._address = _split(address)
        assert self._address.hostname is not None
        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        self._connection = kind(self._address.hostname, self._address.port, timeout=_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def indexes(self) -> list[ServedIndex]:
        """List the indexes that are served."""
        return self._ask("GET", "api", lambda value: [_index(one) for one in value["indexes"]])

    def query(self, index: ServedIndex, path: str, query: ServerQuery) -> list[Answer]:
        """Ask for one photo.

        Raises:
            PhotoError: The photo cannot be read, or shows no such face.
        """
        photo, values = _photo(path), urlencode(_parameters(path, query))

        def answers(value: dict[str, Any]) -> list[Answer]:
            return [answer_from_json(one) for one in value["results"]]

        return self._ask("POST", f"{index.number}/api/query?{values}", answers, photo, path)

    def _ask(
        self,
        method: str,
        place: str,
        read: Callable[[dict[str, Any]], _Value],
        body: bytes | None = None,
        path: str = "",
    ) -> _Value:
        """Send a request; return what `read` makes of the answer's JSON object."""
        try:
            self._connection.request(method, self._address.path + place, body)
            return read(_json(self._connection.getresponse(), path))
        except (OSError, HTTPException) as error:
            raise FacesearchError(
                f"The server at {self._address.netloc} does not answer ({error}).",
                "Start it with `facesearch serve`, or leave out --server.",
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise FacesearchError(
                f"What answers at {self._address.netloc} is not facesearch of this version.",
                "Give the address that `facesearch serve` printed.",
            ) from error


def _split(address: str) -> SplitResult:
    """Return the parts of a server's address."""
    try:
        parts = urlsplit(address if address.endswith("/") else address + "/")
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return parts
    except ValueError:
        pass
    raise FacesearchError(
        f"{address!r} is not the address of a server.", "Give the one that `facesearch serve` printed."
    )


def _index(value: dict[str, Any]) -> ServedIndex:
    return ServedIndex(
        number=int(value["number"]),
        path=str(value["index"]),
        model=str(value["model"]),
        metric=str(value["metric"]),
        identity=bool(value["knows_persons"]),
        photos=int(value["photos"]),
        faces=int(value["faces"]),
    )


def _select(indexes: Sequence[ServedIndex], query: ServerQuery) -> ServedIndex:
    """Return the index that is asked for: by its file, its model, or the only one."""
    if query.index is not None:
        given = {query.index, os.path.realpath(query.index)}
        indexes = [one for one in indexes if given & {one.path, os.path.realpath(one.path)}]
    if query.model is not None:
        indexes = [one for one in indexes if one.model == query.model]
    if len(indexes) != 1:
        problem = "The server serves several indexes" if indexes else "The server does not serve this index"
        raise FacesearchError(f"{problem}.", "Choose one with --index or --model.")
    return indexes[0]


def _parameters(path: str, query: ServerQuery) -> dict[str, str]:
    """Return a query as the API's parameters."""
    names = ("top", "metric", "threshold", "min_probability", "min_quality", "by", "since", "until", "sort")
    given = {name: getattr(query, name) for name in names}
    values = {name: _text(value) for name, value in given.items() if value is not None}
    values |= {name: "1" for name in ("include_self", "unique", "expand") if getattr(query, name)}
    values["face"] = str(query.face)
    values["path"] = base64.urlsafe_b64encode(os.fsencode(path)).decode("ascii")
    return values


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _photo(path: str) -> bytes:
    """Read a photo that is sent."""
    try:
        if is_photo_url(path):
            return read_url(path)[0]
        with open(path, "rb", opener=open_without_waiting) as file:
            return file.read()
    except OSError as error:
        hint = "Name the photos in it." if os.path.isdir(path) else ""
        raise UnreadablePhoto(f"{path}: It cannot be read ({error.strerror or error}).", hint) from error


def _json(response: HTTPResponse, path: str) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Args:
        response: The answer.
        path: The photo that was sent, for messages; empty where none was.

    Raises:
        PhotoError: There is something wrong with the photo that was sent.
        FacesearchError: The server refuses for another reason.
        KeyError, TypeError, ValueError: It is not an answer of this version's API.
    """
    body = response.read()
    if response.status >= HTTPStatus.BAD_REQUEST and "json" not in response.headers.get("content-type", ""):
        _refuse_for_proxy(response.status, path)
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError(value)
    if response.status < HTTPStatus.BAD_REQUEST:
        return value
    sentence, hint, kind = str(value["error"]), str(value["hint"]), str(value["kind"])
    raise _ERRORS.get(kind, FacesearchError)(f"{path}: {sentence}" if path else sentence, hint)


def _refuse_for_proxy(status: int, path: str) -> None:
    """Raise what the answer of a proxy means, where it is one that proxies give by themselves.

    Raises:
        PhotoError: The photo that was sent is too large for the proxy.
        OSError: The proxy does not reach the server.
    """
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and path:
        raise UnreadablePhoto(
            f"{path}: It is too large for the proxy in front of the server.",
            "Let the proxy accept 64 MiB; in nginx: client_max_body_size 64m.",
        )
    if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
        raise OSError(f"its proxy says {status}")
