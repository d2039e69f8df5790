"""The server: on loopback alone, for who has the address."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio.to_thread
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facesearch.errors import FacesearchError
from facesearch.web.app import make_app
from facesearch.web.guard import HEADERS, UPLOAD_SECONDS
from facesearch.web.shelf import Shelf

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
        """Give each part of a request its time: what trickles in must not lengthen it."""
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


def serve(shelves: Sequence[Shelf], port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        shelves: The libraries.
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
            make_app(shelves, token, hosts),
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
