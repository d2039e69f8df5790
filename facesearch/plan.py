"""What there is to do: the photos that were asked for, compared with those of an index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import compress
from operator import not_
from typing import Any

import numpy as np

from facesearch.index.index import Index
from facesearch.machine import without_collector
from facesearch.paths import is_within, known_path, moved_path, named_below, real_path
from facesearch.photos.find import ExpectedPhotos, FoundPhoto, Scan, Shard, find_photos
from facesearch.photos.kinds import KINDS, can_read_raw, is_clip_name, raws_beside, suffixes
from facesearch.photos.urls import is_folder, is_photo_url, is_there


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """Which photos to index.

    Attributes:
        paths: Folders and files, absolute.
        files: Photos besides, which only `exclude` leaves out.
        roots: Folders that the index covers besides; `files` lie below them.
        exclude: Patterns of what is left out below `paths`; see `facesearch.photos.exclude`.
        default_excludes: Whether folders that hold no photographs are left out.
        keep_excluded: Whether photos of the index stay that a pattern leaves out now.
        kinds: Which kinds of files are looked for below `paths`; see `facesearch.photos.kinds`.
        live: Whether the films of Live Photos are looked at, too.
        hidden: Whether names that begin with a dot are included.
        follow: Whether links are followed.
        prune: Whether photos that are gone are dropped even when a root lost most of its photos.
        again: Whether forgotten photos and erased faces are indexed again.
        verify: Whether photos of unchanged size and time are read too, and compared.
        shard: Which part of the photos to index; None for all.
    """

    paths: tuple[str, ...]
    files: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    keep_excluded: bool = False
    kinds: tuple[str, ...] = KINDS
    live: bool = False
    hidden: bool = False
    follow: bool = False
    prune: bool = False
    again: bool = False
    verify: bool = False
    shard: Shard | None = None


@dataclass(slots=True, kw_only=True)
class Findings:
    """What there is to say of the places that were looked into, beside the photos.

    Attributes:
        problems: Paths that are missing or cannot be looked into, with the reason.
        passed_over: Files that are no photos, by suffix, the most frequent first.
        links: Links that were not followed.
        live: Films of Live Photos.
        unmatched: Patterns of what to leave out that matched nothing.
        aliases: Paths that were asked for and that the index knows by another name, with that name.
        recovered: Photos that an interrupted run had embedded already.
    """

    problems: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    links: int = 0
    live: int = 0
    unmatched: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    recovered: int = 0


@dataclass(slots=True, kw_only=True)
class Plan(Findings):
    """What an update will do.

    Attributes:
        request: What was asked for, with its places named as the index does.
        new: Photos that are not known, or are to be read again, by path.
        renewed: How many of these are only read because the index has the first format.
        unchanged: How many are as they were.
        gone: Known photos that are no longer there, or that are there twice.
        twice: Those of them whose folder was found by its other name, with that name of the photo.
        excluded: Known photos that a pattern leaves out now.
    """

    request: IndexRequest
    new: list[FoundPhoto] = field(default_factory=list)
    renewed: int = 0
    unchanged: int = 0
    gone: list[str] = field(default_factory=list)
    twice: dict[str, str] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)

    @property
    def findings(self) -> dict[str, Any]:
        """The findings by name, for the report."""
        return {one.name: getattr(self, one.name) for one in fields(Findings)}


def _named_as_known(request: IndexRequest, roots: Sequence[str]) -> tuple[IndexRequest, dict[str, str]]:
    """Name the places of a request as an index does, so that a link brings no photo in a second time.

    Args:
        request: What was asked for.
        roots: The roots of the index.

    Returns:
        The request, and those of its paths that have another name in it, with that name.
    """
    known: list[str] = list(roots)
    names: dict[str, str] = {}
    for path in request.paths:
        names[path] = known_path(path, known)
        if is_folder(names[path]):
            names[path] = _real_name(names[path], known)
            known.append(names[path])
    aliases = {path: name for path, name in names.items() if path != name}
    return replace(request, paths=tuple(dict.fromkeys(names.values()))), aliases


def _real_name(folder: str, roots: Iterable[str]) -> str:
    """Return the real name of a folder, where a link inside a root leads to another place of that root."""
    for root in roots:
        if folder != root and is_within(os.fsencode(folder), os.fsencode(root)) and not is_photo_url(folder):
            return named_below(real_path(folder), root) or folder
    return folder


@without_collector()
def make_plan(index: Index, request: IndexRequest) -> tuple[Scan, Plan]:
    """Compare the photos on disk with those of an index."""
    roots = (*index.meta.roots, *request.roots)
    request, aliases = _named_as_known(request, roots)
    plan = Plan(request=request, aliases=aliases)
    known = _KnownFiles(index, again=request.again)
    scan = _look(plan, known.expected(request))
    _name_as_known(scan, plan, roots)
    _find_new(index, known, scan, plan)
    _find_gone(index, scan, plan)
    _read_raws_again(index, scan, plan)
    return scan, plan


def _find_new(index: Index, known: _KnownFiles, scan: Scan, plan: Plan) -> None:
    """Tell the photos to be read from those that are as they were."""
    request, found = plan.request, scan.expected.found
    plan.unchanged = sum(found)
    for photo in scan.photos.values():
        row = index.rows.get(photo.path)
        if row is not None and found[row]:
            continue  # met by two names
        if row is None or request.verify or not known.has(row, photo):
            plan.new.append(photo)
        elif known.tells_picture[row]:
            plan.unchanged += 1
        else:
            plan.renewed += 1
            plan.new.append(photo)
    # Clips come last, so that no photo waits for one.
    plan.new.sort(key=lambda photo: (is_clip_name(photo.path), os.fsencode(photo.path)))


def _find_gone(index: Index, scan: Scan, plan: Plan) -> None:
    """Tell which known photos are gone, and which a pattern leaves out now."""
    request = plan.request
    looked_into = dict.fromkeys([*request.paths, *plan.aliases.values()])
    folders = [os.fsencode(path) for path in looked_into if path not in plan.problems]
    unknown = [os.fsencode(name) for path in plan.problems for name in _known_names(path, plan.aliases)]
    met = {known: name for name, known in plan.aliases.items()}
    real = cache(real_path)
    for name in compress(index.names, map(not_, scan.expected.found)):
        if name in scan.photos or not _was_looked_for(name, folders, unknown):
            continue
        if _is_gone(name, index, scan, plan, real):
            plan.gone.append(name)
        # One that --hidden took in once, or a link that was followed, stays: `forget` removes it.
        elif not request.keep_excluded and any(map(scan.excludes, _known_names(name, met))):
            plan.excluded.append(name)


def _read_raws_again(index: Index, scan: Scan, plan: Plan) -> None:
    """Let RAW photos be read again whose JPEG changed or is gone: it was their picture."""
    if not can_read_raw():
        return
    new = {photo.path for photo in plan.new}
    for path in [*new, *plan.gone]:
        for other in raws_beside(path):
            row = index.rows.get(other)
            if row is not None and other not in new:
                with suppress(OSError):  # it is gone, too
                    plan.new.append(FoundPhoto.at(other, os.stat(other)))
                    plan.unchanged -= scan.expected.found[row]
                    new.add(other)
    plan.new.sort(key=lambda photo: (is_clip_name(photo.path), os.fsencode(photo.path)))


def _is_gone(name: str, index: Index, scan: Scan, plan: Plan, real: Callable[[str], str]) -> bool:
    """Return whether a photo is gone, or was found by the other name of its folder, which is noted."""
    if is_photo_url(name):
        return not is_there(name)
    if not os.path.exists(name):
        return True
    folder, file = os.path.split(name)
    place = os.path.join(real(folder), file)
    row = index.rows.get(place)
    if place in scan.photos or (row is not None and scan.expected.found[row] == 1):
        plan.twice[name] = place
    return name in plan.twice


def _name_as_known(scan: Scan, plan: Plan, roots: Sequence[str]) -> None:
    """Name photos as below a root that is a link to a folder which the scan met by its real path."""
    links = [(root, real_path(root)) for root in roots if not is_photo_url(root)]
    links = [(root, real) for root, real in links if root != real]
    for path in plan.request.paths if links else ():
        folder, place = os.fsencode(path), os.fsencode(real_path(path))
        for root, real in links:
            if is_within(os.fsencode(root), folder) or not is_within(os.fsencode(real), place):
                continue
            met = moved_path(os.fsencode(real), place, folder)
            inside = [name for name in scan.photos if is_within(os.fsencode(name), met)]
            for name in inside:
                known = os.fsdecode(moved_path(os.fsencode(name), met, os.fsencode(root)))
                scan.photos.setdefault(known, scan.photos.pop(name)._replace(path=known))
            if inside:
                plan.aliases[os.fsdecode(met)] = root
                scan.mounts.update(
                    name for path in tuple(scan.mounts) for name in _known_names(path, plan.aliases)
                )


def _known_names(path: str, names: Mapping[str, str]) -> list[str]:
    """Return a path, and as it is called where one of some folders has another name."""
    pairs = ((os.fsencode(one), os.fsencode(other)) for one, other in names.items())
    return [
        path,
        *(
            os.fsdecode(moved_path(os.fsencode(path), *pair))
            for pair in pairs
            if is_within(os.fsencode(path), pair[0])
        ),
    ]


def _look(plan: Plan, expected: ExpectedPhotos) -> Scan:
    """Find the requested photos; what cannot be read goes into the plan."""
    request = plan.request
    scan = Scan(expected=expected, suffixes=suffixes(request.kinds), with_live=request.live)
    for path in request.files:
        with suppress(OSError):  # gone since it was listed
            find_photos(path, scan)
    for path in request.paths:
        try:
            find_photos(
                path,
                scan,
                exclude=request.exclude,
                defaults=request.default_excludes,
                hidden=request.hidden,
                follow=request.follow,
            )
        except OSError as error:
            plan.problems[path] = error.strerror or str(error)
    if not request.keep_excluded:
        for path in filter(scan.excludes, request.files):
            scan.photos.pop(path, None)
    plan.problems.update(scan.unreadable)
    plan.passed_over, plan.links, plan.live = dict(scan.passed_over.most_common()), scan.links, scan.live
    plan.unmatched = scan.unmatched(request.exclude)
    if request.shard is not None:
        shard, roots = request.shard, request.paths
        scan.photos = {path: photo for path, photo in scan.photos.items() if shard.holds(path, roots)}
    return scan


class _KnownFiles:
    """What an index knows of its photos' files, as lists: these are asked for each photo.

    Attributes:
        tells_picture: Whether a photo's digest is the picture's, or there is none; see `FileState`.
    """

    def __init__(self, index: Index, *, again: bool) -> None:
        self._index, self._erased = index, index.erased_faces if again else {}
        self._size, self._mtime_ns = index.size.tolist(), index.mtime_ns.tolist()
        self._ctime_ns = index.ctime_ns.tolist()
        told = np.logical_or(index.file_digest.any(axis=1), ~index.digest.any(axis=1))
        self.tells_picture: list[bool] = told.tolist()

    def expected(self, request: IndexRequest) -> ExpectedPhotos:
        """Return the photos by row, with what they should be like so that they need not be opened."""
        if self._erased or request.verify or request.shard is not None:
            return ExpectedPhotos((), *[[-1] * len(self._size)] * 3)
        size = [size if told else -1 for size, told in zip(self._size, self.tells_picture, strict=True)]
        return ExpectedPhotos(self._index.names, size, self._mtime_ns, self._ctime_ns)

    def has(self, row: int, photo: FoundPhoto) -> bool:
        """Return whether a photo need not be opened: its faces are known, and no erased one is wanted."""
        if self._size[row] != photo.size or self._mtime_ns[row] != photo.mtime_ns:
            return False
        if self._ctime_ns[row] != photo.ctime_ns and -1 not in (self._ctime_ns[row], photo.ctime_ns):
            return False
        erased = self._erased
        return not (erased and any(digest in erased for digest in self._index.file(row).digests))


def _was_looked_for(name: str, folders: Iterable[bytes], unknown: Iterable[bytes]) -> bool:
    """Return whether a known photo lies where the scan has looked."""
    path = os.fsencode(name)
    return any(is_within(path, folder) for folder in folders) and not any(
        is_within(path, folder) for folder in unknown
    )
