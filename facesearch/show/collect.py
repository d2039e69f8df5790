"""Put photos together in one folder, as copies or as links; nothing there is overwritten."""

from __future__ import annotations

import filecmp
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from itertools import count

from facesearch.errors import StorageError, UnreadablePhoto
from facesearch.files import storage_error
from facesearch.photos.find import is_photo_name, open_without_waiting
from facesearch.photos.read import decode, read_content
from facesearch.photos.urls import is_url


def collect(paths: Iterable[str], folder: str, *, link: bool) -> int:
    """Copy photos into a folder, or link to them from there.

    Of two photos of one name the second is called "name (2).jpg". What is there already, as the same file
    or with the same content, is left as it is.

    Returns:
        How many of the photos are in the folder now, each counted once.

    Raises:
        StorageError: The folder cannot be made or written.
        UnreadablePhoto: Files that cannot be read any more, or are no photos; all others are in the folder.
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
        reason = _why_not(path)
        if reason:
            lost.append((path, reason))
            continue
        try:
            _put(path, folder, link=link)
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
    if any(map(is_url, paths)):
        raise StorageError("No link can be made to a photo at a URL.", "Copy them.")


def _why_not(path: str) -> str:
    """Say why a photo cannot be taken; empty where it can."""
    try:
        _check(path)
    except OSError as error:
        return error.strerror or str(error)
    except UnreadablePhoto:
        return "it is not a photo"
    return ""


def _check(path: str) -> None:
    """See that a photo can be read and is one: an index may be a stranger's, and name any file.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is no ordinary file, or neither its name nor its content is a photo's.
    """
    if is_url(path) or not is_photo_name(path):
        decode(read_content(path).data, side=64)
        return
    with open(path, "rb", opener=open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadablePhoto("It is not an ordinary file.")


def _put(path: str, folder: str, *, link: bool) -> None:
    """Put a photo where no other file is, unless it is there already."""
    stem, suffix = os.path.splitext(os.path.basename(path))
    for number in count(1):
        name = stem + (f" ({number})" if number > 1 else "") + suffix
        target = os.path.join(folder, name)
        if not os.path.lexists(target):
            break
        if os.path.exists(target) and _is_same(path, target):
            return
    if link:
        os.symlink(path, target)
        return
    # Under a name of its own first: a copy that is cut short must not pass for the photo.
    partial = os.path.join(folder, f".facesearch-{secrets.token_hex(8)}.tmp")
    try:
        if is_url(path):
            with open(partial, "xb") as file:
                file.write(read_content(path).data)
        else:
            shutil.copy2(path, partial)
        os.replace(partial, target)
    except OSError:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def _is_same(path: str, target: str) -> bool:
    if is_url(path):
        with open(target, "rb") as file:
            return file.read() == read_content(path).data
    return os.path.samefile(path, target) or filecmp.cmp(path, target, False)
