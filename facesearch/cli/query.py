"""`facesearch query`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import cloup
from cloup import option_group

from facesearch.cli.options import (
    AnyPath,
    LibraryOptions,
    ListOptions,
    RuntimeOptions,
    a_number,
    complete_person,
    index_option,
    json_option,
    list_options,
    machine_options,
    metric_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.answers import OutputOptions, Searched, finish
from facesearch.cli.output.matches import FORMATS
from facesearch.cli.output.text import Progress, counted, escaped
from facesearch.faces import moment_of

if TYPE_CHECKING:
    from facesearch.faces import Answers, Box
    from facesearch.library import Library
    from facesearch.search import FaceWanted, Question


@dataclass(frozen=True, kw_only=True)
class QueryOptions(OutputOptions, LibraryOptions, ListOptions, RuntimeOptions):
    """The options of `facesearch query`, by click's names; None is an option that was not given."""

    top: int | None
    by: Literal["photo", "face"]
    face: int | None
    all_faces: bool
    together: bool
    expand: bool
    only: bool
    include_self: bool
    unique: bool
    rotations: bool | None
    how: Literal["exact", "approximate"] | None
    server: str | None
    sort: Literal["distance", "date"]


class DateType(click.ParamType):  # type: ignore[type-arg]
    """A year, a month, a day, or a time of a day.

    Args:
        last: Whether what is meant is the end of it.
    """

    name = "date"

    def __init__(self, *, last: bool = False) -> None:
        self._last = last

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, by the clock of a camera."""
        try:
            return moment_of(str(value), last=self._last)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _a_share(_context: click.Context, _option: click.Parameter, number: float | None) -> float | None:
    """Refuse numbers that are not probabilities, and 1, which no match reaches."""
    if number is not None and not 0 <= number < 1:
        raise click.BadParameter(f"{number:g} is not a number from 0 up to, but without, 1.")
    return number


@cloup.command("query", short_help="Find the photos whose faces are nearest to a reference.")
@cloup.argument("refs", nargs=-1, type=AnyPath(), metavar="[REF...]")
@option_group(
    "What to look for",
    click.option("--face", type=click.IntRange(1), metavar="N", help="Face N of REF, 1 for the largest."),
    click.option("--all-faces", is_flag=True, help="Every face of REF."),
    click.option("--whole", is_flag=True, help="REF is nothing but the face."),
    click.option("--together", is_flag=True, help="All REFs show one person: combine them."),
    click.option(
        "--expand", is_flag=True, help="Look for the surest matches too: finds more of the same person."
    ),
    click.option(
        "--rotations/--no-rotations",
        default=None,
        help="Look for faces in all four orientations; YuNet finds large ones anyway.",
    ),
    list_options,
    click.option(
        "--person",
        metavar="P",
        shell_complete=complete_person,
        help="Instead of REF: the photos of a person, by name or number.",
    ),
    click.option(
        "--with",
        "others",
        metavar="P",
        multiple=True,
        shell_complete=complete_person,
        help="Only photos that show this person too.",
    ),
    click.option("--only", is_flag=True, help="Only photos that show no other person."),
)
@option_group(
    "Where to look",
    index_option,
    model_option,
    click.option(
        "--search",
        "how",
        type=click.Choice(["exact", "approximate"]),
        help="How an index in Milvus is searched; a file is always searched exactly.  [default: by size]",
    ),
    click.option(
        "--server",
        metavar="ADDRESS",
        envvar="FACESEARCH_SERVER",
        help="Ask a running `facesearch serve`; no model is loaded here.  [env: FACESEARCH_SERVER]",
    ),
)
@option_group(
    "Which matches",
    click.option(
        "--top",
        type=click.IntRange(1),
        metavar="N",
        help="Matches for each reference.  [default: 4; all with --person]",
    ),
    metric_option("cosine", "euclidean", "centred"),
    click.option(
        "--threshold",
        type=float,
        callback=a_number,
        metavar="D",
        help="Leave out matches farther than this distance.",
    ),
    click.option(
        "--min-probability",
        type=float,
        callback=_a_share,
        metavar="P",
        help="Leave out matches that are less likely the same person than this, 0 to 1.",
    ),
    click.option(
        "--min-quality",
        type=float,
        callback=_a_share,
        metavar="Q",
        help="Leave out faces that are poorer than this, 0 to 1; 0.5 leaves out those marked ?.",
    ),
    click.option(
        "--by",
        type=click.Choice(["photo", "face"]),
        default="photo",
        show_default=True,
        help="List each photo once, or each face.",
    ),
    click.option(
        "--since", type=DateType(), metavar="DATE", help="Only photos taken then or later: 2019, 2019-07, ..."
    ),
    click.option(
        "--until",
        type=DateType(last=True),
        metavar="DATE",
        help="Only photos taken by the end of that year, month or day.",
    ),
    click.option(
        "--sort",
        type=click.Choice(["distance", "date"]),
        default="distance",
        show_default=True,
        help="The order of the matches.",
    ),
    click.option("--include-self", is_flag=True, help="REF's own file may be a match."),
    click.option("--unique", is_flag=True, help="List copies of one photo once."),
)
@option_group(
    "Output",
    click.option(
        "--format",
        "form",
        type=click.Choice(list(FORMATS)),
        help="How matches are written.  [default: table on a terminal, else tsv]",
    ),
    json_option,
    click.option("-0", "--null", is_flag=True, help="Write only paths, each ended by a zero byte."),
    click.option(
        "--sheet", metavar="FILE.jpg", type=AnyPath(), help="Draw the references and their matches."
    ),
    click.option("--html", metavar="FILE.html", type=AnyPath(), help="Write a page that shows the matches."),
    click.option("--copy-to", metavar="DIR", type=AnyPath(), help="Copy the matches to a folder."),
    click.option("--link-to", metavar="DIR", type=AnyPath(), help="Make symbolic links to the matches."),
    quiet_option,
)
@machine_options
def command(refs: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Find the photos whose faces are nearest to the face in a reference photo.

    The largest face of each REF is searched for. The smaller a distance, the nearer: 0 is the same picture.
    The probability says how likely the match shows the same person; next to it is the number of strangers'
    faces to expect this near in an index of this size. Both are judged by how near strangers come in the
    index itself, so that a farther match can be the more probable one. A match that is more likely another
    person is marked x. A face that is blurred, tiny or no face at all is marked ?, and nothing is said of it.
    To find a person use --model sface: resnet50 measures how alike two pictures of faces
    look, not who they show.

    \b
    Examples:
      facesearch query reference.jpg --top 10
      facesearch query reference.jpg --sheet result.jpg
      facesearch query reference.jpg --top 40 --html result.html
      facesearch query a.jpg b.jpg c.jpg --together --model sface --min-probability 0.9
      facesearch query reference.jpg --model sface --expand --top 100
      find refs -name '*.jpg' -print0 | facesearch query --files0-from - --format tsv
      facesearch query reference.jpg -0 | xargs -0 -I{} cp {} found/
      facesearch query --person Ada --with Grace --only

    --person and --with search for people as `facesearch people` grouped and named them: all photos that show
    each of them as separate faces, the most certain first. The distance is the mean distance of the first
    person's face from that person's other faces.

    Without a terminal: one line a match, the columns query, rank, distance, probability, path, x, y, w, h,
    frame, time (tsv). Tab, newline and backslash in a path are written \\t, \\n and \\\\; x, y, w, h are the
    face in the upright photo; frame is in which frame of an animation it is, from the second, and time when
    in a film, in seconds; probability is empty where the model is not calibrated.

    Exit status: 0 found, 1 nothing found, 2 any error, 130 interrupted.
    """  # noqa: D301
    options = QueryOptions(**given)
    _refuse_contradictions(options)
    if options.person or options.others:
        _refuse_references(refs, options)
        sys.exit(_answer_by_name(options))
    references = _references(refs, options)
    sys.exit(_answer_by_server(references, options) if options.server else _answer(references, options))


