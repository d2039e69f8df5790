"""The forms in which a comparison is written: text, csv, json, and a picture."""

from __future__ import annotations

import math
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.answer_json import with_path_bytes
from facesearch.cli.output.text import counted, csv_line, escaped
from facesearch.show.wording import percent, short_names

if TYPE_CHECKING:
    from facesearch.compare import Comparison, FacePair
    from facesearch.faces import Reference


COLUMNS = ("a", "b", "face_a", "face_b", "distance", "similarity", "probability", "verdict")

MOST_NEAREST = 10
# A matrix of more faces than these nobody reads.
MOST_IN_MATRIX = 50
# Characters of a line where there is no terminal to ask.
WIDTH = 100
SHORTEST_NAME = 12
GAP = "  "
# Digits after the point: cosine distances lie between 0 and 2, euclidean ones in the tens.
DIGITS = {"cosine": 4, "euclidean": 3}

_ITSELF = "-"  # where a face meets itself


def as_text(comparison: Comparison, model: str) -> Iterator[str]:
    """Yield what a person reads: the figures of two faces, or a matrix and the nearest pairs."""
    if comparison.pair_count == 1:
        yield from _two_faces(comparison, model)
    elif comparison.pair_count:
        yield from _many_faces(comparison, model)


def _two_faces(comparison: Comparison, model: str) -> Iterator[str]:
    pair = comparison.pair(0, 1)
    lines = [(letter, _photo(one)) for letter, one in zip("AB", comparison.references, strict=True)]
    lines.append(("distance", f"{_distance(comparison, pair.distance)}  ({comparison.metric})"))
    if math.isfinite(pair.similarity):
        lines.append(("similarity", f"{pair.similarity:.4f}"))
    if pair.probability is not None:
        given = "that both are one person, where this is as likely beforehand as not"
        lines.append(("probability", f"{percent(pair.probability)}  {given}"))
    if pair.verdict is not None:
        lines.append(("verdict", pair.verdict))
    for name, text in [*lines, _ground(comparison, model)]:
        yield f"{name:<12} {text}\n"


def _ground(comparison: Comparison, model: str) -> tuple[str, str]:
    """Return what verdicts rest on: a name for the line, and the line."""
    calibration = comparison.calibration
    if calibration is None:
        return "verdict", f"none: {model} was not measured on pairs of people by {comparison.metric} distance"
    threshold = _distance(comparison, calibration.threshold)
    return "threshold", f"{threshold}  (measured on {escaped(calibration.data)}, {calibration.date})"


def _many_faces(comparison: Comparison, model: str) -> Iterator[str]:
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    names = _names(comparison.references)
    yield f"{comparison.metric} distance\n"
    if len(names) <= MOST_IN_MATRIX:
        yield from _matrix(comparison, names, width)
    else:
        yield f"The matrix of {counted(len(names), 'face')} is left out: --format csv has every pair.\n"
    yield "\nnearest pairs\n"
    yield from _nearest(comparison, names, width)
    name, ground = _ground(comparison, model)
    yield f"\n{name}  {ground}\n"


def _names(references: Sequence[Reference]) -> list[str]:
    """Return a name of one line to each face; the number before it tells apart faces of one name."""
    short = short_names([one.path for one in references])
    places = len(str(len(short)))
    return [
        f"{number:{places}} {escaped(name)}{_which(one)}"
        for number, (one, name) in enumerate(zip(references, short, strict=True), 1)
    ]


