"""The pages: what a browser is shown, and what its forms send."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from facesearch.answer_json import box_as_json
from facesearch.errors import PeopleError
from facesearch.faces import Reference
from facesearch.people.keeping import grouping_distance
from facesearch.people.people import People, Person
from facesearch.search import Question
from facesearch.show.page import environment
from facesearch.web.api import as_json
from facesearch.web.guard import LARGEST_FORM, Refused
from facesearch.web.requests import Desk, whole_number
from facesearch.web.state import Shelf, Snapshot, known_people
from facesearch.web.views import HitView, Leaf, face_view, hit_view, photo_size

TEMPLATES = Path(__file__).parent / "templates"

HITS = 24  # on one page
PEOPLE = 60
FACES = 60


class Pages:
    """The pages.

    Args:
        desk: What is served.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def home(self, _request: Request) -> Response:
        """List the indexes; a single one is opened at once."""
        if len(self._desk.shelves) == 1:
            return RedirectResponse(f"{self._desk.root}/1/", HTTPStatus.SEE_OTHER)
        return self._page("indexes.html", title="Indexes", shelves=self._desk.shelves)

    def shelf(self, request: Request) -> Response:
        """Show where a photo can be dropped, and the people."""
        shelf = self._desk.shelf(request)
        snapshot = shelf.now()
        number = whole_number(request.query_params.get("page", ""))
        everyone = snapshot.everyone[PEOPLE * (number - 1) :]
        return self._page(
            "shelf.html",
            request,
            title=f"Faces of {shelf.name}",
            people=[(one, *self._portrait(snapshot, one)) for one in everyone[:PEOPLE] if one.faces],
            count=len(snapshot.everyone),
            no_people=snapshot.no_people,
            stale=snapshot.people is not None and not snapshot.people.up_to_date,
            leaf=Leaf(number, len(everyone) > PEOPLE),
        )

    def uploaded(self, request: Request) -> Response:
        """Show a photo that was brought, its faces to choose from, and the matches of one."""
        shelf = self._desk.shelf(request)
        upload = self._desk.uploads.get(request.path_params["key"])
        number = int(request.path_params["face"])
        reference = upload.reference(number) if upload is not None else None
        if upload is None or reference is None:
            raise Refused(HTTPStatus.NOT_FOUND, "That photo is not at hand any more: drop it once more.")
        leaf, hits = self._hits(shelf, request, reference)
        return self._page(
            "hits.html",
            request,
            title=f"Faces like this one in {upload.name}" if upload.name else "Faces like this one",
            upload=upload,
            key=request.path_params["key"],
            chosen=number,
            hits=hits,
            leaf=leaf,
            looks=not shelf.library.card.identity,
        )

    def like(self, request: Request) -> Response:
        """Show the matches of a face of the index."""
        shelf = self._desk.shelf(request)
        snapshot = shelf.now()
        row = self._desk.face(request, snapshot)
        reference = shelf.reference(snapshot, row)
        leaf, hits = self._hits(shelf, request, reference)
        face = face_view(snapshot, row)
        return self._page(
            "hits.html",
            request,
            title=f"Faces like {face.title or 'this'}",
            upload=None,
            face=face,
            hits=hits,
            leaf=leaf,
            looks=not shelf.library.card.identity,
        )

    def person(self, request: Request) -> Response:
        """Show a person's faces, the surest first, with what can be said of the person."""
        snapshot = self._desk.shelf(request).now()
        people = known_people(snapshot)
        person = self._desk.person(request, people)
        number = whole_number(request.query_params.get("page", ""))
        order = sorted(zip(_distances(people, person), person.faces, strict=True))
        shown = order[FACES * (number - 1) :]
        return self._page(
            "person.html",
            request,
            title=person.title,
            person=person,
            faces=[face_view(snapshot, row) for _, row in shown[:FACES]],
            names=[one.name for one in snapshot.everyone if one.name and one.number != person.number],
            leaf=Leaf(number, len(shown) > FACES),
        )

    def photo(self, request: Request) -> Response:
        """Show a photo large, its faces boxed."""
        snapshot = self._desk.shelf(request).now()
        photo = self._photo(request, snapshot)
        layout = snapshot.layout
        path = layout.path(photo)
        faces = [face_view(snapshot, row) for row in layout.faces_of(photo)]
        width, height = photo_size(path, faces)
        return self._page(
            "photo.html",
            request,
            title=os.path.basename(path),
            digest=request.path_params["digest"],
            folder=os.path.dirname(path),
            faces=faces,
            width=width,
            height=height,
            named=snapshot.people is not None,
            names=[one.name for one in snapshot.everyone if one.name],
        )

    def message(self, request: Request, sentence: str, hint: str, status: int) -> Response:
        """Show a sentence and the next step."""
        shelf = request.path_params.get("shelf")
        inside = request if isinstance(shelf, int) and self._desk.has(shelf) else None
        return self._page(
            "message.html", inside, status, title="That did not work", sentence=sentence, hint=hint
        )

    def _hits(self, shelf: Shelf, request: Request, reference: Reference) -> tuple[Leaf, Sequence[HitView]]:
        number = min(whole_number(request.query_params.get("page", "")), 1000)
        (answer,) = shelf.ask([reference], Question(top=HITS * number + 1))
        shown = answer.matches[HITS * (number - 1) : HITS * number]
        snapshot = shelf.now()
        views = [view for match in shown if (view := hit_view(snapshot, match)) is not None]
        return Leaf(number, len(answer.matches) > HITS * number), views

    def _portrait(self, snapshot: Snapshot, person: Person) -> tuple[str, int]:
        return snapshot.face_id(known_people(snapshot).portrait(person))

    def _photo(self, request: Request, snapshot: Snapshot) -> int:
        photo = snapshot.photo(request.path_params["digest"])
        if photo is None:
            raise Refused(HTTPStatus.NOT_FOUND, "The index holds no such photo now.")
        return photo

    def _base(self, request: Request) -> str:
        return f"{self._desk.root}/{request.path_params['shelf']}"

    def _page(
        self, template: str, request: Request | None = None, status: int = HTTPStatus.OK, **values: object
    ) -> Response:
        values = {"root": self._desk.root, "base": "", "shelf": None, "several": False, **values}
        if request is not None:
            shelf = self._desk.shelf(request)
            values.update(base=self._base(request), shelf=shelf, layout=shelf.now().layout)
            values["several"] = len(self._desk.shelves) > 1
        page = environment(TEMPLATES).get_template(template).render(values)
        return HTMLResponse(page, status)


