"""The photos of people: as an answer to a query, or as one folder per person."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelError, PeopleError, UnreadablePhoto
from facesearch.faces import NOWHERE, Answer, Captured, Match, Reference
from facesearch.judge import MEASURE_IT, NO_PROBABILITY, Judge
from facesearch.people.facts import folded, folder_name
from facesearch.people.people import People, Person
from facesearch.search import Question, by_date
from facesearch.show.collect import collect


@dataclass(frozen=True, slots=True)
class PeopleQuery:
    """Which photos of people to find.

    Attributes:
        top: The largest number of matches; None for all.
        only: Whether no other person may be in them; ignored faces do not count.
        by: "photo": each photo once, with the first person's best face; "face": every face of the persons.
        unique: Whether copies of one photo count once.
        threshold: The largest mean distance of a face from the person's other faces.
        min_probability: The smallest probability that a face is the person's.
        since: Only photos that were taken then or later, by the clock of the camera.
        until: Only photos that were taken before this.
        sort: "distance", or "date": those that were taken first come first.
    """

    top: int | None = None
    only: bool = False
    by: Literal["photo", "face"] = "photo"
    unique: bool = False
    threshold: float = math.inf
    min_probability: float = 0.0
    since: datetime | None = None
    until: datetime | None = None
    sort: Literal["distance", "date"] = "distance"


def photos_with(
    people: People, persons: Sequence[Person], query: PeopleQuery, judge: Judge | None = None
) -> Answer:
    """Return the photos that show all of several people, each with a face of their own.

    The most certain come first. A face's distance is its mean distance from the person's other faces; photos
    are ordered by the farthest of the people in them.

    Args:
        people: The people of an index.
        persons: One or more of them.
        query: Which photos to find.
        judge: Says what cosine distances mean for persons.

    Raises:
        PeopleError: A person is named twice.
        ModelError: A probability is asked for, and the model has none.
    """
    if len({person.number for person in persons}) < len(persons):
        raise PeopleError("A photo that shows a person twice is not looked for.", "Name each person once.")
    judge = judge or Judge(people.index.face_count)
    if query.min_probability > 0 and not judge.knows:
        raise ModelError(NO_PROBABILITY, MEASURE_IT)
    shown = [_faces_by_photo(people, person, query, judge) for person in persons]
    of_the_time = _of_the_time(people, query)
    together = {photo for photo in set(shown[0]).intersection(*shown[1:]) if of_the_time[photo]}
    if query.only:
        together = {photo for photo in together if _nobody_else(people, photo, persons)}
    order = sorted(together, key=lambda photo: (max(faces[photo][0] for faces in shown), photo))
    if query.unique:
        contents: dict[bytes, int] = {}
        order = [
            photo
            for photo in order
            if contents.setdefault(people.index.digest[photo].tobytes(), photo) == photo
        ]
    if query.by == "photo":
        faces = [shown[0][photo][0] for photo in order]
    else:
        faces = [face for photo in order for faces in shown for face in faces[photo]]
    matches = [
        judge.verdict(_match(people, rank, distance, row), told)
        for rank, (distance, row, told) in enumerate(faces[: query.top], 1)
    ]
    if not (query.min_probability > 0 or query.threshold < math.inf):
        tagged = _tagged(people, persons, query, set(order))
        room = None if query.top is None else query.top - len(matches)
        matches += [replace(match, rank=len(matches) + at) for at, match in enumerate(tagged[:room], 1)]
    if query.sort == "date":
        matches = by_date(matches)
    return Answer(tuple(_portrait(people, person) for person in persons), tuple(matches))


def _faces_by_photo(
    people: People, person: Person, query: PeopleQuery, judge: Judge
) -> dict[int, list[tuple[float, int, float]]]:
    """Return a person's faces in each photo: distance, row, and what it is judged by; the nearest first."""
    found: dict[int, list[tuple[float, int, float]]] = {}
    if not person.faces:
        return found
    distances = people.mean_distances(person.faces)
    told = judge.among(people.index.vectors[list(person.faces)], distances)
    for distance, row, one in sorted(zip(distances.tolist(), person.faces, told.tolist(), strict=True)):
        probability = judge.probability(one) if query.min_probability > 0 else None
        unlikely = probability is not None and probability < query.min_probability
        if distance <= query.threshold and not unlikely:
            found.setdefault(int(people.index.photo[row]), []).append((distance, row, one))
    return found


