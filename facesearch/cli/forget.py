"""`facesearch forget`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from facesearch.cli.options import (
    AnyPath,
    complete_person,
    index_option,
    model_option,
    open_library,
    quiet_option,
)
from facesearch.cli.output.text import counted, escaped

# So many sidecars are named.
_SAID = 10

if TYPE_CHECKING:
    from facesearch.index.operations import ForgottenPhotos
    from facesearch.library import Library


@click.command("forget", short_help="Remove photos from an index for good.")
@click.argument("paths", nargs=-1, type=AnyPath(), metavar="[PATH...]")
@click.option(
    "--person",
    metavar="P",
    shell_complete=complete_person,
    help="Instead of PATH: all faces of a person, by name or number.",
)
@click.option("--copies", is_flag=True, help="Forget all copies of the photos too, wherever they are.")
@click.option(
    "--sidecars",
    is_flag=True,
    help="Also take out the names that facesearch wrote to sidecars of the photos.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten.")
@index_option
@model_option
@quiet_option
def command(
    paths: tuple[str, ...],
    person: str | None,
    copies: bool,
    sidecars: bool,
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
    The faces are not indexed again from these photos; in new photos they are indexed as usual. What is
    forgotten cannot be undone, and the log of changes of people is emptied. Sidecars that facesearch wrote
    names to are listed, and stay; --sidecars takes these names out, also of photos forgotten before.

    \b
    Examples:
      facesearch forget ~/Pictures/private
      facesearch forget old.jpg --copies --index family.npz
      facesearch forget --person Ada --model sface --dry-run
      facesearch forget private.jpg --sidecars

    Exit status: 0 done, 1 when the index holds none of them, 2 any error.
    """  # noqa: D301
    if bool(paths) == bool(person):
        raise click.UsageError("Name PATHs, or --person P.")
    if person and copies:
        raise click.UsageError("--copies is for PATHs.")
    library = open_library(index_file, model)
    if person:
        _forget_person(library, person, sidecars=sidecars, dry_run=dry_run, quiet=quiet)
        return
    done = library.forget(paths, copies=copies, dry_run=dry_run)
    if verbose:
        for path in done.removed:
            click.echo(escaped(path), err=True)
    if not quiet:
        _say(done, dry_run=dry_run)
    named = [*done.removed, *(path for path in map(os.path.abspath, paths) if path not in done.removed)]
    cleaned = _clean(named, None, dry_run=dry_run, quiet=quiet) if sidecars else 0
    if not quiet and not sidecars:
        _say_sidecars(done.removed)
    sys.exit(0 if done.removed or cleaned else 1)


def _forget_person(library: Library, who: str, *, sidecars: bool, dry_run: bool, quiet: bool) -> None:
    people = library.people()
    person = people.person(who)
    photos = sorted({*(int(people.index.photo[row]) for row in person.faces), *people.tagged_photos(person)})
    paths = [people.index.path(photo) for photo in photos]
    if dry_run:
        faces = f"{counted(len(person.faces), 'face')} in {counted(person.photos - person.tagged, 'photo')}"
        said = f"{faces} of {escaped(person.title)} would be forgotten, and the log of changes"
    else:
        gone = library.forget_person(who)
        said = (
            f"{counted(gone.faces, 'face')} in {counted(gone.photos, 'photo')} forgotten; "
            f"{gone.scanned:,} bytes searched, no trace left"
        )
    if not quiet:
        click.echo(said, err=True)
    if sidecars:
        _clean(paths, [person.name], dry_run=dry_run, quiet=quiet)
    elif not quiet:
        _say_sidecars(paths)


def _clean(photos: Sequence[str], names: Sequence[str] | None, *, dry_run: bool, quiet: bool) -> int:
    """Take names out of the sidecars of some photos, and say how many; return their number."""
    from facesearch.people.sidecars import cleaned_sidecars, write_sidecar

    changed = removed = 0
    for one in cleaned_sidecars(photos, names):
        if one.problem:
            click.echo(escaped(f"{one.path}: {one.problem}"), err=True)
            continue
        if not dry_run:
            write_sidecar(one)
        changed, removed = changed + (not one.gone), removed + one.gone
    if not quiet:
        would = "would be " if dry_run else ""
        said = f"names {would}taken out of {counted(changed, 'sidecar')}, and {removed:,} {would}removed"
        click.echo(said, err=True)
    return changed + removed


def _say_sidecars(photos: Sequence[str]) -> None:
    """Name the sidecars that still carry names; they are another program's, too, and stay."""
    from facesearch.people.sidecars import written_sidecars

    if left := written_sidecars(photos):
        for place in left[:_SAID]:
            click.echo(escaped(place), err=True)
        verbs = ("carries", "stays") if len(left) == 1 else ("carry", "stay")
        said = f"{counted(len(left), 'sidecar')} of these photos {verbs[0]} names that facesearch wrote"
        click.echo(f"{said}, and {verbs[1]}; --sidecars takes them out, also later.", err=True)


def _say(done: ForgottenPhotos, *, dry_run: bool) -> None:
    if not done.removed:
        click.echo("The index holds none of them.", err=True)
        return
    word = "would be forgotten" if dry_run else "forgotten"
    stay = f"; the same picture stays at {len(done.copies):,} other paths (--copies)" if done.copies else ""
    click.echo(f"{counted(len(done.removed), 'photo')} {word}{stay}", err=True)
