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
from facesearch.people.grouping import grouping_distance
from facesearch.people.people import People, Person
from facesearch.search import Question
from facesearch.show.page import environment
from facesearch.web.api import as_json
from facesearch.web.guard import LARGEST_FORM, Refused
from facesearch.web.requests import ServedState, whole_number
from facesearch.web.state import ServedLibrary, Snapshot, known_people
from facesearch.web.views import HitView, Leaf, face_view, hit_view, photo_size

TEMPLATES = Path(__file__).parent / "templates"

HITS = 24  # on one page
PEOPLE = 60
FACES = 60


class Pages:
    """The pages.

    Args:
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    def home(self, _request: Request) -> Response:
        """List the indexes; a single one is opened at once."""
        if len(self._state.libraries) == 1:
            return RedirectResponse(f"{self._state.root}/1/", HTTPStatus.SEE_OTHER)
        return self._page("indexes.html", title="Indexes", libraries=self._state.libraries)

    def served(self, request: Request) -> Response:
        """Show where a photo can be dropped, and the people."""
        served = self._state.served(request)
        snapshot = served.now()
        number = whole_number(request.query_params.get("page", ""))
        everyone = snapshot.everyone[PEOPLE * (number - 1) :]
        return self._page(
            "served.html",
            request,
            title=f"Faces of {served.name}",
            people=[(one, *self._portrait(snapshot, one)) for one in everyone[:PEOPLE] if one.faces],
            count=len(snapshot.everyone),
            no_people=snapshot.no_people,
            stale=snapshot.people is not None and not snapshot.people.up_to_date,
            leaf=Leaf(number, len(everyone) > PEOPLE),
        )

    def uploaded(self, request: Request) -> Response:
        """Show a photo that was brought, its faces to choose from, and the matches of one."""
        served = self._state.served(request)
        upload = self._state.uploads.get(request.path_params["key"])
        number = int(request.path_params["face"])
        reference = upload.reference(number) if upload is not None else None
        if upload is None or reference is None:
            raise Refused(HTTPStatus.NOT_FOUND, "That photo is not at hand any more: drop it once more.")
        leaf, hits = self._hits(served, request, reference)
        return self._page(
            "hits.html",
            request,
            title=f"Faces like this one in {upload.name}" if upload.name else "Faces like this one",
            upload=upload,
            key=request.path_params["key"],
            chosen=number,
            hits=hits,
            leaf=leaf,
            looks=not served.library.card.identity,
        )

    def like(self, request: Request) -> Response:
        """Show the matches of a face of the index."""
        served = self._state.served(request)
        snapshot = served.now()
        row = self._state.face(request, snapshot)
        reference = served.reference(snapshot, row)
        leaf, hits = self._hits(served, request, reference)
        face = face_view(snapshot, row)
        return self._page(
            "hits.html",
            request,
            title=f"Faces like {face.title or 'this'}",
            upload=None,
            face=face,
            hits=hits,
            leaf=leaf,
            looks=not served.library.card.identity,
        )

    def person(self, request: Request) -> Response:
        """Show a person's faces, the surest first, with what can be said of the person."""
        snapshot = self._state.served(request).now()
        people = known_people(snapshot)
        person = self._state.person(request, people)
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
        snapshot = self._state.served(request).now()
        photo = self._photo(request, snapshot)
        index = snapshot.index
        path = index.path(photo)
        faces = [face_view(snapshot, row) for row in index.faces_of(photo)]
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
        served = request.path_params.get("served")
        inside = request if isinstance(served, int) and self._state.has(served) else None
        return self._page(
            "message.html", inside, status, title="That did not work", sentence=sentence, hint=hint
        )

    def _hits(
        self, served: ServedLibrary, request: Request, reference: Reference
    ) -> tuple[Leaf, Sequence[HitView]]:
        number = min(whole_number(request.query_params.get("page", "")), 1000)
        (answer,) = served.ask([reference], Question(top=HITS * number + 1))
        shown = answer.matches[HITS * (number - 1) : HITS * number]
        snapshot = served.now()
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
        return f"{self._state.root}/{request.path_params['served']}"

    def _page(
        self, template: str, request: Request | None = None, status: int = HTTPStatus.OK, **values: object
    ) -> Response:
        values = {"root": self._state.root, "base": "", "served": None, "several": False, **values}
        if request is not None:
            served = self._state.served(request)
            values.update(base=self._base(request), served=served, index=served.now().index)
            values["several"] = len(self._state.libraries) > 1
        page = environment(TEMPLATES).get_template(template).render(values)
        return HTMLResponse(page, status)


