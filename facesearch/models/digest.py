"""Digests of files, and their comparison with what is pinned."""

from __future__ import annotations

import hashlib
from pathlib import Path

from facesearch.errors import ModelBroken


def file_digest(path: Path, algorithm: str) -> str:
    """Return a file's digest in hex."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def check_digest(path: Path, wanted: str) -> None:
    """Compare a file with "algorithm:hex".

    Raises:
        ModelBroken: They differ.
    """
    algorithm, _, value = wanted.partition(":")
    if (found := file_digest(path, algorithm)) != value:
        raise ModelBroken(f"{path.name} has the {algorithm} {found[:12]}... where {value[:12]}... is pinned.")
