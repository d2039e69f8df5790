"""The report of a training as a page."""

from __future__ import annotations

import json
from pathlib import Path

from facesearch.cli.text import counted
from facesearch.cli.training_report import COLUMNS, cells, sentences, shown_figures
from facesearch.show.report import Table, read_plot, report_page
from facesearch.siamese.run import CONFIG, CURVES
from facesearch.siamese.training import Result
from facesearch.siamese.wish import Wish


def as_page(wish: Wish, result: Result) -> str:
    """Give the figures on held-out people, the curves and what was asked as HTML.

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
        settings=_settings(wish, run),
    )


def _settings(wish: Wish, run: Path) -> list[tuple[str, str]]:
    """Give what was asked, the defaults too, as the run holds it."""
    held = json.loads((run / CONFIG).read_bytes())
    kept = {key: value for key, value in held.items() if key != "format" and value not in (None, "")}
    return [
        (key.replace("_", " "), {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
        for key, value in {"folder": wish.folder, **kept}.items()
    ]
