"""Answers to JSON and back: what `query --json` writes and a server sends."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from facesearch.faces import NOWHERE, Answer, Box, Captured, Match, Moment, Reference

SCHEMA = 2  # since the second, matches have "time", and in a clip "start" and "end"


def query_name(answer: Answer) -> str:
    """Return what was asked for: the reference or person, or several of them joined by ' + '."""
    return " + ".join(reference.person or reference.path for reference in answer.references)


def question_as_json(answer: Answer) -> dict[str, Any]:
    """Return the question of an answer."""
    faces = [
        with_path_bytes(
            {
                "path": one.path,
                "face": one.face,
                "box": box_as_json(one.box),
                **({"person": one.person} if one.person else {}),
                **(moment_as_json(one.moment) if one.moment is not None else {}),
            }
        )
        for one in answer.references
    ]
    return {"query": query_name(answer), "references": faces}


def match_as_json(match: Match) -> dict[str, Any]:
    """Return a match."""
    return with_path_bytes(
        {
            "rank": match.rank,
            "distance": None if match.by_hand else match.distance,
            "probability": match.probability,
            "same_person": match.same,
            "expected_strangers": match.strangers,
            "quality": match.quality,
            "captured": None if match.captured is None else str(match.captured),
            "path": match.path,
            "face": match.face,
            "box": None if match.box == NOWHERE else box_as_json(match.box),
            **({"by_hand": True} if match.by_hand else {}),
            **moment_as_json(match.moment),
        }
    )


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """Return an answer with its question and matches."""
    return {**question_as_json(answer), "matches": [match_as_json(match) for match in answer.matches]}


def moment_as_json(moment: Moment | None) -> dict[str, float | None]:
    """Return when a face is seen in a clip, in seconds; `{"time": None}` for one in a photo.

    In a picture that has several frames, the number of the frame is added, but for the first.
    """
    if moment is None:
        return {"time": None}
    if moment.frame:
        return {"time": None, "frame": moment.frame}
    return {"time": moment.best / 1000, "start": moment.start / 1000, "end": moment.end / 1000}


def box_as_json(box: Box) -> dict[str, int]:
    """Return a box."""
    return {"x": box.x, "y": box.y, "w": box.width, "h": box.height}


def answer_from_json(value: Mapping[str, Any]) -> Answer:
    """Read what `answer_as_json` returned; the references' vectors, which it does not hold, are empty.

    Args:
        value: An answer.

    Raises:
        KeyError, TypeError, ValueError: The value is not an answer.
    """
    import numpy as np

    nothing = np.empty(0, np.float32)
    references = tuple(
        Reference(
            _path(one), int(one["face"]), _box(one["box"]), nothing, str(one.get("person", "")), _moment(one)
        )
        for one in value["references"]
    )
    matches = tuple(
        Match(
            int(one["rank"]),
            _path(one),
            int(one["face"]),
            _box(one["box"]),
            float(one["distance"]),
            one["probability"],
            one["same_person"],
            one["expected_strangers"],
            one["quality"],
            _captured(one["captured"]),
            moment=_moment(one),
        )
        for one in value["matches"]
    )
    return Answer(references, matches)


def with_path_bytes(fields: Mapping[str, Any], name: str = "path") -> dict[str, Any]:
    """Add the path's bytes in base64 where they are not UTF-8."""
    result = dict(fields)
    raw = os.fsencode(result[name])
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        result[f"{name}_bytes"] = base64.b64encode(raw).decode("ascii")
    return result


def _path(value: Mapping[str, Any]) -> str:
    raw = value.get("path_bytes")
    return os.fsdecode(base64.b64decode(raw, validate=True)) if raw else str(value["path"])


def _moment(value: Mapping[str, Any]) -> Moment | None:
    if value.get("time") is None:
        return Moment.of_frame(int(value.get("frame", 1)))
    return Moment(*(round(1000 * value[name]) for name in ("start", "end", "time")))


def _captured(text: str | None) -> Captured | None:
    return None if text is None else Captured.at(datetime.fromisoformat(text))


def _box(value: Mapping[str, Any]) -> Box:
    return Box(*(int(value[side]) for side in "xywh"))
