"""Photo -> faces -> crops -> vectors, the stages overlapped and memory bounded; holds no state of an index.

Threads read, decode, detect and crop, some photos ahead; other threads embed batches that are filled with the
crops of many photos, so that no core waits for a stage. Only crops wait, never decoded photos, so that memory
does not grow with the number or size of the photos.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from facesearch.detect import Detector
from facesearch.detect.crop import align_face, crop_face
from facesearch.embed import Embedder
from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box, Face, FileState, Moment, PhotoFaces, Status
from facesearch.files import open_private
from facesearch.machine import decoders, give_back_memory, processors
from facesearch.paths import ESCAPES
from facesearch.photos.clips import Frame, Part, frames, read_clip
from facesearch.photos.content import LARGE_BYTES, Content, alone_if_large, fingerprint, read_content
from facesearch.photos.decode import Picture, brightened, decode, decode_frames, frame_count, has_pages
from facesearch.photos.find import FoundPhoto
from facesearch.photos.kinds import RATE, is_clip_name
from facesearch.tracks import GAP, Look, Tracks

# Faces in one call of the network: beyond this the figures stop improving, and Ctrl-C has to wait longer.
DEFAULT_BATCH = 16

_NO_VECTORS = np.empty((0, 0), np.float32)
# The reason beside the faces of a photo that lacks its end.
TRUNCATED = "It is truncated; what there is of it was taken."

Choice = Callable[[Sequence[Face]], Sequence[Face]]

# Keys of photos that need no processing, see `FileState.keys`: for that of a file, the digest of its picture
# where it is known; else nothing.
Known = Mapping[bytes, bytes]
NOTHING: Known = MappingProxyType({})


def all_faces(faces: Sequence[Face]) -> Sequence[Face]:
    """Choose every face."""
    return faces


def largest_face(faces: Sequence[Face]) -> Sequence[Face]:
    """Choose the largest face."""
    return faces[:1]


# Called with a clip's path, how many of its parts were looked at, and how many it has.
OnPart = Callable[[str, int, int], None]


class PhotoProcessor(Protocol):
    """Anything that processes photos: a `Pipeline` on this machine, or workers on others."""

    def run(self, paths: Iterable[str], *, known: Known = NOTHING) -> Iterator[PhotoFaces]:
        """Process photos; see `Pipeline.run`."""


@dataclass(frozen=True)
class Pipeline:
    """Turns photos into faces and vectors.

    Attributes:
        detector: Finds the faces; None if each photo as a whole is a face.
        embedder: Turns crops into vectors.
        choose: Chooses among a photo's faces, which are in order of size, largest first.
        jobs: Threads that decode and detect, and as many that embed; 0 for one of each per core, as far as
            there is memory.
        batch: Faces in one call of the network.
        margin: What is added to a face's box on each side, as a share of its size; None for the card's
            margin.
        video_rate: How many frames a second of a clip are looked at.
        frames: How many frames of a picture that has several; 0 for all.
        on_part: Called after each part of a clip, see `OnPart`.
    """

    detector: Detector | None
    embedder: Embedder
    choose: Choice = all_faces
    jobs: int = 0
    batch: int = DEFAULT_BATCH
    margin: float | None = None
    video_rate: float = RATE
    frames: int = 1
    on_part: OnPart = lambda path, done, parts: None

    def run(self, paths: Iterable[str], *, known: Known = NOTHING) -> Iterator[PhotoFaces]:
        """Process photos.

        Args:
            paths: Absolute paths.
            known: Photos that need no processing: such a photo is returned without faces, with `Status.OK`;
                the caller knows its faces.

        Yields:
            One result for each path, in order, unreadable photos included.
        """
        for clips, some in groupby(paths, is_clip_name):
            yield from (self._run_clips if clips else self._run_photos)(some, known)

    def _run_photos(self, paths: Iterable[str], known: Known) -> Iterator[PhotoFaces]:
        threads = self.jobs or decoders()
        ahead = max(2 * self.batch, 4 * threads)
        waiting = iter(paths)
        first = list(islice(waiting, threads))
        # Where there are fewer photos than threads, cv2 is left to spread one photo over the cores.
        share = _single_threaded_cv2() if len(first) == threads else nullcontext()
        waiting = chain(first, waiting)
        with share, _Pool(threads) as readers, _Pool(self.jobs or processors()) as embedders:
            tasks: deque[Future[_PhotoTask]] = deque()
            batches: deque[Future[list[PhotoFaces]]] = deque()
            batch: list[_PhotoTask] = []
            while True:
                tasks.extend(
                    readers.submit(self._prepare, path, known) for path in islice(waiting, ahead - len(tasks))
                )
                if not tasks:
                    break
                batch.append(tasks.popleft().result())
                if sum(len(task.crops) for task in batch) >= self.batch or len(batch) >= ahead:
                    batches.append(embedders.submit(self._embed, batch))
                    batch = []
                while batches and (batches[0].done() or len(batches) > threads):
                    yield from batches.popleft().result()
            for future in batches:
                yield from future.result()
            yield from self._embed(batch)

    def run_in_turn(self, paths: Iterable[str], *, known: Known) -> Iterator[PhotoFaces]:
        """Do what `run` does in this thread alone, for a process that has one core of a shared machine.

        Args:
            paths: As for `run`.
            known: As for `run`.
        """
        batch: list[_PhotoTask] = []
        with _single_threaded_cv2():
            for path in paths:
                if is_clip_name(path):
                    yield from self._embed(batch)
                    batch = []
                    yield self._clip(path, known)
                    continue
                batch.append(self._prepare(path, known))
                if sum(len(task.crops) for task in batch) >= self.batch:
                    yield from self._embed(batch)
                    batch = []
            yield from self._embed(batch)

    def _run_clips(self, paths: Iterable[str], known: Known) -> Iterator[PhotoFaces]:
        """Process clips one after the other: several threads work on the parts of one."""
        threads = self.jobs or processors()
        with _single_threaded_cv2(), _Pool(threads) as pool:
            for path in paths:
                clip = self._begin_clip(path, known)
                parts = iter(clip.parts)
                under_way = deque(pool.submit(self._look_at, part) for part in islice(parts, threads + 1))
                while under_way:
                    clip.add(under_way.popleft().result())
                    under_way.extend(pool.submit(self._look_at, part) for part in islice(parts, 1))
                    self.on_part(path, clip.looked, len(clip.parts))
                yield clip.finish()

    def _clip(self, path: str, known: Known) -> PhotoFaces:
        """Process a clip in this thread alone."""
        clip = self._begin_clip(path, known)
        for part in clip.parts:
            clip.add(self._look_at(part))
            self.on_part(path, clip.looked, len(clip.parts))
        return clip.finish()

    def _begin_clip(self, path: str, known: Known) -> _ClipTask:
        tracks = Tracks(self.embedder.card)
        try:
            clip = read_clip(path)
        except UnreadablePhoto as error:
            return _ClipTask(_unreadable(path, str(error)).photo, (), tracks)
        except OSError as error:
            return _ClipTask(
                _unreadable(path, f"It cannot be read ({error.strerror or error}).").photo, (), tracks
            )
        photo = PhotoFaces(path, clip.file, Status.OK)
        if any(key in known for key in clip.file.keys(path)):
            return _ClipTask(photo, (), tracks)
        return _ClipTask(photo, clip.parts(path, self.video_rate), tracks)

    def _look_at(self, part: Part) -> _PartDone:
        """Look at a part of a clip; several threads may do so at once."""
        self.embedder.prepare()
        looks: list[Look] = []
        crops: list[NDArray[np.uint8]] = []
        problem = ""
        try:
            for frame in frames(part):
                faces, own = ([], []) if frame.alike else self._faces_of_frame(frame)
                crops += own
                looks.append(Look(frame.moment, faces, _NO_VECTORS, alike=frame.alike, cut=frame.cut))
        except UnreadablePhoto as error:
            problem = error.message
        except (OSError, cv2.error, MemoryError) as error:
            problem = f"It cannot be worked on ({(str(error).strip() or 'no memory').splitlines()[-1]})."
        blocks = [
            self.embedder.embed(np.stack(crops[at : at + self.batch]))
            for at in range(0, len(crops), self.batch)
        ]
        vectors, done, start = np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32), [], 0
        for look in looks:
            stop = start + len(look.faces)
            done.append(replace(look, vectors=vectors[start:stop]))
            start = stop
        give_back_memory()  # what decoders took in this thread, they would keep
        return _PartDone(done, problem)

    def _faces_of_frame(self, frame: Frame) -> tuple[list[Face], list[NDArray[np.uint8]]]:
        """Return the chosen faces of a frame, in pixels of the upright frame, and their crops."""
        side = None if self.detector is None else self.detector.working_side(frame.width, frame.height)
        return self._faces_of(frame.picture(side), frame.picture)

    def process(self, content: Content, path: str = "") -> PhotoFaces:
        """Process one photo that is in memory; several threads may call this at once.

        Of a picture that has several frames, the first is taken.

        Args:
            content: The photo.
            path: The photo's name.
        """
        return self._embed([self._prepare_content(content, path)])[0]

    def _prepare(self, path: str, known: Known) -> _PhotoTask:
        """Read, decode, detect and crop; a fault of the photo becomes its status."""
        with alone_if_large(path):
            return self._prepare_in_turn(path, known)

    def _prepare_in_turn(self, path: str, known: Known) -> _PhotoTask:
        try:
            content = read_content(path, known)
        except UnreadablePhoto as error:
            return _unreadable(path, str(error))
        except OSError as error:
            return _unreadable(path, f"It cannot be read ({error.strerror or error}).")
        except MemoryError:
            return _unreadable(path, "It does not fit into memory.")
        if any(key in known for key in content.file.keys(path)):
            return _PhotoTask(_photo(content, path), [])
        if self.frames != 1 and isinstance(content.shown, bytes) and frame_count(content.shown) > 1:
            return _PhotoTask(self._photo_of_frames(content, path), [])
        return self._prepare_content(content, path)

    def _prepare_content(self, content: Content, path: str) -> _PhotoTask:
        self.embedder.prepare()
        photo = _photo(content, path)
        try:
            faces, crops, truncated = self._faces(content)
        except UnreadablePhoto as error:
            return _PhotoTask(replace(photo, status=Status.UNREADABLE, reason=error.message), [])
        except (cv2.error, MemoryError) as error:
            reason = f"It cannot be worked on ({(str(error).strip() or 'no memory').splitlines()[-1]})."
            return _PhotoTask(replace(photo, status=Status.UNREADABLE, reason=reason), [])
        status, reason = Status.OK if faces else Status.NO_FACE, TRUNCATED if truncated else ""
        return _PhotoTask(replace(photo, faces=tuple(faces), status=status, reason=reason), crops)

    def _photo_of_frames(self, content: Content, path: str) -> PhotoFaces:
        """Process a picture that has several frames: who is in several of them is taken where it is best.

        Pages show different things, so that the faces of each are taken.
        """
        self.embedder.prepare()
        tracks = Tracks(self.embedder.card, sure=0.0, framed=True)
        apart = 2 * GAP if has_pages(content.picture) else 1
        side = self.detector.working_side if self.detector is not None else None
        looked, problem = 0, ""
        try:
            for number, picture in decode_frames(content.picture, self.frames, side=side):
                looked += 1
                faces, crops = self._faces_of(picture, partial(_larger, content.picture, number))
                vectors = self.embedder.embed(np.stack(crops)) if crops else _NO_VECTORS
                tracks.add(Look(number * apart, faces, vectors))
        except UnreadablePhoto as error:  # what was seen before counts
            problem = error.message
        except (cv2.error, MemoryError):
            problem = f"Only {looked} frames could be worked on."
        if not looked:
            return self._embed([self._prepare_content(content, path)])[0]
        found, vectors = tracks.finish()
        photo = _photo(content, path)
        if not found:
            return replace(photo, status=Status.NO_FACE, reason=problem)
        framed = tuple(
            replace(face, moment=Moment.of_frame(face.moment.best // apart)) for face in found if face.moment
        )
        return replace(photo, faces=framed, vectors=vectors, reason=problem)

    def _faces(self, content: Content) -> tuple[list[Face], list[NDArray[np.uint8]], bool]:
        """Return the chosen faces, in pixels of the upright photo, their crops, and if it is truncated."""
        side = self.detector.working_side if self.detector is not None else None
        picture = decode(content.picture, side=side)
        faces, crops = self._faces_of(picture, partial(_larger, content.picture, 1))
        return faces, crops, picture.truncated

    def _faces_of(
        self, picture: Picture, larger: Callable[[int], Picture]
    ) -> tuple[list[Face], list[NDArray[np.uint8]]]:
        """Return the chosen faces of a picture, in pixels of the upright photo, and their crops.

        Args:
            picture: The picture, as large as the detector needs it.
            larger: Returns it with a longer side of so many pixels.
        """
        if self.detector is None:
            whole = Face(Box(0, 0, picture.width, picture.height), 1.0)
            return [whole], [crop_face(picture.pixels, whole, size=self.embedder.card.size, margin=0.0)]
        faces = self._chosen_in(picture)
        if not faces:
            return [], []
        wanted = self._wanted_side(picture, faces)
        if max(picture.pixels.shape) < wanted:  # or the smallest crop would have to be enlarged
            picture = larger(wanted)
        return faces, [self._crop(picture.pixels, _scaled(face, 1 / picture.scale)) for face in faces]

    def _chosen_in(self, picture: Picture) -> list[Face]:
        """Return the chosen faces of a picture, in pixels of the upright photo."""
        assert self.detector is not None
        found = self.detector.detect(picture.pixels, picture.scale)
        if not found and (bright := brightened(picture.pixels)) is not picture.pixels:
            found = self.detector.detect(bright, picture.scale)
        return [_scaled(face, picture.scale, picture.width, picture.height) for face in self.choose(found)]

    def _crop(self, pixels: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        card = self.embedder.card
        if card.landmarks and face.landmarks is not None:
            crop = align_face(pixels, face.landmarks, size=card.size, margin=self._margin)
        else:
            crop = crop_face(pixels, face, size=card.size, margin=self._margin)
        return brightened(crop)

    @property
    def _margin(self) -> float:
        return self.embedder.card.margin if self.margin is None else self.margin

    def _wanted_side(self, picture: Picture, faces: Sequence[Face]) -> int:
        """Return the longer side of a picture in which the smallest crop need not be enlarged."""
        smallest = min(max(face.box.width, face.box.height) for face in faces) * (1 + 2 * self._margin)
        longer = max(picture.width, picture.height)
        return min(longer, round(longer * max(self.embedder.card.size) / smallest))

    def _embed(self, tasks: Sequence[_PhotoTask]) -> list[PhotoFaces]:
        crops = [crop for task in tasks for crop in task.crops]
        vectors = self.embedder.embed(np.stack(crops)) if crops else np.empty((0, 0), np.float32)
        photos: list[PhotoFaces] = []
        start = 0
        for task in tasks:
            stop = start + len(task.crops)
            photos.append(replace(task.photo, vectors=vectors[start:stop]) if task.crops else task.photo)
            start = stop
        return photos


DIED = "facesearch died of it again and again."
# A process may also be killed from outside while it is at some photo alone; hardly twice at the same one.
_TRIES = 2
# So many photos may be in work at once; four times as many where a run died of none of them.
_IN_WORK, _MORE, _MOST = 100, 4, 10_000


class LastRun:
    """What the run before left where its process died, in the user's cache folder.

    A fault in a decoder, or a system short of memory, ends a process without a word. The next run then takes
    the photos that were in work one at a time; one at which it dies alone, twice, is passed over then.

    Args:
        index: The index' name.
        went_on: Whether that run had done some photos: then it did not die of the first ones again.
    """

    def __init__(self, index: str, *, went_on: bool) -> None:
        name = fingerprint(index.encode(errors=ESCAPES)).hex()
        self._file = Path(user_cache_dir("facesearch", appauthor=False), "in-work", name)
        try:
            deaths, tries, photo = self._file.read_bytes().split(b"\n", 2)
            self.photo = os.fsdecode(photo)
            self.deaths, self.tries = 1 if went_on else min(int(deaths), 9), int(tries)
        except (OSError, ValueError):
            self.deaths, self.tries, self.photo = 0, 0, ""

    def run(self, pipeline: Pipeline, paths: Sequence[str], known: Known) -> Iterator[PhotoFaces]:
        """Process photos; see `Pipeline.run`. What could have ended the last run comes alone."""
        alone = min(_IN_WORK * _MORE ** (self.deaths - 1), _MOST) if self.deaths else 0
        try:
            for path in paths[:alone]:
                tries = self.tries if path == self.photo else 0
                if tries >= _TRIES:
                    yield _passed_over(path)
                    continue
                self._note(path, tries + 1)
                yield from pipeline.run([path], known=known)
            self._note("", 0)
            yield from pipeline.run(paths[alone:], known=known)
        finally:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def _note(self, photo: str, tries: int) -> None:
        with suppress(OSError):  # it only helps after a death
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self._file, "wb", opener=open_private) as file:
                file.write(f"{self.deaths + 1}\n{tries}\n".encode() + os.fsencode(photo))


def _passed_over(path: str) -> PhotoFaces:
    """Return a photo that is not looked at; known by its bytes, it is not tried again until it changes."""
    try:
        found = FoundPhoto.at(path, os.stat(path))
        small = found.size <= LARGE_BYTES
        digest = fingerprint(Path(path).read_bytes()) if small else b""
        file = FileState(found.size, found.mtime_ns, found.ctime_ns, file_digest=digest)
    except OSError:
        file = FileState(0, -1)
    return PhotoFaces(path, file, Status.UNREADABLE, reason=DIED)


@dataclass(frozen=True, slots=True)
class _PartDone:
    """What was seen in a part of a clip, and what went wrong in it."""

    looks: Sequence[Look]
    problem: str


@dataclass(slots=True)
class _ClipTask:
    """A clip, its parts, and the faces followed so far."""

    photo: PhotoFaces
    parts: Sequence[Part]
    tracks: Tracks
    looked: int = 0
    frames: int = 0
    problem: str = ""

    def add(self, done: _PartDone) -> None:
        """Follow the faces through the next part."""
        for look in done.looks:
            self.tracks.add(look)
        self.looked += 1
        self.frames += len(done.looks)
        self.problem = self.problem or done.problem

    def finish(self) -> PhotoFaces:
        """Return the clip with its appearances."""
        if not self.parts:
            return self.photo
        if not self.frames:
            reason = self.problem or "No picture of this film can be read."
            return replace(self.photo, status=Status.UNREADABLE, reason=reason)
        faces, vectors = self.tracks.finish()
        if not faces:
            return replace(self.photo, status=Status.NO_FACE, reason=self.problem)
        return replace(self.photo, faces=faces, vectors=vectors, reason=self.problem)


@dataclass(frozen=True, slots=True)
class _PhotoTask:
    """A photo with its faces and their crops, not yet embedded."""

    photo: PhotoFaces
    crops: list[NDArray[np.uint8]]


def _larger(data: bytes, frame: int, side: int) -> Picture:
    return decode(data, side=side, frame=frame)


def _photo(content: Content, path: str) -> PhotoFaces:
    return PhotoFaces(path, content.file, Status.OK)


def _unreadable(path: str, reason: str) -> _PhotoTask:
    # Size and time stay open, so that the photo is tried again when it can be read.
    return _PhotoTask(PhotoFaces(path, FileState(0, -1), Status.UNREADABLE, reason=reason), [])


def _scaled(face: Face, factor: float, width: int | None = None, height: int | None = None) -> Face:
    """Return a face in a photo `factor` times as large, clipped to width and height if these are given."""
    if factor == 1.0:
        return face
    box = face.box.scaled(factor)
    if width is not None and height is not None:
        left, top = min(box.x, width - 1), min(box.y, height - 1)
        box = Box(left, top, min(box.width, width - left), min(box.height, height - top))
    marks = face.landmarks
    if marks is not None:
        marks = tuple((x * factor, y * factor) for x, y in marks)
    return replace(face, box=box, landmarks=marks)


class _Pool(ThreadPoolExecutor):
    """Threads that drop pending work on an error or Ctrl-C, instead of finishing it."""

    def __exit__(self, *about: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded_cv2() -> Iterator[None]:
    """Let cv2 use one core per call: photos are processed in parallel already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
