"""A part of the photos, so that several machines or processes can each do one."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from facesearch.errors import FacesearchError

_PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts, counted from 1.

    A photo's part follows from its path below the folder that was named, so that it is the same one on
    machines that have the folder elsewhere, and stays the same when other photos come or go.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N".

        Raises:
            FacesearchError: It is not that, or I is not one of 1 to N.
        """
        match = _PART.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise FacesearchError(f"{text!r} is no part I/N.", "The second of four parts is 2/4.")
        return cls(int(match[1]), int(match[2]))

    def holds(self, path: str, roots: Sequence[bytes]) -> bool:
        """Say whether a photo below one of some folders, or named by itself, is in this part."""
        name = os.fsencode(path)
        folders = [root.rstrip(b"/") + b"/" for root in roots]
        below = (name[len(folder) :] for folder in folders if name.startswith(folder))
        relative = min(below, key=len, default=os.path.basename(name))
        drawn = int.from_bytes(hashlib.blake2b(relative, digest_size=8).digest(), "big")
        return drawn % self.of == self.number - 1
