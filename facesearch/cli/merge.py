"""`facesearch merge`."""

from __future__ import annotations

from pathlib import Path

import click

from facesearch.cli.options import AnyPath, json_option, quiet_option
from facesearch.cli.output.text import counted, escaped, write_json


@click.command("merge", short_help="Merge several indexes into one.")
@click.argument("indexes", nargs=-1, required=True, type=AnyPath(), metavar="FILE...")
@click.option("--into", required=True, metavar="FILE", type=AnyPath(), help="The new index.")
@json_option
@quiet_option
def command(indexes: tuple[str, ...], into: str, as_json: bool, quiet: bool, verbose: bool) -> None:
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
    from facesearch.index.npz.merge import merge_indexes

    if any(map(is_server, (*indexes, into))):
        raise click.UsageError("merge takes files: `facesearch copy` brings an index in Milvus into one.")

    done = merge_indexes([Path(name) for name in indexes], Path(into))
    if as_json:
        write_json({"photos": done.photos, "faces": done.faces, "twice": done.twice})
    elif not quiet:
        twice = f"; {counted(done.twice, 'photo')} in more than one" if done.twice else ""
        faces, photos = counted(done.faces, "face"), counted(done.photos, "photo")
        click.echo(f"{faces} of {photos} in {escaped(into)}{twice}", err=True)
