"""What is too large, too slow, broken or hostile, sent to the server."""

import contextlib
import os
import socket
import struct
import time
import zlib

import anyio
import cv2
import numpy as np
import psutil
import pytest
from starlette.requests import Request
from support.command import OBAMA
from support.serving import check_refusal, serving, slow_after, status_of

from facesearch.errors import IndexBroken
from facesearch.library import Library
from facesearch.show.thumbnails import Thumbnails
from facesearch.web import requests
from facesearch.web.state import ServedLibrary

PHOTO = OBAMA.read_bytes()


def memory(server):
    """Return the memory of the process, in bytes."""
    return psutil.Process(server.process.pid).memory_info().rss


def in_time(server, seconds=2.0):
    """Check that another client is answered soon."""
    began = time.monotonic()
    assert server.ask("/1/").status == 200
    assert time.monotonic() - began < seconds


def png(width, height, rows=b""):
    """Return a PNG that claims a size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    about = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", about) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


GIF = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF0, 0, 0) + bytes(6) + b"," + struct.pack(
    "<HHHHB", 0, 0, 65535, 65535, 0
) + b"\x02\x02\x4c\x01\x00;"  # fmt: skip

# Text, markup and a bomb come first: the fast suite sends these.
HOSTILE = {
    "text": b"Not a photo at all.\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>',
    "a bomb as png": png(60000, 60000, bytes(1 << 20)),
    "empty": b"",
    "html": b"<!doctype html><script>alert(1)</script>",
    "xml entities": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
    "a bomb as gif": GIF,
    "a jpeg's first bytes": PHOTO[:200],
    "png without rows": png(100, 100),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
    "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "zip": b"PK\x03\x04" + bytes(100),
    "zeros": bytes(1 << 20),
    "an archive of tiff": b"II*\x00\xff\xff\xff\xff" + bytes(64),
    "heic's first bytes": b"\x00\x00\x00\x18ftypheic" + bytes(64),
}


@pytest.mark.parametrize("what", slow_after(3, HOSTILE))
def test_what_is_not_a_photo_is_answered_with_a_sentence(server, what):
    before, began = memory(server), time.monotonic()
    for path in ("/1/uploads", "/1/api/query"):
        reply = server.ask(path, "POST", HOSTILE[what])
        check_refusal(reply, 422)
        assert reply.json["error"].startswith("This is not a photo that can be read. It ")
    assert time.monotonic() - began < 5
    assert memory(server) - before < 300 << 20


def test_a_photo_cut_short(server):
    reply = server.ask("/1/uploads", "POST", PHOTO[: len(PHOTO) // 2])
    check_refusal(reply, 422)


def test_a_photo_that_is_also_something_else(server):
    """Only its pixels are shown, drawn again."""
    page = b"<script>alert(document.domain)</script>"
    comment = PHOTO[:2] + b"\xff\xfe" + struct.pack(">H", len(page) + 2) + page + PHOTO[2:]
    for photo in (PHOTO + page, comment, PHOTO + b"PK\x03\x04" + page):
        reply = server.ask("/1/uploads?name=a.html", "POST", photo, Content_Type="text/html")
        assert reply.status == 201
        picture = server.ask(f"/1/uploads/{reply.json['upload']}.jpg")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.body.startswith(b"\xff\xd8\xff")
        assert b"script" not in picture.body


@pytest.mark.slow
def test_a_photo_with_very_much_beside_its_pixels(server):
    beside = (b"\xff\xee" + struct.pack(">H", 65535) + bytes(65533)) * 500
    reply = server.ask("/1/uploads", "POST", PHOTO[:2] + beside + PHOTO[2:])
    assert reply.status == 201
    assert len(reply.json["faces"]) == 1
    exif = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff\xff" * 32759
    check_refusal(server.ask("/1/uploads", "POST", PHOTO[:2] + exif[:65537] * 200 + PHOTO[2:]), 422)


@pytest.mark.slow
def test_what_is_uploaded_never_touches_the_disk(server, album):
    """No folder changes, and the kernel counts no written byte."""
    reply = server.ask("/1/uploads", "POST", PHOTO)
    process = psutil.Process(server.process.pid)
    before, written = _files(server, album), process.io_counters().write_bytes
    image = cv2.imdecode(np.frombuffer(PHOTO, np.uint8), cv2.IMREAD_COLOR)
    large = cv2.imencode(".png", cv2.resize(image, None, fx=3, fy=3))[1].tobytes()
    assert len(large) > 1 << 20  # more than a library may keep in memory by itself
    reply = server.ask("/1/uploads", "POST", large)
    assert reply.status == 201
    assert server.ask_plainly(reply.json["address"]).status == 200
    assert server.ask(f"/1/uploads/{reply.json['upload']}.jpg").status == 200
    assert server.ask("/1/api/query", "POST", large).status == 200
    assert process.io_counters().write_bytes == written
    assert _files(server, album) == before
    opened = {file.path for file in process.open_files() if "w" in (file.mode or "") or "+" in file.mode}
    assert opened <= {str(server.tool.folder / "stderr")}


def _files(server, album):
    folders = (server.tool.folder, album)
    return {
        (os.path.join(place, name), os.stat(os.path.join(place, name)).st_mtime_ns)
        for folder in folders
        for place, _, files in os.walk(folder)
        for name in files
    }


# Too large.

LARGEST = 64 << 20


@pytest.mark.parametrize(
    ("path", "limit"), [("/1/uploads", LARGEST), ("/1/api/query", LARGEST), ("/1/group", 64 << 10)]
)
def test_a_length_that_is_too_large_is_refused_before_anything_is_read(server, path, limit):
    for length in (limit + 1, 10**15):
        with server.connect() as connection:
            connection.sendall(server.head(path, "POST", f"Content-Length: {length}"))
            answer = connection.recv(65536)
            assert status_of(answer) == 413
            assert b"content-security-policy" in answer


@pytest.mark.parametrize(
    ("path", "limit"),
    [pytest.param("/1/uploads", LARGEST, marks=pytest.mark.slow), ("/1/person/1/name", 64 << 10)],
)
def test_a_body_without_a_length_is_counted(server, path, limit):
    before = memory(server)
    part = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    with server.connect() as connection:
        connection.sendall(server.head(path, "POST", "Transfer-Encoding: chunked"))
        for _ in range((limit >> 16) + 2):
            connection.sendall(part)
        assert status_of(connection.recv(65536)) == 413
    assert memory(server) - before < 3 * LARGEST
    in_time(server)


def test_a_body_shorter_than_its_length(server):
    with server.connect() as connection:
        connection.sendall(server.head("/1/uploads", "POST", f"Content-Length: {len(PHOTO)}") + PHOTO[:1000])
        connection.shutdown(socket.SHUT_WR)
        assert b"201 Created" not in connection.recv(65536)
    in_time(server)


def test_a_large_form_and_one_of_many_fields(server):
    check_refusal(server.ask("/1/person/1/name", "POST", b"name=" + b"a" * (64 << 10)), 413)
    check_refusal(server.ask("/1/person/1/name", "POST", b"a=1&" * 1000), 400)
    check_refusal(server.ask("/1/person/1/name", "POST", b"name=\xff\xfe"), 400)
    check_refusal(server.ask("/1/person/1/name", "POST", b"name=" + b"a" * 101), 409)


def test_json_that_is_not_an_object_with_a_name(server):
    for body in (
        b"[" * 60000,
        b'{"name":' * 8000,
        b"[]",
        b"null",
        b'"x"',
        b"",
        b"{",
        b"\xff",
        b'{"name": 1}',
        b'{"name": NaN}',
        b'{"name": ["a"]}',
        b'{"name": ' + b"9" * 60000 + b"}",
    ):
        check_refusal(server.ask("/1/api/people/1/name", "POST", body), 400)


def test_names_that_are_not_allowed(server):
    for name in ("\\ud800", "\\u0000", "\\u202e", "", " ", "12", "a" * 101):
        check_refusal(server.ask("/1/api/people/1/name", "POST", f'{{"name": "{name}"}}'), 409)


@pytest.mark.parametrize(
    "lines",
    slow_after(
        1,
        [
            [f"X-{number}: a" for number in range(200_000)],
            ["X: " + "a" * 2_000_000],
            ["Cookie: " + "a=b; " * 400_000],
        ],
    ),
)
def test_a_flood_of_headers(server, lines):
    with contextlib.suppress(ConnectionError):  # it may hang up before all is sent
        answer = server.send(server.head("/1/", "GET", *lines, "Connection: close"))
        assert answer == b"" or status_of(answer) == 400
    in_time(server)


def test_a_long_address(server):
    with contextlib.suppress(ConnectionError):
        answer = server.send(server.head("/1/?" + "a" * 2_000_000, "GET", "Connection: close"))
        assert answer == b"" or status_of(answer) == 400
    in_time(server)


# Two readings of where one request ends.

SMUGGLED = "GET /nothing HTTP/1.1\r\nHost: attacker.example\r\n\r\n"


@pytest.mark.parametrize(
    "request_parts",
    slow_after(
        3,
        [
            (["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n" + SMUGGLED),
            (["Transfer-Encoding: chunked", "Content-Length: 5"], "0\r\n\r\n" + SMUGGLED),
            (["Content-Length: 0", "Content-Length: 50"], SMUGGLED),
            (["Content-Length: 0, 50"], SMUGGLED),
            (["Content-Length: +0"], SMUGGLED),
            (["Content-Length: -1"], SMUGGLED),
            (["Content-Length: 0x10"], SMUGGLED),
            (["Content-Length: 1_0"], SMUGGLED),
            (["Content-Length : 0"], SMUGGLED),
            (["Content-Length: 999999999999999999999999999"], SMUGGLED),
            (["Transfer-Encoding: xchunked"], "0\r\n\r\n" + SMUGGLED),
            (["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], "0\r\n\r\n" + SMUGGLED),
            (["Transfer-Encoding : chunked"], "0\r\n\r\n" + SMUGGLED),
            (["Transfer-Encoding: chunked"], "0;a\r\nX: y\r\n\r\n" + "ZZ\r\n"),
            (["Transfer-Encoding: chunked"], "-1\r\n" + SMUGGLED),
            (["Transfer-Encoding: chunked"], "zz\r\n" + SMUGGLED),
            (["Transfer-Encoding: chunked"], "f" * 30 + "\r\n" + SMUGGLED),
            (["Expect: 100-continue", "Content-Length: 3"], "abc" + "\0\0\r\n\r\n"),
        ],
    ),
)
def test_a_request_that_can_be_read_in_two_ways(server, request_parts):
    """It is refused, or the rest is judged as any request is; and the server has no fault."""
    lines, body = request_parts
    answer = server.send(server.head("/1/api/people/999/name", "POST", *lines) + body.encode(), quiet=0.2)
    statuses = [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses
    assert set(statuses) <= {100, 400, 404, 413, 421, 501}
    assert b"attacker" not in answer
    in_time(server)


@pytest.mark.parametrize(
    "data",
    slow_after(3, [
        b"\r\n\r\n", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"SSH-2.0-x\r\n\r\n",
        b"GET /%zz%% HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\0\r\n\r\n",
    ]),
)  # fmt: skip
def test_what_is_not_http(server, data):
    with server.connect() as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536) if b"Host: a" in data else b""
    assert answer == b"" or status_of(answer) in (400, 421)
    in_time(server)


def test_a_body_that_breaks_off_behind_its_answer(server):
    """What comes after the answer was sent must not be a fault either."""
    with server.connect() as connection:
        connection.sendall(server.head("/1/api", "GET", "Transfer-Encoding: chunked"))
        assert status_of(connection.recv(65536)) == 200
        connection.sendall(b"ZZ\r\n")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
    in_time(server)


def test_too_much_at_once_is_refused_in_words_and_what_was_held_is_let_go():
    """The rest is read first: a client that is still sending would see a broken connection instead."""
    bodies = requests.Bodies(all_at_once=1000)
    sent = []

    def request(*parts):
        async def receive():
            sent.append(len(parts) - len(left))
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        left = list(parts)
        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def read(*parts):
        return await bodies.process_photo(request(*parts), len)

    with pytest.raises(requests.Refused) as refused:
        anyio.run(read, *[b"x" * 300] * 5)
    assert (refused.value.status, len(sent)) == (503, 5)
    assert anyio.run(read, b"x" * 600, b"x" * 400) == 1000


def test_an_index_that_is_written_over_in_place_ends_no_server(home, model_store):
    index = home.folder / "album.npz"
    with serving(home.folder, model_store.root, index) as server:
        before = server.ask("/1/api/query", "POST", PHOTO)
        assert before.status == 200
        with index.open("r+b") as file:  # as `cp` does
            file.truncate(100)
        for _ in range(3):
            reply = server.ask("/1/api/query", "POST", PHOTO)
            assert (reply.status, reply.text) == (200, before.text)
        assert server.process.poll() is None


def test_an_index_too_large_to_be_held_in_memory_is_not_touched_once_it_is_written_over(
    home, model_store, monkeypatch, tmp_path
):
    index = tmp_path / "album.npz"
    index.write_bytes((home.folder / "album.npz").read_bytes())
    monkeypatch.setattr("facesearch.library.HELD", 0)
    served = ServedLibrary(Library(index, store=model_store), Thumbnails(tmp_path / "thumbnails"))
    assert served.now().is_mapped
    with index.open("r+b") as file:
        file.truncate(100)
    for _ in range(2):
        with pytest.raises(IndexBroken, match="cannot be used as an index"):
            served.now()
