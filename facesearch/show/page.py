"""Pages of HTML: where their templates are filled in, with everything that comes from files as mere text."""

from __future__ import annotations

import base64
import os
from functools import cache
from pathlib import Path, PurePath
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from facesearch.photos.urls import is_url
from facesearch.show.files import put
from facesearch.show.naming import escaped

TEMPLATES = Path(__file__).parent / "templates"
# Of every page: no script, and nothing that lies elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@cache
def environment(folder: Path = TEMPLATES) -> Environment:
    """Give what fills in the templates of a folder.

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
    put(destination, lambda file: file.write(page.encode("utf-8")))


def data_uri(data: bytes, kind: str = "image/jpeg") -> Markup:
    """Give bytes as an address that holds them, for a page that stands alone.

    Args:
        data: The bytes.
        kind: Their media type.
    """
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


def file_uri(path: str) -> Markup:
    """Give the address of a file, percent-encoded; bytes that are not UTF-8 are kept."""
    # An index may be a stranger's, and hold a path that is not absolute.
    if is_url(path):
        return Markup.escape(quote(path, safe="/:"))
    return Markup.escape(PurePath(os.path.abspath(path)).as_uri())


def _as_text(value: object) -> object:
    """Take control characters and lone surrogates out of what is written into a template."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value
