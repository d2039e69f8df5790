"""Lists of photos from a file or stdin: one a line, or each ended by a zero byte."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facesearch.errors import UnreadablePhoto


def read_list(name: str, end: bytes) -> list[str]:
    """Read paths of whatever bytes; empty ones are passed over.

    Args:
        name: The file, "-" for stdin.
        end: What ends a path: a newline or a zero byte.

    Raises:
        UnreadablePhoto: The list itself cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"The list {name!r} cannot be read: {error.strerror or error}.") from error
    paths = data.split(end)
    if end == b"\n":
        paths = [path.removesuffix(b"\r") for path in paths]
    return [os.fsdecode(path) for path in paths if path]


def with_lists(named: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Give the photos that are named and those of --files-from and --files0-from.

    Raises:
        UnreadablePhoto: A list cannot be read.
    """
    photos = list(named)
    for name, end in (("files_from", b"\n"), ("files0_from", b"\0")):
        if options[name]:
            photos += read_list(options[name], end)
    return photos
