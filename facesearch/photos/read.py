"""Read photos: the bytes with their fingerprint, and the picture upright."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.errors import UnreadablePhoto
from facesearch.photos.find import modified

if TYPE_CHECKING:
    from PIL.Image import Image

# Phones make photographs of 200 megapixels; what claims more than this is taken for a decompression bomb.
MAX_PIXELS = 256_000_000
MAX_BYTES = 1 << 30
DIGEST_BYTES = 16
# All that Pillow is let near, the commonest first. Its other readers are no photographs', and some of them
# start programs (Ghostscript for EPS) on what may be anyone's file.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "DIB")
ISO_FORMATS = ("HEIF", "AVIF")

_EXIF_ORIENTATION = 0x0112
# What Pillow warns of it has put right already: neither the terminal nor `python -W error` need hear of it.
_PILLOWS_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_JPEG_MAGIC = b"\xff\xd8\xff"
_ISO_MAGIC = b"ftyp"  # from byte 4 on


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, with the size and time that belong to just these bytes."""

    data: bytes
    size: int
    mtime_ns: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo.

    Attributes:
        pixels: (height, width, 3) BGR uint8, upright.
        width: Of the upright photo at full size.
        height: Of the upright photo at full size.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Give how many pixels of the photo one pixel here stands for, 1.0 or more."""
        return max(self.width, self.height) / int(max(self.pixels.shape[:2]))


def fingerprint(data: bytes) -> bytes:
    """Give 16 bytes of BLAKE2b over a file's content."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def read_content(path: str) -> Content:
    """Read a file whole.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is no ordinary file, empty, too large, or changes while it is read.
    """
    for _ in range(3):
        with open(path, "rb", opener=_open_without_waiting) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise UnreadablePhoto("It is not an ordinary file.")
            if before.st_size > MAX_BYTES:
                raise UnreadablePhoto(f"It is larger than {MAX_BYTES >> 30} GiB.")
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
        # A camera or a sync client may still be writing: what was read has to be one state of the file.
        if before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size == len(data):
            return Content(data, after.st_size, modified(after), fingerprint(data))
    raise UnreadablePhoto("It changes while it is read.", "Index again when it is at rest.")


def _open_without_waiting(path: str, flags: int) -> int:
    # A named pipe would block for ever on open.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode(data: bytes, *, side: int | None = None) -> Picture:
    """Decode a photo upright.

    Args:
        data: The file's bytes, in any format of `SUFFIXES` whatever its name.
        side: The longer side that is needed, in pixels. A JPEG that is larger is decoded at a half, a
            quarter or an eighth where that leaves at least so much, for a fraction of the time.

    Raises:
        UnreadablePhoto: It is no picture, truncated, or too large.
    """
    if not data:
        raise UnreadablePhoto("It is empty.")
    try:
        return _decode(data, side)
    except UnreadablePhoto:
        raise
    except MemoryError as error:
        raise UnreadablePhoto("It does not fit into memory.") from error
    except Exception as error:  # hostile input makes Pillow's many readers raise anything
        raise UnreadablePhoto(f"It is not a whole picture ({_first_line(error)}).") from error


def _decode(data: bytes, side: int | None) -> Picture:
    pillow = _pillow()
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == _ISO_MAGIC:
        _register_heif()
        formats = ISO_FORMATS
    if _PILLOWS_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image = pillow.open(io.BytesIO(data), formats=formats)
    except pillow.UnidentifiedImageError as error:
        raise UnreadablePhoto("It is not a picture in a format that is known here.") from error
    except pillow.DecompressionBombError as error:
        raise UnreadablePhoto(f"It claims more than {MAX_PIXELS} pixels.") from error
    with image:
        width, height = image.size
        pixels = None
        if data.startswith(_JPEG_MAGIC) and image.mode in ("L", "RGB"):
            pixels = _decode_jpeg(data, max(width, height), side)
        if pixels is None:
            # Not a JPEG, or one that cv2 refuses: Pillow reads it or says what is wrong.
            pixels = _bgr(image)
            # TIFFs and HEICs come upright from Pillow, and say so only when they are loaded.
            width, height = image.size
        orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    return Picture(_upright(pixels, orientation), width, height)


@cache
def _pillow() -> ModuleType:
    """Import Pillow; only decoding needs it, and `--help` has no time for it."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses what is larger than twice this
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    return PIL.Image


@cache
def _register_heif() -> None:
    """Teach Pillow HEIC; as long to import as all the rest, and few photos need it."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def _orientation(image: Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make a photo unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(data: bytes, longer: int, side: int | None) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_COLOR
    for divisor, reduced in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if side is not None and longer >= side * divisor:
            flags = reduced
            break
    buffer = np.frombuffer(data, np.uint8)
    pixels: NDArray[np.uint8] | None = cv2.imdecode(buffer, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return pixels


def _bgr(image: Image) -> NDArray[np.uint8]:
    """Convert any of Pillow's modes to (height, width, 3) BGR uint8; the first frame of several."""
    image.load()
    if image.mode.startswith(("I", "F")):
        return np.repeat(_eight_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = _pillow().new("RGBA", image.size, "white")
        image = _pillow().alpha_composite(ground, image)
    rgb = np.asarray(image.convert("RGB"))
    pixels: NDArray[np.uint8] = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return pixels


def _eight_bits(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale grey of more than 8 bits, or in floats, to 0..255 by the smallest usual range that holds it.

    What lies in 16 bits often has the 10, 12 or 14 that a sensor or scanner gives.
    """
    values = np.nan_to_num(grey.astype(np.float32), posinf=0.0, neginf=0.0)
    largest = float(values.max(initial=0.0))
    tops = [float((1 << bits) - 1) for bits in (8, 10, 12, 14, 15, 16)]
    if np.issubdtype(grey.dtype, np.floating):
        tops = [1.0, 255.0, 65535.0]
    full = next((top for top in tops if largest <= top), largest)
    scaled: NDArray[np.uint8] = np.clip(values * (255.0 / full) + 0.5, 0, 255).astype(np.uint8)
    return scaled


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo the camera's turn as EXIF's orientation 1 to 8 tells it."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
