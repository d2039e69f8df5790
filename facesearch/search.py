"""Answers a question: references -> nearest faces of an index -> matches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.cohort import LEAST, SIZE
from facesearch.errors import FacesearchError, ModelError, NoFace, PhotoError, UnreadablePhoto
from facesearch.faces import LATEST, UNDATED, Answer, Captured, Match, PhotoFaces, Reference, Status
from facesearch.index.backend import SearchableIndex
from facesearch.index.index import Hit, How, SearchRequest
from facesearch.judge import MEASURE_IT, NO_PROBABILITY, Judge
from facesearch.photos.kinds import is_clip_name, may_have_frames
from facesearch.photos.urls import is_there
from facesearch.pipeline import Choice, Pipeline, all_faces
from facesearch.ranking import Metric, Ranking, about, unit_vectors, usable_unit_vectors

# A farther face can be the more probable match. Where too few of the nearest faces are probable enough, the
# search goes so many times deeper, to this depth in any case.
DEEPER, LEAST_DEPTH = 4, 256
# At most so many matches of at least this probability become references when a question is expanded.
MOST_SURE, SURE = 10, 0.99
# So many copies that are not there any more may stand before one that is.
_COPIES = 4
NO_QUALITY = "This model's vectors do not tell how good a face is."

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an index.

    Attributes:
        top: The largest number of matches for each reference.
        metric: The distance; None for the model's own in `Library.query`, for cosine in `search`. "centred"
            is the cosine distance about the mean of the index' faces: what all have in common tells nothing.
        threshold: The largest distance of a match.
        min_probability: The smallest probability that a match shows the same person.
        min_quality: The smallest quality of a match.
        by: "photo" lists each photo once, with its best face; "face" lists every face.
        include_self: Whether the reference's own file may be among its matches.
        unique: Whether copies of one photo count once.
        together: Whether all references show one person and are combined into one.
        expand: Whether the surest matches become references too, to find more of the same person.
        how: "exact" or "approximate", for an index that has both; None lets its size decide. A file is
            always searched exactly.
        since: Only photos that were taken then or later, by the clock of the camera.
        until: Only photos that were taken before this.
        sort: "distance", or "date": of the matches those that were taken first come first.
    """

    top: int = 4
    metric: Ranking | None = None
    threshold: float = math.inf
    min_probability: float = 0.0
    min_quality: float = 0.0
    by: Literal["photo", "face"] = "photo"
    include_self: bool = False
    unique: bool = False
    together: bool = False
    expand: bool = False
    how: How | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: Literal["distance", "date"] = "distance"

    @property
    def captured(self) -> tuple[int, int] | None:
        """Which dates are wanted, as an index has them; None for all photos, dated or not."""
        if self.since is None and self.until is None:
            return None
        first = UNDATED + 1 if self.since is None else Captured.at(self.since).code
        return first, LATEST if self.until is None else Captured.at(self.until).code


def search(
    index: SearchableIndex,
    references: Sequence[Reference],
    question: Question,
    judge: Judge | None = None,
) -> list[Answer]:
    """Rank an index by distance to references; ties by path, then by face.

    The distance to fused references is the mean of the distances to each, by euclidean distance their root
    mean square.

    Args:
        index: The index, or the server that searches it.
        references: The faces to look for.
        question: Which matches are wanted.
        judge: Says what distances mean; None for an index whose distances say nothing of persons.

    Returns:
        One answer for each reference, in their order; a single one with `together`.

    Raises:
        ModelError: A probability is asked for, and the model has none.
    """
    judge = judge or Judge(index.face_count)
    limit = _limit(judge, question)
    asked = [tuple(references)] if question.together and references else [(one,) for one in references]
    if not asked:
        return []
    asking = _Asking(index, asked, question, judge, limit)
    found = asking.expanded() if question.expand else asking.nearest(asked, question.top + _COPIES)
    answers = []
    for group, pairs in zip(asked, found, strict=True):
        matches = asking.there_first([match for match, _ in pairs])[: question.top]
        ranked = [replace(match, rank=rank) for rank, match in enumerate(matches, 1)]
        answers.append(Answer(group, tuple(by_date(ranked) if question.sort == "date" else ranked)))
    return answers


def by_date(matches: Iterable[Match]) -> list[Match]:
    """Return matches in the order in which their photos were taken; those without a date come last."""
    return sorted(matches, key=lambda one: math.inf if one.captured is None else one.captured.seconds)


