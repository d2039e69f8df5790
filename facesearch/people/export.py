"""A folder a person: copies of, or links to, the photos that show them; originals stay where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from facesearch.errors import UnreadablePhoto
from facesearch.people.names import folder_name
from facesearch.people.people import People, Person
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
    wanted = [person for person in persons if person.faces]
    names = [folder_name(person.title, person.number) for person in wanted]
    folded = [name.casefold() for name in names]
    found: list[Album] = []
    for person, name in zip(wanted, names, strict=True):
        if folded.count(name.casefold()) > 1:
            name = f"{name}-{person.number}"
        photos = dict.fromkeys(int(people.layout.photo[row]) for row in person.faces)
        paths = tuple(people.layout.path(photo) for photo in photos)
        found.append(Album(person, os.path.join(to, name), paths))
    return found


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
