"""Finds the photos below a folder, and the part of them that a shard holds."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from facesearch.errors import FacesearchError
from facesearch.files import open_without_waiting
from facesearch.paths import beginning, relative_path
from facesearch.photos.exclude import IGNORE_FILE, NO_MEDIA, Exclusions
from facesearch.photos.kinds import LARGEST_LIVE, STILLS, is_clip_name, suffixes
from facesearch.photos.urls import files_below, is_photo_url

_END = 1 << 63
_TELLS_CHANGES = os.name != "nt"
# Characters of a file of patterns that are read.
_MOST = 1 << 20
# I/N
_PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


class FoundPhoto(NamedTuple):
    """A file that looks like a photo by its name.

    Attributes:
        path: Absolute, or a URL.
        size: In bytes.
        mtime_ns: When its content was last written.
        ctime_ns: When the content or what the file system says of it last changed; -1 if that is not known.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int = -1

    @classmethod
    def at(cls, path: str, about: os.stat_result) -> FoundPhoto:
        """Return the file at a path from what the file system says of it."""
        return cls(path, about.st_size, modified(about), changed(about))


class ExpectedPhotos:
    """Photos as they should be, each with a number; there may be a million, and few of them changed.

    Attributes:
        found: A byte for each: 1 once it was found as it should be.
    """

    def __init__(
        self, paths: Iterable[str], size: Sequence[int], mtime_ns: Sequence[int], ctime_ns: Sequence[int]
    ) -> None:
        self.found = bytearray(len(size))
        self._size, self._mtime_ns, self._ctime_ns = size, mtime_ns, ctime_ns
        # By folder, so that no path has to be put together to look a photo up.
        self._numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for number, path in enumerate(paths):
            folder, _, name = path.rpartition(os.sep)
            self._numbers[folder][name] = number

    def mark(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
        """Mark the photos of a folder that are as they should be; return the other entries."""
        found, number_of = self.found, self._numbers.get(folder, {}).get
        size, mtime_ns, ctime_ns = self._size, self._mtime_ns, self._ctime_ns
        others = []
        for entry in entries:
            number = number_of(entry.name)
            if number is None:
                others.append(entry)
                continue
            try:
                about = entry.stat(follow_symlinks=False)
            except OSError:
                others.append(entry)
                continue
            # A link, or whatever else took the photo's place, has another time.
            if (
                about.st_ctime_ns == ctime_ns[number]
                and about.st_mtime_ns == mtime_ns[number]
                and about.st_size == size[number]
            ):
                found[number] = 1
            else:
                others.append(entry)
        return others


@dataclass(slots=True)
class Scan:
    """The result of a walk over folders.

    Attributes:
        photos: By path, each once, without those that are as expected.
        unreadable: Folders and files that could not be read, with the reason.
        passed_over: How many other files there were, by suffix in upper case.
        links: How many links were not followed.
        mounts: Folders that are other file systems than the folders they lie in.
        exclusions: What was left out below each folder.
        suffixes: Of the files that are taken for photos.
        with_live: Whether the films of Live Photos are taken, too.
        live: How many of these were not.
        expected: Photos as they should be, which are marked where they are found so.
    """

    photos: dict[str, FoundPhoto] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    links: int = 0
    mounts: set[str] = field(default_factory=set)
    exclusions: dict[str, Exclusions] = field(default_factory=dict)
    suffixes: frozenset[str] = field(default_factory=suffixes)
    with_live: bool = False
    live: int = 0
    expected: ExpectedPhotos = field(default_factory=lambda: ExpectedPhotos((), (), (), ()))

    def excludes(self, path: str) -> bool:
        """Return whether a file is left out below one of the folders."""
        return any(
            exclusions.covers(relative_path(path, root))
            for root, exclusions in self.exclusions.items()
            if path.startswith(beginning(root))
        )

    def unmatched(self, patterns: Iterable[str]) -> list[str]:
        """Return the patterns that matched nothing."""
        matched = {pattern for one in self.exclusions.values() for pattern in one.matched}
        return [pattern for pattern in patterns if pattern not in matched]


def find_photos(
    root: str,
    scan: Scan,
    *,
    exclude: Sequence[str] = (),
    defaults: bool = True,
    hidden: bool = False,
    follow: bool = False,
) -> None:
    """Add the photos below a folder, or the one file that `root` is, to a scan.

    If `root` is a file, it is added whatever its suffix. Links to folders and files inside the folder are
    skipped unless `follow`; a folder that is reached twice is read once, so that a loop of links ends.

    Args:
        root: Absolute path, or URL.
        scan: The result, to which the photos are added.
        exclude: Patterns of what is left out; see `facesearch.photos.exclude`.
        defaults: Whether folders that hold no photographs are left out.
        hidden: Whether names that begin with a dot are included.
        follow: Whether links are followed.

    Raises:
        FacesearchError: A pattern is none.
        OSError: `root` itself does not exist or cannot be read.
    """
    exclusions = Exclusions(root, exclude, defaults=defaults)
    if is_photo_url(root):
        scan.exclusions[root] = exclusions
        _find_by_url(root, scan, exclusions, hidden=hidden)
        return
    root_stat = os.stat(root)
    if not stat.S_ISDIR(root_stat.st_mode):
        scan.photos[root] = FoundPhoto.at(root, root_stat)
        return
    with os.scandir(root):
        pass  # cannot be listed: the caller hears of it
    scan.exclusions[root] = exclusions
    _Walk(root, root_stat, scan, exclusions, hidden, follow).run()


def _find_by_url(root: str, scan: Scan, exclusions: Exclusions, *, hidden: bool) -> None:
    for path, size, written in files_below(root):
        inside = path[len(root) :].strip("/")
        if inside and not hidden and any(part.startswith(".") for part in inside.split("/")):
            continue
        if inside and exclusions.covers(inside):
            continue
        if inside and not is_photo_name(inside, scan.suffixes):
            scan.passed_over[_kind(inside)] += 1
            continue
        scan.photos[path] = FoundPhoto(path, size, written)


class _Walk:
    """A walk under way: the folders still to be read, and those already seen."""

    def __init__(
        self,
        root: str,
        about: os.stat_result,
        scan: Scan,
        exclusions: Exclusions,
        hidden: bool,
        follow: bool,
    ) -> None:
        self._pending = [(root, about.st_dev)]
        # Folders that links lead to come last, so that one inside the root has its own name.
        self._linked: list[tuple[str, os.stat_result]] = []
        self._seen = {(about.st_dev, about.st_ino)}
        self._device = about.st_dev  # of the folder whose entries are taken
        self._root, self._scan, self._exclusions = root, scan, exclusions
        self._hidden, self._follow = hidden, follow

    def run(self) -> None:
        while self._pending or self._linked:
            if self._pending:
                folder, self._device = self._pending.pop()
                self._take_all(folder, self._entries(folder))
            else:
                self._enter(*self._linked.pop())

    def _take_all(self, folder: str, entries: Sequence[os.DirEntry[str]]) -> None:
        if not self._hidden:
            entries = [entry for entry in entries if entry.name[0] != "."]
        if _TELLS_CHANGES and not self._exclusions.concern(folder=False):
            entries, every = self._scan.expected.mark(folder, entries), entries
            entries = self._without_live(entries, every)
        else:
            entries = self._without_live(entries, entries)
        for entry in sorted(entries, key=attrgetter("name")):
            self._take(entry)

    def _without_live(
        self, entries: Sequence[os.DirEntry[str]], every: Sequence[os.DirEntry[str]]
    ) -> Sequence[os.DirEntry[str]]:
        """Leave out films that a phone took with a still of the same name, in which the same is seen."""
        films = [entry for entry in entries if is_clip_name(entry.name)]
        if self._scan.with_live or not films:
            return entries
        stills = {
            stem
            for stem, suffix in (os.path.splitext(entry.name) for entry in every)
            if suffix.lower() in STILLS
        }
        live = [film for film in films if os.path.splitext(film.name)[0] in stills and _is_short(film)]
        self._scan.live += len(live)
        return [entry for entry in entries if entry not in live]

    def _take(self, entry: os.DirEntry[str]) -> None:
        try:
            self._take_any(entry)
        except FileNotFoundError:
            pass  # gone between the listing and now
        except OSError as error:
            self._scan.unreadable[entry.path] = error.strerror or str(error)

    def _take_any(self, entry: os.DirEntry[str]) -> None:
        folder = entry.is_dir(follow_symlinks=self._follow)
        if self._leaves_out(entry, folder=folder):
            return
        if folder:
            self._take_folder(entry)
        elif entry.is_symlink() and not self._follow:
            self._scan.links += 1
        elif entry.is_file(follow_symlinks=self._follow):
            self._take_file(entry)

    def _leaves_out(self, entry: os.DirEntry[str], *, folder: bool) -> bool:
        if not self._exclusions.concern(folder=folder):
            return False
        return self._exclusions.excludes(relative_path(entry.path, self._root), folder=folder)

    def _take_folder(self, entry: os.DirEntry[str]) -> None:
        about = entry.stat(follow_symlinks=self._follow)
        if not about.st_ino:  # on Windows, a listing does not tell which folder it is
            about = os.stat(entry.path, follow_symlinks=self._follow)
        if about.st_dev != self._device:
            self._scan.mounts.add(entry.path)
        if entry.is_symlink():
            self._linked.append((entry.path, about))
        else:
            self._enter(entry.path, about)

    def _enter(self, folder: str, about: os.stat_result) -> None:
        identity = about.st_dev, about.st_ino
        if identity not in self._seen:
            self._seen.add(identity)
            self._pending.append((folder, about.st_dev))

    def _take_file(self, entry: os.DirEntry[str]) -> None:
        if is_photo_name(entry.name, self._scan.suffixes):
            path = entry.path
            self._scan.photos[path] = FoundPhoto.at(path, entry.stat(follow_symlinks=self._follow))
        else:
            self._scan.passed_over[_kind(entry.name)] += 1

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return what a folder holds; nothing where it asks to be left out."""
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            self._scan.unreadable[folder] = error.strerror or str(error)
            return []
        dotted = [entry.name for entry in entries if entry.name[0] == "."]
        if NO_MEDIA in dotted and folder != self._root:
            self._exclusions.leave_out(relative_path(folder, self._root))
            return []
        if IGNORE_FILE in dotted:
            self._heed(folder)
        return entries

    def _heed(self, folder: str) -> None:
        file = os.path.join(folder, IGNORE_FILE)
        try:
            with open(
                file, encoding="utf-8-sig", errors="surrogateescape", opener=open_without_waiting
            ) as lines:
                self._exclusions.read(relative_path(folder, self._root), lines.read(_MOST).splitlines())
        except (OSError, FacesearchError) as error:
            said = error.message if isinstance(error, FacesearchError) else error.strerror
            self._scan.unreadable[file] = said or str(error)


def _is_short(film: os.DirEntry[str]) -> bool:
    try:
        return film.is_file() and film.stat().st_size < LARGEST_LIVE
    except OSError:
        return False


def _kind(name: str) -> str:
    """Return a file's suffix in upper case; "no suffix" where there is none."""
    return os.path.splitext(name)[1][1:].upper() or "no suffix"


def modified(about: os.stat_result) -> int:
    """Return when a file's content was last written, in nanoseconds, limited to 64 bits (the year 2262)."""
    return max(-_END, min(about.st_mtime_ns, _END - 1))


def changed(about: os.stat_result) -> int:
    """Return when a file was last changed in any way, in nanoseconds; -1 where that is not known.

    Nobody can set this time back, as copying programs do with the other one. On Windows it is the time at
    which the file was made, which tells nothing.
    """
    return max(-1, min(about.st_ctime_ns, _END - 1)) if _TELLS_CHANGES else -1


def is_photo_name(name: str, own: frozenset[str] | None = None) -> bool:
    """Return whether a file looks like a photo by its suffix.

    Args:
        name: The file's name.
        own: The suffixes of photos; None for all that can be read here.
    """
    known = suffixes() if own is None else own
    dot = name.rfind(".")
    if dot > 0 and name[0] != ".":
        return name[dot:] in known or name[dot:].lower() in known
    return os.path.splitext(name)[1].lower() in known  # which knows what dots in front mean


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

    def holds(self, path: str, roots: Sequence[str]) -> bool:
        """Return whether a photo below one of some folders, or named by itself, is in this part."""
        below = (relative_path(path, root) for root in roots if path.startswith(beginning(root)))
        relative = min(below, key=len, default=os.path.basename(path))
        drawn = int.from_bytes(hashlib.blake2b(os.fsencode(relative), digest_size=8).digest(), "big")
        return drawn % self.of == self.number - 1
