"""`facesearch forget`."""

from __future__ import annotations

import sys

import click

from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.output.text import counted, escaped


@click.command("forget", short_help="Remove photos from an index for good.")
@click.argument("paths", nargs=-1, type=AnyPath(), metavar="[PATH...]")
@click.option("--person", metavar="P", help="In place of PATH: all faces of a person, by name or number.")
@index_option
@model_option
@quiet_option
def command(
    paths: tuple[str, ...],
    person: str | None,
    index_file: str | None,
    model: str | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Remove photos, or all photos below folders, from an index for good; the files stay.

    The index is rewritten without their faces and paths, who is in them, and their thumbnails. Only digests
    of their contents are kept, so that neither they nor their copies are taken in again, until
    `facesearch index --again`.

    With --person the faces of one person are removed, with the name and the thumbnails of their photos; the
    photos stay, and the others in them. The files are then looked through for what was removed. Of these
    photos the faces are not taken in again; in photos that are new they are faces like any other.

    \b
    Examples:
      facesearch forget ~/Pictures/private
      facesearch forget old.jpg --index family.npz
      facesearch forget --person Ada --model sface

    Exit status: 0 done, 1 when the index holds none of them, 2 any error.
    """  # noqa: D301
    if bool(paths) == bool(person):
        raise click.UsageError("Name PATHs, or --person P.")
    library = open_library(index_file, model)
    if person:
        done = library.forget_person(person)
        if not quiet:
            said = f"{counted(done.faces, 'face')} in {counted(done.photos, 'photo')} forgotten"
            click.echo(f"{said}; {done.scanned:,} bytes looked through, no trace left", err=True)
        return
    removed = library.forget(paths)
    if verbose:
        for path in removed:
            click.echo(escaped(path), err=True)
    if not quiet:
        said = f"{counted(len(removed), 'photo')} forgotten" if removed else "The index holds none of them."
        click.echo(said, err=True)
    sys.exit(0 if removed else 1)
