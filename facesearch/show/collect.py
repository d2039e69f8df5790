"""Collect photos in one folder, as copies or as links, or in a zip; nothing there is overwritten."""

from __future__ import annotations

import filecmp
import io
import os
import re
import shutil
import stat
import time
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from facesearch.errors import StorageError, UnreadablePhoto
from facesearch.files import open_without_waiting, replaced, storage_error
from facesearch.photos.content import read_content
from facesearch.photos.decode import decode
from facesearch.photos.find import is_photo_name
from facesearch.photos.urls import is_photo_url

# Bytes of a file's name, on all common file systems.
_LONGEST = 255
MISSING = "missing.txt"  # names, in a zip, the photos that it lacks
_PIECE = 256 << 10  # bytes of a zip that are passed on at one time
# What some systems do not take in the name of a file, or read as a folder.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_FIRST_YEAR, _LAST_YEAR = 1980, 2107  # of the dates in a zip


def collect(paths: Iterable[str], folder: str, *, link: bool) -> int:
    """Copy photos into a folder, or link to them from there.

    Of two photos with the same name the second is called "name (2).jpg", with as much of the name as the file
    system allows. A photo that is in the folder already, as the same file or with the same content, is left
    as it is.

    Args:
        paths: The photos: paths, or URLs, which can only be copied.
        folder: The folder, which is made if it does not exist.
        link: Whether to make symbolic links instead of copies.

    Returns:
        How many of the photos are in the folder now, each counted once.

    Raises:
        StorageError: The folder cannot be made or written.
        UnreadablePhoto: Some files cannot be read any more, or are not photos; all others are in the folder.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"{folder!r} is a file, not a folder.", "Name another folder.") from error
    except OSError as error:
        raise storage_error(folder, error) from error
    wanted = list(dict.fromkeys(paths))
    if link:
        _refuse_urls(wanted)
    lost: list[tuple[str, str]] = []
    for path in wanted:
        reason = _problem(path)
        if reason:
            lost.append((path, reason))
            continue
        try:
            _add(path, folder, link=link)
        except OSError as error:
            raise storage_error(folder, error) from error
    if lost:
        path, reason = lost[0]
        others = f", and {len(lost) - 1} more," if len(lost) > 1 else ""
        raise UnreadablePhoto(
            f"{path!r}{others} cannot be read any more ({reason}); the other {len(wanted) - len(lost)} "
            f"of {len(wanted)} photos are in {folder!r}.",
            "Bring the index up to date with `facesearch index`.",
        )
    return len(wanted)


def zipped(photos: Iterable[tuple[Sequence[str], bytes]]) -> Iterator[bytes]:
    """Yield a zip of photos, which is made while it is read: one photo at a time is in memory.

    Args:
        photos: Of each the paths or URLs of its copies, and the digest of its content. Of those that no path
            leads to any more, a text file in the zip tells the names.
    """
    names, missing = _Names([MISSING]), []
    buffer = _Passing()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:  # photos are compressed already
        for paths, digest in photos:
            found = _first_there(paths, digest)
            if found is None:
                missing.append(paths[0])
                continue
            path, data, written = found
            packed.writestr(_about(names.free(os.path.basename(path)), written), data)
            del found, data
            yield from buffer.passed_on()
        if missing:
            told = "".join(f"{_safe(path)}\n" for path in missing)
            packed.writestr(MISSING, f"These photos are gone, or other photos are there now:\n{told}")
    yield from buffer.passed_on()


def _first_there(paths: Sequence[str], digest: bytes) -> tuple[str, bytes, int] | None:
    """Return the first path that holds a photo, with its content and time; None if there is none."""
    for path in paths:
        try:
            content = read_content(path)
        except (OSError, UnreadablePhoto):
            continue
        if digest in content.file.digests:
            return path, content.data, content.file.mtime_ns
    return None


def _about(name: str, written: int) -> zipfile.ZipInfo:
    when = time.localtime(max(written, 0) / 1e9)[:6]
    info = zipfile.ZipInfo(
        name, when if _FIRST_YEAR <= when[0] <= _LAST_YEAR else (_FIRST_YEAR, 1, 1, 0, 0, 0)
    )
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


class _Names:
    """The names that are taken in a folder that does not tell capitals from small letters."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def free(self, name: str) -> str:
        """Return a name that nothing has, made of one that something may have; it is taken then."""
        stem, suffix = os.path.splitext(_UNSAFE.sub("_", _safe(name)))
        for number in count(1):
            ending = (f" ({number})" if number > 1 else "") + suffix
            while stem and len((stem + ending).encode()) > _LONGEST:
                stem = stem[:-1]
            folded = unicodedata.normalize("NFC", (stem + ending).casefold())
            if folded not in self._taken:
                break
        self._taken.add(folded)
        return stem + ending


def _safe(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")


class _Passing(io.BytesIO):
    """A file of which only what was not passed on yet is in memory; positions count from its beginning."""

    _gone = 0

    def tell(self) -> int:
        return self._gone + super().tell()

    def seek(self, position: int, whence: int = 0, /) -> int:
        return self._gone + super().seek(position - self._gone, whence)

    def passed_on(self) -> Iterator[bytes]:
        """Yield what was written, and forget it."""
        with self.getbuffer() as held:
            for start in range(0, len(held), _PIECE):
                yield bytes(held[start : start + _PIECE])
            self._gone += len(held)
        super().seek(0)
        self.truncate(0)


def _refuse_urls(paths: Iterable[str]) -> None:
    if any(map(is_photo_url, paths)):
        raise StorageError("A photo at a URL cannot be linked to.", "Copy the photos with --copy-to instead.")


def _problem(path: str) -> str:
    """Return why a photo cannot be collected; empty if it can."""
    try:
        _check(path)
    except OSError as error:
        return error.strerror or str(error)
    except UnreadablePhoto:
        return "it is not a photo"
    return ""


def _check(path: str) -> None:
    """Check that a photo can be read and is one: an index may come from a stranger, and name any file.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is not an ordinary file, or neither its name nor its content is a photo's.
    """
    if is_photo_url(path) or not is_photo_name(path):
        decode(read_content(path).picture, side=64)
        return
    with open(path, "rb", opener=open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadablePhoto("It is not an ordinary file.")


def _add(path: str, folder: str, *, link: bool) -> None:
    """Copy or link a photo under a name that no other file has, unless it is there already."""
    stem, suffix = os.path.splitext(os.path.basename(path))
    for number in count(1):
        ending = (f" ({number})" if number > 1 else "") + suffix
        while stem and len(os.fsencode(stem + ending)) > _LONGEST:
            stem = stem[:-1]
        target = os.path.join(folder, stem + ending)
        if not os.path.lexists(target):
            break
        if os.path.exists(target) and _is_same(path, target):
            return
    if link:
        os.symlink(path, target)
        return
    with replaced(Path(target)) as file:  # a copy that is cut short must not pass for the photo
        if is_photo_url(path):
            file.write(read_content(path).data)
        else:
            with open(path, "rb") as photo:
                shutil.copyfileobj(photo, file)
            file.flush()
            shutil.copystat(path, file.name)


def _is_same(path: str, target: str) -> bool:
    """Return whether a file is a photo already, or has its content."""
    if is_photo_url(path):
        with open(target, "rb") as file:
            return file.read() == read_content(path).data
    return os.path.samefile(path, target) or filecmp.cmp(path, target, False)
