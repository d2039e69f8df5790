"""Decode photos upright, whatever their format, their size and their faults."""

from __future__ import annotations

import io
import logging
import re
import struct
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.errors import UnreadablePhoto
from facesearch.machine import give_back_memory
from facesearch.photos.kinds import JXL_HINT, MOST_FRAMES, can_read_jxl

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

# Phones take photographs of 200 megapixels; a file that claims more than this counts as a decompression bomb.
MAX_PIXELS = 256_000_000
# More than most cameras produce. Even a small file can claim this many pixels, and each core decodes a photo
# of its own. So larger photos are decoded one at a time, and reduced while decoding where `side` allows it.
LARGE_PIXELS = 40_000_000
# What Pillow needed for a larger photo is given back at once. Each thread would keep as much: after eight
# pictures of 36 megapixels in four threads that was 700 MB. For smaller ones it would take more time than it
# is worth.
_KEPT_PIXELS = 16_000_000
# The only formats that Pillow may try, the commonest first. Its other readers are not for photographs, and
# some of them start programs (Ghostscript for EPS) on files that may come from anyone.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "DIB", "PSD", "JPEG2000")
ISO_FORMATS = ("HEIF", "AVIF")

_EXIF_ORIENTATION = 0x0112
# Pillow warns of faults that it has corrected. They concern neither the terminal nor `python -W error`.
_PILLOWS_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EOI, _SOS = b"\xff\xd9", b"\xff\xda"
ISO = b"ftyp"  # from byte 4 on
# JPEG XL and JPEG 2000 come bare, and in boxes.
JXL, JXL_BOXES = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
JP2, JP2_BOXES = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"
PSD = b"8BPS"
# In the flags of a WebP; and of a page of a TIFF, which may be another one made small, or its mask.
_ANIMATED, _SUBFILE, _REDUCED, _MASK = 0x02, 254, 1, 4
# Two frames are alike if, made small, they differ in no cell by so many levels on average.
_SMALL, _CELLS, _DIFFERENT = 256, 32, 8
# A photo without its end may lack so many of its rows; every viewer shows it.
_LACKING = 0.1
# Of the ten scans of a progressive JPEG, the fifth brings what is fine in brightness: then the sixth begins.
_SCANS = 6
# Pixels are converted in squares of this side: a large photo leaves no memory for a copy of the whole.
_TILE = 1024
# What is large is worked on by one thread at a time.
ONE_LARGE = threading.RLock()
# A picture is dark if its 99.5th percentile is below this; of 100 press photographs it is 186 or more.
# Multiplied by 0.06, 25 of them lost their faces, and the vectors of the others were no longer near to their
# own (cosine similarity 0.66; stretched again 0.96). Multiplied by 0.3 it was 0.95, stretched again 0.99.
_DARK, _BRIGHTEST = 96, 99.5
# In each direction; enough to tell.
_PROBES = 100

Side = int | Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo.

    Attributes:
        pixels: (height, width, 3) BGR uint8, upright.
        width: Of the upright photo at full size.
        height: Of the upright photo at full size.
        truncated: Whether the file lacks its end, and the picture a few of its last rows.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    truncated: bool = False

    @property
    def scale(self) -> float:
        """How many pixels of the photo correspond to one pixel here, 1.0 or more."""
        return max(self.width, self.height) / int(max(self.pixels.shape[:2]))


def decode(data: bytes, *, side: Side | None = None, shrink: float = 1.0, frame: int = 1) -> Picture:
    """Decode a photo upright.

    Args:
        data: The file's bytes, in any format of `kinds.suffixes`; the file's name does not matter.
        side: The longer side that is needed, in pixels, or a function of the photo's width and height that
            returns it. A larger JPEG is decoded at a half, a quarter or an eighth of its size if that still
            leaves this much, which saves time. Any photo of more than `LARGE_PIXELS` is reduced likewise,
            which saves memory.
        shrink: The same as a factor: the photo may be decoded this many times smaller.
        frame: Which frame of a picture that has several, from 1.

    Raises:
        UnreadablePhoto: It is not a picture, lacks more than its end, or is too large.
    """
    if not data:
        raise UnreadablePhoto("It is empty.")
    with _pillows_errors(), closing(open_image(data)) as image:
        if frame > 1:
            _go_to(image, frame)
        return _picture(data, image, side, shrink, last=True)


