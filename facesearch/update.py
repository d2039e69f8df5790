"""Bring an index up to date with its folders: plan, process what is new, write, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from facesearch.errors import (
    FacesearchError,
    IndexBroken,
    IndexConflict,
    IndexFileError,
    IndexFormat,
    IndexMissing,
)
from facesearch.faces import PhotoFaces, Status
from facesearch.index.backend import IndexBackend, IndexWriter, Rebuild, open_backend
from facesearch.index.index import Index, empty_index
from facesearch.index.meta import Meta, check_same_making, is_within
from facesearch.photos.find import FoundPhoto, Scan, Shard, find_photos
from facesearch.photos.urls import is_folder, is_photo_url, is_there
from facesearch.pipeline import PhotoProcessor


@dataclass(slots=True)
class Report:
    """What an update did with each photo; apart from `removed`, the numbers add up to the photos found.

    Attributes:
        indexed: New or changed photos with a face.
        no_face: New or changed photos without one.
        unreadable: New or changed photos that could not be read, with the reason.
        unchanged: As they were.
        moved: Known under another path, where they are gone.
        copied: Of the same content as another known photo.
        forgotten: Left out because `forget` removed them.
        removed: Gone from their folder, and so from the index.
        excluded: Left out by a pattern now, and so removed from the index; their names come back with them.
        kept: Gone, but kept because their folder is probably out of reach, by folder: a root that lost most
            of its photos, a file system that is not mounted, or a folder that is empty now.
        problems: Paths that are missing or cannot be looked into, with the reason.
        passed_over: Files that are no photos, by suffix.
        links: Links that were not followed.
        unmatched: Patterns of what to leave out that matched nothing.
        recovered: Photos that an interrupted run had embedded already.
        torn: Bytes that were being written when that run died; the photo is looked at again.
        faces: In the whole index now.
        photos: In the whole index now.
        seconds: For looking at the new photos.
        interrupted: Whether Ctrl-C ended the run; what was done is kept.
    """

    indexed: int = 0
    no_face: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    moved: int = 0
    copied: int = 0
    forgotten: int = 0
    removed: int = 0
    excluded: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    links: int = 0
    unmatched: list[str] = field(default_factory=list)
    recovered: int = 0
    torn: int = 0
    faces: int = 0
    photos: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def update_index(
    backend: IndexBackend | os.PathLike[str],
    meta: Meta,
    request: IndexRequest,
    pipeline: Callable[[], PhotoProcessor],
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Report:
    """Bring an index up to date with some folders; make it when there is none.

    Photos of unchanged size and time are not opened; of known content they are not looked at; what was
    embedded is in the journal at once, so that neither an error nor a kill loses it.

    Args:
        backend: Where the index is; a path stands for a file.
        meta: The model and settings that are wanted.
        request: Which photos.
        pipeline: Returns the pipeline; only called when there are photos to process.
        on_plan: Called with the plan before anything is done.
        on_photo: Called with each processed photo.

    Raises:
        IndexConflict: The index was made with another model or other settings.
        IndexFileError: It cannot be used, or another process writes it.
        StorageError: The disk is full or the folder cannot be written.
    """
    with open_backend(backend).writer(meta) as writer:
        check_same_making(writer.index.meta, meta, what="What is asked for")
        scan, plan = make_plan(writer.index, request)
        plan.recovered = writer.recovered
        on_plan(plan)
        writer.changes.cover([*request.roots, *_covered(request.paths, plan.problems)])
        run = _Run(writer, scan, plan, request)
        writer.changes.mount(scan.mounts, below=request.paths if request.prune else ())
        run.look_at_new(pipeline, on_photo)
        run.drop_gone()
        writer.commit()
        run.report.faces, run.report.photos = writer.index.face_count, writer.index.photo_count
        return run.report


def _covered(paths: Iterable[str], problems: Iterable[str]) -> list[str]:
    """Return the roots that paths belong to: folders as they are, files by their folder."""
    there = [path for path in paths if path not in problems]
    return [path if is_folder(path) else os.path.dirname(path) for path in there]


class _Run:
    """An update in progress: puts each processed photo where it belongs, and counts it."""

    def __init__(self, writer: IndexWriter, scan: Scan, plan: Plan, request: IndexRequest) -> None:
        index = writer.index
        self._writer, self._index, self._request = writer, index, request
        self._scan = scan
        self._new = [photo.path for photo in plan.new]
        self._gone = set(plan.gone)
        self._excluded = plan.excluded
        self._moved: set[str] = set()
        self._forgotten = frozenset() if request.again else frozenset(writer.changes.forgotten)
        self.report = Report(
            unchanged=plan.unchanged,
            problems=dict(plan.problems),
            passed_over=dict(plan.passed_over),
            links=plan.links,
            unmatched=plan.unmatched,
            recovered=writer.recovered,
            torn=writer.torn,
        )
        # Content that need not be looked at: the photos of the index that have it, none where forgotten.
        self.known: dict[bytes, list[int]] = {}
        for row in range(index.photo_count):
            digest = index.digest[row].tobytes()
            if any(digest):
                self.known.setdefault(digest, []).append(row)
        self.known.update((digest, []) for digest in self._forgotten)
        for digest in index.erased_faces if request.again else ():
            self.known.pop(digest, None)

    def look_at_new(
        self, pipeline: Callable[[], PhotoProcessor], on_photo: Callable[[PhotoFaces], None]
    ) -> None:
        """Process the new photos; Ctrl-C ends this, and what was done is kept."""
        began = time.monotonic()
        try:
            if self._new:
                ready = pipeline()
                began = time.monotonic()  # a model that had to be fetched is not the photos' time
                for photo in ready.run(self._new, known=self.known):
                    self.take(photo)
                    on_photo(photo)
        except KeyboardInterrupt:
            self.report.interrupted = True
        self.report.seconds = time.monotonic() - began

    def take(self, photo: PhotoFaces) -> None:
        """Put one photo into the index."""
        report, rows = self.report, self.known.get(photo.digest)
        if rows is not None and not rows:
            report.forgotten += 1
            self._writer.changes.drop(photo.path)
        elif rows is not None:
            self._take_known(photo, rows)
        elif photo.status is Status.UNREADABLE and not is_there(photo.path):
            pass  # vanished since it was found: the next run sees that it is gone
        elif photo.status is Status.UNREADABLE:
            report.unreadable[photo.path] = photo.reason
            # What cannot be read just now does not cost the faces that were read before.
            if photo.digest or photo.path not in self._index.rows:
                self._writer.add(photo)
        else:
            self._add(photo)  # before it is counted: Ctrl-C may come in between
            if photo.status is Status.OK:
                report.indexed += 1
            else:
                report.no_face += 1

    def _add(self, photo: PhotoFaces) -> None:
        if self._request.again:
            self._writer.changes.remember(photo.digest)
        self._writer.add(photo)

    def _take_known(self, photo: PhotoFaces, rows: Sequence[int]) -> None:
        own = self._index.rows.get(photo.path)
        row = own if own is not None and own in rows else rows[0]
        self._writer.changes.take(photo.path, row, photo.size, photo.mtime_ns)
        if row == own:
            self.report.unchanged += 1
        elif left := next((path for path in map(self._index.path, rows) if self._left(path)), None):
            self._moved.add(left)
            self.report.moved += 1
        else:
            self.report.copied += 1

    def _left(self, path: str) -> bool:
        return path in self._gone and path not in self._moved

    def drop_gone(self) -> None:
        """Remove what is gone, except from roots that lost so much that they are probably out of reach."""
        for name in (*self._moved, *self._excluded):
            self._writer.changes.drop(name)
        self.report.excluded = len(self._excluded)
        if self.report.interrupted:
            return  # a photo that seems gone may be one that was moved and not yet looked at
        gone: dict[int, list[str]] = {}
        for name in sorted(self._gone - self._moved):
            gone.setdefault(int(self._index.root[self._index.rows[name]]), []).append(name)
        for root, names in gone.items():
            away = {} if self._request.prune else self._out_of_reach(root, names)
            for name in names:
                if place := away.get(os.path.dirname(name)):
                    self.report.kept[place] = self.report.kept.get(place, 0) + 1
                else:
                    self.report.removed += 1
                    self._writer.changes.drop(name)

    def _out_of_reach(self, root: int, names: Sequence[str]) -> dict[str, str]:
        """Return what is probably out of reach, for each folder of photos that are gone; or empty names."""
        place = self._index.meta.roots[root]
        folders = {os.path.dirname(name) for name in names}
        if self._lost_most(root, names):
            return dict.fromkeys(folders, place)
        return {folder: self._not_mounted(folder, place) for folder in folders}

    def _not_mounted(self, folder: str, root: str) -> str:
        """Return a folder or one above it, below a root, that is probably not mounted; empty if none is."""
        if is_photo_url(folder):
            return ""
        nearest = True
        while len(folder) > len(root):
            if folder in self._index.meta.mounts and folder not in self._scan.mounts:
                return folder
            if nearest and os.path.isdir(folder):
                if not os.listdir(folder):
                    return folder  # as an unmounted file system leaves it
                nearest = False
            folder = os.path.dirname(folder)
        return ""

    def _lost_most(self, root: int, names: Sequence[str]) -> bool:
        known = int((self._index.root == root).sum())
        folder = os.fsencode(self._index.meta.roots[root])
        found = any(is_within(os.fsencode(path), folder) for path in self._scan.photos)
        return not found or 2 * len(names) > known


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
        hidden: Whether names that begin with a dot are included.
        follow: Whether links are followed.
        prune: Whether photos that are gone are dropped even when a root lost most of its photos.
        again: Whether forgotten photos and erased faces are indexed again.
        shard: Which part of the photos to index; None for all.
    """

    paths: tuple[str, ...]
    files: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    keep_excluded: bool = False
    hidden: bool = False
    follow: bool = False
    prune: bool = False
    again: bool = False
    shard: Shard | None = None


