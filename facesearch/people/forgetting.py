"""Forget a person: every face, the name, the pictures that were kept; and look whether anything is left."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facesearch.errors import StorageError
from facesearch.index.beside import discard, journal_path, rebuild_path, unfinished_path
from facesearch.index.store import IndexWriter
from facesearch.people.keeping import changed_people
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
        faces: How many faces.
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
        photos = np.unique(layout.photo[rows])
        traces = [layout.vectors[row].tobytes()[:_TRACE] for row in rows if layout.norms[row] > 0]
        with IndexWriter(library.index_path) as writer:
            writer.erase(
                (layout.digest[layout.photo[row]].tobytes(), layout.box(row)) for row in rows.tolist()
            )
            writer.commit()
            discard(rebuild_path(library.index_path))  # what an interrupted rebuild left may hold them too
        Thumbnails().forget(layout.digest[photo].tobytes() for photo in photos)
        people.drop(person)
    if person.name:
        # As the register has it: numpy's text is UTF-32.
        traces.append(json.dumps({str(person.number): person.name})[1:-1].encode("utf-32-le"))
    library.refresh()
    return Forgotten(len(rows), len(photos), _scan(_files(library.index_path), traces))


def forget_photos(library: Library, paths: Iterable[str]) -> list[str]:
    """Remove photos for good, as `Library.forget` does, and what is kept of who is in them.

    Returns:
        The paths that were removed.

    Raises:
        IndexFileError: There is no index, or it cannot be used.
        StorageError: A file cannot be rewritten.
    """
    before = {digest.tobytes() for digest in library.opened().digest}
    removed = library.forget(paths)
    gone = before - {digest.tobytes() for digest in library.opened().digest}
    path = register_path(library.index_path)
    if gone and path.exists():
        with only_editor(path):
            write_register(path, read_register(path).without(gone))
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
