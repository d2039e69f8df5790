"""A question: references -> nearest faces of an index -> matches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Match
from facesearch.index.layout import Layout
from facesearch.ranking import Metric, Neighbours, nearest


@dataclass(frozen=True, slots=True)
class Reference:
    """A face that is looked for.

    Attributes:
        path: The photo it is in, absolute.
        face: Its number there, 1 for the largest.
        box: Where it is in the upright photo.
        vector: (dim,) float32.
    """

    path: str
    face: int
    box: Box
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an index.

    Attributes:
        top: How many matches for each reference, at most.
        metric: Which distance; None for the model's own in `Library.query`, for cosine in `search`.
        threshold: Matches farther than this are left out.
        by: "photo": each photo once, with its best face; "face": each face.
        include_self: Whether the reference's own file may be among its matches.
        unique: Whether copies of one photo count once.
        together: Whether all references show one person and are fused into one.
    """

    top: int = 4
    metric: Metric | None = None
    threshold: float = np.inf
    by: Literal["photo", "face"] = "photo"
    include_self: bool = False
    unique: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The matches of one reference, or of several that are fused; nearest first."""

    references: tuple[Reference, ...]
    matches: tuple[Match, ...]


def search(layout: Layout, references: Sequence[Reference], question: Question) -> list[Answer]:
    """Rank an index by distance to references; ties by path, then by face.

    Fused references are one: the mean of their vectors, each of unit length where the metric is cosine.

    Returns:
        One answer for each reference in order; one in all with `together`.
    """
    asked = [tuple(references)] if question.together and references else [(one,) for one in references]
    if not asked:
        return []
    metric = question.metric or "cosine"
    own = [_own_photos(layout, group, question) for group in asked]
    queries = np.stack([_fused(group, metric) for group in asked])
    found = nearest(
        layout.vectors,
        layout.norms,
        queries,
        # Matches in the reference's own photo are taken out afterwards.
        question.top + max(_places(layout, photos, question) for photos in own),
        metric,
        groups=_groups(layout, question),
        threshold=question.threshold,
    )
    return [
        Answer(group, _matches(layout, neighbours, photos, question.top))
        for group, neighbours, photos in zip(asked, found, own, strict=True)
    ]


def _fused(references: Sequence[Reference], metric: Metric) -> NDArray[np.float32]:
    if len(references) == 1:
        return references[0].vector
    vectors = np.stack([reference.vector for reference in references]).astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(lengths > 0, lengths, 1.0)
    mean: NDArray[np.float64] = vectors.mean(axis=0)
    return mean.astype(np.float32)


def _own_photos(layout: Layout, references: Sequence[Reference], question: Question) -> frozenset[int]:
    """Give the photos of the index that are the references' own files, or copies that count as them."""
    if question.include_self:
        return frozenset()
    found = (layout.find(name) for one in references for name in {one.path, os.path.realpath(one.path)})
    rows = {row for row in found if row is not None}
    if question.unique:
        rows.update(*(_copies(layout, row) for row in tuple(rows)))
    return frozenset(rows)


def _copies(layout: Layout, photo: int) -> list[int]:
    same: list[int] = np.flatnonzero((layout.digest == layout.digest[photo]).all(axis=1)).tolist()
    return same


def _places(layout: Layout, photos: frozenset[int], question: Question) -> int:
    """Give how many places these photos can take among the nearest."""
    if question.by == "photo":
        return len(photos)
    return sum(len(layout.faces_of(photo)) for photo in photos)


def _groups(layout: Layout, question: Question) -> NDArray[np.int64] | NDArray[np.int32] | None:
    """Give what counts once: photos, contents, or (None) each face."""
    if not question.unique:
        return layout.photo if question.by == "photo" else None
    _, content = np.unique(layout.digest, axis=0, return_inverse=True)
    groups: NDArray[np.int64] = content.reshape(-1)[layout.photo]
    if question.by == "face":
        number = np.arange(layout.face_count) - layout.first_face[layout.photo]
        groups = groups * (int(number.max(initial=0)) + 1) + number
    return groups


def _matches(layout: Layout, neighbours: Neighbours, own: frozenset[int], top: int) -> tuple[Match, ...]:
    matches: list[Match] = []
    for row, distance in zip(neighbours.rows.tolist(), neighbours.distances.tolist(), strict=True):
        photo = int(layout.photo[row])
        if photo not in own and len(matches) < top:
            number = row - layout.faces_of(photo).start + 1
            matches.append(Match(len(matches) + 1, layout.path(photo), number, layout.box(row), distance))
    return tuple(matches)