@dataclass(slots=True)
class Plan:
    """What an update will do.

    Attributes:
        new: Photos that are not known, or changed since, by path.
        unchanged: How many are as they were.
        gone: Known photos that are no longer there.
        excluded: Known photos that a pattern leaves out now.
        problems: Paths that are missing or cannot be looked into, with the reason.
        passed_over: Files that are no photos, by suffix, the most frequent first.
        links: Links that were not followed.
        unmatched: Patterns of what to leave out that matched nothing.
        recovered: Photos that an interrupted run had embedded already.
    """

    new: list[FoundPhoto] = field(default_factory=list)
    unchanged: int = 0
    gone: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    links: int = 0
    unmatched: list[str] = field(default_factory=list)
    recovered: int = 0


def make_plan(index: Index, request: IndexRequest) -> tuple[Scan, Plan]:
    """Compare the photos on disk with those of an index."""
    plan = Plan()
    scan = _look(request, plan)
    rows = index.rows
    for name, photo in sorted(scan.photos.items(), key=lambda item: os.fsencode(item[0])):
        row = rows.get(name)
        if row is not None and _is_as_known(index, row, photo, again=request.again):
            plan.unchanged += 1
        else:
            plan.new.append(photo)
    folders = [os.fsencode(path) for path in request.paths if path not in plan.problems]
    unknown = [os.fsencode(path) for path in plan.problems]
    for name in rows:
        if name in scan.photos or not _was_looked_for(name, folders, unknown):
            continue
        if not (is_there(name) if is_photo_url(name) else os.path.exists(name)):
            plan.gone.append(name)
        # One that --hidden took in once, or a link that was followed, stays: `forget` removes it.
        elif not request.keep_excluded and scan.excludes(name):
            plan.excluded.append(name)
    return scan, plan


