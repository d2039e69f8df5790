"""The address of an index in Milvus, and the credentials for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from facesearch.errors import FacesearchError

PORT = 19530
SECONDS = 30.0

_FORM = "milvus://HOST:PORT/COLLECTION"
# Names that Milvus accepts; the collections of an index append to it.
_COLLECTION = re.compile("[A-Za-z_][A-Za-z0-9_]{0,199}")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a collection on a server.

    Attributes:
        name: The URL.
        host: The server's host.
        port: The server's port.
        tls: Whether the connection is encrypted.
        collection: The index's name on the server.
    """

    name: str
    host: str
    port: int
    tls: bool
    collection: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse a URL.

        Raises:
            FacesearchError: It does not name a collection on a server, or it holds a password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or PORT
        except ValueError:
            host, port, parts = None, PORT, urlsplit("")
        if parts.username is not None or parts.password is not None:
            raise FacesearchError(
                "A URL with a user or a password in it is not taken: others can read what commands are run.",
                "Set FACESEARCH_MILVUS_USER and FACESEARCH_MILVUS_PASSWORD, or FACESEARCH_MILVUS_TOKEN.",
            )
        collection = parts.path.removeprefix("/")
        if not host or not _COLLECTION.fullmatch(collection) or parts.query or parts.fragment:
            raise FacesearchError(
                f"{url!r} names no collection of a Milvus server.",
                f"Write {_FORM}, or milvus+tls:// in front; a COLLECTION's name has letters, digits and _.",
            )
        return cls(url, host, port, parts.scheme == "milvus+tls", collection)

    @property
    def server(self) -> str:
        """The server as HOST:PORT, for messages."""
        return f"{self.host}:{self.port}"

    def login(self) -> dict[str, str]:
        """Return pymilvus' arguments: the URI, and what the environment has of credentials and a CA."""
        login = {"uri": f"{'https' if self.tls else 'http'}://{_bracketed(self.host)}:{self.port}"}
        names = {"token": "TOKEN", "user": "USER", "password": "PASSWORD"}
        login.update(
            {name: os.environ.get(f"FACESEARCH_MILVUS_{variable}", "") for name, variable in names.items()}
        )
        if self.tls and (authority := os.environ.get("FACESEARCH_MILVUS_CA")):
            login["server_pem_path"] = authority
        return login


def patience() -> float:
    """Return how many seconds a server may be away or slow before a command gives up.

    Raises:
        FacesearchError: FACESEARCH_MILVUS_TIMEOUT is not a number.
    """
    text = os.environ.get("FACESEARCH_MILVUS_TIMEOUT", "")
    try:
        seconds = float(text) if text else SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise FacesearchError(
            f"FACESEARCH_MILVUS_TIMEOUT is {text!r}, and not a number of seconds.",
            "Leave it out, or set it to 30.",
        )
    return seconds


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
