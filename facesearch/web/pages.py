"""The pages that a browser shows, what their templates need, and their pictures."""

from __future__ import annotations

import mimetypes
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from facesearch.errors import FacesearchError, PeopleError, UnreadablePhoto
from facesearch.faces import Box, Captured, Match, Moment, Reference
from facesearch.judge import doubt
from facesearch.models.calibration import QualityScale
from facesearch.people.facts import LONGEST, plain
from facesearch.people.grouping import ALONE
from facesearch.people.people import People, Person
from facesearch.people.photos import PeopleQuery, photos_with
from facesearch.photos.clips import clip_state, picture_at
from facesearch.photos.content import read_content
from facesearch.photos.kinds import is_clip_name
from facesearch.search import Question
from facesearch.show.page import environment
from facesearch.show.wording import few, percent, seen
from facesearch.web.requests import DIGITS, Refused, face_of, library_of, page_of, person_of, photo_of
from facesearch.web.state import ServedLibrary, ServedState, Snapshot, Upload

TEMPLATES = Path(__file__).parent / "templates"

HITS = 24  # on one page
PEOPLE = 60
FACES = 120
PAIRS = 12  # of people who may be the same
LAST_PAGE = 1000  # of matches
MOST_TOGETHER = 16  # photos, or people, that are searched for together

_CHOSEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,9})")  # a face of an uploaded photo

PHOTO_SIDE = 1600  # pixels of the longer side
SMALL_SIDE = 480
FACE_SIDE = 240

