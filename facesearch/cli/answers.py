"""`query --html`: answers as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facesearch.cli.text import counted
from facesearch.show.answers import Block, Hit, Shown, answers_page
from facesearch.show.likelihood import few, percent
from facesearch.show.page import write_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.cli.query_output import Searched
    from facesearch.faces import Answers, Match, Reference


def write_answers(
    answers: Answers, searched: Searched, destination: str, metric: str, remarks: Sequence[str]
) -> None:
    """Write answers and what they were made with as one page.

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
    return Shown(face.path, face.box, f"face {face.face}" if face.face > 1 else "")


def _hit(match: Match) -> Hit:
    return Hit(
        _shown(match),
        match.rank,
        f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
    )