def _limit(judge: Judge, question: Question) -> float:
    """Return the largest distance that a question allows, as far as that can be told before the search.

    Raises:
        ModelError: A probability or quality is needed, and nothing was measured.
    """
    if question.min_quality > 0 and judge.quality is None:
        raise ModelError(NO_QUALITY, "Use an index made with --model sface.")
    if question.min_probability <= 0 and not question.expand:
        return question.threshold
    if not judge.knows:
        raise ModelError(NO_PROBABILITY, MEASURE_IT)
    if judge.cohort or judge.calibration is None:
        return question.threshold
    return min(question.threshold, judge.calibration.distance(question.min_probability))


_Pairs = list[tuple[Match, Vector]]


@dataclass(frozen=True)
class _Asking:
    """A question under way.

    Attributes:
        index: The index.
        own: The groups of references; those of a group are combined, and their photos are left out.
        question: Which matches are wanted.
        judge: Says what distances mean.
        limit: The largest distance of a match.
    """

    index: SearchableIndex
    own: Sequence[Sequence[Reference]]
    question: Question
    judge: Judge
    limit: float

    @cached_property
    def _centre(self) -> Vector | None:
        return centre_of(self.index) if self.question.metric == "centred" else None

    def expanded(self) -> list[_Pairs]:
        """Search again with the surest matches as further references; all up to their last stay first."""
        question = self.question
        first = self.nearest(self.own, max(question.top, MOST_SURE))
        sure = [
            [place for place, (match, _) in enumerate(pairs) if (match.probability or 0.0) >= SURE][
                :MOST_SURE
            ]
            for pairs in first
        ]
        wider = [
            [*group, *(_reference(*pairs[place]) for place in places)]
            for group, pairs, places in zip(self.own, first, sure, strict=True)
        ]
        kept = [
            pairs[: places[-1] + 1] if places else pairs for pairs, places in zip(first, sure, strict=True)
        ]
        second = self.nearest(wider, question.top + max(map(len, kept)))
        return [
            _joined(pairs, others if places else [], question)
            for pairs, others, places in zip(kept, second, sure, strict=True)
        ]

    def there_first(self, matches: Sequence[Match]) -> list[Match]:
        """Return matches with those at the same distance whose files are not there behind the others.

        They are copies of one picture, most often at the name that a folder had before.
        """
        ordered: list[Match] = []
        for _, same in groupby(matches, key=lambda match: match.distance):
            some = list(same)
            if len(some) > 1:
                some.sort(key=lambda match: not is_there(match.path))  # stable: the order by paths stays
            ordered += some
        return ordered

    def nearest(self, asked: Sequence[Sequence[Reference]], top: int) -> list[_Pairs]:
        """Return the judged matches of each group, and the vector of each, nearest first.

        Args:
            asked: The references of each group, which may be more than its own.
            top: How many matches are wanted.
        """
        question = replace(self.question, top=top)
        metric: Metric = "euclidean" if question.metric == "euclidean" else "cosine"
        fused = [_Fused.of(_vectors(group, self._centre), metric) for group in asked]
        threshold = max((one.to_vector(self.limit) for one in fused), default=self.limit)
        depth = top
        while True:
            request = _request(self.own, fused, replace(question, top=depth), threshold, self._centre)
            found = self.index.near(request)
            likely = []
            for group, one, hits in zip(asked, fused, found, strict=True):
                matches, vectors = _matches(hits, one, self.limit)
                judged = zip(self.judge.judged(matches, vectors, group), vectors, strict=True)
                likely.append([pair for pair in judged if _wanted(pair[0], question)])
            if not any(_may_have_more(*pair, question, depth) for pair in zip(likely, found, strict=True)):
                return likely
            depth *= DEEPER


def _reference(match: Match, vector: Vector) -> Reference:
    return Reference(match.path, match.face, match.box, vector, moment=match.moment)


def _joined(first: _Pairs, others: _Pairs, question: Question) -> _Pairs:
    """Return the first pairs, then those of the others that are not among them."""
    known = {_listed_as(match, question) for match, _ in first}
    return first + [pair for pair in others if _listed_as(pair[0], question) not in known]


def _listed_as(match: Match, question: Question) -> tuple[str, int]:
    return match.path, match.face if question.by == "face" else 0


def _wanted(match: Match, question: Question) -> bool:
    """Return whether a match is as probable, and as good a face, as is asked for."""
    if question.min_probability > 0 and (match.probability or 0.0) < question.min_probability:
        return False
    return question.min_quality <= 0 or (match.quality or 0.0) >= question.min_quality


