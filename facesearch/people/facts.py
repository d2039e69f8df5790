"""What is said of people besides whose each face is: names, who is hidden, who is not whom; as JSON.

All of it is kept in tables from a text to a JSON value, so that a change is the entries that differ.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from facesearch.errors import PeopleError
from facesearch.faces import Box, FaceId
from facesearch.photos.content import DIGEST_BYTES
from facesearch.show.wording import escaped

LONGEST = 100  # characters
# More digits than any number has; Python refuses to read thousands of them.
LONGEST_NUMBER = 18

# Characters that some file system does not allow in names.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])\s*(\..*)?", re.IGNORECASE)
_LONGEST_FOLDER = 80  # bytes: with a number behind it, it fits wherever 143 or more do


# What a user writes for a person without a name, and for a face of a photo.
_NUMBERED = re.compile("person ([0-9]+)")
_NUMBERED_FACE = re.compile(r".*#[0-9]+", re.DOTALL)


def good_name(text: str) -> str:
    """Return a new name as it is stored: composed characters, single spaces.

    Raises:
        PeopleError: It is empty, too long, not text, or looks like a person's number or a face of a photo.
    """
    name = _stored_name(text)
    if numbered(name) is not None:
        raise PeopleError(
            f"{name!r} stands for a person's number, and is not a name.", "Choose another name."
        )
    if _NUMBERED_FACE.fullmatch(name):
        raise PeopleError(
            f"{name!r} stands for a face of a photo, and is not a name.", "Leave out the # or the number."
        )
    return name


def numbered(text: str) -> int | None:
    """Return the number that "Person 49" stands for, in any case; None for another text."""
    found = _NUMBERED.fullmatch(folded(text))
    return int(found[1]) if found and len(found[1]) <= LONGEST_NUMBER else None


def _stored_name(text: str) -> str:
    name = _spaced(text)
    if not name:
        raise PeopleError("An empty name names nobody.", 'Give a name: facesearch people name 3 "Ada".')
    if len(name) > LONGEST:
        raise PeopleError(f"A name of {len(name)} characters is too long.", f"{LONGEST} are the most.")
    if escaped(name) != name:
        raise PeopleError("A name holds characters that cannot be shown.", "Write it without them.")
    if name.isdigit():
        raise PeopleError(f"{name!r} is a person's number, not a name.", "Add a letter to it.")
    return name


def folded(name: str) -> str:
    """Return a name without differences of case, spaces and composition, to compare it with others."""
    return _spaced(name).casefold()


# Letters that Unicode does not take apart into a letter and a mark.
_STROKED = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe"})


def plain(name: str) -> str:
    """Return a name without accents, and otherwise as `folded` does."""
    name = folded(name)
    if name.isascii():
        return name
    marked = unicodedata.normalize("NFKD", name)
    return "".join(one for one in marked if not unicodedata.combining(one)).translate(_STROKED)


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def folder_name(name: str, number: int) -> str:
    """Return the name of a person's folder: the name as far as file systems allow, else the number."""
    safe = _UNSAFE.sub("_", name).strip(". ")
    while len(safe.encode()) > _LONGEST_FOLDER:
        safe = safe[:-1]
    safe = safe.strip(". ")
    if _RESERVED.fullmatch(safe):  # in front: a device's name is one whatever stands behind a dot
        return f"_{safe}"
    return safe or f"person-{number}"


# One of two who are not the same: a person by number, or a face that belongs to nobody.
Side = int | FaceId
Apart = frozenset[Side]

Tables = dict[str, dict[str, Any]]
_Number = TypeVar("_Number")

_MARK = re.compile("[0-9a-f]{8}")
MANY = 2**30  # of numbers that were given; as many more fit
_NUMBER = re.compile("[1-9][0-9]{0,9}")  # of a person
_FACE = re.compile(
    rf"([0-9a-f]{{{2 * DIGEST_BYTES}}}) (-?\d{{1,10}}) (-?\d{{1,10}}) (\d{{1,10}}) (\d{{1,10}})"
)
_BETWEEN = " | "


