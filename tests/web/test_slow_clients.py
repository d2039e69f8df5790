"""Clients that send or read slowly neither delay others nor keep a connection for ever."""

import contextlib
import socket
import threading
import time

import psutil
import pytest
from support.command import OBAMA
from support.serving import status_of

from facesearch.web.requests import UPLOAD_SECONDS
from facesearch.web.server import ANSWER_SECONDS, BODY_SECONDS, CONNECTIONS, HEAD_SECONDS

LATE = 4  # seconds that a busy machine may add


class Trickle(threading.Thread):
    """A client that sends a first piece and then single bytes, until the server hangs up.

    Attributes:
        heard: The bytes that came back.
        lasted: Seconds until the server hung up; None before that.
    """

    def __init__(self, server, first, *, pause=0.5, reads=True, byte=b"a"):
        super().__init__(daemon=True)
        self.heard, self.lasted = b"", None
        self._server, self._first, self._pause, self._reads, self._byte = server, first, pause, reads, byte
        self.start()

    def run(self):
        began = time.monotonic()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((self._server.host, self._server.port))
            connection.settimeout(self._pause)
            with contextlib.suppress(ConnectionError):
                connection.sendall(self._first)
                while self._turn(connection):
                    pass
            self.lasted = time.monotonic() - began

    def _turn(self, connection):
        if not self._reads:
            time.sleep(self._pause)
            connection.sendall(self._byte)
            return True
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            connection.sendall(self._byte)
            return True
        self.heard += piece
        return bool(piece)


@pytest.mark.slow
def test_slow_clients_are_disconnected_and_others_answered_meanwhile(server):
    photo = server.ask("/1/api/people/1").json["faces"][0]["photo"]
    length = f"Content-Length: {60 << 20}"
    head = server.head("/1/")[:-2]
    loris = [Trickle(server, head + b"X: ") for _ in range(100)]
    silent = [Trickle(server, b"", byte=b"") for _ in range(20)]
    uploads = [Trickle(server, server.head("/1/uploads", "POST", length)) for _ in range(10)]
    unwanted = [Trickle(server, server.head("/1/", "GET", length)) for _ in range(10)]
    chunked = Trickle(
        server, server.head("/1/uploads", "POST", "Transfer-Encoding: chunked"), byte=b"1\r\na\r\n"
    )
    asked = server.head(f"/1/photo/{photo}.jpg") * 200
    deaf = [Trickle(server, asked, reads=False, byte=b"") for _ in range(10)]
    began, answered = time.monotonic(), []
    while time.monotonic() - began < max(BODY_SECONDS + UPLOAD_SECONDS, ANSWER_SECONDS) + LATE:
        start = time.monotonic()
        assert server.ask("/1/").status == 200
        assert server.ask("/1/uploads", "POST", OBAMA.read_bytes()).status == 201
        answered.append(time.monotonic() - start)
        if all(one.lasted is not None for one in [*loris, *uploads, *unwanted, chunked, *silent]):
            break
        time.sleep(0.5)
    # Nobody waited for a slow client, who lasts at least so long; and mostly it took no time at all.
    assert max(answered) < min(BODY_SECONDS, UPLOAD_SECONDS, ANSWER_SECONDS)
    assert sorted(answered)[len(answered) // 2] < 2
    for one in (*loris, *silent):
        assert one.lasted is not None
        assert HEAD_SECONDS - 1 < one.lasted < HEAD_SECONDS + LATE
    for one in (*uploads, chunked):
        assert one.lasted is not None
        assert one.lasted < BODY_SECONDS + LATE
        assert status_of(one.heard) == 408
    for one in unwanted:
        assert one.lasted is not None
        assert one.lasted < BODY_SECONDS + LATE
        assert status_of(one.heard) == 200
    wait = time.monotonic() + ANSWER_SECONDS + LATE
    process = psutil.Process(server.process.pid)
    while _open(process) and time.monotonic() < wait:
        time.sleep(0.5)
    assert _open(process) == 0
    assert deaf


def _open(process):
    """Return how many connections a server has."""
    return sum(one.status != psutil.CONN_LISTEN for one in process.net_connections("inet"))


@pytest.mark.slow
def test_many_more_connections_than_are_accepted(server):
    process = psutil.Process(server.process.pid)
    held = []
    try:
        for _ in range(CONNECTIONS + 300):
            held.append(server.connect())
        time.sleep(1)
        assert _open(process) <= CONNECTIONS
        held.pop(0).close()
        time.sleep(0.2)
        assert server.ask("/1/api").status == 200
    finally:
        for one in held:
            one.close()
    assert server.ask("/1/api").status == 200
