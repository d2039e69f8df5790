"""Checks of untrusted JSON: each reader returns a value of its type, or raises ValueError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of integers from `low` to `high`."""

    def read(value: Any) -> int:  # noqa: ANN401 - JSON
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return read


def number(low: float, high: float) -> Callable[[Any], float]:
    """Return a reader of finite numbers from `low` to `high`."""

    def read(value: Any) -> float:  # noqa: ANN401 - JSON
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def text(pattern: str) -> Callable[[Any], str]:
    """Return a reader of text that matches a whole pattern."""

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
    """Return a reader of lists with `least` to `most` items, each read by `read`."""

    def read_rows(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError
        return tuple(read(item) for item in value)

    return read_rows


def row(read: Callable[[Any], Any], length: int) -> Callable[[Any], tuple[Any, ...]]:
    """Return a reader of lists with exactly `length` items, each read by `read`."""
    return rows(read, length, length)


def table(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Return a reader of objects whose keys and values are read by these readers."""

    def read_table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {read_key(key): read(item) for key, item in value.items()}

    return read_table
