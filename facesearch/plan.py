"""What there is to do: what is on disk, compared with what an index knows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from facesearch.index.layout import Layout
from facesearch.index.roots import is_within
from facesearch.photos.find import FoundPhoto, Scan, find_photos
from facesearch.photos.shard import Shard
from facesearch.photos.urls import is_there, is_url


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which photos are to be taken in.

    Attributes:
        paths: Folders and files, absolute.
        files: Photos besides, which nothing below leaves out.
        roots: Folders that the index covers besides; `files` lie below them.
        exclude: Glob patterns over names and over paths relative to a folder of `paths`.
        hidden: Whether names that begin with a dot are taken.
        follow: Whether links are followed.
        prune: Whether photos that are gone are dropped even when a root lost most of its photos.
        again: Whether forgotten photos and erased faces are taken in again.
        shard: Which part of the photos is taken; None for all.
    """

    paths: tuple[str, ...]
    files: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow: bool = False
    prune: bool = False
    again: bool = False
    shard: Shard | None = None


@dataclass(slots=True)
class Plan:
    """What there is to do.

    Attributes:
        new: Photos that are not known, or changed since, by path.
        unchanged: How many are as they were.
        gone: Known photos that are no longer there.
        problems: Paths that are missing or cannot be looked into, with the reason.
        recovered: Photos that an interrupted run had embedded already.
    """

    new: list[FoundPhoto] = field(default_factory=list)
    unchanged: int = 0
    gone: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    recovered: int = 0


def make_plan(layout: Layout, wanted: Wanted) -> tuple[Scan, Plan]:
    """Compare what is on disk with what an index knows."""
    plan = Plan()
    scan = _look(wanted, plan)
    rows = layout.rows
    for name, photo in sorted(scan.photos.items(), key=lambda item: os.fsencode(item[0])):
        row = rows.get(name)
        if row is not None and _is_as_known(layout, row, photo, again=wanted.again):
            plan.unchanged += 1
        else:
            plan.new.append(photo)
    folders = [os.fsencode(path) for path in wanted.paths if path not in plan.problems]
    unknown = [os.fsencode(path) for path in plan.problems]
    for name in rows:
        if name not in scan.photos and _is_gone(name, folders, unknown):
            plan.gone.append(name)
    return scan, plan


def _look(wanted: Wanted, plan: Plan) -> Scan:
    """Find the photos that are wanted; what cannot be looked into goes into the plan."""
    scan = Scan()
    for path in wanted.files:
        with suppress(OSError):  # gone since it was listed
            find_photos(path, scan)
    for path in wanted.paths:
        try:
            find_photos(path, scan, exclude=wanted.exclude, hidden=wanted.hidden, follow=wanted.follow)
        except OSError as error:
            plan.problems[path] = error.strerror or str(error)
    plan.problems.update(scan.unreadable)
    if wanted.shard is not None:
        roots = [os.fsencode(path) for path in wanted.paths]
        scan.photos = {path: photo for path, photo in scan.photos.items() if wanted.shard.holds(path, roots)}
    return scan


def _is_as_known(layout: Layout, row: int, photo: FoundPhoto, *, again: bool) -> bool:
    """Say whether a photo need not be opened: its faces are known, and none that was erased is wanted."""
    if again and layout.digest[row].tobytes() in layout.erased_faces:
        return False
    return (int(layout.size[row]), int(layout.mtime_ns[row])) == (photo.size, photo.mtime_ns)


def _is_gone(name: str, folders: Iterable[bytes], unknown: Iterable[bytes]) -> bool:
    """Say whether a known photo that was not found is gone, and not just left out this time."""
    path = os.fsencode(name)
    if not any(is_within(path, folder) for folder in folders):
        return False
    if any(is_within(path, folder) for folder in unknown):
        return False
    # One that --exclude leaves out now, or that --hidden took in once, stays: `forget` removes it.
    return not (is_there(name) if is_url(name) else os.path.exists(name))
