"""What the forms of the pages do; each answer leads to a page that shows the result and can undo it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from facesearch.errors import PeopleError
from facesearch.people.facts import LONGEST, folded, folder_name
from facesearch.people.grouping import grouping_distance
from facesearch.people.people import People, Person
from facesearch.show.collect import zipped
from facesearch.web.pages import Pages, Problem
from facesearch.web.requests import Bodies, Refused, face_of, library_of, person_of
from facesearch.web.state import ServedState, Snapshot

_FACE = re.compile(r"([0-9a-f]{32})/([0-9]{1,9})")
_PHOTO = re.compile(r"([0-9a-f]{32})(?:/[0-9]{1,9})?")


class Forms:
    """The forms.

    Args:
        state: What is served.
        bodies: Reads what is sent.
        pages: Shows what went wrong where it was asked for.
    """

    def __init__(self, state: ServedState, bodies: Bodies, pages: Pages) -> None:
        self._state = state
        self._bodies = bodies
        self._pages = pages

    def routes(self) -> list[Route]:
        """Return the addresses and what answers each."""
        library = "/{library:number}"
        person, face = library + "/person/{person:number}", library + "/face/{digest}/{face:number}"
        answers = {
            library + "/group": self.group,
            library + "/undo": self.undo,
            library + "/same": self.same,
            face + "/name": self.name_face,
            face + "/ignore": self.ignore_face,
            person + "/name": self.name_person,
            person + "/merge": self.merge_person,
            person + "/hide": self.hide_person,
            person + "/faces": self.change_faces,
            person + "/download": self.download,
        }
        return [Route(path, answer, methods=["POST"]) for path, answer in answers.items()]

    async def name_person(self, request: Request) -> Response:
        """Name a person; if another one has the name, offer to merge the two, or another name."""
        name = (await self._bodies.form(request)).get("name", "")
        try:
            return await self._change(request, lambda people: people.name(person_of(request, people), name))
        except PeopleError as error:
            return await run_in_threadpool(self._not_named, request, name, error)

    def _not_named(self, request: Request, name: str, error: PeopleError) -> Response:
        everyone = library_of(request, self._state).now().everyone
        other = next((one for one in everyone if one.name and folded(one.name) == folded(name)), None)
        if other is None:
            sentence = f"{error.message} {error.hint}".strip()
            page = self._pages.person(request, Problem(sentence, name=name[:LONGEST]))
        else:
            taken = {folded(one.name) for one in everyone}
            likely = (f"{other.name} ({at})" for at in range(2, len(taken) + 3))
            free = next(one for one in likely if folded(one) not in taken)
            sentence = f"Another person is called {other.name} already."
            page = self._pages.person(request, Problem(sentence, other, name, free))
        page.status_code = HTTPStatus.CONFLICT
        return page

    async def merge_person(self, request: Request) -> Response:
        """Merge another person into a person."""
        other = (await self._bodies.form(request)).get("other", "")

        def change(people: People) -> Person:
            return people.merge(person_of(request, people), [people.person(other)])

        try:
            return await self._change(request, change)
        except PeopleError as error:
            problem = Problem(f"{error.message} {error.hint}".strip())
            page = await run_in_threadpool(self._pages.person, request, problem)
            page.status_code = HTTPStatus.CONFLICT
            return page

    async def hide_person(self, request: Request) -> Response:
        """Leave a person out of lists, or list the person again."""
        undo = (await self._bodies.form(request)).get("undo", "")

        def change(people: People) -> None:
            people.hide([person_of(request, people)], undo=bool(undo))

        return await self._change(request, change)

    async def change_faces(self, request: Request) -> Response:
        """Do something with the faces of a person that were selected, and the photos with a tag."""
        fields = await self._bodies.selection(request)
        faces, photos = fields.get("face", []), fields.get("photo", [])
        what, to, year = (fields.get(name, [""])[0] for name in ("do", "to", "year"))

        def change(people: People) -> Person:
            person = person_of(request, people)
            rows = list(_rows(people, faces))
            tagged = _tagged(people, person, photos) if what == "reject" else []
            if not rows and not tagged:
                raise PeopleError("No face was selected.", "Select some first.")
            for photo in tagged:
                people.tag(photo, person, undo=True)
            if rows:
                _DOES[what](people, person, rows, to)
            return person

        if what not in _DOES:
            raise Refused(HTTPStatus.BAD_REQUEST, "This form is not understood.")
        shown = {"year": year} if re.fullmatch("[0-9]{4}", year) else {}
        return await self._change(request, change, shown=shown)

    async def download(self, request: Request) -> Response:
        """Send the photos of a person that were selected, as a zip."""
        fields = await self._bodies.selection(request)
        selected = [*fields.get("face", []), *fields.get("photo", [])]

        def wanted() -> tuple[Person, list[tuple[list[str], bytes]]]:
            snapshot = library_of(request, self._state).now()
            person = person_of(request, snapshot.known_people())
            found = (_PHOTO.fullmatch(text) for text in selected)
            digits = dict.fromkeys(one[1] for one in found if one and snapshot.photo(one[1]) is not None)
            if not digits:
                raise PeopleError("No photo was selected.", "Select some first.")
            return person, [(snapshot.copies(one), bytes.fromhex(one)) for one in digits]

        person, photos = await run_in_threadpool(wanted)
        name = quote(f"{folder_name(person.title, person.number)}.zip")
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        return StreamingResponse(zipped(photos), media_type="application/zip", headers=headers)

    async def name_face(self, request: Request) -> Response:
        """Say who a face shows: one of the people, or a new person."""
        name = (await self._bodies.form(request)).get("name", "")

        def change(people: People) -> Person:
            return _person_called(people, name, [face_of(request, Snapshot(people.index, people, ""))])

        return await self._change(request, change)

    async def ignore_face(self, request: Request) -> Response:
        """Ignore a face, which then belongs to no person, or take that back."""
        undo = (await self._bodies.form(request)).get("undo", "")

        def change(people: People) -> None:
            row = face_of(request, Snapshot(people.index, people, ""))
            (people.release if undo else people.ignore)([row])

        return await self._change(request, change, back=f"photo/{request.path_params['digest']}")

    async def same(self, request: Request) -> Response:
        """Say whether two are the same person."""
        form = await self._bodies.form(request)

        def change(people: People) -> None:
            sides = [_side(people, form.get(name, "")) for name in ("one", "other")]
            named = [people.face_id(one) if isinstance(one, int) else one.number for one in sides]
            if named[0] == named[1]:
                raise Refused(HTTPStatus.BAD_REQUEST, "Nobody is another person than themselves.")
            if form.get("answer") != "yes":
                titles = " and ".join("a face" if isinstance(one, int) else one.title for one in sides)
                people.tell_apart(named[0], named[1], titles)
                return
            persons = [one for one in sides if not isinstance(one, int)]
            rows = [one for one in sides if isinstance(one, int)]
            into = people.assign(rows, persons[0] if persons else None) if rows else persons[0]
            people.merge(into, persons)

        return await self._change(request, change, back="same")

    async def group(self, request: Request) -> Response:
        """Group the faces that belong to no person yet."""
        await self._bodies.form(request)
        card = library_of(request, self._state).library.card
        within = await run_in_threadpool(grouping_distance, card)

        def change(people: People) -> None:
            people.group(within, card.quality)

        return await self._change(request, change)

    async def undo(self, request: Request) -> Response:
        """Take the last change back, where it is still the last one."""
        form = await self._bodies.form(request)
        undone, back = form.get("change", ""), form.get("back", "")

        def change(people: People) -> bool:
            if not people.log or undone != people.log[-1].key:
                raise PeopleError("Something else was changed since.", "See `facesearch people log`.")
            people.undo()
            shown = re.fullmatch(r"person/([0-9]{1,9})", back)
            return shown is None or any(one.number == int(shown[1]) for one in people.everyone())

        there, _ = await run_in_threadpool(library_of(request, self._state).change, change)
        known = re.fullmatch(r"|same|person/[0-9]{1,9}|photo/[0-9a-f]{32}", back)
        return self._to(request, f"{back if there and known else ''}?undone=1")

    async def _change(
        self,
        request: Request,
        change: Callable[[People], Person | None],
        back: str = "",
        shown: Mapping[str, str] | None = None,
    ) -> Response:
        """Change people; show the person that comes of it, or else the page `back`, with what was done.

        What is to be shown of that page may be given too, as the values of its address.
        """
        person, did = await run_in_threadpool(library_of(request, self._state).change, change)
        page = f"person/{person.number}" if person is not None else back
        values = {**(shown or {}), **({"did": did} if did else {})}
        return self._to(request, f"{page}?{urlencode(values)}" if values else page)

    def _to(self, request: Request, page: str) -> Response:
        address = f"{self._state.root}/{request.path_params['library']}/{page}"
        return RedirectResponse(address, HTTPStatus.SEE_OTHER)


def _person_called(people: People, name: str, rows: Sequence[int]) -> Person:
    """Give faces to the person of a name or number, or to a new person of that name."""
    try:
        return people.assign(rows, people.person(name))
    except PeopleError:
        return people.name(people.assign(rows, None), name)


def _reject(people: People, person: Person, rows: Sequence[int], _to: str) -> None:
    people.reject(rows, person)


def _ignore(people: People, _person: Person, rows: Sequence[int], _to: str) -> None:
    people.ignore(rows)


def _cover(people: People, person: Person, rows: Sequence[int], _to: str) -> None:
    people.cover(person, rows[0])


def _move(people: People, person: Person, rows: Sequence[int], to: str) -> None:
    taker = _person_called(people, to, rows) if to.strip() else people.assign(rows, None)
    people.set_apart(person, taker)


def _enter(people: People, person: Person, rows: Sequence[int], to: str) -> None:
    if not to.strip():
        raise PeopleError("Nothing was chosen to do.", "Press one of the buttons.")
    _move(people, person, rows, to)


_DOES: dict[str, Callable[[People, Person, Sequence[int], str], None]] = {
    "reject": _reject,
    "ignore": _ignore,
    "cover": _cover,
    "move": _move,
    "enter": _enter,  # pressed in a field or on a box, not a button
}


def _rows(people: People, faces: Sequence[str]) -> Iterator[int]:
    """Yield the rows of faces that a form names; those that are gone are left out."""
    snapshot = Snapshot(people.index, people, "")
    for text in faces:
        found = _FACE.fullmatch(text)
        row = snapshot.face(found[1], int(found[2])) if found else None
        if row is not None:
            yield row


def _tagged(people: People, person: Person, photos: Sequence[str]) -> list[int]:
    """Return those of some photos that a person is tagged on."""
    tagged = people.tagged_photos(person)
    digits = {people.index.digest[photo].tobytes().hex(): photo for photo in tagged}
    return [digits[photo] for photo in photos if photo in digits]


def _side(people: People, text: str) -> Person | int:
    """Return a person by number, or the row of a face."""
    row = next(_rows(people, [text]), None)
    return people.person(text) if row is None else row
