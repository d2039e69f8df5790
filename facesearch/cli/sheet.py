"""`query --sheet`: answers as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.errors import UnreadablePhoto
from facesearch.photos.read import decode, read_content
from facesearch.show.sheet import Row, draw_sheet, save_sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.search import Answer


def write_sheet(answers: Iterable[Answer], destination: str, metric: str) -> None:
    """Draw each answer, its first reference at the left, and save the picture."""
    rows = [
        Row(
            answer.references[0].path,
            _read(answer.references[0].path),
            answer.references[0].box,
            answer.matches,
        )
        for answer in answers
    ]
    save_sheet(draw_sheet(rows, _read, metric=metric), Path(destination))


def _read(path: str) -> NDArray[np.uint8]:
    try:
        return decode(read_content(path).data).pixels
    except OSError as error:
        raise UnreadablePhoto(f"{path} cannot be read: {error.strerror or error}.") from error