SMALL_FACE = 1 / 4  # of a photo's width: a narrower face is shown beside it
CARD = 4 / 3  # width by height of a photo in a grid, of which the rest is cut off
LOOKING = 0.5  # seconds in which the sizes of the photos of a page are looked for
STEPS = 10  # of how far a photo is moved behind what is cut off; see .shift-0 and others in web.css


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
            Route(library + "/uploads/together", self.uploaded_together),
            Route(library + "/photo/{digest}", self.photo),
            Route(library + "/face/{digest}/{face:number}", self.matches),
            Route(library + "/person/{person:number}", self.person),
            Route(library + "/same", self.same),
            Route(library + "/together", self.together),
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
        listed = Listed.of(request.query_params)
        people = listed.people(snapshot.everyone)[PEOPLE * (number - 1) :]
        faces = listed.faces(snapshot, library.card.quality)[PEOPLE * (number - 1) :]
        return self._page(
            "library.html",
            request,
            title=f"People of {library.name}",
            people=[(one, *_portrait(snapshot, one)) for one in people[:PEOPLE] if one.faces],
            faces=[face_view(snapshot, row) for row in faces[:PEOPLE]],
            listed=listed,
            shown_choices=SHOWN,
            sorted_choices=SORTED,
            count=len(snapshot.everyone),
            names=[one.name for one in snapshot.everyone if one.name],
            no_people=snapshot.no_people,
            stale=snapshot.people is not None and not snapshot.people.up_to_date,
            page=PageNumber(number, len(people) > PEOPLE or len(faces) > PEOPLE, listed.address),
        )

    def same(self, request: Request) -> Response:
        """Show who may be the same person, to say yes or no."""
        library = library_of(request, self._state)
        snapshot = library.now()
        found = snapshot.suggestions(library.card, PAIRS)
        return self._page(
            "same.html",
            request,
            title="The same person?",
            pairs=[
                (side_view(snapshot, pair.one), side_view(snapshot, pair.other), f"{pair.distance:.3f}")
                for pair in found
            ],
        )

    def together(self, request: Request) -> Response:
        """Show the photos of several people, and a form to choose them."""
        snapshot = library_of(request, self._state).now()
        people, number = snapshot.known_people(), page_of(request)
        wanted, photos, problem = Wanted(), [], ""
        values = request.query_params
        try:
            wanted = Wanted.of(values, people)
            if who := values.get("who", "").strip():
                wanted = wanted.and_also(values.get("how", ""), who, people)
            photos = wanted.photos(snapshot)
        except PeopleError as error:
            problem = f"{error.message} {error.hint}".strip()
            with suppress(PeopleError):  # who is not known is not looked for; the others are
                photos = wanted.photos(snapshot)
        place = f"{self._state.root}/{request.path_params['library']}/together"
        shown, until = photos[FACES * (number - 1) :], time.monotonic() + LOOKING
        return self._page(
            "together.html",
            request,
            title=wanted.title,
            place=place,
            wanted=wanted,
            chosen=[
                (
                    role,
                    person,
                    snapshot.face_id(people.portrait(person)) if person.faces else None,
                    wanted.but(person),
                )
                for role, person in wanted.roles()
            ],
            count=len(photos),
            photos=[together_view(snapshot, match, until) for match in shown[:FACES]],
            others=wanted.often_too(snapshot, photos),
            names=[one.name for one in snapshot.everyone if one.name and one.number not in wanted.numbers],
            problem=problem,
            roles={"with": "and", "or": "or", "without": "not"},
            page=PageNumber(number, len(shown) > FACES, f"{place}{wanted.address}&"),
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
        uploads = [UploadView(upload, key, face, self._choices(request, [(key, face)], 0))]
        return self._hits(request, library, [reference], title=title, uploads=uploads)

    def uploaded_together(self, request: Request) -> Response:
        """Show several photos of one person that were uploaded, and the matches of all of them together."""
        library = library_of(request, self._state)
        texts = request.query_params.getlist("face")[:MOST_TOGETHER]
        chosen = [
            (key, int(face)) for key, face in (one.groups() for one in map(_CHOSEN.fullmatch, texts) if one)
        ]
        found = [(key, face, self._state.uploads.get(key)) for key, face in chosen]
        kept = [(key, face, upload) for key, face, upload in found if upload is not None]
        references = [one for _, face, upload in kept if (one := upload.reference(face)) is not None]
        if not references or len(references) < len(texts):
            raise Refused(
                HTTPStatus.NOT_FOUND, "These photos are no longer kept: drop them on the page again."
            )
        return self._hits(
            request,
            library,
            references,
            title=f"Faces like these {len(references)}" if len(references) > 1 else "Faces like this one",
            uploads=[
                UploadView(
                    upload, key, face, self._choices(request, chosen, at), self._left_out(request, chosen, at)
                )
                for at, (key, face, upload) in enumerate(kept)
            ],
            left=_whole(request.query_params.get("left", "")),
            pages=f"{self._together(request, chosen)}&",
        )

    def _choices(self, request: Request, chosen: Sequence[tuple[str, int]], at: int) -> list[str]:
        """Return the addresses at which each face of one of the uploaded photos is chosen."""
        upload = self._state.uploads.get(chosen[at][0])
        faces = range(1, 1 + len(upload.photo.faces)) if upload is not None else range(0)
        others = ([*chosen[:at], (chosen[at][0], face), *chosen[at + 1 :]] for face in faces)
        return [self._together(request, one) for one in others]

    def _left_out(self, request: Request, chosen: Sequence[tuple[str, int]], at: int) -> str:
        """Return the address of all uploaded photos but one; empty where there is no other."""
        others = [*chosen[:at], *chosen[at + 1 :]]
        return self._together(request, others) if others else ""

    def _together(self, request: Request, chosen: Sequence[tuple[str, int]]) -> str:
        place = f"{self._state.root}/{request.path_params['library']}/uploads"
        if len(chosen) == 1:
            return f"{place}/{chosen[0][0]}/{chosen[0][1]}"
        return f"{place}/together?{urlencode([('face', f'{key}.{face}') for key, face in chosen])}"

    def matches(self, request: Request) -> Response:
        """Show the matches of a face of the index."""
        library = library_of(request, self._state)
        snapshot = library.now()
        row = face_of(request, snapshot)
        face = face_view(snapshot, row)
        title = f"Faces like {face.title or 'this'}"
        return self._hits(request, library, [snapshot.index.reference(row)], title=title, face=face)

    def person(self, request: Request, problem: Problem | None = None) -> Response:
        """Show a person's photos, the most certain first, with forms to name and to correct the person."""
        snapshot = library_of(request, self._state).now()
        people = snapshot.known_people()
        person = person_of(request, people)
        number = page_of(request)
        rows = _most_certain_first(people, person)
        tagged = list(people.tagged_photos(person))
        years = _years(snapshot, [*(int(snapshot.index.photo[row]) for row in rows), *tagged])
        year = request.query_params.get("year", "")
        if year in years:
            rows = _of_year(snapshot, rows, int(year))
            tagged = [photo for photo in tagged if _year(snapshot, photo) == int(year)]
        faces, until = rows[FACES * (number - 1) :], time.monotonic() + LOOKING
        place = f"{self._state.root}/{request.path_params['library']}/person/{person.number}"
        return self._page(
            "person.html",
            request,
            title=f"{person.title}, {year}" if year in years else person.title,
            person=person,
            cover=face_view(snapshot, people.portrait(person)) if person.faces else None,
            cards=[card_view(snapshot, row, until) for row in faces[:FACES]],
            tagged=[photo_view(snapshot, photo) for photo in tagged] if number == 1 else [],
            names=[one.name for one in snapshot.everyone if one.name and one.number != person.number],
            problem=problem,
            years=years,
            year=year if year in years else "",
            page=PageNumber(
                number, len(faces) > FACES, f"{place}?year={year}&" if year in years else f"{place}?"
            ),
        )

    def photo(self, request: Request) -> Response:
        """Show a large photo with its faces framed."""
        snapshot = library_of(request, self._state).now()
        photo = photo_of(request, snapshot)
        path = snapshot.index.path(photo)
        faces = [face_view(snapshot, row) for row in snapshot.index.faces_of(photo)]
        chosen = _whole(request.query_params.get("face", ""))
        shown = next((face for face in faces if face.number == chosen), faces[0] if faces else None)
        moment = shown.moment if shown is not None else None
        several = any(face.moment is not None and face.moment.frame for face in faces)
        width, height = photo_size(path, snapshot.index.digest[photo].tobytes(), faces, moment)
        back, before, after = self._neighbours(request, snapshot, photo)
        return self._page(
            "photo.html",
            request,
            title=os.path.basename(path),
            digest=request.path_params["digest"],
            folder=os.path.dirname(path),
            faces=faces,
            tagged=snapshot.tagged_on(photo),
            framed=[face for face in faces if face.moment == moment],
            chosen=chosen,
            clip=moment is not None and not moment.frame,
            at=shown.at if shown is not None else "",
            several=several,
            seen=shown.seen or ("in frame 1" if several else "") if shown is not None else "",
            **{"from": f"{moment.start / 1000:.1f}" if moment is not None else ""},
            width=width,
            height=height,
            named=snapshot.people is not None,
            names=[one.name for one in snapshot.everyone if one.name],
            back=back,
            before=before,
            after=after,
        )

    def _neighbours(self, request: Request, snapshot: Snapshot, photo: int) -> tuple[Person | None, str, str]:
        """Return whose photos are looked through, and the digests of the photos before and behind one."""
        of = request.query_params.get("of", "")
        photos: Sequence[int] = snapshot.shown
        person = snapshot.person.get(_whole(of))
        if person is not None and snapshot.people is not None:
            rows = _most_certain_first(snapshot.people, person)
            tagged = snapshot.people.tagged_photos(person)
            photos = snapshot.without_copies([*(int(snapshot.index.photo[row]) for row in rows), *tagged])
        at = photos.index(photo) if photo in photos else -1
        around = (photos[at - 1] if at > 0 else None, photos[at + 1] if 0 <= at < len(photos) - 1 else None)
        before, after = ("" if one is None else snapshot.digest(one) for one in around)
        return person, before, after

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
        self,
        request: Request,
        library: ServedLibrary,
        references: Sequence[Reference],
        pages: str = "?",
        **values: object,
    ) -> Response:
        """Show the matches of references that show one person."""
        number = min(page_of(request), LAST_PAGE)
        (answer,) = library.ask(references, Question(top=HITS * number + 1, together=True))
        shown = answer.matches[HITS * (number - 1) : HITS * number]
        snapshot = library.now()
        until = time.monotonic() + LOOKING
        hits = [view for match in shown if (view := hit_view(snapshot, match, until)) is not None]
        return self._page(
            "hits.html",
            request,
            hits=hits,
            page=PageNumber(number, len(answer.matches) > HITS * number, pages),
            looks=not library.card.identity,
            **{"uploads": [], "left": 0, **values},
        )

    def _page(self, template: str, request: Request | None = None, **values: object) -> Response:
        """Fill in a template; with a request, as a page of the index that the request is about."""
        values = {
            "root": self._state.root,
            "base": "",
            "library": None,
            "several": False,
            "toast": None,
            **values,
        }
        if request is not None:
            library = library_of(request, self._state)
            values.update(
                base=f"{self._state.root}/{request.path_params['library']}",
                library=library,
                index=library.now().index,
                several=len(self._state.libraries) > 1,
                toast=_toast(request, library.now()),
                here=request.url.path.split("/", 2)[2],
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
            Route(library + "/photo/{digest}/small.jpg", self.small),
            Route(library + "/photo/{digest}/film", self.film),
            Route(library + "/photo/{digest}/file", self.file),
            Route(library + "/face/{digest}/{face:number}.jpg", self.face),
        ]

    def photo(self, request: Request) -> Response:
        """Return a photo of the index, upright, as a JPEG."""
        return self._photo(request, PHOTO_SIDE)

    def _photo(self, request: Request, side: int) -> Response:
        library = library_of(request, self._state)
        snapshot = library.now()
        photo = photo_of(request, snapshot)
        digest = bytes.fromhex(request.path_params["digest"])
        faces = snapshot.index.faces_of(photo)
        number = _whole(request.query_params.get("face", ""))
        moment = snapshot.index.moment(faces[min(number or 1, len(faces)) - 1]) if faces else None
        if not number and moment is not None and moment.frame:
            moment = None
        return _jpeg(library.thumbnails.photo(snapshot.index.path(photo), digest, side, moment))

    def film(self, request: Request) -> Response:
        """Return a clip of the index to be played, or the part of it that a browser asks for."""
        snapshot = library_of(request, self._state).now()
        photo = photo_of(request, snapshot)
        path = snapshot.index.path(photo)
        if not is_clip_name(path):
            raise Refused(HTTPStatus.NOT_FOUND, "There is no film at this address.")
        if bytes.fromhex(request.path_params["digest"]) not in clip_state(path).digests:
            raise UnreadablePhoto("Another film is there now.", "Index it again.")
        kind = mimetypes.guess_type(path)[0] or "video/mp4"
        return FileResponse(path, media_type=kind, headers={"cache-control": "private, max-age=600"})

    def small(self, request: Request) -> Response:
        """Return a photo of the index as a small JPEG."""
        return self._photo(request, SMALL_SIDE)

    def file(self, request: Request) -> Response:
        """Return the file of a photo of the index, to be saved."""
        snapshot = library_of(request, self._state).now()
        path = snapshot.index.path(photo_of(request, snapshot))
        if is_clip_name(path):
            name = quote(os.fsencode(os.path.basename(path)))
            answer = self.film(request)
            answer.headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
            return answer
        try:
            content = read_content(path)
        except OSError as error:
            raise UnreadablePhoto(f"The photo cannot be read: {error.strerror or error}.") from error
        if bytes.fromhex(request.path_params["digest"]) not in content.file.digests:
            raise UnreadablePhoto("Another photo is there now.", "Index it again.")
        name = quote(os.fsencode(os.path.basename(path)))
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(content.data, media_type="application/octet-stream", headers=headers)

    def face(self, request: Request) -> Response:
        """Return a face of the index as a square JPEG."""
        library = library_of(request, self._state)
        snapshot = library.now()
        index, row = snapshot.index, face_of(request, snapshot)
        path, digest = index.path(int(index.photo[row])), bytes.fromhex(request.path_params["digest"])
        return _jpeg(library.thumbnails.face(path, digest, index.box(row), FACE_SIDE, index.moment(row)))

    def uploaded(self, request: Request) -> Response:
        """Return a photo that was uploaded, as a JPEG."""
        upload = self._state.uploads.get(request.path_params["key"])
        if upload is None:
            raise Refused(HTTPStatus.NOT_FOUND, "This photo is no longer kept.")
        return _jpeg(upload.picture)


