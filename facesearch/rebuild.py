"""Embed a library anew, beside the index that serves until then; it can be interrupted and goes on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from facesearch.errors import FacesearchError, IndexFileError, storage_error
from facesearch.index.journal import read_journal
from facesearch.index.layout import Layout, Meta, empty_layout
from facesearch.index.lock import alone
from facesearch.index.roots import is_within, joined_roots
from facesearch.index.store import IndexWriter, discard, index_meta, journal_path, open_index
from facesearch.update import Wanted


def rebuild_path(index: Path) -> Path:
    """Give where an index is rebuilt."""
    return index.with_name(f"{index.stem}.rebuild{index.suffix}")


def begin_rebuild(index: Path, meta: Meta, wanted: Wanted) -> Wanted:
    """Give what a rebuild takes in: what is asked for, and all roots of the present index.

    Raises:
        FacesearchError: A root lost most of its photos, so that they would be lost for good.
        StorageError: What another rebuild left cannot be removed.
    """
    try:
        layout = open_index(index)
    except IndexFileError:
        layout = empty_layout(meta)  # there is none, or it is what the rebuild is to replace
    roots = joined_roots(layout.meta.roots, _roots_left(index))
    lost = next((root for root in roots if _lost_most(layout, root)), None)
    if lost is not None and not wanted.prune:
        raise FacesearchError(
            f"Of the photos below {lost!r}, which the index covers, most are not there, "
            "and a rebuild would lose them.",
            "Bring them back, tell their new place with `facesearch move-root`, or add --prune.",
        )
    begun = _meta_begun(rebuild_path(index))
    if begun is not None and replace(begun, roots=(), created="", updated="", facesearch="") != meta:
        discard(rebuild_path(index))
    there = tuple(root for root in roots if os.path.isdir(root))
    return replace(wanted, paths=tuple(dict.fromkeys((*there, *wanted.paths))))


def _roots_left(index: Path) -> tuple[str, ...]:
    """Give the roots that an interrupted run noted in its journal."""
    try:
        left = read_journal(journal_path(index)).meta
    except (OSError, IndexFileError):
        return ()
    return left.roots if left is not None else ()


def _meta_begun(built: Path) -> Meta | None:
    """Give what makes the rebuild that was begun; what cannot be used is begun anew."""
    try:
        return index_meta(built)
    except IndexFileError:
        discard(built)
        return None


def _lost_most(layout: Layout, root: str) -> bool:
    """Say whether more than half of a root's photos are not there (its disk may be), or the root itself."""
    known = [path for path in layout.rows if is_within(os.fsencode(path), os.fsencode(root))]
    gone = sum(not os.path.lexists(path) for path in known)
    return 2 * gone > len(known) or not os.path.isdir(root)


def end_rebuild(index: Path) -> None:
    """Put the rebuilt index in the old one's place; what was forgotten stays so.

    Raises:
        IndexBusy: Another process writes the old one or the new one.
        StorageError: It cannot be put there; it stays beside.
    """
    built = rebuild_path(index)
    with alone(index):
        try:
            forgotten = {digest.tobytes() for digest in open_index(index).forgotten}
        except IndexFileError:
            forgotten = set()
        with IndexWriter(built) as writer:
            writer.forget(forgotten)
            writer.commit()
        try:
            # The old one's journal goes first: beside the new index it would be of another making.
            journal_path(index).unlink(missing_ok=True)
            built.replace(index)
            built.with_name(built.name + ".lock").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(index, error) from error
