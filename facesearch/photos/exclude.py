"""Which files and folders below a root are left out.

Patterns are those of .gitignore, compared in the composed form of Unicode, since file systems of macOS
decompose names. The last pattern that matches decides: first come folders that hold no photographs, then the
files `.facesearchignore` from the root down, then what the user asked for. A folder that holds `.nomedia` is
left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from pathspec import GitIgnoreSpec

from facesearch.errors import FacesearchError
from facesearch.paths import beginning, relative_path, separator

IGNORE_FILE, NO_MEDIA = ".facesearchignore", ".nomedia"
# Bins, snapshots and thumbnails of systems and programs, and package trees; in any case.
NO_PHOTOS = (
    "$recycle.bin/",
    "@eadir/",
    "@recently-snapshot/",
    "@recycle/",
    "\\#recycle/",
    "\\#snapshot/",
    "__macosx/",
    "ipod photo cache/",
    "*.lrdata/",
    "lost+found/",
    "lost.dir/",
    "node_modules/",
    "**/*.photoslibrary/resources/derivatives/",
    "recycler/",
    "system volume information/",
)


class Exclusions:
    """What is left out below one root.

    Paths are relative to the root, with slashes.

    Attributes:
        matched: The user's patterns that have matched something.

    Args:
        root: The root's absolute path, or URL.
        patterns: The user's. `./X` and an absolute path below the root are relative to the root.
        defaults: Whether `NO_PHOTOS` are left out.

    Raises:
        FacesearchError: A pattern is none.
    """

    def __init__(self, root: str, patterns: Sequence[str] = (), *, defaults: bool = True) -> None:
        self.matched: set[str] = set()
        self._defaults = GitIgnoreSpec.from_lines(NO_PHOTOS) if defaults else None
        self._wanted = [(pattern, _spec(_relative(pattern, root))) for pattern in patterns]
        self._files: dict[str, GitIgnoreSpec] = {}
        self._bare: set[str] = set()

    def read(self, folder: str, lines: Iterable[str]) -> None:
        """Heed a folder's file of patterns.

        Raises:
            FacesearchError: A line is no pattern.
        """
        self._files[folder] = _spec(*lines)

    def leave_out(self, folder: str) -> None:
        """Leave out all that lies below a folder."""
        self._bare.add(folder)

    def concern(self, *, folder: bool) -> bool:
        """Return whether any file, or folder, may be left out."""
        return bool(self._wanted or self._files or (folder and (self._defaults or self._bare)))

    def excludes(self, path: str, *, folder: bool) -> bool:
        """Return whether a file or folder is left out whose own folder is not."""
        if folder and path in self._bare:
            return True
        if not self.concern(folder=folder):
            return False
        name = _composed(path) + "/" * folder
        left_out = bool(folder and self._defaults and self._defaults.match_file(name.casefold()))
        for above in _folders_above(path):
            if above in self._files:
                inside = name[len(_composed(above)) + 1 :] if above else name
                decided = self._files[above].check_file(inside).include
                left_out = left_out if decided is None else decided
        for pattern, spec in self._wanted:
            decided = spec.check_file(name).include
            if decided is not None:
                self.matched.add(pattern)
                left_out = decided
        return left_out

    def covers(self, path: str) -> bool:
        """Return whether a file is left out, by itself or with a folder above it."""
        folders = [*_folders_above(path)][1:]
        return any(self.excludes(one, folder=True) for one in folders) or self.excludes(path, folder=False)


def _spec(*patterns: str) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(map(_composed, patterns))
    except ValueError as error:
        shown = patterns[0] if len(patterns) == 1 else "\n".join(patterns)
        raise FacesearchError(
            f"{shown!r} is no pattern: {error}.",
            "Patterns are those of .gitignore, such as '*.gif' or 'private/'.",
        ) from error


def _relative(pattern: str, root: str) -> str:
    """Return a pattern as .gitignore has it: below the root, a path begins with a slash."""
    sign, rest = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    if rest.startswith(beginning(root)):
        rest = "/" + relative_path(rest, root)
    elif rest.startswith(("./", "." + separator(root))):
        rest = "/" + rest[2:].replace(separator(root), "/")
    elif rest.startswith("#"):
        rest = "\\" + rest  # in a file it would be a comment
    return sign + rest


def _folders_above(path: str) -> Iterable[str]:
    """Yield the folders above a path, from the root, which is "", down."""
    yield ""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
