"""Vectors of labelled photos that are kept for the next time: an index in the user's cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from platformdirs import user_cache_dir

from facesearch.errors import IndexBusy, IndexFileError
from facesearch.update import Report


def cache_file(kind: str, made_by: Iterable[object]) -> Path:
    """Give the index file of what is made in one way; `kind` is the folder that it lies in."""
    text = "\0".join(map(str, made_by)).encode("utf-8", "surrogateescape")
    key = hashlib.blake2b(text, digest_size=12).hexdigest()
    return Path(user_cache_dir("facesearch", appauthor=False), kind, f"{key}.npz")


def bring_up_to_date(cache: Path, update: Callable[[], Report]) -> None:
    """Update a cache; one that cannot be used is made anew, since it holds nothing that cannot be had again.

    Raises:
        FacesearchError: What `update` raises else.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        report = update()
    except IndexBusy:
        raise
    except IndexFileError:
        cache.unlink(missing_ok=True)
        report = update()
    if report.interrupted:
        raise KeyboardInterrupt
