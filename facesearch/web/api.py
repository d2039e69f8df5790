"""The JSON API: what the pages do, for scripts and for `facesearch query --server`."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from facesearch.answer_json import SCHEMA, answer_as_json, box_as_json, moment_as_json, with_path_bytes
from facesearch.errors import PeopleError
from facesearch.people.people import People, Person
from facesearch.web.requests import (
    Bodies,
    Refused,
    client_path,
    face_of,
    library_of,
    person_of,
    question_of,
    wanted_face,
)
from facesearch.web.state import ServedLibrary, ServedState, Snapshot

LONGEST_NAME = 200  # of an uploaded file, in characters


class Api:
    """The JSON API.

    Args:
        state: What is served.
        bodies: Reads what is sent.
    """

    def __init__(self, state: ServedState, bodies: Bodies) -> None:
        self._state = state
        self._bodies = bodies

    def routes(self) -> list[Route]:
        """Return the addresses and what answers each."""
        library = "/{library:number}"
        api = library + "/api"
        person, face = api + "/people/{person:number}", api + "/faces/{digest}/{face:number}"
        return [
            Route("/api", self.indexes),
            Route(api, self.index),
            Route(api + "/query", self.query, methods=["POST"]),
            Route(face + "/matches", self.matches),
            Route(api + "/people", self.people),
            Route(person, self.person),
            Route(person + "/name", self.name, methods=["POST"]),
            Route(person + "/merge", self.merge, methods=["POST"]),
            Route(library + "/uploads", self.upload, methods=["POST"]),
        ]

    def indexes(self, _request: Request) -> Response:
        """List the indexes that are served."""
        numbered = enumerate(self._state.libraries, start=1)
        return as_json({"indexes": [{"number": number, **_about(library)} for number, library in numbered]})

    def index(self, request: Request) -> Response:
        """Describe an index."""
        return as_json(_about(library_of(request, self._state)))

    async def query(self, request: Request) -> Response:
        """Find the faces nearest to those of a photo, the request's body.

        The parameters are named like the options of `facesearch query`.
        """
        library, values = library_of(request, self._state), request.query_params
        question = question_of(values, library.metric)
        path, face = client_path(values), wanted_face(values)
        answers = await self._bodies.process_photo(
            request, lambda data: library.query(data, path, face, question)
        )
        return as_json({"metric": question.metric, "results": [answer_as_json(answer) for answer in answers]})

    def matches(self, request: Request) -> Response:
        """Find the faces nearest to a face of the index, which `person` lists."""
        library = library_of(request, self._state)
        snapshot = library.now()
        question = question_of(request.query_params, library.metric)
        (answer,) = library.ask([snapshot.index.reference(face_of(request, snapshot))], question)
        return as_json({"metric": library.metric, "results": [answer_as_json(answer)]})

    def people(self, request: Request) -> Response:
        """List the people."""
        snapshot = library_of(request, self._state).now()
        return as_json({"people": [_person(person) for person in snapshot.everyone]})

    def person(self, request: Request) -> Response:
        """Describe a person and list the person's faces."""
        snapshot = library_of(request, self._state).now()
        person = person_of(request, snapshot.known_people())
        return as_json({**_person(person), "faces": [_face(snapshot, row) for row in person.faces]})

    async def name(self, request: Request) -> Response:
        """Name a person: {"name": "Ada"}."""
        sent = await self._bodies.json_object(request)
        if not isinstance(name := sent.get("name"), str):
            raise Refused(HTTPStatus.BAD_REQUEST, 'Send {"name": "Ada"}.')
        return await self._change(request, lambda people: people.name(person_of(request, people), name))

    async def merge(self, request: Request) -> Response:
        """Merge others into a person: {"others": [12, "Grace"]}.

        Several who have names are only merged with {"yes": true}.
        """
        sent = await self._bodies.json_object(request)
        others = sent.get("others")
        if not isinstance(others, list) or not all(isinstance(other, (int, str)) for other in others):
            raise Refused(HTTPStatus.BAD_REQUEST, 'Send {"others": [12, "Grace"]}.')

        def change(people: People) -> Person:
            into = person_of(request, people)
            found = [people.person(other) for other in others]
            names = {one.number: one.name for one in (into, *found) if one.name}
            if len(names) > 1 and sent.get("yes") is not True:
                raise PeopleError(
                    f"{' and '.join(names.values())} both have a name.", 'Send "yes": true, too.'
                )
            return people.merge(into, found)

        return await self._change(request, change)

    async def upload(self, request: Request) -> Response:
        """Keep a photo, the request's body, and say where the page is that shows its faces."""
        library = library_of(request, self._state)
        name = request.query_params.get("name", "")[:LONGEST_NAME]

        def keep(data: bytes) -> dict[str, Any]:
            found = library.find_faces(data)
            key = self._state.uploads.add(found, name, data)
            numbered = enumerate(found.faces, start=1)
            faces = [{"face": number, "box": box_as_json(face.box)} for number, face in numbered]
            address = f"{self._state.root}/{request.path_params['library']}/uploads/{key}/1"
            return {"upload": key, "faces": faces, "address": address}

        return as_json(await self._bodies.process_photo(request, keep), HTTPStatus.CREATED)

    async def _change(self, request: Request, change: Callable[[People], Person]) -> Response:
        """Change people, and describe the person that comes of it."""
        library = library_of(request, self._state)

        person, _ = await run_in_threadpool(library.change, change)
        return as_json(_person(person))


def as_json(value: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    """Return an object with the schema's number, in ASCII and without what a page could take for a tag."""
    text = json.dumps({"schema": SCHEMA, **value}).replace("<", "\\u003c")
    return Response(text, status, media_type="application/json")


def _about(library: ServedLibrary) -> dict[str, Any]:
    index, card = library.now().index, library.card
    facts = {
        "index": library.library.backend.name,
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
    path, box = index.path(int(index.photo[row])), box_as_json(index.box(row))
    told = {"photo": digest, "face": number, "path": path, "box": box, **moment_as_json(index.moment(row))}
    return with_path_bytes(told)
