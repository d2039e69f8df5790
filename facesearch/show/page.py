"""Pages of HTML: where their templates are filled in, with everything that comes from files as mere text."""

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
from facesearch.photos.urls import is_url
from facesearch.show.wording import escaped

TEMPLATES = Path(__file__).parent / "templates"
# Of every page: no script, and nothing that lies elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@cache
def environment(folder: Path = TEMPLATES) -> Environment:
    """Return what fills in the templates of a folder.

    Whatever is written into one is escaped for HTML, control characters and bytes that are not UTF-8 become
    escapes that can be read; only what is Markup already goes in as it is.
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
        template: A file's name in `templates/`.
        values: What the template speaks of.
    """
    return environment().get_template(template).render(values)


def write_page(page: str, destination: Path) -> None:
    """Write a page beside its place and move it there.

    Raises:
        StorageError: The disk is full, or the folder is not there or cannot be written.
    """
    write_output(destination, lambda file: file.write(page.encode("utf-8")))


def data_uri(data: bytes, kind: str = "image/jpeg") -> Markup:
    """Return bytes as an address that holds them, for a page that stands alone.

    Args:
        data: The bytes.
        kind: Their media type.
    """
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


def file_uri(path: str) -> Markup:
    """Return the address of a file, percent-encoded; bytes that are not UTF-8 are kept."""
    # An index may be a stranger's, and hold a path that is not absolute.
    if is_url(path):
        return Markup.escape(quote(path, safe="/:"))
    return Markup.escape(PurePath(os.path.abspath(path)).as_uri())


def _as_text(value: object) -> object:
    """Take control characters and lone surrogates out of what is written into a template."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


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
