"""Names that other programs know: regions in photos and sidecars, Google Takeout, a folder a person."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError, PeopleError
from facesearch.faces import Box, PhotoFaces
from facesearch.people.facts import folded, good_name
from facesearch.people.people import People
from facesearch.people.register import IGNORED
from facesearch.photos.kinds import is_clip_name
from facesearch.photos.metadata import Said, read_said, takeout_names
from facesearch.photos.urls import is_photo_url
from facesearch.photos.xmp import Area
from facesearch.ranking import unit_vectors

# A region is a face's that it overlaps by so much (intersection over union), or whose middle is in the face's
# box and the face's in its own: other programs draw larger and smaller ones.
_OVERLAP = 0.15
# A face with a name is doubted if it is so much farther from the others of that name than from those of
# another name.
_FARTHER = 0.15
# Of so many photos of a group, or of half of them, Google Takeout has to say who is there.
_MANY_SAID = 5


@dataclass
class Imported:
    """What came of an import.

    Attributes:
        people: The people who have faces of the names now, by name.
        faces: The number of faces that have their names now and had not before.
        already: The number of those that had them.
        tagged: Who was put on photos without a face there.
        conflicts: Faces that belong to somebody with another name and stay so: the photo, the name that was
            read, and the other one.
        doubtful: Faces that are not like the others of their name, which were left out: photo and name.
        refused: Faces that were said not to be theirs, or ignored, and stay so: photo and name.
        unmatched: Names for which nobody was found.
        problems: What could not be read, each with a sentence.
    """

    people: dict[str, int] = field(default_factory=dict)
    faces: int = 0
    already: int = 0
    tagged: int = 0
    conflicts: list[tuple[str, str, str]] = field(default_factory=list)
    doubtful: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def import_regions(people: People, on_photo: Callable[[str], None] = lambda path: None) -> Imported:
    """Name faces by the regions in photos and sidecars, and by Picasa's.

    A region without a face becomes a tag.

    Args:
        people: The people of an index.
        on_photo: Called with each photo that was read.
    """
    done = Imported()
    rows: dict[str, list[int]] = defaultdict(list)
    tags: list[tuple[int, str, Box | None]] = []
    for photo in range(people.index.photo_count):
        path = people.index.path(photo)
        if is_photo_url(path) or is_clip_name(path):
            continue
        on_photo(path)
        try:
            said = read_said(path, people.index.file(photo).digests)
        except FacesearchError as error:
            done.problems.append((path, error.message))
            continue
        done.problems += said.problems
        if said.regions or said.names:
            _match_photo(people, photo, said, rows, tags)
    _give(people, rows, done)
    _tag(people, tags, done)
    _end(people, done, {*rows, *(name for _, name, _ in tags)}, "metadata")
    return done


def _match_photo(
    people: People,
    photo: int,
    said: Said,
    rows: dict[str, list[int]],
    tags: list[tuple[int, str, Box | None]],
) -> None:
    """Find the faces of a photo's regions; add to `rows` and `tags`."""
    index, regions, (width, height) = people.index, said.regions, said.size
    faces = [row for row in index.faces_of(photo) if index.moment(row) is None]
    areas = [_area(index.box(row), width, height) for row in faces]
    pairs = sorted(
        (
            (one.area.overlap(area), at, place)
            for at, one in enumerate(regions)
            for place, area in enumerate(areas)
            if one.area.overlap(area) >= _OVERLAP or _in_one_another(one.area, area)
        ),
        reverse=True,
    )
    taken: set[int] = set()
    named: dict[int, str] = {}
    for _, at, place in pairs:
        name = regions[at].name
        if place not in taken and at not in named and name not in (regions[one].name for one in named):
            taken.add(place)
            named[at] = name
            rows[name].append(faces[place])
    placed = set(map(folded, named.values()))
    for region in regions:
        if folded(region.name) not in placed:
            placed.add(folded(region.name))
            tags.append((photo, region.name, _box(region.area, width, height)))
    tags += [(photo, name, None) for name in said.names if folded(name) not in placed]