def _answer(references: list[str], options: QueryOptions) -> int:
    """Answer with the library and the model on this machine; return the exit status."""
    library = options.open_library(options.make_runtime())
    face: FaceWanted = "all" if options.all_faces else options.face or "largest"
    with Progress(quiet=options.quiet or len(references) < 20) as progress:
        progress.start(len(references))
        answers = library.query(
            references,
            _question(options),
            face=face,
            whole=options.whole,
            rotations=options.rotations,
            on_photo=progress.photo,
        )
    if options.verbose and not options.quiet:
        _say_faces(answers)
    return finish(answers, options, Searched.of(library))


def _answer_by_server(references: list[str], options: QueryOptions) -> int:
    """Let a running server answer; return the exit status."""
    from facesearch.web.client import ServerQuery, ask_server

    assert options.server is not None
    query = ServerQuery(
        index=options.index_file,
        model=options.model,
        top=options.top,
        metric=options.metric,
        threshold=options.threshold,
        min_probability=options.min_probability,
        min_quality=options.min_quality,
        by=options.by,
        include_self=options.include_self,
        unique=options.unique,
        expand=options.expand,
        since=options.since,
        until=options.until,
        sort=options.sort,
        face="all" if options.all_faces else options.face or "largest",
    )
    answers, index = ask_server(options.server, references, query)
    return finish(answers, options, Searched.of_server(index))


