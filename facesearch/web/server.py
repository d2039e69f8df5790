"""The server: on loopback alone, for who has the address."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facesearch.errors import FacesearchError
from facesearch.web.app import make_app
from facesearch.web.shelf import Shelf

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

LOOPBACK = "127.0.0.1"
HEAD_SECONDS = 10.0


class Impatient(H11Protocol):
    """Hangs up on who does not send a request's head in time; uvicorn itself would wait for ever."""

    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait on where the head is not whole."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


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
        hosts = frozenset({f"{LOOPBACK}:{port}", f"localhost:{port}"})
        config = uvicorn.Config(
            make_app(shelves, token, hosts),
            http=Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
        )
        _Server(config, lambda: on_ready(f"http://{LOOPBACK}:{port}/{token}/")).run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
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
