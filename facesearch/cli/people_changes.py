"""The subcommands of `facesearch people` that change something, each of which `undo` takes back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from facesearch.cli.options import (
    AnyPath,
    Command,
    LibraryOptions,
    complete_person,
    index_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import counted, escaped, write
from facesearch.errors import PeopleError, UnreadablePhoto

if TYPE_CHECKING:
    from facesearch.faces import Box
    from facesearch.people.facts import Side
    from facesearch.people.people import People, Person

Options = TypeVar("Options", bound="PeopleOptions")


@dataclass(frozen=True, kw_only=True)
class PeopleOptions(LibraryOptions):
    """The options of `facesearch people` and of its subcommands."""

    as_json: bool = False
    within: float | None = None
    show_all: bool = False
    hidden: bool = False
    ignored: bool = False
    sheet: str | None = None
    page: str | None = None
    jobs: int = 0


def of_subcommand(context: click.Context, options: Options) -> Options:
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


@dataclass
class Change:
    """A change that a subcommand makes.

    Attributes:
        people: The people, which are written when it is done.
        did: What is said of it in the end.
    """

    people: People
    did: str = ""


@contextmanager
def _changing(context: click.Context, given: dict[str, Any]) -> Iterator[Change]:
    """Open the people that a subcommand changes; write them when the context ends well, and say so."""
    options = of_subcommand(context, PeopleOptions(**given))
    with options.open_library().changing_people() as people:
        change = Change(people)
        yield change
    if not options.quiet:
        click.echo(change.did, err=True)


def _people_options(command: Command) -> Any:  # noqa: ANN401 (as click has it)
    """Add the options of every subcommand that changes something."""
    return index_option(model_option(quiet_option(click.pass_context(command))))


_who = click.argument("who", metavar="P", shell_complete=complete_person)
_several = click.argument("people", metavar="P...", nargs=-1, required=True, shell_complete=complete_person)
_faces = click.argument("faces", metavar="FACE...", nargs=-1, required=True, type=AnyPath())


@click.command(short_help="Name a person.")
@_who
@click.argument("name")
@_people_options
def name(context: click.Context, /, who: str, name: str, **given: Any) -> None:  # noqa: ANN401 (by name)
    """Name a person. A FACE instead of P that belongs to no person yet becomes one.

    \b
    Examples:
      facesearch people name 3 "Ada Lovelace"
      facesearch people name ~/Pictures/group.jpg#2 Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        side = _side(change.people, who)
        if isinstance(side, int):
            whose = int(change.people.whose[side])
            side = change.people.person(whose) if whose > 0 else change.people.assign([side], None)
        named = change.people.name(side, name)
        change.did = f"Person {named.number} is called {escaped(named.name)} now."


