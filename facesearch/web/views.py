"""Faces and matches in words, as the templates of the pages need them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.faces import Box, Match
from facesearch.photos.content import read_content
from facesearch.photos.decode import decode
from facesearch.quality import doubt
from facesearch.show.wording import few, percent
from facesearch.web.state import Snapshot


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Which page of several is shown.

    Attributes:
        number: The page, from 1.
        more: Whether another one follows.
    """

    number: int
    more: bool


@dataclass(frozen=True, slots=True)
class FaceView:
    """A face as a template needs it.

    Attributes:
        digest: The digest of its photo's content, in hex.
        number: Its number in the photo, from 1.
        box: Its box in the upright photo.
        name: The photo's file name.
        folder: The photo's folder.
        person: The number of the person; 0 for a face that is ignored, -1 where it is not known.
        title: What that person is called; empty where it is not known.
    """

    digest: str
    number: int
    box: Box
    name: str
    folder: str
    person: int
    title: str


@dataclass(frozen=True, slots=True)
class HitView:
    """A match in words.

    Attributes:
        face: The matching face.
        rank: 1 for the nearest.
        distance: The distance to the reference.
        probability: The probability that both are one person; empty where it is not known.
        strangers: How many strangers' faces are expected this near; empty where it is not known.
        beyond: Whether the match is farther than the model's threshold.
        doubt: Which face is too poor to tell who it is; empty where none is.
    """

    face: FaceView
    rank: int
    distance: str
    probability: str
    strangers: str
    beyond: bool
    doubt: str


def face_view(snapshot: Snapshot, row: int) -> FaceView:
    """Return a face of the index."""
    digest, number = snapshot.face_id(row)
    folder, name = os.path.split(snapshot.index.path(int(snapshot.index.photo[row])))
    person = int(snapshot.people.whose[row]) if snapshot.people is not None else -1
    title = snapshot.title.get(person, "")
    return FaceView(digest, number, snapshot.index.box(row), name, folder, person, title)


def hit_view(snapshot: Snapshot, match: Match) -> HitView | None:
    """Return a match in words; None where the index has changed since and no longer has it."""
    photo = snapshot.index.find(match.path)
    rows = snapshot.index.faces_of(photo) if photo is not None else range(0)
    if match.face > len(rows):
        return None
    return HitView(
        face_view(snapshot, rows[match.face - 1]),
        match.rank,
        f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
        doubt(match),
    )


def photo_size(path: str, digest: bytes, faces: Sequence[FaceView]) -> tuple[int, int]:
    """Return the width and height of an upright photo.

    If the file is gone, or another one lies there now, it is as much as the faces need.
    """
    try:
        content = read_content(path)
        if digest not in content.file.digests:
            raise UnreadablePhoto("It is another photo now.")
        picture = decode(content.data, side=64)
        return picture.width, picture.height
    except (OSError, FacesearchError):
        corners = [(face.box.x + face.box.width, face.box.y + face.box.height) for face in faces]
        return max((x for x, _ in corners), default=1), max((y for _, y in corners), default=1)
