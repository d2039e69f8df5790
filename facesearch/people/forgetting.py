"""Forget a person: every face, the name, the pictures that were kept; and look whether anything is left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesearch.index.index import Index
from facesearch.people.keeping import changed_people
from facesearch.people.placing import face_keys
from facesearch.people.register import read_register, write_register
from facesearch.show.thumbnails import Thumbnails

if TYPE_CHECKING:
    from facesearch.library import Library

# A face's vector is looked for by this much of it: 16 numbers do not come about twice.
_TRACE = 64  # bytes


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten of a person.

    Attributes:
        faces: How many faces the index had.
        photos: In how many photos.
        scanned: Bytes of the files that were looked through afterwards, and hold no trace.
    """

    faces: int
    photos: int
    scanned: int


def forget_person(library: Library, who: str) -> Forgotten:
    """Remove all faces of a person, and the name; the photos, and who else is in them, stay.

    The faces are not taken in again from these photos. Afterwards all files are looked through for what was
    removed. The index goes first, so that this can be done again when it is interrupted.

    Raises:
        PeopleError: There is nobody of that number or name.
        IndexBusy: Another process writes the index or the people.
        StorageError: A file cannot be rewritten, or something is left in one.
    """
    with changed_people(library) as people:
        person = people.person(who)
        index = people.index
        rows = np.asarray(person.faces, np.int64)
        faces = [(index.digest[index.photo[row]].tobytes(), index.box(row)) for row in rows.tolist()]
        faces += people.elsewhere(person)  # in photos that are not there now, or were erased and not dropped
        with library.backend.writer() as writer:
            writer.erase(faces)
            writer.commit()
            people.stay_up_to_date(writer.index)
            library.backend.beside().discard()  # what an interrupted rebuild left may hold them too
        Thumbnails().forget(digest for digest, _ in faces)
        people.drop(person)
    library.refresh()
    traces = set(_traces(index, rows))
    # An equal vector may be another face's: that of a copy of the photo with other data about it.
    others = ~np.isin(_keys(library.contents), _keys(index)[rows])
    traces.difference_update(_traces(library.contents, np.flatnonzero(others)))
    if person.name:
        # As the register has it: numpy's text is UTF-32.
        traces.add(json.dumps({str(person.number): person.name})[1:-1].encode("utf-32-le"))
    return Forgotten(len(rows), person.photos, library.backend.look_for(traces))


def _keys(index: Index) -> NDArray[np.void]:
    return face_keys(index.digest[index.photo], index.boxes)


def _traces(index: Index, rows: NDArray[np.int64]) -> Iterator[bytes]:
    for row in rows[index.norms[rows] > 0]:
        yield index.vectors[row, : _TRACE // 4].tobytes()


def forget_photos(library: Library, paths: Iterable[str]) -> list[str]:
    """Remove photos for good, as `Library.forget` does, and what is kept of who is in them.

    Returns:
        The paths that were removed.

    Raises:
        IndexFileError: There is no index, or it cannot be used, or another process writes it.
        PeopleBroken: What is kept of people cannot be used; nothing was removed.
        StorageError: A file cannot be rewritten.
    """
    kept = library.backend.people
    if not kept.there():
        return library.forget(paths)
    with kept.editing():
        register = read_register(kept)
        removed = library.forget(paths)
        # Of all that was ever forgotten: a call that was cut short here is made good by the next.
        gone = {digest.tobytes() for digest in library.opened().forgotten}
        write_register(kept, register.without(gone))
    return removed
