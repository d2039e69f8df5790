"""Forget a person: every face, the name, the pictures that were kept; and look whether anything is left."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import StorageError
from facesearch.index.beside import discard, journal_path, rebuild_path, unfinished_path
from facesearch.index.layout import Layout
from facesearch.index.store import IndexWriter
from facesearch.people.keeping import changed_people
from facesearch.people.placing import face_keys
from facesearch.people.register import only_editor, read_register, register_path, write_register
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
        layout = people.layout
        rows = np.asarray(person.faces, np.int64)
        faces = [(layout.digest[layout.photo[row]].tobytes(), layout.box(row)) for row in rows.tolist()]
        faces += people.elsewhere(person)  # in photos that are not there now, or were erased and not dropped
        with IndexWriter(library.index_path) as writer:
            writer.erase(faces)
            writer.commit()
            people.stay_up_to_date(writer.layout)
            discard(rebuild_path(library.index_path))  # what an interrupted rebuild left may hold them too
        Thumbnails().forget(digest for digest, _ in faces)
        people.drop(person)
    library.refresh()
    traces = set(_traces(layout, rows))
    # An equal vector may be another face's: that of a copy of the photo with other data about it.
    others = ~np.isin(_keys(library.layout), _keys(layout)[rows])
    traces.difference_update(_traces(library.layout, np.flatnonzero(others)))
    if person.name:
        # As the register has it: numpy's text is UTF-32.
        traces.add(json.dumps({str(person.number): person.name})[1:-1].encode("utf-32-le"))
    return Forgotten(len(rows), person.photos, _scan(_files(library.index_path), traces))


def _keys(layout: Layout) -> NDArray[np.void]:
    return face_keys(layout.digest[layout.photo], layout.boxes)


def _traces(layout: Layout, rows: NDArray[np.int64]) -> Iterator[bytes]:
    for row in rows[layout.norms[rows] > 0]:
        yield layout.vectors[row, : _TRACE // 4].tobytes()


def forget_photos(library: Library, paths: Iterable[str]) -> list[str]:
    """Remove photos for good, as `Library.forget` does, and what is kept of who is in them.

    Returns:
        The paths that were removed.

    Raises:
        IndexFileError: There is no index, or it cannot be used, or another process writes it.
        PeopleBroken: What is kept of people cannot be used; nothing was removed.
        StorageError: A file cannot be rewritten.
    """
    path = register_path(library.index_path)
    if not path.exists():
        return library.forget(paths)
    with only_editor(path):
        register = read_register(path)
        removed = library.forget(paths)
        # Of all that was ever forgotten: a call that was cut short here is made good by the next.
        gone = {digest.tobytes() for digest in library.opened().forgotten}
        write_register(path, register.without(gone))
    return removed


def _files(index: Path) -> list[Path]:
    built, register = rebuild_path(index), register_path(index)
    own = [index, journal_path(index), unfinished_path(index), register, unfinished_path(register)]
    return [path for path in (*own, built, journal_path(built), unfinished_path(built)) if path.exists()]


def _scan(files: Iterable[Path], traces: Iterable[bytes]) -> int:
    """Look through files; give how many bytes that were.

    Raises:
        StorageError: Something is left in one.
    """
    wanted, count = list(traces), 0
    for path in files:
        with path.open("rb") as file:
            if not (size := path.stat().st_size):
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                count += size
                if any(content.find(trace) >= 0 for trace in wanted):
                    raise StorageError(
                        f"{str(path)!r} still holds something of what was to be forgotten.",
                        "Run the same command again; where it says so again, remove the file.",
                    )
    return count
