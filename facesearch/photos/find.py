"""Finds the photos below a folder, and the part of them that a shard holds."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from facesearch.errors import FacesearchError
from facesearch.photos.urls import files_below, is_photo_url

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
    ]
)
# Folders that hold no photographs of the user's: thumbnails and bins of network storage, package trees.
SKIPPED_FOLDERS = frozenset(
    {"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "node_modules"}
)
# I/N
_PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A file that looks like a photo by its name; `size` in bytes."""

    path: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """The result of a walk over folders.

    Attributes:
        photos: By path, each once.
        unreadable: Folders and files that could not be read, with the reason.
    """

    photos: dict[str, FoundPhoto] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def find_photos(
    root: str, scan: Scan, *, exclude: Sequence[str] = (), hidden: bool = False, follow: bool = False
) -> None:
    """Add the photos below a folder, or the one file that `root` is, to a scan.

    If `root` is a file, it is added whatever its suffix. Links to folders and files inside the folder are
    skipped unless `follow`; a folder that is reached twice is read once, so that a loop of links ends.

    Args:
        root: Absolute path, or URL.
        scan: The result, to which the photos are added.
        exclude: Glob patterns over names and over paths relative to `root`.
        hidden: Whether names that begin with a dot are included.
        follow: Whether links are followed.

    Raises:
        OSError: `root` itself does not exist or cannot be read.
    """
    if is_photo_url(root):
        _find_by_url(root, scan, exclude, hidden=hidden)
        return
    root_stat = os.stat(root)
    if not stat.S_ISDIR(root_stat.st_mode):
        scan.photos[root] = FoundPhoto(root, root_stat.st_size, modified(root_stat))
        return
    with os.scandir(root):
        pass  # cannot be listed: the caller hears of it
    walk = _Walk(root, scan, exclude, hidden, follow)
    walk.seen.add((root_stat.st_dev, root_stat.st_ino))
    while walk.pending:
        for entry in _entries(walk.pending.pop(), scan):
            try:
                walk.take(entry)
            except FileNotFoundError:
                continue  # gone between the listing and now
            except OSError as error:
                scan.unreadable[entry.path] = error.strerror or str(error)


def _find_by_url(root: str, scan: Scan, exclude: Sequence[str], *, hidden: bool) -> None:
    for path, size, written in files_below(root):
        inside = path[len(root) :].strip("/")
        if not inside or _is_wanted(inside, exclude, hidden=hidden):
            scan.photos[path] = FoundPhoto(path, size, written)


def _is_wanted(inside: str, exclude: Sequence[str], *, hidden: bool) -> bool:
    """Return whether a walk would reach a file by its path below the root, and include it."""
    parts = inside.split("/")
    if not is_photo_name(parts[-1]) or SKIPPED_FOLDERS.intersection(parts[:-1]):
        return False
    if not hidden and any(part.startswith(".") for part in parts):
        return False
    names = [*parts, *("/".join(parts[: depth + 1]) for depth in range(len(parts)))]
    patterns = [pattern.rstrip("/") for pattern in exclude]
    return not any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


class _Walk:
    """A walk under way: the folders still to be read, and those already seen."""

    def __init__(self, root: str, scan: Scan, exclude: Sequence[str], hidden: bool, follow: bool) -> None:
        self.pending = [root]
        self.seen: set[tuple[int, int]] = set()
        self._root, self._scan = root, scan
        self._exclude = [pattern.rstrip("/") for pattern in exclude]
        self._hidden, self._follow = hidden, follow

    def take(self, entry: os.DirEntry[str]) -> None:
        if not self._wanted(entry):
            return
        if entry.is_dir(follow_symlinks=self._follow):
            about = entry.stat(follow_symlinks=self._follow)
            identity = about.st_dev, about.st_ino
            if entry.name not in SKIPPED_FOLDERS and identity not in self.seen:
                self.seen.add(identity)
                self.pending.append(entry.path)
        elif entry.is_file(follow_symlinks=self._follow) and is_photo_name(entry.name):
            about = entry.stat(follow_symlinks=self._follow)
            self._scan.photos[entry.path] = FoundPhoto(entry.path, about.st_size, modified(about))

    def _wanted(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") and not self._hidden:
            return False
        relative = os.path.relpath(entry.path, self._root) if self._exclude else ""
        return not any(
            fnmatch.fnmatch(entry.name, pattern) or fnmatch.fnmatch(relative, pattern)
            for pattern in self._exclude
        )


def _entries(folder: str, scan: Scan) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        scan.unreadable[folder] = error.strerror or str(error)
        return
    yield from entries


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file as `open`'s opener; on a named pipe it does not block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def modified(about: os.stat_result) -> int:
    """Return when a file was last changed, in nanoseconds, limited to 64 bits (the year 2262)."""
    return max(-(1 << 63), min(about.st_mtime_ns, (1 << 63) - 1))


def is_photo_name(name: str) -> bool:
    """Return whether a file looks like a photo by its suffix."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts, counted from 1.

    A photo's part follows from its path below the folder that was named. It is the same on machines that
    have the folder elsewhere, and stays the same when other photos come or go.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N".

        Raises:
            FacesearchError: The text is not of this form, or I is not between 1 and N.
        """
        match = _PART.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise FacesearchError(f"{text!r} is not a part I/N.", "The second of four parts is 2/4.")
        return cls(int(match[1]), int(match[2]))

    def holds(self, path: str, roots: Sequence[bytes]) -> bool:
        """Return whether a photo below one of some folders, or named by itself, is in this part."""
        name = os.fsencode(path)
        folders = [root.rstrip(b"/") + b"/" for root in roots]
        below = (name[len(folder) :] for folder in folders if name.startswith(folder))
        relative = min(below, key=len, default=os.path.basename(name))
        drawn = int.from_bytes(hashlib.blake2b(relative, digest_size=8).digest(), "big")
        return drawn % self.of == self.number - 1
