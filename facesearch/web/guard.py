"""The door: only requests with the token, under the server's own name and from its own pages, are answered.

Loopback is shared by all users of a machine, and by every page that a browser shows. The token is the first
part of every address: no cookie, which a browser would send to servers on other ports too.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import logging
import os
import re
import secrets
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.errors import FacesearchError
from facesearch.show.page import TEMPLATES as SHARED
from facesearch.show.page import environment
from facesearch.show.wording import escaped
from facesearch.web.requests import Refused

POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
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
TEMPLATES = Path(__file__).parent / "templates"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,128}")


@dataclass(frozen=True, kw_only=True)
class Door:
    """How a server may be asked.

    Attributes:
        token: The part of every address that is secret.
        hosts: The names of the server, each with its port where a browser says it.
        names: Further names, of a proxy for instance; without a port, any port will do.
        any_address: Whether it may be asked by any address in numbers, which no foreign name can lead to.
        prefix: What a proxy puts before the token, such as "/faces"; or empty.
        origin: Where a browser sees the pages behind a proxy, such as "https://photos.example.org"; or empty.
    """

    token: str
    hosts: frozenset[str]
    names: frozenset[str] = frozenset()
    any_address: bool = False
    prefix: str = ""
    origin: str = ""

    @property
    def root(self) -> str:
        """The beginning of every address: a slash and the token, after what a proxy puts before it."""
        return f"{self.prefix}/{self.token}"

    def knows(self, host: str) -> bool:
        """Return whether a server may be asked under a name, as it stands in the header `Host`."""
        return host in self.hosts or self._is_further(host)

    def origins(self, host: str) -> set[str]:
        """Return where the pages come from, as a browser says it, when the server is asked under a name."""
        by_proxy = {f"https://{host}"} if self._is_further(host) else set()
        return {f"http://{host}", *by_proxy, *([self.origin] if self.origin else [])}

    def _is_further(self, host: str) -> bool:
        name = re.sub(r":[0-9]{1,5}$", "", host)
        return bool({host, name} & self.names) or (self.any_address and _is_address(name))


def read_token(file: Path) -> str:
    """Return the token in a file; if there is no such file, one is made that only its owner can read.

    Raises:
        FacesearchError: It cannot be read or made, or holds something else.
    """
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise FacesearchError(f"{file}: It cannot be made: {error.strerror}.") from error
    else:
        with os.fdopen(number, "w", encoding="ascii") as made:
            made.write(secrets.token_urlsafe(24) + "\n")
    try:
        with file.open("rb") as kept:
            token = kept.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        raise FacesearchError(f"{file}: It cannot be read: {error.strerror}.") from error
    if not _TOKEN.fullmatch(token):
        raise FacesearchError(
            f"{file}: It does not hold a token.",
            "Write 22 to 128 random letters, digits, - and _ into it, or name a new file, which is made.",
        )
    return token


class Guard:
    """Passes on what may be asked, with the token taken off the path; every answer gets the security headers.

    Args:
        app: The application that is guarded.
        door: How the server may be asked.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door
        self._token = door.token.encode()

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

        headers = Headers(scope=scope)
        try:
            path = self._without_prefix(scope["path"])
            self._check(path, scope, headers)
            rest = path[1 + len(self._token) :] or "/"
            inner = {**scope, "path": rest, "raw_path": None, "root_path": ""}
            await self._app(inner, receive, send_guarded)
        except Refused as refusal:
            shown = _page if "text/html" in headers.get("accept", "") else _plain
            await shown(refusal.sentence, refusal.status)(scope, receive, send_guarded)
        except Exception as error:
            _log_fault(error)
            if not started:
                await _plain(f"{FAULT}.", 500)(scope, receive, send_guarded)

    def _without_prefix(self, path: str) -> str:
        """Return a path without what a proxy puts before the token; some proxies have taken it off."""
        prefix = self._door.prefix
        return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path

    def _check(self, path: str, scope: MutableMapping[str, Any], headers: Headers) -> None:
        """Refuse a request that is not from here, not for here, or without the token."""
        host = headers.get("host", "").lower()
        # A foreign name that leads here is DNS rebinding.
        if len(headers.getlist("host")) != 1 or not self._door.knows(host):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server does not have this name.")
        given = path.encode("utf-8", "surrogatepass").split(b"/", 2)[1:2]
        if not secrets.compare_digest(given[0] if given else b"", self._token):
            sentence = "Nothing is here: use the whole address that `facesearch serve` printed."
            raise Refused(HTTPStatus.NOT_FOUND, sentence)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and POST are supported.")
        _check_origin(scope["method"], self._door.origins(host), headers)


def _check_origin(method: str, own: set[str], headers: Headers) -> None:
    """Refuse what another site's page asks a browser to send; other programs send none of these headers."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
    from_here = site in ("same-origin", "none")
    if not from_here and (method == "POST" or mode != "navigate"):
        raise Refused(HTTPStatus.FORBIDDEN, "A page of another site asked for this.")
    if method == "POST" and "origin" in headers and headers["origin"].lower() not in own:
        raise Refused(HTTPStatus.FORBIDDEN, "A page of another site sent this.")


def _plain(sentence: str, status: int) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def _page(sentence: str, status: int) -> Response:
    """Return a page for a person who comes without the token, and so without anything else to load."""
    style = (SHARED / "style.css").read_text("utf-8")
    page = environment(TEMPLATES).get_template("door.html").render(sentence=sentence, style=Markup(style))
    known = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{known}'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(page, status, headers={"content-security-policy": policy})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _log_fault(error: Exception) -> None:
    """Log a fault for the terminal, in one line whatever a name or a request contains."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    fault = escaped(f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})")
    logging.getLogger(__name__).error("%s: %s", FAULT, fault)