def _distances(people: People, person: Person) -> list[float]:
    distances: list[float] = people.from_middle(person.faces).tolist() if person.faces else []
    return distances


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


LARGE = 1600  # pixels of the longer side
FACE = 240

# Who has the address has the picture: a browser may keep it as long as the page is used.
_KEPT = {"cache-control": "private, max-age=600"}


class Pictures:
    """What is seen on the pages.

    Args:
        desk: What is served.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def photo(self, request: Request) -> Response:
        """Return a photo of the index, upright, as a JPEG."""
        shelf = self._desk.shelf(request)
        snapshot, digest = shelf.now(), request.path_params["digest"]
        photo = snapshot.photo(digest)
        if photo is None:
            raise Refused(HTTPStatus.NOT_FOUND, "The index holds no such photo now.")
        path = snapshot.layout.path(photo)
        return _jpeg(shelf.thumbnails.photo(path, bytes.fromhex(digest), LARGE))

    def face(self, request: Request) -> Response:
        """Return a face of the index as a square JPEG."""
        shelf = self._desk.shelf(request)
        snapshot, digest = shelf.now(), request.path_params["digest"]
        row = self._desk.face(request, snapshot)
        path = snapshot.layout.path(int(snapshot.layout.photo[row]))
        return _jpeg(shelf.thumbnails.face(path, bytes.fromhex(digest), snapshot.layout.box(row), FACE))

    def uploaded(self, request: Request) -> Response:
        """Return a photo that was uploaded."""
        upload = self._desk.uploads.get(request.path_params["key"])
        if upload is None:
            raise Refused(HTTPStatus.NOT_FOUND, "That photo is not at hand any more.")
        return _jpeg(upload.picture)

    async def upload(self, request: Request) -> Response:
        """Take a photo in which a face is looked for, the request's body; say where its faces are shown."""
        shelf = self._desk.shelf(request)
        name = request.query_params.get("name", "")[:200]

        def work(data: bytes) -> Response:
            found = self._desk.look_at(shelf, data, "")
            key = self._desk.uploads.add(found, name, data)
            numbered = enumerate(found.faces, start=1)
            faces = [{"face": number, "box": box_as_json(face.box)} for number, face in numbered]
            place = f"{self._desk.root}/{request.path_params['shelf']}/uploads/{key}/1"
            return as_json({"upload": key, "faces": faces, "address": place}, HTTPStatus.CREATED)

        return await self._desk.with_photo(request, work)


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers=_KEPT)