@dataclass
class Facts:
    """What is said of people.

    Attributes:
        names: By number.
        hidden: The numbers of the people who are not listed.
        apart: Pairs who are not the same person.
        tagged: Who was said to be on a photo, by its digest and the person's number; and where, if that was
            said.
        covers: The face that stands for a person, by number, where one was chosen.
        grouped: The time at which the index that was grouped last had been written.
        alike: By what faces were grouped: the model and the distance.
        changed: The people who were changed by hand since.
        mark: What tells this register from all others, beside what it writes into sidecars; eight digits.
    """

    names: dict[int, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    apart: set[Apart] = field(default_factory=set)
    tagged: dict[tuple[bytes, int], Box | None] = field(default_factory=dict)
    covers: dict[int, FaceId] = field(default_factory=dict)
    grouped: str = ""
    alike: str = ""
    changed: set[int] = field(default_factory=set)
    mark: str = field(default_factory=lambda: secrets.token_hex(4), compare=False)

    def tables(self) -> Tables:
        """Return all of it but the mark as JSON objects."""
        return {
            "names": {str(number): name for number, name in self.names.items()},
            "hidden": {str(number): True for number in self.hidden},
            "apart": {_BETWEEN.join(sorted(map(_side_text, pair))): True for pair in self.apart},
            "tagged": {
                f"{digest.hex()} {number}": None if box is None else list(box.corners)
                for (digest, number), box in self.tagged.items()
            },
            "covers": {str(number): _side_text(face) for number, face in self.covers.items()},
            "grouping": {"grouped": self.grouped, "alike": self.alike, "changed": sorted(self.changed)},
        }

    @classmethod
    def read(cls, tables: Mapping[str, Any], last: int) -> Facts:
        """Read what `tables` returned, which may come from a stranger.

        Args:
            tables: The objects; those of an older facesearch may lack some.
            last: The highest number that a person ever had.

        Raises:
            ValueError: It is not that; a clause says what is wrong.
        """

        def number(text: str) -> int:
            if not _NUMBER.fullmatch(text) or int(text) > last:
                raise ValueError("something is said of a person who was never there")
            return int(text)

        def table(name: str) -> dict[str, Any]:
            found = tables.get(name, {})
            if not isinstance(found, dict):
                raise ValueError(f"its table {name!r} cannot be read")
            return found

        grouping = {"grouped": "", "alike": "", "changed": [], **table("grouping")}
        mark = tables.get("mark", secrets.token_hex(4))  # those of an older facesearch have none
        if not isinstance(mark, str) or not _MARK.fullmatch(mark):
            raise ValueError("its mark cannot be read")
        texts, changed = (grouping["grouped"], grouping["alike"]), grouping["changed"]
        if {*map(type, texts)} != {str} or not isinstance(changed, list) or {*map(type, changed)} - {int}:
            raise ValueError("how its faces were grouped cannot be read")
        return cls(
            _names({number(text): name for text, name in table("names").items()}),
            {number(text) for text in table("hidden")},
            {_apart(text, number) for text in table("apart")},
            {_tag(text, number): _box(corners) for text, corners in table("tagged").items()},
            {number(text): _face(face) for text, face in table("covers").items()},
            *texts,
            set(changed),
            mark,
        )

    def copy(self) -> Facts:
        """Return a copy that can be changed."""
        apart, tagged, covers = set(self.apart), dict(self.tagged), dict(self.covers)
        return Facts(
            dict(self.names),
            set(self.hidden),
            apart,
            tagged,
            covers,
            self.grouped,
            self.alike,
            set(self.changed),
            self.mark,
        )

    def merge(self, other: int, into: int) -> None:
        """Let what is said of one person be said of another one."""
        if name := self.names.pop(other, ""):
            self.names.setdefault(into, name)
        self.hidden.discard(other)
        if cover := self.covers.pop(other, None):
            self.covers.setdefault(into, cover)
        self._rename_sides(lambda side: into if side == other else side)
        for (digest, number), box in list(self.tagged.items()):
            if number == other:
                del self.tagged[digest, number]
                self.tagged.setdefault((digest, into), box)

    def remove(self, person: int) -> None:
        """Say nothing of a person any more."""
        self.names.pop(person, None)
        self.hidden.discard(person)
        self.covers.pop(person, None)
        self.changed.discard(person)
        self.apart = {pair for pair in self.apart if person not in pair}
        self.tagged = {key: box for key, box in self.tagged.items() if key[1] != person}

    def without(self, digests: Callable[[bytes], bool]) -> Facts:
        """Return what is said of other photos than some, which are known by their digests."""
        left = self.copy()
        left.apart = {
            pair for pair in self.apart if not any(isinstance(one, tuple) and digests(one[0]) for one in pair)
        }
        left.tagged = {key: box for key, box in self.tagged.items() if not digests(key[0])}
        left.covers = {number: face for number, face in self.covers.items() if not digests(face[0])}
        return left

    def renamed(self, face: Callable[[FaceId], FaceId], photo: Callable[[bytes], bytes]) -> Facts:
        """Return the same of photos that have other digests, and of faces in other boxes."""
        named = self.copy()
        named._rename_sides(lambda side: face(side) if isinstance(side, tuple) else side)
        named.tagged = {(photo(digest), number): box for (digest, number), box in self.tagged.items()}
        named.covers = {number: face(cover) for number, cover in self.covers.items()}
        return named

    def _rename_sides(self, renamed: Callable[[Side], Side]) -> None:
        pairs = (frozenset(map(renamed, pair)) for pair in self.apart)
        self.apart = {pair for pair in pairs if len(pair) > 1}  # who was said to be two and then one is one


TABLES = frozenset(Facts().tables())


def renamed_entries(
    was: Mapping[str, Any], face: Callable[[FaceId], FaceId], photo: Callable[[bytes], bytes]
) -> dict[str, Any]:
    """Return what `differences` returned, of photos that have other digests and of faces in other boxes.

    Raises:
        ValueError: It cannot be read.
    """

    def side(text: str) -> str:
        return _side_text(face(_face(text))) if " " in text else text

    def pair(text: str) -> str:
        return _BETWEEN.join(sorted(map(side, text.split(_BETWEEN))))

    def tag(text: str) -> str:
        digest, number = _tag(text, str)
        return f"{photo(digest).hex()} {number}"

    named = dict(was)
    if "apart" in was:
        named["apart"] = {pair(text): value for text, value in was["apart"].items()}
    if "tagged" in was:
        named["tagged"] = {tag(text): value for text, value in was["tagged"].items()}
    if "covers" in was:
        named["covers"] = {number: [side(one) for one in value] for number, value in was["covers"].items()}
    return named


def differences(before: Tables, after: Tables) -> Tables:
    """Return the entries that differ, as they were before; `None` in a list where there was none."""
    return {
        name: changed
        for name, table in after.items()
        if (changed := dict(_differences(before.get(name, {}), table)))
    }


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for key in before.keys() | after.keys():
        if key not in after or key not in before or before[key] != after[key]:
            yield key, [before[key]] if key in before else []


def put_back(tables: Tables, was: Mapping[str, Any]) -> Tables:
    """Return tables with entries as `differences` says that they were."""
    back = {name: dict(table) for name, table in tables.items()}
    for name, changed in was.items():
        for key, value in changed.items():
            back[name].pop(key, None)
            if value:
                back[name][key] = value[0]
    return back


def _side_text(side: Side) -> str:
    if isinstance(side, int):
        return str(side)
    digest, box = side
    return " ".join([digest.hex(), *map(str, box.corners)])


def _apart(text: str, number: Callable[[str], int]) -> Apart:
    sides = text.split(_BETWEEN)
    pair = frozenset(_face(side) if " " in side else number(side) for side in sides)
    if len(pair) != 2:
        raise ValueError("who is not whom cannot be read")
    return pair


def _face(text: object) -> FaceId:
    found = _FACE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError("a face cannot be read")
    return bytes.fromhex(found[1]), Box(*map(int, found.groups()[1:]))


def _tag(text: str, number: Callable[[str], _Number]) -> tuple[bytes, _Number]:
    digest, _, person = text.partition(" ")
    if not re.fullmatch(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}", digest):
        raise ValueError("who is on a photo cannot be read")
    return bytes.fromhex(digest), number(person)


def _box(corners: object) -> Box | None:
    if corners is None:
        return None
    if not isinstance(corners, list) or len(corners) != 4 or {*map(type, corners)} != {int}:
        raise ValueError("where somebody is on a photo cannot be read")
    box = Box(*corners)
    if box.width < 1 or box.height < 1:
        raise ValueError("a box is empty")
    return box


def _names(names: Mapping[int, object]) -> dict[int, str]:
    read: dict[int, str] = {}
    for number, name in names.items():
        if not isinstance(name, str) or not _is_good(name):
            raise ValueError("a name is not one")
        read[number] = name
    if len({folded(name) for name in read.values()}) < len(read):
        raise ValueError("two persons have one name")
    return read


def _is_good(name: str) -> bool:
    try:
        return name == _stored_name(name)
    except PeopleError:
        return False
