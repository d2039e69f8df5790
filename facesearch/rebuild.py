"""Embed a library anew, beside the index that serves until then; it can be interrupted and goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from facesearch.errors import (
    FacesearchError,
    IndexBroken,
    IndexConflict,
    IndexFileError,
    IndexFormat,
    IndexMissing,
)
from facesearch.faces import PhotoFaces
from facesearch.index.layout import Layout, empty_layout
from facesearch.index.meta import Meta
from facesearch.index.place import Place
from facesearch.index.places import place_of
from facesearch.photos.urls import is_folder, is_there
from facesearch.pipeline import Looks
from facesearch.plan import Plan, Wanted
from facesearch.update import Report, update_index


def rebuild_index(
    index: Place | os.PathLike[str],
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
        index: Where it is, a place or a file; there may be none, or a broken one.
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
    place = place_of(index)
    with suppress(IndexMissing, IndexBroken, IndexFormat, IndexConflict), place.writer():
        pass  # folds in what an interrupted run left
    built = place.beside()
    with place.alone():
        try:
            old = place.listing()
        except IndexFileError:
            old = empty_layout(meta)  # there is none, or it is what the rebuild is to replace
        wanted = with_known(old, wanted)
        _begin(built, meta, old)
        report = update_index(built, meta, wanted, pipeline, on_plan=on_plan, on_photo=on_photo)
        if not report.interrupted:
            place.take_over(built)
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


def _begin(built: Place, meta: Meta, old: Layout) -> None:
    """Make the index that is built, unless a rebuild of the same making was interrupted."""
    try:
        begun = built.meta()
    except IndexFileError:
        built.discard()
        begun = None
    if begun is not None and replace(begun, roots=(), created="", updated="", facesearch="") != meta:
        built.discard()
    with built.writer(meta) as writer:
        writer.forget(digest.tobytes() for digest in old.forgotten)
        writer.erase((digest, box) for digest, boxes in old.erased_faces.items() for box in boxes)
        writer.commit()
