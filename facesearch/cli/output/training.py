"""The report of a training: as a table for people, as an object for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facesearch.answer_json import with_path_bytes
from facesearch.cli.output.text import counted, escaped
from facesearch.show.page import Table, read_plot, report_page
from facesearch.siamese.config import TrainingConfig
from facesearch.siamese.figures import Figures
from facesearch.siamese.run import CONFIG, CURVES
from facesearch.siamese.training import TrainingResult

COLUMNS = ("accuracy", "AUC", "EER", "rank-1")


def as_dict(config: TrainingConfig, result: TrainingResult) -> dict[str, Any]:
    """Return the figures; of the trained model first of all its accuracy on held-out people, a fraction."""
    trained = result.figures[0]
    return {
        "accuracy": trained.verification.accuracy,
        "accuracy_at_threshold": result.at_threshold,
        "threshold": result.card.calibration["euclidean"].threshold,
        "model": result.card.name,
        "base": config.base,
        "loss": result.loss,
        "seed": config.seed,
        "people": {
            "train": len(result.split.train),
            "validation": len(result.split.validation),
            "test": len(result.split.test),
        },
        "photos": result.photos,
        "taken_whole": result.whole,
        "unreadable": [with_path_bytes({"path": path}) for path in result.unreadable],
        "epochs": result.epochs,
        "best_epoch": result.best,
        "test": {figures.name: _figures(figures) for figures in result.figures},
        "start": None if result.projection is None else _figures(result.projection),
        "run": result.run,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    verification, retrieval = figures.verification, figures.retrieval
    return {
        "accuracy": verification.accuracy,
        "accuracy_interval": figures.intervals.accuracy,
        "auc": verification.figures.auc,
        "eer": verification.figures.eer,
        "rank1": None if retrieval is None else retrieval.rank1,
    }


def as_table(result: TrainingResult) -> str:
    """Return the figures on held-out people beside those of what training has to beat; say whether it did."""
    heading, *others = sentences(result)
    lines = [
        heading,
        "",
        _line("", *COLUMNS),
        *(_line(*cells(figures)) for figures in shown_figures(result)),
        "",
        *others,
    ]
    return "\n".join(lines) + "\n"


def shown_figures(result: TrainingResult) -> list[Figures]:
    """Return the rows of the table: the trained network, its projection alone, then the baselines."""
    trained, *others = result.figures
    return [trained, *([] if result.projection is None else [result.projection]), *others]


def sentences(result: TrainingResult) -> list[str]:
    """Return what is said above the table, and what below it."""
    split, trained = result.split, result.figures[0]
    pairs = trained.verification.same + trained.verification.different
    return [
        f"{len(split.test)} people who were held out, {pairs:,} pairs, both kinds weighing the same",
        f"With the threshold of the {len(split.validation)} validation people, "
        f"{result.card.calibration['euclidean'].threshold:.3f}, {100 * result.at_threshold:.1f} % are right.",
        _verdict(result),
        f"The model is ready: use it with --model {result.card.name}. The run lies in {escaped(result.run)}.",
    ]


def cells(figures: Figures) -> tuple[str, ...]:
    """Return a row of the table: whose figures, and the figures."""
    one, retrieval = figures.verification, figures.retrieval
    spread = figures.intervals.accuracy
    accuracy = "-" if one.accuracy is None else f"{100 * one.accuracy:.1f} %"
    if spread:
        accuracy += f" ({100 * spread[0]:.1f} to {100 * spread[1]:.1f})"
    auc = "-" if one.figures.auc is None else f"{one.figures.auc:.4f}"
    eer = "-" if one.figures.eer is None else f"{100 * one.figures.eer:.1f} %"
    rank1 = "-" if retrieval is None else f"{100 * retrieval.rank1:.1f} %"
    return figures.name, accuracy, auc, eer, rank1


def _line(name: str, accuracy: str, auc: str, eer: str, rank1: str) -> str:
    return f"{name[:24]:26}{accuracy:26}{auc:8}{eer:8}{rank1}"


def _verdict(result: TrainingResult) -> str:
    known = [one for figures in result.figures if (one := figures.verification.accuracy) is not None]
    if len(known) < 2:
        return "The people who were held out are too few for an accuracy: three are enough."
    trained, best = known[0], max(known[1:])
    if trained > best:
        return f"Training helped: {100 * (trained - best):.1f} points more than the best of the others."
    return (
        f"Training did not help: {100 * (best - trained):.1f} points less than the best of the others. "
        "Bring more people, or more photos of each."
    )


def as_page(config: TrainingConfig, result: TrainingResult) -> str:
    """Return the figures on held-out people, the curves and what was asked as HTML.

    Raises:
        OSError: The run's own files cannot be read.
    """
    run, split = Path(result.run), result.split
    parts = (split.train, split.validation, split.test)
    facts = [
        ("People", "{:,} to learn from, {:,} to stop in time, {:,} held out".format(*map(len, parts))),
        ("Photos", f"{result.photos:,}"),
        ("Epochs", f"{result.epochs:,}, of which number {result.best:,} is kept"),
        *([("Taken whole", counted(result.whole, "photo"))] if result.whole else []),
        *([("Unreadable", counted(len(result.unreadable), "photo"))] if result.unreadable else []),
    ]
    heading, *others = sentences(result)
    table = Table(
        f"{heading}. In brackets: where 95 % of the figures for other people like these are to be expected.",
        COLUMNS,
        [cells(figures) for figures in shown_figures(result)],
    )
    curves = read_plot(
        run / CURVES, "The loss, and accuracy and AUC on the validation people, epoch by epoch."
    )
    return report_page(
        f"Training of {result.card.name}",
        table,
        [curves],
        facts=facts,
        remarks=[*others, *result.remarks],
        settings=_settings(config, run),
    )


def _settings(config: TrainingConfig, run: Path) -> list[tuple[str, str]]:
    """Return what was asked, the defaults too, as the run holds it."""
    held = json.loads((run / CONFIG).read_bytes())
    kept = {key: value for key, value in held.items() if key != "format" and value not in (None, "")}
    return [
        (key.replace("_", " "), {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
        for key, value in {"folder": config.folder, **kept}.items()
    ]
