"""Faces followed through a clip: what is seen from when a face comes until it goes is one appearance.

A face belongs to the appearance whose faces it is most like; where it is in the picture only helps. So a cut
between scenes needs no treatment of its own. Of each appearance the best faces are kept: one, or up to three
where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Face, Moment
from facesearch.models.card import Card
from facesearch.ranking import unit_vectors

# An appearance goes on while its face is not seen for so long, in milliseconds.
GAP = 3000
# Two looks are of one person up to the distance that so few pairs of strangers have, or up to this one if the
# model tells no persons apart; at the same place, where the face may only be blurred, up to a larger one.
_STRANGERS, _WITHIN, _AT_PLACE, _SAME_PLACE = 1e-4, 0.35, 1.4, 0.4
# Further faces of an appearance are kept if they are so far from those kept already, and not much worse.
_ROWS, _OTHER, _AS_GOOD = 3, 0.3, 0.5
# How boxes are changed: by little first, and never by more than a few pixels.
_BY = sorted(product(range(8), repeat=4), key=sum)
# Of one clip; a crowd in a stadium has more.
_MOST = 3000


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen in one frame.

    Attributes:
        moment: When, in milliseconds.
        faces: The faces, in pixels of the upright frame.
        vectors: (n, dim) float32.
        alike: Whether the frame is like the one before, and so are its faces, which were not looked for.
        cut: Whether a new scene begins with it.
    """

    moment: int
    faces: Sequence[Face]
    vectors: NDArray[np.float32]
    alike: bool = False
    cut: bool = False


@dataclass(slots=True)
class _Track:
    """An appearance."""

    start: int
    last: int  # when it was seen last
    box: Box
    total: NDArray[np.float32]  # of its unit vectors
    looks: int = 1
    end: int = 0
    kept: list[tuple[float, int, Face, NDArray[np.float32]]] = field(default_factory=list)


class Tracks:
    """The appearances in a clip.

    Args:
        card: The card of the model that made the vectors.
        sure: A face that is seen once counts only if the detector is so sure of it.
        framed: Whether faces are told apart by their frames, so that two may have the same box.
    """

    def __init__(self, card: Card, *, sure: float = 0.75, framed: bool = False) -> None:
        measured = card.calibration.get("cosine") if card.identity else None
        self._within = measured.stranger_distance(_STRANGERS) if measured else _WITHIN
        self._side, self._sure, self._framed = max(card.size), sure, framed
        self._open: list[_Track] = []
        self._done: list[_Track] = []
        self._before = 0  # when the frame before was shown
        self._seen: list[_Track] = []  # in that frame

    def add(self, look: Look) -> None:
        """Follow the faces of the next frame."""
        moment, between = look.moment, (self._before + look.moment) // 2
        for track in self._seen:
            # It may have gone at any time since; halfway is never far off.
            track.end = (
                moment if look.alike else min(moment, max(track.last, moment - 1 if look.cut else between))
            )
        self._close(moment)
        if look.alike:
            for track in self._seen:
                track.last = track.end = moment
        else:
            start = moment if look.cut or moment == 0 or (not self._before and not self._seen) else between
            self._seen = self._follow(look, start)
        self._before = moment

    def finish(self) -> tuple[tuple[Face, ...], NDArray[np.float32]]:
        """Return the best faces of all appearances, the largest first, with moments; and their vectors."""
        self._close(None)
        rows: list[tuple[Face, NDArray[np.float32]]] = []
        for track in self._done:
            if track.looks == 1 and track.kept[0][2].score < self._sure:
                continue
            for _, best, face, vector in track.kept:
                start, end = min(track.start, best), max(track.end, best)
                rows.append((replace(face, moment=Moment(start, end, best)), vector))
        rows.sort(key=lambda row: (-row[0].box.area, row[0].moment))
        rows = rows[:_MOST] if self._framed else _with_boxes_of_their_own(rows[:_MOST])
        faces = tuple(face for face, _ in rows)
        return faces, np.stack([vector for _, vector in rows]) if rows else np.empty((0, 0), np.float32)

    def _close(self, moment: int | None) -> None:
        gone = [track for track in self._open if moment is None or moment - track.last > GAP]
        self._done += gone
        self._open = [track for track in self._open if track not in gone]

    def _follow(self, look: Look, start: int) -> list[_Track]:
        """Assign each face to an open appearance or a new one, and return the appearances that were seen."""
        if not len(look.faces):
            return []
        flat = unit_vectors(np.asarray(look.vectors, np.float32))
        left, seen = set(range(len(look.faces))), list[_Track]()
        for _, at, number in sorted(self._likely(look, flat)):
            track = self._open[at]
            if number in left and not any(track is one for one in seen):
                left.remove(number)
                seen.append(track)
                self._see(track, look, number, flat[number])
        for number in sorted(left):
            face = look.faces[number]
            track = _Track(start, look.moment, face.box, np.zeros_like(flat[number]), 0, look.moment)
            self._see(track, look, number, flat[number])
            self._open.append(track)
            seen.append(track)
        return seen

    def _likely(self, look: Look, flat: NDArray[np.float32]) -> list[tuple[float, int, int]]:
        """Return which faces may be which appearances': the distance, the appearance and the face."""
        found: list[tuple[float, int, int]] = []
        for at, track in enumerate(self._open):
            mean = track.total / max(float(np.linalg.norm(track.total)), 1e-9)
            for number, distance in enumerate((1.0 - flat @ mean).tolist()):
                near = track.box.overlap(look.faces[number].box) > _SAME_PLACE and not look.cut
                if distance <= self._within * (_AT_PLACE if near else 1.0):
                    found.append((distance, at, number))
        return found

    def _see(self, track: _Track, look: Look, number: int, flat: NDArray[np.float32]) -> None:
        face, vector = look.faces[number], look.vectors[number]
        track.last = track.end = look.moment
        track.box, track.total, track.looks = face.box, track.total + flat, track.looks + 1
        merit = self._merit(face, vector)
        kept = [*track.kept, (merit, look.moment, face, np.asarray(vector))]
        kept.sort(key=lambda one: (-one[0], one[1]))
        chosen: list[tuple[float, int, Face, NDArray[np.float32]]] = []
        for one in kept:
            if not chosen or (
                one[0] >= _AS_GOOD * chosen[0][0] and _far(one[3], [held[3] for held in chosen])
            ):
                chosen.append(one)
        track.kept = chosen[:_ROWS]

    def _merit(self, face: Face, vector: NDArray[np.float32]) -> float:
        """Return how good a look is: sharp faces have longer vectors, and small ones lack detail."""
        size = min(1.0, max(face.box.width, face.box.height) / self._side)
        return face.score * size * float(np.linalg.norm(vector))


def _far(vector: NDArray[np.float32], others: Sequence[NDArray[np.float32]]) -> bool:
    flat = unit_vectors(np.stack([vector, *others]))
    return bool(np.all(1.0 - flat[1:] @ flat[0] >= _OTHER))


def _with_boxes_of_their_own(
    rows: Sequence[tuple[Face, NDArray[np.float32]]],
) -> list[tuple[Face, NDArray[np.float32]]]:
    """Change boxes by a few pixels until no two of a clip are the same: a face is known by its box."""
    taken: set[Box] = set()
    found = []
    for face, vector in rows:
        x, y, width, height = face.box.corners
        others = (Box(x + by[0], y + by[1], width + by[2], height + by[3]) for by in _BY)
        box = next((one for one in others if one not in taken), face.box)
        taken.add(box)
        found.append((replace(face, box=box), vector))
    return found
