"""The people of a library: opened, grouped, changed and kept beside its index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from facesearch.errors import IndexMissing, ModelError
from facesearch.people.people import People
from facesearch.people.register import read_register, write_register

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.models.card import Card

# The share of pairs of strangers that are as near as two groups of one person may be. On LFW with SFace this
# is a distance of 0.485, where precision is 0.998 at a recall of 0.973; beyond 0.49 two people become one.
STRANGER_RATE = 2e-6
_MAKE_ONE = "Make an index with a model that knows people: `facesearch index FOLDER --model sface`."


def open_people(library: Library) -> People:
    """Return the people of a library as they are kept.

    Raises:
        IndexFileError: There is no index, or it cannot be used.
        ModelError: The model does not tell persons apart.
        PeopleBroken: What is kept cannot be used.
    """
    try:
        index = library.contents
    except IndexMissing as error:
        if library.card.identity:
            raise
        raise IndexMissing(error.message, _MAKE_ONE) from error
    check_tells_persons(library.card)
    return People(index, read_register(library.backend.people))


@contextmanager
def changed_people(library: Library) -> Iterator[People]:
    """Let the people of a library be changed; they are written when the context ends well.

    Raises:
        IndexFileError: There is no index, or it cannot be used.
        ModelError: The model does not tell persons apart.
        PeopleBroken: What is kept cannot be used.
        IndexBusy: Another process changes them.
        StorageError: They cannot be written; they are as they were.
    """
    open_people(library)  # before anything is written, a lock as little as a folder for it
    with library.backend.people.editing():
        library.refresh()  # somebody may have been forgotten since it was read
        people = open_people(library)
        yield people
        write_register(library.backend.people, people.register)


def grouping_distance(card: Card) -> float:
    """Return the cosine distance up to which two groups are taken for one person's.

    Raises:
        ModelError: The model's distances were not measured on people, or do not tell them apart well enough.
    """
    calibration = card.calibration.get("cosine")
    if calibration is None:
        raise ModelError(
            f"It is not known which distances of {card.name} are one person's.",
            "Measure it on people of your own: `facesearch evaluate DIR --calibrate`, or choose --within D.",
        )
    within = min(calibration.stranger_distance(STRANGER_RATE), calibration.threshold)
    if within <= 0:
        raise ModelError(
            f"{card.name} does not tell people apart surely enough to group them.",
            "Use --model sface, or choose a distance with --within D.",
        )
    return within


def check_tells_persons(card: Card) -> None:
    """Refuse a model that measures looks.

    Raises:
        ModelError: It is one.
    """
    if not card.identity:
        raise ModelError(
            f"{card.name} measures how alike pictures of faces look, not who they are: it knows no people.",
            _MAKE_ONE,
        )
