"""What people can be called, here and as a folder."""

from __future__ import annotations

import re
import unicodedata

from facesearch.errors import PeopleError
from facesearch.show.naming import escaped

LONGEST = 100  # characters

# What no file system that a folder of photos is copied to takes in a name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])\s*(\..*)?", re.IGNORECASE)
_LONGEST_FOLDER = 80  # bytes: with a number behind it, it fits wherever 143 or more do


def good_name(text: str) -> str:
    """Give a name as it is kept: composed characters, single spaces.

    Raises:
        PeopleError: It is empty, too long, no text, or looks like a person's number.
    """
    name = _spaced(text)
    if not name:
        raise PeopleError("An empty name names nobody.", 'Give a name: facesearch people name 3 "Ada".')
    if len(name) > LONGEST:
        raise PeopleError(f"A name of {len(name)} characters is too long.", f"{LONGEST} are the most.")
    if escaped(name) != name:
        raise PeopleError("A name holds characters that cannot be shown.", "Write it without them.")
    if name.isdigit():
        raise PeopleError(f"{name!r} is a number, as each person has one.", "Add a letter to it.")
    return name


def folded(name: str) -> str:
    """Give what two ways of writing one name have in common: capitals, spaces, composed characters."""
    return _spaced(name).casefold()


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def folder_name(name: str, number: int) -> str:
    """Give a person's folder: the name as far as the file systems take it, else the number."""
    safe = _UNSAFE.sub("_", name).strip(". ")
    while len(safe.encode()) > _LONGEST_FOLDER:
        safe = safe[:-1]
    safe = safe.strip(". ")
    if _RESERVED.fullmatch(safe):  # in front: a device's name is one whatever stands behind a dot
        return f"_{safe}"
    return safe or f"person-{number}"
