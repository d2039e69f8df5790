"""How names and figures are written for people: without control characters, short, never too certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facesearch.faces import Moment

# They are shown by what they do to their neighbours, in Persian and in emoji of families; they hide nothing.
_JOINERS = "\u200c\u200d"


def escaped(text: str) -> str:
    """Return text for a person to read, with control characters and lone surrogates escaped."""
    return text if text.isprintable() else "".join(_shown(character) for character in text)


def short_names(paths: Sequence[str]) -> list[str]:
    """Return each photo's file name, with as many of its folders as distinguish it from the other photos.

    A path that occurs twice has the same name twice.

    Example:
        >>> short_names(["/p/a.jpg", "/q/a.jpg", "/q/b.jpg"])
        ['p/a.jpg', 'q/a.jpg', 'b.jpg']
    """
    parts = {path: PurePath(path).parts for path in paths}
    names: dict[str, str] = {}
    depth = 1
    while len(names) < len(parts):
        tails = {path: whole[-depth:] for path, whole in parts.items()}
        times = Counter(tails.values())
        for path, tail in tails.items():
            # Of a path without more folders there is no more to say: two spellings may be one path.
            if path not in names and (times[tail] == 1 or depth >= len(parts[path])):
                names[path] = str(PurePath(*tail))
        depth += 1
    return [names[path] for path in paths]


def percent(probability: float) -> str:
    """Return a probability in per cent with one decimal, but never a certainty, which no model has."""
    if probability > 0.999:
        return ">99.9 %"
    return "<0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def few(count: float) -> str:
    """Return an estimated count with two digits, as "0.12" or "3.4"; from 10 on as a whole number."""
    return "<0.01" if count < 0.01 else f"{count:.2g}" if count < 10 else f"{count:,.0f}"


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def clock(moment: Moment) -> str:
    """Return when a face of a clip is seen as it is here, as in "0:01:23"; of a picture, "frame 3"."""
    if moment.frame:
        return f"frame {moment.frame}"
    seconds = moment.best // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def frame_and_time(moment: Moment | None) -> tuple[str, str]:
    """Return the columns `frame` and `time` of a face, in seconds; empty where there is nothing to say."""
    if moment is None:
        return "", ""
    return (str(moment.frame), "") if moment.frame else ("", f"{moment.best / 1000:.3f}")


def seen(moment: Moment) -> str:
    """Return `clock` as a phrase: "at 0:01:23", or "in frame 3"."""
    return f"{'in' if moment.frame else 'at'} {clock(moment)}"
