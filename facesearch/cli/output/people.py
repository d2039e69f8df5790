"""People as text, JSON, a contact sheet and a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.cli.output.text import counted, escaped

if TYPE_CHECKING:
    from facesearch.people.people import People, Person
    from facesearch.show.contact_sheet import PersonCard


def table(everyone: Iterable[Person]) -> Iterator[str]:
    """Yield people as lines for a reader."""
    yield "number  photos  faces  name\n"
    for one in everyone:
        yield f"{one.number:6}  {one.photos:6,}  {len(one.faces):5,}  {escaped(one.name)}".rstrip() + "\n"


def poor_table(found: People, poor: Sequence[int]) -> Iterator[str]:
    """Yield poor faces, by row, as lines for a reader."""
    yield f"\n{counted(len(poor), 'poor face')}, which {'makes' if len(poor) == 1 else 'make'} no person\n"
    for row in poor:
        face = face_fields(found, row)
        yield f"  {escaped(face['path'])}#{face['face']}\n"


def people_fields(found: People, persons: Sequence[Person]) -> Iterator[dict[str, Any]]:
    """Yield what is told of people, by the names of the columns."""
    portraits = iter(found.portraits([person for person in persons if person.faces]))
    for person in persons:
        yield {
            "number": person.number,
            "name": person.name,
            "photos": person.photos,
            "faces": len(person.faces),
            "path": found.index.path(int(found.index.photo[next(portraits)])) if person.faces else "",
        }


def face_fields(found: People, row: int) -> dict[str, Any]:
    """Return where a face is, by the names of the columns."""
    index = found.index
    photo, box = int(index.photo[row]), index.box(row)
    corners = {"x": box.x, "y": box.y, "w": box.width, "h": box.height}
    return {"face": index.number(row), "path": index.path(photo), **corners}


def digits(row: dict[str, Any]) -> Iterator[object]:
    """Yield values as tsv has them: distances with six digits, nothing for None."""
    for value in row.values():
        yield f"{value:.6f}" if isinstance(value, float) else "" if value is None else value


def named_face(face: dict[str, Any]) -> str:
    """Return a face as it is written on the command line."""
    return f"{face['path']}#{face['face']}"


def named(found: People, side: Person | int) -> str:
    """Return a person or a face as it is written on the command line."""
    if isinstance(side, int):
        return named_face(face_fields(found, side))
    return side.name or str(side.number)


def portrait_path(found: People, side: Person | int) -> str:
    """Return the photo that shows a person or a face."""
    row = side if isinstance(side, int) else found.portrait(side)
    return found.index.path(int(found.index.photo[row]))


def write_people(found: People, persons: Sequence[Person], sheet: str | None, page: str | None) -> None:
    """Write a contact sheet and a page of people, where they are wanted.

    Raises:
        FacesearchError: A file's name has no known ending.
        StorageError: A file cannot be written.
    """
    from facesearch.show.contact_sheet import ShownFace, draw_people, people_page
    from facesearch.show.page import write_page
    from facesearch.show.sheet import save_sheet
    from facesearch.show.thumbnails import Thumbnails

    if not (sheet or page):
        return
    cards = list(_cards(found, [person for person in persons if person.faces]))
    thumbnails = Thumbnails()

    def read(face: ShownFace, side: int) -> bytes:
        return thumbnails.face(face.path, face.digest, face.box, side)

    if sheet:
        save_sheet(draw_people(cards, read), Path(sheet))
    if page:
        index = found.index
        facts = [
            ("People", f"{len(cards):,}"),
            ("Index", f"{counted(index.face_count, 'face')} in {counted(index.photo_count, 'photo')}"),
        ]
        write_page(people_page(cards, read, title="People", facts=facts), Path(page))


def _cards(found: People, persons: Sequence[Person]) -> Iterator[PersonCard]:
    from facesearch.show.contact_sheet import PersonCard, ShownFace

    index = found.index
    for person, portrait in zip(persons, found.portraits(persons), strict=True):
        # Others are taken at even distances, so that they come from different times and places.
        others = [row for row in person.faces if row != portrait]
        rows = [portrait, *others[:: max(1, len(others) // 3)][:3]]
        faces = [
            ShownFace(index.path(photo), index.digest[photo].tobytes(), index.box(row))
            for row in rows
            for photo in [int(index.photo[row])]
        ]
        amount = f"{counted(person.photos, 'photo')}, {counted(len(person.faces), 'face')}"
        yield PersonCard(person.number, person.name, amount, faces)