@click.command(short_help="Make several people one.")
@_who
@click.argument("others", metavar="P...", nargs=-1, required=True, shell_complete=complete_person)
@click.option("--yes", is_flag=True, help="Do not ask, even if two of them have a name.")
@_people_options
def merge(
    context: click.Context,
    /,
    who: str,
    others: Sequence[str],
    yes: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Make several people one: the first, which keeps its number and name.

    A FACE that belongs to nobody may stand for a P, in any place. If two of them have a name, you are asked
    first; in a script, write --yes.

    \b
    Examples:
      facesearch people merge Ada 12 17
      facesearch people merge Ada ~/Pictures/group.jpg#2
      facesearch people merge "Ada Lovelace" "A. Lovelace" --yes

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    found = of_subcommand(context, PeopleOptions(**given)).open_library().people()
    _ask_about_names([_side(found, one) for one in (who, *others)], yes=yes)
    with _changing(context, given) as change:
        people = change.people
        first, *rest = (_side(people, one) for one in (who, *others))
        if isinstance(first, int) and people.whose[first] > 0:
            first = people.person(int(people.whose[first]))
        _refuse_the_same(people, (who, *others), (first, *rest))
        rows = [_nobodys(people, side) for side in (first, *rest) if isinstance(side, int)]
        persons = [side for side in (first, *rest) if not isinstance(side, int)]
        one = people.assign(rows, persons[0] if persons else None) if rows else persons[0]
        one = people.merge(one, persons)
        change.did = f"{escaped(one.title)} has {_amount(one)} now."


def _ask_about_names(sides: Sequence[Person | int], *, yes: bool) -> None:
    """Let a user say whether people with different names are to become one."""
    names = dict.fromkeys(side.name for side in sides if not isinstance(side, int) and side.name)
    if yes or len(names) < 2:
        return
    kept, *lost = map(escaped, names)
    said = (
        f"{kept} and {' and '.join(lost)} both have a name"
        if len(lost) == 1
        else "Several of them have a name"
    )
    if not sys.stdin.isatty():
        raise PeopleError(f"{said}.", f"Write --yes to merge them, under the name {kept}.")
    if not click.confirm(f"{said}. Merge them, under the name {kept}?", err=True):
        raise click.Abort


def _refuse_the_same(people: People, named: Sequence[str], sides: Sequence[Person | int]) -> None:
    """Refuse what is named twice."""
    seen: dict[Side, str] = {}
    for who, side in zip(named, sides, strict=True):
        key: Side = people.face_id(side) if isinstance(side, int) else side.number
        if key in seen:
            raise PeopleError(f"{seen[key]} and {who} are the same.", "Name two.")
        seen[key] = who


def _nobodys(people: People, row: int) -> int:
    """Return a face that belongs to nobody."""
    whose = int(people.whose[row])
    if whose > 0:
        title = people.person(whose).title
        raise PeopleError(
            f"The face belongs to {title}.",
            f"Merge {title} as a whole, or take the face out with `people split`.",
        )
    return row


def _amount(one: Person) -> str:
    return f"{counted(len(one.faces), 'face')} in {counted(one.photos - one.tagged, 'photo')}"


@click.command(short_help="Say that two are not the same person.")
@click.argument("one", metavar="P", shell_complete=complete_person)
@click.argument("other", metavar="P", shell_complete=complete_person)
@_people_options
def apart(context: click.Context, /, one: str, other: str, **given: Any) -> None:  # noqa: ANN401
    """Say that two are not the same person; a FACE that belongs to nobody may stand for a P.

    They are never suggested again, and grouping never joins them.

    \b
    Examples:
      facesearch people apart Ada 12
      facesearch people apart Ada ~/Pictures/group.jpg#2

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        people = change.people
        sides = [_side(people, who) for who in (one, other)]
        _refuse_the_same(people, (one, other), sides)
        first, second = (
            people.face_id(_nobodys(people, side)) if isinstance(side, int) else side.number for side in sides
        )
        titles = [people.face_title(side) if isinstance(side, int) else side.title for side in sides]
        people.tell_apart(first, second, " and ".join(titles))
        face = "The face " if isinstance(sides[0], int) else ""
        change.did = f"{face}{escaped(' and '.join(titles))} are two people."


@click.command(short_help="Give faces to a person.")
@_who
@_faces
@_people_options
def add(context: click.Context, /, who: str, faces: Sequence[str], **given: Any) -> None:  # noqa: ANN401
    """Give faces to a person, whoever they belonged to: matches of a query that are right, for example.

    \b
    Examples:
      facesearch people add Ada ~/Pictures/group.jpg#2 ~/Pictures/beach.jpg

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        rows = [_needed_row(change.people, face) for face in faces]
        person = change.people.assign(rows, change.people.person(who))
        change.did = f"{escaped(person.title)} has {_amount(person)} now."


@click.command(short_help="Say that faces are not a person's.")
@_who
@_faces
@_people_options
def reject(context: click.Context, /, who: str, faces: Sequence[str], **given: Any) -> None:  # noqa: ANN401
    """Say that faces are not a person's. They leave the person, and grouping never puts them back.

    `people review P` lists the doubtful faces first. A FACE without # is P's face in that photo; with #, it
    may be anybody's, whom grouping then never makes P.

    \b
    Examples:
      facesearch people reject Ada ~/Pictures/group.jpg#2

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        person = change.people.person(who)
        rows = [_row_to_reject(change.people, face, person.number) for face in faces]
        taken = sum(int(change.people.whose[row]) == person.number for row in rows)
        change.people.reject(rows, person)
        change.did = _rejected(escaped(person.title), taken, len(rows) - taken)


def _rejected(title: str, taken: int, kept: int) -> str:
    """Say that faces were taken out of a person, and others are not to come to it."""
    done = [f"{counted(taken, 'face')} taken out of {title}"] * bool(taken)
    done += [f"{counted(kept, 'face')} kept out of {title}"] * bool(kept)
    faces, there = "it" if taken + kept == 1 else "them", "back" if not kept else "there"
    return f"{', '.join(done)}; grouping will not put {faces} {there}."


@click.command(short_help="Take faces out of a person.")
@_who
@_faces
@click.option(
    "--into",
    metavar="P",
    shell_complete=complete_person,
    help="The person who gets the faces.  [default: a new one]",
)
@_people_options
def split(
    context: click.Context,
    /,
    who: str,
    faces: Sequence[str],
    into: str | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Take faces out of a person, into a new one or into another.

    Without a terminal, the new person's number is written to stdout. `people show P` lists the faces; a FACE
    without # is P's face in that photo.

    \b
    Examples:
      facesearch people split 3 ~/Pictures/group.jpg#2
      facesearch people split 3 a.jpg b.jpg --into Grace

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        people = change.people
        person = people.person(who)
        rows = [_needed_row(people, face, person.number) for face in faces]
        taker = people.assign(rows, people.person(into) if into else None)
        people.set_apart(person, taker)
        change.did = f"{counted(len(rows), 'face')} moved to {escaped(taker.title)}."
    if not into and not sys.stdout.isatty():
        write(f"{taker.number}\n")


@click.command(short_help="Ignore false faces and strangers.")
@click.argument("faces", metavar="FACE|P...", nargs=-1, required=True, type=AnyPath())
@click.option("--undo", is_flag=True, help="Stop ignoring them.")
@_people_options
def ignore(context: click.Context, /, faces: Sequence[str], undo: bool, **given: Any) -> None:  # noqa: ANN401
    """Ignore faces, or all faces of a person: false detections, and people you do not know.

    They belong to no person. They stay in the index, `query REF` finds them, and `--only` does not count
    them. `people list --ignored` lists them.

    \b
    Examples:
      facesearch people ignore ~/Pictures/curtain.jpg ~/Pictures/crowd.jpg#7
      facesearch people ignore 17
      facesearch people ignore ~/Pictures/crowd.jpg#7 --undo

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.register import IGNORED

    with _changing(context, given) as change:
        people = change.people
        rows: list[int] = []
        for face in faces:
            person = None if undo else _person(people, face)
            if undo and _row(people, face, IGNORED) is None:
                raise _not_ignored(face)
            rows += person.faces if person else [_needed_row(people, face, IGNORED if undo else None)]
        (people.release if undo else people.ignore)(rows)
        again = "is no longer ignored" if len(rows) == 1 else "are no longer ignored"
        change.did = f"{counted(len(rows), 'face')} {again if undo else 'ignored'}."


def _not_ignored(face: str) -> PeopleError:
    return PeopleError(
        f"The index holds no photo {face!r}.",
        "Ignored faces belong to nobody: name each as `facesearch people list --ignored` does. `facesearch "
        "people undo` takes the last change back.",
    )


@click.command(short_help="Leave people out of lists and suggestions.")
@_several
@click.option("--undo", is_flag=True, help="Show them again.")
@_people_options
def hide(context: click.Context, /, people: Sequence[str], undo: bool, **given: Any) -> None:  # noqa: ANN401
    """Hide people: strangers in the background, statues, faces on posters.

    They are not listed and not suggested. They keep their faces, and new ones join them. `people list
    --hidden` lists them.

    \b
    Examples:
      facesearch people hide 17 23
      facesearch people hide 17 --undo

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        persons = [change.people.person(who) for who in people]
        change.people.hide(persons, undo=undo)
        titles = ", ".join(escaped(person.title) for person in persons)
        change.did = (
            f"{titles} {'is' if len(persons) == 1 else 'are'} {'listed again' if undo else 'hidden'}."
        )


class BoxType(click.ParamType):  # type: ignore[type-arg]
    """A rectangle in the pixels of an upright photo, as X,Y,W,H."""

    name = "box"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        """Return the box."""
        from facesearch.faces import Box

        try:
            x, y, width, height = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no X,Y,W,H in pixels.", param, ctx)
        if width < 1 or height < 1:
            self.fail("The width and the height are at least 1.", param, ctx)
        return Box(x, y, width, height)


@click.command(short_help="Say that a person is on a photo.")
@click.argument("photo", metavar="PHOTO", type=AnyPath())
@_who
@click.option("--box", type=BoxType(), metavar="X,Y,W,H", help="Where, in pixels of the upright photo.")
@click.option("--undo", is_flag=True, help="Take that back.")
@_people_options
def tag(
    context: click.Context,
    /,
    photo: str,
    who: str,
    box: Box | None,
    undo: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Say that a person is on a photo in which no face of theirs was found.

    `query --person P` finds the photo, and marks it as said by hand. A face that was found is given to a
    person with `people add`. The --box lies in the photo.

    \b
    Examples:
      facesearch people tag ~/Pictures/from-behind.jpg Ada
      facesearch people tag ~/Pictures/from-behind.jpg Ada --box 120,40,80,80

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.photos.urls import absolute_path

    with _changing(context, given) as change:
        people = change.people
        row = people.index.find(absolute_path(photo))
        if row is None:
            raise _no_such_photo(photo)
        person = people.person(who)
        people.tag(row, person, box, undo=undo)
        if box is not None and not undo:
            _check_inside(people, row, box)
        change.did = (
            f"The tag {escaped(person.title)} was taken off {escaped(photo)}."
            if undo
            else f"{escaped(person.title)} is tagged on {escaped(photo)}."
        )


def _check_inside(people: People, photo: int, box: Box) -> None:
    """Refuse a box that reaches beyond its photo, or whose photo cannot be read.

    Raises:
        PeopleError: It does.
        UnreadablePhoto: It cannot.
    """
    from facesearch.photos.metadata import read_stored

    path = people.index.path(photo)
    try:
        width, height = read_stored(path, people.index.file(photo).digests).upright_size
    except UnreadablePhoto as error:
        raise UnreadablePhoto(error.message, "Without --box, the photo need not be read.") from error
    if min(box.x, box.y) < 0 or box.x + box.width > width or box.y + box.height > height:
        given = ",".join(map(str, box.corners))
        raise PeopleError(
            f"The box {given} reaches beyond the photo, which is {width} pixels wide and {height} high.",
            "`facesearch faces PHOTO` shows where the faces that were found are.",
        )


@click.command(short_help="Choose the picture of a person.")
@_who
@click.argument("face", metavar="FACE", type=AnyPath())
@_people_options
def cover(context: click.Context, /, who: str, face: str, **given: Any) -> None:  # noqa: ANN401
    """Choose the face that stands for a person in lists, on sheets and on the page.

    \b
    Examples:
      facesearch people cover Ada ~/Pictures/portrait.jpg

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    with _changing(context, given) as change:
        person = change.people.person(who)
        change.people.cover(person, _needed_row(change.people, face, person.number))
        change.did = f"{escaped(person.title)} is shown by {escaped(face)} now."


@click.command(short_help="Take the last changes back.")
@click.argument("count", metavar="[N]", type=click.IntRange(1), default=1)
@_people_options
def undo(context: click.Context, /, count: int, **given: Any) -> None:  # noqa: ANN401
    """Take the last change of people back, or the last N; `people log` lists them.

    Photos that were indexed, moved or removed since then do not matter. What `forget` removed stays removed,
    and so do folders and sidecars that were exported.

    \b
    Examples:
      facesearch people undo
      facesearch people undo 3

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.people.sidecars import written_sidecars

    with _changing(context, given) as change:
        undone = change.people.undo(count)
        done = [escaped(entry.did) for entry in undone]
        change.did = (
            f"Taken back: {'; '.join(done[:3])}{f'; and {len(done) - 3:,} more' if done[3:] else ''}."
        )
        paths = map(change.people.index.path, change.people.photos_of(undone))
        if stale := written_sidecars(list(paths), change.people.facts.mark):
            change.did += (
                f"\n{counted(len(stale), 'sidecar')} may hold old names, such as {escaped(stale[0])}: "
                "run `facesearch people export --xmp`."
            )


def _side(people: People, who: str) -> Person | int:
    """Return a person, or the row of a FACE."""
    try:
        return people.person(who)
    except PeopleError as error:
        row = _row(people, who)
        if row is None:
            raise error from None
        return row


def _person(people: People, who: str) -> Person | None:
    """Return a person, None for a FACE; a photo of that name comes first."""
    if _row(people, who) is not None:
        return None
    try:
        return people.person(who)
    except PeopleError:
        return None


def _needed_row(found: People, face: str, whose: int | None = None) -> int:
    """Return a FACE's row; it has to be that person's where one is named, by number."""
    row = _row(found, face, whose)
    if row is None:
        raise _no_such_photo(face)
    if whose is not None and found.whose[row] != whose:
        raise _not_theirs(face, whose)
    return row


def _no_such_photo(photo: str) -> PeopleError:
    return PeopleError(
        f"The index holds no photo {photo!r}.", "`facesearch info --list ok` lists what it holds."
    )


def _row_to_reject(found: People, face: str, whose: int) -> int:
    """Return the row of a FACE: without a number the person's in that photo, with one anybody's."""
    from facesearch.photos.urls import absolute_path

    numbered = found.index.find(absolute_path(face)) is None
    return _needed_row(found, face, None if numbered else whose)


def _row(found: People, face: str, whose: int | None = None) -> int | None:
    """Return a FACE's row, None for no photo; without a number, the photo's or the person's only face.

    A photo whose own name ends in a # and a number comes first.
    """
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


def _not_theirs(face: str, whose: int) -> PeopleError:
    if not whose:
        return PeopleError(f"{face!r} is no face that is ignored.")
    return PeopleError(f"{face!r} is no face of person {whose}.", f"See them: facesearch people show {whose}")


COMMANDS = (name, merge, apart, add, reject, split, ignore, hide, tag, cover, undo)
