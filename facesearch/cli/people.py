"""`facesearch people`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from facesearch.answer_json import with_path_bytes
from facesearch.cli.completion import complete_person
from facesearch.cli.options import (
    AnyPath,
    LibraryOptions,
    a_number,
    index_option,
    jobs_option,
    json_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import counted, escaped, tsv_line, write, write_json

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.people.people import People, Person

Options = TypeVar("Options", bound="PeopleOptions")


all_option = click.option(
    "--all", "show_all", is_flag=True, help="List poor faces, too, which make no person."
)


@dataclass(frozen=True, kw_only=True)
class PeopleOptions(LibraryOptions):
    """The options of `facesearch people` and of its subcommands."""

    as_json: bool = False
    within: float | None = None
    show_all: bool = False
    jobs: int = 0


@dataclass(frozen=True, kw_only=True)
class ExportOptions(PeopleOptions):
    """The options of `facesearch people export`."""

    to: str
    link: bool | None
    dry_run: bool


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
@json_option
@quiet_option
@jobs_option
@click.pass_context
def people(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Group the faces of an index into people; name, merge, split and export them.

    Without a subcommand, faces that belong to no person yet are grouped, and all people are listed. Grouping
    is careful: it rather leaves two groups of one person, which `merge` joins, than puts two people in one.
    Numbers and names stay: photos indexed later join their people when this is run again. A face like no
    other belongs to no person until a second one is found, or until it is named. The people are stored beside
    the index. Poor faces (blurred, tiny, or no faces at all) make no person; --all lists them.

    P is a person's number or name; FACE is a photo's path, followed by #2 for its second largest face.

    \b
    Examples:
      facesearch people --model sface
      facesearch people name 3 "Ada Lovelace"
      facesearch people show Ada\\ Lovelace
      facesearch query --person "Ada Lovelace"
      facesearch people export --to ~/by-person --link

    Exit status: 0 done, 1 when there is nobody, 2 any error.
    """  # noqa: D301
    options = PeopleOptions(**given)
    if context.invoked_subcommand is None:
        _group_and_list(options.open_library(), options)
    elif options.as_json or options.within is not None or options.show_all:
        raise click.UsageError(
            "--json, --all and --within go with grouping; write --json and --all after the subcommand."
        )


def _group_and_list(library: Library, options: PeopleOptions) -> None:
    from facesearch.people.grouping import grouping_distance

    with library.changing_people() as found:
        done = found.group(options.within or grouping_distance(library.card), library.card.quality)
    if not options.quiet:
        new = "1 new person" if done.new == 1 else f"{done.new:,} new people"
        said = f"{new}, {counted(done.joined, 'face')} joined known ones, {counted(done.alone, 'face')} alone"
        click.echo(said, err=True)
    _list(found, options, library)


