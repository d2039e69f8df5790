"""The server: on loopback alone, for who has the address."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import h11
import uvicorn
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from facesearch.errors import FacesearchError
from facesearch.show.page import TEMPLATES as PAGES
from facesearch.web.api import Api, as_json
from facesearch.web.guard import HEADERS, UPLOAD_SECONDS, Guard, Refused
from facesearch.web.pages import Forms, Pages, Pictures
from facesearch.web.requests import ServedState, status_of
from facesearch.web.state import ServedLibrary

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport


LOOPBACK = "127.0.0.1"
HEAD_SECONDS = 10.0
BODY_SECONDS = UPLOAD_SECONDS + 10.0  # whoever reads the body gives up first, with a sentence
ANSWER_SECONDS = 30.0
THREADS = 16  # that wait for a disk or draw pictures; each may keep some MB of what it once needed
CONNECTIONS = 512  # each takes one of the files that a process may open, of which 1024 are usual


class Impatient(H11Protocol):
    """Hangs up on who is too slow with a request or with taking the answer; uvicorn would wait for ever."""

    _waits_for: object = None
    _reading: TimerHandle | None = None
    _writing: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        # Told of every byte that is not taken at once, not only of many.
        transport.set_write_buffer_limits(high=0)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait for what is missing."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for what is missing of a body that nobody wanted, or for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait until the answer is taken."""
        super().pause_writing()
        self._writing = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no more for that."""
        super().resume_writing()
        _cancel(self._writing)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless the answer to what came before is on its way."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = b"This request is not understood.\n"
            headers = {**HEADERS, "content-type": "text/plain; charset=utf-8", "connection": "close"}
            answer = h11.Response(status_code=400, headers=[*headers.items()], reason=b"Bad Request")
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Return each part of a request its time: what trickles in must not lengthen it."""
        state = self.conn.their_state
        if state is self._waits_for:
            return
        self._waits_for = state
        _cancel(self._reading)
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}.get(state)
        if seconds is not None:
            self._reading = self.loop.call_later(seconds, self.transport.abort)


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def serve(libraries: Sequence[ServedLibrary], port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        libraries: The libraries.
        port: On loopback; 0 takes a free one.
        on_ready: Told the address, which carries the token, once the server answers.

    Raises:
        FacesearchError: The port cannot be had.
    """
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        # A browser leaves out the port where it is HTTP's own.
        ending = "" if port == 80 else f":{port}"
        hosts = frozenset({LOOPBACK + ending, "localhost" + ending})
        config = uvicorn.Config(
            make_app(libraries, token, hosts),
            http=Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            # The guard tells of faults; all else that uvicorn would write is what anyone may make it write.
            log_level="critical",
            access_log=False,
            backlog=128,  # as many are taken at once, before one can be turned away
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
        )
        server = _Server(config, lambda: on_ready(f"http://{LOOPBACK}:{port}/{token}/"))
        with suppress(KeyboardInterrupt):  # which uvicorn sends once more, after it has ended well
            server.run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)
        self._ready()


def _listening(port: int) -> socket.socket:
    # Only of a socket that says it is TCP does asyncio send small packets at once: else answers take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise FacesearchError(
            f"Port {port} cannot be had: {error.strerror or error}.",
            "Choose another --port, or 0 for a free one.",
        ) from error
    return listener


STATIC = Path(__file__).parent / "static"


class _Number(IntegerConvertor):
    """A number in an address, of few digits: Python raises where it is to read some thousand."""

    regex = "[0-9]{1,9}"


register_url_convertor("number", _Number())


def make_app(libraries: Sequence[ServedLibrary], token: str, hosts: frozenset[str]) -> ASGIApp:
    """Build the application.

    Args:
        libraries: What is served.
        token: The first part of every address.
        hosts: Names, with the port, under which the server may be asked.
    """
    state = ServedState(libraries, f"/{token}")
    pages, forms, pictures, api = Pages(state), Forms(state), Pictures(state), Api(state)

    def fail(request: Request, error: Exception) -> Response:
        sentence, hint, status = _said(error)
        if "/api" in request.url.path or request.url.path.endswith("/uploads"):
            return as_json({"error": sentence, "hint": hint}, status)
        return pages.message(request, sentence, hint, status)

    served = "/{served:number}"
    person, face = served + "/person/{person:number}", served + "/face/{digest}/{face:number}"
    routes = [
        Route("/", pages.home),
        Route("/style.css", _static(_style(), "text/css")),
        Route("/icon.svg", _static((STATIC / "icon.svg").read_bytes(), "image/svg+xml")),
        Route("/page.js", _static((STATIC / "page.js").read_bytes(), "text/javascript")),
        *api.routes(),
        Route(served + "/", pages.served),
        Route(served + "/group", forms.group, methods=["POST"]),
        Route(served + "/uploads", pictures.upload, methods=["POST"]),
        Route(served + "/uploads/{key}.jpg", pictures.uploaded),
        Route(served + "/uploads/{key}/{face:number}", pages.uploaded),
        Route(served + "/photo/{digest}.jpg", pictures.photo),
        Route(served + "/photo/{digest}", pages.photo),
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
    """Return the style of all pages, and what only these have."""
    return (PAGES / "style.css").read_bytes() + (STATIC / "web.css").read_bytes()


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    def give(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=600"})

    return give
