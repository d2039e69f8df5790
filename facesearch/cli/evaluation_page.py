"""An evaluation as a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facesearch.cli.evaluation import table_rows
from facesearch.cli.text import counted, what_is_measured
from facesearch.evaluate.dataset import Dataset
from facesearch.evaluate.evaluation import Evaluation
from facesearch.show.report import Plot, Table, read_plot, report_page

_WORDS = {
    "roc.png": "How many photos of one person are recognised, by how many of two people are confused (ROC).",
    "distances.png": "How the distances of photos of one person and of two people lie, and the threshold.",
    "cmc.png": "How often a photo of the right person is among the nearest (CMC).",
    "reliability.png": "How often pairs of about one probability are one person's.",
}
_MISTAKES = "The strangers that lie nearest, and the pairs of one person that lie farthest: {}"


def as_page(
    dataset: Dataset,
    evaluations: Sequence[Evaluation],
    pictures: Sequence[Path],
    remarks: Sequence[str],
    settings: Sequence[tuple[str, str]],
) -> str:
    """Give all figures and pictures as HTML.

    Args:
        dataset: What was measured on.
        evaluations: One or more models on it.
        pictures: PNGs of them.
        remarks: What is said of them besides.
        settings: What was asked: names and values.

    Raises:
        OSError: A picture cannot be read.
    """
    models = [one.card.name for one in evaluations]
    same = int(dataset.trials.same.sum())
    facts = [
        ("Photos", f"{len(dataset.paths):,} of {len(dataset.names):,} people"),
        ("Pairs", f"{same:,} of one person, {len(dataset.trials.same) - same:,} of two"),
        ("Protocol", dataset.protocol),
        ("Folder", dataset.folder),
        *([("Missing", counted(len(dataset.missing), "photo"))] if dataset.missing else []),
    ]
    said = [remark for one in evaluations for remark in what_is_measured(one.card, whole=False)]
    table = Table(
        "In brackets: where 95 % of the figures for other people like these are to be expected.",
        models,
        table_rows(evaluations),
    )
    return report_page(
        f"{' and '.join(models)} on {os.path.basename(dataset.folder) or dataset.folder}",
        table,
        [_plot(path) for path in pictures],
        facts=facts,
        remarks=list(dict.fromkeys([*remarks, *said])),
        settings=settings,
    )


def _plot(path: Path) -> Plot:
    return read_plot(path, _WORDS.get(path.name) or _MISTAKES.format(path.stem.removeprefix("mistakes-")))
