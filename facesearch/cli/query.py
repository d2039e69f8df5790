"""`facesearch query`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facesearch.cli.formats import FORMATS, as_paths
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
from facesearch.cli.progress import Progress
from facesearch.cli.query_people import photos_of_people, refuse_references
from facesearch.cli.text import counted, escaped, say_what_is_measured, what_is_measured, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.faces import Box
    from facesearch.library import Answers, Library
    from facesearch.references import FaceWanted
    from facesearch.search import Question


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
    sys.exit(_answer(_references(refs, options), options))


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
    return _finish(answers, options, library)


def _answer_by_name(options: dict[str, Any]) -> int:
    """Give the photos of people as `facesearch people` knows them; the exit status."""
    library = open_library(options["index_file"], options["model"], quiet=options["quiet"])
    return _finish(photos_of_people(library, options), options, library)


def _finish(answers: Answers, options: dict[str, Any], library: Library) -> int:
    """Write and keep answers, and say what is wrong; give the exit status."""
    quiet = options["quiet"]
    for _, error in answers.problems:
        click.echo(f"facesearch: {escaped(error.message)} {error.hint}".rstrip(), err=True)
    if not quiet and answers.answers and not any(answer.matches for answer in answers.answers):
        click.echo(_why_nothing(options, library), err=True)
    if not quiet and _form(options) == "table":
        say_what_is_measured(library.card, whole=options["whole"])
    _write(answers, options)
    _keep(answers, options, library, quiet=quiet)
    return _status(answers)


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
    if options["only"] and not (options["person"] or options["others"]):
        raise click.UsageError("--only goes with --person or --with.")
    if options["sheet"]:
        from facesearch.show.sheet import sheet_format

        sheet_format(Path(options["sheet"]))


def _why_nothing(options: dict[str, Any], library: Library) -> str:
    """Say why there is no match although there was a face to look for."""
    if not library.layout.face_count:
        return "The index holds no face yet: take in photos with `facesearch index FOLDER`."
    if options["person"] or options["others"]:
        return "No photo shows them like that. `facesearch people` takes in what was indexed since."
    limits = []
    if options["threshold"] is not None:
        limits.append(f"within a distance of {options['threshold']}")
    if options["min_probability"]:
        limits.append(f"with a probability of {options['min_probability']} or more")
    if limits:
        return f"No face lies {' and '.join(limits)}."
    return "The index holds no face but those of REF itself: --include-self lists them."


def _references(refs: Sequence[str], options: dict[str, Any]) -> list[str]:
    from facesearch.cli.reflist import with_lists

    references = with_lists(refs, options)
    if not references and not (options["files_from"] or options["files0_from"]):
        raise click.UsageError("Name at least one REF, or --files-from a list of them.")
    return references


def _question(options: dict[str, Any]) -> Question:
    from facesearch.search import Question

    names = ("by", "include_self", "unique", "together")
    chosen = {name: options[name] for name in names}
    for name in ("top", "threshold", "min_probability"):
        if options[name] is not None:
            chosen[name] = options[name]
    return Question(metric=options["metric"], **chosen)


def _form(options: dict[str, Any]) -> str:
    if options["null"]:
        return "paths"
    if options["as_json"]:
        return "json"
    return str(options["form"] or ("table" if sys.stdout.isatty() else "tsv"))


def _write(answers: Answers, options: dict[str, Any]) -> None:
    if options["null"]:
        pieces = as_paths(answers.answers, "\0")
    else:
        pieces = FORMATS[_form(options)](answers.answers)
    for piece in pieces:
        write(piece)


def _keep(answers: Answers, options: dict[str, Any], library: Library, *, quiet: bool) -> None:
    """Draw the sheet, write the page, copy or link the matches."""
    metric = options["metric"] or library.card.metric
    if options["sheet"]:
        from facesearch.cli.sheet import write_sheet

        write_sheet(answers.answers, options["sheet"], metric)
    if options["html"]:
        from facesearch.cli.answers import write_answers

        remarks = what_is_measured(library.card, whole=options["whole"])
        write_answers(answers, library, options["html"], metric, remarks)
    for folder, link in ((options["copy_to"], False), (options["link_to"], True)):
        if folder:
            from facesearch.show.collect import collect

            paths = [match.path for answer in answers.answers for match in answer.matches]
            count = collect(paths, folder, link=link)
            if not quiet:
                click.echo(f"{count} photos {'linked' if link else 'copied'} to {escaped(folder)}", err=True)


def _status(answers: Answers) -> int:
    from facesearch.errors import NoFace

    if any(not isinstance(error, NoFace) for _, error in answers.problems):
        return 2
    return 0 if any(answer.matches for answer in answers.answers) else 1
