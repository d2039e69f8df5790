"""Pages of HTML: how templates are filled in and written, and the page of a measurement.

Every page stands alone, without scripts, and everything in it that comes from files is mere text.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from facesearch.files import write_output
from facesearch.photos.urls import is_photo_url
from facesearch.show.wording import escaped

TEMPLATES = Path(__file__).parent / "templates"
# Of every page that stands alone: no script, and nothing from elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Table:
    """Figures in rows.

    Attributes:
        caption: What the figures are.
        columns: The headings of the figures.
        rows: Each a label and its figures; a label alone is the heading of the rows below it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture and a sentence that says what it shows."""

    address: Markup
    words: str


def report_page(
    title: str,
    table: Table,
    plots: Sequence[Plot],
    *,
    facts: Sequence[tuple[str, str]],
    remarks: Sequence[str],
    settings: Sequence[tuple[str, str]],
) -> str:
    """Return the page of a measurement.

    Args:
        title: What was measured.
        table: The figures.
        plots: The pictures, the most important first.
        facts: What it was measured on: names and values.
        remarks: Sentences that the reader has to know.
        settings: The options of the measurement: names and values.
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


def read_plot(path: Path, words: str) -> Plot:
    """Read a PNG for a page.

    Raises:
        OSError: It cannot be read.
    """
    return Plot(data_uri(path.read_bytes(), "image/png"), words)


@cache
def environment(folder: Path = TEMPLATES) -> Environment:
    """Return the environment of the templates in a folder.

    Every value is escaped for HTML; control characters and bytes that are not UTF-8 become escapes that can
    be read. Only a value that is Markup already is written as it is.
    """
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_as_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["policy"] = POLICY
    return made


def render(template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        template: The name of a file in `templates/`.
        values: The variables of the template.
    """
    return environment().get_template(template).render(values)


def write_page(page: str, destination: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        StorageError: The disk is full, or the folder does not exist or cannot be written.
    """
    write_output(destination, lambda file: file.write(page.encode("utf-8")))


def data_uri(data: bytes, kind: str = "image/jpeg") -> Markup:
    """Return an address that holds the bytes themselves, for a page that stands alone.

    Args:
        data: The bytes.
        kind: Their media type.
    """
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


def file_uri(path: str) -> Markup:
    """Return the address of a file, percent-encoded; bytes that are not UTF-8 are kept."""
    # An index may come from a stranger, and hold a path that is not absolute.
    if is_photo_url(path):
        return Markup.escape(quote(path, safe="/:"))
    return Markup.escape(PurePath(os.path.abspath(path)).as_uri())


def _as_text(value: object) -> object:
    """Escape control characters and lone surrogates in what is written into a template."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value
