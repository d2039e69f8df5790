"""An evaluation in words: as a table for people, as an object for scripts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facesearch.answer_json import with_path_bytes
from facesearch.cli.output.text import counted, escaped, what_is_measured
from facesearch.evaluate.dataset import Dataset
from facesearch.evaluate.evaluation import Evaluation
from facesearch.evaluate.resampling import Interval, Intervals
from facesearch.evaluate.verification import FALSE_ACCEPT_RATES, Retrieval, Roc
from facesearch.show.page import Plot, Table, read_plot, report_page

TOO_FEW = "too few pairs"
NONE = "-"


def as_dict(dataset: Dataset, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return all figures; of each model first of all its accuracy, a fraction."""
    trials = dataset.trials
    same = int(trials.same.sum())
    about = {
        "folder": dataset.folder,
        "protocol": dataset.protocol,
        "photos": len(dataset.paths),
        "people": len(dataset.names),
        "same_pairs": same,
        "different_pairs": len(trials.same) - same,
        "remarks": [*dataset.remarks, *(evaluations[0].faces.remarks if evaluations else ())],
        "missing": _paths(dataset.missing),
    }
    return {
        "dataset": with_path_bytes(about, "folder"),
        "models": {one.card.name: _model(one) for one in evaluations},
    }


def _model(one: Evaluation) -> dict[str, Any]:
    verification, retrieval = one.verification, one.retrieval
    found = retrieval.found if retrieval is not None else None
    calibration = one.card.calibration.get(one.metric)
    return {
        "accuracy": verification.accuracy,
        **_roc(verification.figures),
        **_retrieval(retrieval),
        "without_missed_faces": {
            "accuracy": verification.accuracy_found,
            **_roc(verification.figures_found),
            **_retrieval(found),
        },
        "intervals": _intervals(one.intervals),
        "folds": list(verification.folds),
        "cmc": list(retrieval.cmc) if retrieval is not None else None,
        "queries": retrieval.queries if retrieval is not None else 0,
        "metric": one.metric,
        "identity": one.card.identity,
        "threshold": verification.threshold,
        "threshold_of_card": calibration.threshold if calibration is not None else None,
        "calibration_error": {"other_folds": verification.ece, "card": verification.ece_card},
        "missed_pairs": verification.missed,
        "no_face": one.faces.no_face,
        "unreadable": _paths(one.faces.unreadable),
    }


def _paths(paths: Sequence[str]) -> list[dict[str, Any]]:
    return [with_path_bytes({"path": path}) for path in paths]


def _roc(figures: Roc) -> dict[str, Any]:
    tar = {f"{rate:g}": value for rate, value in figures.tar.items()}
    return {"auc": figures.auc, "eer": figures.eer, "tar_at_far": tar}


def _retrieval(one: Retrieval | None) -> dict[str, Any]:
    if one is None:
        return {"rank1": None, "rank5": None, "map": None}
    return {"rank1": one.rank1, "rank5": one.rank5, "map": one.map}


def _intervals(spread: Intervals) -> dict[str, Any]:
    return {
        "accuracy": spread.accuracy,
        "auc": spread.auc,
        "eer": spread.eer,
        "tar_at_far": {f"{rate:g}": value for rate, value in spread.tar.items()},
        "rank1": spread.rank1,
        "rank5": spread.rank5,
        "map": spread.map,
    }


def as_table(dataset: Dataset, evaluations: Sequence[Evaluation]) -> str:
    """Return the figures in a column for each model; intervals are of 95 % over people."""
    rows = [
        ("", *(one.card.name for one in evaluations)),
        *(row if len(row) == 1 else (f"  {row[0]}", *row[1:]) for row in table_rows(evaluations)),
    ]
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(evaluations) + 1)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) for row in rows]
    people = f"{len(dataset.paths):,} photos of {len(dataset.names):,} people"
    heading = escaped(f"{people} in {os.path.basename(dataset.folder) or dataset.folder}: {dataset.protocol}")
    return "\n".join(line.rstrip() for line in (heading, "", *lines)) + "\n"


def table_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    """Return a label with a cell for each model, or a heading alone, for each row of the table."""
    return [(label, *(cell(one) for one in evaluations)) if cell else (label,) for label, cell in _ROWS]


def _percent(value: float | None, spread: Interval | None = None) -> str:
    """Return a share, with the interval in which it may lie."""
    if value is None:
        return NONE
    text = f"{_rounded(value)} %"
    return f"{text} ({_rounded(spread[0])} to {_rounded(spread[1])})" if spread else text


def _rounded(share: float) -> str:
    """Return per cent with one decimal, or with as many as tell it from 0 and 100."""
    digits = 1
    while digits < 3 and 0 < share < 1 and float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
        digits += 1
    return f"{100 * share:.{digits}f}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _tar_row(rate: float) -> tuple[str, Callable[[Evaluation], str]]:
    def cell(one: Evaluation) -> str:
        value = one.verification.figures.tar[rate]
        return TOO_FEW if value is None else _percent(value, one.intervals.tar[rate])

    return f"TAR at FAR {100 * rate:g} %", cell


def _error(one: Evaluation) -> str:
    card = one.verification.ece_card
    own = "" if card is None else f" (the card's: {card:.4f})"
    return f"{_number(one.verification.ece)}{own}"


def _of_retrieval(of: Callable[[Retrieval], float]) -> Callable[[Evaluation], float | None]:
    return lambda one: None if one.retrieval is None else of(one.retrieval)


def _threshold(one: Evaluation) -> str:
    threshold = one.verification.threshold
    if threshold is None or not math.isfinite(threshold):
        return NONE
    return f"{threshold:.4g} ({one.metric})"


_RANK1, _RANK5 = _of_retrieval(lambda one: one.rank1), _of_retrieval(lambda one: one.rank5)
_MAP = _of_retrieval(lambda one: one.map)

# What stands in each row: a label, and for each model a cell; None for a heading.
_ROWS: tuple[tuple[str, Callable[[Evaluation], str] | None], ...] = (
    ("one person or two?", None),
    ("accuracy", lambda one: _percent(one.verification.accuracy, one.intervals.accuracy)),
    ("missed faces left out", lambda one: _percent(one.verification.accuracy_found)),
    ("ROC AUC", lambda one: _number(one.verification.figures.auc)),
    ("EER", lambda one: _percent(one.verification.figures.eer, one.intervals.eer)),
    *(_tar_row(rate) for rate in FALSE_ACCEPT_RATES),
    ("best threshold", _threshold),
    ("calibration error (ECE)", _error),
    ("finding the person", None),
    ("rank-1", lambda one: _percent(_RANK1(one), one.intervals.rank1)),
    ("rank-5", lambda one: _percent(_RANK5(one), one.intervals.rank5)),
    ("mAP", lambda one: _percent(_MAP(one), one.intervals.map)),
    ("photos", None),
    ("without a face", lambda one: f"{one.faces.no_face:,}"),
    ("unreadable", lambda one: f"{len(one.faces.unreadable):,}"),
)


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
    """Return all figures and pictures as HTML.

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
