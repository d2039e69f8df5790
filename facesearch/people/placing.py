"""Where known faces are in an index: by their photos' digests and their boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facesearch.index.changes import SAME_FACE
from facesearch.index.index import Index
from facesearch.people.log import KnownFaces, as_values
from facesearch.people.register import NEW

Numbers = NDArray[np.int64]
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)


def placed(index: Index, known: KnownFaces) -> tuple[Numbers, KnownFaces]:
    """Find known faces in an index.

    Returns:
        (F,) the number of each face's person, -2 if it is unknown; and the faces that are not in the index.
    """
    whose = np.full(index.face_count, NEW, np.int64)
    left = np.ones(len(known.person), np.bool_)
    # By the files' digests come those that an index of the first format knew.
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_exactly(digests[index.photo], index.boxes, known, whose, left)
    for digests in (index.digest, index.file_digest):
        if left.any():
            _place_overlapping(index, digests, known, whose, left)
    return whose, known.take(left)


def _place_exactly(
    digest: NDArray[np.uint8],
    boxes: NDArray[np.int32],
    known: KnownFaces,
    whose: Numbers,
    left: NDArray[np.bool_],
) -> None:
    """Find faces by their digests and boxes; updates `whose` and `left`."""
    # Numbers are sorted ten times as fast as keys. Of two keys with one number, only one is found here, and
    # the other as one that overlaps.
    numbers, wanted = _numbers(known.digest, known.boxes), _numbers(digest, boxes)
    order = np.argsort(numbers)
    place = order[np.minimum(np.searchsorted(numbers[order], wanted), len(order) - 1)]
    exact = (known.digest[place] == digest).all(axis=1) & (known.boxes[place] == boxes).all(axis=1)
    fresh = exact & (whose == NEW)
    whose[fresh] = known.person[place[fresh]]
    left[place[exact]] = False


def _place_overlapping(
    index: Index, digests: NDArray[np.uint8], known: KnownFaces, whose: Numbers, left: NDArray[np.bool_]
) -> None:
    """Find faces that were detected again in other boxes; updates `whose` and `left`.

    Where several overlap, the two that overlap most are the same face.
    """
    entries = np.flatnonzero(left)
    contents, wanted = as_values(digests), as_values(known.digest[entries])
    order = np.argsort(contents)
    ranges = (np.searchsorted(contents[order], wanted, side) for side in ("left", "right"))
    pair, place = _spread(*ranges)
    photo = order[place]
    of_photo, face = _spread(index.first_face[photo], index.first_face[photo + 1])
    entry, photo = entries[pair[of_photo]], photo[of_photo]
    overlap = _overlaps(known.boxes[entry], index.boxes[face])
    near = np.flatnonzero((whose[face] == NEW) & (overlap >= SAME_FACE))
    near = near[np.argsort(-overlap[near], kind="stable")]
    done: set[tuple[int, int]] = set()  # an entry is one face of each copy of its photo
    for at in near.tolist():
        if whose[face[at]] == NEW and (here := (int(entry[at]), int(photo[at]))) not in done:
            done.add(here)
            whose[face[at]], left[entry[at]] = known.person[entry[at]], False


def _numbers(digest: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Return a number for each face, which few others have."""
    mixed = boxes.astype(np.uint64) * np.array(_ODD, np.uint64)
    return np.asarray(
        np.ascontiguousarray(digest[:, :8]).view(np.uint64)[:, 0] ^ mixed.sum(axis=1, dtype=np.uint64)
    )


def _spread(start: Numbers, stop: Numbers) -> tuple[Numbers, Numbers]:
    """Expand ranges: the range of each number, and the number."""
    counts = stop - start
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + np.repeat(start - (np.cumsum(counts) - counts), counts)


def _overlaps(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return intersection over union of boxes, as `Box.overlap` does of two, (n,)."""
    a, b = one.astype(np.int64), other.astype(np.int64)
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    return np.asarray(shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared), np.float64)