def _matrix(comparison: Comparison, names: Sequence[str], width: int) -> Iterator[str]:
    """Yield the matrix in as many blocks of columns as the width asks for."""
    count = len(names)
    rows = [[_distance(comparison, value, less=1) for value in row] for row in comparison.distances.tolist()]
    for place in range(count):
        rows[place][place] = _ITSELF
    cell = max(len(text) for row in rows for text in row)
    margin = max(SHORTEST_NAME, min(max(map(_columns, names)), width // 3))
    step = max(1, (width - margin) // (cell + len(GAP)))
    for start in range(0, count, step):
        shown = range(start, min(start + step, count))
        heads = "".join(f"{GAP}{place + 1:>{cell}}" for place in shown)
        yield f"{'':{margin}}{heads}\n"
        for name, row in zip(names, rows, strict=True):
            yield _padded(name, margin) + "".join(f"{GAP}{row[place]:>{cell}}" for place in shown) + "\n"


def _nearest(comparison: Comparison, names: Sequence[str], width: int) -> Iterator[str]:
    pairs = comparison.nearest_pairs(MOST_NEAREST)
    figures = [_figures(comparison, pair) for pair in pairs]
    widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
    # Numbers stand to the right, the verdict, which is the last, to the left.
    ways = [">"] * (len(widths) - (comparison.calibration is not None)) + ["<"]
    heads = [
        GAP.join(f"{text:{way}{wide}}" for text, way, wide in zip(row, ways, widths, strict=False))
        for row in figures
    ]
    room = max(2 * SHORTEST_NAME, width - len(heads[0]) - 2 * len(GAP))
    margin = min(room // 2, max(_columns(names[pair.a]) for pair in pairs))
    for head, pair in zip(heads, pairs, strict=True):
        yield GAP.join((head, _padded(names[pair.a], margin), _fitted(names[pair.b], room - margin))) + "\n"
    if left_out := comparison.pair_count - len(pairs):
        yield f"and {counted(left_out, 'more pair')}: --format csv has them all\n"


def _figures(comparison: Comparison, pair: FacePair) -> tuple[str, ...]:
    distance = _distance(comparison, pair.distance)
    if pair.probability is None or pair.verdict is None:
        return (distance,)
    return distance, percent(pair.probability), pair.verdict


def as_csv(comparison: Comparison) -> Iterator[str]:
    """Yield a heading and one record a pair."""
    yield csv_line(COLUMNS)
    for pair in comparison.pairs():
        a, b = comparison.references[pair.a], comparison.references[pair.b]
        known = [
            "" if figure is None else f"{figure:.6f}"
            for figure in map(_finite, (pair.distance, pair.similarity, pair.probability))
        ]
        yield csv_line((a.path, b.path, a.face, b.face, *known, pair.verdict or ""))


def json_fields(comparison: Comparison, model: str) -> dict[str, Any]:
    """Return the faces, the pairs, the matrix and the photos that gave no face."""
    return {
        "model": model,
        "metric": comparison.metric,
        "threshold": comparison.threshold,
        "photos": [_photo_fields(one) for one in comparison.references],
        "pairs": [_pair_fields(pair) for pair in comparison.pairs()],
        "matrix": [[_finite(value) for value in row] for row in comparison.distances.tolist()],
        "problems": [
            with_path_bytes({"path": path, "message": error.message, "hint": error.hint})
            for path, error in comparison.problems
        ],
    }


def _photo_fields(one: Reference) -> dict[str, Any]:
    box = {"x": one.box.x, "y": one.box.y, "w": one.box.width, "h": one.box.height}
    return with_path_bytes({"path": one.path, "face": one.face, "box": box})


def _pair_fields(pair: FacePair) -> dict[str, Any]:
    return {
        "a": pair.a,
        "b": pair.b,
        "distance": _finite(pair.distance),
        "similarity": _finite(pair.similarity),
        "probability": pair.probability,
        "verdict": pair.verdict,
    }


def _finite(value: float | None) -> float | None:
    """Return what JSON has a word for: a network's vectors may hold no finite numbers."""
    return value if value is not None and math.isfinite(value) else None


def write_sheet(comparison: Comparison, model: str, destination: str) -> None:
    """Draw the nearest pairs and save the picture."""
    from facesearch.compare import SAME
    from facesearch.show.drawing import QUIET
    from facesearch.show.pair_sheet import MOST_PAIRS, RIGHT, Pair, Side, draw_pairs
    from facesearch.show.sheet import save_sheet

    def drawn(pair: FacePair) -> Pair:
        left, right = (
            Side(one.path, one.box, moment=one.moment)
            for one in (comparison.references[pair.a], comparison.references[pair.b])
        )
        if pair.verdict is None:
            return Pair(left, right, _sheet_lines(comparison, pair))
        colour = RIGHT if pair.verdict == SAME else QUIET
        return Pair(left, right, _sheet_lines(comparison, pair), colour)

    pairs = [drawn(pair) for pair in comparison.nearest_pairs(MOST_PAIRS)]
    heading = f"By {model}, {comparison.metric} distance (smaller is nearer)"
    image = draw_pairs(pairs, heading=heading, others=comparison.pair_count - len(pairs))
    save_sheet(image, Path(destination))


def _sheet_lines(comparison: Comparison, pair: FacePair) -> tuple[str, ...]:
    distance = f"distance {_distance(comparison, pair.distance, less=1)}"
    if pair.probability is None or pair.verdict is None:
        return (distance,)
    return pair.verdict, f"{distance}, {percent(pair.probability)} that both are one person"


def _distance(comparison: Comparison, value: float, less: int = 0) -> str:
    return f"{value:.{DIGITS[comparison.metric] - less}f}"


def _photo(one: Reference) -> str:
    return escaped(one.path) + _which(one)


def _which(one: Reference) -> str:
    """Name the face of a photo, unless it is the largest."""
    return f" (face {one.face})" if one.face > 1 else ""


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def _padded(text: str, width: int) -> str:
    text = _fitted(text, width)
    return text + " " * (width - _columns(text))


def _fitted(text: str, width: int) -> str:
    """Take letters out of the middle until a text takes at most so many columns; its ends tell the most."""
    kept = len(text)
    short = text
    while _columns(short) > width:
        kept -= 1
        head = (kept + 1) // 2
        short = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
    return short