def _whole(text: str) -> int:
    """Return a number of an address; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else 0


def _portrait(snapshot: Snapshot, person: Person) -> tuple[str, int]:
    return snapshot.face_id(snapshot.known_people().portrait(person))


def _years(snapshot: Snapshot, photos: Iterable[int]) -> dict[str, int]:
    """Return in which years photos were taken, the last one first, and how many."""
    years = Counter(year for photo in photos if (year := _year(snapshot, photo)) is not None)
    return {str(year): years[year] for year in sorted(years, reverse=True)}


def _year(snapshot: Snapshot, photo: int) -> int | None:
    """Return the year in which a photo was taken; None where that is not known."""
    taken = Captured.of(int(snapshot.index.captured[photo]))
    return None if taken is None else taken.year


def _of_year(snapshot: Snapshot, rows: Sequence[int], year: int) -> list[int]:
    """Return the faces whose photos were taken in a year, in the order of their dates."""
    index = snapshot.index
    dated = ((Captured.of(int(index.captured[index.photo[row]])), row) for row in rows)
    return [row for _, row in sorted((one.seconds, row) for one, row in dated if one and one.year == year)]


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
        address: What stands before the number of a page in addresses.
    """

    number: int
    more: bool
    address: str = "?"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a person was not changed, and what to do instead.

    Attributes:
        sentence: Why.
        other: The person who has the name; None where it is another problem.
        name: The name that was wanted.
        free: A name like it that nobody has.
    """

    sentence: str
    other: Person | None = None
    name: str = ""
    free: str = ""


@dataclass(frozen=True, slots=True)
class Toast:
    """What was done last, and can be taken back.

    Attributes:
        text: What was done.
        change: The key of the change in the log; empty where nothing is to be taken back.
    """

    text: str
    change: str = ""


def _toast(request: Request, snapshot: Snapshot) -> Toast | None:
    """Return what to say of the change that led to this page; None if none did, or others came since."""
    if "undone" in request.query_params:
        return Toast("The last change was taken back.")
    log = snapshot.people.log if snapshot.people is not None else ()
    if log and (did := request.query_params.get("did")) and did == log[-1].key:
        said = log[-1].did
        return Toast(f"{said[:1].upper()}{said[1:]}.", did)
    return None


# Which people are listed, and what that is called.
SHOWN = {
    "all": "All people",
    "named": "With a name",
    "unnamed": "Without a name",
    "hidden": "Hidden",
    "alone": "Faces of nobody",
    "poor": "Poor faces",
}
SORTED = {"photos": "Most photos first", "name": "By name"}


@dataclass(frozen=True, slots=True)
class Listed:
    """Which people are listed, and in which order.

    Attributes:
        show: One of `SHOWN`.
        sort: One of `SORTED`.
        words: What a name has to hold; may be empty.
    """

    show: str
    sort: str
    words: str

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Listed:
        """Read what an address asks for; what is not understood is left out."""
        show, sort = values.get("show", "all"), values.get("sort", "")
        words = values.get("q", "")[:LONGEST].strip()
        return cls(show if show in SHOWN else "all", sort if sort in SORTED else "", words)

    @property
    def address(self) -> str:
        """The beginning of the addresses of its pages."""
        values = {"show": self.show if self.show != "all" else "", "sort": self.sort, "q": self.words}
        given = urlencode({name: value for name, value in values.items() if value})
        return f"?{given}&" if given else "?"

    def people(self, everyone: Sequence[Person]) -> list[Person]:
        """Return the people who are listed."""
        if self.show in ("alone", "poor"):
            return []
        wanted = plain(self.words)
        found = [
            one
            for one in everyone
            if one.hidden == (self.show == "hidden")
            and (self.show not in ("named", "unnamed") or bool(one.name) == (self.show == "named"))
            and (not wanted or wanted in plain(one.name) or wanted == str(one.number))
        ]
        if self.sort == "photos":
            found.sort(key=lambda one: -one.photos)
        elif self.sort == "name":
            found.sort(key=lambda one: (not one.name, one.name.casefold()))
        return found

    def faces(self, snapshot: Snapshot, quality: QualityScale | None) -> list[int]:
        """Return the faces of nobody that are listed, as rows of the index."""
        if snapshot.people is None or self.show not in ("alone", "poor"):
            return []
        rows: list[int] = np.flatnonzero(snapshot.people.whose == ALONE).tolist()
        if quality is None:
            return rows if self.show == "alone" else []
        poor = set(snapshot.people.poor_and_alone(quality))
        return [row for row in rows if (row in poor) == (self.show == "poor")]


_OFTEN = 8  # people who are often in the same photos, offered


@dataclass(frozen=True)
class Wanted:
    """Which people are to be in photos.

    Attributes:
        together: Those who are in a photo together.
        others: Those of whom each will do instead.
        without: Those who must not be in it.
        only: Whether nobody else may be in it.
    """

    together: tuple[Person, ...] = ()
    others: tuple[Person, ...] = ()
    without: tuple[Person, ...] = ()
    only: bool = False

    @classmethod
    def of(cls, values: QueryParams, people: People) -> Wanted:
        """Read whom an address asks for, by number or name; who is named twice counts once.

        Raises:
            PeopleError: Nobody is called so, or several are.
        """
        wanted = cls(only=values.get("only") == "1")
        named = [(role, who) for role, who in values.multi_items() if role in _ROLES]
        for role, who in named[:MOST_TOGETHER]:
            wanted = wanted.and_also(role, who, people)
        return wanted

    def and_also(self, role: str, who: str, people: People) -> Wanted:
        """Return what is asked for when one more is named: "with", "or" or "without"; the first is with.

        Raises:
            PeopleError: Nobody is called so, or several are.
        """
        person = people.person(who.strip()[:LONGEST], exact=False)
        if person.number in self.numbers or len(self.numbers) >= MOST_TOGETHER:
            return self
        if role == "or" and self.numbers:
            return replace(self, others=(*self.others, person))
        if role == "without" and self.numbers:
            return replace(self, without=(*self.without, person))
        return replace(self, together=(*self.together, person))

    @property
    def numbers(self) -> set[int]:
        """The numbers of all who are named."""
        return {person.number for _, person in self.roles()}

    @property
    def title(self) -> str:
        """What is looked for, in words."""
        if not (self.together or self.others):
            return "Photos of several people"
        groups = [" and ".join(one.title for one in self.together), *(one.title for one in self.others)]
        without = " or ".join(one.title for one in self.without)
        title = f"Photos of {', or of '.join(one for one in groups if one)}"
        return f"{title}{', without ' + without if without else ''}{' and nobody else' if self.only else ''}"

    def roles(self) -> list[tuple[str, Person]]:
        """Return all who are named, each with how."""
        first = [("with" if at else "person", one) for at, one in enumerate(self.together)]
        return [*first, *(("or", one) for one in self.others), *(("without", one) for one in self.without)]

    @property
    def address(self) -> str:
        """What stands behind the address of the page."""
        return self._address(self.roles())

    def but(self, person: Person) -> str:
        """Return what stands behind the address of the page without somebody."""
        others = [(role, one) for role, one in self.roles() if one.number != person.number]
        return self._address(others if any(role != "without" for role, _ in others) else [])

    def _address(self, roles: Sequence[tuple[str, Person]]) -> str:
        values = [(role, str(one.number)) for role, one in roles]
        return "?" + urlencode([*values, ("only", "1")] if self.only else values)

    def photos(self, snapshot: Snapshot) -> list[Match]:
        """Return the photos, the most certain first, of copies one.

        Raises:
            PeopleError: Somebody is in no photo of the index.
        """
        people, query = snapshot.known_people(), PeopleQuery(only=self.only, unique=True)
        groups = [group for group in (self.together, *((one,) for one in self.others)) if group]
        found = [match for group in groups for match in photos_with(people, group, query).matches]
        away = {int(people.index.photo[row]) for one in self.without for row in one.faces}
        away |= {photo for one in self.without for photo in people.tagged_photos(one)}
        hidden = {people.index.digest[photo].tobytes() for photo in away}
        by_hand_last = sorted(
            found, key=lambda match: (match.by_hand, match.distance if not match.by_hand else 0)
        )
        shown: dict[bytes, Match] = {}
        for match in by_hand_last if len(groups) > 1 else found:
            photo = people.index.find(match.path)
            if photo is not None and (digest := people.index.digest[photo].tobytes()) not in hidden:
                shown.setdefault(digest, match)
        return list(shown.values())

    def often_too(self, snapshot: Snapshot, photos: Sequence[Match]) -> list[tuple[Person, int]]:
        """Return who else is in some photos, those in most first, and in how many."""
        people, numbers = snapshot.known_people(), self.numbers
        counts: Counter[int] = Counter()
        for match in photos:
            if (photo := people.index.find(match.path)) is not None:
                rows = people.index.faces_of(photo)
                counts.update(set(people.whose[rows.start : rows.stop].tolist()) - numbers)
        known = snapshot.person
        often = [(known[number], count) for number, count in counts.most_common() if number in known]
        return [(person, count) for person, count in often if not person.hidden][:_OFTEN]


_ROLES = ("person", "with", "or", "without")


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
        moment: When in a clip; None in a photo.
    """

    digest: str
    number: int
    box: Box
    name: str
    folder: str
    person: int
    title: str
    moment: Moment | None = None

    @property
    def seen(self) -> str:
        """When in a clip, or in which frame; empty in a photo."""
        return "" if self.moment is None else seen(self.moment)

    @property
    def at(self) -> str:
        """What an address of the photo's picture ends in, so that it shows this face; empty if any would."""
        return "" if self.moment is None else f"?face={self.number}"