def _distances(people: People, person: Person) -> list[float]:
    distances: list[float] = people.mean_distances(person.faces).tolist() if person.faces else []
    return distances


class Forms:
    """What is sent by forms; each answer leads to the page that shows what came of it.

    Args:
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    async def name_person(self, request: Request) -> Response:
        """Name a person."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            return people.name(self._state.person(request, people), sent("name"))

        return await self._change(request, change)

    async def merge_person(self, request: Request) -> Response:
        """Make another person one with a person."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            return people.merge(self._state.person(request, people), [people.person(sent("other"))])

        return await self._change(request, change)

    async def name_face(self, request: Request) -> Response:
        """Say whose a face is: one of the people, or somebody new."""
        sent = await self._sent(request)

        def change(people: People) -> Person:
            row = self._state.face(request, Snapshot(people.index, people, ""))
            try:
                return people.assign([row], people.person(sent("name")))
            except PeopleError:
                return people.name(people.assign([row], None), sent("name"))

        return await self._change(request, change)

    async def ignore_face(self, request: Request) -> Response:
        """Say that a face is nobody's, or take that back."""
        sent = await self._sent(request)

        def change(people: People) -> None:
            row = self._state.face(request, Snapshot(people.index, people, ""))
            (people.release if sent("undo") else people.ignore)([row])

        return await self._change(request, change, back=f"photo/{request.path_params['digest']}")

    async def group(self, request: Request) -> Response:
        """Group what is nobody's yet."""
        await self._sent(request)
        within = await run_in_threadpool(lambda: grouping_distance(self._state.served(request).library.card))

        def change(people: People) -> None:
            people.group(within)

        return await self._change(request, change)

    async def _change(
        self, request: Request, change: Callable[[People], Person | None], back: str = ""
    ) -> Response:
        """Change people, and show what came of it."""
        served = self._state.served(request)

        def work() -> Person | None:
            with served.changing() as people:
                return change(people)

        person = await run_in_threadpool(work)
        place = f"person/{person.number}" if person is not None else back
        return RedirectResponse(
            f"{self._state.root}/{request.path_params['served']}/{place}", HTTPStatus.SEE_OTHER
        )

    async def _sent(self, request: Request) -> Callable[[str], str]:
        """Read a form; what it gives tells a field."""
        async with self._state.bodies.read(request, LARGEST_FORM) as data:
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
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    def photo(self, request: Request) -> Response:
        """Return a photo of the index, upright, as a JPEG."""
        served = self._state.served(request)
        snapshot, digest = served.now(), request.path_params["digest"]
        photo = snapshot.photo(digest)
        if photo is None:
            raise Refused(HTTPStatus.NOT_FOUND, "The index holds no such photo now.")
        path = snapshot.index.path(photo)
        return _jpeg(served.thumbnails.photo(path, bytes.fromhex(digest), LARGE))

    def face(self, request: Request) -> Response:
        """Return a face of the index as a square JPEG."""
        served = self._state.served(request)
        snapshot, digest = served.now(), request.path_params["digest"]
        row = self._state.face(request, snapshot)
        path = snapshot.index.path(int(snapshot.index.photo[row]))
        return _jpeg(served.thumbnails.face(path, bytes.fromhex(digest), snapshot.index.box(row), FACE))

    def uploaded(self, request: Request) -> Response:
        """Return a photo that was uploaded."""
        upload = self._state.uploads.get(request.path_params["key"])
        if upload is None:
            raise Refused(HTTPStatus.NOT_FOUND, "That photo is not at hand any more.")
        return _jpeg(upload.picture)

    async def upload(self, request: Request) -> Response:
        """Take a photo in which a face is looked for, the request's body; say where its faces are shown."""
        served = self._state.served(request)
        name = request.query_params.get("name", "")[:200]

        def work(data: bytes) -> Response:
            found = self._state.look_at(served, data, "")
            key = self._state.uploads.add(found, name, data)
            numbered = enumerate(found.faces, start=1)
            faces = [{"face": number, "box": box_as_json(face.box)} for number, face in numbered]
            place = f"{self._state.root}/{request.path_params['served']}/uploads/{key}/1"
            return as_json({"upload": key, "faces": faces, "address": place}, HTTPStatus.CREATED)

        return await self._state.with_photo(request, work)


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers=_KEPT)
