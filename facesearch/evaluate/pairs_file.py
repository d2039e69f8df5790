"""Pairs files in the format of Labeled Faces in the Wild.

The first line holds the number of folds and the number of pairs of each kind in a fold (only the latter for a
single fold). Each fold then has its pairs of one person, "name i j", and as many of two people, "name i name
j"; they stand for the files name/name_000i.jpg.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facesearch.errors import DatasetError
from facesearch.evaluate.dataset import Dataset, Trials, fold_people, folds_in_words
from facesearch.photos.find import is_photo_name

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
