"""`facesearch people name`, `merge`, `split`, `ignore`: what a user says of who is who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.text import counted, write

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.people.people import People


def library_of(context: click.Context, options: dict[str, Any]) -> Library:
    """Open the library that is named here or before the subcommand; options before it hold here too."""
    above = context.parent.params if context.parent is not None else {}
    # What stands here in the environment gives way to what is written before the subcommand.
    here = context.get_parameter_source("index_file") is ParameterSource.COMMANDLINE
    index_file = options["index_file"] if here else above.get("index_file")
    options["quiet"] = options["quiet"] or above.get("quiet", False)
    return open_library(index_file, options["model"] or above.get("model"), quiet=options["quiet"])


@click.command(short_help="Name a person.")
@click.argument("who", metavar="P")
@click.argument("name")
@index_option
@model_option
@quiet_option
@click.pass_context
def name(context: click.Context, /, who: str, name: str, **options: Any) -> None:  # noqa: ANN401
    """Name a person. In place of P a FACE that is nobody's yet makes one of it.

    \b
    Examples:
      facesearch people name 3 "Ada Lovelace"
      facesearch people name ~/Pictures/group.jpg#2 Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.errors import PeopleError
    from facesearch.people.keeping import changed_people

    with changed_people(library_of(context, options)) as found:
        try:
            person = found.person(who)
        except PeopleError as error:
            row = _row(found, who)
            if row is None:
                raise error from None
            person = found.person(int(found.whose[row])) if found.whose[row] > 0 else found.give([row], None)
        found.name(person, name)


@click.command(short_help="Make several people one.")
@click.argument("who", metavar="P")
@click.argument("others", metavar="P...", nargs=-1, required=True)
@index_option
@model_option
@quiet_option
@click.pass_context
def merge(context: click.Context, /, who: str, others: Sequence[str], **options: Any) -> None:  # noqa: ANN401
    """Make several people one: the first, whose number and name stay.

    \b
    Examples:
      facesearch people merge Ada 12 17

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.keeping import changed_people

    with changed_people(library_of(context, options)) as found:
        found.merge(found.person(who), [found.person(other) for other in others])


@click.command(short_help="Take faces out of a person.")
@click.argument("who", metavar="P")
@click.argument("faces", metavar="FACE...", nargs=-1, required=True, type=AnyPath())
@click.option("--into", metavar="P", help="The person whose faces they are.  [default: a new one]")
@index_option
@model_option
@quiet_option
@click.pass_context
def split(context: click.Context, /, who: str, faces: Sequence[str], **options: Any) -> None:  # noqa: ANN401
    """Take faces out of a person, into a new one or into another.

    The new person's number goes to stdout. `people show P` lists the faces; a FACE without # is the face of
    the photo that is P's.

    \b
    Examples:
      facesearch people split 3 ~/Pictures/group.jpg#2
      facesearch people split 3 a.jpg b.jpg --into Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.keeping import changed_people

    into = options.pop("into")
    with changed_people(library_of(context, options)) as found:
        person = found.person(who)
        rows = [_needed_row(found, face, person.number) for face in faces]
        given = found.give(rows, found.person(into) if into else None)
    if not into:
        write(f"{given.number}\n")


@click.command(short_help="Leave false faces and strangers out.")
@click.argument("faces", metavar="FACE...", nargs=-1, required=True, type=AnyPath())
@click.option("--undo", is_flag=True, help="Heed them again.")
@index_option
@model_option
@quiet_option
@click.pass_context
def ignore(context: click.Context, /, faces: Sequence[str], undo: bool, **options: Any) -> None:  # noqa: ANN401
    """Leave faces out of all people, for good: what is no face, or nobody you know.

    They stay in the index, and `query REF` finds them; `--only` counts them as nobody.

    \b
    Examples:
      facesearch people ignore ~/Pictures/curtain.jpg ~/Pictures/crowd.jpg#7
      facesearch people ignore ~/Pictures/crowd.jpg#7 --undo

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.keeping import changed_people
    from facesearch.people.register import IGNORED

    with changed_people(library_of(context, options)) as found:
        rows = [_needed_row(found, face, IGNORED if undo else None) for face in faces]
        (found.heed if undo else found.ignore)(rows)


def _needed_row(found: People, face: str, whose: int | None = None) -> int:
    """Give a FACE's row; it has to be that person's where one is named, by number."""
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
    """Give a FACE's row, None for no photo; without a number, a photo's only one, or only one of a person's.

    A photo whose own name ends in a # and a number comes first.
    """
    from facesearch.errors import PeopleError
    from facesearch.photos.urls import absolute_path

    path, _, number = face.rpartition("#")
    photo = found.layout.find(absolute_path(face))
    if photo is None:
        numbered = number.isascii() and number.isdigit()
        known = numbered and found.layout.find(absolute_path(path)) is not None
        return found.face(absolute_path(path), int(number[:9])) if known else None
    rows = [row for row in found.layout.faces_of(photo) if whose is None or found.whose[row] == whose]
    if len(rows) == 1:
        return rows[0]
    if rows:
        first = found.layout.number(rows[0])
        raise PeopleError(f"{face!r} shows {counted(len(rows), 'such face')}.", f"Say which: {face}#{first}")
    raise PeopleError(f"{face!r} shows no face.") if whose is None else _not_theirs(face, whose)


def _not_theirs(face: str, whose: int) -> Exception:
    from facesearch.errors import PeopleError

    if not whose:
        return PeopleError(f"{face!r} is no face that is ignored.")
    return PeopleError(f"{face!r} is no face of person {whose}.", f"See them: facesearch people show {whose}")


EDITS = (name, merge, split, ignore)
