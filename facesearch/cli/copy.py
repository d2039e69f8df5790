"""`facesearch copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facesearch.cli.options import AnyPath, json_option, quiet_option
from facesearch.cli.output.progress import Progress
from facesearch.cli.output.text import counted, escaped, write_json

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
def command(source: str, target: str, as_json: bool, quiet: bool, verbose: bool) -> None:
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
