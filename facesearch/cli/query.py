"""`facesearch query`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facesearch.cli.options import (
    AnyPath,
    a_number,
    index_option,
    json_option,
    make_runtime,
    model_option,
    open_library,
    quiet_option,
    runtime_options,
)
from facesearch.cli.output.answers import Searched, finish
from facesearch.cli.output.matches import FORMATS
from facesearch.cli.output.progress import Progress
from facesearch.cli.output.text import counted, escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.faces import Answers, Box
    from facesearch.library import Library
    from facesearch.search import FaceWanted, Question


def _a_probability(_context: click.Context, _option: click.Parameter, number: float | None) -> float | None:
    """Refuse what no probability can be, and 1, which none reaches."""
    if number is not None and not 0 <= number < 1:
        raise click.BadParameter(f"{number:g} is not a probability from 0 up to, but without, 1.")
    return number


@click.command("query", short_help="Find the photos whose faces are nearest to a reference.")
@click.argument("refs", nargs=-1, type=AnyPath(), metavar="[REF...]")
@index_option
@model_option
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    help="Matches for each reference.  [default: 4; all of --person]",
)
@click.option(
    "--metric", type=click.Choice(["cosine", "euclidean"]), help="Which distance.  [default: the model's]"
)
@click.option(
    "--threshold", type=float, callback=a_number, metavar="D", help="Leave out matches farther than this."
)
@click.option(
    "--min-probability",
    type=float,
    callback=_a_probability,
    metavar="P",
    help="Leave out matches less likely one person's than this, 0 to 1.",
)
@click.option(
    "--by",
    type=click.Choice(["photo", "face"]),
    default="photo",
    show_default=True,
    help="List each photo once, or each face.",
)
@click.option("--face", type=click.IntRange(1), metavar="N", help="Look for REF's face N, 1 for the largest.")
@click.option("--all-faces", is_flag=True, help="Look for every face of REF.")
@click.option("--whole", is_flag=True, help="REF is nothing but the face.")
@click.option("--together", is_flag=True, help="All REFs show one person: fuse them.")
@click.option("--person", metavar="P", help="In place of REF: the photos of a person, by name or number.")
@click.option("--with", "others", metavar="P", multiple=True, help="Only photos that show this person too.")
@click.option("--only", is_flag=True, help="Only photos that show nobody else.")
@click.option("--include-self", is_flag=True, help="Let REF's own file be a match.")
@click.option("--unique", is_flag=True, help="List copies of one photo once.")
@click.option("--rotations/--no-rotations", default=None, help="Look at REF in all four orientations.")
@click.option(
    "--search",
    "how",
    type=click.Choice(["exact", "approximate"]),
    help="How an index in Milvus is searched; a file always exactly.  [default: as its size has it]",
)
@click.option(
    "--files-from", metavar="FILE", type=AnyPath(), help="Read REFs from a file, one a line; - is stdin."
)
@click.option("--files0-from", metavar="FILE", type=AnyPath(), help="The same, each ended by a zero byte.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="How matches are written.  [default: table on a terminal, else tsv]",
)
@json_option
@click.option("-0", "--null", is_flag=True, help="Write paths alone, each ended by a zero byte.")
@click.option("--sheet", metavar="FILE.jpg", type=AnyPath(), help="Draw the references and their matches.")
@click.option(
    "--html", metavar="FILE.html", type=AnyPath(), help="Write the same as a page that stands alone."
)
@click.option("--copy-to", metavar="DIR", type=AnyPath(), help="Copy the matches there.")
@click.option("--link-to", metavar="DIR", type=AnyPath(), help="Make symbolic links to the matches there.")
@click.option(
    "--server",
    metavar="ADDRESS",
    envvar="FACESEARCH_SERVER",
    help="Let a running `facesearch serve` answer; no model is loaded here.  [env: FACESEARCH_SERVER]",
)
@runtime_options
@quiet_option
def command(refs: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Find the photos whose faces are nearest to the face in a reference photo.

    The largest face of each REF is looked for. The smaller a distance, the nearer: 0 is the same picture.
    The probability is that of one person where that is as likely beforehand as not; beside it stands how many
    faces of strangers as near as this are to be expected in an index of this size. Beyond the model's
    threshold a match is marked x. To find a person use --model sface: resnet50 measures how alike two
    pictures of faces look, and not who they are.

    \b
    Examples:
      facesearch query reference.jpg --top 10
      facesearch query reference.jpg --sheet result.jpg
      facesearch query reference.jpg --top 40 --html result.html
      facesearch query a.jpg b.jpg c.jpg --together --model sface --min-probability 0.9
      find refs -name '*.jpg' -print0 | facesearch query --files0-from - --format tsv
      facesearch query reference.jpg -0 | xargs -0 -I{} cp {} found/
      facesearch query --person Ada --with Grace --only

    --person and --with look for people as `facesearch people` grouped and named them: all photos that show
    each of them, as faces of their own, the surest first. The distance is the mean one of the first one's
    face from that person's other faces.

    Without a terminal: one line a match, the columns query, rank, distance, probability, path, x, y, w, h
    (tsv). Tab, newline and backslash in a path are written \\t, \\n and \\\\; x, y, w, h are the face in
    pixels of the upright photo; probability is empty where the model is not calibrated.

    Exit status: 0 found, 1 nothing found, 2 any error, 130 interrupted.
    """  # noqa: D301
    _refuse_contradictions(options)
    if options["person"] or options["others"]:
        refuse_references(refs, options)
        sys.exit(_answer_by_name(options))
    references = _references(refs, options)
    sys.exit(_answer_by_server(references, options) if options["server"] else _answer(references, options))


