"""Embed a library anew, beside the index that serves until then; it can be interrupted and goes on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from facesearch.errors import FacesearchError, IndexFileError, storage_error
from facesearch.index.layout import Meta
from facesearch.index.store import IndexWriter, discard, index_meta, open_index
from facesearch.update import Wanted


def rebuild_path(index: Path) -> Path:
    """Give where an index is rebuilt."""
    return index.with_name(f"{index.stem}.rebuild{index.suffix}")


def begin_rebuild(index: Path, meta: Meta, wanted: Wanted) -> Wanted:
    """Give what a rebuild takes in: what is asked for, and all roots of the present index.

    Raises:
        FacesearchError: A root is not there, so that its photos would be lost.
        StorageError: What another rebuild left cannot be removed.
    """
    try:
        roots = open_index(index).meta.roots
    except IndexFileError:
        roots = ()  # there is none, or it is what the rebuild is to replace
    missing = [root for root in roots if not os.path.isdir(root)]
    if missing and not wanted.prune:
        raise FacesearchError(
            f"{missing[0]!r}, which the index covers, is not there, and a rebuild would lose its photos.",
            "Bring it back, tell its new place with `facesearch move-root`, or add --prune.",
        )
    begun = index_meta(rebuild_path(index))
    if begun is not None and replace(begun, roots=(), created="", updated="", facesearch="") != meta:
        discard(rebuild_path(index))
    there = tuple(root for root in roots if root not in missing)
    return replace(wanted, paths=tuple(dict.fromkeys((*there, *wanted.paths))))


def end_rebuild(index: Path) -> None:
    """Put the rebuilt index in the old one's place; what was forgotten stays so.

    Raises:
        StorageError: It cannot be put there; it stays beside.
    """
    built = rebuild_path(index)
    try:
        forgotten = {digest.tobytes() for digest in open_index(index).forgotten}
    except IndexFileError:
        forgotten = set()
    with IndexWriter(built) as writer:
        writer.forget(forgotten)
        writer.commit()
    try:
        built.replace(index)
        built.with_name(built.name + ".lock").unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(index, error) from error
