"""`facesearch evaluate`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.cli import INTERRUPTED
from facesearch.cli.options import (
    AnyPath,
    RuntimeOptions,
    Verbosity,
    asked,
    complete_model,
    default_model,
    json_option,
    machine_options,
    metric_option,
    quiet_option,
)
from facesearch.cli.output.text import Progress, escaped, json_text, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.evaluate.dataset import Dataset
    from facesearch.evaluate.evaluation import Evaluation
    from facesearch.model import Model
    from facesearch.ranking import Ranking

REPORT, PAGE = "report.json", "report.html"
NO_ACCURACY = (
    "There is no accuracy: the threshold for each fold is chosen on the other folds, which hold too little. "
    "Three people with two photos or more of each are enough."
)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Verbosity, RuntimeOptions):
    """The options of `facesearch evaluate`, by click's names; None is an option that was not given."""

    pairs: str | None
    models: tuple[str, ...]
    metric: Ranking | None
    out: str | None
    calibrate: bool
    as_json: bool


@cloup.command("evaluate", short_help="Measure models on photos of known people.")
@cloup.argument("folder", required=False, type=AnyPath(), metavar="[DIR]")
@option_group(
    "What to measure",
    click.option(
        "--pairs",
        metavar="FILE",
        type=AnyPath(),
        help="Compare these pairs, in the format of LFW's pairs.txt.",
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_model,
        help="A model; may be repeated.  [env: FACESEARCH_MODEL; default: resnet50]",
    ),
    metric_option("cosine", "euclidean", "centred"),
)
@option_group(
    "Output",
    click.option(
        "--out",
        metavar="DIR",
        type=AnyPath(),
        help="Write plots, the worst mistakes, report.json, and report.html with all of them.",
    ),
    click.option(
        "--calibrate",
        is_flag=True,
        help="Store the threshold and the probabilities of these photos in the model's card.",
    ),
    json_option,
    quiet_option,
)
@machine_options
def command(folder: str | None, **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Measure how well models tell people apart, on photos whose people are known.

    DIR holds one folder per person; where a photo shows several faces, the largest one counts (with --pairs
    the most central one). All photos are compared with all others: for each tenth of the people,
    the threshold is the best one for the other nine tenths; pairs of one person and pairs of strangers have
    the same weight; a photo without a detected face makes its pairs wrong. With --pairs, the pairs of a file
    are compared by the protocol of Labeled Faces in the Wild; DIR may be left out if the photos are beside
    the file. Each photo is also searched for among all the others. The range in brackets holds 95 % of the
    figures to expect with other people like these.

    The vectors are kept in your cache folder, so that a second run takes seconds.

    \b
    Examples:
      facesearch evaluate ~/people --model sface --model resnet50 --out report
      facesearch evaluate lfw --pairs pairs.txt --model sface --json
      facesearch evaluate ~/people --model sface --calibrate

    Exit status: 0 done, 1 when no face was found, 2 any error, 130 interrupted.
    """  # noqa: D301
    options = EvaluateOptions(**given)
    if folder is None and options.pairs is None:
        raise click.UsageError("Name a folder of people, or --pairs FILE.")
    names = options.models or (default_model(),)
    dataset = _read(folder, options.pairs)
    if options.out:
        _make_folder(options.out)
    _say_remarks(dataset.remarks, quiet=options.quiet)
    evaluations, status = _measure(dataset, tuple(dict.fromkeys(names)), options)
    if evaluations:
        _write(dataset, evaluations, options)
    sys.exit(max(status, 2 if dataset.missing else 0))


def _read(folder: str | None, pairs: str | None) -> Dataset:
    from facesearch.evaluate.dataset import read_pairs, read_people

    below = os.path.abspath(folder) if folder is not None else None
    if pairs is not None:
        return read_pairs(pairs, below)
    return read_people(below or os.curdir)


def _say_remarks(remarks: Sequence[str], *, quiet: bool) -> None:
    if not quiet:
        for remark in remarks:
            click.echo(f"Note: {escaped(remark)}", err=True)


def _measure(
    dataset: Dataset, names: Sequence[str], options: EvaluateOptions
) -> tuple[list[Evaluation], int]:
    """Measure each model; neither an error nor Ctrl-C loses the figures of those that are done."""
    from facesearch.errors import FacesearchError, NoFaceFound
    from facesearch.model import Model
    from facesearch.models.store import ModelStore, silent

    store, runtime = ModelStore(), options.make_runtime()
    notify = silent if options.quiet else _say
    evaluations: list[Evaluation] = []
    status = 0
    for name in names:
        model = Model(name, store, runtime, notify)
        try:
            evaluations.append(_measured(dataset, model, options))
            if options.calibrate:
                _calibrate(dataset, model, evaluations[-1], quiet=options.quiet)
        except FacesearchError as error:
            for line in f"facesearch: {escaped(name)}: {error}".split("\n"):
                click.echo(escaped(line), err=True)
            status = max(status, 1 if isinstance(error, NoFaceFound) else 2)
        except KeyboardInterrupt:
            if not evaluations:
                raise
            click.echo("Interrupted.", err=True)
            return evaluations, INTERRUPTED
    return evaluations, status


def _measured(dataset: Dataset, model: Model, options: EvaluateOptions) -> Evaluation:
    from facesearch.evaluate.evaluation import evaluate

    quiet = options.quiet
    with Progress(quiet=quiet) as progress:
        found = evaluate(
            dataset,
            model,
            options.metric,
            on_plan=lambda plan: progress.start(len(plan.new)),
            on_photo=progress.photo,
        )
    _say_remarks(found.faces.remarks, quiet=quiet)
    if found.faces.unreadable:
        count, first = len(found.faces.unreadable), found.faces.unreadable[0]
        remark = f"Photos that cannot be read and count as missed: {count:,}, the first {first!r}."
        _say_remarks([remark], quiet=quiet)
    if found.verification.accuracy is None:
        _say_remarks([NO_ACCURACY], quiet=quiet)
    return found


def _calibrate(dataset: Dataset, model: Model, found: Evaluation, *, quiet: bool) -> None:
    from facesearch.evaluate.evaluation import calibrations, library_scale

    fitted = calibrations(dataset, found.faces)
    model.store.calibrate(model.name, fitted, library_scale(dataset, found.faces, fitted["cosine"]))
    if not quiet:
        click.echo(
            f"The card of {model.name} holds the threshold and probabilities of these photos now.", err=True
        )


def _say(message: str) -> None:
    click.echo(message, err=True)


def _write(dataset: Dataset, evaluations: Sequence[Evaluation], options: EvaluateOptions) -> None:
    """Write the files first: neither a closed pipe nor a full disk behind stdout is to cost them."""
    from facesearch.cli.output.evaluation import as_dict, as_table

    figures = as_dict(dataset, evaluations)
    try:
        if options.out:
            names = _write_files(dataset, evaluations, figures, options.out)
            if not options.quiet:
                click.echo(f"In {escaped(options.out)}: {', '.join(names)}", err=True)
    finally:
        write(json_text(figures) if options.as_json else as_table(dataset, evaluations))


def _make_folder(folder: str) -> None:
    """Make the folder before the work starts, so that an error does not come after it."""
    from facesearch.files import storage_error

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def _write_files(
    dataset: Dataset, evaluations: Sequence[Evaluation], figures: dict[str, Any], folder: str
) -> list[str]:
    from facesearch.cli.output.evaluation import as_page
    from facesearch.evaluate.plots import draw_all
    from facesearch.files import storage_error
    from facesearch.show.page import write_page

    remarks = figures["dataset"]["remarks"]
    if any(one.verification.accuracy is None for one in evaluations):
        remarks = [*remarks, NO_ACCURACY]
    try:
        with open(os.path.join(folder, REPORT), "w", encoding="utf-8") as file:
            file.write(json_text(figures))
        names = draw_all(dataset, evaluations, folder)
        pictures = [Path(folder, name) for name in names]
        page = as_page(dataset, evaluations, pictures, remarks, asked(click.get_current_context()))
    except OSError as error:
        raise storage_error(folder, error) from error
    write_page(page, Path(folder, PAGE))
    return [*names, REPORT, PAGE]
