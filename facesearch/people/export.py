"""A folder a person: copies of, or links to, the photos that show them; originals stay where they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facesearch.errors import UnreadablePhoto
from facesearch.people.people import People, Person
from facesearch.people.register import folded, folder_name
from facesearch.show.collect import collect


@dataclass(frozen=True, slots=True)
class Album:
    """What goes into one folder.

    Attributes:
        person: Whose it is.
        folder: Where, below the folder that is exported to.
        photos: Paths in the index's order.
    """

    person: Person
    folder: str
    photos: tuple[str, ...]


def albums(people: People, persons: Sequence[Person], to: str) -> list[Album]:
    """Say what would go where; people whose folders would have one name get their number behind it."""
    wanted = list({person.number: person for person in persons if person.faces}.values())
    found: list[Album] = []
    for person, name in zip(wanted, _folders(wanted), strict=True):
        photos = dict.fromkeys(int(people.index.photo[row]) for row in person.faces)
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
        How many photos are in them now.

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