def _answer_by_name(options: QueryOptions) -> int:
    """Answer with photos of people as `facesearch people` knows them; return the exit status."""
    library = options.open_library()
    return finish(_photos_of_people(library, options), options, Searched.of(library))


def _photos_of_people(library: Library, options: QueryOptions) -> Answers:
    from facesearch.faces import Answers
    from facesearch.judge import Judge
    from facesearch.people.photos import PeopleQuery, photos_with

    people = library.people()
    named = [who for who in (options.person, *options.others) if who]
    limits = {"threshold": options.threshold, "min_probability": options.min_probability}
    query = PeopleQuery(
        top=options.top,
        only=options.only,
        by=options.by,
        unique=options.unique,
        since=options.since,
        until=options.until,
        sort=options.sort,
        **{name: value for name, value in limits.items() if value is not None},
    )
    judge = Judge.of(library.card, people.index, "cosine")
    answer = photos_with(people, [people.person(who, exact=False) for who in named], query, judge)
    if not people.up_to_date and not options.quiet:
        click.echo("The index has changed since people were grouped: run `facesearch people`.", err=True)
    return Answers((answer,), ())


def _question(options: QueryOptions) -> Question:
    from facesearch.search import Question

    names = ("top", "threshold", "min_probability", "min_quality", "since", "until")
    given = {name: getattr(options, name) for name in names}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Question(
        metric=options.metric,
        by=options.by,
        include_self=options.include_self,
        unique=options.unique,
        together=options.together,
        expand=options.expand,
        how=options.how,
        sort=options.sort,
        **chosen,
    )


def _references(refs: Sequence[str], options: QueryOptions) -> list[str]:
    references = options.photos(refs)
    if not references and not (options.files_from or options.files0_from):
        raise click.UsageError("Name at least one REF, or --files-from a list of them.")
    return references


def _say_faces(answers: Answers) -> None:
    """Say for each reference how many faces are searched for, and where the first one is."""
    boxes: dict[str, list[Box]] = {}
    for reference in (one for answer in answers.answers for one in answer.references):
        boxes.setdefault(reference.path, []).append(reference.box)
    for path, (box, *others) in boxes.items():
        faces = counted(1 + len(others), "face")
        where = f"{'the largest ' if others else ''}at {box.x},{box.y} of {box.width}x{box.height} pixels"
        click.echo(f"{escaped(path)}: {faces} looked for, {where}", err=True)


def _refuse_contradictions(options: QueryOptions) -> None:
    """Refuse, before the work starts, what cannot be done."""
    if options.null and (options.form not in (None, "paths") or options.as_json):
        raise click.UsageError("-0 writes only paths: leave out --format and --json.")
    if options.as_json and options.form not in (None, "json"):
        raise click.UsageError(f"--json or --format {options.form}: choose one.")
    wanted = [option for option in ("face", "all_faces", "whole") if getattr(options, option)]
    if len(wanted) > 1:
        first, second = (f"--{option.replace('_', '-')}" for option in wanted[:2])
        raise click.UsageError(f"{first} or {second}: choose one.")
    if options.since and options.until and options.since >= options.until:
        raise click.UsageError("--since is later than --until: no photo can be both.")
    if options.server:
        _refuse_with_server(options)
    if options.only and not (options.person or options.others):
        raise click.UsageError("--only goes with --person or --with.")
    if options.sheet:
        from facesearch.show.sheet import sheet_format

        sheet_format(Path(options.sheet))


def _refuse_with_server(options: QueryOptions) -> None:
    """Refuse what a server cannot be asked."""
    asked = {name: getattr(options, name) for name in ("together", "whole", "rotations")}
    for option, value in {"search": options.how, **asked}.items():
        if value:
            raise click.UsageError(f"--{option} does not work with a server: leave out --server.")


def _refuse_references(refs: Sequence[str], options: QueryOptions) -> None:
    """Refuse what needs a photo as the reference, when a person is searched for."""
    if refs:
        raise click.UsageError("REF or --person: choose one.")
    for name in (
        "files_from",
        "files0_from",
        "face",
        "all_faces",
        "whole",
        "together",
        "expand",
        "rotations",
    ):
        if getattr(options, name):
            raise click.UsageError(
                f"--{name.replace('_', '-')} goes with REF, and not with --person or --with."
            )
    if options.min_quality:
        raise click.UsageError("--min-quality goes with REF: poor faces make no person.")
    if options.how:
        raise click.UsageError("--search goes with REF, and not with --person or --with.")
    if options.metric not in (None, "cosine"):
        raise click.UsageError("People are grouped by cosine distance: leave out --metric.")
