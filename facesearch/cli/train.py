"""`facesearch train`."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import cloup
from cloup import option_group

from facesearch.cli.options import AnyPath, Verbosity, json_option, quiet_option
from facesearch.cli.output.text import Progress, counted, escaped, write, write_json

if TYPE_CHECKING:
    from facesearch.siamese.config import TrainingConfig
    from facesearch.siamese.run import TrainingState
    from facesearch.siamese.training import TrainingResult

LOSSES = ("contrastive", "logistic", "supcon", "triplet")


SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


def _finite(_context: click.Context, _option: click.Parameter, number: float | None) -> float | None:
    """Refuse "nan" and "inf"."""
    if number is not None and not math.isfinite(number):
        raise click.BadParameter(f"'{number}' is not a finite number.")
    return number


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Verbosity):
    """The options of `facesearch train`, by click's names; None leaves the choice to the kind of network."""

    name: str
    base: str
    unfreeze: int
    single: bool
    whole: bool
    warps: int | None
    loss: Literal["contrastive", "logistic", "supcon", "triplet"] | None
    margin: float | None
    rate: float | None
    epochs: int | None
    batch: int | None
    patience: int | None
    validation: float
    test: float
    seed: int
    device: Literal["auto", "cpu", "gpu"]
    run_folder: str | None
    resume: bool
    force: bool
    as_json: bool

    def config(self, folder: str) -> TrainingConfig:
        """Return what is asked of the training; the other options say where and how it runs."""
        from facesearch.siamese.config import TrainingConfig

        names = {field.name for field in fields(TrainingConfig)} - {"folder"}
        return TrainingConfig(os.path.abspath(folder), **{name: getattr(self, name) for name in names})


@cloup.command("train", short_help="Train a Siamese network on your own people.")
@cloup.argument("folder", type=AnyPath(), metavar="DIR")
@option_group(
    "What to train",
    click.option("--name", required=True, help="The model's name, for --model."),
    click.option(
        "--base",
        default="resnet50",
        show_default=True,
        metavar="NAME",
        help="A model whose vectors a head is trained on; or cnn, a small network from scratch.",
    ),
    click.option(
        "--unfreeze",
        type=click.IntRange(0, 13),
        default=0,
        metavar="N",
        help="With resnet50: also train the last N blocks before the head; takes minutes per epoch.",
    ),
)
@option_group(
    "The photos",
    click.option("--one-image-per-person", "single", is_flag=True, help="Each photo is a person of its own."),
    click.option("--whole", is_flag=True, help="Each photo is nothing but the face."),
    click.option(
        "--warps",
        type=click.IntRange(0, 64),
        help="Warped views of each photo with --one-image-per-person; otherwise, for cnn and --unfreeze, "
        "0 trains on the photos unchanged.  [default: 8]",
    ),
    click.option(
        "--validation",
        type=SHARE,
        callback=_finite,
        default=0.2,
        show_default=True,
        help="Share of the people outside the test who decide when training stops.",
    ),
    click.option(
        "--test",
        type=SHARE,
        callback=_finite,
        default=0.25,
        show_default=True,
        help="Share of the people who are held out for the test.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, (1 << 31) - 1),
        default=0,
        show_default=True,
        help="The seed of the split and of all random draws.",
    ),
)
@option_group(
    "How to train",
    click.option(
        "--loss",
        type=click.Choice(LOSSES),
        help="The loss that draws photos of one person together.  [default: supcon for cnn, "
        "else contrastive]",
    ),
    click.option(
        "--margin", type=float, callback=_finite, help="The loss's margin; for supcon, the temperature."
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0, 1, min_open=True),
        callback=_finite,
        help="The initial learning rate.",
    ),
    click.option("--epochs", type=click.IntRange(1), help="The largest number of epochs."),
    click.option("--batch", type=click.IntRange(8), help="Faces in a batch."),
    click.option(
        "--patience",
        type=click.IntRange(1),
        help="Stop after this many epochs without a better validation loss.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "gpu"]),
        default="auto",
        show_default=True,
        help="Where TensorFlow trains.",
    ),
)
@option_group(
    "The run",
    click.option(
        "--run", "run_folder", metavar="DIR", type=AnyPath(), help="The run's folder.  [default: by the name]"
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted run."),
    click.option("--force", is_flag=True, help="Replace a model of this name."),
)
@option_group("Output", json_option, quiet_option)
def command(folder: str, **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Train a Siamese network that tells your own people apart, as a model for --model.

    DIR holds a folder for each person. The people are divided into three parts: the network is trained on
    the first; the second decides when training stops, and sets the threshold and the probabilities; the third
    is used once, for the test at the end. Both faces of a pair go through the same network, and the result is
    a dissimilarity from 0 to 4. Ctrl-C ends the training and keeps the best network so far.

    \b
    Examples:
      facesearch train ~/people --name family
      facesearch train orl --name att --base resnet50
      facesearch train utkface --name utk --base cnn --one-image-per-person --whole
      facesearch compare a.jpg b.jpg --model family

    Exit status: 0 done, 2 any error, 130 interrupted before the training.
    """  # noqa: D301
    from facesearch.cli.output.training import as_dict, as_page
    from facesearch.models.store import ModelStore, silent
    from facesearch.siamese.features import Listener
    from facesearch.siamese.run import Run
    from facesearch.siamese.training import default_run, train

    options = TrainOptions(**given)
    quiet = options.quiet
    config = options.config(folder)
    run = Run(Path(options.run_folder) if options.run_folder else default_run(config.name))
    with Progress(quiet=quiet) as progress:
        result = train(
            config,
            run,
            store=ModelStore(),
            resume=options.resume,
            force=options.force,
            device=options.device,
            listener=Listener(silent if quiet else _say, progress.start, progress.photo),
            on_epoch=_say_nothing if quiet else _say_epoch,
        )
    run.write_report(as_dict(config, result), as_page(config, result))
    _report(config, result, options)
    sys.exit(0)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _say_nothing(state: TrainingState) -> None:
    """Say nothing."""


def _say_epoch(state: TrainingState) -> None:
    epoch = state.history[-1]
    best = "  best so far" if state.best_epoch is epoch else ""
    learned = (
        "before training       " if epoch.loss is None else f"epoch {epoch.number:3}  loss {epoch.loss:.4f}"
    )
    click.echo(
        f"{learned}  validation {100 * epoch.accuracy:.1f} %  "
        f"AUC {epoch.auc:.4f}  {epoch.seconds:.1f} s{best}",
        err=True,
    )


def _report(config: TrainingConfig, result: TrainingResult, options: TrainOptions) -> None:
    from facesearch.cli.output.training import as_dict, as_table

    if not options.quiet:
        for remark in result.remarks:
            click.echo(f"Note: {escaped(remark)}", err=True)
        shown = result.unreadable if options.verbose else result.unreadable[:10]
        for path in shown:
            click.echo(f"{escaped(path)}: It cannot be read.", err=True)
        if result.whole:
            click.echo(f"{counted(result.whole, 'photo')} without a found face taken whole", err=True)
    if options.as_json:
        write_json(as_dict(config, result))
    else:
        write(as_table(result))
