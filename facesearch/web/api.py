"""The JSON API: what the pages do, for scripts."""

from __future__ import annotations

import base64
import binascii
import json
import os
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from facesearch.answer_json import SCHEMA, answer_as_json, box_as_json, with_path_bytes
from facesearch.people.people import Person
from facesearch.search import FaceWanted, references_in
from facesearch.web.guard import LARGEST_FORM, Refused
from facesearch.web.requests import ServedState, question_of
from facesearch.web.state import ServedLibrary, Snapshot, known_people


class Api:
    """The JSON API.

    Args:
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Return the addresses."""
        served = "/{served:number}/api"
        person, face = served + "/people/{person:number}", served + "/faces/{digest}/{face:number}"
        return [
            Route("/api", self.indexes),
            Route(served, self.index),
            Route(served + "/query", self.query, methods=["POST"]),
            Route(face + "/matches", self.matches),
            Route(served + "/people", self.people),
            Route(person, self.person),
            Route(person + "/name", self.name, methods=["POST"]),
            Route(person + "/merge", self.merge, methods=["POST"]),
        ]

    def indexes(self, _request: Request) -> Response:
        """List the indexes that are served."""
        listed = [
            {"number": number, **_about(served)}
            for number, served in enumerate(self._state.libraries, start=1)
        ]
        return as_json({"indexes": listed})

    def index(self, request: Request) -> Response:
        """Say what an index holds."""
        return as_json(_about(self._state.served(request)))

    async def query(self, request: Request) -> Response:
        """Find the faces of a photo, the request's body; parameters as `facesearch query` has options."""
        served = self._state.served(request)
        values = request.query_params
        question = question_of(values, served.metric)
        path = _path(values.get("path", ""))
        wanted = _wanted(values.get("face", "largest"))

        def answers(data: bytes) -> Response:
            references = references_in(self._state.look_at(served, data, path, wanted), wanted)
            results = [answer_as_json(answer) for answer in served.ask(references, question)]
            return as_json({"metric": question.metric, "results": results})

        return await self._state.with_photo(request, answers)

    def matches(self, request: Request) -> Response:
        """Find the faces near to one of the index, which `query` and `people` name."""
        served = self._state.served(request)
        snapshot = served.now()
        reference = served.reference(snapshot, self._state.face(request, snapshot))
        (answer,) = served.ask([reference], question_of(request.query_params, served.metric))
        return as_json({"metric": served.metric, "results": [answer_as_json(answer)]})

    def people(self, request: Request) -> Response:
        """List the people."""
        snapshot = self._state.served(request).now()
        return as_json({"people": [_person(person) for person in snapshot.everyone]})

    def person(self, request: Request) -> Response:
        """Return a person's faces."""
        snapshot = self._state.served(request).now()
        people = known_people(snapshot)
        person = self._state.person(request, people)
        faces = [_face(snapshot, row) for row in person.faces]
        return as_json({**_person(person), "faces": faces})

    async def name(self, request: Request) -> Response:
        """Name a person: {"name": "Ada"}."""
        served, value = self._state.served(request), await self._sent(request)
        if not isinstance(name := value.get("name"), str):
            raise Refused(HTTPStatus.BAD_REQUEST, 'Send {"name": "Ada"}.')

        def change() -> Response:
            with served.changing() as people:
                person = people.name(self._state.person(request, people), name)
            return as_json(_person(person))

        return await run_in_threadpool(change)

    async def merge(self, request: Request) -> Response:
        """Make others one with a person: {"others": [12, "Grace"]}."""
        served, value = self._state.served(request), await self._sent(request)
        others = value.get("others")
        if not isinstance(others, list) or not all(isinstance(other, (int, str)) for other in others):
            raise Refused(HTTPStatus.BAD_REQUEST, 'Send {"others": [12, "Grace"]}.')

        def change() -> Response:
            with served.changing() as people:
                into = self._state.person(request, people)
                person = people.merge(into, [people.person(other) for other in others])
            return as_json(_person(person))

        return await run_in_threadpool(change)

    async def _sent(self, request: Request) -> dict[str, Any]:
        async with self._state.bodies.read(request, LARGEST_FORM) as data:
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                value = None
        if not isinstance(value, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "Send a JSON object.")
        return value


def as_json(value: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    """Answer with an object and its schema number, in ASCII and without what a page could take for a tag."""
    text = json.dumps({"schema": SCHEMA, **value}).replace("<", "\\u003c")
    return Response(text, status, media_type="application/json")


def _wanted(text: str) -> FaceWanted:
    """Read which faces are meant: "largest", "all" or a number."""
    if text in ("largest", "all"):
        return "largest" if text == "largest" else "all"
    if not text.isascii() or not text.isdigit() or not (number := int(text[:9])):
        raise Refused(HTTPStatus.BAD_REQUEST, f"face={text!r} is not understood.")
    return number


def _about(served: ServedLibrary) -> dict[str, Any]:
    index = served.now().index
    card = served.library.card
    facts = {
        "index": served.library.backend.name,
        "model": card.name,
        "metric": card.metric,
        "knows_persons": card.identity,
        "photos": index.photo_count,
        "faces": index.face_count,
    }
    return with_path_bytes(facts, "index")


def _person(person: Person) -> dict[str, Any]:
    return {"number": person.number, "name": person.name, "photos": person.photos, "faces": len(person.faces)}


def _face(snapshot: Snapshot, row: int) -> dict[str, Any]:
    digest, number = snapshot.face_id(row)
    index = snapshot.index
    path = index.path(int(index.photo[row]))
    return with_path_bytes(
        {"photo": digest, "face": number, "path": path, "box": box_as_json(index.box(row))}
    )


def _path(encoded: str) -> str:
    """Read the path under which a client has the photo: it is only compared, never opened."""
    try:
        return os.fsdecode(base64.b64decode(encoded.encode("ascii"), b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "path is not base64.") from error
