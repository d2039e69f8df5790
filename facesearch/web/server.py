"""The server, on loopback alone; and the application that it runs: which address is answered by what.

A request goes down one stair: this server, the guard, the API or the pages, what they read of the request and
of the state that is served, and the library.
"""

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

from facesearch.errors import FacesearchError, NoFace, UnreadablePhoto
from facesearch.show.page import TEMPLATES as SHARED
from facesearch.web.api import Api, as_json
from facesearch.web.forms import Forms
from facesearch.web.guard import FAULT, HEADERS, Guard
from facesearch.web.pages import Pages, Pictures
from facesearch.web.requests import UPLOAD_SECONDS, Bodies, Refused
from facesearch.web.state import ServedLibrary, ServedState

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

STATIC = Path(__file__).parent / "static"

LOOPBACK = "127.0.0.1"
HEAD_SECONDS = 10.0
BODY_SECONDS = UPLOAD_SECONDS + 10.0  # what reads the body gives up first, with a sentence
ANSWER_SECONDS = 30.0
THREADS = 16  # that wait for a disk or draw pictures; each may keep some MB of what it once needed
CONNECTIONS = 512  # each takes one of the files that a process may open, usually 1024


def serve(libraries: Sequence[ServedLibrary], port: int, on_ready: Callable[[str], None]) -> None:
    """Serve libraries until SIGINT or SIGTERM.

    Args:
        libraries: What is served.
        port: The port on loopback; 0 takes a free one.
        on_ready: Called with the address, which carries the token, once the server answers.

    Raises:
        FacesearchError: The port cannot be used.
    """
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        # A browser leaves out the port where it is HTTP's own.
        ending = "" if port == 80 else f":{port}"
        hosts = frozenset({LOOPBACK + ending, "localhost" + ending})
        config = uvicorn.Config(
            make_app(libraries, token, hosts),
            http=_ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # The guard logs faults; anyone may make uvicorn write all else that it would.
            log_level="critical",
            access_log=False,
            backlog=128,  # as many are accepted at once, before one can be turned away
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
        )
        server = _Server(config, lambda: on_ready(f"http://{LOOPBACK}:{port}/{token}/"))
        with suppress(KeyboardInterrupt):  # which uvicorn raises once more after it has ended well
            server.run([listener])


def make_app(libraries: Sequence[ServedLibrary], token: str, hosts: frozenset[str]) -> ASGIApp:
    """Build the application.

    Args:
        libraries: What is served.
        token: The first part of every address.
        hosts: Names, with the port, under which the server may be asked.
    """
    state, bodies = ServedState(libraries, f"/{token}"), Bodies()
    pages = Pages(state)

    def fail(request: Request, error: Exception) -> Response:
        kind, sentence, hint, status = _explain(error)
        if "/api" in request.url.path or request.url.path.endswith("/uploads"):
            return as_json({"error": sentence, "hint": hint, "kind": kind}, status)
        return pages.message(request, sentence, hint, status)

    style = (SHARED / "style.css").read_bytes() + (STATIC / "web.css").read_bytes()
    routes = [
        Route("/style.css", _static(style, "text/css")),
        Route("/icon.svg", _static((STATIC / "icon.svg").read_bytes(), "image/svg+xml")),
        Route("/page.js", _static((STATIC / "page.js").read_bytes(), "text/javascript")),
        *Api(state, bodies).routes(),
        *Pictures(state).routes(),  # before the pages, whose addresses match these too
        *pages.routes(),
        *Forms(state, bodies, pages).routes(),
    ]
    handlers = dict.fromkeys((FacesearchError, Refused, HTTPException, Exception), fail)
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # a redirect would lead to an address without the token
    return Guard(app, token, hosts)


def _explain(error: Exception) -> tuple[str, str, str, int]:
    """Return an error's kind (for programs), its sentence, the next step, and the status of the answer."""
    if isinstance(error, NoFace):
        return "no-face", error.message, error.hint, HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, UnreadablePhoto):
        return "unreadable", error.message, error.hint, HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, FacesearchError):
        return "other", error.message, error.hint, HTTPStatus.CONFLICT
    if isinstance(error, Refused):
        return "other", error.sentence, "", error.status
    if isinstance(error, HTTPException):
        nothing = error.status_code == HTTPStatus.NOT_FOUND
        sentence = "There is nothing at this address." if nothing else "This address needs another method."
        return "other", sentence, "", error.status_code
    return "other", f"{FAULT}.", "See the terminal in which `facesearch serve` runs.", 500


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    """Return what answers with a file that does not change."""

    def answer(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=600"})

    return answer


class _Number(IntegerConvertor):
    """A number in an address, of few digits: Python refuses to read thousands of them."""

    regex = "[0-9]{1,9}"


register_url_convertor("number", _Number())


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)
        self._ready()


class _ImpatientProtocol(H11Protocol):
    """HTTP that hangs up on clients too slow to send a request or read the answer; uvicorn waits for ever."""

    _waits_for: object = None
    _reading: TimerHandle | None = None
    _writing: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        # To be told of any byte that is not read at once, not only of many.
        transport.set_write_buffer_limits(high=0)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Handle what came, and wait for what is missing."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that was not read, or for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Start to wait until the answer is read."""
        super().pause_writing()
        self._writing = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for that."""
        super().resume_writing()
        _cancel(self._writing)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for anything."""
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless an earlier answer is being sent."""
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
        """Limit the time for each part of a request, which bytes that trickle in must not extend."""
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


def _listening(port: int) -> socket.socket:
    # asyncio sends small packets at once only if the socket says that it is TCP: else answers take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise FacesearchError(
            f"Port {port} cannot be used: {error.strerror or error}.",
            "Choose another --port, or 0 for a free one.",
        ) from error
    return listener
