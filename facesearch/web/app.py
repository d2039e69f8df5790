"""The application: all addresses, behind the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
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

    shelf = "/{shelf:int}"
    person, face = shelf + "/person/{person:int}", shelf + "/face/{digest}/{face:int}"
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
        Route(shelf + "/uploads/{key}/{face:int}", pages.uploaded),
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
    handlers = dict.fromkeys((FacesearchError, Refused, HTTPException), fail)
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token, hosts)


def _said(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, FacesearchError):
        return error.message, error.hint, status_of(error)
    if isinstance(error, Refused):
        return error.sentence, "", error.status
    assert isinstance(error, HTTPException)
    return "There is nothing at this address.", "", error.status_code


def _style() -> bytes:
    """Give the style of all pages, and what only these have."""
    return (PAGES / "style.css").read_bytes() + (STATIC / "web.css").read_bytes()


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    def give(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=600"})

    return give