def frame_count(data: bytes) -> int:
    """Return how many frames an animation has, or pages a file of several; 1 for any other file.

    Looks at few bytes of what cannot have several, and decodes nothing.
    """
    return len(_frames(data))


def has_pages(data: bytes) -> bool:
    """Return whether the frames of a picture are pages, each of which may show something else."""
    return data.startswith(TIFF)


def decode_frames(
    data: bytes, most: int, *, side: Side | None = None, patience: float = 60.0
) -> Iterator[tuple[int, Picture]]:
    """Decode frames of a picture that has several, spread evenly from the first to the last.

    Args:
        data: The file's bytes.
        most: How many frames; 0 for all.
        side: As for `decode`.
        patience: After so many seconds, and one for each frame, no further frame is decoded.

    Yields:
        The number of each frame, from 1, and its picture. What looks like the frame before is passed over.

    Raises:
        UnreadablePhoto: In the end, where some cannot be read or would take too long: a sentence says which.
    """
    frames, looked, before = _frames(data), set[int](), None
    count, broken = len(frames), list[int]()
    while wanted := _spread(frames, most) - looked:
        for number, picture in _decoded(data, frames, wanted, side, patience + len(wanted)):
            if picture is None:
                broken.append(number)
                continue
            small = cv2.resize(picture.pixels, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
            if before is None or _differ(small, before):
                before = small
                yield number, picture
        looked |= wanted
        if broken and not has_pages(data):  # the last that can be read is another one
            frames = [number for number in frames if number < min(broken)]
    if broken and has_pages(data):
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UnreadablePhoto(f"Page {broken[0]}{more} cannot be read.")
    if broken:
        raise UnreadablePhoto(f"Only {len(frames)} of {count} frames can be read.")


def _decoded(
    data: bytes, frames: Sequence[int], wanted: Collection[int], side: Side | None, patience: float
) -> Iterator[tuple[int, Picture | None]]:
    """Yield those of the frames that are wanted, and None for ones that cannot be decoded.

    Behind a broken frame of an animation nothing can be.
    """
    with _pillows_errors(), closing(open_image(data)) as image:
        # One after the other: a frame may only say what differs from the one before.
        for place, number in enumerate(frames[: frames.index(max(wanted)) + 1]):
            if patience < 0:
                raise UnreadablePhoto(
                    f"Only {place} of {len(frames)} frames were looked at: more take too long."
                )
            began, failed = time.monotonic(), False
            try:
                _go_to(image, number)
                picture = _picture(data, image, side, 1.0) if number in wanted else None
            except Exception:  # on hostile input, Pillow's many readers may raise anything
                picture, failed = None, True
            patience -= time.monotonic() - began
            if failed or picture is not None:
                yield number, picture
            if failed and not has_pages(data):
                return


def _frames(data: bytes) -> Sequence[int]:
    """Return the numbers of the frames of a picture, from 1."""
    if has_pages(data):
        return _pages(data)
    if not _may_have_frames(data):
        return (1,)
    try:
        with closing(open_image(data)) as image:
            return range(1, min(int(getattr(image, "n_frames", 1)), MOST_FRAMES) + 1)
    except Exception:  # on hostile input, Pillow's many readers may raise anything
        return (1,)


def _pages(data: bytes) -> Sequence[int]:
    """Return the numbers of a TIFF's pages, without pages made small and masks, which stand between them."""
    order, big = ("<" if data.startswith(b"II") else ">"), data[2:4] in (b"+\0", b"\0+")
    pointer, entries, size, value = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    found, met = list[int](), set[int]()
    with suppress(struct.error, IndexError, OverflowError):  # it breaks off, or points to nowhere
        (place,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        while place and place not in met and len(met) < MOST_FRAMES:
            met.add(place)
            (count,) = struct.unpack_from(order + entries, data, place)
            place += struct.calcsize(order + entries)
            (tag,) = struct.unpack_from(f"{order}H", data, place)
            kind = data[place + value + (0 if order == "<" else 3)] if tag == _SUBFILE else 0
            if not kind & (_REDUCED | _MASK):
                found.append(len(met))
            (place,) = struct.unpack_from(order + pointer, data, place + size * count)
    return found or (1,)


def _spread(frames: Sequence[int], most: int) -> set[int]:
    """Return some of the frames, from the first to the last."""
    places = np.linspace(0, len(frames) - 1, min(most or len(frames), len(frames)))
    return {frames[round(place)] for place in places}


def _differ(small: NDArray[np.uint8], before: NDArray[np.uint8]) -> bool:
    """Return whether two pictures, made small, differ somewhere: another face may be there."""
    cells = cv2.resize(cv2.absdiff(small, before), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return float(cells.max()) >= _DIFFERENT


@contextmanager
def _pillows_errors() -> Iterator[None]:
    try:
        yield
    except UnreadablePhoto:
        raise
    except MemoryError as error:
        raise UnreadablePhoto("It does not fit into memory.") from error
    except Exception as error:  # on hostile input, Pillow's many readers may raise anything
        raise UnreadablePhoto(f"It is not a whole picture ({_first_line(error)}).") from error


def _go_to(image: Image, frame: int) -> None:
    """Go to a frame, from 1; Pillow looks at the size of the first alone."""
    image.seek(frame - 1)
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise UnreadablePhoto(f"It claims more than {MAX_PIXELS} pixels.")


def _may_have_frames(data: bytes) -> bool:
    if data.startswith(PNG):
        return 0 < data.find(b"acTL") < data.find(b"IDAT")
    if data.startswith(b"RIFF"):
        return data[12:16] == b"VP8X" and bool(data[20:21]) and bool(data[20] & _ANIMATED)
    return data.startswith(b"GIF8") or data[4:12] == b"ftypavis"


def _picture(data: bytes, image: Image, side: Side | None, shrink: float, *, last: bool = False) -> Picture:
    """Decode the frame that an image is at; an image of which this is the last need not stay open."""
    width, height = image.size
    pixels, truncated = None, False
    if callable(side):
        side = side(width, height)
    divisor = _divisor(max(width, height) / side if side else shrink)
    jpeg = data.startswith(JPEG) and image.mode in ("L", "RGB")
    # A reduced JPEG is never in memory at full size, unless it is progressive.
    light = jpeg and divisor > 1 and not image.info.get("progressive")
    with nullcontext() if light else _turn(width * height):
        if jpeg:
            pixels, truncated = _jpeg_pixels(data, divisor)
        pillows = pixels is None
        if pixels is None:
            # Not a JPEG, or one that cv2 refuses: Pillow reads it or says what is wrong.
            with _turn(width * height):
                pixels = _bgr(image, divisor if width * height > LARGE_PIXELS else 1)
            # Pillow turns TIFFs and HEICs upright itself; their size is known once they are loaded.
            width, height = image.size
        orientation = orientation_of(image)
        if last:
            image.close()  # frees its memory before the rotation needs more
        if pillows and width * height > _KEPT_PIXELS:
            give_back_memory()
        pixels = upright(pixels, orientation)
    if orientation >= 5:
        width, height = height, width
    return Picture(pixels, width, height, truncated)


def open_image(data: bytes) -> Image:
    """Return an image as Pillow opens it, not decoded yet.

    Raises:
        UnreadablePhoto: It is not a picture, or too large.
    """
    pillow = _pillow()
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == ISO:
        _register_heif()
        formats = ISO_FORMATS
    elif data.startswith((JXL, JXL_BOXES)):
        _register_jxl()
        formats = ("JXL",)
        _check_size_of_jxl(data)
    if _PILLOWS_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image: Image = pillow.open(io.BytesIO(data), formats=formats)
    except pillow.UnidentifiedImageError as error:
        raise UnreadablePhoto("It is not a picture in a format that is known here.") from error
    except pillow.DecompressionBombError as error:
        raise UnreadablePhoto(f"It claims more than {MAX_PIXELS} pixels.") from error
    for number, _, content in getattr(image, "resources", ()):  # of a PSD
        if number in _RESOURCES:
            image.info[_RESOURCES[number]] = content
    return image


def exif_of(data: bytes) -> Exif:
    """Return the EXIF of an image; any error of Pillow's may be raised."""
    if data[:4] in (b"II*\0", b"MM\0*"):  # it is EXIF itself; a RAW photo's pixels would not be opened
        exif: Exif = _pillow().Exif()
        exif.load(data)
        return exif
    with closing(open_image(data)) as image:
        return image.getexif()


_RESOURCES = {1058: "exif", 1060: "xmp"}


def _turn(pixels: int) -> AbstractContextManager[object]:
    """Return a lock that large photos share, so that one is decoded at a time; smaller ones need not wait."""
    return ONE_LARGE if pixels > LARGE_PIXELS else nullcontext()


def _divisor(shrink: float) -> int:
    """Return the largest divisor (8, 4, 2 or 1) that reduces a photo by no more than `shrink`."""
    return next((by for by in (8, 4, 2) if shrink >= by), 1)


@cache
def _pillow() -> ModuleType:
    """Import Pillow on first use: only decoding needs it, and the import would slow `--help` down."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses what is larger than twice this
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    return PIL.Image


@cache
def _register_heif() -> None:
    """Teach Pillow HEIC. The import takes as long as all the others together, and few photos need it."""
    import pillow_heif

    pillow_heif.register_heif_opener()


@cache
def _register_jxl() -> None:
    if not can_read_jxl():
        raise UnreadablePhoto("It is a JPEG XL photo.", JXL_HINT)
    import pillow_jxl.JpegXLImagePlugin

    pillow_jxl.JpegXLImagePlugin.DECODE_THREADS = 0  # each core decodes a photo of its own


def _check_size_of_jxl(data: bytes) -> None:
    width, height = _size_of_jxl(data)  # its reader decodes all at once, whatever it claims
    if width * height > MAX_PIXELS:
        raise UnreadablePhoto(f"It claims more than {MAX_PIXELS} pixels.")


def _size_of_jxl(data: bytes) -> tuple[int, int]:
    """Return width and height by the head of a JPEG XL's codestream (ISO/IEC 18181-1, annex D)."""
    start = 0
    if data.startswith(JXL_BOXES):
        start = next((data.find(JXL, at) for box in (b"jxlc", b"jxlp") if (at := data.find(box)) > 0), -1)
    if start < 0:
        raise UnreadablePhoto("It is not a whole picture (no codestream).")
    bits = int.from_bytes(data[start + 2 : start + 18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def length() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height, ratio = length(), take(3)
    across, down = _JXL_RATIOS.get(ratio, (0, 1))
    return (height * across // down if ratio else length()), height


_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def orientation_of(image: Image) -> int:
    """Return how an image is to be turned, 1 to 8 as in EXIF."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # its decoder has turned it, unless it was made from a JPEG
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make a photo unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _jpeg_pixels(data: bytes, divisor: int) -> tuple[NDArray[np.uint8] | None, bool]:
    """Return the pixels of a JPEG, and whether it lacks its end."""
    pixels = _decode_jpeg(data, divisor)
    if pixels is not None:
        return pixels, False
    pixels = _without_its_end(data, divisor)
    return pixels, pixels is not None


def _decode_jpeg(data: bytes, divisor: int) -> NDArray[np.uint8] | None:
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[divisor]
    buffer = np.frombuffer(data, np.uint8)
    pixels: NDArray[np.uint8] | None = cv2.imdecode(buffer, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return pixels


def _without_its_end(data: bytes, divisor: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG that breaks off near its end, as copies that were interrupted do; None for any other."""
    pixels = _decode_jpeg(data + _EOI, divisor)
    if pixels is None or (_is_progressive(data) and data.count(_SOS) < _SCANS):
        return None
    # The decoder leaves rows that it has no data for in the grey in the middle.
    lacking = np.all(np.abs(pixels.astype(np.int16) - 128) <= 1, axis=(1, 2))[::-1]
    rows = len(lacking) if lacking.all() else int(np.argmin(lacking))
    return pixels if rows <= _LACKING * len(lacking) else None


def _is_progressive(data: bytes) -> bool:
    return b"\xff\xc2" in data[: data.find(_SOS)]


def _bgr(image: Image, divisor: int) -> NDArray[np.uint8]:
    """Convert any of Pillow's modes to (height, width, 3) BGR uint8; the first frame of several.

    Args:
        image: The image; it is loaded here, and not changed otherwise.
        divisor: The side of the squares of pixels that are averaged into one.
    """
    image.load()
    width, height = (-(-length // divisor) for length in image.size)
    pixels = np.empty((height, width, 3), np.uint8)
    top = _top(image) if image.mode.startswith(("I", "F")) else None
    for x, y, tile in _tiles(image):
        rgb = _rgb(tile) if top is None else _eight_bits(tile, top)
        square = np.asarray(rgb.reduce(divisor) if divisor > 1 else rgb)
        x, y = x // divisor, y // divisor
        pixels[y : y + square.shape[0], x : x + square.shape[1]] = cv2.cvtColor(square, cv2.COLOR_RGB2BGR)
    return pixels


def _tiles(image: Image) -> Iterator[tuple[int, int, Image]]:
    """Yield an image in squares: left edge, upper edge, and the square."""
    width, height = image.size
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            yield x, y, image.crop((x, y, min(x + _TILE, width), min(y + _TILE, height)))


def _rgb(image: Image) -> Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = _pillow().new("RGBA", image.size, "white")
        image = _pillow().alpha_composite(ground, image)
    return image.convert("RGB")


def _top(image: Image) -> float:
    """Return the value of white in a grey image of more than 8 bits, or of floats.

    It is the smallest usual maximum that no pixel exceeds: files of 16 bits often hold the 10, 12 or 14 bits
    of a sensor or scanner.
    """
    tops = [float((1 << bits) - 1) for bits in (8, 10, 12, 14, 15, 16)]
    if image.mode.startswith("F"):
        # White is 1, and what is brighter is cut off, unless most of the picture would be.
        bright = sum(int(np.count_nonzero(_levels(tile) > 1.0)) for _, _, tile in _tiles(image))
        if 2 * bright < image.size[0] * image.size[1]:
            return 1.0
        tops = [255.0, 65535.0]
    largest = max(float(_levels(tile).max(initial=0.0)) for _, _, tile in _tiles(image))
    return next((top for top in tops if largest <= top), largest)


def _levels(image: Image) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)


def _eight_bits(image: Image, top: float) -> Image:
    scaled = np.clip(_levels(image) * (255.0 / top) + 0.5, 0, 255).astype(np.uint8)
    grey: Image = _pillow().fromarray(scaled)
    return grey.convert("RGB")


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn pixels upright by EXIF's orientation, 1 to 8; in place where that is possible."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip, pixels), np.uint8)


def brightened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a dark picture with its values stretched to the whole range; any other as it is.

    Args:
        pixels: (height, width, 3) uint8.
    """
    down, across = (max(1, length // _PROBES) for length in pixels.shape[:2])
    brightest = float(np.percentile(pixels[::down, ::across], _BRIGHTEST))
    if not 0 < brightest < _DARK:
        return pixels
    stretched = np.clip(np.arange(256) * (255 / brightest) + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, stretched), np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
