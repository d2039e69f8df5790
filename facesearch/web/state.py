"""One library as it is served: always the index and the people that lie on disk now."""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from facesearch.errors import FacesearchError, PeopleError
from facesearch.faces import Answer, Box, PhotoFaces, Reference
from facesearch.index.index import Index
from facesearch.library import Library
from facesearch.people.people import People, Person
from facesearch.photos.read import DIGEST_BYTES, Content, content_of, decode
from facesearch.pipeline import Pipeline
from facesearch.ranking import Metric
from facesearch.search import FaceWanted, Question, chosen, search
from facesearch.show.thumbnails import Thumbnails, photo_jpeg


@dataclass(frozen=True)
class Snapshot:
    """An index and its people at one time.

    Attributes:
        index: The index.
        people: None where the model does not tell persons apart.
        no_people: Why there are none.
    """

    index: Index
    people: People | None
    no_people: str

    @cached_property
    def everyone(self) -> list[Person]:
        """All people, the named first."""
        return self.people.everyone() if self.people is not None else []

    @cached_property
    def title(self) -> dict[int, str]:
        """What each person is called, by number."""
        return {person.number: person.title for person in self.everyone}

    def photo(self, digest: str) -> int | None:
        """Return a photo by its content's digest in hex; of copies the first. Nothing else finds a photo."""
        return self._photos.get(digest)

    def face_id(self, face: int) -> tuple[str, int]:
        """Return a face's photo, by its digest, and its number there."""
        photo = int(self.index.photo[face])
        return self.index.digest[photo].tobytes().hex(), self.index.number(face)

    def face(self, digest: str, number: int) -> int | None:
        """Return a face's row."""
        photo = self.photo(digest)
        faces = self.index.faces_of(photo) if photo is not None else range(0)
        return faces[number - 1] if 1 <= number <= len(faces) else None

    @cached_property
    def _photos(self) -> dict[str, int]:
        with_faces = np.unique(self.index.photo)[::-1]
        digits = self.index.digest[with_faces].tobytes().hex()  # of all in one: a call for each takes long
        each = 2 * DIGEST_BYTES
        return {digits[each * at : each * (at + 1)]: photo for at, photo in enumerate(with_faces.tolist())}


