"""The door: only requests with the token, under the server's own name and from its own pages, are answered.

Loopback is shared by all users of a machine, and by every page that a browser shows. The token is the first
part of every address: no cookie, which a browser would send to servers on other ports too.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.show.wording import escaped
from facesearch.web.requests import Refused

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": a browser would then send its own pages' posts with the origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
FAULT = "A fault in facesearch itself"


class Guard:
    """Passes on what may be asked, with the token taken off the path; every answer gets the security headers.

    Args:
        app: The application that is guarded.
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

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
            await self._app(self._without_token(scope), receive, send_guarded)
        except Refused as refusal:
            await _plain(refusal.sentence, refusal.status)(scope, receive, send_guarded)
        except Exception as error:
            _log_fault(error)
            if not started:
                await _plain(f"{FAULT}.", 500)(scope, receive, send_guarded)

    def _check(self, scope: MutableMapping[str, Any], headers: Headers) -> None:
        """Refuse a request that is not from here, not for here, or without the token."""
        host = headers.get("host", "")
        # A foreign name that leads here is DNS rebinding.
        if len(headers.getlist("host")) != 1 or host.lower() not in self._hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server does not have this name.")
        given = scope["path"].encode("utf-8", "surrogatepass").split(b"/", 2)[1:2]
        if not secrets.compare_digest(given[0] if given else b"", self._token):
            sentence = "Nothing is here: use the whole address that `facesearch serve` printed."
            raise Refused(HTTPStatus.NOT_FOUND, sentence)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and POST are supported.")
        _check_origin(scope["method"], f"http://{host.lower()}", headers)

    def _without_token(self, scope: Scope) -> Scope:
        rest = scope["path"][1 + len(self._token) :] or "/"
        return {**scope, "path": rest, "raw_path": None, "root_path": ""}


def _check_origin(method: str, own: str, headers: Headers) -> None:
    """Refuse what another site's page asks a browser to send; other programs send none of these headers."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
    from_here = site in ("same-origin", "none")
    if not from_here and (method == "POST" or mode != "navigate"):
        raise Refused(HTTPStatus.FORBIDDEN, "A page of another site asked for this.")
    if method == "POST" and headers.get("origin", own).lower() != own:
        raise Refused(HTTPStatus.FORBIDDEN, "A page of another site sent this.")


def _plain(sentence: str, status: int) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def _log_fault(error: Exception) -> None:
    """Log a fault for the terminal, in one line whatever a name or a request contains."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    fault = escaped(f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})")
    logging.getLogger(__name__).error("%s: %s", FAULT, fault)
