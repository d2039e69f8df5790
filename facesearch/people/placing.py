"""Find the faces of a register in an index, also where a detector with other settings found them again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facesearch.index.changes import SAME_FACE
from facesearch.index.index import Index
from facesearch.people.grouping import ALONE
from facesearch.people.register import Register

Numbers = NDArray[np.int64]


def face_keys(digest: NDArray[np.uint8], boxes: NDArray[np.int32]) -> NDArray[np.void]:
    """Return the keys of faces, (n,): their photo's content digest and their box."""
    both = np.concatenate([digest, np.ascontiguousarray(boxes, "<i4").view(np.uint8).reshape(-1, 16)], axis=1)
    return _rows(both)


def placed(index: Index, register: Register) -> tuple[Numbers, Register]:
    """Find the register's faces in an index.

    Returns:
        (F,) the number of each face's person, -1 if it is unknown; and the register's entries of other faces.
    """
    whose = np.full(index.face_count, ALONE, np.int64)
    left = np.ones(len(register.person), np.bool_)
    if len(register.person):
        known = face_keys(register.digest, register.boxes)
        faces = face_keys(index.digest[index.photo], index.boxes)
        order = np.argsort(known)
        place = order[np.minimum(np.searchsorted(known[order], faces), len(known) - 1)]
        exact = known[place] == faces
        whose[exact] = register.person[place[exact]]
        left[place[exact]] = False
    if left.any():
        _place_overlapping(index, register, whose, left)
    return whose, Register(register.digest[left], register.boxes[left], register.person[left].copy())


def _place_overlapping(index: Index, register: Register, whose: Numbers, left: NDArray[np.bool_]) -> None:
    """Find faces that were detected again in other boxes; updates `whose` and `left`.

    Where several overlap, the two that overlap most are the same face.
    """
    entries = np.flatnonzero(left)
    contents, wanted = _rows(index.digest), _rows(register.digest[entries])
    order = np.argsort(contents)
    ranges = (np.searchsorted(contents[order], wanted, side) for side in ("left", "right"))
    pair, place = _spread(*ranges)
    photo = order[place]
    of_photo, face = _spread(index.first_face[photo], index.first_face[photo + 1])
    entry, photo = entries[pair[of_photo]], photo[of_photo]
    overlap = _overlaps(register.boxes[entry], index.boxes[face])
    near = np.flatnonzero((whose[face] == ALONE) & (overlap >= SAME_FACE))
    near = near[np.argsort(-overlap[near], kind="stable")]
    done: set[tuple[int, int]] = set()  # an entry is one face of each copy of its photo
    for at in near.tolist():
        if whose[face[at]] == ALONE and (here := (int(entry[at]), int(photo[at]))) not in done:
            done.add(here)
            whose[face[at]], left[entry[at]] = register.person[entry[at]], False


def _rows(array: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each row as one value, which can be compared."""
    return np.ascontiguousarray(array).view(f"V{array.shape[1]}").reshape(-1)


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
