"""The nouns: a box, a face in a photo, a reference, a match, an answer."""

from __future__ import annotations

import hashlib
import math
import os
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.errors import PhotoError


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the pixels of an upright photo; x and y are its left and upper edge."""

    x: int
    y: int
    width: int
    height: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """What an array holds of it: x, y, width, height."""
        return self.x, self.y, self.width, self.height

    @property
    def area(self) -> int:
        """The area in square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle as (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    def off_centre(self, width: int, height: int) -> float:
        """Return the distance of its centre from the centre of a photo of this size, in pixels."""
        x, y = self.centre
        return math.hypot(x - width / 2, y - height / 2)

    def overlap(self, other: Box) -> float:
        """Return intersection over union with another box, 0 to 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area + other.area - shared)

    def scaled(self, factor: float) -> Box:
        """Return the same rectangle in a photo that is `factor` times as large."""
        left, top = round(self.x * factor), round(self.y * factor)
        right = round((self.x + self.width) * factor)
        bottom = round((self.y + self.height) * factor)
        return Box(left, top, max(1, right - left), max(1, bottom - top))


NOWHERE = Box(-1, -1, 1, 1)  # outside every photo

Landmarks = tuple[tuple[float, float], ...]


class Moment(NamedTuple):
    """When a face is seen in a clip, in milliseconds from its beginning; or in which frame of a picture.

    Attributes:
        start: When it comes; minus the number of the frame, from 2, in a picture that has several.
        end: When it was seen last; the same as `start` in a picture.
        best: When it was seen as it is here; the same as `start` in a picture.
    """

    start: int
    end: int
    best: int

    @classmethod
    def of_frame(cls, number: int) -> Moment | None:
        """Return what stands for a frame of a picture, from 1; None for the first."""
        return cls(-number, -number, -number) if number > 1 else None

    @property
    def frame(self) -> int:
        """The number of the frame in a picture that has several, from 2; 0 in a clip."""
        return max(0, -self.best)


# Stands for the moment of a face in a photo, where there has to be one; as an index has it in its arrays.
NO_MOMENT = Moment(-1, -1, -1)

# Of frames that stand one below the other; few pictures are as high.
FRAME_HEIGHT = 1 << 18


def place_of(box: Box, moment: Moment | None) -> Box:
    """Return what tells a face from the others of its photo.

    It is the box, as if the frames of the picture stood one below the other: people are at the same place of
    several pages.
    """
    frame = moment.frame if moment is not None else 0
    return replace(box, y=box.y + frame * FRAME_HEIGHT) if frame else box


def scaled_place(place: Box, factor: float) -> Box:
    """Return the place of the same face where each frame is `factor` times as large."""
    frame = max(0, place.y // FRAME_HEIGHT)
    box = replace(place, y=place.y - frame * FRAME_HEIGHT).scaled(factor)
    return replace(box, y=box.y + frame * FRAME_HEIGHT)


@dataclass(frozen=True, slots=True)
class Face:
    """A face that a detector found.

    Attributes:
        box: The face in pixels of the upright photo.
        score: The detector's confidence; larger is more certain, comparable within one detector.
        landmarks: Five (x, y) points (right eye, left eye, nose, right and left corner of the mouth, as seen
            by the person) in the same pixels; None if the detector gives none.
        turns: Quarter turns counter-clockwise (as for `numpy.rot90`) that bring the face upright; 0 except
            for faces found in a turned photo.
        moment: When in a clip, or in which frame beyond the first; None in a photo.
    """

    box: Box
    score: float
    landmarks: Landmarks | None = None
    turns: int = 0
    moment: Moment | None = None

    @property
    def place(self) -> Box:
        """What tells the face from the others of its photo; see `place_of`."""
        return place_of(self.box, self.moment)


class Status(IntEnum):
    """What became of a photo."""

    OK = 0
    NO_FACE = 1
    UNREADABLE = 2


@dataclass(frozen=True, slots=True)
class Captured:
    """When a photo was taken, by the camera's clock.

    Attributes:
        seconds: Since 1970, of the time that the clock showed.
        zone: How far that was from UTC, in minutes; None where the camera did not say.
    """

    seconds: int
    zone: int | None = None

    @property
    def code(self) -> int:
        """One number for it, in the order of the times that clocks showed."""
        return self.seconds * _ZONES + (0 if self.zone is None else self.zone + _ZONES // 2)

    @classmethod
    def of(cls, code: int) -> Captured | None:
        """Return what a number stands for; None for a photo without a date, or one that was not asked for."""
        if code in (NOT_ASKED, UNDATED):
            return None
        seconds, zone = divmod(code, _ZONES)
        return cls(seconds, zone - _ZONES // 2 if zone else None)

    @classmethod
    def at(cls, moment: datetime) -> Captured:
        """Return what a clock showed."""
        away = moment.utcoffset()
        seconds = (moment.replace(tzinfo=None) - _EPOCH).total_seconds()
        return cls(int(seconds), None if away is None else int(away.total_seconds() // 60))

    @property
    def year(self) -> int:
        """The year that the clock showed."""
        return (_EPOCH + timedelta(seconds=self.seconds)).year

    def __str__(self) -> str:
        """Return it in ISO 8601, with the zone where that is known."""
        zone = None if self.zone is None else timezone(timedelta(minutes=self.zone))
        return (_EPOCH + timedelta(seconds=self.seconds)).replace(tzinfo=zone).isoformat()


_ZONES = 4096  # minutes, beyond all zones
_EPOCH = datetime(1970, 1, 1)
NOT_ASKED = -(2**63)  # in place of a date: an older facesearch did not look for one
UNDATED = NOT_ASKED + 1
LATEST = 2**63 - 1  # later than any date


_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?)?)?")


def moment_of(text: str, *, last: bool = False) -> datetime:
    """Return the moment that a year, a month, a day, or a time of a day stands for.

    Args:
        text: Such as 2019, 2019-07, 2019-07-04 or 2019-07-04T18:30.
        last: Whether the end of it is meant, not the beginning.

    Raises:
        ValueError: It is none of these; the message says so.
    """
    found = _DATE.fullmatch(text.strip())
    year, month, day, time = found.groups() if found else (None, None, None, None)
    try:
        first = datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}T{time or '00:00'}")
        return first if not last or time else _end_of(first, month=bool(month), day=bool(day))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no date such as 2019, 2019-07, 2019-07-04 or 2019-07-04T18:30."
        ) from None


def _end_of(first: datetime, *, month: bool, day: bool) -> datetime:
    """Return the moment at which a year, a month or a day is over."""
    if day:
        return first + timedelta(days=1)
    if month:
        return (first + timedelta(days=31)).replace(day=1)
    return first.replace(year=first.year + 1)


def are_dates(codes: NDArray[np.int64]) -> bool:
    """Return whether each of some numbers is the code of a date, or stands for none."""
    seconds, zone = codes // _ZONES, codes % _ZONES - _ZONES // 2
    known = codes > UNDATED
    first, last = ((day - _EPOCH).total_seconds() for day in (datetime.min, datetime.max))
    good = (seconds >= first) & (seconds <= last) & ((zone == -_ZONES // 2) | (abs(zone) < 24 * 60))
    return bool((good | ~known).all())


NO_DIGEST = bytes(16)  # stands for a digest that is not known, where there has to be one


@dataclass(frozen=True, slots=True)
class FileState:
    """A photo's file, as it was when it was read.

    Attributes:
        size: In bytes.
        mtime_ns: When its content was last written; -1 if it could not be read, so that it is tried again.
        ctime_ns: When the content or what the file system says of it last changed; -1 if that is not known.
        digest: 16 bytes that tell the picture, whatever else is in the file; see
            `facesearch.photos.content`. Empty if the file could not be read.
        file_digest: 16 bytes of BLAKE2b of the whole file. Empty if the file could not be read, or if only
            this digest is known, which is then `digest`: an index of the first format has no other.
        captured: When the photo was taken, as `Captured.code`; or `UNDATED` or `NOT_ASKED`.
    """

    size: int
    mtime_ns: int
    ctime_ns: int = -1
    digest: bytes = b""
    file_digest: bytes = b""
    captured: int = NOT_ASKED

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The digests that are known, by each of which the photo is known again."""
        return tuple(digest for digest in (self.digest, self.file_digest) if digest)

    def keys(self, path: str) -> tuple[bytes, ...]:
        """Return by what a photo is known or forgotten: its digests, and its picture at this path."""
        if not self.digest:
            return ()
        place = hashlib.blake2b(self.digest + os.fsencode(path), digest_size=16, person=b"place")
        return (*self.digests, place.digest())


FaceId = tuple[bytes, Box]  # the digest of a photo's picture, and where in the photo the face is: its place


@dataclass(frozen=True, slots=True)
class PhotoFaces:
    """A photo and the faces found in it.

    Attributes:
        path: The file, absolute; bytes that are not UTF-8 are surrogate-escaped.
        file: The file's state.
        status: What became of it.
        faces: The faces, largest first.
        vectors: (faces, dim) float32; None without faces.
        reason: Why the photo is unreadable, or that it is truncated; otherwise empty.
    """

    path: str
    file: FileState
    status: Status
    faces: tuple[Face, ...] = ()
    vectors: NDArray[np.float32] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A face of an index near to a reference.

    Attributes:
        rank: 1 for the nearest.
        path: The photo, absolute; bytes that are not UTF-8 are surrogate-escaped.
        face: The face's number in its photo, 1 for the largest.
        box: The face in the upright photo.
        distance: Cosine or euclidean distance to the reference; smaller is nearer.
        probability: How likely both show one person, see `facesearch.judge.Judge`; None if the model is not
            calibrated.
        same: Whether that is more likely than not; None if the model is not calibrated.
        strangers: The number of strangers' faces to expect this near in an index of this size; None if the
            model is not calibrated. A poor face has none of the three.
        quality: How good the face is, 0 to 1, see `facesearch.judge`; None if the model does not tell.
        captured: When the photo was taken; None where that is not known.
        by_hand: Whether it was said that the person is on the photo, where no face was found: the number of
            the face is 0, the distance is not a number, and the box may be `NOWHERE`.
        moment: When in a clip; None in a photo.
    """

    rank: int
    path: str
    face: int
    box: Box
    distance: float
    probability: float | None = None
    same: bool | None = None
    strangers: float | None = None
    quality: float | None = None
    captured: Captured | None = None
    by_hand: bool = False
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A face to search for.

    Attributes:
        path: Its photo, absolute.
        face: Its number in the photo, 1 for the largest.
        box: The face in the upright photo.
        vector: (dim,) float32.
        person: The person it stands for, if a person was asked for by name.
        moment: When in a clip, or in which frame beyond the first; None in a photo.
    """

    path: str
    face: int
    box: Box
    vector: NDArray[np.float32]
    person: str = ""
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The matches of one reference, or of several that are combined; nearest first."""

    references: tuple[Reference, ...]
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """The result of a query.

    Attributes:
        answers: One for each face that was searched for, in the order of the references.
        problems: References without a usable face, with the reason.
    """

    answers: tuple[Answer, ...]
    problems: tuple[tuple[str, PhotoError], ...]