def _may_have_more(likely: _Pairs, hits: Sequence[Hit], question: Question, depth: int) -> bool:
    """Return whether farther faces may be wanted, since a farther face can be the more probable match."""
    if len(likely) == len(hits) or len(likely) >= question.top or len(hits) < depth:
        return False
    # Where a whole search deeper brought no match, the next one brings none.
    last = likely[-1][0].rank if likely else 0
    return depth < LEAST_DEPTH or last > depth // DEEPER


def centre_of(index: SearchableIndex) -> Vector:
    """Return the mean of the unit vectors of an index' faces, (dim,) float32, from a sample of them.

    Raises:
        FacesearchError: There are too few faces to tell what they have in common.
    """
    faces = usable_unit_vectors(index.sample(SIZE))
    if len(faces) < LEAST:
        raise FacesearchError(
            f"The metric centred takes off what the faces of an index have in common, and {len(faces)} "
            f"faces are too few to tell: it needs {LEAST}.",
            "Use --metric cosine.",
        )
    return np.asarray(faces.mean(axis=0), np.float32)


def _vectors(references: Sequence[Reference], centre: Vector | None) -> Vector:
    vectors = np.stack([one.vector for one in references])
    return vectors if centre is None else about(vectors, centre).astype(np.float32)


def _request(
    own: Sequence[Sequence[Reference]],
    fused: Sequence[_Fused],
    question: Question,
    threshold: float,
    centre: Vector | None,
) -> SearchRequest:
    """Return the search request: a vector for each group of references, and their own photos to leave out."""
    return SearchRequest(
        np.stack([one.vector for one in fused]),
        question.top,
        fused[0].metric,
        question.by,
        question.unique,
        threshold,
        [frozenset() if question.include_self else frozenset(_names(group)) for group in own],
        question.how,
        centre,
        question.captured,
    )


def _names(references: Sequence[Reference]) -> set[str]:
    return {name for one in references for name in (one.path, os.path.realpath(one.path))}


@dataclass(frozen=True, slots=True)
class _Fused:
    """References as one vector that ranks faces by their mean distance to all references.

    By cosine, with unit vectors u and their mean m, the mean of 1 - u.x is 1 - |m| (m/|m|).x; by euclidean
    distance the mean of |u - x|^2 is |m - x|^2 plus the references' spread around m. So a distance from m
    gives the mean distance, which a calibration on single faces can judge.

    Attributes:
        vector: (dim,) float32.
        metric: The distance.
        length: The length of the mean of the unit vectors; 1 for a single reference.
        spread: The mean square distance of the references from their mean; 0 for a single one.
    """

    vector: NDArray[np.float32]
    metric: Metric
    length: float = 1.0
    spread: float = 0.0

    @classmethod
    def of(cls, references: Vector, metric: Metric) -> _Fused:
        """Fuse the vectors of references, (n, dim) float32."""
        if len(references) == 1:
            return cls(references[0], metric)
        vectors = references.astype(np.float64)
        if metric == "cosine":
            vectors = unit_vectors(vectors)
        mean = vectors.mean(axis=0)
        spread = float(((vectors - mean) ** 2).sum(axis=1).mean())
        return cls(mean.astype(np.float32), metric, float(np.linalg.norm(mean)), spread)

    def to_vector(self, distance: float) -> float:
        """Convert a mean distance to the distance from `vector`; below 0 if no face can have it."""
        if self.length == 1.0 and self.spread == 0.0:
            return distance
        if self.metric == "cosine":
            # Rounded up by a little: `_matches` compares the exact mean distance.
            return 1.0 - (1.0 - distance) / max(self.length, 1e-12) + 1e-9
        return math.sqrt(square) if (square := distance**2 - self.spread) >= 0 else -1.0

    def from_vector(self, distance: float) -> float:
        """Convert a distance from `vector` to the mean distance."""
        if self.length == 1.0 and self.spread == 0.0:
            return distance
        if self.metric == "cosine":
            return 1.0 - self.length * (1.0 - distance)
        return math.sqrt(distance * distance + self.spread)


def _matches(hits: Sequence[Hit], fused: _Fused, limit: float) -> tuple[list[Match], list[Vector]]:
    """Return the hits whose mean distance is within the limit, and their vectors."""
    distances = [fused.from_vector(hit.distance) for hit in hits]
    near = [(hit, distance) for hit, distance in zip(hits, distances, strict=True) if distance <= limit]
    matches = [
        Match(
            rank, hit.path, hit.face, hit.box, distance, captured=Captured.of(hit.captured), moment=hit.moment
        )
        for rank, (hit, distance) in enumerate(near, 1)
    ]
    return matches, [hit.vector for hit, _ in near]


