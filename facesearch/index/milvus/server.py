"""Talks to a Milvus server: the one file that imports pymilvus."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError, IndexAway, IndexFileError, StorageError
from facesearch.index.milvus.address import Address, patience

if TYPE_CHECKING:
    from pymilvus import MilvusClient


MOST = 16_384  # the largest number of hits of a search, or rows of an answer
# Building an index over all faces, or loading it into the server's memory, may take this long.
LONG = 3600.0

Row = dict[str, Any]
# Field -> its kind and size: "key" and "text" in bytes, "number", "vector" in dimensions.
Fields = Mapping[str, tuple[str, int]]


class Server:
    """A connection, opened when it is first used.

    Args:
        address: The address of an index on the server.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    @cached_property
    def client(self) -> MilvusClient:
        """Connect.

        Raises:
            FacesearchError: pymilvus is not installed.
            IndexAway: The server does not answer, or refuses the login.
        """
        module = _pymilvus()
        seconds = patience()
        return self._patiently(
            lambda: module.MilvusClient(timeout=min(seconds, 10.0), **self.address.login())
        )

    @property
    def version(self) -> str:
        """The server's version."""
        return str(self._call("get_server_version"))

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return list(self._call("list_collections"))

    def description(self, name: str) -> tuple[str, Fields] | None:
        """Return a collection's description and its fields; None if there is no such collection."""
        if not self._call("has_collection", name):
            return None
        about = self._call("describe_collection", name)
        return str(about.get("description", "")), {field["name"]: _kind(field) for field in about["fields"]}

    def create(self, name: str, description: str, fields: Fields, index: Mapping[str, Any]) -> None:
        """Create a collection with an index over its vectors, and load it."""
        module = _pymilvus()
        schema = module.MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )
        for field, (kind, size) in fields.items():
            schema.add_field(field, **_field(module.DataType, kind, size))
        vector = next(field for field, (kind, _) in fields.items() if kind == "vector")
        self._call("create_collection", name, schema=schema, consistency_level="Bounded")
        self.index(name, vector, index)

    def index(self, name: str, field: str, index: Mapping[str, Any]) -> None:
        """Build an index over a collection's vectors, and load it."""
        params = self.client.prepare_index_params()
        params.add_index(field, **index)
        self._call("create_index", name, params, seconds=LONG)
        self.load(name)

    def load(self, name: str) -> None:
        """Load a collection into the server's memory, where it can be searched."""
        self._call("load_collection", name, seconds=LONG)

    def unindex(self, name: str, field: str) -> None:
        """Drop a collection's index; it cannot be searched until it has another."""
        self._call("release_collection", name, seconds=LONG)
        self._call("drop_index", name, field)

    def index_of(self, name: str, field: str) -> dict[str, Any]:
        """Return the properties of a collection's index; empty if it has none."""
        if field not in self._call("list_indexes", name):
            return {}
        return dict(self._call("describe_index", name, field))

    def drop(self, name: str) -> None:
        """Remove a collection."""
        self._call("drop_collection", name)

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """Write rows, replacing those of the same key; repeating it after a failure is safe."""
        if rows:
            self._call("upsert", name, list(rows))

    def delete(self, name: str, keys: Sequence[str]) -> None:
        """Remove rows by key."""
        for some in batches(keys, 1000):
            self._call("delete", name, ids=list(some))

    def get(self, name: str, keys: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Return rows by key; missing ones are left out."""
        found: list[Row] = []
        for some in batches(keys, 1000):
            found += self._call(
                "get", name, ids=list(some), output_fields=list(fields), consistency_level="Bounded"
            )
        return found

    def where(self, name: str, condition: str, fields: Sequence[str], *, page: int = MOST) -> Iterator[Row]:
        """Yield all rows that satisfy a condition, sorted by key."""
        last = ""
        while True:
            rows = self._call(
                "query",
                name,
                filter=f'({condition}) and id > "{last}"',
                output_fields=["id", *fields],
                limit=page,
                consistency_level="Bounded",
            )
            rows = sorted(rows, key=lambda row: str(row["id"]))
            yield from rows
            if len(rows) < page:
                return
            last = rows[-1]["id"]

    def settle(self, name: str) -> None:
        """Wait until earlier writes can be read."""
        self._call("query", name, filter='id == ""', output_fields=["id"], consistency_level="Strong")

    def search(
        self, name: str, vectors: NDArray[np.float32], limit: int, params: Row, fields: Sequence[str]
    ) -> list[list[Row]]:
        """Return the rows nearest to each vector, nearest first, each with Milvus' `distance`."""
        found = self._call(
            "search",
            name,
            data=list(vectors),
            limit=limit,
            search_params=params,
            output_fields=list(fields),
            consistency_level="Bounded",
        )
        return [
            [{**hit["entity"], "id": hit["id"], "distance": hit["distance"]} for hit in hits]
            for hits in found
        ]

    def flush(self, name: str) -> None:
        """Have the server write its memory to its storage."""
        self._call("flush", name, seconds=LONG)

    def compact(self, name: str) -> None:
        """Have the server remove deleted rows from its storage, in the background."""
        self._call("compact", name)

    def _call(self, method: str, *args: Any, seconds: float | None = None, **options: Any) -> Any:  # noqa: ANN401
        timeout = seconds if seconds is not None else patience()
        act = getattr(self.client, method)

        def once() -> Any:  # noqa: ANN401
            try:
                return act(*args, timeout=timeout, **options)
            except _pymilvus().MilvusException as error:
                if "not loaded" not in said_of(error) or method == "load_collection":
                    raise
                self.client.load_collection(args[0], timeout=LONG)
                return act(*args, timeout=timeout, **options)

        return self._patiently(once)

    def _patiently(self, act: Any) -> Any:  # noqa: ANN401
        """Call `act` until it succeeds, fails for good, or patience() has passed."""
        import grpc

        until, pause = time.monotonic() + patience(), 0.1
        while True:
            try:
                return act()
            except (_pymilvus().MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
                if not passes(error) or time.monotonic() + pause > until:
                    raise sentence(error, self.address.server) from error
            time.sleep(pause)
            pause = min(2 * pause, 4.0)


def batches(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Split a sequence into batches of at most `size`."""
    return (things[start : start + size] for start in range(0, len(things), size))


def quoted(names: Iterable[str]) -> str:
    """Return a list of names for a condition; the names contain no quotes."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _pymilvus() -> Any:  # noqa: ANN401 (it has no types)
    # Its own reports, with tracebacks, are not for users; it logs to stderr as soon as it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Its handlers of fork sometimes abort the processes that Ray starts, which never call it.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        import pymilvus
    except ModuleNotFoundError as error:
        raise FacesearchError(
            "An index in Milvus needs pymilvus, which is not installed.",
            "In a checkout of facesearch, run: pip install '.[cluster]'",
        ) from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return pymilvus


def _field(types: Any, kind: str, size: int) -> dict[str, Any]:  # noqa: ANN401
    return {
        "key": {"datatype": types.VARCHAR, "max_length": size, "is_primary": True},
        "text": {"datatype": types.VARCHAR, "max_length": size},
        "number": {"datatype": types.INT64},
        "vector": {"datatype": types.FLOAT_VECTOR, "dim": size},
    }[kind]


def _kind(field: Mapping[str, Any]) -> tuple[str, int]:
    params = field.get("params", {})
    if field.get("is_primary"):
        return "key", int(params.get("max_length", 0))
    if "dim" in params:
        return "vector", int(params["dim"])
    return ("text", int(params["max_length"])) if "max_length" in params else ("number", 0)


_MISSING = 100
_TRANSIENT = (
    "not loaded",
    "not available",
    "unavailable",
    "no available",
    "not healthy",
    "not ready",
    "not found in",
    "channel not found",
    "segment",
    "node offline",
    "fail to",
    "failed to connect",
    "connection",
    "lag too large",
    "rate limit",
    "retry",
)
_FULL = ("quota", "memory", "disk", "exhausted", "no space", "deny to write")
_REFUSED = ("auth", "credential", "permission", "unauthenticated", "privilege")


def passes(error: Exception) -> bool:
    """Return whether the same call may succeed later."""
    texts = _texts(error)
    return not any(word in texts for word in (*_REFUSED, *_FULL)) and any(
        word in texts for word in _TRANSIENT
    )


def sentence(error: Exception, name: str) -> FacesearchError:
    """Return the error that says what is wrong with a server, and the next step."""
    text, texts = said_of(error), _texts(error)
    server = f"The Milvus server at {name}"
    again = "run the same command again: what was done so far is kept."
    if any(word in texts for word in _REFUSED):
        return IndexAway(
            f"{server} refuses the login: {text}.",
            "Set FACESEARCH_MILVUS_USER and FACESEARCH_MILVUS_PASSWORD, or FACESEARCH_MILVUS_TOKEN.",
        )
    if any(word in texts for word in _FULL):
        return StorageError(f"{server} has no room left: {text}.", f"Give it more room, and {again}")
    if getattr(error, "code", None) == _MISSING:
        return IndexFileError(
            f"{server} has no such collection: {text}.", f"It may have been removed. Check, and {again}"
        )
    return IndexAway(
        f"{server} does not answer as it should: {text}.",
        f"See that it runs and can be reached (milvus+tls:// where it wants TLS), and {again}",
    )


def said_of(error: BaseException) -> str:
    """Return an error's text on one line."""
    details = getattr(error, "details", None)
    text = str(getattr(error, "message", "") or (details() if callable(details) else "") or error)
    return " ".join(text.split("stack trace")[0].split()).rstrip(".")[:300] or type(error).__name__


def _texts(error: BaseException | None) -> str:
    """Return the texts of an error and its causes: pymilvus wraps a wrong password in a failed connection."""
    texts: list[str] = []
    while error is not None and len(texts) < 5:
        code = getattr(error, "code", "")
        texts.append(f"{said_of(error)} {code() if callable(code) else ''}")
        error = error.__cause__
    return " ".join(texts).lower()
