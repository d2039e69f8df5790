"""Takes single faces out of photos of an index in Milvus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from facesearch.faces import Box, Status
from facesearch.index.fold import staying
from facesearch.index.milvus.book import PhotoRow
from facesearch.index.milvus.faces import Faces
from facesearch.index.milvus.pending import joined, new_hold, some_of


def with_newly_erased(
    todo: Mapping[str, tuple[Box, ...]],
    photos: Iterable[PhotoRow],
    erased: Callable[[bytes], tuple[Box, ...]],
) -> dict[str, tuple[Box, ...]]:
    """Give the faces that are to be taken out, by their hold.

    Args:
        todo: Those that a run which was killed has not taken out.
        photos: All there are.
        erased: Gives those that are new, by a photo's content.
    """
    new = {photo.hold: boxes for photo in photos if photo.faces and (boxes := erased(photo.digest))}
    return {hold: (*todo.get(hold, ()), *new.get(hold, ())) for hold in {**todo, **new}}


def without_erased(
    photos: Mapping[bytes, PhotoRow], faces: Faces, erased: Mapping[str, Sequence[Box]]
) -> dict[bytes, PhotoRow]:
    """Give photos without the faces that are erased; what stays is written under another hold.

    Args:
        photos: By path.
        faces: Where their faces are.
        erased: The faces to take out, by their hold.
    """
    changed: dict[bytes, PhotoRow] = {}
    by_hold = defaultdict(list)
    for photo in photos.values():
        if photo.hold in erased:
            by_hold[photo.hold].append(photo)
    for hold, sharing in by_hold.items():
        first = sharing[0]
        rows = joined(list(faces.of({hold: first.faces})), faces.dim)
        stays = staying([Box(*corners) for corners in rows.boxes.tolist()], erased[hold])
        if stays.all():
            continue
        count = int(stays.sum())
        other = new_hold(first.digest) if count else ""
        faces.put(some_of(rows, stays, other))
        status = Status.OK if count else Status.NO_FACE
        for photo in sharing:
            changed[photo.path] = replace(photo, hold=other, faces=count, status=status)
    return {**photos, **changed}
