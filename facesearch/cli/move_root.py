"""`facesearch move-root`."""

from __future__ import annotations

import os

import click

from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.output.text import counted, escaped


@click.command("move-root", short_help="Update an index after its photos were moved.")
@click.argument("old", type=AnyPath())
@click.argument("new", type=AnyPath())
@index_option
@model_option
@quiet_option
def command(
    old: str, new: str, index_file: str | None, model: str | None, quiet: bool, verbose: bool
) -> None:
    """Update an index after its photos were moved from OLD to NEW; no face is embedded again.

    \b
    Examples:
      facesearch move-root /media/old-disk/photos /media/new-disk/photos

    Exit status: 0 done, 2 when the index holds nothing below OLD or any error.
    """  # noqa: D301
    library = open_library(index_file, model)
    count = library.move_root(old, new)
    if verbose and not quiet:
        click.echo(f"index {escaped(library.backend.name)}", err=True)
    if not quiet:
        where = escaped(os.path.abspath(new))
        click.echo(f"{counted(count, 'photo')} {'lies' if count == 1 else 'lie'} below {where} now", err=True)