def _look(request: IndexRequest, plan: Plan) -> Scan:
    """Find the requested photos; what cannot be read goes into the plan."""
    scan = Scan()
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
    plan.passed_over, plan.links = dict(scan.passed_over.most_common()), scan.links
    plan.unmatched = scan.unmatched(request.exclude)
    if request.shard is not None:
        roots = [os.fsencode(path) for path in request.paths]
        scan.photos = {path: photo for path, photo in scan.photos.items() if request.shard.holds(path, roots)}
    return scan


def _is_as_known(index: Index, row: int, photo: FoundPhoto, *, again: bool) -> bool:
    """Return whether a photo need not be opened: its faces are known, and none that was erased is wanted."""
    if again and index.digest[row].tobytes() in index.erased_faces:
        return False
    return (int(index.size[row]), int(index.mtime_ns[row])) == (photo.size, photo.mtime_ns)


def _was_looked_for(name: str, folders: Iterable[bytes], unknown: Iterable[bytes]) -> bool:
    """Return whether a known photo lies where the scan has looked."""
    path = os.fsencode(name)
    return any(is_within(path, folder) for folder in folders) and not any(
        is_within(path, folder) for folder in unknown
    )


def rebuild_index(
    backend: IndexBackend | os.PathLike[str],
    meta: Meta,
    request: IndexRequest,
    pipeline: Callable[[], PhotoProcessor],
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Report:
    """Embed all photos of an index again, and those of some folders; then replace the old index.

    Nobody else writes the index meanwhile. What was forgotten stays so.

    Args:
        backend: Where the index is; a path stands for a file. There may be none, or a broken one.
        meta: The model and settings that are wanted.
        request: Which photos besides those of the index.
        pipeline: As for `update_index`.
        on_plan: As for `update_index`.
        on_photo: As for `update_index`.

    Raises:
        FacesearchError: A root lost most of its photos, so that they would be lost for good.
        IndexBusy: Another process writes the index.
        StorageError: The disk is full or the folder cannot be written; the old index is as it was.
    """
    backend = open_backend(backend)
    with suppress(IndexMissing, IndexBroken, IndexFormat, IndexConflict), backend.writer():
        pass  # folds in what an interrupted run left
    with backend.rebuild() as rebuild:
        try:
            old = backend.read(faces=False)
        except IndexFileError:
            old = empty_index(meta)  # there is none, or it is what the rebuild is to replace
        request = with_known(old, request)
        _begin(rebuild, meta, old)
        report = update_index(rebuild.backend, meta, request, pipeline, on_plan=on_plan, on_photo=on_photo)
        if not report.interrupted:
            rebuild.finish()
    return report


def with_known(old: Index, request: IndexRequest) -> IndexRequest:
    """Add the photos of the old index that still exist, however they were found.

    Raises:
        FacesearchError: A root lost most of its photos, so that they would be lost for good.
    """
    there: list[str] = []
    known, gone = [0] * len(old.meta.roots), [0] * len(old.meta.roots)
    for path, photo in old.rows.items():
        root = int(old.root[photo])
        known[root] += 1
        if is_there(path):
            there.append(path)
        else:
            gone[root] += 1
    for root, name in enumerate(old.meta.roots):
        lost = 2 * gone[root] > known[root] or not is_folder(name)
        if lost and not request.prune:
            raise FacesearchError(
                f"Of the photos below {name!r}, which the index covers, most are not there, "
                "and a rebuild would lose them.",
                "Bring them back, tell their new place with `facesearch move-root`, or add --prune.",
            )
    roots = tuple(root for root in old.meta.roots if is_folder(root))
    return replace(request, files=tuple(there), roots=roots)


def _begin(rebuild: Rebuild, meta: Meta, old: Index) -> None:
    """Begin a rebuild, or continue an interrupted one with the same model and settings."""
    try:
        begun = rebuild.backend.meta()
    except IndexFileError:
        rebuild.discard()
        begun = None
    if begun is not None and begun.making() != meta:
        rebuild.discard()
    with rebuild.backend.writer(meta) as writer:
        writer.changes.forget(digest.tobytes() for digest in old.forgotten)
        writer.changes.erase((digest, box) for digest, boxes in old.erased_faces.items() for box in boxes)
        writer.commit()
