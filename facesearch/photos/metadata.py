"""What other programs say of a photo: its XMP and sidecars, Picasa's and Google Takeout's files beside it."""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.photos.content import read_content
from facesearch.photos.decode import open_image, orientation_of
from facesearch.photos.xmp import LARGEST, Area, BadXmp, PeopleInXmp, Region, read_people

_RECT = re.compile(r"rect64\(([0-9a-f]{1,16})\)\s*,\s*([0-9a-f]+)", re.IGNORECASE)
_PICASA = (".picasa.ini", "Picasa.ini")
_NOBODY = "ffffffffffffffff"  # Picasa's contact of a face without a name
# Takeout cuts the names of its files off: what they begin with is kept.
_TAKEOUT_LONGEST = 46
_TAKEOUT_ENDING = ".supplemental-metadata"


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture as it is stored.

    Attributes:
        width: In pixels, before it is turned upright.
        height: In pixels, before it is turned upright.
        orientation: How it is to be turned, 1 to 8 as in EXIF.
        xmp: The XMP inside it; None where there is none.
    """

    width: int
    height: int
    orientation: int
    xmp: bytes | None

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once it is turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_stored(path: str, digests: Collection[bytes]) -> Stored:
    """Read what a photo's header says.

    Args:
        path: The photo.
        digests: What an index knows the photo by.

    Raises:
        UnreadablePhoto: It is gone, not a picture, or another one.
    """
    try:
        content = read_content(path)
    except OSError as error:
        raise UnreadablePhoto(f"{path} cannot be read: {error.strerror or error}.") from error
    if not set(content.file.digests) & set(digests):
        raise UnreadablePhoto("Another photo is there now: index it again.")
    try:
        with closing(open_image(content.picture)) as image:
            xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
            (width, height), orientation = image.size, orientation_of(image)
    except FacesearchError:
        raise
    except Exception as error:  # on hostile input, Pillow's many readers may raise anything
        raise UnreadablePhoto(f"{path} is not a whole picture ({error}).") from error
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Stored(width, height, orientation, xmp if isinstance(xmp, bytes) else None)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of the people on a photo.

    Attributes:
        size: Width and height of the upright picture, in pixels.
        regions: Who is where, in parts of it.
        names: Who is on it, wherever.
        problems: Sidecars that cannot be read, each with a sentence.
    """

    size: tuple[int, int]
    regions: tuple[Region, ...] = ()
    names: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


def sidecar_paths(path: str) -> tuple[str, str]:
    """Return where a photo's sidecar may be: `photo.jpg.xmp`, and `photo.xmp`."""
    return f"{path}.xmp", f"{os.path.splitext(path)[0]}.xmp"


def read_said(path: str, digests: Collection[bytes]) -> Said:
    """Return what a photo, its sidecars and Picasa say of the people on it.

    Args:
        path: The photo.
        digests: What an index knows the photo by.

    Raises:
        UnreadablePhoto: It is gone, not a picture, or another one.
    """
    stored = read_stored(path, digests)
    problems: list[tuple[str, str]] = []
    found: list[PeopleInXmp] = []
    for place, data in ((path, stored.xmp), *((place, _read(place)) for place in sidecar_paths(path))):
        try:
            found += [read_people(data)] if data is not None else []
        except BadXmp as error:
            problems.append((place, error.message))
    regions = [
        Region(one.name, one.area.turned(stored.orientation)) for said in found for one in said.regions
    ]
    picasa = list(_picasa(path))
    # Picasa's rectangles are of the upright picture, and were seen of the stored one; both are offered, and a
    # face lies only in the right one.
    regions += picasa
    if stored.orientation != 1:
        regions += [Region(one.name, one.area.turned(stored.orientation)) for one in picasa]
    names = dict.fromkeys(name for said in found for name in said.names)
    return Said(stored.upright_size, tuple(dict.fromkeys(regions)), tuple(names), tuple(problems))


def takeout_names(path: str) -> tuple[str, ...]:
    """Return who is on a photo, by the JSON that Google Takeout put beside it; empty without one."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    edited = f"{stem.removesuffix('-edited')}{suffix}"
    # photo.jpg(1).json belongs to photo(1).jpg.
    numbered = re.fullmatch(r"(.*)(\(\d+\))", stem)
    names = [name, edited, *([f"{numbered[1]}{suffix}"] if numbered else [])]
    tail = numbered[2] if numbered else ""
    for one, end in ((name, ""), (edited, ""), *([(names[-1], tail)] if numbered else [])):
        for whole in (one, f"{one}{_TAKEOUT_ENDING}"):
            for shown in dict.fromkeys((whole, whole[:_TAKEOUT_LONGEST])):
                people = _takeout_people(os.path.join(folder, f"{shown}{end}.json"))
                if people is not None:
                    return people
    return ()


def _takeout_people(place: str) -> tuple[str, ...] | None:
    data = _read(place)
    if data is None:
        return None
    try:
        told: Any = json.loads(data)
        people = told.get("people", [])
        names = [str(one["name"]).strip() for one in people if one.get("name")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return tuple(dict.fromkeys(filter(None, names)))


def _read(place: str) -> bytes | None:
    """Return a small file; None where there is none, or it is too large to be what it is taken for."""
    try:
        if not os.path.isfile(place) or os.path.getsize(place) > LARGEST:
            return None
        with open(place, "rb") as file:
            return file.read()
    except OSError:
        return None


def _picasa(path: str) -> Iterator[Region]:
    folder, name = os.path.split(path)
    faces, contacts = _picasa_of(folder)
    for rectangle, contact in _RECT.findall(faces.get(name.casefold(), "")):
        who = contacts.get(contact.lower(), "")
        if not who or contact.lower() == _NOBODY:
            continue
        digits = rectangle.rjust(16, "0")
        left, top, right, bottom = (int(digits[at : at + 4], 16) / 65535 for at in (0, 4, 8, 12))
        if right > left and bottom > top:
            yield Region(who, Area((left + right) / 2, (top + bottom) / 2, right - left, bottom - top))


@lru_cache(maxsize=64)
def _picasa_of(folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the faces of each file of a folder as Picasa lists them, and the names of its contacts."""
    data = next((data for name in _PICASA if (data := _read(os.path.join(folder, name))) is not None), b"")
    parser = configparser.RawConfigParser(
        strict=False, delimiters=("=",), comment_prefixes=(), empty_lines_in_values=False, allow_no_value=True
    )
    # The other lines are read. A line that is indented, behind a key without a value, raises AttributeError.
    with suppress(configparser.Error, AttributeError):
        parser.read_string(data.decode("utf-8-sig", "replace"))
    contacts: dict[str, str] = {}
    for section in ("Contacts", "Contacts2"):
        if parser.has_section(section):
            contacts.update(
                {key.lower(): (value or "").partition(";")[0].strip() for key, value in parser.items(section)}
            )
    faces = {
        section.casefold(): parser.get(section, "faces", fallback="") or ""
        for section in parser.sections()
        if parser.has_option(section, "faces")
    }
    return faces, contacts
