"""`facesearch compare`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.cli.options import (
    AnyPath,
    ListOptions,
    RuntimeOptions,
    Verbosity,
    default_model,
    json_option,
    list_options,
    machine_options,
    metric_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.comparison import as_csv, as_text, json_fields
from facesearch.cli.output.text import Progress, escaped, say_what_is_measured, write, write_json
from facesearch.errors import ModelError

if TYPE_CHECKING:
    from facesearch.compare import Comparison
    from facesearch.model import Model
    from facesearch.ranking import Metric

NO_VERDICT = "measures how alike pictures of faces look, not who they show: it gives no verdict."
USE_SFACE = "Use --model sface, or measure it on people of your own: `facesearch evaluate DIR --calibrate`."
# With fewer photos than these a bar would be gone before it is read.
MANY = 20


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Verbosity, ListOptions, RuntimeOptions):
    """The options of `facesearch compare`, by click's names; None is an option that was not given."""

    model: str | None
    metric: Metric | None
    face: int | None
    whole: bool
    rotations: bool | None
    form: str | None
    as_json: bool
    sheet: str | None


@cloup.command("compare", short_help="Show how similar faces are, and whether they show one person.")
@cloup.argument("photos", nargs=-1, type=AnyPath(), metavar="A B...")
@option_group(
    "What to compare",
    click.option(
        "--face", type=click.IntRange(1), metavar="N", help="Face N of each photo, 1 for the largest."
    ),
    click.option("--whole", is_flag=True, help="The photos are nothing but the faces."),
    click.option(
        "--rotations/--no-rotations",
        default=None,
        help="Look for faces in all four orientations; YuNet finds large ones anyway.",
    ),
    list_options,
)
@option_group(
    "How",
    model_option,
    metric_option("cosine", "euclidean"),
)
@option_group(
    "Output",
    click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", "csv"]),
        help="How the figures are written.  [default: text]",
    ),
    json_option,
    click.option("--sheet", metavar="FILE.jpg", type=AnyPath(), help="Draw the pairs, the nearest first."),
    quiet_option,
)
@machine_options
def command(photos: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Show how similar the faces of two photos are; with more photos, compare each with each.

    The largest face of each photo is compared. The smaller a distance (dissimilarity), the nearer; similarity
    is 1 - cosine distance. Where the model was measured on labelled pairs of faces, the output has the
    probability that both faces are one person, if that is as likely as not beforehand, and a verdict.

    Only a model that was trained on people can tell who a face is: sface was. resnet50 says how alike two
    pictures of faces look; it has no probability and no verdict, and the exit status is 2.

    \b
    Examples:
      facesearch compare a.jpg b.jpg --model sface
      facesearch compare a.jpg b.jpg c.jpg --model sface --sheet pairs.jpg
      facesearch compare party.jpg wedding.jpg --face 2 --model sface
      find photos -name '*.jpg' -print0 | facesearch compare --files0-from - --format csv

    csv: one record a pair, the columns a, b, face_a, face_b, distance, similarity, probability, verdict;
    a field that is not known is empty.

    Exit status: 0 whatever the verdict, 1 fewer than two photos show a face, 2 any error or no verdict as the
    model measures looks, 130 interrupted.
    """  # noqa: D301
    options = CompareOptions(**given)
    _refuse_contradictions(options)
    sys.exit(_answer(_photos(photos, options), options))


def _refuse_contradictions(options: CompareOptions) -> None:
    """Refuse, before the work starts, what cannot be done."""
    if options.as_json and options.form not in (None, "json"):
        raise click.UsageError(f"--json or --format {options.form}: choose one.")
    if options.face and options.whole:
        raise click.UsageError("--face or --whole: choose one.")
    if options.sheet:
        from facesearch.show.sheet import sheet_format

        sheet_format(Path(options.sheet))


def _photos(named: tuple[str, ...], options: CompareOptions) -> list[str]:
    photos = options.photos(named)
    if len(photos) < 2 and not (options.files_from or options.files0_from):
        raise click.UsageError("Name at least two photos, or --files-from a list of them.")
    return photos


def _answer(photos: list[str], options: CompareOptions) -> int:
    """Compare, write and draw; return the exit status."""
    from facesearch.compare import compare

    quiet = options.quiet
    model = _model(options)
    with Progress(quiet=quiet or len(photos) < MANY) as progress:
        progress.start(len(photos))
        comparison = compare(
            photos,
            model,
            metric=options.metric,
            face=options.face or "largest",
            whole=options.whole,
            rotations=options.rotations,
            on_photo=progress.photo,
        )
    gives_verdict = model.card.identity or comparison.calibration is not None
    if gives_verdict and not quiet:
        say_what_is_measured(model.card, whole=options.whole)
    _say(comparison, options)
    _write(comparison, model.name, options)
    if options.sheet and comparison.pair_count:
        from facesearch.cli.output.comparison import write_sheet

        write_sheet(comparison, model.name, options.sheet)
    status = _status(comparison)
    if status == 0 and not gives_verdict:
        raise ModelError(f"{model.name} {NO_VERDICT}", USE_SFACE)
    return status


def _model(options: CompareOptions) -> Model:
    from facesearch.model import Model
    from facesearch.models.store import ModelStore, silent

    def notify(message: str) -> None:
        click.echo(message, err=True)

    name = options.model or default_model()
    return Model(name, ModelStore(), options.make_runtime(), silent if options.quiet else notify)


def _say(comparison: Comparison, options: CompareOptions) -> None:
    """Say on stderr what was looked at, what gave no face, and whether too little is left."""
    quiet, found = options.quiet, comparison.references
    if options.verbose and not quiet:
        for one in found:
            box = one.box
            where = f"at {box.x},{box.y} of {box.width}x{box.height} pixels"
            click.echo(f"{escaped(one.path)}: face {one.face} compared, {where}", err=True)
    for _, error in comparison.problems:
        click.echo(f"facesearch: {escaped(error.message)} {error.hint}".rstrip(), err=True)
    if not quiet and len(found) < 2:
        click.echo(f"A comparison takes two faces, and {len(found) or 'none'} was found.", err=True)


def _write(comparison: Comparison, model: str, options: CompareOptions) -> None:
    form = "json" if options.as_json else options.form or "text"
    if form == "json":
        write_json(json_fields(comparison, model))
        return
    for piece in as_csv(comparison) if form == "csv" else as_text(comparison, model):
        write(piece)


def _status(comparison: Comparison) -> int:
    from facesearch.errors import NoFace

    if any(not isinstance(error, NoFace) for _, error in comparison.problems):
        return 2
    return 0 if comparison.pair_count else 1
