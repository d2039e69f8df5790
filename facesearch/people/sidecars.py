"""The names of people as XMP sidecars beside the photos; originals are never touched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.faces import Box
from facesearch.files import replaced, storage_error
from facesearch.people.people import People, Person
from facesearch.photos.kinds import is_clip_name
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
    people: People, persons: Sequence[Person] = (), *, tags: bool | None = None, stem: bool = False
) -> Iterator[Sidecar]:
    """Yield the sidecars of all photos that show people with a name, or did when they were written.

    A sidecar names everybody on its photo who has a name and is not hidden.

    Args:
        people: The people of an index.
        persons: Only photos that these are on, or were; without any, all photos. These are named even if they
            are hidden.
        tags: Whether the names are keywords, too; None leaves that as each sidecar has it.
        stem: Whether the sidecar of `photo.jpg` is `photo.xmp`, not `photo.jpg.xmp`.
    """
    index, wanted = people.index, {person.number for person in persons}
    shown: dict[int, list[tuple[str, Box | None]]] = {}
    chosen: set[int] = set()
    for person in people.everyone():
        if person.name and (not person.hidden or person.number in wanted):
            own = [(int(index.photo[row]), index.box(row)) for row in person.faces]
            for photo, box in (*own, *people.tagged_photos(person).items()):
                shown.setdefault(photo, []).append((person.name, box))
                if not wanted or person.number in wanted:
                    chosen.add(photo)
    names = [person.name for person in persons]
    places = Counter(_place(index.path(photo), stem=stem) for photo in range(index.photo_count))
    for photo in range(index.photo_count):
        path, place = index.path(photo), _place(index.path(photo), stem=stem)
        if not place or (photo not in chosen and not _is_ours(place, names)):
            continue
        who = shown.get(photo, [])
        if places[place] > 1:
            problem = "Several photos of the index have this sidecar: leave out --stem."
            yield Sidecar(path, place, tuple(name for name, _ in who), problem=problem)
        else:
            yield _sidecar(path, place, who, index.file(photo).digests, tags=tags)


def _place(path: str, *, stem: bool) -> str:
    """Return where the sidecar of a photo is; empty for one that can have none."""
    return "" if is_photo_url(path) or is_clip_name(path) else sidecar_paths(path)[1 if stem else 0]


def _sidecar(
    path: str,
    place: str,
    shown: Sequence[tuple[str, Box | None]],
    digests: Collection[bytes],
    *,
    tags: bool | None,
) -> Sidecar:
    names = tuple(dict.fromkeys(name for name, _ in shown))
    try:
        before = _read(place)
        stored = read_stored(path, digests)
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


def _is_ours(place: str, names: Collection[str] = ()) -> bool:
    """Return whether facesearch has written names to a sidecar: any, or one of these."""
    try:
        data = _read(place) or b""
    except FacesearchError:
        return False
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        if OURS.encode(encoding) in data:
            return not names or any(escape(name).encode(encoding) in data for name in names)
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
