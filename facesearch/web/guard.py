"""Who may ask: only who has the token, under the server's own name, from its own pages; and how much.

Loopback is shared by all users of a machine, and by every page that a browser shows. The token is the first
part of every address: no cookie, which a browser would give to servers on other ports too.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.show.wording import escaped

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": a browser would then say of its own pages' posts that they come from nowhere.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

LARGEST_UPLOAD = 64 << 20  # bytes
LARGEST_FORM = 64 << 10
ALL_UPLOADS = 256 << 20  # at one time
UPLOAD_SECONDS = 30.0


class Refused(Exception):
    """A request that is not answered; it carries the status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Guard:
    """Lets through who may ask, with the token taken off the path; every answer gets the security headers.

    Args:
        app: What is guarded.
        token: The first part of every address.
        hosts: Names, with the port, under which the server may be asked.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
            await self._app(self._inside(scope), receive, guarded)
        except Refused as refusal:
            await _plain(refusal.sentence, refusal.status)(scope, receive, guarded)
        except Exception as error:
            _tell(error)
            if not started:
                await _plain("That is a fault in facesearch itself.", 500)(scope, receive, guarded)

    def _check(self, scope: MutableMapping[str, Any], headers: Headers) -> None:
        """Refuse what is not from here, not for here, or without the token."""
        host = headers.get("host", "")
        # A foreign name that leads here is DNS rebinding.
        if len(headers.getlist("host")) != 1 or host.lower() not in self._hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name.")
        given = scope["path"].encode("utf-8", "surrogatepass").split(b"/", 2)[1:2]
        if not secrets.compare_digest(given[0] if given else b"", self._token):
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here without the address that was printed.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "GET and POST are understood.")
        self._check_origin(scope["method"], f"http://{host.lower()}", headers)

    def _check_origin(self, method: str, own: str, headers: Headers) -> None:
        """Refuse what another page asks a browser to send; other programs send none of these headers."""
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
        from_here = site in ("same-origin", "none")
        if not from_here and (method == "POST" or mode != "navigate"):
            raise Refused(HTTPStatus.FORBIDDEN, "Another page asked for this.")
        if method == "POST" and headers.get("origin", own).lower() != own:
            raise Refused(HTTPStatus.FORBIDDEN, "Another page sent this.")

    def _inside(self, scope: Scope) -> Scope:
        rest = scope["path"][1 + len(self._token) :] or "/"
        return {**scope, "path": rest, "raw_path": None, "root_path": ""}


class Bodies:
    """Reads what is sent, bounded in size, in time, and in what is held at one time."""

    def __init__(self, all_at_once: int = ALL_UPLOADS, seconds: float = UPLOAD_SECONDS) -> None:
        self._left = all_at_once
        self._seconds = seconds

    @asynccontextmanager
    async def read(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Read a request's body, which counts as held until the context ends.

        Raises:
            Refused: It is too large, too slow, or too much is being sent by others.
        """
        parts: list[bytes] = []
        taken = 0
        try:
            _check_length(request.headers.get("content-length", "0"), limit)
            with anyio.fail_after(self._seconds):
                async for part in request.stream():
                    taken += len(part)
                    self._left -= len(part)
                    _check_length(str(taken), limit)
                    if self._left < 0:
                        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too much is sent now: try again.")
                    parts.append(part)
            yield b"".join(parts)
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "It was sent too slowly.") from error
        except ClientDisconnect as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "It was not sent whole.") from error
        finally:
            self._left += taken


def _plain(sentence: str, status: int) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def _tell(error: Exception) -> None:
    """Tell the terminal of a fault, in one line whatever a name or a request holds."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    fault = escaped(f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})")
    logging.getLogger(__name__).error("A fault in facesearch itself: %s", fault)


def _check_length(length: str, limit: int) -> None:
    if not length.isascii() or not length.isdigit() or int(length[:20]) > limit:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {limit:,} bytes are taken.")