def _area(box: Box, width: int, height: int) -> Area:
    x, y = box.centre
    return Area(x / width, y / height, box.width / width, box.height / height)


def _box(area: Area, width: int, height: int) -> Box:
    wide, high = max(1, round(area.w * width)), max(1, round(area.h * height))
    return Box(round(area.x * width - wide / 2), round(area.y * height - high / 2), wide, high)


def _in_one_another(one: Area, other: Area) -> bool:
    """Return whether each of two areas holds the middle of the other."""
    return abs(one.x - other.x) <= min(one.w, other.w) / 2 and abs(one.y - other.y) <= min(one.h, other.h) / 2


def _give(people: People, found: Mapping[str, Sequence[int]], done: Imported) -> None:
    """Give faces to the people of their names: a group that has no name is named as a whole."""
    rows = {name: list(own) for name, own in found.items() if _usable(name, done)}
    _leave_out_doubtful(people, rows, done)
    # A group that faces of several names are in is not named as a whole.
    called: dict[int, set[str]] = defaultdict(set)
    for name, own in rows.items():
        for row in own:
            called[int(people.whose[row])].add(folded(name))
    mixed = {group for group, names in called.items() if len(names) > 1}
    for name, own in rows.items():
        _give_one(people, name, own, mixed, done)


def _give_one(people: People, name: str, rows: Sequence[int], mixed: set[int], done: Imported) -> None:
    names = people.facts.names
    number = next((one for one, other in names.items() if folded(other) == folded(name)), 0)
    rows, refused = _not_refused(people, rows, number)
    done.refused += [(people.index.path(int(people.index.photo[row])), name) for row in refused]
    groups = Counter(int(people.whose[row]) for row in rows)
    nameless = [one for one, _ in groups.most_common() if one > 0 and one not in names and one not in mixed]
    whole = _one_person(people, number, nameless)
    others = {one for one in groups if one in names and one != number}
    for row in rows:
        if (whose := int(people.whose[row])) in others:
            done.conflicts.append((people.index.path(int(people.index.photo[row])), name, names[whose]))
    given = [row for row in rows if people.whose[row] not in (number, *whole, *others)]
    if not (number or whole or given):
        return
    already = sum(int(people.whose[row]) == number for row in rows) if number else 0
    if not number:
        person = people.person(whole[0]) if whole else people.assign(given, None)
        number = people.name(person, name).number
    if whole:
        people.merge(people.person(number), [people.person(one) for one in whole])
    if given:
        people.assign(given, people.person(number))
    done.people[people.facts.names[number]] = number
    done.already += already
    done.faces += int(sum(people.whose[row] == number for row in rows)) - already


def _not_refused(people: People, rows: Sequence[int], number: int) -> tuple[list[int], list[int]]:
    """Divide faces into those that may become a person's, and those that the user said are not."""
    numbers, faces = people.told_apart_from(number) if number else (set(), set())
    refused = [
        row
        for row in rows
        if people.whose[row] == IGNORED or row in faces or int(people.whose[row]) in numbers
    ]
    return [row for row in rows if row not in refused], refused


def _one_person(people: People, number: int, groups: Sequence[int]) -> list[int]:
    """Return the groups that can be one person, the largest first: no two of them are on one photo."""
    photos = set(people.index.photo[people.whose == number].tolist()) if number else set()
    found = []
    for group in groups:
        own = set(people.index.photo[people.whose == group].tolist())
        if not own & photos:
            photos |= own
            found.append(group)
    return found


def _usable(name: str, done: Imported) -> bool:
    try:
        good_name(name)
    except PeopleError as error:
        done.problems.append((name, error.message))
        return False
    return True


