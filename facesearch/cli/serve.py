"""`facesearch serve`."""

from __future__ import annotations

import html
import os
import tempfile
import threading
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.cli.options import (
    AnyPath,
    RuntimeOptions,
    Verbosity,
    complete_index,
    machine_options,
    model_option,
    open_library,
    quiet_option,
)

if TYPE_CHECKING:
    from facesearch.library import Library


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Verbosity, RuntimeOptions):
    """The options of `facesearch serve`, by click's names."""

    index_files: tuple[str, ...]
    model: str | None
    port: int
    opens: bool
    host: str
    names: tuple[str, ...]
    base_url: str
    token_file: Path | None


@cloup.command("serve", short_help="Look at an index in a browser.")
@option_group(
    "What to serve",
    click.option(
        "--index",
        "index_files",
        metavar="FILE",
        multiple=True,
        type=AnyPath(),
        shell_complete=complete_index,
        help="An index file or URL; may be repeated.  [env: FACESEARCH_INDEX; default: the model's own]",
    ),
    model_option,
)
@option_group(
    "The page",
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8765,
        show_default=True,
        help="The port; 0 chooses a free one.",
    ),
    click.option("--open", "opens", is_flag=True, help="Open the page in your browser."),
)
@option_group(
    "Other machines and proxies",
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        metavar="ADDRESS",
        help="The address of this machine to listen on; 0.0.0.0 is all of them. Needs --token-file.",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Keep the secret part of the address in a file, which is made if it does not exist.",
    ),
    click.option(
        "--base-url",
        metavar="URL",
        default="",
        help="The address that a proxy gives it, such as https://photos.example.org/faces/.",
    ),
    click.option(
        "--allow-host",
        "names",
        metavar="NAME",
        multiple=True,
        help="Another name that leads here, such as a container's; may be repeated.",
    ),
)
@option_group("Output", quiet_option)
@machine_options
def command(**given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Serve a page on this machine: drop a photo on it, click a face, see the matches; name people.

    The address is written to stdout. It carries a token, without which nothing is answered, since all users
    of a machine share its loopback address; keep it to yourself. With --token-file the token stays in the
    file. Photos dropped on the page stay in memory. Ctrl-C ends the server.

    Scripts can use the JSON API under that address, or `facesearch query --server ADDRESS`, which answers
    without loading a model.

    \b
    Examples:
      facesearch serve --model sface --open
      facesearch serve --index family.npz --index archive.npz --port 0
      facesearch serve --base-url https://photos.example.org/faces/ --token-file faces.token

    Exit status: 0 ended, 2 any error.
    """  # noqa: D301
    _need_extra()
    from facesearch.show.thumbnails import Thumbnails
    from facesearch.web.server import Place, serve
    from facesearch.web.state import ServedLibrary

    options = ServeOptions(**given)
    place = Place(
        host=options.host,
        port=options.port,
        names=options.names,
        base_url=options.base_url,
        token_file=options.token_file,
    )
    place.check()
    thumbnails = Thumbnails()
    libraries = [ServedLibrary(library, thumbnails) for library in _libraries(options)]
    for served in libraries:
        served.warm_up()

    pages: list[Path] = []

    def ready(address: str, token: str) -> None:
        whole = f"{address}{token}/"
        click.echo(whole if options.token_file is None else address)
        if options.token_file is not None and not options.quiet:
            click.echo(f"The address goes on with what {options.token_file} holds.", err=True)
        if not options.quiet:
            click.echo("Ctrl-C ends it.", err=True)
        if options.opens:
            pages.append(open_in_browser(whole))

    try:
        serve(libraries, place, ready)
    finally:
        for page in pages:
            page.unlink(missing_ok=True)


def _libraries(options: ServeOptions) -> list[Library]:
    from facesearch.index.backend import is_server

    runtime = options.make_runtime()
    names = (file if is_server(file) else os.path.realpath(file) for file in options.index_files)
    files: list[str | None] = list(dict.fromkeys(names))
    return [
        open_library(file, options.model, quiet=options.quiet, runtime=runtime) for file in files or [None]
    ]


def _need_extra() -> None:
    from facesearch.errors import FacesearchError

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise FacesearchError(
            f"`serve` needs {' and '.join(missing)}, which are not installed.",
            "In a checkout of facesearch, run: pip install '.[web]'",
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
