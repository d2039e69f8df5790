"""Collect photos in one folder, as copies or as links; nothing there is overwritten."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from collections.abc import Iterable
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
