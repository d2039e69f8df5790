"""What is served: libraries, as their index and people are on disk now, and the photos uploaded lately.

Everything here may be used by several threads at once, and knows nothing of HTTP.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import cv2
import numpy as np

from facesearch.errors import FacesearchError, NoFace, PeopleError, UnreadablePhoto
from facesearch.faces import Answer, Box, PhotoFaces, Reference, Status
from facesearch.files import open_without_waiting
from facesearch.index.backend import IndexState
from facesearch.index.index import Index
from facesearch.judge import Judge
from facesearch.library import Library
from facesearch.machine import processors
from facesearch.models.card import Card
from facesearch.people.people import People, Person
from facesearch.people.suggestions import Suggestion, suggested_distance, suggestions
from facesearch.photos.content import DIGEST_BYTES, content_of
from facesearch.photos.decode import decode, open_image, orientation_of
from facesearch.photos.urls import is_photo_url
from facesearch.pipeline import Pipeline
from facesearch.ranking import Metric, Ranking
from facesearch.search import FaceWanted, Question, as_indexed, chosen, references_in, search
from facesearch.show.thumbnails import Thumbnails, photo_jpeg

UPLOADS = 64  # photos kept at one time
HEAD = 256 << 10  # bytes of a photo's file, in which its size is looked for
SIZES = 1 << 16  # of photos, kept at one time
UPLOAD_SIDE = 1024  # pixels of the longer side of an upload when it is shown again

_Value = TypeVar("_Value")


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

    @property
    def is_mapped(self) -> bool:
        """Whether the vectors lie in the file, not in memory; see `Library.hold`."""
        return not self.index.vectors.flags.owndata

    def judge(self, card: Card, metric: Ranking) -> Judge:
        """Return what says what distances mean in this index; prepared once."""
        if metric not in self._judges:
            self._judges[metric] = Judge.of(card, self.index, metric)
        return self._judges[metric]

    @cached_property
    def _judges(self) -> dict[Ranking, Judge]:
        return {}

    @cached_property
    def everyone(self) -> list[Person]:
        """All people, those with a name first."""
        return self.people.everyone() if self.people is not None else []

    @cached_property
    def person(self) -> dict[int, Person]:
        """All people by number."""
        return {person.number: person for person in self.everyone}

    @cached_property
    def title(self) -> dict[int, str]:
        """What each person is called, by number."""
        return {person.number: person.title for person in self.everyone}

    def known_people(self) -> People:
        """Return the people of the index.

        Raises:
            PeopleError: There are none; the message says why.
        """
        if self.people is None:
            raise PeopleError(self.no_people)
        return self.people

    def photo(self, digest: str) -> int | None:
        """Return the number of the first photo with this content, by its digest in hex; None if unknown.

        A photo is known if it has a face, or if somebody is tagged on it. Only so can one be named:
        no path in a request is ever opened.
        """
        return self._photos.get(digest)

    def digest(self, photo: int) -> str:
        """Return the digest of a photo's content, in hex."""
        digits: str = self.index.digest[photo].tobytes().hex()
        return digits

    def size(self, photo: int, until: float) -> tuple[int, int] | None:
        """Return the width and height of an upright photo, by how its file begins; None if unknown.

        Args:
            photo: The photo.
            until: The time of `time.monotonic` after which no file is opened: a drive may be slow.
        """
        return None if time.monotonic() > until else _size(self.index.path(photo), self.digest(photo))

    def copies(self, digest: str) -> list[str]:
        """Return the paths of all photos with a content, by its digest in hex."""
        known = bytes.fromhex(digest)
        photos = sorted(self.index.photos_with({known}))
        return [self.index.path(photo) for photo in photos if self.index.digest[photo].tobytes() == known]

    @cached_property
    def shown(self) -> list[int]:
        """The photos that can be looked at, by their paths; of copies the first."""
        return sorted(self._photos.values())

    def without_copies(self, photos: Iterable[int]) -> list[int]:
        """Return some photos in their order, each content once, under the number that it has here."""
        known = (self.photo(self.digest(photo)) for photo in photos)
        return list(dict.fromkeys(photo for photo in known if photo is not None))

    def tagged_on(self, photo: int) -> list[Person]:
        """Return the people who were tagged on a photo by hand."""
        tagged = self.people.facts.tagged if self.people is not None else {}
        digest = self.index.digest[photo].tobytes()
        return [self.person[number] for known, number in tagged if known == digest and number in self.person]

    def suggestions(self, card: Card, top: int) -> list[Suggestion]:
        """Return who may be the same person, the surest first."""
        if self.people is None:
            return []
        return suggestions(self.people, suggested_distance(card), card.quality, top=top)

    def face_id(self, row: int) -> tuple[str, int]:
        """Return the digest of a face's photo and the number of the face in it, from 1."""
        photo = int(self.index.photo[row])
        return self.digest(photo), self.index.number(row)

    def face(self, digest: str, number: int) -> int | None:
        """Return the row of a face, by its photo's digest and its number there; None if unknown."""
        photo = self.photo(digest)
        rows = self.index.faces_of(photo) if photo is not None else range(0)
        return rows[number - 1] if 1 <= number <= len(rows) else None

    @cached_property
    def _photos(self) -> dict[str, int]:
        """Photos with a face, or on which somebody is tagged, by their digests; of copies the first."""
        with_faces = np.unique(self.index.photo)[::-1]
        digits = self.index.digest[with_faces].tobytes().hex()  # one call for all: one for each takes long
        each = 2 * DIGEST_BYTES
        photos = {digits[each * at : each * (at + 1)]: photo for at, photo in enumerate(with_faces.tolist())}
        tagged = {digest for digest, _ in self.people.facts.tagged} if self.people is not None else set()
        for photo in sorted(self.index.photos_with(tagged)):
            if self.index.digest[photo].tobytes() in tagged:
                photos.setdefault(self.digest(photo), photo)
        return photos


