"""The pages that a browser shows, what their templates need, their pictures, and the forms that they send."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from facesearch.errors import FacesearchError, PeopleError, UnreadablePhoto
from facesearch.faces import Box, Match, Reference
from facesearch.judge import doubt
from facesearch.people.grouping import grouping_distance
from facesearch.people.people import People, Person
from facesearch.photos.content import read_content
from facesearch.photos.decode import decode
from facesearch.search import Question
from facesearch.show.page import environment
from facesearch.show.wording import few, percent
from facesearch.web.requests import Bodies, Refused, face_of, library_of, page_of, person_of, photo_of
from facesearch.web.state import ServedLibrary, ServedState, Snapshot

TEMPLATES = Path(__file__).parent / "templates"

HITS = 24  # on one page
PEOPLE = 60
FACES = 60
LAST_PAGE = 1000  # of matches

PHOTO_SIDE = 1600  # pixels of the longer side
FACE_SIDE = 240


class Pages:
    """The pages.

    Args:
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Return the addresses and what answers each."""
        library = "/{library:number}"
        return [
            Route("/", self.home),
            Route(library + "/", self.library),
            Route(library + "/uploads/{key}/{face:number}", self.uploaded),
            Route(library + "/photo/{digest}", self.photo),
            Route(library + "/face/{digest}/{face:number}", self.matches),
            Route(library + "/person/{person:number}", self.person),
        ]

    def home(self, _request: Request) -> Response:
        """List the indexes; a single one is opened at once."""
        if len(self._state.libraries) == 1:
            return RedirectResponse(f"{self._state.root}/1/", HTTPStatus.SEE_OTHER)
        return self._page("indexes.html", title="Indexes", libraries=self._state.libraries)

    def library(self, request: Request) -> Response:
        """Show where to drop a photo, and the people of an index."""
        library = library_of(request, self._state)
        snapshot = library.now()
        number = page_of(request)
        people = snapshot.everyone[PEOPLE * (number - 1) :]
        return self._page(
            "library.html",
            request,
            title=f"Faces of {library.name}",
            people=[(one, *_portrait(snapshot, one)) for one in people[:PEOPLE] if one.faces],
            count=len(snapshot.everyone),
            no_people=snapshot.no_people,
            stale=snapshot.people is not None and not snapshot.people.up_to_date,
            page=PageNumber(number, len(people) > PEOPLE),
        )

    def uploaded(self, request: Request) -> Response:
        """Show a photo that was uploaded, its faces to choose from, and the matches of one."""
        library = library_of(request, self._state)
        key, face = request.path_params["key"], int(request.path_params["face"])
        upload = self._state.uploads.get(key)
        reference = upload.reference(face) if upload is not None else None
        if upload is None or reference is None:
            raise Refused(HTTPStatus.NOT_FOUND, "This photo is no longer kept: drop it on the page again.")
        title = f"Faces like this one in {upload.name}" if upload.name else "Faces like this one"
        return self._hits(request, library, reference, title=title, upload=upload, key=key, chosen=face)

    def matches(self, request: Request) -> Response:
        """Show the matches of a face of the index."""
        library = library_of(request, self._state)
        snapshot = library.now()
        row = face_of(request, snapshot)
        face = face_view(snapshot, row)
        title = f"Faces like {face.title or 'this'}"
        return self._hits(request, library, snapshot.reference(row), title=title, upload=None, face=face)

    def person(self, request: Request) -> Response:
        """Show a person's faces, the most certain first, with forms to name and merge the person."""
        snapshot = library_of(request, self._state).now()
        people = snapshot.known_people()
        person = person_of(request, people)
        number = page_of(request)
        faces = _most_certain_first(people, person)[FACES * (number - 1) :]
        return self._page(
            "person.html",
            request,
            title=person.title,
            person=person,
            faces=[face_view(snapshot, row) for row in faces[:FACES]],
            names=[one.name for one in snapshot.everyone if one.name and one.number != person.number],
            page=PageNumber(number, len(faces) > FACES),
        )

    def photo(self, request: Request) -> Response:
        """Show a large photo with its faces framed."""
        snapshot = library_of(request, self._state).now()
        photo = photo_of(request, snapshot)
        path = snapshot.index.path(photo)
        faces = [face_view(snapshot, row) for row in snapshot.index.faces_of(photo)]
        width, height = photo_size(path, snapshot.index.digest[photo].tobytes(), faces)
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
        """Show an error's sentence and the next step."""
        values = {"title": "That did not work", "sentence": sentence, "hint": hint}
        try:
            page = self._page("message.html", request if "library" in request.path_params else None, **values)
        except (Refused, FacesearchError):  # no such index, or it cannot be used now
            page = self._page("message.html", None, **values)
        page.status_code = status
        return page

    def _hits(
        self, request: Request, library: ServedLibrary, reference: Reference, **values: object
    ) -> Response:
        """Show the matches of a reference."""
        number = min(page_of(request), LAST_PAGE)
        (answer,) = library.ask([reference], Question(top=HITS * number + 1))
        shown = answer.matches[HITS * (number - 1) : HITS * number]
        snapshot = library.now()
        hits: list[HitView] = [view for match in shown if (view := hit_view(snapshot, match)) is not None]
        return self._page(
            "hits.html",
            request,
            hits=hits,
            page=PageNumber(number, len(answer.matches) > HITS * number),
            looks=not library.card.identity,
            **values,
        )

    def _page(self, template: str, request: Request | None = None, **values: object) -> Response:
        """Fill in a template; with a request, as a page of the index that the request is about."""
        values = {"root": self._state.root, "base": "", "library": None, "several": False, **values}
        if request is not None:
            library = library_of(request, self._state)
            values.update(
                base=f"{self._state.root}/{request.path_params['library']}",
                library=library,
                index=library.now().index,
                several=len(self._state.libraries) > 1,
            )
        return HTMLResponse(environment(TEMPLATES).get_template(template).render(values))