class ServedLibrary:
    """A library that is served. All of it may be used by several threads at once.

    Args:
        library: What is served.
        thumbnails: Where small pictures are kept.

    Raises:
        FacesearchError: The index or the model is not as it has to be.
    """

    def __init__(self, library: Library, thumbnails: Thumbnails) -> None:
        self.library = library
        self.thumbnails = thumbnails
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        # As many questions at once as there are cores: each thread that looks at photos has its own networks.
        self._cores = os.cpu_count() or 1
        self._workers = ThreadPoolExecutor(self._cores, thread_name_prefix="served")
        self._states: tuple[Hashable, Hashable] = (None, None)
        self._snapshot: Snapshot | None = None
        self.now()

    @property
    def name(self) -> str:
        """What the library is called: its index file's name."""
        return self.library.backend.title

    @cached_property
    def pipeline(self) -> Pipeline:
        """What looks at references, warm."""
        return self.library.model.pipeline(self.now().index.meta, few=True)

    def warm(self) -> None:
        """Load the model and bring the vectors into memory, so that the first question need not wait."""
        card = self.library.card
        blank = content_of(_blank())
        for look in [self._workers.submit(self.pipeline.look_at, blank) for _ in range(self._cores)]:
            look.result()
        vector = self.pipeline.embedder.embed(np.zeros((1, *card.size, 3), np.uint8))[0]
        self.ask([Reference("", 1, Box(0, 0, 1, 1), vector)], Question(top=1))

    @property
    def metric(self) -> Metric:
        """The model's distance."""
        return self.library.card.metric

    def now(self) -> Snapshot:
        """Return what is on disk now; an index that is gone or broken stays as it was read last.

        Raises:
            FacesearchError: The index was written over in place, and cannot be used.
        """
        with self._lock:
            try:
                states = self.library.backend.state()
            except FacesearchError:  # a server that is away for a while
                if self._snapshot is None:
                    raise
                return self._snapshot
            if self._snapshot is None or states != self._states:
                self._snapshot = self._read(states[0])
                self._states = states
            return self._snapshot

    def _read(self, index_state: Hashable) -> Snapshot:
        if self._snapshot is None or index_state != self._states[0]:
            try:
                self.library.refresh()
                index = self.library.contents
            except FacesearchError:
                if self._snapshot is None or self.library.backend.written_over(self._states[0]):
                    raise
                return self._snapshot
        else:
            index = self._snapshot.index
        try:
            return Snapshot(index, self.library.people(), "")
        except FacesearchError as error:
            return Snapshot(index, None, str(error))

    @contextmanager
    def changing(self) -> Iterator[People]:
        """Let people be changed, by one at a time.

        Raises:
            FacesearchError: They cannot be changed.
        """
        with self._changing:
            self.now()
            with self.library.changing_people() as people:
                yield people

    def look_at(self, content: Content, name: str, face: FaceWanted) -> PhotoFaces:
        """Find the faces of a photo that somebody brought, those that are meant, with their vectors."""
        pipeline = replace(self.pipeline, choose=chosen(face))
        return self._workers.submit(pipeline.look_at, content, name).result()

    def ask(self, references: Sequence[Reference], question: Question) -> list[Answer]:
        """Rank the index by distance to each reference, in one pass over it."""
        snapshot, metric = self.now(), question.metric or self.metric
        calibration, question = self.library.card.calibration.get(metric), replace(question, metric=metric)
        asked = self._workers.submit(search, snapshot.index, references, question, calibration)
        return asked.result()

    def reference(self, snapshot: Snapshot, face: int) -> Reference:
        """Return a face of the index as what is looked for."""
        index = snapshot.index
        _, number = snapshot.face_id(face)
        path = index.path(int(index.photo[face]))
        return Reference(path, number, index.box(face), np.asarray(index.vectors[face]))


def known_people(snapshot: Snapshot) -> People:
    """Return the people of an index.

    Raises:
        PeopleError: There are none, for the reason that it says.
    """
    if snapshot.people is None:
        raise PeopleError(snapshot.no_people)
    return snapshot.people


def _blank() -> bytes:
    """Return a photo without a face."""
    return bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1])


KEPT = 64
SIDE = 1024  # pixels of the longer side of what is shown again


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that was brought.

    Attributes:
        photo: Its faces and their vectors.
        name: What the file was called.
        width: Of the upright photo.
        height: Of the upright photo.
        picture: JPEG, to show it again.
    """

    photo: PhotoFaces
    name: str
    width: int
    height: int
    picture: bytes

    def reference(self, face: int) -> Reference | None:
        """Return one of its faces as what is looked for; None where there is no face of this number."""
        vectors = self.photo.vectors
        if vectors is None or not 1 <= face <= len(self.photo.faces):
            return None
        return Reference(self.photo.path, face, self.photo.faces[face - 1].box, vectors[face - 1])


class Uploads:
    """The last photos that were brought, each under a name that cannot be guessed."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def add(self, photo: PhotoFaces, name: str, data: bytes) -> str:
        """Keep a photo; give its name.

        Raises:
            UnreadablePhoto: It is no picture.
        """
        picture = decode(data, side=SIDE)
        upload = Upload(photo, name, picture.width, picture.height, photo_jpeg(picture, SIDE))
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._uploads[key] = upload
            while len(self._uploads) > self._kept:
                self._uploads.popitem(last=False)
        return key

    def get(self, key: str) -> Upload | None:
        """Return a photo by its name; None where it was given up by now, or never there."""
        with self._lock:
            if key in self._uploads:
                self._uploads.move_to_end(key)
            return self._uploads.get(key)
