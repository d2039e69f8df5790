"""`facesearch people`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from facesearch.answer_json import with_path_bytes
from facesearch.cli.options import (
    AnyPath,
    a_number,
    complete_person,
    index_option,
    jobs_option,
    json_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import counted, escaped, tsv_line, write, write_json
from facesearch.cli.people_changes import COMMANDS, PeopleOptions, of_subcommand
from facesearch.cli.people_files import export, import_names
from facesearch.show.wording import percent

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.people.people import People, Person
    from facesearch.people.suggestions import Suggestion
    from facesearch.show.contact_sheet import PersonCard

_NOBODY_ALIKE = "Nobody is likely to be the same person."

all_option = click.option(
    "--all", "show_all", is_flag=True, help="List poor faces, too, which make no person."
)
sheet_option = click.option(
    "--sheet", metavar="FILE", type=AnyPath(), help="Draw the people with their numbers (.jpg, .png)."
)
html_option = click.option("--html", "page", metavar="FILE", type=AnyPath(), help="The same as a page.")
hidden_option = click.option("--hidden", is_flag=True, help="List the people who are hidden instead.")
ignored_option = click.option("--ignored", is_flag=True, help="List the faces that are ignored instead.")


@click.group("people", invoke_without_command=True, short_help="Group the faces of an index into people.")
@index_option
@model_option
@click.option(
    "--within",
    type=click.FloatRange(0, 2, min_open=True, max_open=True),
    callback=a_number,
    metavar="D",
    help="The distance up to which two groups are one person.  [default: the model's]",
)
@all_option
@sheet_option
@html_option
@json_option
@quiet_option
@jobs_option
@click.pass_context
def people(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Group the faces of an index into people; name, merge, split and export them.

    Every change can be taken back with `people undo`.

    Without a subcommand, faces that belong to no person yet are grouped, and all people are listed. Grouping
    is careful: it rather leaves two groups of one person, which `merge` joins, than puts two people in one.
    Numbers and names stay: photos indexed later join their people when this is run again. A face like no
    other belongs to no person until a second one is found, or until it is named. The people are stored beside
    the index. Poor faces (blurred, tiny, or no faces at all) make no person; --all lists them.

    P is a person's name, number, or "Person 3"; FACE is a photo's path, followed by #2 for its second largest
    face; `facesearch faces PHOTO --sheet FILE.jpg` draws the numbers.

    \b
    Examples:
      facesearch people --model sface
      facesearch people list --sheet people.jpg
      facesearch people name 3 "Ada Lovelace"
      facesearch people show Ada\\ Lovelace
      facesearch people suggest
      facesearch query --person "Ada Lovelace"
      facesearch people export --to ~/by-person --link

    Exit status: 0 done, 1 when there is nobody, 2 any error.
    """  # noqa: D301
    options = PeopleOptions(**given)
    if context.invoked_subcommand is None:
        _group_and_list(options.open_library(), options)
    elif options.as_json or options.within is not None or options.show_all or options.sheet or options.page:
        raise click.UsageError(
            "--json, --all, --sheet, --html and --within go with grouping; write them behind the subcommand "
            "that has them."
        )


def _group_and_list(library: Library, options: PeopleOptions) -> None:
    from facesearch.people.grouping import grouping_distance

    with library.changing_people() as found:
        done = found.group(options.within or grouping_distance(library.card), library.card.quality)
    if not options.quiet:
        new = "1 new person" if done.new == 1 else f"{done.new:,} new people"
        joined, alone = counted(done.joined, "face"), counted(done.alone, "face")
        matches = "matches" if done.alone == 1 else "match"
        click.echo(f"{new}, {joined} joined known people, {alone} {matches} nobody", err=True)
    _list(found, options, library)


