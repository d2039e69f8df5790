"""JSON that may come from anyone: each reader gives a value in its own type, or raises."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Read a whole number of this range."""

    def read(value: Any) -> int:  # noqa: ANN401 - JSON
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return read


def number(low: float, high: float) -> Callable[[Any], float]:
    """Read a finite number of this range."""

    def read(value: Any) -> float:  # noqa: ANN401 - JSON
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def text(pattern: str) -> Callable[[Any], str]:
    """Read text that matches a pattern whole."""

    def read(value: Any) -> str:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return value

    return read


def prose(value: Any) -> str:  # noqa: ANN401 - JSON
    """Read printable text."""
    if not isinstance(value, str) or len(value) > 4000 or not value.isprintable():
        raise ValueError
    return value


def flag(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def rows(read: Callable[[Any], Any], least: int, most: int) -> Callable[[Any], tuple[Any, ...]]:
    """Read a list of values of one kind, of this range of lengths."""

    def read_rows(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError
        return tuple(read(item) for item in value)

    return read_rows


def row(read: Callable[[Any], Any], length: int) -> Callable[[Any], tuple[Any, ...]]:
    """Read a list of so many values of one kind."""
    return rows(read, length, length)


def table(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Read an object of one kind of keys and one of values."""

    def read_table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {read_key(key): read(item) for key, item in value.items()}

    return read_table
