"""RAW photos: the picture inside them that other readers understand; needs the extra `raw`.

Cameras put a JPEG into their RAW files, mostly as large as the photo. It is taken where it is large enough to
find faces in, which takes no longer than a JPEG does. Otherwise the sensor's pixels are turned into a picture
of half the size.
"""

from __future__ import annotations

import io
import re
import struct
from contextlib import closing
from functools import cache
from typing import Any

from facesearch.errors import UnreadablePhoto
from facesearch.photos.kinds import RAW_HINT, can_read_raw

# A JPEG with a longer side of so many pixels is enough: it is what the detector looks at.
_ENOUGH = 1280
# How RAW files begin that are no TIFFs: of Fujifilm, Olympus, Panasonic, Minolta, Sigma, old and new Canons.
MAGIC = rb"FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|\0MRM|FOVb|II\x1a\0\0\0HEAPCCDR|....ftypcrx "
_MAGIC = re.compile(MAGIC, re.DOTALL)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
# Tags of the first directory of a TIFF: the camera's maker, further directories, and the version of a DNG.
_MAKE, _SUB_IFDS, _DNG = 271, 330, 50706
# How the pixels of a sensor are coded, which no other TIFF has: Sony, Nikon, Samsung, Pentax, Kodak.
_COMPRESSION, _OF_SENSORS = 259, (32767, 34713, 32770, 32772, 65535, 65000)
_MOST_TAGS = 200


def check_readable() -> None:
    """Check that RAW photos can be read here.

    Raises:
        UnreadablePhoto: The extra is missing.
    """
    if not can_read_raw():
        raise UnreadablePhoto("It is a RAW photo.", RAW_HINT)


def is_raw(data: bytes) -> bool:
    """Return whether a file looks like a RAW photo by how it begins."""
    if _MAGIC.match(data):
        return True
    if not _TIFF.match(data):
        return False
    if data[8:10] == b"CR":
        return True
    tags = _tags(data)
    return _MAKE in tags and (_DNG in tags or _SUB_IFDS in tags or tags.get(_COMPRESSION) in _OF_SENSORS)


def picture_in(data: bytes) -> bytes:
    """Return the picture in a RAW photo as a file: a JPEG, or a PPM that is upright.

    What is a TIFF and no RAW photo after all is returned as it is.

    Raises:
        UnreadablePhoto: The camera is not known, or the file is damaged.
    """
    rawpy = _rawpy()
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            preview = _jpeg_in(rawpy, raw)
            return preview if preview is not None else _half_size(raw)
    except rawpy.LibRawFileUnsupportedError as error:
        if _TIFF.match(data) and data[8:10] != b"CR":
            return data
        raise UnreadablePhoto("It is a RAW photo of a camera that is not known here.") from error
    except UnreadablePhoto:
        raise
    except MemoryError as error:
        raise UnreadablePhoto("It does not fit into memory.") from error
    except Exception as error:  # LibRaw's errors have many classes
        said = str(error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error)
        raise UnreadablePhoto(f"It is not a whole RAW photo ({said}).") from error


def _jpeg_in(rawpy: Any, raw: Any) -> bytes | None:  # noqa: ANN401 (it has no types)
    """Return the JPEG in a RAW photo if it is large enough."""
    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawNonFatalError, rawpy.LibRawFatalError):  # none, or a broken one
        return None
    if preview.format != rawpy.ThumbFormat.JPEG:
        return None
    data = bytes(preview.data)
    width, height = _size_of_jpeg(data)
    wanted = min(_ENOUGH, max(raw.sizes.width, raw.sizes.height) // 2)
    return data if max(width, height) >= wanted else None


def _half_size(raw: Any) -> bytes:  # noqa: ANN401
    """Turn the sensor's pixels into a picture, four to one."""
    pixels = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
    if not pixels.any():  # LibRaw makes black of what is missing
        raise UnreadablePhoto("It is not a whole RAW photo (all of it is black).")
    height, width = pixels.shape[:2]
    content: bytes = b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()
    return content


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    from facesearch.photos.decode import open_image

    try:
        with closing(open_image(data)) as image:
            width, height = image.size
    except UnreadablePhoto:
        return 0, 0
    return width, height


def _tags(data: bytes) -> dict[int, int]:
    """Return the tags of the first directory of a TIFF, with values where they are short; empty for none."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        if data[2:4] in (b"+\0", b"\0+"):
            (start,) = struct.unpack_from(f"{order}Q", data, 8)
            (count,), at, each, value = struct.unpack_from(f"{order}Q", data, start), start + 8, 20, 12
        else:
            (start,) = struct.unpack_from(f"{order}I", data, 4)
            (count,), at, each, value = struct.unpack_from(f"{order}H", data, start), start + 2, 12, 8
        return dict(
            struct.unpack_from(f"{order}H", data, place)
            + struct.unpack_from(f"{order}H", data, place + value)
            for place in range(at, at + each * min(count, _MOST_TAGS), each)
        )
    except (struct.error, OverflowError):  # it breaks off, or points to nowhere
        return {}


@cache
def _rawpy() -> Any:  # noqa: ANN401
    """Import rawpy on first use: few libraries hold RAW photos."""
    import rawpy

    return rawpy
