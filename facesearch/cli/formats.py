"""The forms in which matches are written: table, tsv, csv, json, jsonl, paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from facesearch.cli.text import SCHEMA, csv_line, escaped, shown, tsv_line, with_path_bytes

if TYPE_CHECKING:
    from facesearch.faces import Match
    from facesearch.search import Answer

COLUMNS = ("query", "rank", "distance", "probability", "path", "x", "y", "w", "h")

Answers = Iterable["Answer"]

# Marks a match that is farther than the model's threshold.
BEYOND = "x"


def query_name(answer: Answer) -> str:
    """Give what stands in the column `query`: the reference or person, or several of them joined by ' + '."""
    return " + ".join(reference.person or reference.path for reference in answer.references)


def _fields(answer: Answer, match: Match) -> tuple[object, ...]:
    box = match.box
    # Four digits, but never a certainty that no model has.
    probability = "" if match.probability is None else f"{min(max(match.probability, 1e-4), 0.9999):.4f}"
    return (
        query_name(answer),
        match.rank,
        f"{match.distance:.6f}",
        probability,
        match.path,
        box.x,
        box.y,
        box.width,
        box.height,
    )


def as_tsv(answers: Answers) -> Iterator[str]:
    """Give one line a match, without a heading."""
    for answer in answers:
        for match in answer.matches:
            yield tsv_line(_fields(answer, match))


def as_csv(answers: Answers) -> Iterator[str]:
    """Give a heading and one record a match."""
    yield csv_line(COLUMNS)
    for answer in answers:
        for match in answer.matches:
            yield csv_line(_fields(answer, match))


def as_paths(answers: Answers, end: str = "\n") -> Iterator[str]:
    """Give the matches' paths, each ended by a newline or by `end`; as they are but on a terminal."""
    for answer in answers:
        for match in answer.matches:
            # A zero byte at the end says that a program reads it.
            yield (match.path if end == "\0" else shown(match.path)) + end


def as_table(answers: Answers) -> Iterator[str]:
    """Give a block for each reference, for a person to read; matches beyond the threshold are marked."""
    answers = list(answers)
    matches = [match for answer in answers for match in answer.matches]
    known = any(match.probability is not None for match in matches)
    yield f"rank  distance  {'probability  strangers    ' if known else ''}photo\n"
    for number, answer in enumerate(answers):
        yield f"{chr(10) if number else ''}{escaped(_table_heading(answer))}\n"
        if not answer.matches:
            yield "   no match\n"
        for match in answer.matches:
            path = escaped(match.path) + which(match.face)
            yield f"{match.rank:4}  {match.distance:8.4f}  {_judgement(match)}{path}\n"
    if any(match.same is False for match in matches):
        yield f"\n{BEYOND} beyond the model's threshold\n"


def _judgement(match: Match) -> str:
    """Give the columns probability, strangers and mark."""
    if match.probability is None or match.strangers is None:
        return ""
    mark = BEYOND if match.same is False else " "
    return f"{percent(match.probability):>11}  {few(match.strangers):>9}  {mark} "


def percent(probability: float) -> str:
    """Give a probability in per cent with one decimal, but never a certainty that no model has."""
    if probability > 0.999:
        return ">99.9 %"
    return "<0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def few(count: float) -> str:
    """Give a count that is an estimate."""
    return "<0.01" if count < 0.01 else f"{count:.2g}" if count < 10 else f"{count:,.0f}"


def _table_heading(answer: Answer) -> str:
    return " + ".join(one.person or one.path + which(one.face) for one in answer.references)


def which(face: int) -> str:
    """Name the face of a photo, unless it is the largest."""
    return f" (face {face})" if face > 1 else ""


def as_json(answers: Answers) -> Iterator[str]:
    """Give one object with all references, hits included."""
    results = [
        {**_reference(answer), "matches": [_match(match) for match in answer.matches]} for answer in answers
    ]
    yield json.dumps({"schema": SCHEMA, "results": results}, indent=2) + "\n"


def as_jsonl(answers: Answers) -> Iterator[str]:
    """Give one object a line for each match."""
    for answer in answers:
        for match in answer.matches:
            yield json.dumps({"schema": SCHEMA, **_reference(answer), **_match(match)}) + "\n"


def _reference(answer: Answer) -> dict[str, Any]:
    faces = [
        with_path_bytes(
            {
                "path": one.path,
                "face": one.face,
                "box": _box(one.box),
                **({"person": one.person} if one.person else {}),
            }
        )
        for one in answer.references
    ]
    return {"query": query_name(answer), "references": faces}


def _match(match: Match) -> dict[str, Any]:
    return with_path_bytes(
        {
            "rank": match.rank,
            "distance": match.distance,
            "probability": match.probability,
            "same_person": match.same,
            "expected_strangers": match.strangers,
            "path": match.path,
            "face": match.face,
            "box": _box(match.box),
        }
    )


def _box(box: Any) -> dict[str, int]:  # noqa: ANN401 (a Box; numpy-free import)
    return {"x": box.x, "y": box.y, "w": box.width, "h": box.height}


FORMATS: Mapping[str, Callable[[Answers], Iterator[str]]] = {
    "table": as_table,
    "tsv": as_tsv,
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_jsonl,
    "paths": as_paths,
}