def _answer_by_server(references: list[str], options: dict[str, Any]) -> int:
    """Let a running server answer; give the exit status."""
    from facesearch.web.client import ask_server

    answers, about = ask_server(options["server"], references, options)
    return finish(answers, options, Searched.of_server(about))


def _answer(references: list[str], options: dict[str, Any]) -> int:
    """Ask, write and keep the answers; give the exit status."""
    quiet = options["quiet"]
    library = open_library(
        options["index_file"], options["model"], quiet=quiet, runtime=make_runtime(options)
    )
    face: FaceWanted = "all" if options["all_faces"] else options["face"] or "largest"
    with Progress(quiet=quiet or len(references) < 20) as progress:
        progress.start(len(references))
        answers = library.query(
            references,
            _question(options),
            face=face,
            whole=options["whole"],
            rotations=options["rotations"],
            on_photo=progress.photo,
        )
    if options["verbose"] and not quiet:
        _say_faces(answers)
    return finish(answers, options, Searched.of(library))


def _answer_by_name(options: dict[str, Any]) -> int:
    """Return the photos of people as `facesearch people` knows them; the exit status."""
    library = open_library(options["index_file"], options["model"], quiet=options["quiet"])
    return finish(photos_of_people(library, options), options, Searched.of(library))


def _say_faces(answers: Answers) -> None:
    """Say what was looked for: for each reference the number of faces, and where the first one is."""
    boxes: dict[str, list[Box]] = {}
    for reference in (one for answer in answers.answers for one in answer.references):
        boxes.setdefault(reference.path, []).append(reference.box)
    for path, (box, *others) in boxes.items():
        faces = counted(1 + len(others), "face")
        where = f"{'the largest ' if others else ''}at {box.x},{box.y} of {box.width}x{box.height} pixels"
        click.echo(f"{escaped(path)}: {faces} looked for, {where}", err=True)


def _refuse_contradictions(options: dict[str, Any]) -> None:
    """Find out before the work, not after it, what cannot be done."""
    if options["null"] and (options["form"] not in (None, "paths") or options["as_json"]):
        raise click.UsageError("-0 writes paths alone: leave out --format and --json.")
    if options["as_json"] and options["form"] not in (None, "json"):
        raise click.UsageError(f"--json or --format {options['form']}: choose one.")
    wanted = [option for option in ("face", "all_faces", "whole") if options[option]]
    if len(wanted) > 1:
        first, second = (f"--{option.replace('_', '-')}" for option in wanted[:2])
        raise click.UsageError(f"{first} or {second}: choose one.")
    if options["server"]:
        _refuse_with_server(options)
    if options["only"] and not (options["person"] or options["others"]):
        raise click.UsageError("--only goes with --person or --with.")
    if options["sheet"]:
        from facesearch.show.sheet import sheet_format

        sheet_format(Path(options["sheet"]))


def _refuse_with_server(options: dict[str, Any]) -> None:
    """Refuse what a server is not asked for."""
    for name, option in (("together",) * 2, ("whole",) * 2, ("rotations",) * 2, ("how", "search")):
        if options[name]:
            raise click.UsageError(f"--{option} is not for a server: leave out --server.")


def _references(refs: Sequence[str], options: dict[str, Any]) -> list[str]:
    from facesearch.cli.options import with_lists

    references = with_lists(refs, options)
    if not references and not (options["files_from"] or options["files0_from"]):
        raise click.UsageError("Name at least one REF, or --files-from a list of them.")
    return references


def _question(options: dict[str, Any]) -> Question:
    from facesearch.search import Question

    names = ("by", "include_self", "unique", "together", "how")
    chosen = {name: options[name] for name in names}
    for name in ("top", "threshold", "min_probability"):
        if options[name] is not None:
            chosen[name] = options[name]
    return Question(metric=options["metric"], **chosen)


def refuse_references(refs: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse what goes with a photo as the reference, and not with a person."""
    if refs:
        raise click.UsageError("REF or --person: choose one.")
    for name in ("files_from", "files0_from", "face", "all_faces", "whole", "together", "rotations"):
        if options[name]:
            raise click.UsageError(
                f"--{name.replace('_', '-')} goes with REF, and not with --person or --with."
            )
    if options["how"]:
        raise click.UsageError("--search goes with REF, and not with --person or --with.")
    if options["metric"] == "euclidean":
        raise click.UsageError("People are grouped by cosine distance: leave out --metric.")


def photos_of_people(library: Library, options: dict[str, Any]) -> Answers:
    """Find the photos that show all people who are named in a command's options."""
    from facesearch.faces import Answers
    from facesearch.people.keeping import open_people
    from facesearch.people.photos import PeopleQuery, photos_with

    people = open_people(library)
    named = [who for who in (options["person"], *options["others"]) if who]
    chosen = {name: options[name] for name in ("threshold", "min_probability") if options[name] is not None}
    names = ("top", "only", "by", "unique")
    wish = PeopleQuery(**{name: options[name] for name in names}, **chosen)
    answer = photos_with(
        people, [people.person(who) for who in named], wish, library.card.calibration.get("cosine")
    )
    if not people.up_to_date and not options["quiet"]:
        click.echo("The index has changed since people were grouped: run `facesearch people`.", err=True)
    return Answers((answer,), ())
