"""A query's answers as files: `query --html` and `query --sheet`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.cli.output.text import counted
from facesearch.faces import Match
from facesearch.judge import doubt
from facesearch.show.answer_page import Block, Hit, Shown, answers_page
from facesearch.show.page import write_page
from facesearch.show.pair_sheet import read_pixels
from facesearch.show.sheet import Row, draw_sheet, save_sheet
from facesearch.show.wording import few, percent, seen

if TYPE_CHECKING:
    from facesearch.cli.output.answers import Searched
    from facesearch.faces import Answer, Answers, Reference


def write_answer_page(
    answers: Answers, searched: Searched, destination: str, metric: str, remarks: Sequence[str]
) -> None:
    """Write answers as one HTML page, with what they were made with.

    Raises:
        StorageError: The file cannot be written.
    """
    facts = [
        ("Model", searched.name),
        ("Distance", metric),
        ("Searched", f"{counted(searched.faces, 'face')} in {counted(searched.photos, 'photo')}"),
    ]
    page = answers_page(
        [
            Block([_reference(one) for one in answer.references], [_hit(match) for match in answer.matches])
            for answer in answers.answers
        ],
        facts=facts,
        remarks=remarks,
        problems=[(path, error.message) for path, error in answers.problems],
    )
    write_page(page, Path(destination))


def _reference(face: Reference) -> Shown:
    return replace(_shown(face), title=face.person)


def _shown(face: Reference | Match) -> Shown:
    which = seen(face.moment) if face.moment is not None else f"face {face.face}" if face.face > 1 else ""
    return Shown(face.path, face.box, which, moment=face.moment)


def _hit(match: Match) -> Hit:
    return Hit(
        _shown(match),
        match.rank,
        "said by hand" if match.by_hand else f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
        doubt(match),
    )


def write_answer_sheet(answers: Iterable[Answer], destination: str, metric: str) -> None:
    """Draw each answer, its first reference at the left, and save the picture."""
    rows = [
        Row(
            answer.references[0].path,
            read_pixels(answer.references[0].path, answer.references[0].moment),
            answer.references[0].box,
            answer.matches,
        )
        for answer in answers
    ]
    sheet = draw_sheet(rows, lambda match: read_pixels(match.path, match.moment), metric=metric)
    save_sheet(sheet, Path(destination))
