"""Small JPEGs of photos and faces, kept in the user's cache folder by the photos' contents."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from facesearch.errors import UnreadablePhoto
from facesearch.faces import Box
from facesearch.files import storage_error
from facesearch.photos.find import modified
from facesearch.photos.read import DIGEST_BYTES, Content, Picture, decode, fingerprint, read_content
from facesearch.photos.urls import is_url, state_of

LIMIT = 512 * 2**20
# When the limit is reached, room is made for more than one picture.
LEFT = 0.9
QUALITY = 85
# Around a face a quarter of it on each side.
VIEW = 1.5


def default_folder() -> Path:
    """Return where the pictures lie: in the user's cache folder."""
    return Path(user_cache_dir("facesearch", appauthor=False), "thumbnails")


class Thumbnails:
    """A cache of small pictures; what is not in it is made from the photo.

    Threads and processes may use one folder at once. The files are readable for the user alone. A folder that
    cannot be written is no error: then every picture is made anew.

    Args:
        folder: Where the pictures lie; by default in the user's cache folder. It is made when it is needed.
        limit: How many bytes they may take; those that were not used for longest go first.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = LIMIT) -> None:
        self.folder = folder or default_folder()
        self._limit = limit
        self._lock = threading.Lock()
        self._held: int | None = None  # bytes, as far as this process knows; None before it looked

    def photo(self, path: str, digest: bytes, side: int) -> bytes:
        """Return the whole photo upright, as a JPEG that fits into a square of `side` pixels; never enlarged.

        Args:
            path: The photo.
            digest: Of its content, as the index has it, 16 bytes.
            side: In pixels.

        Raises:
            UnreadablePhoto: It is gone, cannot be read, or has another content by now.
        """

        def draw(data: bytes) -> bytes:
            return photo_jpeg(decode(data, side=side), side)

        return self._give(path, digest, f"photo-{side}", draw)

    def face(self, path: str, digest: bytes, box: Box, side: int) -> bytes:
        """Return a face with a quarter of it on each side, as a square JPEG of `side` pixels.

        Args:
            path: The photo.
            digest: Of its content, as the index has it, 16 bytes.
            box: The face, in pixels of the upright photo.
            side: In pixels; a smaller face is enlarged.

        Raises:
            UnreadablePhoto: The photo is gone, cannot be read, or has another content by now.
        """
        shrink = VIEW * max(box.width, box.height) / side
        kind = f"face-{side}-{box.x}-{box.y}-{box.width}-{box.height}"

        def draw(data: bytes) -> bytes:
            return face_jpeg(decode(data, shrink=shrink), box, side)

        return self._give(path, digest, kind, draw)

    def forget(self, digests: Iterable[bytes]) -> int:
        """Remove all pictures of photos with these contents.

        Returns:
            How many pictures were removed.

        Raises:
            StorageError: One cannot be removed.
        """
        names = {digest.hex() for digest in digests}
        removed = 0
        for shard in sorted({name[:2] for name in names}):
            for entry in _entries(self.folder / shard):
                if entry.name[: 2 * DIGEST_BYTES] in names:
                    removed += _remove(entry.path)
        with self._lock:
            self._held = None
        return removed

    def _give(self, path: str, digest: bytes, kind: str, draw: Callable[[bytes], bytes]) -> bytes:
        held = _kept(self._place(digest, kind, *_state(path)))
        if held is not None:
            return held
        content = _content(path)
        if content.digest != digest:
            raise UnreadablePhoto(
                f"{path!r} has another content than when it was indexed.",
                "Bring the index up to date with `facesearch index`.",
            )
        drawn = draw(content.data)
        self._keep(self._place(digest, kind, content.size, content.mtime_ns), drawn)
        return drawn

    def _place(self, digest: bytes, kind: str, size: int, mtime_ns: int) -> Path:
        """Return a picture's file. A photo that was written since has another one, and is looked at again."""
        name = digest.hex()
        return self.folder / name[:2] / f"{name}-{kind}-{size}-{mtime_ns}.jpg"

    def _keep(self, place: Path, picture: bytes) -> None:
        """Write a picture beside its place and move it there, as far as the disk lets."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            number, draft = tempfile.mkstemp(".tmp", ".facesearch-", place.parent)
            try:
                with open(number, "wb") as file:
                    file.write(picture + fingerprint(picture))
                os.replace(draft, place)
            except OSError:
                os.unlink(draft)
                raise
            self._make_room(len(picture) + DIGEST_BYTES)

    def _make_room(self, added: int) -> None:
        """Remove what was not used for longest where there is too much; only then are the folders read."""
        with self._lock:
            if self._held is not None and self._held + added <= self._limit:
                self._held += added
                return
            files = sorted(self._files())
            self._held = sum(size for _, size, _ in files)
            if self._held <= self._limit:
                return
            for _, size, path in files:
                if self._held <= LEFT * self._limit:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                self._held -= size

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield all files with the time of their last use and their size."""
        for shard in _entries(self.folder):
            for entry in _entries(Path(shard.path)):
                with contextlib.suppress(OSError):  # another process was faster
                    about = entry.stat(follow_symlinks=False)
                    yield about.st_mtime_ns, about.st_size, entry.path


def photo_jpeg(picture: Picture, side: int) -> bytes:
    """Return a photo as a JPEG that fits into a square of `side` pixels; never enlarged."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, side / max(width, height))
    return _jpeg(picture.pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def face_jpeg(picture: Picture, box: Box, side: int) -> bytes:
    """Return a face with a quarter of it on each side, as far as the photo goes, as a square JPEG.

    Args:
        picture: The photo.
        box: The face, in pixels of the upright photo at full size.
        side: Of the JPEG, in pixels.
    """
    height, width = picture.pixels.shape[:2]
    face = box.scaled(1 / picture.scale)
    view = min(max(1, round(VIEW * max(face.width, face.height))), width, height)
    x, y = face.centre
    left = min(max(0, round(x - view / 2)), width - view)
    top = min(max(0, round(y - view / 2)), height - view)
    return _jpeg(picture.pixels[top : top + view, left : left + view], side, side)


def _jpeg(pixels: NDArray[np.uint8], width: int, height: int) -> bytes:
    if pixels.shape[:2] != (height, width):
        shrinks = width < pixels.shape[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=way), np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def _state(path: str) -> tuple[int, int]:
    """Return a photo's size and time of change."""
    try:
        if is_url(path):
            return state_of(path)
        about = os.stat(path)
    except OSError as error:
        raise _gone(path, error) from error
    if not stat.S_ISREG(about.st_mode) or not os.access(path, os.R_OK):
        raise UnreadablePhoto(f"{path!r} is not a file that can be read.")
    return about.st_size, modified(about)


def _content(path: str) -> Content:
    try:
        return read_content(path)
    except OSError as error:
        raise _gone(path, error) from error


def _gone(path: str, error: OSError) -> UnreadablePhoto:
    return UnreadablePhoto(f"{path!r} cannot be read: {error.strerror or error}.")


def _kept(place: Path) -> bytes | None:
    """Return a picture that is there and whole, and note that it was used."""
    try:
        data = place.read_bytes()
        picture, seal = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if fingerprint(picture) != seal:
            return None
        os.utime(place)
    except OSError:
        return None
    return picture


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: str) -> int:
    """Remove a file; give how many were there, 1 or 0."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise storage_error(path, error) from error
    return 1
