"""`facesearch copy`, `merge` and `move-root`: what is done with a whole index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facesearch.cli.options import (
    AnyPath,
    index_option,
    json_option,
    model_option,
    open_library,
    quiet_option,
)
from facesearch.cli.output.text import Progress, counted, escaped, write_json

if TYPE_CHECKING:
    from facesearch.index.backend import IndexBackend
    from facesearch.ranking import Metric


@click.command("copy", short_help="Copy an index to another place: a file, or Milvus.")
@click.option(
    "--from", "source", required=True, metavar="FILE", type=AnyPath(), help="The index: a file or a URL."
)
@click.option("--to", "target", required=True, metavar="FILE", type=AnyPath(), help="Where the copy goes.")
@json_option
@quiet_option
def copy(source: str, target: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Copy an index with its people to another place: from a file into Milvus, or back.

    No photo is opened. Every row of the copy is then compared with its original. After an interruption, the
    same command continues where it stopped.

    \b
    Examples:
      facesearch copy --from family.npz --to milvus://localhost:19530/family
      facesearch copy --from milvus://localhost:19530/family --to backup.npz

    Exit status: 0 done, 2 any error, 130 interrupted.
    """  # noqa: D301
    from facesearch.index.backend import open_backend
    from facesearch.library import copy_library

    there, here = open_backend(source), open_backend(target)
    here.metric = _metric(there)
    with Progress(quiet=quiet) as progress:
        done = copy_library(there, here, on_start=progress.start, on_photo=progress.photo)
    if as_json:
        write_json({"photos": done.photos, "faces": done.faces, "already": done.already})
    elif not quiet:
        faces, photos = counted(done.faces, "face"), counted(done.photos, "photo")
        already = f", {done.already:,} of them there already" if done.already else ""
        click.echo(f"{faces} of {photos} in {escaped(here.name)}{already}; every row compared", err=True)


def _metric(backend: IndexBackend) -> Metric:
    """Return the distance by which the copy is searched: the model's, where it is known here."""
    from facesearch.embed import card_of
    from facesearch.errors import ModelError

    meta = backend.meta()
    try:
        return card_of(meta.model).metric if meta is not None else "cosine"
    except ModelError:
        return "cosine"


@click.command("merge", short_help="Merge several indexes into one.")
@click.argument("indexes", nargs=-1, required=True, type=AnyPath(), metavar="FILE...")
@click.option("--into", required=True, metavar="FILE", type=AnyPath(), help="The new index.")
@json_option
@quiet_option
def merge_files(indexes: tuple[str, ...], into: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Merge several indexes into one. They must share a model and its settings; no photo is opened.

    Where several indexes hold the same photo, the newest version is taken. What one of them has forgotten is
    not copied from another. The indexes themselves do not change. People are not merged: run
    `facesearch people` on the new index.

    \b
    Examples:
      facesearch index /archive --shard 1/2 --index a.npz     # on one machine
      facesearch index /archive --shard 2/2 --index b.npz     # on another
      facesearch merge a.npz b.npz --into archive.npz
      facesearch merge archive.npz new.npz --into archive.npz

    Exit status: 0 done, 2 any error.
    """  # noqa: D301
    from facesearch.index.backend import is_server
    from facesearch.index.operations import merge_indexes

    if any(map(is_server, (*indexes, into))):
        raise click.UsageError("merge takes files: `facesearch copy` brings an index in Milvus into one.")

    done = merge_indexes([Path(name) for name in indexes], Path(into))
    if as_json:
        write_json({"photos": done.photos, "faces": done.faces, "twice": done.twice})
    elif not quiet:
        twice = f"; {counted(done.twice, 'photo')} in more than one" if done.twice else ""
        faces, photos = counted(done.faces, "face"), counted(done.photos, "photo")
        click.echo(f"{faces} of {photos} in {escaped(into)}{twice}", err=True)


@click.command("move-root", short_help="Update an index after its photos were moved.")
@click.argument("old", type=AnyPath())
@click.argument("new", type=AnyPath())
@index_option
@model_option
@quiet_option
def move_root(
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