@people.command("list", short_help="List the people.")
@index_option
@model_option
@all_option
@hidden_option
@ignored_option
@sheet_option
@html_option
@json_option
@quiet_option
@click.pass_context
def list_people(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """List the people: the named first, then those in most photos.

    Without a terminal: one line a person, the columns number, name, photos, faces, path (tsv); path is the
    photo with the most typical face. --all adds a line for each poor face, without a number. --ignored has
    the columns face, path, x, y, w, h.

    \b
    Examples:
      facesearch people list
      facesearch people list --json --index family.npz
      facesearch people list --ignored

    Exit status: 0 done, 1 when there is nobody, 2 any error.
    """  # noqa: D301
    options = of_subcommand(context, PeopleOptions(**given))
    if options.ignored and (options.show_all or options.hidden or options.sheet or options.page):
        raise click.UsageError("--ignored lists faces: leave out --all, --hidden, --sheet and --html.")
    library = options.open_library()
    if options.ignored:
        _list_ignored(library.people(), options)
    _list(library.people(), options, library)


def _list_ignored(found: People, options: PeopleOptions) -> NoReturn:
    faces = [face_fields(found, row) for row in found.ignored()]
    if options.as_json:
        write_json({"ignored": [with_path_bytes(face) for face in faces]})
    elif sys.stdout.isatty():
        write("".join(f"{escaped(named_face(face))}\n" for face in faces))
    else:
        write("".join(tsv_line(face.values()) for face in faces))
    _end_list(faces, options, "No face is ignored.")


def _list(found: People, options: PeopleOptions, library: Library) -> None:
    everyone = [person for person in found.everyone() if person.hidden == options.hidden]
    quality = library.card.quality
    poor = found.poor_and_alone(quality) if options.show_all and quality else []
    write_people(found, everyone, options.sheet, options.page, quiet=options.quiet)
    if options.as_json:
        years = (known or (None, None) for known in found.years(everyone))
        told = {
            "people": [
                {**with_path_bytes(fields), "first_year": first, "last_year": last}
                for fields, (first, last) in zip(people_fields(found, everyone), years, strict=True)
            ]
        }
        if options.show_all:
            told["poor"] = [with_path_bytes(face_fields(found, row)) for row in poor]
        write_json(told)
    elif sys.stdout.isatty():
        write("".join(table(everyone, found.years(everyone))))
        if options.show_all:
            write("".join(poor_table(found, poor)))
    else:
        write("".join(tsv_line(fields.values()) for fields in people_fields(found, everyone)))
        paths = (found.index.path(int(found.index.photo[row])) for row in poor)
        write("".join(tsv_line(("", "", 1, 1, path)) for path in paths))
    sys.exit(0 if everyone or poor else 1)


@people.command(short_help="List a person's faces.")
@click.argument("who", metavar="P", shell_complete=complete_person)
@index_option
@model_option
@json_option
@quiet_option
@click.pass_context
def show(context: click.Context, /, who: str, **given: Any) -> None:  # noqa: ANN401
    """List the faces of a person, the most certain first.

    Without a terminal: the columns distance, face, path, x, y, w, h (tsv). The distance is the mean distance
    from the other faces of the person; check the last ones. Photos that were tagged by hand follow, without
    distance and face. `facesearch query --person P --sheet FILE.jpg` draws them.

    \b
    Examples:
      facesearch people show 3
      facesearch people show Ada --json

    Exit status: 0 done, 1 when the person is in no photo now, 2 any error.
    """  # noqa: D301
    options = of_subcommand(context, PeopleOptions(**given))
    found = options.open_library().people()
    person = found.person(who, exact=False)
    distances = found.mean_distances(person.faces).tolist() if person.faces else []
    faces = sorted(zip(distances, person.faces, strict=True))
    rows = [{"distance": distance, **face_fields(found, row)} for distance, row in faces]
    tagged = list(tagged_fields(found, person))
    if options.as_json:
        (fields,) = people_fields(found, [person])
        told = {"faces": [with_path_bytes(row) for row in rows], "tagged": [*map(with_path_bytes, tagged)]}
        write_json({**with_path_bytes(fields), **told})
    elif sys.stdout.isatty():
        write("".join(faces_table(rows, tagged)))
    else:
        write("".join(tsv_line(digits(row)) for row in (*rows, *tagged)))
    _end_list([*rows, *tagged], options, f"{escaped(person.title)} is in no photo of this index now.")


@people.command(short_help="List a person's faces, the doubtful ones first.")
@click.argument("who", metavar="P", shell_complete=complete_person)
@click.option("--top", type=click.IntRange(1), metavar="N", help="How many faces to list.  [default: all]")
@index_option
@model_option
@json_option
@quiet_option
@click.pass_context
def review(  # click's options by name
    context: click.Context,
    /,
    who: str,
    top: int | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """List the faces of a person, those first that are more like somebody else or far from the rest.

    Without a terminal: the columns distance, like_distance, like, face, path, x, y, w, h (tsv). The distance
    is the mean distance from the other faces of the person; like is the other person who is nearest to the
    face. Take out what is wrong with `people reject P FACE`.

    \b
    Examples:
      facesearch people review Ada
      facesearch people review Ada --top 20 --json

    Exit status: 0 done, 1 when the person is in no photo now, 2 any error.
    """  # noqa: D301
    from facesearch.people.suggestions import doubts

    options = of_subcommand(context, PeopleOptions(**given))
    found = options.open_library().people()
    faces = doubts(found, found.person(who, exact=False))[:top]
    rows = [
        {
            "distance": face.distance,
            "like_distance": face.like_distance if face.like else None,
            "like": found.title(face.like) if face.like else None,
            **face_fields(found, face.row),
        }
        for face in faces
    ]
    if options.as_json:
        write_json({"faces": [with_path_bytes(row) for row in rows]})
    elif sys.stdout.isatty():
        write("distance  like\n")
        for row in rows:
            like = f"{row['like_distance']:.3f} {row['like']}" if row["like"] else ""
            write(f"{row['distance']:8.3f}  {escaped(f'{like:24}')}  {escaped(named_face(row))}\n")
    else:
        write("".join(tsv_line(digits(row)) for row in rows))
    sys.exit(0 if rows else 1)


@people.command(short_help="Suggest who may be the same person.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@index_option
@model_option
@json_option
@quiet_option
@click.pass_context
def suggest(context: click.Context, /, top: int, **given: Any) -> None:  # noqa: ANN401
    """Suggest who may be the same person, the surest first: two people, or a person and a face of nobody.

    They are a little farther from each other than grouping is sure of. Answer with `people merge A B` or
    `people apart A B`: who was told apart is not suggested again. Two who are on one photo, hidden people and
    poor faces are not suggested.

    Without a terminal: the columns distance, one, other, path, other_path (tsv); one and other are what
    `merge` and `apart` take.

    \b
    Examples:
      facesearch people suggest
      facesearch people suggest --top 100 --json

    Exit status: 0 done, 1 when there is nothing to suggest, 2 any error.
    """  # noqa: D301
    from facesearch.people.suggestions import probabilities, suggested_distance, suggestions

    options = of_subcommand(context, PeopleOptions(**given))
    library = options.open_library()
    found = library.people()
    pairs = suggestions(found, suggested_distance(library.card), library.card.quality, top=top)
    if not options.as_json and sys.stdout.isatty():
        write("".join(suggestions_table(found, pairs, probabilities(found, pairs, library.card))))
        _end_list(pairs, options, _NOBODY_ALIKE)
    rows: list[dict[str, Any]] = [
        {"distance": pair.distance, "one": named(found, pair.one), "other": named(found, pair.other)}
        | {"path": portrait_path(found, pair.one), "other_path": portrait_path(found, pair.other)}
        for pair in pairs
    ]
    if options.as_json:
        write_json({"suggestions": [with_path_bytes(with_path_bytes(row), "other_path") for row in rows]})
    else:
        write("".join(tsv_line(digits(row)) for row in rows))
    _end_list(rows, options, _NOBODY_ALIKE)


@people.command(short_help="List the changes that can be taken back.")
@index_option
@model_option
@json_option
@quiet_option
@click.pass_context
def log(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """List the changes of people, the last one first; `people undo N` takes the first N back.

    Without a terminal: the columns number, time, change (tsv). `forget` empties the log, so that nothing is
    left in it of what was forgotten.

    \b
    Examples:
      facesearch people log

    Exit status: 0 done, 1 when there is none, 2 any error.
    """  # noqa: D301
    options = of_subcommand(context, PeopleOptions(**given))
    entries = reversed(options.open_library().people().log)
    rows: list[dict[str, Any]] = [
        {"number": number, "time": entry.time, "change": entry.did} for number, entry in enumerate(entries, 1)
    ]
    if options.as_json:
        write_json({"changes": rows})
    elif sys.stdout.isatty():
        for row in rows:
            when = datetime.fromisoformat(row["time"]).astimezone()
            write(f"{row['number']:4}  {when:%Y-%m-%d %H:%M}  {escaped(row['change'])}\n")
    else:
        write("".join(tsv_line(row.values()) for row in rows))
    _end_list(rows, options, "There is no change to undo.")


def _end_list(rows: Sequence[object], options: PeopleOptions, none: str) -> NoReturn:
    """Exit, and say that there is nothing where there is nothing."""
    if not rows and not options.quiet:
        click.echo(none, err=True)
    sys.exit(0 if rows else 1)


for _command in (*COMMANDS, export, import_names):
    people.add_command(_command)


def table(everyone: Sequence[Person], years: Sequence[tuple[int, int] | None]) -> Iterator[str]:
    """Yield people as lines for a reader, with the years of their photos where these are known."""
    dated = any(years)
    yield f"number  photos  faces  {'years      ' if dated else ''}name\n"
    for one, known in zip(everyone, years, strict=True):
        span = f"{_span(known):9}  " if dated else ""
        line = f"{one.number:6}  {one.photos:6,}  {len(one.faces):5,}  {span}{escaped(one.name)}"
        yield line.rstrip() + "\n"


def _span(years: tuple[int, int] | None) -> str:
    if years is None:
        return ""
    first, last = years
    return str(first) if first == last else f"{first}-{last}"


def poor_table(found: People, poor: Sequence[int]) -> Iterator[str]:
    """Yield poor faces, by row, as lines for a reader."""
    yield f"\n{counted(len(poor), 'poor face')}, which {'makes' if len(poor) == 1 else 'make'} no person\n"
    for row in poor:
        face = face_fields(found, row)
        yield f"  {escaped(face['path'])}#{face['face']}\n"


def faces_table(faces: Sequence[dict[str, Any]], tagged: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the faces of a person, and the photos that were tagged, as lines for a reader."""
    if faces or tagged:
        yield "distance  photo\n"
    for face in faces:
        yield f"{face['distance']:8.3f}  {escaped(named_face(face))}\n"
    for photo in tagged:
        yield f" by hand  {escaped(photo['path'])}\n"


def suggestions_table(
    found: People, pairs: Sequence[Suggestion], likely: Sequence[float | None]
) -> Iterator[str]:
    """Yield pairs who may be one person as lines for a reader, and how to answer; nothing for none."""
    if not pairs:
        return
    # The first keeps the name: those who have one come first, faces of nobody last.
    sides = [sorted((pair.one, pair.other), key=_rank) for pair in pairs]
    titles = [[escaped(titled(found, side)) for side in both] for both in sides]
    width = max(len("one"), *(len(one) for one, _ in titles))
    told = ["" if one is None else percent(one) for one in likely]
    head, *column = [f"{text:>11}  " if any(told) else "" for text in ("probability", *told)]
    yield f"distance  {head}{'one':{width}}  other\n"
    for pair, probability, (one, other) in zip(pairs, column, titles, strict=True):
        yield f"{pair.distance:8.3f}  {probability}{one:{width}}  {other}\n"
    yield "\nOne person: `facesearch people merge A B`. Two: `facesearch people apart A B`.\n"


def _rank(side: Person | int) -> int:
    return 2 if isinstance(side, int) else 0 if side.name else 1


def titled(found: People, side: Person | int) -> str:
    """Return what a person is called, with the number of photos; or a face as the command line has it."""
    return named(found, side) if isinstance(side, int) else f"{side.title} ({counted(side.photos, 'photo')})"


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


def tagged_fields(found: People, person: Person) -> Iterator[dict[str, Any]]:
    """Yield the photos on which a person was tagged and no face of theirs was found; None for no place."""
    shown = {int(found.index.photo[row]) for row in person.faces}
    for photo, box in found.tagged_photos(person).items():
        if photo not in shown:
            corners = dict(zip("xywh", box.corners if box else (None,) * 4, strict=True))
            yield {"distance": None, "face": None, "path": found.index.path(photo), **corners}


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


def write_people(
    found: People, persons: Sequence[Person], sheet: str | None, page: str | None, *, quiet: bool
) -> None:
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
        return thumbnails.face(face.path, face.digest, face.box, side, face.moment)

    if sheet:
        save_sheet(draw_people(cards, read), Path(sheet))
        if not quiet:
            click.echo(f"The sheet is in {escaped(sheet)}", err=True)
    if page:
        index = found.index
        facts = [
            ("People", f"{len(cards):,}"),
            ("Index", f"{counted(index.face_count, 'face')} in {counted(index.photo_count, 'photo')}"),
        ]
        write_page(people_page(cards, read, title="People", facts=facts), Path(page))
        if not quiet:
            click.echo(f"The page is in {escaped(page)}", err=True)


def _cards(found: People, persons: Sequence[Person]) -> Iterator[PersonCard]:
    from facesearch.show.contact_sheet import PersonCard, ShownFace

    index = found.index
    for person, portrait in zip(persons, found.portraits(persons), strict=True):
        # Others are taken at even distances, so that they come from different times and places.
        others = [row for row in person.faces if row != portrait]
        rows = [portrait, *others[:: max(1, len(others) // 3)][:3]]
        faces = [
            ShownFace(index.path(photo), index.digest[photo].tobytes(), index.box(row), index.moment(row))
            for row in rows
            for photo in [int(index.photo[row])]
        ]
        amount = f"{counted(person.photos, 'photo')}, {counted(len(person.faces), 'face')}"
        yield PersonCard(person.number, person.name, amount, faces)