@dataclass(frozen=True, slots=True)
class UploadView:
    """An uploaded photo that is searched with.

    Attributes:
        upload: The photo.
        key: Its key.
        chosen: The number of the face that is searched for, from 1.
        choices: The addresses at which each of its faces is chosen.
        left_out: The address without this photo; empty where there is no other.
    """

    upload: Upload
    key: str
    chosen: int
    choices: Sequence[str]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class CardView:
    """A face in its photo, as a card shows it.

    Attributes:
        face: The face.
        inset: Whether it is so small in the photo that it is shown beside it.
        shift: Which part of a photo that is not shown whole: 0 for its left or upper end, 10 for the other.
    """

    face: FaceView
    inset: bool
    shift: int


def card_view(snapshot: Snapshot, row: int, until: float) -> CardView:
    """Return a face of the index in its photo, whose size is looked for until some time."""
    face, size = face_view(snapshot, row), snapshot.size(int(snapshot.index.photo[row]), until)
    if size is None:
        return CardView(face, True, STEPS // 2)
    return CardView(face, face.box.width < SMALL_FACE * size[0], _shift(face.box, *size))


def _shift(box: Box, width: int, height: int) -> int:
    """Return how far to move a photo, so that a face is in the part of it that a card shows."""
    x, y = box.centre
    across = width / height > CARD
    y -= box.height / 8  # a head is higher than its face
    centre, whole, shown = (x, width, height * CARD) if across else (y, height, width / CARD)
    start = min(max(centre - shown / 2, 0), whole - shown)
    return round(STEPS * start / (whole - shown)) if whole - shown >= 1 else STEPS // 2


@dataclass(frozen=True, slots=True)
class HitView:
    """A match in words.

    Attributes:
        card: The matching face in its photo.
        rank: 1 for the nearest.
        distance: The distance to the reference.
        probability: The probability that both are one person; empty where it is not known.
        strangers: How many strangers' faces are expected this near; empty where it is not known.
        beyond: Whether the match is farther than the model's threshold.
        doubt: Which face is too poor to tell who it is; empty where none is.
    """

    card: CardView
    rank: int
    distance: str
    probability: str
    strangers: str
    beyond: bool
    doubt: str


@dataclass(frozen=True, slots=True)
class SideView:
    """One of two who may be the same person.

    Attributes:
        face: A face.
        title: What the person is called; empty for a face of nobody.
        amount: How many photos there are, in words.
        side: How a form names it: a person's number, or a face.
    """

    face: FaceView
    title: str
    amount: str
    side: str


def side_view(snapshot: Snapshot, side: Person | int) -> SideView:
    """Return a person, or a face of nobody by its row."""
    if isinstance(side, int):
        face = face_view(snapshot, side)
        return SideView(face, "", "1 photo", f"{face.digest}/{face.number}")
    face = face_view(snapshot, snapshot.known_people().portrait(side))
    amount = "1 photo" if side.photos == 1 else f"{side.photos:,} photos"
    return SideView(face, side.title, amount, str(side.number))


@dataclass(frozen=True, slots=True)
class PhotoView:
    """A photo as a template needs it: the digest of its content in hex, its file name and folder."""

    digest: str
    name: str
    folder: str


def photo_view(snapshot: Snapshot, photo: int) -> PhotoView:
    """Return a photo of the index."""
    folder, name = os.path.split(snapshot.index.path(photo))
    return PhotoView(snapshot.digest(photo), name, folder)


@dataclass(frozen=True, slots=True)
class TogetherView:
    """A photo of several people.

    Attributes:
        photo: The photo.
        shift: Which part of it is shown; see `CardView`.
        people: Who is in it.
    """

    photo: PhotoView
    shift: int
    people: Sequence[Person]


def together_view(snapshot: Snapshot, match: Match, until: float) -> TogetherView:
    """Return a photo of several people, by the match that found it."""
    people = snapshot.known_people()
    photo = people.index.find(match.path)
    assert photo is not None
    rows = people.index.faces_of(photo)
    numbers = set(people.whose[rows.start : rows.stop].tolist())
    size, boxes = (
        snapshot.size(photo, until),
        [snapshot.index.box(row) for row in rows if people.whose[row] > 0],
    )
    shift = _shift(_around(boxes), *size) if size is not None and boxes else STEPS // 2
    shown = sorted(
        (snapshot.person[one] for one in numbers if one in snapshot.person), key=lambda one: one.title
    )
    return TogetherView(photo_view(snapshot, photo), shift, [*shown, *snapshot.tagged_on(photo)])


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


def face_view(snapshot: Snapshot, row: int) -> FaceView:
    """Return a face of the index."""
    digest, number = snapshot.face_id(row)
    folder, name = os.path.split(snapshot.index.path(int(snapshot.index.photo[row])))
    person = int(snapshot.people.whose[row]) if snapshot.people is not None else -1
    title = snapshot.title.get(person, "")
    box, moment = snapshot.index.box(row), snapshot.index.moment(row)
    return FaceView(digest, number, box, name, folder, person, title, moment)


def hit_view(snapshot: Snapshot, match: Match, until: float) -> HitView | None:
    """Return a match in words; None where the index has changed since and no longer has it."""
    photo = snapshot.index.find(match.path)
    rows = snapshot.index.faces_of(photo) if photo is not None else range(0)
    if match.face > len(rows):
        return None
    return HitView(
        card_view(snapshot, rows[match.face - 1], until),
        match.rank,
        f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
        doubt(match),
    )


def photo_size(
    path: str, digest: bytes, faces: Sequence[FaceView], moment: Moment | None = None
) -> tuple[int, int]:
    """Return the width and height of an upright photo.

    If the file is gone, or another one lies there now, it is as much as the faces need.
    """
    try:
        file, picture = picture_at(path, moment, side=64)
        if digest not in file.digests:
            raise UnreadablePhoto("It is another photo now.")
        return picture.width, picture.height
    except (OSError, FacesearchError):
        corners = [(face.box.x + face.box.width, face.box.y + face.box.height) for face in faces]
        return max((x for x, _ in corners), default=1), max((y for _, y in corners), default=1)
