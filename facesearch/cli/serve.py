"""`facesearch serve`."""

from __future__ import annotations

import html
import os
import tempfile
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facesearch.cli.options import (
    AnyPath,
    make_runtime,
    model_option,
    open_library,
    quiet_option,
    runtime_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from facesearch.library import Library
    from facesearch.model import Runtime


@click.command("serve", short_help="Look at an index in a browser.")
@click.option(
    "--index",
    "index_files",
    metavar="FILE",
    multiple=True,
    type=AnyPath(),
    help="The index file or URL, once for each; by default the model's own.  [env: FACESEARCH_INDEX]",
)
@model_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0: a free one.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in your browser.")
@runtime_options
@quiet_option
def command(index_files: tuple[str, ...], port: int, opens: bool, **options: Any) -> None:  # noqa: ANN401
    """Serve a page on this machine: drop a photo on it, click a face, see the hits; browse and name people.

    The address goes to stdout. It carries a token without which nothing is answered, since all users of a
    machine share its loopback; keep it to yourself. Photos that are dropped stay in memory. Ctrl-C ends it.

    Scripts can ask the JSON API under that address, or `facesearch query --server ADDRESS`, which answers
    without starting a model.

    \b
    Examples:
      facesearch serve --model sface --open
      facesearch serve --index family.npz --index archive.npz --port 0

    Exit status: 0 ended, 2 any error.
    """  # noqa: D301
    _need_extra()
    from facesearch.show.thumbnails import Thumbnails
    from facesearch.web.server import serve
    from facesearch.web.state import Shelf

    runtime, thumbnails = make_runtime(options), Thumbnails()
    shelves = [Shelf(library, thumbnails) for library in _libraries(index_files, options, runtime)]
    for shelf in shelves:
        shelf.warm()

    pages: list[Path] = []

    def ready(address: str) -> None:
        click.echo(address)
        if not options["quiet"]:
            click.echo("Ctrl-C ends it.", err=True)
        if opens:
            pages.append(open_in_browser(address))

    try:
        serve(shelves, port, ready)
    finally:
        for page in pages:
            page.unlink(missing_ok=True)


def _libraries(index_files: tuple[str, ...], options: dict[str, Any], runtime: Runtime) -> list[Library]:
    from facesearch.index.backend import is_url

    names = (file if is_url(file) else os.path.realpath(file) for file in index_files)
    files: list[str | None] = list(dict.fromkeys(names))
    return [
        open_library(file, options["model"], quiet=options["quiet"], runtime=runtime)
        for file in files or [None]
    ]


def _need_extra() -> None:
    from facesearch.errors import FacesearchError

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise FacesearchError(
            f"`serve` needs {' and '.join(missing)}, which are not installed.",
            "Install them: pip install 'facesearch[web]' (in a checkout: pip install '.[web]').",
        )


def open_in_browser(address: str) -> Path:
    """Open an address that holds a secret.

    A browser's command line can be read by all users of a machine: it is given a file that leads there, which
    is the user's alone.

    Returns:
        The file, which is of no use once the address is of none.
    """
    number, name = tempfile.mkstemp(".html", "facesearch-")  # made with mode 0600
    place = html.escape(address, quote=True)
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={place}"><a href="{place}">Go on</a>'
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(page)
    # A browser for terminals comes back only when it is left.
    threading.Thread(target=webbrowser.open, args=[Path(name).as_uri()], daemon=True).start()
    return Path(name)
