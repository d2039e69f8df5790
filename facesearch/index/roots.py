"""The folders that an index covers; none lies below another, so each photo lies under just one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def is_within(path: bytes, folder: bytes) -> bool:
    """Say whether a path is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def joined_roots(roots: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Give both, without those that lie below another: no root lies below another one."""
    joined: list[str] = list(roots)
    for root in more:
        name = os.fsencode(root)
        if not any(is_within(name, os.fsencode(other)) for other in joined):
            joined = [other for other in joined if not is_within(os.fsencode(other), name)]
            joined.append(root)
    return tuple(joined)


def root_of(path: bytes, roots: Sequence[str]) -> int | None:
    """Give the number of the root that a path lies under; None where it lies under none."""
    return next((number for number, root in enumerate(roots) if is_within(path, os.fsencode(root))), None)


def moved_path(path: bytes, old: bytes, new: bytes) -> bytes:
    """Give a path with the folder `old` at its beginning replaced by `new`; others as they are."""
    if not is_within(path, old):
        return path
    rest = path[len(old.rstrip(b"/")) :]
    return new.rstrip(b"/") + rest if rest.strip(b"/") else new
