"""The application: all addresses, behind the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from facesearch.errors import FacesearchError
from facesearch.show.page import TEMPLATES as PAGES
from facesearch.web.api import Api, as_json
from facesearch.web.desk import Desk, status_of
from facesearch.web.forms import Forms
from facesearch.web.guard import Guard, Refused
from facesearch.web.pages import Pages
from facesearch.web.pictures import Pictures
from facesearch.web.shelf import Shelf

STATIC = Path(__file__).parent / "static"


class _Number(IntegerConvertor):
    """A number in an address, of few digits: Python raises where it is to read some thousand."""

    regex = "[0-9]{1,9}"


register_url_convertor("number", _Number())


def make_app(shelves: Sequence[Shelf], token: str, hosts: frozenset[str]) -> ASGIApp:
    """Build the application.

    Args:
        shelves: What is served.
        token: The first part of every address.
        hosts: Names, with the port, under which the server may be asked.
    """
    desk = Desk(shelves, f"/{token}")
    pages, forms, pictures, api = Pages(desk), Forms(desk), Pictures(desk), Api(desk)

    def fail(request: Request, error: Exception) -> Response:
        sentence, hint, status = _said(error)
        if "/api" in request.url.path or request.url.path.endswith("/uploads"):
            return as_json({"error": sentence, "hint": hint}, status)
        return pages.message(request, sentence, hint, status)

    shelf = "/{shelf:number}"
    person, face = shelf + "/person/{person:number}", shelf + "/face/{digest}/{face:number}"
    routes = [
        Route("/", pages.home),
        Route("/style.css", _static(_style(), "text/css")),
        Route("/icon.svg", _static((STATIC / "icon.svg").read_bytes(), "image/svg+xml")),
        Route("/page.js", _static((STATIC / "page.js").read_bytes(), "text/javascript")),
        *api.routes(),
        Route(shelf + "/", pages.shelf),
        Route(shelf + "/group", forms.group, methods=["POST"]),
        Route(shelf + "/uploads", pictures.upload, methods=["POST"]),
        Route(shelf + "/uploads/{key}.jpg", pictures.uploaded),
        Route(shelf + "/uploads/{key}/{face:number}", pages.uploaded),
        Route(shelf + "/photo/{digest}.jpg", pictures.photo),
        Route(shelf + "/photo/{digest}", pages.photo),
        Route(face + ".jpg", pictures.face),
        Route(face, pages.like),
        Route(face + "/name", forms.name_face, methods=["POST"]),
        Route(face + "/ignore", forms.ignore_face, methods=["POST"]),
        Route(person, pages.person),
        Route(person + "/name", forms.name_person, methods=["POST"]),
        Route(person + "/merge", forms.merge_person, methods=["POST"]),
    ]
    handlers = dict.fromkeys((FacesearchError, Refused, HTTPException, Exception), fail)
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # to where the token is missing
    return Guard(app, token, hosts)


def _said(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, FacesearchError):
        return error.message, error.hint, status_of(error)
    if isinstance(error, Refused):
        return error.sentence, "", error.status
    if isinstance(error, HTTPException):
        nothing = error.status_code == HTTPStatus.NOT_FOUND
        sentence = "There is nothing at this address." if nothing else "This address is asked in another way."
        return sentence, "", error.status_code
    return "That is a fault in facesearch itself.", "It is told where `serve` runs.", 500


def _style() -> bytes:
    """Give the style of all pages, and what only these have."""
    return (PAGES / "style.css").read_bytes() + (STATIC / "web.css").read_bytes()


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    def give(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=600"})

    return give
