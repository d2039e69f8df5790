"""Small JPEGs of photos and faces, and the cache of them in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from facesearch.errors import StorageError, UnreadablePhoto
from facesearch.faces import Box, FileState, Moment
from facesearch.files import replaced, storage_error
from facesearch.photos.clips import picture_at
from facesearch.photos.content import DIGEST_BYTES, fingerprint
from facesearch.photos.decode import Picture
from facesearch.photos.find import modified
from facesearch.photos.urls import is_photo_url, state_of

LIMIT = 512 * 2**20  # bytes of all pictures in the cache
# When the limit is reached, room is made for more than one picture: this part of it is left.
LEFT = 0.9
QUALITY = 85  # of the JPEGs
VIEW = 1.5  # how much a picture of a face shows, in sizes of the face


def default_folder() -> Path:
    """Return the folder of the pictures, in the user's cache folder."""
    return Path(user_cache_dir("facesearch", appauthor=False), "thumbnails")


class Thumbnails:
    """A cache of small pictures; a picture that is not in it is made from the photo.

    Threads and processes may use one folder at once. The files are readable by the user alone. A folder that
    cannot be written is not an error: every picture is then made anew.

    Args:
        folder: The folder of the pictures; by default in the user's cache folder. It is made when needed.
        limit: The bytes that the pictures may take; the least recently used are removed first.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = LIMIT) -> None:
        self.folder = folder or default_folder()
        self._limit = limit
        self._lock = threading.Lock()
        self._held: int | None = None  # bytes, as far as this process knows; None before it has looked

    def photo(self, path: str, digest: bytes, side: int, moment: Moment | None = None) -> bytes:
        """Return the whole photo upright, as a JPEG that fits into a square; never enlarged.

        Args:
            path: The photo, or a clip.
            digest: The digest of its content in the index, 16 bytes.
            side: The side of the square, in pixels.
            moment: When in a clip.

        Raises:
            UnreadablePhoto: It is gone, cannot be read, or has changed since.
        """
        return self._get(
            path,
            digest,
            f"photo-{side}{_at(moment)}",
            lambda: picture_at(path, moment, side=side),
            lambda picture: photo_jpeg(picture, side),
        )

    def face(self, path: str, digest: bytes, box: Box, side: int, moment: Moment | None = None) -> bytes:
        """Return a face with a quarter of its size on each side, as a square JPEG.

        Args:
            path: The photo, or a clip.
            digest: The digest of its content in the index, 16 bytes.
            box: The face, in pixels of the upright photo.
            side: The side of the square, in pixels; a smaller face is enlarged.
            moment: When in a clip.

        Raises:
            UnreadablePhoto: The photo is gone, cannot be read, or has changed since.
        """
        shrink = VIEW * max(box.width, box.height) / side
        return self._get(
            path,
            digest,
            f"face-{side}-{box.x}-{box.y}-{box.width}-{box.height}{_at(moment)}",
            lambda: picture_at(path, moment, shrink=shrink),
            lambda picture: face_jpeg(picture, box, side),
        )

    def forget(self, digests: Iterable[bytes]) -> int:
        """Remove all pictures of photos with these contents.

        Returns:
            The number of pictures that were removed.

        Raises:
            StorageError: A picture cannot be removed, or is there afterwards.
        """
        names = {digest.hex() for digest in digests}
        removed = sum(_remove(entry.path) for entry in self._of(names))
        with self._lock:
            self._held = None
        if left := next(self._of(names), None):
            raise StorageError(
                f"{left.path!r} was made again while it was removed.", "Run the same command again."
            )
        return removed

    def _of(self, names: Collection[str]) -> Iterator[os.DirEntry[str]]:
        """Yield the files of pictures of some photos, by their digests in hex."""
        for shard in sorted({name[:2] for name in names}):
            for entry in _entries(self.folder / shard):
                if entry.name[: 2 * DIGEST_BYTES] in names:
                    yield entry

    def _get(
        self,
        path: str,
        digest: bytes,
        kind: str,
        read: Callable[[], tuple[FileState, Picture]],
        draw: Callable[[Picture], bytes],
    ) -> bytes:
        """Return a picture from the cache; otherwise draw it, and keep it for the next time."""
        kept = _read_kept(self._file(digest, kind, *_state(path)))
        if kept is not None:
            return kept
        try:
            file, picture = read()
        except OSError as error:
            raise _gone(path, error) from error
        if digest not in file.digests:
            raise UnreadablePhoto(
                f"{path!r} has changed since it was indexed.",
                "Bring the index up to date with `facesearch index`.",
            )
        drawn = draw(picture)
        self._keep(self._file(digest, kind, file.size, file.mtime_ns), drawn)
        return drawn

    def _file(self, digest: bytes, kind: str, size: int, mtime_ns: int) -> Path:
        """Return the file of a picture; it is another one once the photo was written again."""
        name = digest.hex()
        return self.folder / name[:2] / f"{name}-{kind}-{size}-{mtime_ns}.jpg"

    def _keep(self, place: Path, picture: bytes) -> None:
        """Write a picture with its digest, by which a torn file is known; do without if the disk refuses."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            with replaced(place, private=True, durable=False) as file:
                file.write(picture + fingerprint(picture))
            self._make_room(len(picture) + DIGEST_BYTES)

    def _make_room(self, added: int) -> None:
        """Remove the least recently used pictures if there are too many; only then are the folders read."""
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
        """Yield the time of last use, the size and the path of every file."""
        for shard in _entries(self.folder):
            for entry in _entries(Path(shard.path)):
                with contextlib.suppress(OSError):  # another process removed it
                    about = entry.stat(follow_symlinks=False)
                    yield about.st_mtime_ns, about.st_size, entry.path


