"""The server, where it listens, and the application that it runs: which address is answered by what.

A request goes down one stair: this server, the guard, the API or the pages, what they read of the request and
of the state that is served, and the library.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
from facesearch.web.guard import FAULT, HEADERS, Door, Guard, read_token
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


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a server listens, and under which addresses it is reached.

    Attributes:
        host: The address or name of this machine to listen on.
        port: The port; 0 takes a free one.
        names: Further names that lead here, with a port or without.
        base_url: The address under which a proxy makes it known; may be empty.
        token_file: The file that holds the token; None for a new one.
    """

    host: str = LOOPBACK
    port: int = 0
    names: Sequence[str] = ()
    base_url: str = ""
    token_file: Path | None = None

    def check(self) -> None:
        """Check what can be checked before anything is loaded.

        Raises:
            FacesearchError: Something is not understood, or would let others in without a lasting token.
        """
        self._base()
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise FacesearchError(
                    f"{name!r} is not a name of a machine.",
                    "Give one like photos.example.org or nas:8765.",
                )
        if self.token_file is None and not _is_loopback(self.host):
            raise FacesearchError(
                f"--host {self.host} lets other machines in, and needs a token that lasts.",
                "Add --token-file FILE; it is made if it does not exist.",
            )

    def door(self, port: int) -> Door:
        """Return how the server may be asked, once its port is known.

        Raises:
            FacesearchError: The token cannot be read.
        """
        token = read_token(self.token_file) if self.token_file else secrets.token_urlsafe(24)
        # A browser leaves out the port where it is HTTP's own.
        ending = "" if port == 80 else f":{port}"
        hosts = {name + ending for name in (LOOPBACK, "localhost", _in_url(self.host).lower())}
        origin, host, prefix = self._base()
        return Door(
            token=token,
            hosts=frozenset(hosts),
            names=frozenset(name.lower() for name in (*self.names, host) if name),
            any_address=self.host in _EVERYWHERE,
            prefix=prefix,
            origin=origin,
        )

    def address(self, port: int) -> str:
        """Return what stands before the token in the address of the first page."""
        if self.base_url:
            return self.base_url.rstrip("/") + "/"
        host = LOOPBACK if self.host in _EVERYWHERE else _in_url(self.host)
        if self.host in _EVERYWHERE and self.names:
            host = self.names[0]
        return f"http://{host if _PORT.search(host) else f'{host}:{port}'}/"

    def _base(self) -> tuple[str, str, str]:
        """Return the origin, the header `Host` and the prefix of the base URL; all empty without one."""
        if not self.base_url:
            return "", "", ""
        parts = urlsplit(self.base_url)
        good = parts.scheme in ("http", "https") and _NAME.fullmatch(parts.netloc)
        if not good or parts.query or parts.fragment or not _PREFIX.fullmatch(parts.path):
            raise FacesearchError(
                f"{self.base_url!r} is not an address for pages.",
                "Give --base-url one like https://photos.example.org/faces/.",
            )
        host = parts.netloc.lower()
        return f"{parts.scheme}://{host}", host, parts.path.rstrip("/")


_PORT = re.compile(r":[0-9]{1,5}$")
_NAME = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*/?")
_EVERYWHERE = ("0.0.0.0", "::")


def serve(libraries: Sequence[ServedLibrary], place: Place, on_ready: Callable[[str, str], None]) -> None:
    """Serve libraries until SIGINT or SIGTERM.

    Args:
        libraries: What is served.
        place: Where.
        on_ready: Called with the address and the token that completes it, once the server answers.

    Raises:
        FacesearchError: The port, the address or the file of the token cannot be used.
    """
    with _listening(place) as listener:
        port = listener.getsockname()[1]
        door = place.door(port)
        config = uvicorn.Config(
            make_app(libraries, door),
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
        server = _Server(config, lambda: on_ready(place.address(port), door.token))
        with suppress(KeyboardInterrupt):  # which uvicorn raises once more after it has ended well
            server.run([listener])


def make_app(libraries: Sequence[ServedLibrary], door: Door) -> ASGIApp:
    """Build the application.

    Args:
        libraries: What is served.
        door: How it may be asked.
    """
    state, bodies = ServedState(libraries, door.root), Bodies()
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
    return Guard(app, door)


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
        allowed = (error.headers or {}).get("Allow", "another method")
        sentence = "There is nothing at this address." if nothing else f"This address takes {allowed}."
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


def _listening(place: Place) -> socket.socket:
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise FacesearchError(
            f"--host {place.host} is not an address of this machine.",
            f"Leave it out to listen on {LOOPBACK}.",
        ) from error
    family, _, _, _, address = found[0]
    # asyncio sends small packets at once only if the socket says that it is TCP: else answers take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            problem, hint = f"--host {place.host} is not an address of this machine", "--host"
        else:
            problem, hint = f"Port {place.port} cannot be used: {error.strerror or error}", "--port"
        raise FacesearchError(f"{problem}.", _CHOOSE[hint]) from error
    return listener


_CHOOSE = {
    "--host": f"Leave it out to listen on {LOOPBACK}.",
    "--port": "Choose another --port, or 0 for a free one.",
}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
