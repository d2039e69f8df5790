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
from facesearch.photos.xmp import LARGEST, OURS, Area, Region, Wanted, cleaned, edited


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What becomes of a photo's sidecar.

    Attributes:
        photo: The photo.
        path: The sidecar.
        names: Who is on the photo.
        before: The file as it is; None where there is none.
        after: The file as it will be; None where it stays as it is.
        gone: Whether it is removed, since facesearch made it and nothing is left in it.
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
    gone: bool = False


def sidecars(
    people: People, persons: Sequence[Person] = (), *, tags: bool | None = None, stem: bool = False
) -> Iterator[Sidecar]:
    """Yield the sidecars of all photos that show people with a name, or did when they were written.

    A sidecar names everybody on its photo who has a name and is not hidden. What another index wrote stays.

    Args:
        people: The people of an index.
        persons: Only photos that these are on, or were; without any, all photos. These are named even if they
            are hidden.
        tags: Whether the names are keywords, too; None leaves that as each sidecar has it.
        stem: Whether the sidecar of `photo.jpg` is `photo.xmp`, not `photo.jpg.xmp`.
    """
    index, names, mark = people.index, [person.name for person in persons], people.facts.mark
    shown, chosen = _shown(people, {person.number for person in persons})
    uses = Counter(_places(index.path(photo))[1] for photo in range(index.photo_count))
    for photo in range(index.photo_count):
        path, who, digests = index.path(photo), shown.get(photo, []), index.file(photo).digests
        for at, place in enumerate(_places(path)):
            wanted = place and photo in chosen and at == stem
            if not wanted and not _is_ours(place, mark, names):
                continue
            if at == 1 and uses[place] > 1:
                problem = "Several photos of the index have this sidecar: leave out --stem."
                yield Sidecar(path, place, tuple(name for name, _ in who), problem=problem)
            else:
                yield _sidecar(path, place, who, digests, mark, tags=tags)


def _shown(
    people: People, wanted: Collection[int]
) -> tuple[dict[int, list[tuple[str, Box | None]]], set[int]]:
    """Return who is named on each photo, and where; and the photos that some people are on, or anybody."""
    index = people.index
    shown: dict[int, list[tuple[str, Box | None]]] = {}
    chosen: set[int] = set()
    for person in people.everyone():
        if person.name and (not person.hidden or person.number in wanted):
            # A region cannot say that it is in a frame beyond the first; the name is written alone then.
            boxes = (index.box(row) if index.moment(row) is None else None for row in person.faces)
            own = list(zip((int(index.photo[row]) for row in person.faces), boxes, strict=True))
            for photo, box in (*own, *people.tagged_photos(person).items()):
                shown.setdefault(photo, []).append((person.name, box))
                if not wanted or person.number in wanted:
                    chosen.add(photo)
    return shown, chosen


def _places(path: str) -> tuple[str, str]:
    """Return where the sidecars of a photo may be; empty names for what can have none."""
    return ("", "") if is_photo_url(path) or is_clip_name(path) else sidecar_paths(path)


def _sidecar(
    path: str,
    place: str,
    shown: Sequence[tuple[str, Box | None]],
    digests: Collection[bytes],
    mark: str,
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
        done = edited(before, wanted, mark)
    except FacesearchError as error:
        return Sidecar(path, place, names, problem=error.message)
    conflicts = tuple((region.name, other) for region, other in done.conflicts)
    return Sidecar(path, place, names, before, done.data, conflicts, gone=done.empty)


def cleaned_sidecars(photos: Sequence[str], names: Collection[str] | None = None) -> Iterator[Sidecar]:
    """Yield the sidecars of some photos without what facesearch wrote, for any index.

    Args:
        photos: The photos, which need not be there.
        names: Only what it wrote of these people; None for all.
    """
    for photo in photos:
        for place in _places(photo):
            if not _is_ours(place):
                continue
            try:
                before = _read(place) or b""
                done = cleaned(before, names)
            except FacesearchError as error:
                yield Sidecar(photo, place, (), problem=error.message)
                continue
            if done.data is not None:
                yield Sidecar(photo, place, (), before, done.data, gone=done.empty)


def _area(box: Box, stored: Stored) -> Area:
    """Return where a face is in the stored picture."""
    width, height = stored.upright_size
    left, top = max(0, box.x), max(0, box.y)
    right, bottom = min(width, box.x + box.width), min(height, box.y + box.height)
    if right <= left or bottom <= top:
        raise UnreadablePhoto("A box lies outside of the photo.")
    area = Area(
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
    )
    return area.turned_back(stored.orientation)


def write_sidecar(sidecar: Sidecar) -> None:
    """Write a sidecar in place of the one before, or remove it.

    Raises:
        StorageError: It cannot be written; the one before is as it was.
    """
    if sidecar.after is None:
        return
    try:
        if sidecar.gone:
            os.unlink(sidecar.path)
            return
        with replaced(Path(sidecar.path)) as file:
            file.write(sidecar.after)
    except OSError as error:
        raise storage_error(Path(sidecar.path), error) from error


def written_sidecars(photos: Sequence[str], mark: str = "") -> list[str]:
    """Return the sidecars of some photos that facesearch has written names to.

    Args:
        photos: The photos.
        mark: Only what was written for the register with this mark.
    """
    return [place for photo in photos for place in _places(photo) if _is_ours(place, mark)]


def _is_ours(place: str, mark: str = "", names: Collection[str] = ()) -> bool:
    """Return whether facesearch has written to a sidecar: for a register, and one of some names."""
    try:
        data = (_read(place) if place else None) or b""
    except FacesearchError:
        return False
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        if OURS.encode(encoding) in data and mark.encode(encoding) in data:
            return not names or any(escape(name).encode(encoding) in data for name in names)
    return False


def _read(place: str) -> bytes | None:
    try:
        if os.path.getsize(place) > LARGEST:
            raise UnreadablePhoto("It is larger than a sidecar can be.")
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadablePhoto(f"It cannot be read: {error.strerror or error}.") from error