class Pictures:
    """The pictures on the pages.

    Args:
        state: What is served.
    """

    def __init__(self, state: ServedState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Return the addresses and what answers each."""
        library = "/{library:number}"
        return [
            Route(library + "/uploads/{key}.jpg", self.uploaded),
            Route(library + "/photo/{digest}.jpg", self.photo),
            Route(library + "/face/{digest}/{face:number}.jpg", self.face),
        ]

    def photo(self, request: Request) -> Response:
        """Return a photo of the index, upright, as a JPEG."""
        library = library_of(request, self._state)
        snapshot = library.now()
        photo = photo_of(request, snapshot)
        digest = bytes.fromhex(request.path_params["digest"])
        return _jpeg(library.thumbnails.photo(snapshot.index.path(photo), digest, PHOTO_SIDE))

    def face(self, request: Request) -> Response:
        """Return a face of the index as a square JPEG."""
        library = library_of(request, self._state)
        snapshot = library.now()
        index, row = snapshot.index, face_of(request, snapshot)
        path, digest = index.path(int(index.photo[row])), bytes.fromhex(request.path_params["digest"])
        return _jpeg(library.thumbnails.face(path, digest, index.box(row), FACE_SIDE))

    def uploaded(self, request: Request) -> Response:
        """Return a photo that was uploaded, as a JPEG."""
        upload = self._state.uploads.get(request.path_params["key"])
        if upload is None:
            raise Refused(HTTPStatus.NOT_FOUND, "This photo is no longer kept.")
        return _jpeg(upload.picture)


class Forms:
    """What the forms do; each answer leads to the page that shows the result.

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
        person, face = library + "/person/{person:number}", library + "/face/{digest}/{face:number}"
        answers = {
            library + "/group": self.group,
            face + "/name": self.name_face,
            face + "/ignore": self.ignore_face,
            person + "/name": self.name_person,
            person + "/merge": self.merge_person,
        }
        return [Route(path, answer, methods=["POST"]) for path, answer in answers.items()]

    async def name_person(self, request: Request) -> Response:
        """Name a person."""
        name = (await self._bodies.form(request)).get("name", "")
        return await self._change(request, lambda people: people.name(person_of(request, people), name))

    async def merge_person(self, request: Request) -> Response:
        """Merge another person into a person."""
        other = (await self._bodies.form(request)).get("other", "")

        def change(people: People) -> Person:
            return people.merge(person_of(request, people), [people.person(other)])

        return await self._change(request, change)

    async def name_face(self, request: Request) -> Response:
        """Say who a face shows: one of the people, or a new person."""
        name = (await self._bodies.form(request)).get("name", "")

        def change(people: People) -> Person:
            row = face_of(request, Snapshot(people.index, people, ""))
            try:
                return people.assign([row], people.person(name))
            except PeopleError:
                return people.name(people.assign([row], None), name)

        return await self._change(request, change)

    async def ignore_face(self, request: Request) -> Response:
        """Ignore a face, which then belongs to no person, or take that back."""
        undo = (await self._bodies.form(request)).get("undo", "")

        def change(people: People) -> None:
            row = face_of(request, Snapshot(people.index, people, ""))
            (people.release if undo else people.ignore)([row])

        return await self._change(request, change, back=f"photo/{request.path_params['digest']}")

    async def group(self, request: Request) -> Response:
        """Group the faces that belong to no person yet."""
        await self._bodies.form(request)
        card = library_of(request, self._state).library.card
        within = await run_in_threadpool(grouping_distance, card)

        def change(people: People) -> None:
            people.group(within, card.quality)

        return await self._change(request, change)

    async def _change(
        self, request: Request, change: Callable[[People], Person | None], back: str = ""
    ) -> Response:
        """Change people; show the person that comes of it, or else the page `back`."""
        library = library_of(request, self._state)

        def work() -> Person | None:
            with library.changing() as people:
                return change(people)

        person = await run_in_threadpool(work)
        page = f"person/{person.number}" if person is not None else back
        address = f"{self._state.root}/{request.path_params['library']}/{page}"
        return RedirectResponse(address, HTTPStatus.SEE_OTHER)


def _portrait(snapshot: Snapshot, person: Person) -> tuple[str, int]:
    return snapshot.face_id(snapshot.known_people().portrait(person))


def _most_certain_first(people: People, person: Person) -> Sequence[int]:
    """Return a person's faces, those nearest to the mean of all of them first."""
    if not person.faces:
        return []
    distances: list[float] = people.mean_distances(person.faces).tolist()
    return [row for _, row in sorted(zip(distances, person.faces, strict=True))]


def _jpeg(data: bytes) -> Response:
    # Whoever has the address has the picture: a browser may keep it as long as the page is used.
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Which page of several is shown.

    Attributes:
        number: The page, from 1.
        more: Whether another one follows.
    """

    number: int
    more: bool


@dataclass(frozen=True, slots=True)
class FaceView:
    """A face as a template needs it.

    Attributes:
        digest: The digest of its photo's content, in hex.
        number: Its number in the photo, from 1.
        box: Its box in the upright photo.
        name: The photo's file name.
        folder: The photo's folder.
        person: The number of the person; 0 for a face that is ignored, -1 where it is not known.
        title: What that person is called; empty where it is not known.
    """

    digest: str
    number: int
    box: Box
    name: str
    folder: str
    person: int
    title: str


@dataclass(frozen=True, slots=True)
class HitView:
    """A match in words.

    Attributes:
        face: The matching face.
        rank: 1 for the nearest.
        distance: The distance to the reference.
        probability: The probability that both are one person; empty where it is not known.
        strangers: How many strangers' faces are expected this near; empty where it is not known.
        beyond: Whether the match is farther than the model's threshold.
        doubt: Which face is too poor to tell who it is; empty where none is.
    """

    face: FaceView
    rank: int
    distance: str
    probability: str
    strangers: str
    beyond: bool
    doubt: str


def face_view(snapshot: Snapshot, row: int) -> FaceView:
    """Return a face of the index."""
    digest, number = snapshot.face_id(row)
    folder, name = os.path.split(snapshot.index.path(int(snapshot.index.photo[row])))
    person = int(snapshot.people.whose[row]) if snapshot.people is not None else -1
    title = snapshot.title.get(person, "")
    return FaceView(digest, number, snapshot.index.box(row), name, folder, person, title)


def hit_view(snapshot: Snapshot, match: Match) -> HitView | None:
    """Return a match in words; None where the index has changed since and no longer has it."""
    photo = snapshot.index.find(match.path)
    rows = snapshot.index.faces_of(photo) if photo is not None else range(0)
    if match.face > len(rows):
        return None
    return HitView(
        face_view(snapshot, rows[match.face - 1]),
        match.rank,
        f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
        doubt(match),
    )


def photo_size(path: str, digest: bytes, faces: Sequence[FaceView]) -> tuple[int, int]:
    """Return the width and height of an upright photo.

    If the file is gone, or another one lies there now, it is as much as the faces need.
    """
    try:
        content = read_content(path)
        if digest not in content.file.digests:
            raise UnreadablePhoto("It is another photo now.")
        picture = decode(content.data, side=64)
        return picture.width, picture.height
    except (OSError, FacesearchError):
        corners = [(face.box.x + face.box.width, face.box.y + face.box.height) for face in faces]
        return max((x for x, _ in corners), default=1), max((y for _, y in corners), default=1)
