"""The page of a measurement: its figures, its pictures, what was measured and how it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from facesearch.show.page import data_uri, render


@dataclass(frozen=True, slots=True)
class Table:
    """Figures in rows.

    Attributes:
        caption: What they are of.
        columns: The headings of the figures.
        rows: A label and its figures each; a label alone is the heading of the rows below it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture with a sentence that says what it shows."""

    address: Markup
    words: str


def read_plot(path: Path, words: str) -> Plot:
    """Take a PNG into a page.

    Raises:
        OSError: It cannot be read.
    """
    return Plot(data_uri(path.read_bytes(), "image/png"), words)


def report_page(
    title: str,
    table: Table,
    plots: Sequence[Plot],
    *,
    facts: Sequence[tuple[str, str]],
    remarks: Sequence[str],
    settings: Sequence[tuple[str, str]],
) -> str:
    """Draw a measurement as one page that stands alone: no script, and nothing loaded from elsewhere.

    Args:
        title: What was done.
        table: The figures.
        plots: The pictures, most important first.
        facts: What was measured on: names and values.
        remarks: Sentences that have to be known.
        settings: What was asked: names and values.
    """
    return render(
        "report.html",
        title=title,
        table=table,
        plots=plots,
        facts=facts,
        remarks=remarks,
        settings=settings,
    )
