"""`facesearch forget`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from facesearch.cli.completion import complete_person
from facesearch.cli.options import AnyPath, index_option, model_option, open_library, quiet_option
from facesearch.cli.output.text import counted, escaped

if TYPE_CHECKING:
    from facesearch.index.operations import ForgottenPhotos


@click.command("forget", short_help="Remove photos from an index for good.")
@click.argument("paths", nargs=-1, type=AnyPath(), metavar="[PATH...]")
@click.option(
    "--person",
    metavar="P",
    shell_complete=complete_person,
    help="Instead of PATH: all faces of a person, by name or number.",
)
@click.option("--copies", is_flag=True, help="Forget all copies of the photos too, wherever they are.")
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten.")
@index_option
@model_option
@quiet_option
def command(
    paths: tuple[str, ...],
    person: str | None,
    copies: bool,
    dry_run: bool,
    index_file: str | None,
    model: str | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Remove photos, or all photos below folders, from an index for good; the files stay.

    The index is rewritten without their faces, paths, people and thumbnails. Only digests are kept, so that
    the photos are not indexed again, even with other metadata, unless you run `facesearch index --again`.
    Where copies of a photo are elsewhere, these stay and are counted, and the photo is left out at its own
    path; --copies forgets all of them.

    --person removes the faces and the name of one person, and the thumbnails of the photos. The photos and
    the other people in them stay in the index. The files are then searched for traces of what was removed.
    The faces are not indexed again from these photos; in new photos they are indexed as usual.

    \b
    Examples:
      facesearch forget ~/Pictures/private
      facesearch forget old.jpg --copies --index family.npz
      facesearch forget --person Ada --model sface

    Exit status: 0 done, 1 when the index holds none of them, 2 any error.
    """  # noqa: D301
    if bool(paths) == bool(person):
        raise click.UsageError("Name PATHs, or --person P.")
    if person and (copies or dry_run):
        raise click.UsageError("--copies and --dry-run are for PATHs.")
    library = open_library(index_file, model)
    if person:
        gone = library.forget_person(person)
        if not quiet:
            said = f"{counted(gone.faces, 'face')} in {counted(gone.photos, 'photo')} forgotten"
            click.echo(f"{said}; {gone.scanned:,} bytes searched, no trace left", err=True)
        return
    done = library.forget(paths, copies=copies, dry_run=dry_run)
    if verbose:
        for path in done.removed:
            click.echo(escaped(path), err=True)
    if not quiet:
        _say(done, dry_run=dry_run)
    sys.exit(0 if done.removed else 1)


def _say(done: ForgottenPhotos, *, dry_run: bool) -> None:
    if not done.removed:
        click.echo("The index holds none of them.", err=True)
        return
    word = "would be forgotten" if dry_run else "forgotten"
    stay = f"; the same picture stays at {len(done.copies):,} other paths (--copies)" if done.copies else ""
    click.echo(f"{counted(len(done.removed), 'photo')} {word}{stay}", err=True)