class ServedLibrary:
    """A library that is served, with its model loaded.

    Args:
        library: The library.
        thumbnails: The cache of small pictures.

    Raises:
        FacesearchError: The index or the model cannot be used.
    """

    def __init__(self, library: Library, thumbnails: Thumbnails) -> None:
        self.library = library
        self.thumbnails = thumbnails
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        # As many workers as there are cores: each thread that processes photos has its own networks.
        self._cores = processors()
        self._workers = ThreadPoolExecutor(self._cores, thread_name_prefix="library")
        self._state = IndexState()
        self._snapshot: Snapshot | None = None
        self.now()

    @property
    def name(self) -> str:
        """The name of the index file, without its folder."""
        return self.library.backend.title

    @property
    def card(self) -> Card:
        """The model's card."""
        return self.library.card

    @property
    def metric(self) -> Metric:
        """The model's distance."""
        return self.card.metric

    @cached_property
    def _pipeline(self) -> Pipeline:
        """The pipeline for reference photos, which stays loaded."""
        return self.library.model.pipeline(self.now().index.meta, few=True)

    def warm_up(self) -> None:
        """Load the model and bring the vectors into memory, so that the first question need not wait."""
        blank = content_of(_blank_photo())
        for work in [self._workers.submit(self._pipeline.process, blank) for _ in range(self._cores)]:
            work.result()
        size = self.card.size
        vector = self._pipeline.embedder.embed(np.zeros((1, *size, 3), np.uint8))[0]
        self.ask([Reference("", 1, Box(0, 0, 1, 1), vector)], Question(top=1))

    def now(self) -> Snapshot:
        """Return the index and its people as they are on disk now.

        An index that was removed or became unreadable stays as it was read last.

        Raises:
            FacesearchError: The index file was overwritten in place while it was mapped, and cannot be used.
        """
        with self._lock:
            try:
                state = self.library.backend.state()
            except FacesearchError:  # a server that is away for a while
                if self._snapshot is None:
                    raise
                return self._snapshot
            if self._snapshot is None or state != self._state:
                self._snapshot = self._read(state)
                self._state = state
            return self._snapshot

    def change(self, work: Callable[[People], _Value]) -> tuple[_Value, str]:
        """Change people, in one thread at a time, and write them.

        Args:
            work: Changes the people that it is given.

        Returns:
            What `work` returns, and the key of the log's newest entry; empty where nothing is different now.

        Raises:
            FacesearchError: They cannot be changed.
        """
        with self._changing:
            self.now()
            with self.library.changing_people() as people:
                before = people.log[-1].key if people.log else ""
                done = work(people)
            log = self.now().known_people().log
            after = log[-1].key if log else ""
            return done, after if after != before else ""

    def find_faces(self, data: bytes, path: str = "", face: FaceWanted = "all") -> PhotoFaces:
        """Find the wanted faces of a photo, with their vectors.

        Args:
            data: The photo file's content.
            path: Its path where it came from, which is compared and never opened.
            face: "all", "largest" or a number.

        Raises:
            UnreadablePhoto: It is not a photo.
            NoFace: No such face was found in it.
        """
        pipeline = replace(self._pipeline, choose=chosen(face))
        found = self._workers.submit(pipeline.process, content_of(data), path).result()
        if found.status is Status.UNREADABLE:
            raise UnreadablePhoto(f"This is not a photo that can be read. {found.reason}")
        if not found.faces:
            number = f" number {face}" if isinstance(face, int) else ""
            hint = "Try a photo that shows the face larger or upright."
            raise NoFace(f"No face{number} was found in this photo.", hint)
        return as_indexed(found, self.now().index)

    def ask(self, references: Sequence[Reference], question: Question) -> list[Answer]:
        """Rank the index by distance to each reference, in one pass over it."""
        metric = question.metric or self.metric
        snapshot, question = self.now(), replace(question, metric=metric)
        judge = snapshot.judge(self.card, metric)
        return self._workers.submit(search, snapshot.index, references, question, judge).result()

    def query(self, data: bytes, path: str, face: FaceWanted, question: Question) -> list[Answer]:
        """Find the faces nearest to those of a photo: `find_faces`, then `ask`."""
        return self.ask(references_in(self.find_faces(data, path, face), face), question)

    def _read(self, state: IndexState) -> Snapshot:
        if self._snapshot is None or state.index != self._state.index:
            try:
                index = self.library.hold()
            except FacesearchError:
                if self._snapshot is None or (self._snapshot.is_mapped and state.overwrites(self._state)):
                    raise
                return self._snapshot
        else:
            index = self._snapshot.index
        try:
            return Snapshot(index, self.library.people(), "")
        except FacesearchError as error:
            return Snapshot(index, None, str(error))


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that was uploaded.

    Attributes:
        photo: Its faces and their vectors.
        name: The name of the file.
        width: Width of the upright photo, in pixels.
        height: Height of the upright photo, in pixels.
        picture: The photo as a smaller JPEG, to show it again.
    """

    photo: PhotoFaces
    name: str
    width: int
    height: int
    picture: bytes

    def reference(self, face: int) -> Reference | None:
        """Return one of its faces as a reference to search for; None where no face has this number."""
        vectors = self.photo.vectors
        if vectors is None or not 1 <= face <= len(self.photo.faces):
            return None
        one = self.photo.faces[face - 1]
        return Reference(self.photo.path, face, one.box, vectors[face - 1], moment=one.moment)


class Uploads:
    """The photos that were uploaded last, in memory, each under a key that cannot be guessed."""

    def __init__(self, most: int = UPLOADS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def add(self, photo: PhotoFaces, name: str, data: bytes) -> str:
        """Keep a photo and return its key.

        Raises:
            UnreadablePhoto: It is not a picture.
        """
        picture = decode(content_of(data).picture, side=UPLOAD_SIDE)
        small = photo_jpeg(picture, UPLOAD_SIDE)
        upload = Upload(photo, name, picture.width, picture.height, small)
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._uploads[key] = upload
            while len(self._uploads) > self._most:
                self._uploads.popitem(last=False)
        return key

    def get(self, key: str) -> Upload | None:
        """Return a photo by its key; None where it is no longer kept, or never was."""
        with self._lock:
            if key in self._uploads:
                self._uploads.move_to_end(key)
            return self._uploads.get(key)


@dataclass(frozen=True)
class ServedState:
    """Everything that a server serves.

    Attributes:
        libraries: The libraries, counted from 1 in addresses.
        root: The beginning of every address: a slash and the token.
        uploads: The photos that were uploaded.
    """

    libraries: Sequence[ServedLibrary]
    root: str
    uploads: Uploads = field(default_factory=Uploads)


@lru_cache(SIZES)
def _size(path: str, _digest: str) -> tuple[int, int] | None:
    """Return the width and height of a photo, which is not read in full."""
    if is_photo_url(path):
        return None
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            image = open_image(file.read(HEAD))
        width, height = image.size
        return (width, height) if orientation_of(image) < 5 else (height, width)
    except Exception:  # Pillow raises anything for a part of a file; the size only helps to lay out a page
        return None


def _blank_photo() -> bytes:
    """Return a photo file without a face."""
    return bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1])
