"""Bring an index up to date with its folders: process what is new, write, report."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesearch.embed import Embedder
from facesearch.errors import (
    FacesearchError,
    IndexBroken,
    IndexConflict,
    IndexFileError,
    IndexFormat,
    IndexMissing,
    UnreadablePhoto,
)
from facesearch.faces import NO_MOMENT, Box, FaceId, FileState, PhotoFaces, Status, scaled_place
from facesearch.index.backend import IndexBackend, IndexWriter, Rebuild, open_backend
from facesearch.index.changes import faces_again, faces_followed, only_faces_of, without_faces
from facesearch.index.index import Index, empty_index
from facesearch.index.meta import Meta, check_same_making
from facesearch.paths import beginning, is_within
from facesearch.photos.content import read_content
from facesearch.photos.decode import frame_count
from facesearch.photos.find import Scan
from facesearch.photos.kinds import is_clip_name, is_raw_name, may_have_frames
from facesearch.photos.urls import is_folder, is_photo_url, is_there
from facesearch.pipeline import Known, LastRun, PhotoProcessor, Pipeline
from facesearch.plan import Findings, IndexRequest, Plan, make_plan
from facesearch.show.thumbnails import Thumbnails


@dataclass(slots=True, kw_only=True)
class Report(Findings):
    """What an update did with each photo; apart from `removed`, the numbers add up to the photos found.

    Attributes:
        indexed: New or changed photos with a face.
        no_face: New or changed photos without one.
        unreadable: New or changed photos that could not be read, with the reason.
        truncated: New or changed photos among these that are damaged, and were taken as far as they go, each
            with the reason.
        unchanged: As they were.
        altered: New or changed photos among these whose files had kept their size and time.
        moved: Known under another path, where they are gone.
        copied: Of the same picture as another known photo.
        forgotten: Left out because `forget` removed them.
        removed: Gone from their folder, and so from the index.
        excluded: Left out by a pattern now, and so removed from the index; their names come back with them.
        renamed: Folders that are gone, each with the folder in which most of its photos were found.
        kept: Gone, but kept because their folder is probably out of reach, by folder: a root that lost most
            of its photos, a file system that is not mounted, or a folder that is empty now.
        torn: Bytes that were being written when that run died; the photo is looked at again.
        faces: In the whole index now.
        photos: In the whole index now.
        readable: Photos among these that could be read.
        seconds: For looking at the new photos.
        interrupted: Whether Ctrl-C ended the run; what was done is kept.
    """

    indexed: int = 0
    no_face: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    truncated: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    altered: int = 0
    moved: int = 0
    copied: int = 0
    forgotten: int = 0
    removed: int = 0
    excluded: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    torn: int = 0
    faces: int = 0
    photos: int = 0
    readable: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def update_index(
    backend: IndexBackend | os.PathLike[str],
    meta: Meta,
    request: IndexRequest,
    pipeline: Callable[[], PhotoProcessor],
    *,
    carry: Carry | None = None,
    sift: Callable[[PhotoFaces], PhotoFaces] = lambda photo: photo,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Report:
    """Bring an index up to date with some folders; make it when there is none.

    Photos of unchanged size and time are not opened; of a known picture they are not looked at; what was
    embedded is in the journal at once, so that neither an error nor a kill loses it.

    Args:
        backend: Where the index is; a path stands for a file.
        meta: The model and settings that are wanted.
        request: Which photos.
        pipeline: Returns the pipeline; only called when there are photos to process.
        carry: Carries what is known of faces over to photos that were saved again; None where nothing is.
        sift: Returns a processed photo with the faces that may be in the index.
        on_plan: Called with the plan before anything is done.
        on_photo: Called with each processed photo.

    Raises:
        IndexConflict: The index was made with another model or other settings.
        IndexFileError: It cannot be used, or another process writes it.
        StorageError: The disk is full or the folder cannot be written.
    """
    backend = open_backend(backend)
    with backend.writer(meta) as writer:
        check_same_making(writer.index.meta, meta, what="What is asked for")
        scan, plan = make_plan(writer.index, request)
        request = plan.request
        plan.recovered = writer.recovered
        on_plan(plan)
        writer.changes.cover([*request.roots, *_covered(request.paths, plan.problems)])
        run = _Run(backend, writer, scan, plan, carry)
        writer.changes.mount(scan.mounts, below=request.paths if request.prune else ())
        run.look_at_new(pipeline, sift, on_photo)
        run.drop_gone()
        writer.changes.precision = meta.precision or run.precision or writer.changes.precision
        before = writer.index
        if carry is not None and (run.wrote or writer.changes):
            carry.over(before)
        writer.commit()
        Thumbnails().forget(left_out(before, writer.index))
        index, report = writer.index, run.report
        report.faces, report.photos = index.face_count, index.photo_count
        report.readable = int((index.status != Status.UNREADABLE).sum())
        return run.report


def left_out(before: Index, after: Index) -> set[bytes]:
    """Return the digests of pictures that an index had and has no more."""
    return set(map(bytes, before.digest)) - set(map(bytes, after.digest)) if before is not after else set()


# So many photos that were saved again are written together, once what is known of their faces is kept.
_TOGETHER = 64


class Carry(Protocol):
    """Carries what is known of faces over to photos that were saved again.

    Attributes:
        within: The cosine distance up to which two faces at one place of a picture are the same face.
    """

    @property
    def within(self) -> float:
        """The cosine distance up to which two faces at one place of a picture are the same face."""

    def over(self, index: Index, faces: Sequence[tuple[FaceId, FaceId]] = ()) -> None:
        """Keep what is known of faces before anything of it is written to the index.

        Args:
            index: The index as it was; its faces may only be counted.
            faces: Faces of photos that were saved again, each as it was and as it is.
        """


def _covered(paths: Iterable[str], problems: Iterable[str]) -> list[str]:
    """Return the roots that paths belong to: folders as they are, files by their folder."""
    there = [path for path in paths if path not in problems]
    return [path if is_folder(path) else os.path.dirname(path) for path in there]


class _Run:
    """An update in progress: puts each processed photo where it belongs, and counts it."""

    def __init__(
        self,
        backend: IndexBackend,
        writer: IndexWriter,
        scan: Scan,
        plan: Plan,
        carry: Carry | None,
    ) -> None:
        index = writer.index
        self._backend, self._writer, self._index, self._request = backend, writer, index, plan.request
        self._scan, self._carry = scan, carry
        # Photos with faces that are known from before; they are written once that is kept.
        self._waiting: list[PhotoFaces] = []
        self._carried: list[tuple[FaceId, FaceId]] = []
        self.wrote = False  # whether anything was added; what was taken is among the changes
        self._embedder: Embedder | None = None
        self._elsewhere: Counter[tuple[int, str]] = Counter()
        self._new = [photo.path for photo in plan.new]
        self._gone = set(plan.gone)
        self._twice = plan.twice
        self._excluded = plan.excluded
        self._moved: set[str] = set()
        self._forgotten = frozenset() if plan.request.again else frozenset(writer.changes.forgotten)
        self.report = Report(**plan.findings, unchanged=plan.unchanged, torn=writer.torn)
        # Pictures that need not be looked at: the photos of the index that have it, none where forgotten.
        self.known: dict[bytes, list[int]] = {}
        if self._new:
            self.known.update(index.photos_by_digest)
        self.known.update((digest, []) for digest in self._forgotten)
        for digest in index.erased_faces if plan.request.again else ():
            for row in self.known.pop(digest, ()):
                for other in index.file(row).digests:
                    self.known.pop(other, None)

    def look_at_new(
        self,
        pipeline: Callable[[], PhotoProcessor],
        sift: Callable[[PhotoFaces], PhotoFaces],
        on_photo: Callable[[PhotoFaces], None],
    ) -> None:
        """Process the new photos; Ctrl-C ends this, and what was done is kept."""
        began = time.monotonic()
        try:
            if self._new:
                ready = pipeline()
                began = time.monotonic()  # a model that had to be fetched is not the photos' time
                if isinstance(ready, Pipeline):  # Ray tells of workers that die itself
                    last = LastRun(self._backend.name, went_on=self.report.recovered > 0)
                    found = last.run(ready, self._new, self._known_keys())
                    self._embedder = ready.embedder
                else:
                    found = ready.run(self._new, known=self._known_keys())
                for photo in found:
                    self.take(sift(photo))
                    on_photo(photo)
        except KeyboardInterrupt:
            self.report.interrupted = True
        self.report.seconds = time.monotonic() - began

    def _known_keys(self) -> Known:
        """Return what the pipeline is to know of known photos."""
        index = self._index
        both = index.file_digest.any(axis=1) & index.digest.any(axis=1)
        pairs = zip(map(bytes, index.file_digest[both]), map(bytes, index.digest[both]), strict=True)
        pictures = {} if self._request.again else dict(pairs)
        return {key: pictures.get(key, b"") for key in self.known}

    @property
    def precision(self) -> str:
        """What the new vectors were calculated in; empty where there are none, or it is not known."""
        return self._embedder.precision if self._embedder is not None else ""

    def take(self, photo: PhotoFaces) -> None:
        """Put one photo into the index."""
        report, changes = self.report, self._writer.changes
        known = [self.known[key] for key in photo.file.keys(photo.path) if key in self.known]
        if not self._request.again:
            changes.learn(photo.file)
        if known and not all(known):
            report.forgotten += 1
            changes.drop(photo.path)
        elif known:
            self._take_known(photo, sorted({row for rows in known for row in rows}))
        elif photo.status is Status.UNREADABLE and not is_there(photo.path):
            pass  # vanished since it was found: the next run sees that it is gone
        elif photo.status is Status.UNREADABLE:
            report.unreadable[photo.path] = photo.reason
            # What cannot be read just now does not cost the faces that were read before.
            if photo.file.digests or photo.path not in self._index.rows:
                self._write(photo)
        else:
            self._add(photo)

    def _add(self, photo: PhotoFaces) -> None:
        own, waits = self._index.rows.get(photo.path), False
        if self._request.again:
            self._writer.changes.remember(*photo.file.keys(photo.path))
        elif own is not None and self._carry is not None and photo.vectors is not None:
            photo, waits = self._known_again(photo, own, self._carry.within)
        # What a RAW photo shows may be the JPEG beside it.
        same_file = own is not None and _unmoved(self._index.file(own), photo.file)
        if same_file and not is_raw_name(photo.path):
            self.report.altered += 1
        if not waits:
            self._write(photo)
        else:
            self._waiting.append(photo)
            if len(self._waiting) >= _TOGETHER:
                self._write_waiting()
        # Counted only now: Ctrl-C may come in between.
        self.report.indexed += photo.status is Status.OK
        self.report.no_face += photo.status is Status.NO_FACE
        if photo.reason:
            self.report.truncated[photo.path] = photo.reason

    def _write(self, photo: PhotoFaces) -> None:
        self.wrote = True
        self._writer.add(photo)

    def _write_waiting(self) -> None:
        if self._carry is not None and self._carried:
            self._carry.over(self._index, self._carried)
        for photo in self._waiting:
            self._write(photo)
        self._waiting, self._carried = [], []

    def _known_again(self, photo: PhotoFaces, own: int, within: float) -> tuple[PhotoFaces, bool]:
        """Carry over what is known of the faces of a photo, where it was saved again.

        Returns:
            The photo without erased faces, and whether it has to wait until that is kept.
        """
        old = next(iter(self._backend.photos(self._index, [own])))
        same, scale = faces_again(old, photo, within)
        if not same:
            return photo, False
        self._carried += [((old.file.digest, was), (photo.file.digest, now)) for was, now in same]
        # It is the same scene: what was erased from it is not to come back.
        erased = self._writer.changes.erased
        gone = [scaled_place(place, scale) for digest in old.file.digests for place in erased.get(digest, ())]
        self._writer.changes.erase(((photo.file.digest, place) for place in gone), here=False)
        return without_faces(photo, gone), True

    def _take_known(self, photo: PhotoFaces, rows: Sequence[int]) -> None:
        own = self._index.rows.get(photo.path)
        row = own if own is not None and own in rows else rows[0]
        if row != own or self._index.file(row) != photo.file:
            self._writer.changes.take(photo.path, row, photo.file)
        if row != own and (root := int(self._index.root[row])) not in self._roots_there:
            self._elsewhere[root, _renamed(self._index, row, photo.path)] += 1
        if row == own:
            self.report.unchanged += 1
        elif left := next((path for path in map(self._index.path, rows) if self._left(path)), None):
            self._moved.add(left)
            self.report.moved += 1
        else:
            self.report.copied += 1

    @cached_property
    def _roots_there(self) -> frozenset[int]:
        return frozenset(number for number, root in enumerate(self._index.meta.roots) if is_folder(root))

    def _left(self, path: str) -> bool:
        return path in self._gone and path not in self._moved

    def drop_gone(self) -> None:
        """Remove what is gone, except from roots that lost so much that they are probably out of reach."""
        self._write_waiting()
        self._note_renamed()
        for name in (*self._moved, *self._excluded):
            self._writer.changes.drop(name)
        self.report.excluded = len(self._excluded)
        if self.report.interrupted:
            return  # a photo that seems gone may be one that was moved and not yet looked at
        self._drop_twice()
        gone: dict[int, list[str]] = {}
        for name in sorted(self._gone - self._moved - self._twice.keys()):
            gone.setdefault(int(self._index.root[self._index.rows[name]]), []).append(name)
        for root, names in gone.items():
            away = {} if self._request.prune else self._out_of_reach(root, names)
            for name in names:
                if folder := away.get(os.path.dirname(name)):
                    self.report.kept[folder] = self.report.kept.get(folder, 0) + 1
                else:
                    self.report.removed += 1
                    self._writer.changes.drop(name)

    def _drop_twice(self) -> None:
        """Remove photos that are known by another name now, unless they cannot be read just now."""
        for name, other in self._twice.items():
            if name not in self._moved and other not in self.report.unreadable:
                self.report.removed += 1
                self._writer.changes.drop(name)

    def _note_renamed(self) -> None:
        """Note the roots that are gone and of whose photos most were found elsewhere."""
        for (root, place), count in self._elsewhere.most_common():
            if place and 2 * count > int((self._index.root == root).sum()):
                self.report.renamed.setdefault(self._index.meta.roots[root], place)

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
        as_expected = np.frombuffer(self._scan.expected.found, np.uint8)
        found = bool(as_expected[self._index.root == root].any())
        found = found or any(is_within(os.fsencode(path), folder) for path in self._scan.photos)
        return not found or 2 * len(names) > known


def _unmoved(before: FileState, after: FileState) -> bool:
    """Return whether a file kept its size and its time."""
    return (before.size, before.mtime_ns) == (after.size, after.mtime_ns)


def _renamed(index: Index, row: int, path: str) -> str:
    """Return the folder in which a path is what a photo's path is in its root; empty where there is none."""
    folder, known = beginning(index.meta.roots[int(index.root[row])]), index.path(row)
    inside = known[len(folder) - 1 :]  # with what separates it from the root
    return path.removesuffix(inside) if known.startswith(folder) and path.endswith(inside) else ""


