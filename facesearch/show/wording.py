"""Names of photos as people read them: without control characters, short where they are shown together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

# Shown by what they do to their neighbours, in Persian and in families of emoji; they hide nothing.
_JOINERS = "\u200c\u200d"


def escaped(text: str) -> str:
    """Return text for a person to read: control characters and lone surrogates escaped."""
    return text if text.isprintable() else "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def short_names(paths: Sequence[str]) -> list[str]:
    """Return each photo's file name, with as many of its folders as tell it from the other photos.

    A path that stands there twice has the same name twice.
    """
    parts = {path: PurePath(path).parts for path in paths}
    names: dict[str, str] = {}
    depth = 1
    while len(names) < len(parts):
        tails = {path: whole[-depth:] for path, whole in parts.items()}
        times = Counter(tails.values())
        for path, tail in tails.items():
            # A path that is used up is all there is to say, as where two spellings are one path.
            if path not in names and (times[tail] == 1 or depth >= len(parts[path])):
                names[path] = str(PurePath(*tail))
        depth += 1
    return [names[path] for path in paths]


def percent(probability: float) -> str:
    """Return a probability in per cent with one decimal, but never a certainty that no model has."""
    if probability > 0.999:
        return ">99.9 %"
    return "<0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def few(count: float) -> str:
    """Return a count that is an estimate."""
    return "<0.01" if count < 0.01 else f"{count:.2g}" if count < 10 else f"{count:,.0f}"
