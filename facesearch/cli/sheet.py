"""`query --sheet`: answers as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.show.pairs import read_pixels
from facesearch.show.sheet import Row, draw_sheet, save_sheet

if TYPE_CHECKING:
    from facesearch.faces import Answer


def write_sheet(answers: Iterable[Answer], destination: str, metric: str) -> None:
    """Draw each answer, its first reference at the left, and save the picture."""
    rows = [
        Row(
            answer.references[0].path,
            read_pixels(answer.references[0].path),
            answer.references[0].box,
            answer.matches,
        )
        for answer in answers
    ]
    save_sheet(draw_sheet(rows, read_pixels, metric=metric), Path(destination))