def rebuild_index(
    backend: IndexBackend | os.PathLike[str],
    meta: Meta,
    request: IndexRequest,
    pipeline: Callable[[], PhotoProcessor],
    *,
    carry: Carry | None = None,
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
        carry: Carries what is known of faces over to other frames of films and animations; None where
            nothing is.
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
        frames = _OtherFrames(backend, old, meta, carry.within if carry is not None else 0.0)
        report = update_index(
            rebuild.backend, meta, request, pipeline, sift=frames.sift, on_plan=on_plan, on_photo=on_photo
        )
        if not report.interrupted:
            new = rebuild.backend.read(faces=False)
            if carry is not None and (again := frames.faces_again(rebuild.backend)):
                carry.over(new, again)  # while the old index is there, lest it fails
            frames.erase_again(rebuild.backend, new.erased_faces)
            rebuild.finish()
            Thumbnails().forget(left_out(old, new))
    return report


class _OtherFrames:
    """Films and animations of an index that is rebuilt: other frames of them may be looked at now.

    Args:
        backend: Where the index is.
        old: It as it was; its faces may only be counted.
        meta: What makes the new one.
        within: The cosine distance up to which two faces are the same.
    """

    def __init__(self, backend: IndexBackend, old: Index, meta: Meta, within: float) -> None:
        self._backend, self._old = backend, old
        same = (old.meta.model, old.meta.model_digest) == (meta.model, meta.model_digest)
        self._within = within if same else 0.0
        self._erased = old.erased_faces
        # Faces to erase by another digest: earlier versions counted only the first frame in it.
        self._again: dict[FaceId, None] = {}

    def sift(self, photo: PhotoFaces) -> PhotoFaces:
        """Leave out faces that may be of somebody who was forgotten, and is seen in another frame."""
        if not self._erased or not may_have_frames(photo.path):
            return photo
        known = self._old.photos_by_digest
        row = min((row for digest in photo.file.digests for row in known.get(digest, ())), default=None)
        if row is None:
            return photo
        digests = {*photo.file.digests, bytes(self._old.digest[row])}
        gone = {place for digest in digests for place in self._erased.get(digest, ())}
        if not gone or not _has_frames(photo.path):  # the file is read again only now
            return photo
        self._again.update(((photo.file.digest, place), None) for place in gone)
        (before,) = self._backend.photos(self._old, [row])
        return only_faces_of(before, photo, self._within)

    def erase_again(self, rebuilt: IndexBackend, known: Mapping[bytes, Sequence[Box]]) -> None:
        """Let what was erased from a picture be known by the digest that it has now.

        Args:
            rebuilt: The new index.
            known: What it knows to be erased.
        """
        if any(place not in known.get(digest, ()) for digest, place in self._again):
            with rebuilt.writer() as writer:
                writer.changes.erase(self._again, here=False)
                writer.commit()

    def faces_again(self, rebuilt: IndexBackend) -> list[tuple[FaceId, FaceId]]:
        """Return the faces that are in other frames now, each as it was and as it is."""
        if not any(map(may_have_frames, self._old.rows)):
            return []
        try:
            old, new = self._backend.read(), rebuilt.read()
        except IndexFileError:  # its faces cannot be had: names stay where the boxes are the same
            return []
        both = dict(_with_frames(old, new))
        before = self._backend.photos(old, sorted(both))
        now = {photo.path: photo for photo in rebuilt.photos(new, sorted(both.values()))}
        return [
            ((photo.file.digest, was), (now[photo.path].file.digest, place))
            for photo in before
            for was, place in faces_followed(photo, now[photo.path], self._within)
        ]


def _with_frames(old: Index, new: Index) -> Iterator[tuple[int, int]]:
    """Yield the photos with faces in later frames, or of another digest now: the row in each index."""
    framed, also = (set(_photos_with_moments(index).tolist()) for index in (old, new))
    for path, row in old.rows.items():
        other = new.find(path) if may_have_frames(path) else None
        if other is None:
            continue
        same_picture = bytes(old.digest[row]) == bytes(new.digest[other])
        same_file = bytes(old.file_digest[row]) == bytes(new.file_digest[other])
        if (same_file and not same_picture) or (same_picture and (row in framed or other in also)):
            yield row, other


def _photos_with_moments(index: Index) -> NDArray[np.int32]:
    return np.unique(index.photo[index.moments[:, 2] != NO_MOMENT.best])


def _has_frames(path: str) -> bool:
    """Return whether a file that may have several frames has them."""
    if is_clip_name(path):
        return True
    try:
        return frame_count(read_content(path).picture) > 1
    except (OSError, UnreadablePhoto):
        return True


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
    if begun is not None and begun.making() != meta.making():
        rebuild.discard()
    with rebuild.backend.writer(meta) as writer:
        writer.changes.forget(key.tobytes() for key in old.forgotten)
        writer.changes.erase((digest, box) for digest, boxes in old.erased_faces.items() for box in boxes)
        writer.commit()
