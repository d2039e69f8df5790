"""`query --server`: a running `facesearch serve` answers, and no model has to be loaded here."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from facesearch.answer_json import answer_from_json
from facesearch.errors import FacesearchError, NoFace, PhotoError, UnreadablePhoto
from facesearch.faces import Answer, Answers
from facesearch.photos.find import open_without_waiting
from facesearch.photos.urls import absolute_path, is_url, read_url

# A server that is grouping people, or reads a large index for the first time, may take as long.
_SECONDS = 60.0
_NO_FACE, _OTHER = 422, 400


@dataclass(frozen=True, kw_only=True)
class ServerQuery:
    """What is asked of a server; None is left to its defaults.

    Attributes:
        index: The file or URL of the index; None for the only one of the model.
        model: The model's name.
        top: Matches for each reference.
        metric: The distance.
        threshold: The largest distance of a match.
        min_probability: The smallest probability of a match.
        by: "photo" or "face".
        include_self: Whether a reference's own file may be a match.
        unique: Whether copies of one photo are listed once.
        face: Which face of each reference: a number, "largest" or "all".
    """

    index: str | None = None
    model: str | None = None
    top: int | None = None
    metric: str | None = None
    threshold: float | None = None
    min_probability: float | None = None
    by: str | None = None
    include_self: bool = False
    unique: bool = False
    face: int | str = "largest"


def ask_server(address: str, references: Sequence[str], query: ServerQuery) -> tuple[Answers, dict[str, Any]]:
    """Ask a server for the faces near to those of some photos.

    Args:
        address: As `facesearch serve` printed it.
        references: Paths; the photos are read here and sent.
        query: What is asked about each of them.

    Returns:
        The answers, and what the server says of its index.

    Raises:
        FacesearchError: The server does not answer, or not as it has to; or it has no such index.
    """
    server = _Server(address)
    with closing(server):
        index = server.index(query.index, query.model)
        found: list[Answer] = []
        problems: list[tuple[str, PhotoError]] = []
        for path in map(absolute_path, references):
            try:
                found.extend(server.query(index["number"], path, query))
            except PhotoError as error:
                problems.append((path, error))
    return Answers(tuple(found), tuple(problems)), index


class _Server:
    """A connection that stays open for all questions."""

    def __init__(self, address: str) -> None:
        self._address = _split(address)
        assert self._address.hostname is not None
        self._connection = HTTPConnection(self._address.hostname, self._address.port or 80, timeout=_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def index(self, file: str | None, model: str | None) -> dict[str, Any]:
        """Return the index that is meant: by its file, its model, or the only one."""
        indexes: list[dict[str, Any]] = self._ask("GET", "api")["indexes"]
        if file is not None:
            real = os.path.realpath(file)
            indexes = [
                one for one in indexes if one["index"] == file or os.path.realpath(one["index"]) == real
            ]
        if model is not None:
            indexes = [one for one in indexes if one["model"] == model]
        if len(indexes) != 1:
            there = "Several indexes are" if indexes else "No such index is"
            raise FacesearchError(f"{there} served there.", "Name the one that is meant with --index.")
        return indexes[0]

    def query(self, number: int, path: str, query: ServerQuery) -> Iterator[Answer]:
        """Ask for one photo."""
        answer = self._ask(
            "POST", f"{number}/api/query?{urlencode(_values(path, query))}", _photo(path), path
        )
        for one in answer["results"]:
            yield answer_from_json(one)

    def _ask(self, method: str, place: str, body: bytes | None = None, path: str = "") -> dict[str, Any]:
        try:
            self._connection.request(method, self._address.path + place, body)
            return _read(self._connection.getresponse(), path)
        except (OSError, HTTPException) as error:
            raise FacesearchError(
                f"The server at {self._address.netloc} does not answer ({error}).",
                "Start it with `facesearch serve`, or leave out --server.",
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise FacesearchError(
                f"What answers at {self._address.netloc} is no facesearch of this version.",
                "Give the address that `facesearch serve` printed.",
            ) from error


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address if address.endswith("/") else address + "/")
        if parts.scheme == "http" and parts.hostname and (parts.port is None or parts.port):
            return parts
    except ValueError:
        pass
    raise FacesearchError(
        f"{address!r} is no server's address.", "Give the one that `facesearch serve` printed."
    )


def _values(path: str, query: ServerQuery) -> dict[str, str]:
    """Return a query as the API's parameters."""
    given = {name: getattr(query, name) for name in ("top", "metric", "threshold", "min_probability", "by")}
    values = {name: str(value) for name, value in given.items() if value is not None}
    values |= {name: "1" for name in ("include_self", "unique") if getattr(query, name)}
    values["face"] = str(query.face)
    values["path"] = base64.urlsafe_b64encode(os.fsencode(path)).decode("ascii")
    return values


def _photo(path: str) -> bytes:
    try:
        if is_url(path):
            return read_url(path)[0]
        with open(path, "rb", opener=open_without_waiting) as file:
            return file.read()
    except OSError as error:
        hint = "Name the photos in it." if os.path.isdir(path) else ""
        raise UnreadablePhoto(f"{path}: It cannot be read ({error.strerror or error}).", hint) from error


def _read(response: HTTPResponse, path: str) -> dict[str, Any]:
    """Read an answer.

    Raises:
        PhotoError: There is something wrong with the photo that was sent.
        FacesearchError: The server refuses for another reason.
        ValueError: It is no answer of ours.
    """
    value = json.loads(response.read())
    if not isinstance(value, dict):
        raise ValueError(value)
    if response.status < _OTHER:
        return value
    sentence, hint = str(value["error"]), str(value["hint"])
    if response.status == _NO_FACE:
        kind = NoFace if sentence.startswith("No face") else UnreadablePhoto
        raise kind(f"{path}: {sentence}", hint)
    raise FacesearchError(f"{path}: {sentence}" if path else sentence, hint)