def _leave_out_doubtful(people: People, rows: dict[str, list[int]], done: Imported) -> None:
    """Leave out faces that are more like those of another name: a region may be on the wrong face."""
    names = [name for name, own in rows.items() if len(own) > 1]
    if len(names) < 2:
        return
    totals = np.stack([people.unit_vectors(np.array(rows[name])).sum(axis=0) for name in names])
    for place, name in enumerate(names):
        own = np.array(rows[name])
        vectors = people.unit_vectors(own)
        near = vectors @ (totals / np.linalg.norm(totals, axis=1, keepdims=True)).T
        rest = totals[place] - vectors
        mine = (vectors * rest).sum(axis=1) / np.maximum(np.linalg.norm(rest, axis=1), 1e-9)
        near[:, place] = -1
        wrong = near.max(axis=1) - mine > _FARTHER
        for row in own[wrong].tolist():
            done.doubtful.append((people.index.path(int(people.index.photo[row])), name))
        rows[name] = own[~wrong].tolist()


def _tag(people: People, tags: Sequence[tuple[int, str, Box | None]], done: Imported) -> None:
    """Say who is on photos where no face of theirs was found."""
    numbers = {folded(name): number for number, name in people.facts.names.items()}
    for photo, name, box in tags:
        number = numbers.get(folded(name))
        if number is None:
            continue
        rows = people.index.faces_of(photo)
        if number in people.whose[rows.start : rows.stop]:
            continue
        key = people.index.digest[photo].tobytes(), number
        if key not in people.facts.tagged:
            people.tag(photo, people.person(number), box)
            done.tagged += 1


def import_takeout(people: People) -> Imported:
    """Name people by Google Takeout's files, which say who is on a photo, and not where.

    A group of faces gets a name that is on all of its photos of which something is said, if no other name is:
    of two photos at least, or of one with a single face and a single name. Nothing must be said of few of its
    photos only, and no other group on the same photos must have an equal claim: Google may have left somebody
    out. What was found out narrows down the rest.

    Args:
        people: The people of an index.
    """
    done = Imported()
    index = people.index
    said = {photo: set(takeout_names(index.path(photo))) for photo in range(index.photo_count)}
    names = {photo: who for photo, who in said.items() if who}
    everybody = {name for who in names.values() for name in who}
    groups = _groups_of(people, names)
    called = {number: folded(name) for number, name in people.facts.names.items()}
    for number in groups.keys() & called.keys():  # this name is taken on these photos
        for photo in groups[number]:
            names[photo] = {name for name in names[photo] if folded(name) != called[number]}
    found: dict[int, str] = {}
    open_groups = groups.keys() - called.keys()
    while True:
        claims = {
            number: name
            for number in open_groups
            if _known_enough(people, number, groups[number])
            and (name := _only_name(people, groups[number], names))
        }
        fresh = _undisputed(claims, groups)
        if not fresh:
            break
        found |= fresh
        open_groups -= fresh.keys()
        for number, name in fresh.items():
            for photo in groups[number]:
                names[photo].discard(name)
    rows: dict[str, list[int]] = defaultdict(list)
    for number, name in sorted(found.items()):
        rows[name] += np.flatnonzero(people.whose == number).tolist() if number > 0 else [-1 - number]
    _give(people, rows, done)
    _end(people, done, everybody, "Google Takeout")
    return done


def _groups_of(people: People, names: Mapping[int, set[str]]) -> dict[int, set[int]]:
    """Return the photos with names that each person is on; a face of nobody has a number below 0."""
    groups: dict[int, set[int]] = defaultdict(set)
    for photo in names:
        for row in people.index.faces_of(photo):
            whose = int(people.whose[row])
            if whose:
                groups[whose if whose > 0 else -1 - row].add(photo)
    return groups


def _known_enough(people: People, number: int, said: Collection[int]) -> bool:
    """Return whether something is said of enough photos of a group."""
    if number < 0:
        return True
    photos = len(np.unique(people.index.photo[people.whose == number]))
    return len(said) >= min(photos / 2, _MANY_SAID)


