"""Photos by URL, such as s3://bucket/folder: whatever fsspec knows, with the packages that the user chose.

A path is a URL where it begins with a scheme; file:// is an ordinary path. Credentials are the business of
each file system's own package, which takes them from the environment.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from facesearch.errors import FacesearchError
from facesearch.paths import listed_path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: "C:" is a drive
_FILE = "file://"

TRIES = 3
_FIRST_WAIT = 0.2  # seconds; each further one is twice as long

_Value = TypeVar("_Value")


def is_photo_url(path: str) -> bool:
    """Return whether a path is a URL of another file system than the machine's own."""
    return _URL.match(path) is not None and not path.lower().startswith(_FILE)


def absolute_path(path: str) -> str:
    """Return an absolute path, links kept, names as folders list them; or a URL as its file system writes it.

    Raises:
        FacesearchError: The URL's file system is not known.
    """
    if is_photo_url(path):
        system, inside = _system(path)
        return str(system.unstrip_protocol(inside))
    return listed_path(os.path.abspath(path[len(_FILE) :] if path.lower().startswith(_FILE) else path))


def is_folder(path: str) -> bool:
    """Return whether a path or URL is an existing folder; False where it cannot be found out."""
    if not is_photo_url(path):
        return os.path.isdir(path)
    try:
        return bool(_info(path)["type"] == "directory")
    except OSError:
        return False


def is_there(path: str) -> bool:
    """Return whether a file, or a link to one, exists; True where it cannot be found out."""
    if not is_photo_url(path):
        return os.path.lexists(path)
    try:
        _info(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def files_below(url: str) -> Iterator[tuple[str, int, int]]:
    """Yield all files below a folder, or the one file: URL, size in bytes, and when it was written.

    Raises:
        OSError: The folder does not exist, or cannot be listed.
    """
    system, inside = _system(url)
    about = _info(url)
    found = {inside: about}
    if about["type"] == "directory":
        found = _tried(lambda: system.find(inside, detail=True))
    for name, info in sorted(found.items()):
        yield str(system.unstrip_protocol(name)), int(info.get("size") or 0), _written(info)


def read_url(url: str) -> tuple[bytes, int]:
    """Return the bytes of a file, and when it was written.

    Raises:
        OSError: The file does not exist, cannot be read, or is being written.
    """
    system, inside = _system(url)
    for _ in range(TRIES):
        info = _info(url)
        data: bytes = _tried(lambda: system.cat_file(inside))
        if info.get("size") in (None, len(data)):
            return data, _written(info)
    raise OSError(errno.EBUSY, "it changes while it is read", url)


def state_of(url: str) -> tuple[int, int]:
    """Return a file's size in bytes, and when it was written.

    Raises:
        OSError: The file does not exist, or its file system does not answer.
    """
    info = _info(url)
    return int(info.get("size") or 0), _written(info)


def _info(url: str) -> Mapping[str, Any]:
    system, inside = _system(url)
    info: Mapping[str, Any] = _tried(lambda: system.info(inside))
    return info


def _tried(ask: Callable[[], _Value]) -> _Value:
    """Ask a file system, and repeat the request if it failed for a reason that may pass.

    Raises:
        OSError: The request failed each time, or was refused.
    """
    wait = _FIRST_WAIT
    for number in range(1, TRIES + 1):
        try:
            return ask()
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            number_of = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}
            code = number_of.get(type(error), errno.EISDIR)
            raise type(error)(code, os.strerror(code)) from error
        except Exception as error:  # each package has exceptions of its own
            if number == TRIES:
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise OSError(errno.EIO, said) from error
            time.sleep(wait)
            wait *= 2
    raise AssertionError("unreachable")


def _written(info: Mapping[str, Any]) -> int:
    """Return when a file was written, in nanoseconds, or a number that changes with it."""
    for name in ("LastModified", "mtime", "last_modified", "updated", "modified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1_000_000) * 1000
        if isinstance(value, int | float):
            return int(value * 1_000_000) * 1000
    marks = repr([info.get(name) for name in ("ETag", "etag", "md5Hash", "checksum", "updated")])
    return int.from_bytes(hashlib.blake2b(marks.encode(), digest_size=7).digest(), "big")


def _system(url: str) -> tuple[Any, str]:
    """Return a URL's file system, and the path in it."""
    scheme, _, _ = url.partition("://")
    system = _open_system(scheme.lower())
    return system, str(system._strip_protocol(url))


@lru_cache(16)
def _open_system(scheme: str) -> Any:  # noqa: ANN401 (fsspec has no types)
    try:
        import fsspec
    except ImportError as error:
        raise FacesearchError(
            f"{scheme}:// needs fsspec, which is not installed.",
            "In a checkout of facesearch, run: pip install '.[url]'",
        ) from error
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise FacesearchError(
            f"{scheme}:// needs a package that is not installed: {error}.", "Install that package."
        ) from error
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise FacesearchError(
            f"{scheme}:// is not a file system that is known.", f"Known: {known}."
        ) from error
