"""Photos whose people are known: a folder of people, or the pairs of a list.

A list of pairs has the format of Labeled Faces in the Wild. Its first line holds the number of folds and
the number of pairs of each kind in a fold (only the latter for a single fold). Each fold then has its pairs
of one person, "name i j", and as many of two people, "name i name j"; they stand for the files
name/name_000i.jpg.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.photos.find import Scan, find_photos, is_photo_name

FOLDS = 10
# Beyond so many, a seeded draw of the pairs of strangers stands for all of them: a pair takes 150 bytes.
MOST_PAIRS = 20_000_000


@dataclass(frozen=True, slots=True)
class Trials:
    """The pairs of photos to compare, and what is true of them.

    Attributes:
        first: (n,) int32, positions of photos.
        second: (n,) int32.
        same: (n,) bool, whether both show one person.
        fold: (n, 2) int16, the fold of each side.
        balanced: Whether pairs of one person and pairs of strangers have the same total weight.
        drawn: The number of pairs of strangers from which these were drawn; 0 if all are included.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    same: NDArray[np.bool_]
    fold: NDArray[np.int16]
    balanced: bool
    drawn: int = 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled photos.

    Attributes:
        folder: The folder of all photos, absolute.
        paths: Absolute paths, each once.
        person: (m,) int32, the person of each photo.
        names: The names of the people.
        trials: The pairs to compare.
        remarks: Peculiarities of the data, in sentences.
        missing: Photos that are named but do not exist.
        protocol: The protocol in a few words.
        face: Which of several faces in a photo shows its person.
    """

    folder: str
    paths: tuple[str, ...]
    person: NDArray[np.int32]
    names: tuple[str, ...]
    trials: Trials
    remarks: tuple[str, ...]
    missing: tuple[str, ...] = ()
    protocol: str = ""
    face: Literal["largest", "central"] = "largest"


def read_people(folder: str) -> Dataset:
    """Read a folder that has one folder per person, with everything in it; links are followed.

    Args:
        folder: An absolute path.

    Raises:
        DatasetError: The folder does not exist, or holds fewer than two people.
    """
    scan = Scan()
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DatasetError(
            f"{folder!r} is no folder.", "Name a folder in which each person has a folder of their own."
        )
    try:
        find_photos(folder, scan, follow=True)
    except OSError as error:
        raise DatasetError(
            f"{folder!r} cannot be read: {error.strerror or error}.", "Name a folder of people."
        ) from error
    people: dict[str, list[str]] = {}
    loose: list[str] = []
    for path in sorted(scan.photos, key=os.fsencode):
        name, inside, _ = os.path.relpath(path, folder).partition(os.sep)
        if inside:
            people.setdefault(name, []).append(path)
        else:
            loose.append(path)
    _check_people(folder, people, loose)
    names = tuple(people)
    paths = tuple(path for name in names for path in people[name])
    person = np.repeat(np.arange(len(names), dtype=np.int32), [len(people[name]) for name in names])
    trials = all_pairs(person, fold_people(person))
    remarks = [*_unreadable(scan), *_about_people(people, loose), *_about_draw(trials)]
    protocol = f"all pairs, balanced, {folds_in_words(trials)} of people"
    return Dataset(folder, paths, person, names, trials, tuple(remarks), protocol=protocol)


def folds_in_words(trials: Trials) -> str:
    """Return the number of folds as a phrase."""
    folds = len(np.unique(trials.fold))
    return "1 fold" if folds == 1 else f"{folds} folds"


def fold_people(person: NDArray[np.int32]) -> NDArray[np.int16]:
    """Return each person's fold, (people,): assigned in a seeded order, people with several photos first.

    Args:
        person: (m,) the person of each photo, numbered from 0.
    """
    photos = np.bincount(person)
    several = int((photos > 1).sum())
    folds = max(1, min(FOLDS, several))
    order = np.random.default_rng(0).permutation(len(photos))
    order = order[np.argsort(photos[order] <= 1, kind="stable")]
    dealt = np.empty(len(photos), np.int16)
    dealt[order] = np.arange(len(photos)) % folds
    return dealt


def all_pairs(person: NDArray[np.int32], fold: NDArray[np.int16]) -> Trials:
    """Compare every photo with every other.

    Args:
        person: (m,) the person of each photo.
        fold: (people,) the fold of each person.
    """
    m = len(person)
    drawn = 0
    if m * (m - 1) // 2 <= MOST_PAIRS:
        first, second = (side.astype(np.int32) for side in np.triu_indices(m, 1))
    else:
        first, second, drawn = _drawn_pairs(person)
    fold_of = fold[person]
    same = person[first] == person[second]
    return Trials(first, second, same, np.stack([fold_of[first], fold_of[second]], axis=1), True, drawn)


def _drawn_pairs(person: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Return the pairs of one person, a sample of the pairs of strangers, and the number of all of these.

    The pairs of people with very many photos are sampled too: to half of the pairs at most.
    """
    m, counts = len(person), np.bincount(person)
    rng = np.random.default_rng(0)
    most = max(2, math.isqrt(MOST_PAIRS // len(counts)))
    pieces = []
    for rows in np.split(np.argsort(person, kind="stable"), np.cumsum(counts)[:-1]):
        rows = rows if len(rows) <= most else rng.choice(rows, most, replace=False)
        pieces.append(rows[np.stack(np.triu_indices(len(rows), 1))])
    own = np.concatenate(pieces, axis=1)
    strangers = m * (m - 1) // 2 - int((counts * (counts - 1) // 2).sum())
    draw = rng.integers(0, m, (2, min(strangers, max(MOST_PAIRS - own.shape[1], MOST_PAIRS // 2))))
    draw = draw[:, person[draw[0]] != person[draw[1]]]
    first, second = np.concatenate([own, draw], axis=1).astype(np.int32)
    return first, second, strangers


def _check_people(folder: str, people: Mapping[str, Sequence[str]], loose: Sequence[str]) -> None:
    if not people:
        what = "photos and no folder of a person" if loose else "no photos"
        raise DatasetError(
            f"{folder!r} holds {what}.",
            "Give each person a folder of their own in it, with two photos or more.",
        )
    if len(people) == 1:
        raise DatasetError(
            f"{folder!r} holds the photos of one person only: {next(iter(people))!r}.",
            "Add people: strangers are needed to see whether they are told apart.",
        )
    if all(len(photos) == 1 for photos in people.values()):
        raise DatasetError(
            f"{folder!r} holds one photo of each person, so no two show the same one.",
            "Add second photos of some of them.",
        )


def _unreadable(scan: Scan) -> list[str]:
    return [f"{path!r} cannot be looked into: {reason}." for path, reason in scan.unreadable.items()]


def _about_people(people: Mapping[str, Sequence[str]], loose: Sequence[str]) -> list[str]:
    remarks = []
    single = Counter(len(photos) for photos in people.values())[1]
    if single:
        remarks.append(
            f"People with one photo, who are only strangers to the others: {single:,} of {len(people):,}."
        )
    if loose:
        remarks.append(
            f"Photos that lie in no person's folder and were left out: {len(loose):,}, "
            f"the first {os.path.basename(loose[0])!r}."
        )
    return remarks


def _about_draw(trials: Trials) -> list[str]:
    if not trials.drawn:
        return []
    strangers = int((~trials.same).sum())
    return [f"Of {trials.drawn:,} pairs of strangers {strangers:,} were drawn, always the same."]


# Each has a threshold of its own, chosen on all the others.
MOST_FOLDS = 1000
# What no person's name holds, on any system.
LEADING_AWAY = ("/", "\\", ":", "\0")

Photo = tuple[str, int]  # a person's name and the photo's number
# No list is longer, and Python reads no number of thousands of digits.
DIGITS = 9
# Pairs by which the folder of the photos is told: some photos may be missing.
LOOKED_FOR = 20


@dataclass(frozen=True, slots=True)
class _Line:
    """A pair as written in the file."""

    first: Photo
    second: Photo
    same: bool
    fold: int


def read_pairs(file: str, folder: str | None) -> Dataset:
    """Read a pairs file and find its photos.

    Args:
        file: The pairs file.
        folder: Has one folder per person; None to look for it beside the file.

    Raises:
        DatasetError: The file cannot be read or is not in LFW's format, or none of its photos exists.
    """
    lines = _parse(file)
    folder = folder or _folder_beside(file, lines)
    named = list(dict.fromkeys(photo for line in lines for photo in (line.first, line.second)))
    files = {photo: path for photo in named if (path := _find(folder, photo)) is not None}
    missing = tuple(os.path.join(folder, _relative(photo)) for photo in named if photo not in files)
    kept = [line for line in lines if line.first in files and line.second in files]
    if not kept:
        raise DatasetError(
            f"Of the photos that {file!r} names none is there, such as {missing[0]!r}.",
            "Name the folder that holds a folder for each person before --pairs.",
        )
    names = tuple(dict.fromkeys(name for name, _ in files))
    number = {name: place for place, name in enumerate(names)}
    place = {photo: index for index, photo in enumerate(files)}
    trials = Trials(
        np.array([place[line.first] for line in kept], np.int32),
        np.array([place[line.second] for line in kept], np.int32),
        np.array([line.same for line in kept], np.bool_),
        np.array([(line.fold, line.fold) for line in kept], np.int16),
        balanced=False,
    )
    person = np.array([number[name] for name, _ in files], np.int32)
    if not trials.fold.any():
        # A single fold leaves none to choose a threshold on: its people are dealt into some.
        dealt = fold_people(person)[person]
        trials = replace(trials, fold=np.stack([dealt[trials.first], dealt[trials.second]], axis=1))
    return Dataset(
        folder,
        tuple(files.values()),
        person,
        names,
        trials,
        _remarks(lines, kept, missing),
        missing,
        protocol=f"{len(kept):,} pairs of {os.path.basename(file)}, {folds_in_words(trials)}",
        face="central",  # such lists come with photos that were cut around their person, as in LFW
    )


def _remarks(lines: Sequence[_Line], kept: Sequence[_Line], missing: Sequence[str]) -> tuple[str, ...]:
    remarks = []
    if missing:
        remarks.append(
            f"Photos that are not there: {len(missing):,}, the first {missing[0]!r}. "
            f"Pairs that were left out for that: {len(lines) - len(kept):,} of {len(lines):,}."
        )
    if own := sum(line.first == line.second for line in kept):
        remarks.append(f"Pairs of a photo with itself: {own:,}. They make the figures too good.")
    folds: dict[str, set[int]] = {}
    for line in kept:
        for name, _ in (line.first, line.second):
            folds.setdefault(name, set()).add(line.fold)
    if several := sum(len(found) > 1 for found in folds.values()):
        remarks.append(
            f"People who stand in more than one fold: {several:,}. The thresholds have seen them, "
            "so the accuracy may be too good."
        )
    return tuple(remarks)


def _parse(file: str) -> list[_Line]:
    rows = _rows(file)
    header = rows[0][1] if rows else []
    if not rows or not 1 <= len(header) <= 2 or not all(_is_number(one) and int(one) for one in header):
        raise DatasetError(
            f"{file!r} is not a pairs file: its first line is not the number of folds and of pairs.",
            "It starts with a line such as '10 300' in the format of Labeled Faces in the Wild.",
        )
    folds, each = (int(header[0]), int(header[1])) if len(header) == 2 else (1, int(header[0]))
    if folds > MOST_FOLDS:
        raise DatasetError(
            f"{file!r} says {folds:,} folds; {MOST_FOLDS:,} is the most.",
            "Ten are usual: mend its first line.",
        )
    if len(rows) - 1 != 2 * folds * each:
        raise DatasetError(
            f"{file!r} says {folds} folds of {each} pairs of each kind, that is {2 * folds * each:,} lines, "
            f"and holds {len(rows) - 1:,}.",
            "Mend its first line, or put back a whole copy.",
        )
    lines = [_line(file, *row, fold=place // (2 * each)) for place, row in enumerate(rows[1:])]
    for fold in range(folds):
        same = sum(line.same for line in lines[2 * each * fold : 2 * each * (fold + 1)])
        if same != each:
            raise DatasetError(
                f"{file!r} has {same} pairs of one person in fold {fold + 1}; its first line says {each}.",
                "Mend its first line, or put back a whole copy.",
            )
    return lines


def _rows(file: str) -> list[tuple[int, list[str]]]:
    """Return the fields of the lines that are not empty, with the line numbers."""
    try:
        text = Path(file).read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DatasetError(
            f"The pairs file {file!r} cannot be read: {error.strerror or error}.",
            "Name another with --pairs.",
        ) from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.strip().split("\t") if "\t" in line.strip() else line.split()
        if fields and fields != [""]:
            rows.append((number, [one.strip() for one in fields]))
    return rows


def _line(file: str, number: int, fields: list[str], *, fold: int) -> _Line:
    name, *rest = fields
    try:
        if len(rest) == 2:
            return _Line(_photo(name, rest[0]), _photo(name, rest[1]), True, fold)
        if len(rest) == 3:
            return _Line(_photo(name, rest[0]), _photo(rest[1], rest[2]), name == rest[1], fold)
    except ValueError:
        pass
    raise DatasetError(
        f"Line {number} of {file!r} is not a pair: {' '.join(fields)[:80]!r}.",
        "A pair is 'name i j' of one person, or 'name i name j' of two.",
    )


def _photo(name: str, number: str) -> Photo:
    # A name is one folder's: a list from someone else must not lead anywhere but into `folder`.
    if not _is_number(number) or name in ("", ".", "..") or any(one in name for one in LEADING_AWAY):
        raise ValueError(name)
    return name, int(number)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= DIGITS


def _relative(photo: Photo, suffix: str = ".jpg") -> str:
    name, number = photo
    return os.path.join(name, f"{name}_{number:04d}{suffix}")


def _find(folder: str, photo: Photo) -> str | None:
    """Return a photo's path, whatever its suffix; None if it does not exist."""
    usual = os.path.join(folder, _relative(photo))
    if os.path.isfile(usual):
        return usual
    stem = os.path.splitext(os.path.basename(usual))[0]
    try:
        names = sorted(os.listdir(os.path.dirname(usual)))
    except OSError:
        return None
    found = (name for name in names if os.path.splitext(name)[0] == stem and is_photo_name(name))
    return next((os.path.join(os.path.dirname(usual), name) for name in found), None)


def _folder_beside(file: str, lines: Sequence[_Line]) -> str:
    """Find the folder of people of a pairs file: the file's own folder, or one in it."""
    own = os.path.dirname(os.path.abspath(file))
    try:
        inside = sorted(entry.path for entry in os.scandir(own) if entry.is_dir())
    except OSError:
        inside = []
    for folder in (own, *inside):
        if any(_find(folder, line.first) is not None for line in lines[:LOOKED_FOR]):
            return folder
    raise DatasetError(
        f"The photos that {file!r} names do not lie beside it.",
        "Name their folder: `facesearch evaluate DIR --pairs FILE`.",
    )