@people.command("list", short_help="List the people.")
@index_option
@model_option
@all_option
@json_option
@quiet_option
@click.pass_context
def list_people(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """List the people: the named first, then those in most photos.

    Without a terminal: one line a person, the columns number, name, photos, faces, path (tsv); path is the
    photo with the most typical face. --all adds a line for each poor face, without a number.

    \b
    Examples:
      facesearch people list
      facesearch people list --json --index family.npz

    Exit status: 0 done, 1 when there is nobody, 2 any error.
    """  # noqa: D301
    options = _of_subcommand(context, PeopleOptions(**given))
    library = options.open_library()
    _list(library.people(), options, library)


def _list(found: People, options: PeopleOptions, library: Library) -> None:
    everyone, quality = found.everyone(), library.card.quality
    poor = found.poor_and_alone(quality) if options.show_all and quality else []
    if options.as_json:
        told = {"people": [with_path_bytes(fields) for fields in _fields(found, everyone)]}
        if options.show_all:
            told["poor"] = [with_path_bytes(_face(found, row)) for row in poor]
        write_json(told)
    elif sys.stdout.isatty():
        write("".join(_table(everyone)))
        if options.show_all:
            write("".join(_poor_table(found, poor)))
    else:
        write("".join(tsv_line(fields.values()) for fields in _fields(found, everyone)))
        paths = (found.index.path(int(found.index.photo[row])) for row in poor)
        write("".join(tsv_line(("", "", 1, 1, path)) for path in paths))
    sys.exit(0 if everyone or poor else 1)


def _table(everyone: Iterable[Person]) -> Iterator[str]:
    yield "number  photos  faces  name\n"
    for one in everyone:
        yield f"{one.number:6}  {one.photos:6,}  {len(one.faces):5,}  {escaped(one.name)}".rstrip() + "\n"


def _poor_table(found: People, poor: Sequence[int]) -> Iterator[str]:
    yield f"\n{counted(len(poor), 'poor face')}, which {'makes' if len(poor) == 1 else 'make'} no person\n"
    for row in poor:
        face = _face(found, row)
        yield f"  {escaped(face['path'])}#{face['face']}\n"


def _fields(found: People, persons: Sequence[Person]) -> Iterator[dict[str, Any]]:
    portraits = iter(found.portraits([person for person in persons if person.faces]))
    for person in persons:
        yield {
            "number": person.number,
            "name": person.name,
            "photos": person.photos,
            "faces": len(person.faces),
            "path": found.index.path(int(found.index.photo[next(portraits)])) if person.faces else "",
        }


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
    from the other faces of the person; check the last ones. `facesearch query --person P --sheet
    FILE.jpg` draws them.

    \b
    Examples:
      facesearch people show 3
      facesearch people show Ada --json

    Exit status: 0 done, 1 when the person is in no photo now, 2 any error.
    """  # noqa: D301
    options = _of_subcommand(context, PeopleOptions(**given))
    found = options.open_library().people()
    person = found.person(who, exact=False)
    distances = found.mean_distances(person.faces).tolist() if person.faces else []
    faces = sorted(zip(distances, person.faces, strict=True))
    rows = [{"distance": distance, **_face(found, row)} for distance, row in faces]
    if options.as_json:
        (fields,) = _fields(found, [person])
        write_json({**with_path_bytes(fields), "faces": [with_path_bytes(row) for row in rows]})
    else:
        write("".join(tsv_line({**row, "distance": f"{row['distance']:.6f}"}.values()) for row in rows))
    sys.exit(0 if rows else 1)


def _face(found: People, row: int) -> dict[str, Any]:
    index = found.index
    photo, box = int(index.photo[row]), index.box(row)
    corners = {"x": box.x, "y": box.y, "w": box.width, "h": box.height}
    return {"face": index.number(row), "path": index.path(photo), **corners}


@people.command(short_help="Make a folder of photos for each person.")
@click.argument("whom", metavar="[P...]", nargs=-1, shell_complete=complete_person)
@click.option("--to", required=True, metavar="DIR", type=AnyPath(), help="Where the folders are made.")
@click.option("--link/--copy", default=None, help="Make symbolic links, or copies.")
@click.option("--dry-run", is_flag=True, help="Say what would go where, and write nothing.")
@index_option
@model_option
@quiet_option
@click.pass_context
def export(context: click.Context, /, whom: Sequence[str], **given: Any) -> None:  # noqa: ANN401
    """Make a folder for each person, or for those named, with copies of their photos or links to them.

    Originals are neither moved nor changed, and nothing in a folder is overwritten.

    \b
    Examples:
      facesearch people export --to ~/by-person --link
      facesearch people export Ada Grace --to /media/stick --copy
      facesearch people export --to ~/by-person --link --dry-run

    Exit status: 0 done, 1 when there is nobody, 2 any error.
    """  # noqa: D301
    from facesearch.people.photos import albums
    from facesearch.people.photos import export as fill

    options = _of_subcommand(context, ExportOptions(**given))
    if options.link is None and not options.dry_run:
        raise click.UsageError("--link or --copy: choose one.")
    found = options.open_library().people()
    persons = [found.person(who, exact=False) for who in whom] if whom else found.everyone()
    wanted = albums(found, persons, os.path.abspath(options.to))
    if options.dry_run:
        write("".join(tsv_line((path, album.folder)) for album in wanted for path in album.photos))
    else:
        count = fill(wanted, link=bool(options.link))
        if not options.quiet:
            done = "linked" if options.link else "copied"
            said = f"{counted(count, 'photo')} {done} to {counted(len(wanted), 'folder')} in {options.to}"
            click.echo(escaped(said), err=True)
    sys.exit(0 if wanted else 1)


def _of_subcommand(context: click.Context, options: Options) -> Options:
    """Return a subcommand's options, completed by those written before it: `people --index FILE list`."""
    above = context.parent.params if context.parent is not None else {}
    # The environment gives way to what is written before the subcommand.
    here = context.get_parameter_source("index_file") is ParameterSource.COMMANDLINE
    return replace(
        options,
        index_file=options.index_file if here else above.get("index_file"),
        model=options.model or above.get("model"),
        quiet=options.quiet or above.get("quiet", False),
    )


def _changed_people(context: click.Context, given: dict[str, Any]) -> AbstractContextManager[People]:
    """Open the people that a subcommand changes; they are written when the context ends well."""
    return _of_subcommand(context, PeopleOptions(**given)).open_library().changing_people()


def _say(context: click.Context, given: dict[str, Any], done: str) -> None:
    """Say in one line what a subcommand did."""
    if not _of_subcommand(context, PeopleOptions(**given)).quiet:
        click.echo(done, err=True)


@click.command(short_help="Name a person.")
@click.argument("who", metavar="P", shell_complete=complete_person)
@click.argument("name")
@index_option
@model_option
@quiet_option
@click.pass_context
def name(context: click.Context, /, who: str, name: str, **given: Any) -> None:  # noqa: ANN401
    """Name a person. A FACE instead of P that belongs to no person yet becomes one.

    \b
    Examples:
      facesearch people name 3 "Ada Lovelace"
      facesearch people name ~/Pictures/group.jpg#2 Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.errors import PeopleError

    with _changed_people(context, given) as found:
        try:
            person = found.person(who)
        except PeopleError as error:
            row = _row(found, who)
            if row is None:
                raise error from None
            person = (
                found.person(int(found.whose[row])) if found.whose[row] > 0 else found.assign([row], None)
            )
        named = found.name(person, name)
    _say(context, given, f"Person {named.number} is called {escaped(named.name)} now.")


@click.command(short_help="Make several people one.")
@click.argument("who", metavar="P", shell_complete=complete_person)
@click.argument("others", metavar="P...", nargs=-1, required=True, shell_complete=complete_person)
@index_option
@model_option
@quiet_option
@click.pass_context
def merge(context: click.Context, /, who: str, others: Sequence[str], **given: Any) -> None:  # noqa: ANN401
    """Make several people one: the first, which keeps its number and name.

    \b
    Examples:
      facesearch people merge Ada 12 17

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changed_people(context, given) as found:
        one = found.merge(found.person(who), [found.person(other) for other in others])
    what = f"{counted(len(one.faces), 'face')} in {counted(one.photos, 'photo')}"
    _say(context, given, f"{escaped(one.title)} has {what} now.")


@click.command(short_help="Take faces out of a person.")
@click.argument("who", metavar="P", shell_complete=complete_person)
@click.argument("faces", metavar="FACE...", nargs=-1, required=True, type=AnyPath())
@click.option(
    "--into",
    metavar="P",
    shell_complete=complete_person,
    help="The person who gets the faces.  [default: a new one]",
)
@index_option
@model_option
@quiet_option
@click.pass_context
def split(  # click's options by name
    context: click.Context,
    /,
    who: str,
    faces: Sequence[str],
    into: str | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Take faces out of a person, into a new one or into another.

    The new person's number is written to stdout. `people show P` lists the faces; a FACE without # is P's
    face in that photo.

    \b
    Examples:
      facesearch people split 3 ~/Pictures/group.jpg#2
      facesearch people split 3 a.jpg b.jpg --into Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changed_people(context, given) as found:
        person = found.person(who)
        rows = [_needed_row(found, face, person.number) for face in faces]
        taker = found.assign(rows, found.person(into) if into else None)
    _say(context, given, f"{counted(len(rows), 'face')} moved to {escaped(taker.title)}.")
    if not into:
        write(f"{taker.number}\n")


@click.command(short_help="Ignore false faces and strangers.")
@click.argument("faces", metavar="FACE...", nargs=-1, required=True, type=AnyPath())
@click.option("--undo", is_flag=True, help="Stop ignoring them.")
@index_option
@model_option
@quiet_option
@click.pass_context
def ignore(context: click.Context, /, faces: Sequence[str], undo: bool, **given: Any) -> None:  # noqa: ANN401
    """Ignore faces: false detections, and people you do not know.

    They belong to no person. They stay in the index, `query REF` finds them, and `--only` does not count
    them.

    \b
    Examples:
      facesearch people ignore ~/Pictures/curtain.jpg ~/Pictures/crowd.jpg#7
      facesearch people ignore ~/Pictures/crowd.jpg#7 --undo

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.register import IGNORED

    with _changed_people(context, given) as found:
        rows = [_needed_row(found, face, IGNORED if undo else None) for face in faces]
        (found.release if undo else found.ignore)(rows)
    _say(context, given, f"{counted(len(rows), 'face')} {'heeded again' if undo else 'ignored'}.")


def _needed_row(found: People, face: str, whose: int | None = None) -> int:
    """Return a FACE's row; it has to be that person's where one is named, by number."""
    from facesearch.errors import PeopleError

    row = _row(found, face, whose)
    if row is None:
        raise PeopleError(
            f"The index holds no photo {face!r}.", "`facesearch info --list ok` lists what it holds."
        )
    if whose is not None and found.whose[row] != whose:
        raise _not_theirs(face, whose)
    return row


def _row(found: People, face: str, whose: int | None = None) -> int | None:
    """Return a FACE's row, None for no photo; without a number, the photo's or the person's only face.

    A photo whose own name ends in a # and a number comes first.
    """
    from facesearch.errors import PeopleError
    from facesearch.photos.urls import absolute_path

    path, _, number = face.rpartition("#")
    photo = found.index.find(absolute_path(face))
    if photo is None:
        numbered = number.isascii() and number.isdigit()
        known = numbered and found.index.find(absolute_path(path)) is not None
        return found.face(absolute_path(path), int(number[:9])) if known else None
    rows = [row for row in found.index.faces_of(photo) if whose is None or found.whose[row] == whose]
    if len(rows) == 1:
        return rows[0]
    if rows:
        first = found.index.number(rows[0])
        raise PeopleError(f"{face!r} shows {counted(len(rows), 'such face')}.", f"Say which: {face}#{first}")
    raise PeopleError(f"{face!r} shows no face.") if whose is None else _not_theirs(face, whose)


def _not_theirs(face: str, whose: int) -> Exception:
    from facesearch.errors import PeopleError

    if not whose:
        return PeopleError(f"{face!r} is no face that is ignored.")
    return PeopleError(f"{face!r} is no face of person {whose}.", f"See them: facesearch people show {whose}")


for _command in (name, merge, split, ignore):
    people.add_command(_command)