def _undisputed(claims: Mapping[int, str], groups: Mapping[int, set[int]]) -> dict[int, str]:
    """Return the claims to names but those of two groups to one name on one photo."""
    disputed: set[int] = set()
    by_photo: dict[tuple[int, str], int] = {}
    for number, name in claims.items():
        for photo in groups[number]:
            other = by_photo.setdefault((photo, name), number)
            if other != number:
                disputed |= {number, other}
    return {number: name for number, name in claims.items() if number not in disputed}


def _end(people: People, done: Imported, names: Iterable[str], source: str) -> None:
    """Note for whom nobody was found, and let the log say what was done."""
    known = {*map(folded, people.facts.names.values())}
    done.unmatched = sorted(name for name in names if folded(name) not in known)
    named = "1 person" if len(done.people) == 1 else f"{len(done.people):,} people"
    people.say(f"took names from {source}: {done.faces:,} faces of {named}")


def _only_name(people: People, photos: Iterable[int], names: Mapping[int, set[str]]) -> str:
    """Return the only name that is on all of some photos; empty where there is none, or it may be chance."""
    photos = list(photos)
    common = set.intersection(*(names[photo] for photo in photos))
    if len(common) != 1:
        return ""
    pictures = {people.index.digest[photo].tobytes() for photo in photos}
    alone = all(len(people.index.faces_of(photo)) == 1 for photo in photos)
    return next(iter(common)) if len(pictures) > 1 or alone else ""


def folders_of_people(folder: str) -> dict[str, list[str]]:
    """Return the photos in each folder of a folder, by its name, which is a person's."""
    from facesearch.photos.find import Scan, find_photos

    found: dict[str, list[str]] = {}
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.is_dir() and not entry.name.startswith("."):
            scan = Scan()
            find_photos(entry.path, scan, follow=True)
            if photos := sorted(scan.photos):
                found[entry.name] = photos
    return found


def import_folders(
    people: People,
    folders: Mapping[str, Sequence[str]],
    look: Callable[[Sequence[str]], Iterable[PhotoFaces]],
    within: float,
) -> Imported:
    """Name people by folders of their photos: the faces that the index has, and who is like them.

    Args:
        people: The people of an index.
        folders: The photos of each person, by name.
        look: Finds the faces of photos.
        within: The distance up to which two groups are one person.
    """
    done = Imported()
    rows: dict[str, list[int]] = defaultdict(list)
    means: dict[str, NDArray[np.float32]] = {}
    for name, paths in folders.items():
        vectors = []
        for photo in look(paths):
            if photo.reason:
                done.problems.append((photo.path, photo.reason))
            if photo.vectors is not None and photo.faces:
                vectors.append(photo.vectors[:1])
                rows[name] += _in_index(people, photo)
        if vectors:
            mean = unit_vectors(np.concatenate(vectors)).mean(axis=0, keepdims=True)
            means[name] = unit_vectors(mean)[0]
    for number, name in _like(people, means, within):
        rows[name] += np.flatnonzero(people.whose == number).tolist()
    _give(people, {name: sorted(set(own)) for name, own in rows.items()}, done)
    _end(people, done, folders, "folders")
    return done


def _like(
    people: People, means: Mapping[str, NDArray[np.float32]], within: float
) -> Iterator[tuple[int, str]]:
    """Yield the people without a name who are near to the mean face of a name, and the nearest one."""
    numbers, centres = people.mean_faces()
    if means and len(numbers):
        distances = 1 - centres @ np.stack(list(means.values())).T
        near = distances.argmin(axis=1)
        for at in np.flatnonzero(distances.min(axis=1) <= within).tolist():
            if numbers[at] not in people.facts.names:
                yield int(numbers[at]), list(means)[near[at]]


def _in_index(people: People, photo: PhotoFaces) -> list[int]:
    """Return the largest face of a photo as rows of the index, where that holds the same picture."""
    index, place = people.index, photo.faces[0].place
    rows = (row for known in index.photos_with({photo.file.digest}) for row in index.faces_of(known))
    return [row for row in rows if index.place(row) == place]
