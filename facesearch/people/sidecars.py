"""The names of people as XMP sidecars beside the photos; originals are never touched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.faces import Box
from facesearch.files import replaced, storage_error
from facesearch.people.people import People, Person
from facesearch.photos.metadata import Stored, read_stored, sidecar_paths
from facesearch.photos.urls import is_photo_url
from facesearch.photos.xmp import LARGEST, OURS, Area, Region, Wanted, edited


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What becomes of a photo's sidecar.

    Attributes:
        photo: The photo.
        path: The sidecar.
        names: Who is on the photo.
        before: The file as it is; None where there is none.
        after: The file as it will be; None where it stays as it is.
        conflicts: Faces that another program names in another way: our name and the other one.
        problem: Why it stays as it is; empty where nothing is wrong.
    """

    photo: str
    path: str
    names: tuple[str, ...]
    before: bytes | None = None
    after: bytes | None = None
    conflicts: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def sidecars(
    people: People, persons: Sequence[Person], *, tags: bool = False, stem: bool = False
) -> Iterator[Sidecar]:
    """Yield the sidecars of all photos that show people with a name, or did when they were written.

    Args:
        people: The people of an index.
        persons: Those whose names are written.
        tags: Whether the names are keywords, too.
        stem: Whether the sidecar of `photo.jpg` is `photo.xmp`, not `photo.jpg.xmp`.
    """
    index = people.index
    shown: dict[int, list[tuple[str, Box | None]]] = {}
    for person in persons:
        if person.name:
            for row in person.faces:
                shown.setdefault(int(index.photo[row]), []).append((person.name, index.box(row)))
            for photo, box in people.tagged_photos(person).items():
                shown.setdefault(photo, []).append((person.name, box))
    for photo in range(index.photo_count):
        path = index.path(photo)
        if is_photo_url(path):
            continue
        place = sidecar_paths(path)[1 if stem else 0]
        if photo in shown or _is_ours(place):
            yield _sidecar(path, place, shown.get(photo, []), tags=tags)


def _sidecar(path: str, place: str, shown: Sequence[tuple[str, Box | None]], *, tags: bool) -> Sidecar:
    names = tuple(dict.fromkeys(name for name, _ in shown))
    try:
        before = _read(place)
        stored = read_stored(path)
        regions = [(name, _area(box, stored)) for name, box in shown if box is not None]
        wanted = Wanted(
            tuple(Region(name, area) for name, area in regions), names, (stored.width, stored.height), tags
        )
        done = edited(before, wanted)
    except FacesearchError as error:
        return Sidecar(path, place, names, problem=error.message)
    conflicts = tuple((region.name, other) for region, other in done.conflicts)
    return Sidecar(path, place, names, before, done.data, conflicts)


def _area(box: Box, stored: Stored) -> Area:
    """Return where a face is in the stored picture."""
    width, height = stored.upright_size
    left, top = max(0, box.x), max(0, box.y)
    right, bottom = min(width, box.x + box.width), min(height, box.y + box.height)
    if right <= left or bottom <= top:
        raise UnreadablePhoto("Another photo is there now: index it again.")
    area = Area(
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
    )
    return area.turned_back(stored.orientation)


def write_sidecar(sidecar: Sidecar) -> None:
    """Write a sidecar in place of the one before.

    Raises:
        StorageError: It cannot be written; the one before is as it was.
    """
    if sidecar.after is None:
        return
    try:
        with replaced(Path(sidecar.path)) as file:
            file.write(sidecar.after)
    except OSError as error:
        raise storage_error(Path(sidecar.path), error) from error


def written_sidecars(photos: Sequence[str]) -> list[str]:
    """Return the sidecars of some photos that facesearch has written names to."""
    return [
        place
        for photo in photos
        if not is_photo_url(photo)
        for place in sidecar_paths(photo)
        if _is_ours(place)
    ]


def _is_ours(place: str) -> bool:
    try:
        data = _read(place) or b""
        return any(OURS.encode(encoding) in data for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
    except FacesearchError:
        return False


def _read(place: str) -> bytes | None:
    try:
        if os.path.getsize(place) > LARGEST:
            raise UnreadablePhoto(f"{place} is larger than a sidecar can be.")
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadablePhoto(f"{place} cannot be read: {error.strerror or error}.") from error
