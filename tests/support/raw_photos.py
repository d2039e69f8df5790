"""RAW photos, made of photographs: DNGs with the pixels of a sensor, and with or without a JPEG inside."""

import struct

import cv2
import numpy as np

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED = 1, 2, 3, 4, 5, 10
_FORMATS = {_BYTE: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "II", _SIGNED: "ii"}
# From XYZ to a camera that sees as a screen shows.
_MATRIX = [32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572]


def dng(image, *, orientation=1, preview=0, taken=""):
    """Return a DNG of a picture.

    Args:
        image: (height, width, 3) BGR uint8, as the camera saw it, before it is turned.
        orientation: As in EXIF.
        preview: The longer side of the JPEG inside, in pixels; 0 for none.
        taken: When it was taken, as EXIF has it.
    """
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    height, width = image.shape[:2]
    linear = (np.float32(image) / 255) ** 2.2 * 65535
    mosaic = np.empty((height, width), np.uint16)
    for (y, x), channel in {(0, 0): 2, (0, 1): 1, (1, 0): 1, (1, 1): 0}.items():
        mosaic[y::2, x::2] = linear[y::2, x::2, channel]
    about = {
        271: (_ASCII, b"Nobody\0"),
        272: (_ASCII, b"Camera\0"),
        274: (_SHORT, [orientation]),
        **({306: (_ASCII, taken.encode() + b"\0")} if taken else {}),
        50706: (_BYTE, [1, 4, 0, 0]),
        50708: (_ASCII, b"Nobody Camera\0"),
        50721: (_SIGNED, [part for value in _MATRIX for part in (value, 10000)]),
        50728: (_RATIONAL, [1, 1] * 3),
        50778: (_SHORT, [21]),
    }
    sensor = {
        254: (_LONG, [0]),
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [16]),
        259: (_SHORT, [1]),
        262: (_SHORT, [32803]),
        277: (_SHORT, [1]),
        278: (_LONG, [height]),
        33421: (_SHORT, [2, 2]),
        33422: (_BYTE, [0, 1, 1, 2]),
        50714: (_SHORT, [0]),
        50717: (_LONG, [65535]),
    }
    if not preview:
        return _tiff([{**sensor, **about}], [mosaic.tobytes()])
    small = cv2.resize(image, None, fx=preview / max(width, height), fy=preview / max(width, height))
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    shown = {
        254: (_LONG, [1]),
        256: (_LONG, [small.shape[1]]),
        257: (_LONG, [small.shape[0]]),
        258: (_SHORT, [8, 8, 8]),
        259: (_SHORT, [7]),
        262: (_SHORT, [6]),
        277: (_SHORT, [3]),
        278: (_LONG, [small.shape[0]]),
    }
    return _tiff([{**shown, **about}, sensor], [jpeg, mosaic.tobytes()])


def _tiff(directories, strips):
    """Return a TIFF of directories, each with one strip; the second one is inside the first."""
    directories = [dict(one) for one in directories]
    for at, strip in enumerate(strips):
        directories[at][273], directories[at][279] = (_LONG, [0]), (_LONG, [len(strip)])
    if len(directories) > 1:
        directories[0][330] = (_LONG, [0])
    sizes = [2 + 12 * len(one) + 4 for one in directories]
    starts = [8 + sum(sizes[:at]) for at in range(len(sizes))]
    at = 8 + sum(sizes)
    for number, strip in enumerate(strips):
        directories[number][273] = (_LONG, [at])
        at += len(strip) + len(strip) % 2
    if len(directories) > 1:
        directories[0][330] = (_LONG, [starts[1]])
    heads, more = [], b""
    for directory in directories:
        head = struct.pack("<H", len(directory))
        for tag, (kind, values) in sorted(directory.items()):
            data = values if kind == _ASCII else struct.pack(f"<{len(values)}{_FORMATS[kind][0]}", *values)
            count = len(values) // (2 if kind in (_RATIONAL, _SIGNED) else 1)
            place = data.ljust(4, b"\0")
            if len(data) > 4:
                place = struct.pack("<I", at + len(more))
                more += data + b"\0" * (len(data) % 2)
            head += struct.pack("<HHI", tag, kind, count) + place
        heads.append(head + struct.pack("<I", 0))
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(heads) + body + more