def photo_jpeg(picture: Picture, side: int) -> bytes:
    """Return a photo as a JPEG that fits into a square of `side` pixels; never enlarged."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, side / max(width, height))
    return _jpeg(picture.pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def face_jpeg(picture: Picture, box: Box, side: int) -> bytes:
    """Return a face with a quarter of its size on each side, as far as the photo reaches, as a square JPEG.

    Args:
        picture: The photo.
        box: The face, in pixels of the upright photo at full size.
        side: The side of the JPEG, in pixels.
    """
    height, width = picture.pixels.shape[:2]
    face = box.scaled(1 / picture.scale)
    view = min(max(1, round(VIEW * max(face.width, face.height))), width, height)
    window = window_around(face.centre, (view, view), (width, height))
    rows, columns = slice(window.y, window.y + view), slice(window.x, window.x + view)
    return _jpeg(picture.pixels[rows, columns], side, side)


def window_around(centre: tuple[float, float], size: tuple[int, int], photo: tuple[int, int]) -> Box:
    """Return a part of a photo around a point, moved as far as needed to lie in the photo.

    Args:
        centre: The point: x and y.
        size: Width and height of the part.
        photo: Width and height of the photo, at least as large.
    """
    (x, y), (width, height), (photo_width, photo_height) = centre, size, photo
    left = min(max(0, round(x - width / 2)), photo_width - width)
    top = min(max(0, round(y - height / 2)), photo_height - height)
    return Box(left, top, width, height)


def _jpeg(pixels: NDArray[np.uint8], width: int, height: int) -> bytes:
    if pixels.shape[:2] != (height, width):
        shrinks = width < pixels.shape[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=way), np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def _state(path: str) -> tuple[int, int]:
    """Return a photo's size in bytes and its time of modification in nanoseconds."""
    try:
        if is_photo_url(path):
            return state_of(path)
        about = os.stat(path)
    except OSError as error:
        raise _gone(path, error) from error
    if not stat.S_ISREG(about.st_mode) or not os.access(path, os.R_OK):
        raise UnreadablePhoto(f"{path!r} is not a file that can be read.")
    return about.st_size, modified(about)


def _at(moment: Moment | None) -> str:
    return "" if moment is None else f"-at-{moment.best}"


def _gone(path: str, error: OSError) -> UnreadablePhoto:
    return UnreadablePhoto(f"{path!r} cannot be read: {error.strerror or error}.")


def _read_kept(file: Path) -> bytes | None:
    """Return a picture that is in the cache and whole, and mark it as used; None otherwise."""
    try:
        data = file.read_bytes()
        picture, seal = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if fingerprint(picture) != seal:
            return None
        os.utime(file)
    except OSError:
        return None
    return picture


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: str) -> int:
    """Remove a file; return how many files were removed, 1 or 0."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise storage_error(path, error) from error
    return 1