def _tagged(people: People, persons: Sequence[Person], query: PeopleQuery, found: set[int]) -> list[Match]:
    """Return the photos on which somebody was tagged and that show all others, by their paths."""
    tags = [people.tagged_photos(person) for person in persons]
    faces = [{int(people.index.photo[row]) for row in person.faces} for person in persons]
    both = [set(own) | shown for own, shown in zip(tags, faces, strict=True)]
    of_the_time = _of_the_time(people, query)
    photos = sorted(set(both[0]).intersection(*both[1:]) - found)
    photos = [photo for photo in photos if of_the_time[photo]]
    if query.only:
        photos = [photo for photo in photos if _nobody_else(people, photo, persons)]
    boxes = {photo: box for own in reversed(tags) for photo, box in own.items()}
    return [
        Match(
            0,
            people.index.path(photo),
            0,
            boxes[photo] or NOWHERE,
            math.nan,
            captured=Captured.of(int(people.index.captured[photo])),
            by_hand=True,
        )
        for photo in photos
        if photo in boxes
    ]


def _of_the_time(people: People, query: PeopleQuery) -> NDArray[np.bool_]:
    """Return which photos were taken when it is asked for, (P,)."""
    dates = Question(since=query.since, until=query.until).captured
    if dates is None:
        return np.ones(people.index.photo_count, np.bool_)
    return np.asarray((people.index.captured >= dates[0]) & (people.index.captured < dates[1]))


def _nobody_else(people: People, photo: int, persons: Sequence[Person]) -> bool:
    rows = people.index.faces_of(photo)
    others = set(people.whose[rows.start : rows.stop].tolist()) - {person.number for person in persons}
    return not others - {0}


def _match(people: People, rank: int, distance: float, row: int) -> Match:
    index = people.index
    photo = int(index.photo[row])
    captured = Captured.of(int(index.captured[photo]))
    path, box, moment = index.path(photo), index.box(row), index.moment(row)
    return Match(rank, path, index.number(row), box, distance, captured=captured, moment=moment)


def _portrait(people: People, person: Person) -> Reference:
    """Return the face that stands for a person, under the person's name."""
    index = people.index
    if not person.faces and (tagged := people.tagged_photos(person)):
        nothing = np.empty(0, np.float32)
        return Reference(index.path(next(iter(tagged))), 0, NOWHERE, nothing, person.title)
    if not person.faces:
        raise PeopleError(
            f"{person.title} is in no photo of this index now.",
            "Take the photos in again with `facesearch index`.",
        )
    return index.reference(people.portrait(person), person.title)


@dataclass(frozen=True, slots=True)
class Album:
    """The photos of one folder.

    Attributes:
        person: The person.
        folder: The folder's path.
        photos: Paths in the order of the index.
    """

    person: Person
    folder: str
    photos: tuple[str, ...]


def albums(people: People, persons: Sequence[Person], to: str) -> list[Album]:
    """Return the folders to fill; people of one folder name get their number added."""
    shown = {
        person: {*(int(people.index.photo[row]) for row in person.faces), *people.tagged_photos(person)}
        for person in persons
    }
    wanted = [person for person, photos in shown.items() if photos]
    found: list[Album] = []
    for person, name in zip(wanted, _folders(wanted), strict=True):
        photos = sorted(shown[person])
        paths = tuple(people.index.path(photo) for photo in photos)
        found.append(Album(person, os.path.join(to, name), paths))
    return found


def _folders(persons: Sequence[Person]) -> Iterator[str]:
    names = [folder_name(person.title, person.number) for person in persons]
    counts = Counter(map(folded, names))
    taken = {name for name, count in counts.items() if count == 1}
    for person, name in zip(persons, names, strict=True):
        if counts[folded(name)] > 1:
            name = f"{name}-{person.number}"
            while folded(name) in taken:  # somebody is called that
                name += "_"
            taken.add(folded(name))
        yield name


def export(wanted: Sequence[Album], *, link: bool) -> int:
    """Fill the folders.

    Returns:
        The number of photos in them.

    Raises:
        UnreadablePhoto: Photos cannot be read any more; all others are there.
        StorageError: A folder cannot be made or written.
    """
    count = 0
    lost: list[UnreadablePhoto] = []
    for album in wanted:
        try:
            count += collect(album.photos, album.folder, link=link)
        except UnreadablePhoto as error:
            lost.append(error)
    if lost:
        others = f" ({len(lost) - 1} more folders lack some.)" if len(lost) > 1 else ""
        raise UnreadablePhoto(lost[0].message + others, lost[0].hint)
    return count
