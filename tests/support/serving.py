"""`facesearch serve` as a process of its own, and the ways in which tests send it requests."""

import contextlib
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.command import CURIE, LIBRARY, OBAMA, Tool

HTML_NAME = "<img src=x onerror=alert(1)>.jpg"
ODD_NAME = 'it\'s "100%" #1 & more?.jpg'
BYTES_NAME = b"caf\xe9 curie.jpg"  # Latin-1, as old cameras and archives have it

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

# Sample -> the name that it has in the album.
_NAMES = {"obama_2010.jpg": HTML_NAME, "obama_2009.jpg": ODD_NAME, "marie_curie.jpg": BYTES_NAME}


@dataclass
class Reply:
    """An answer: its status, its headers by lower-case name, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self):
        """The body as text."""
        return self.body.decode("utf-8")

    @property
    def json(self):
        """The body's JSON, which every address of the API sends."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


def fill_album(folder):
    """Copy the sample photos into a folder, some under names that are hard for pages and addresses."""
    folder.mkdir(parents=True)
    for photo in [*sorted(LIBRARY.iterdir()), OBAMA, CURIE]:
        name = _NAMES.get(photo.name, photo.name)
        shutil.copy2(photo, os.path.join(os.fsencode(folder), os.fsencode(name)))
    return folder


def make_album(tool, index="album.npz"):
    """Fill, index and group an album in a tool's folder."""
    album = fill_album(tool.folder / "album")
    for args in (["index", album, "--model", "sface", "--index", index], ["people", "--index", index]):
        done = tool.run(*args)
        assert done.status == 0, done
    return album


def copy_index(album, folder):
    """Make a folder's index and people those of the album."""
    for name in os.listdir(folder):
        if name.startswith("album.npz.") and not name.endswith(".lock"):
            os.unlink(folder / name)
    for name in os.listdir(album):
        if name.startswith("album.npz") and not name.endswith((".lock", ".journal")):
            # Not written over in place: a server has the old one mapped.
            shutil.copy(album / name, folder / f"{name}.new")
            os.replace(folder / f"{name}.new", folder / name)


class Served:
    """A running server, which tests ask as any program does.

    Args:
        tool: The command line that runs it.
        args: Arguments of `facesearch serve`.

    Attributes:
        address: As the process printed it, the token at its end.
    """

    def __init__(self, tool, *args, env=None):
        self.tool = tool
        self.scratch, self.cache = tool.folder / "scratch", tool.folder / "cache"
        self.scratch.mkdir(exist_ok=True)
        self._errors = tool.folder / "stderr"
        folders = {"TMPDIR": self.scratch, "XDG_CACHE_HOME": self.cache, **(env or {})}
        with self._errors.open("wb") as errors:
            self.process = tool.start("serve", "--port", 0, *args, env=folders, stderr=errors)
        self.address = _first_line(self.process, 60)
        where = urlsplit(self.address)
        self.host, self.port, self.token = where.hostname, where.port, where.path.strip("/")

    @property
    def root(self):
        """The beginning of every path."""
        return f"/{self.token}"

    @property
    def errors(self):
        """What it has written to stderr so far."""
        return self._errors.read_text(errors="replace")

    def ask(self, path, method="GET", body=None, **headers):
        """Ask for a path below the token; header names are written with _ for -."""
        return self.ask_plainly(self.root + path, method, body, **headers)

    def ask_plainly(self, path, method="GET", body=None, **headers):
        """Ask for a path just as it is."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            return _reply(connection.getresponse())

    def connect(self, timeout=30):
        """Open a bare connection."""
        return socket.create_connection((self.host, self.port), timeout)

    def send(self, data, quiet=30):
        """Send bytes as they are; return what comes back until the server hangs up or says no more."""
        with self.connect() as connection:
            connection.sendall(data)
            return received(connection, quiet)

    def head(self, path="/1/", method="GET", *lines):
        """Return the head of a request, for tests that write it themselves."""
        return "\r\n".join(
            [f"{method} {self.root}{path} HTTP/1.1", f"Host: {self.host}:{self.port}", *lines, "", ""]
        ).encode("latin-1")

    def end(self):
        """End it as Ctrl-C does; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=20)
        self.process.stdout.close()
        return status


def slow_after(count, cases):
    """Return cases for `parametrize` of which the fast suite runs the first few: one of each kind."""
    cases = list(cases)
    return [*cases[:count], *(pytest.param(case, marks=pytest.mark.slow) for case in cases[count:])]


def check_end(server):
    """End a server, and check that it ended well and never had a fault."""
    status = server.end()
    assert status == 0, server.errors
    assert server.errors == "Ctrl-C ends it.\n"


@contextlib.contextmanager
def serving(folder: Path, models: Path, index: Path, *args, env=None):
    """Serve an index until the context ends."""
    server = Served(Tool(folder, models), "--index", index, *args, env=env)
    try:
        yield server
    except BaseException:
        server.end()
        raise
    check_end(server)


def check_refusal(reply, *statuses):
    """Check that a request was refused: with one of these statuses, in a sentence, with all headers."""
    assert reply.status in statuses, reply
    for name, value in HEADERS.items():
        assert reply.headers[name] == value
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    said = re.sub(r"<[^>]*>", " ", reply.text).strip()
    assert said.rstrip('}" ').endswith(".") or "error" in said or "Back to the start" in said, said
    assert "Traceback" not in reply.text
    assert "/tests/" not in reply.text
    assert "set-cookie" not in reply.headers
    assert "access-control-allow-origin" not in reply.headers


def status_of(answer):
    """Return the status of an answer in bytes."""
    return int(answer.split(b" ", 2)[1])


def received(connection, quiet):
    """Return what comes on a connection until the other side ends it, or is quiet for so many seconds.

    The first bytes may take longer: on a busy machine, an answer has to be waited for.
    """
    parts = []
    with contextlib.suppress(ConnectionResetError, TimeoutError):
        while part := connection.recv(65536):
            parts.append(part)
            connection.settimeout(quiet)
    return b"".join(parts)


def _reply(answer):
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _first_line(process, seconds):
    """Return the first line of a process' stdout, or fail."""
    lines = queue.SimpleQueue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=seconds)
    except queue.Empty:
        line = b""
    if not line:
        process.kill()
        process.wait()
        raise AssertionError("it printed no address")
    return line.decode().strip()
