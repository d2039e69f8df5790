"""`facesearch forget`."""

from __future__ import annotations

import sys

import click

from facesearch.cli.completion import complete_person
from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.output.text import counted, escaped


@click.command("forget", short_help="Remove photos from an index for good.")
@click.argument("paths", nargs=-1, type=AnyPath(), metavar="[PATH...]")
@click.option(
    "--person",
    metavar="P",
    shell_complete=complete_person,
    help="Instead of PATH: all faces of a person, by name or number.",
)
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

    The index is rewritten without their faces, paths, people and thumbnails. Only digests of their contents
    are kept, so that neither the photos nor copies of them are indexed again, unless you run
    `facesearch index --again`.

    --person removes the faces and the name of one person, and the thumbnails of the photos. The photos and
    the other people in them stay in the index. The files are then searched for traces of what was removed.
    The faces are not indexed again from these photos; in new photos they are indexed as usual.

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
            click.echo(f"{said}; {done.scanned:,} bytes searched, no trace left", err=True)
        return
    removed = library.forget(paths)
    if verbose:
        for path in removed:
            click.echo(escaped(path), err=True)
    if not quiet:
        said = f"{counted(len(removed), 'photo')} forgotten" if removed else "The index holds none of them."
        click.echo(said, err=True)
    sys.exit(0 if removed else 1)
