"""What the pages' forms say of people."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from facesearch.errors import PeopleError
from facesearch.people.keeping import grouping_distance
from facesearch.people.people import People, Person
from facesearch.web.desk import Desk
from facesearch.web.guard import LARGEST_FORM, Refused
from facesearch.web.shelf import Snapshot


class Forms:
    """What is sent by forms; each answer leads to the page that shows what came of it.

    Args:
        desk: What is served.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def name_person(self, request: Request) -> Response:
        """Name a person."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            return people.name(self._desk.person(request, people), sent("name"))

        return await self._change(request, change)

    async def merge_person(self, request: Request) -> Response:
        """Make another person one with a person."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            return people.merge(self._desk.person(request, people), [people.person(sent("other"))])

        return await self._change(request, change)

    async def name_face(self, request: Request) -> Response:
        """Say whose a face is: one of the people, or somebody new."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            row = self._desk.face(request, Snapshot(people.layout, people, ""))
            try:
                return people.give([row], people.person(sent("name")))
            except PeopleError:
                return people.name(people.give([row], None), sent("name"))

        return await self._change(request, change)

    async def ignore_face(self, request: Request) -> Response:
        """Say that a face is nobody's, or take that back."""
        sent = await self._sent(request)

        def change(people: People) -> None:
            row = self._desk.face(request, Snapshot(people.layout, people, ""))
            (people.heed if sent("undo") else people.ignore)([row])

        return await self._change(request, change, back=f"photo/{request.path_params['digest']}")

    async def group(self, request: Request) -> Response:
        """Group what is nobody's yet."""
        await self._sent(request)
        within = await run_in_threadpool(lambda: grouping_distance(self._desk.shelf(request).library.card))

        def change(people: People) -> None:
            people.group(within)

        return await self._change(request, change)

    async def _change(
        self, request: Request, change: Callable[[People], Person | None], back: str = ""
    ) -> Response:
        """Change people, and show what came of it."""
        shelf = self._desk.shelf(request)

        def work() -> Person | None:
            with shelf.changing() as people:
                return change(people)

        person = await run_in_threadpool(work)
        place = f"person/{person.number}" if person is not None else back
        return RedirectResponse(
            f"{self._desk.root}/{request.path_params['shelf']}/{place}", HTTPStatus.SEE_OTHER
        )

    async def _sent(self, request: Request) -> Callable[[str], str]:
        """Read a form; what it gives tells a field."""
        async with self._desk.bodies.read(request, LARGEST_FORM) as data:
            try:
                fields = parse_qs(data.decode("utf-8"), max_num_fields=16)
            except ValueError as error:
                raise Refused(HTTPStatus.BAD_REQUEST, "This form is not understood.") from error
        return lambda name: fields.get(name, [""])[0]
