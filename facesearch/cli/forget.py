"""`facesearch forget`."""

from __future__ import annotations

import sys

import click

from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.text import counted, escaped


@click.command("forget", short_help="Remove photos from an index for good.")
@click.argument("paths", nargs=-1, required=True, type=AnyPath(), metavar="PATH...")
@index_option
@model_option
@quiet_option
def command(
    paths: tuple[str, ...], index_file: str | None, model: str | None, quiet: bool, verbose: bool
) -> None:
    """Remove photos, or all photos below folders, from an index for good; the files stay.

    The index is rewritten without their faces and paths, and small pictures of them leave your cache folder.
    Only digests of their contents are kept, so that neither they nor their copies are taken in again, until
    `facesearch index --again`.

    \b
    Examples:
      facesearch forget ~/Pictures/private
      facesearch forget old.jpg --index family.npz

    Exit status: 0 done, 1 when the index holds none of them, 2 any error.
    """  # noqa: D301
    removed = open_library(index_file, model).forget(paths)
    if verbose:
        for path in removed:
            click.echo(escaped(path), err=True)
    if not quiet:
        said = f"{counted(len(removed), 'photo')} forgotten" if removed else "The index holds none of them."
        click.echo(said, err=True)
    sys.exit(0 if removed else 1)
