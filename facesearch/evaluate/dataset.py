"""Photos whose people are known: a folder of people, or the pairs of a list."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError
from facesearch.photos.find import Scan, find_photos

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
