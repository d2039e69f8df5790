"""Forget a person: the faces, the name, the small pictures; then make sure that no file holds any of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.index.backend import IndexBackend
from facesearch.index.index import Index
from facesearch.people.log import face_keys
from facesearch.people.people import People, Person
from facesearch.show.thumbnails import Thumbnails

# This much of a face's vector is searched for: 16 numbers do not occur twice by chance.
_TRACE = 64  # bytes


@dataclass(frozen=True, slots=True)
class ForgottenPerson:
    """A person whose faces were removed.

    Attributes:
        person: As before.
        index: The index as it was before.
    """

    person: Person
    index: Index

    @property
    def rows(self) -> NDArray[np.int64]:
        """The person's faces, as rows of the index before."""
        return np.asarray(self.person.faces, np.int64)


def forget_person(backend: IndexBackend, people: People, who: str) -> ForgottenPerson:
    """Remove all faces of a person from an index, and the person from its people; photos and others stay.

    The faces are not indexed again from these photos. The index is written first, so that an interrupted call
    can be repeated; `people` has to be written afterwards.

    Raises:
        PeopleError: No person has that number or name.
        IndexBusy: Another process writes the index.
        StorageError: A file cannot be written.
    """
    person, index = people.person(who), people.index
    faces = [(index.digest[index.photo[row]].tobytes(), index.place(row)) for row in person.faces]
    faces += people.elsewhere(person)  # in photos that are away now, or erased by a call that was interrupted
    with backend.writer() as writer:
        writer.changes.erase(faces)
        writer.commit()
        people.stay_up_to_date(writer.index)
    Thumbnails().forget(digest for digest, _ in faces)
    people.remove(person)
    return ForgottenPerson(person, index)


def look_for_traces(backend: IndexBackend, forgotten: ForgottenPerson) -> int:
    """Search all files of an index for what was forgotten of a person.

    Returns:
        The number of bytes that were searched.

    Raises:
        StorageError: Something is left in a file.
    """
    before, rows, now = forgotten.index, forgotten.rows, backend.read()
    traces = set(_traces(before, rows))
    # An equal vector may belong to another face: that of a copy of the photo with other metadata.
    others = ~np.isin(_keys(now), _keys(before)[rows])
    traces.difference_update(_traces(now, np.flatnonzero(others)))
    if forgotten.person.name:
        # As the register holds it: numpy's text is UTF-32.
        entry = json.dumps({str(forgotten.person.number): forgotten.person.name})
        traces.add(entry[1:-1].encode("utf-32-le"))
    return backend.look_for(traces)


def _keys(index: Index) -> NDArray[np.void]:
    return face_keys(index.digest[index.photo], index.places)


def _traces(index: Index, rows: NDArray[np.int64]) -> Iterator[bytes]:
    for row in rows[index.norms[rows] > 0]:
        yield index.vectors[row, : _TRACE // 4].tobytes()
