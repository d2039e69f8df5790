"""One folder per person, with copies of their photos or links to them; the originals stay as they are."""

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
