"""Paths: which lie within a folder, how they move with it, and how they are spelled.

A path is spelled as its own system does it, with slashes or, where it begins with a drive or a Windows share,
with backslashes. An index may come from another system than the one that reads it, so that the path decides,
not the machine.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import AnyStr

# How what is not Unicode in a name is written into UTF-8: as the bytes it is; on Windows as half a character.
ESCAPES = sys.getfilesystemencodeerrors()


def separator(path: AnyStr) -> AnyStr:
    """Return what stands between the names of an absolute path, or a URL."""
    if isinstance(path, bytes):
        return b"\\" if path[:1] != b"/" and (path[1:2] == b":" or path[:2] == b"\\\\") else b"/"
    return "\\" if path[:1] != "/" and (path[1:2] == ":" or path[:2] == "\\\\") else "/"


def beginning(folder: AnyStr) -> AnyStr:
    """Return what the paths of all files below a folder begin with."""
    sign = separator(folder)
    return folder.rstrip(sign) + sign


def is_within(path: bytes, folder: bytes) -> bool:
    """Return whether a path is a folder or lies below it."""
    return path == folder or path.startswith(beginning(folder))


def relative_path(path: str, folder: str) -> str:
    """Return a path below a folder relative to it, with slashes on every system."""
    return path[len(beginning(folder)) :].replace(separator(folder), "/")


def moved_path(path: bytes, old: bytes, new: bytes) -> bytes:
    """Return a path with the folder `old` at its beginning replaced by `new`; others as they are."""
    if not is_within(path, old):
        return path
    inside = path[len(beginning(old)) :].replace(separator(old), separator(new))
    return beginning(new) + inside if inside else new


def known_path(path: str, roots: Iterable[str]) -> str:
    """Return a path as it is named below one of some roots, where that is the same place; or as it is.

    Where the root `/photos` is a link to `/disk/photos`, that is `/photos/a.jpg` for `/disk/photos/a.jpg`. A
    root may also be spelled in another case than its folder lists it.
    """
    names = [root for root in roots if "://" not in root]
    if "://" in path or any(is_within(os.fsencode(path), os.fsencode(root)) for root in names):
        return path
    real = real_path(path)
    return next((name for root in names if (name := named_below(real, root)) is not None), path)


def named_below(real: str, root: str) -> str | None:
    """Return a real path as it is named below a root; None where it lies elsewhere."""
    path, place = os.fsencode(real), os.fsencode(real_path(root))
    return os.fsdecode(moved_path(path, place, os.fsencode(root))) if is_within(path, place) else None


def real_path(path: str) -> str:
    """Return the one name of a place: without links, and with each name as its folder lists it."""
    return listed_path(os.path.realpath(path))


def joined_roots(roots: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Return all roots, without those that lie below another root."""
    joined: list[str] = list(roots)
    for root in more:
        name = os.fsencode(root)
        if not any(is_within(name, os.fsencode(other)) for other in joined):
            joined = [other for other in joined if not is_within(os.fsencode(other), name)]
            joined.append(root)
    return tuple(joined)


def root_of(path: bytes, roots: Sequence[str]) -> int | None:
    """Return the number of the root that a path lies under; None where it lies under none."""
    return next((number for number, root in enumerate(roots) if is_within(path, os.fsencode(root))), None)


def listed_path(path: str) -> str:
    """Return an absolute path with each name as its folder lists it.

    On macOS and Windows, and on disks that come from there, `Photos` and `photos` are one folder, as are the
    two forms of `Été` in Unicode. A library that is named in two ways must not come in twice.
    """
    drive, rest = os.path.splitdrive(path)
    listed = drive.upper()
    for name in rest.split(os.sep)[1:]:
        listed += os.sep
        listed += _listed_name(listed, name) if name else ""
    return listed


def _listed_name(folder: str, name: str) -> str:
    others = {name.swapcase(), *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))} - {name}
    # Where names are told apart by case, as on most disks of Linux, this costs a look or two.
    if not any(os.path.lexists(os.path.join(folder, one)) for one in others):
        return name
    if not os.path.lexists(os.path.join(folder, name)):
        return name
    try:
        names = os.listdir(folder)
    except OSError:
        return name
    if name in names:
        return name
    alike = (one for one in names if _folded(one) == _folded(name))
    return next(
        (one for one in alike if _is_same(os.path.join(folder, one), os.path.join(folder, name))), name
    )


def _is_same(one: str, other: str) -> bool:
    """Return whether two names lead to one file, folder or link."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _folded(name: str) -> str:
    """Return a name for comparing: without regard to case and to the form of Unicode."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
