"""What a server's errors mean: whether to try again, and what to tell the user."""

from __future__ import annotations

from facesearch.errors import FacesearchError, IndexAway, IndexFileError, StorageError

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
    """Say whether the same call may succeed after a while."""
    texts = _texts(error)
    return not any(word in texts for word in (*_REFUSED, *_FULL)) and any(
        word in texts for word in _TRANSIENT
    )


def sentence(error: Exception, name: str) -> FacesearchError:
    """Say what is wrong with a server, and the next step."""
    text, texts = said_of(error), _texts(error)
    server = f"The Milvus server at {name}"
    again = "run the same command again: what was done so far is kept."
    if any(word in texts for word in _REFUSED):
        return IndexAway(
            f"{server} does not let us in: {text}.",
            "Set FACESEARCH_MILVUS_USER and FACESEARCH_MILVUS_PASSWORD, or FACESEARCH_MILVUS_TOKEN.",
        )
    if any(word in texts for word in _FULL):
        return StorageError(f"{server} takes no more: {text}.", f"Give it more room, and {again}")
    if getattr(error, "code", None) == _MISSING:
        return IndexFileError(
            f"{server} does not have what is asked for: {text}.", f"Was it removed? Look there, and {again}"
        )
    return IndexAway(
        f"{server} does not answer as it should: {text}.",
        f"See that it runs and can be reached (milvus+tls:// where it wants TLS), and {again}",
    )


def said_of(error: BaseException) -> str:
    """Give what an error says, on one line."""
    details = getattr(error, "details", None)
    text = str(getattr(error, "message", "") or (details() if callable(details) else "") or error)
    return " ".join(text.split("stack trace")[0].split()).rstrip(".")[:300] or type(error).__name__


def _texts(error: BaseException | None) -> str:
    """Give what an error and those behind it say: pymilvus calls a wrong password a failed connection."""
    texts: list[str] = []
    while error is not None and len(texts) < 5:
        code = getattr(error, "code", "")
        texts.append(f"{said_of(error)} {code() if callable(code) else ''}")
        error = error.__cause__
    return " ".join(texts).lower()
