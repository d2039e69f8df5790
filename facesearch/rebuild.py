"""Embed a library anew, beside the index that serves until then; it can be interrupted and goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from facesearch.errors import (
    FacesearchError,
    IndexBroken,
    IndexConflict,
    IndexFileError,
    IndexFormat,
    IndexMissing,
    storage_error,
)
from facesearch.faces import PhotoFaces
from facesearch.index.beside import discard, journal_path, rebuild_path
from facesearch.index.layout import Layout, empty_layout
from facesearch.index.lock import alone
from facesearch.index.meta import Meta
from facesearch.index.store import IndexWriter, index_meta, open_index
from facesearch.photos.urls import is_folder, is_there
from facesearch.pipeline import Looks
from facesearch.plan import Plan, Wanted
from facesearch.update import Report, update_index


def rebuild_index(
    index: Path,
    meta: Meta,
    wanted: Wanted,
    pipeline: Callable[[], Looks],
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Report:
    """Embed all photos of an index anew, and those of some folders; then take the old one's place.

    Nobody else writes the index meanwhile. What was forgotten stays so.

    Args:
        index: The index file; it may be missing or broken.
        meta: The model and settings that are wanted.
        wanted: Which photos besides those of the index.
        pipeline: As for `update_index`.
        on_plan: As for `update_index`.
        on_photo: As for `update_index`.

    Raises:
        FacesearchError: A root lost most of its photos, so that they would be lost for good.
        IndexBusy: Another process writes the index.
        StorageError: The disk is full or the folder cannot be written; the old index is as it was.
    """
    with suppress(IndexMissing, IndexBroken, IndexFormat, IndexConflict), IndexWriter(index):
        pass  # folds in what an interrupted run left
    built = rebuild_path(index)
    with alone(index):
        try:
            old = open_index(index)
        except IndexFileError:
            old = empty_layout(meta)  # there is none, or it is what the rebuild is to replace
        wanted = with_known(old, wanted)
        _begin(built, meta, old)
        report = update_index(built, meta, wanted, pipeline, on_plan=on_plan, on_photo=on_photo)
        if not report.interrupted:
            _put_in_place(built, index)
    return report


def with_known(old: Layout, wanted: Wanted) -> Wanted:
    """Add the photos of the old index that are there, however they were found once.

    Raises:
        FacesearchError: A root lost most of its photos, so that they would be lost for good.
    """
    there: list[str] = []
    known, gone = [0] * len(old.meta.roots), [0] * len(old.meta.roots)
    for path, photo in old.rows.items():
        root = int(old.root[photo])
        known[root] += 1
        if is_there(path):
            there.append(path)
        else:
            gone[root] += 1
    for root, name in enumerate(old.meta.roots):
        lost = 2 * gone[root] > known[root] or not is_folder(name)
        if lost and not wanted.prune:
            raise FacesearchError(
                f"Of the photos below {name!r}, which the index covers, most are not there, "
                "and a rebuild would lose them.",
                "Bring them back, tell their new place with `facesearch move-root`, or add --prune.",
            )
    roots = tuple(root for root in old.meta.roots if is_folder(root))
    return replace(wanted, files=tuple(there), roots=roots)


def _begin(built: Path, meta: Meta, old: Layout) -> None:
    """Make the file that is built, unless a rebuild of the same making was interrupted."""
    try:
        begun = index_meta(built)
    except IndexFileError:
        discard(built)
        begun = None
    if begun is not None and replace(begun, roots=(), created="", updated="", facesearch="") != meta:
        discard(built)
    with IndexWriter(built, meta) as writer:
        writer.forget(digest.tobytes() for digest in old.forgotten)
        writer.erase((digest, box) for digest, boxes in old.erased_faces.items() for box in boxes)
        writer.commit()


def _put_in_place(built: Path, index: Path) -> None:
    try:
        # The old one's journal goes first: beside the new index it would be of another making.
        journal_path(index).unlink(missing_ok=True)
        built.replace(index)
        built.with_name(built.name + ".lock").unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(index, error) from error
