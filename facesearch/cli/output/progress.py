"""A bar on stderr for long work, only on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facesearch.faces import PhotoFaces


class Progress:
    """Photos done, photos/s, faces and time left.

    Args:
        quiet: Whether to show nothing even on a terminal.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None
        self._faces = 0

    def start(self, photos: int) -> None:
        """Show the bar for so many photos."""
        if self._bar is not None:
            self._bar.close()
        if photos and not self._quiet:
            from tqdm import tqdm

            self._bar = tqdm(total=photos, unit=" photos", dynamic_ncols=True, file=sys.stderr)

    def photo(self, photo: PhotoFaces | None = None) -> None:
        """Count a photo, and its faces where they were looked for."""
        if self._bar is not None:
            if photo is not None:
                self._faces += len(photo.faces)
                self._bar.set_postfix_str(f"{self._faces} faces", refresh=False)
            self._bar.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
