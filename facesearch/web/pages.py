"""The pages: what a browser is shown, and what its forms send."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from facesearch.faces import Reference
from facesearch.people.people import People, Person
from facesearch.search import Question
from facesearch.show.page import environment
from facesearch.web.desk import Desk, whole_number
from facesearch.web.guard import Refused
from facesearch.web.shelf import Shelf, Snapshot, known_people
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