FaceWanted = int | Literal["largest", "all"]


def as_indexed(photo: PhotoFaces, index: SearchableIndex) -> PhotoFaces:
    """Return a processed photo with the vectors that an index has of these faces in this picture.

    The last digits of a vector depend on what else was in the network's batch. With the index' own, a picture
    is at distance 0 from itself.
    """
    if photo.vectors is None or not (known := index.vectors_of(photo.file.digest)):
        return photo
    pairs = zip(photo.faces, photo.vectors, strict=True)
    return replace(photo, vectors=np.stack([known.get(face.place, vector) for face, vector in pairs]))


def find_references(
    pipeline: Pipeline,
    paths: Sequence[str],
    face: FaceWanted,
    on_photo: Callable[[PhotoFaces], None],
    index: SearchableIndex | None = None,
    known: Mapping[str, PhotoFaces] = MappingProxyType({}),
) -> tuple[list[Reference], list[tuple[str, PhotoError]]]:
    """Find the reference faces in some photos.

    Args:
        pipeline: The pipeline that made the index; its choice of faces is replaced here.
        paths: The photos' absolute paths.
        face: Which face of each photo: a number (1 for the largest), "largest" or "all".
        on_photo: Called with each photo that was processed.
        index: The index that is asked, see `as_indexed`; None where faces are compared with each other.
        known: Photos that need not be looked at, with all their faces, by path.

    Returns:
        The faces in the order of the photos, and the photos that gave none, with the reason.
    """
    found: list[Reference] = []
    problems: list[tuple[str, PhotoError]] = []
    # Of films and animations all faces are followed, before one of them can be chosen.
    framed = [
        path
        for path in paths
        if is_clip_name(path) or (pipeline.detector is not None and may_have_frames(path))
    ]
    looked_at = dict(known)
    for photo in replace(pipeline, choose=all_faces).run(path for path in framed if path not in known):
        looked_at[photo.path] = photo
    others = replace(pipeline, choose=chosen(face), frames=1).run(
        path for path in paths if path not in looked_at
    )
    for path in paths:
        photo = _only(looked_at[path], face) if path in looked_at else next(others)
        on_photo(photo)
        if photo.status is Status.OK and photo.vectors is not None:
            found.extend(references_in(photo if index is None else as_indexed(photo, index), face))
        else:
            problems.append((photo.path, problem(photo, face)))
    return found, problems


def chosen(face: FaceWanted) -> Choice:
    """Return the function that chooses the wanted faces among all faces of a photo."""
    place = _places(face)
    return lambda faces: faces[place]


def _only(photo: PhotoFaces, face: FaceWanted) -> PhotoFaces:
    """Return a photo with the wanted faces among all of its faces."""
    if photo.vectors is None:
        return photo
    place = _places(face)
    faces = photo.faces[place]
    return replace(photo, faces=faces, vectors=photo.vectors[place] if faces else None)


def _places(face: FaceWanted) -> slice:
    """Return where the wanted faces are among all faces of a photo, the largest first."""
    if face == "all":
        return slice(None)
    number = 1 if face == "largest" else face
    return slice(number - 1, number)


def references_in(photo: PhotoFaces, face: FaceWanted) -> list[Reference]:
    """Return the wanted faces of a processed photo as references."""
    assert photo.vectors is not None
    first = face if isinstance(face, int) else 1
    return [
        Reference(photo.path, first + number, one.box, photo.vectors[number], moment=one.moment)
        for number, one in enumerate(photo.faces)
    ]


def problem(photo: PhotoFaces, face: FaceWanted) -> PhotoError:
    """Return the error that says why a photo has no reference face."""
    if os.path.isdir(photo.path):
        return UnreadablePhoto(f"{photo.path}: It is a folder.", "Name the photos in it.")
    if photo.status is Status.UNREADABLE:
        return UnreadablePhoto(f"{photo.path}: {photo.reason}")
    if isinstance(face, int) and face > 1:
        return NoFace(f"{photo.path}: There is no face number {face}.", "Leave out --face for the largest.")
    return NoFace(
        f"{photo.path}: No face was found.",
        "Try --rotations if the face lies on its side, or --whole when the photo is nothing but the face.",
    )
