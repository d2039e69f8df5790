"""The forms in which matches are written: table, tsv, csv, json, jsonl, paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from facesearch.answer_json import SCHEMA, answer_as_json, match_as_json, query_name, question_as_json
from facesearch.cli.output.text import csv_line, escaped, shown, tsv_line
from facesearch.faces import NOWHERE
from facesearch.show.wording import few, frame_and_time, percent, seen

if TYPE_CHECKING:
    from facesearch.faces import Answer, Match


COLUMNS = ("query", "rank", "distance", "probability", "path", "x", "y", "w", "h", "frame", "time")

Answers = Iterable["Answer"]

# Marks a match that is more likely another person, and a poor face, of which nothing is said.
BEYOND, POOR_FACE = "x", "?"


def _fields(answer: Answer, match: Match) -> tuple[object, ...]:
    box = ("", "", "", "") if match.box == NOWHERE else match.box.corners
    # Four digits, but never a certainty that no model has.
    probability = "" if match.probability is None else f"{min(max(match.probability, 1e-4), 0.9999):.4f}"
    return (
        query_name(answer),
        match.rank,
        "" if match.by_hand else f"{match.distance:.6f}",
        probability,
        match.path,
        *box,
        *frame_and_time(match.moment),
    )


def as_tsv(answers: Answers) -> Iterator[str]:
    """Yield one line a match, without a heading."""
    for answer in answers:
        for match in answer.matches:
            yield tsv_line(_fields(answer, match))


def as_csv(answers: Answers) -> Iterator[str]:
    """Yield a heading and one record a match."""
    yield csv_line(COLUMNS)
    for answer in answers:
        for match in answer.matches:
            yield csv_line(_fields(answer, match))


def as_paths(answers: Answers, end: str = "\n") -> Iterator[str]:
    """Yield the matches' paths, each ended by a newline or by `end`; as they are but on a terminal."""
    for answer in answers:
        for match in answer.matches:
            # A zero byte at the end says that a program reads it.
            yield (match.path if end == "\0" else shown(match.path)) + end


def as_table(answers: Answers) -> Iterator[str]:
    """Yield a block for each reference, for a person to read; matches beyond the threshold are marked."""
    answers = list(answers)
    matches = [match for answer in answers for match in answer.matches]
    known = any(match.probability is not None for match in matches)
    yield f"rank  distance  {'probability  strangers    ' if known else ''}photo\n"
    for number, answer in enumerate(answers):
        yield f"{chr(10) if number else ''}{escaped(_table_heading(answer))}\n"
        if not answer.matches:
            yield "   no match\n"
        for match in answer.matches:
            path = escaped(match.path) + (
                which(match.face) if match.moment is None else f" {seen(match.moment)}"
            )
            distance = "by hand" if match.by_hand else f"{match.distance:.4f}"
            yield f"{match.rank:4}  {distance:>8}  {_judgement(match) if known else ''}{path}\n"
    if known and any(match.probability is None and not match.by_hand for match in matches):
        yield f"\n{POOR_FACE} a poor face, or REF is one: its distance does not tell who it is\n"
    if any(match.same is False for match in matches):
        yield f"\n{BEYOND} more likely another person\n"


def _judgement(match: Match) -> str:
    """Return the columns probability, strangers and mark."""
    if match.probability is None or match.strangers is None:
        return f"{'':11}  {'':9}  {' ' if match.by_hand else POOR_FACE} "
    mark = BEYOND if match.same is False else " "
    return f"{percent(match.probability):>11}  {few(match.strangers):>9}  {mark} "


def _table_heading(answer: Answer) -> str:
    return " + ".join(one.person or one.path + which(one.face) for one in answer.references)


def which(face: int) -> str:
    """Name the face of a photo, unless it is the largest."""
    return f" (face {face})" if face > 1 else ""


def as_json(answers: Answers) -> Iterator[str]:
    """Yield one object with all references, hits included."""
    results = [answer_as_json(answer) for answer in answers]
    yield json.dumps({"schema": SCHEMA, "results": results}, indent=2) + "\n"


def as_jsonl(answers: Answers) -> Iterator[str]:
    """Yield one object a line for each match."""
    for answer in answers:
        for match in answer.matches:
            yield json.dumps({"schema": SCHEMA, **question_as_json(answer), **match_as_json(match)}) + "\n"


FORMATS: Mapping[str, Callable[[Answers], Iterator[str]]] = {
    "table": as_table,
    "tsv": as_tsv,
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_jsonl,
    "paths": as_paths,
}
