"""The page of a query's answers: each reference, and beside it the photos that match it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from markupsafe import Markup

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box, Moment
from facesearch.machine import decoders
from facesearch.photos.clips import picture_at
from facesearch.show.drawing import clip
from facesearch.show.page import data_uri, file_uri, render
from facesearch.show.thumbnails import VIEW, face_jpeg, photo_jpeg

# Pixels of the longer side of a picture: a page of 1,000 photos takes 25 MB.
SIDE = 320
# A face smaller than this part of its picture cannot be recognised in it and is enlarged in a corner.
SMALL_FACE = 0.2
INSET = 120  # pixels of the side of the enlarged face

Frame = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True, slots=True)
class Shown:
    """A photo that is shown with one of its faces.

    Attributes:
        path: The photo, absolute.
        box: The face, in pixels of the upright photo.
        face: What distinguishes it from the photo's other faces, such as "face 2"; may be empty.
        title: The person whom it stands for in headings; if empty, the file's name is the heading.
        moment: When in a clip; None in a photo.
    """

    path: str
    box: Box
    face: str = ""
    title: str = ""
    moment: Moment | None = None

    @property
    def heading(self) -> str:
        """The heading of what it is the reference of."""
        name = os.path.basename(self.path) + (f" ({self.face})" if self.face else "")
        return self.title or name


@dataclass(frozen=True, slots=True)
class Hit:
    """A match in words.

    Attributes:
        photo: The matching photo.
        rank: 1 for the nearest.
        distance: The distance to the reference.
        probability: The probability that both are one person; empty where it is not known.
        strangers: How many strangers' faces are expected this near; empty where it is not known.
        beyond: Whether it is farther than the model's threshold.
        doubt: Which face is too poor to tell who it is; empty where none is.
    """

    photo: Shown
    rank: int
    distance: str
    probability: str
    strangers: str
    beyond: bool
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """An answer: one reference, or several that show one person, and their matches."""

    references: Sequence[Shown]
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class View:
    """What a template needs of a photo.

    Attributes:
        path: The photo.
        name: The file's name.
        folder: The file's folder.
        address: The address of the file.
        image: A data URI with the small picture; None if the photo is gone or unreadable.
        ratio: The picture's width divided by its height.
        frame: The face's left edge, upper edge, width and height, in per cent of the picture; None if it is
            outside the picture (the photo was replaced).
        inset: A data URI with the enlarged face; None if the face is large enough.
        corner: The corner of the inset, such as "top left": the farthest from the face.
    """

    path: str
    name: str
    folder: str
    address: Markup
    image: Markup | None = None
    ratio: float = 1.0
    frame: Frame | None = None
    inset: Markup | None = None
    corner: str = ""


def answers_page(
    blocks: Sequence[Block],
    *,
    facts: Sequence[tuple[str, str]] = (),
    remarks: Sequence[str] = (),
    problems: Sequence[tuple[str, str]] = (),
) -> str:
    """Return answers as one page that stands alone: no script, and nothing loaded from elsewhere.

    Args:
        blocks: The answers, one section of the page each.
        facts: What was searched, and how: names and values.
        remarks: Sentences that the reader has to know.
        problems: References without a face to search for: path and reason.

    Returns:
        HTML. In place of a photo that cannot be read any more, a tile says so.
    """
    views = _views(
        photo for block in blocks for photo in (*block.references, *(hit.photo for hit in block.hits))
    )
    return render(
        "answers.html",
        title=_title(blocks),
        blocks=blocks,
        views=views,
        facts=facts,
        remarks=remarks,
        problems=[(_bare(path), reason) for path, reason in problems],
    )


def view(photo: Shown) -> View:
    """Read a photo and return the small pictures of it."""
    bare = _bare(photo.path)
    try:
        _, picture = picture_at(photo.path, photo.moment, side=SIDE)
        whole = replace(bare, image=data_uri(photo_jpeg(picture, SIDE)), ratio=picture.width / picture.height)
        face = clip(photo.box, picture.width, picture.height)
        if face is None:
            return whole
        frame = _frame(face, picture.width, picture.height)
        if max(face.width, face.height) >= SMALL_FACE * max(picture.width, picture.height):
            return replace(whole, frame=frame)
        shrink = VIEW * max(face.width, face.height) / INSET
        _, larger = picture_at(photo.path, photo.moment, shrink=shrink)
        enlarged = face_jpeg(larger, face, INSET)
        return replace(whole, frame=frame, inset=data_uri(enlarged), corner=_far_corner(frame))
    except (OSError, UnreadablePhoto):
        return bare


def _views(photos: Iterable[Shown]) -> dict[Shown, View]:
    """Return the pictures of all photos, each made once, on all processors."""
    wanted = list(dict.fromkeys(photos))
    with ThreadPoolExecutor(decoders()) as threads:
        try:
            return dict(zip(wanted, threads.map(view, wanted), strict=True))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _bare(path: str) -> View:
    folder, name = os.path.split(path)
    return View(path, name, folder, file_uri(path))


def _frame(face: Box, width: int, height: int) -> Frame:
    """Return a box, in per cent of the photo's width and height."""
    across, down = 100 / width, 100 / height
    return face.x * across, face.y * down, face.width * across, face.height * down


def _far_corner(frame: Frame) -> str:
    """Return the corner of the picture that is farthest from a face."""
    left, top, width, height = frame
    return f"{'top' if top + height / 2 > 50 else 'bottom'} {'left' if left + width / 2 > 50 else 'right'}"


def _title(blocks: Sequence[Block]) -> str:
    if len(blocks) != 1:
        return f"Results for {len(blocks):,} references"
    first, *others = blocks[0].references
    return f"Faces like {first.heading}" + (f" and {len(others):,} more" if others else "")
