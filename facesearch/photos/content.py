"""The bytes of a photo's file, and two digests: of the picture in it, and of the whole file.

A program that rates, tags or renames photos writes into their files: the bytes are others, the picture is the
same. So a photo is known by a digest over what is seen: the coded picture without the metadata around it, and
how it is turned. Nothing is decoded for that in the formats that most photos have.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from facesearch.errors import UnreadablePhoto
from facesearch.faces import UNDATED, Captured, FileState
from facesearch.files import open_without_waiting
from facesearch.photos import raw
from facesearch.photos.decode import (
    ISO,
    JP2,
    JP2_BOXES,
    JPEG,
    JXL,
    JXL_BOXES,
    ONE_LARGE,
    PNG,
    PSD,
    decode,
    exif_of,
    frame_count,
    open_image,
    orientation_of,
)
from facesearch.photos.find import changed, modified
from facesearch.photos.kinds import jpegs_beside
from facesearch.photos.urls import is_photo_url, read_url

DIGEST_BYTES = 16
MAX_BYTES = 1 << 30
# Beyond this, a file's first bytes are looked at before the rest is read, and it is processed alone.
LARGE_BYTES = 64 << 20

# How a file begins that Pillow may be given.
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG|BM|GIF8|P[1-6fFy]|II[*+]\0|MM\0[*+]|RIFF....WEBP|[\x0c\x28\x40\x6c\x7c]\0\0\0|....ftyp"
    rb"|8BPS|\xff\x0a|\xff\x4f\xff\x51|\0\0\0\x0c(?:JXL|jP  )|" + raw.MAGIC,
    re.DOTALL,
)
_HEAD = 16


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, and its state when it held exactly these bytes.

    Attributes:
        data: All bytes.
        file: The state of the file.
        shown: The file of the picture, see `picture`; or why there is none.
    """

    data: bytes
    file: FileState
    shown: bytes | UnreadablePhoto

    @property
    def is_raw(self) -> bool:
        """Whether it is a RAW photo."""
        return self.shown is not self.data

    @property
    def picture(self) -> bytes:
        """The file of the picture, to be decoded: of a RAW photo what is beside or inside it, else the file.

        Raises:
            UnreadablePhoto: A RAW photo cannot be read.
        """
        if isinstance(self.shown, UnreadablePhoto):
            raise self.shown
        return self.shown


def fingerprint(data: bytes) -> bytes:
    """Return 16 bytes of BLAKE2b over some bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def read_content(path: str, pictures: Mapping[bytes, bytes] | None = None) -> Content:
    """Read a file whole, by its path or URL.

    Args:
        path: The path or URL.
        pictures: By the digest of a file, that of its picture where it is known, which saves half of the time
            that the digests take.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is not an ordinary file, is empty or too large, or changes while it is read; or it
            is a RAW photo, and what reads these is not installed.
    """
    if is_photo_url(path):
        data, written = read_url(path)
        return _content(data, written, pictures=pictures)
    for _ in range(3):
        with open(path, "rb", opener=open_without_waiting) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise UnreadablePhoto("It is not an ordinary file.")
            if before.st_size > MAX_BYTES:
                raise UnreadablePhoto(f"It is larger than {MAX_BYTES >> 30} GiB.")
            if before.st_size > LARGE_BYTES and not _MAGIC.match(file.read(_HEAD)):
                raise UnreadablePhoto("It is not a picture in a format that is known here.")
            file.seek(0)
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
        # A camera or a sync client may still be writing: the bytes must all come from one state of the file.
        if before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size == len(data):
            content = _content(data, modified(after), changed(after), pictures)
            return _with_jpeg(path, content) if content.is_raw else content
    raise UnreadablePhoto("It changes while it is read.", "Index again when it is at rest.")


def content_of(data: bytes) -> Content:
    """Return the content of a photo that came as bytes rather than as a file."""
    return _content(data, -1)


def _content(
    data: bytes, mtime_ns: int, ctime_ns: int = -1, pictures: Mapping[bytes, bytes] | None = None
) -> Content:
    whole, shown, captured = fingerprint(data), _shown(data), capture_time(data)
    inside = shown if isinstance(shown, bytes) else data
    picture = (pictures or {}).get(whole) or picture_digest(inside)
    if captured == UNDATED and inside is not data:
        captured = capture_time(inside)
    return Content(data, FileState(len(data), mtime_ns, ctime_ns, picture, whole, captured), shown)


def _shown(data: bytes) -> bytes | UnreadablePhoto:
    if not raw.is_raw(data):
        return data
    raw.check_readable()
    try:
        return raw.picture_in(data)
    except UnreadablePhoto as error:
        return error


def _with_jpeg(path: str, content: Content) -> Content:
    """Return a RAW photo with the JPEG of the same name as its picture, if it is of the same moment.

    A camera writes both; with one picture they are one photo. Where neither says when, the form decides.
    """
    for place in jpegs_beside(path):
        try:
            with open(place, "rb", opener=open_without_waiting) as file:
                data = file.read(MAX_BYTES)
        except OSError:
            continue
        captured = capture_time(data)
        if not _are_of_one_second(captured, content.file.captured) or not _has_an_end(data):
            continue
        if isinstance(content.shown, bytes):
            if abs(_aspect(data) / _aspect(content.shown) - 1) > _SAME_ASPECT:
                continue
        elif captured == UNDATED:
            continue
        digest = picture_digest(data)
        # Of both files: with another picture, it is another photo.
        both = fingerprint(content.file.file_digest + digest)
        state = replace(content.file, digest=digest, file_digest=both, captured=captured)
        return Content(content.data, state, data)
    return content


_SAME_ASPECT = 0.02


def _are_of_one_second(one: int, other: int) -> bool:
    """Return whether two photos say the same second, or nothing; one may leave out its zone."""
    first, second = Captured.of(one), Captured.of(other)
    if first is None or second is None:
        return first is second
    return first.seconds == second.seconds and (
        first.zone == second.zone or None in (first.zone, second.zone)
    )


def _has_an_end(jpeg: bytes) -> bool:
    """Return whether a JPEG's picture ends where it has to; what follows it does not matter."""
    try:
        end = max(stop for _, _, stop in _segments(jpeg))
    except ValueError:
        return False
    return jpeg[end : end + 16].lstrip(b"\xff")[:1] == bytes([_EOI])


def _aspect(data: bytes) -> float:
    """Return the width of an upright picture by its height; 0.001 for what is none."""
    try:
        with closing(open_image(data)) as image:
            width, height = image.size
            return height / width if orientation_of(image) >= _TURNED else width / height
    except Exception:  # on hostile input, Pillow's readers may raise anything
        return 0.001


_TURNED = 5  # from this orientation on, width and height change places


def alone_if_large(path: str) -> AbstractContextManager[object]:
    """Return a lock that the work on large files and large photos shares, for a large file; else nothing."""
    try:
        large = not is_photo_url(path) and os.stat(path).st_size > LARGE_BYTES
    except OSError:
        large = False
    return ONE_LARGE if large else nullcontext()


def picture_digest(data: bytes) -> bytes:
    """Return 16 bytes of BLAKE2b over the picture in a file, which metadata in the file do not change.

    Of JPEG, PNG, WebP, TIFF, HEIC, AVIF, JPEG XL, JPEG 2000 and PSD the coded picture counts, of others the
    decoded pixels, and of all how the picture is turned. Of a file that has several frames, is none of
    these, or is not whole, all bytes count.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES, person=b"picture")
    try:
        for part in _parts(data):
            digest.update(part)
    except Exception:  # on hostile input, Pillow's readers may raise anything
        digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=b"bytes")
    return digest.digest()


# Of EXIF, in the order in which they count: when the photo was taken, made digital, or written; each with the
# field of its zone.
_EXIF, _TIMES = 0x8769, ((0x9003, 0x9011), (0x9004, 0x9012))
_WRITTEN, _WRITTEN_ZONE = 0x0132, 0x9010
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)")
_HAS_EXIF = (b"Exif\0\0", b"eXIf", b"EXIF", b"Exif")


def capture_time(data: bytes) -> int:
    """Return when a photo was taken, by its EXIF, as `Captured.code`; `UNDATED` where that is not said."""
    head = data[:_HEAD_OF_JPEG] if data.startswith(JPEG) else data
    if data[:2] not in (b"II", b"MM", PSD[:2]) and not any(mark in head for mark in _HAS_EXIF):
        return UNDATED
    try:
        exif = exif_of(data)
        inside = exif.get_ifd(_EXIF)
        times = [(inside.get(time), inside.get(zone)) for time, zone in _TIMES]
        times.append((exif.get(_WRITTEN), inside.get(_WRITTEN_ZONE)))
    except Exception:  # on hostile input, Pillow's readers may raise anything
        return UNDATED
    return next((code for time, zone in times if (code := _time_code(time, zone)) != UNDATED), UNDATED)


def _time_code(time: object, zone: object) -> int:
    found, place = _TIME.match(str(time)), _ZONE.match(str(zone))
    if found is None:
        return UNDATED
    try:
        year, month, day, hour, minute, second = map(int, found.groups())
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:  # such as 0000:00:00, of a camera that did not know
        return UNDATED
    if not moment.timestamp():  # which is how LibRaw says the same
        return UNDATED
    away = None
    if place is not None and (minutes := int(place[2]) * 60 + int(place[3])) <= _FARTHEST_ZONE:
        away = minutes if place[1] == "+" else -minutes
    return Captured(int(moment.timestamp()), away).code


_HEAD_OF_JPEG = 1 << 18  # bytes
_FARTHEST_ZONE = 15 * 60  # minutes

Parts = Iterator[bytes | memoryview]


def _parts(data: bytes) -> Parts:
    """Yield what a digest of the picture is made of."""
    if frame_count(data) > 1:
        yield data
        return
    parts = next((parts for is_it, parts in _FORMATS if is_it(data)), _pixels)
    yield from parts(data)


def _pixels(data: bytes) -> Parts:
    pixels = decode(data).pixels
    yield repr(pixels.shape).encode()
    yield pixels.tobytes()


def _turned(data: bytes) -> bytes:
    """Return how a picture is to be turned by its metadata, in one byte."""
    try:
        with closing(open_image(data)) as image:
            return bytes([orientation_of(image)])
    except Exception:  # Pillow's readers may raise anything; the photo will be found unreadable
        return b"\1"


# The next marker behind coded data, in which 0xFF stands only before a zero or a restart marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a length


def _jpeg(data: bytes) -> Parts:
    """Yield the segments of a JPEG, without those of applications and comments."""
    view, described = memoryview(data), False
    for marker, start, stop in _segments(data):
        # Of the applications' segments, Adobe's says how colours are coded and belongs to the picture.
        if _APP0 <= marker <= _APP15 or marker == _COM:
            described = described or marker == _APP1
            if marker != _APP14 or data[start + 2 : start + 7] != b"Adobe":
                continue
        yield bytes([marker])
        yield view[start:stop]
    yield _turned(data) if described else b"\1"


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the segments of a JPEG up to the end of the image: marker, start and end; coded data as 0."""
    at, marker = 2, 0
    while at < len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker, at = data[at + 1], at + 2
        if marker == _EOI:
            return
        if marker == 0xFF:
            at -= 1  # a marker may be preceded by any number of these
        elif marker not in _ALONE:
            stop = at + int.from_bytes(data[at : at + 2], "big")
            if not at + 2 <= stop <= len(data):
                raise ValueError("no segment")
            yield marker, at, stop
            at = stop
        if marker == _SOS:
            following = _JPEG_MARKER.search(data, at)
            stop = following.start() if following else len(data)
            yield 0, at, stop
            at = stop


def _png(data: bytes) -> Parts:
    """Yield the chunks that a decoder needs; the coded picture as one, however it is cut into chunks."""
    view, at, described = memoryview(data), len(PNG), False
    while (name := data[at + 4 : at + 8]) != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        if len(name) < 4 or at + 12 + length > len(data):
            raise ValueError("no chunk")
        body = view[at + 8 : at + 8 + length]
        if name == b"IDAT":
            yield body
        elif name[:1].isupper() or name == b"tRNS":
            yield name
            yield body
        described = described or name in (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
        at += 12 + length
    yield _turned(data) if described else b"\1"


def _webp(data: bytes) -> Parts:
    """Yield the chunks of the picture; VP8X tells what metadata there are, and comes and goes with them."""
    view, at, described = memoryview(data), 12, False
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            yield name
            yield view[at + 8 : at + 8 + length]
        described = described or name in (b"EXIF", b"XMP ")
        at += 8 + length + length % 2
    yield _turned(data) if described else b"\1"


# The boxes of a JPEG XL and of a JPEG 2000 that hold the coded picture, and how it is to be understood.
_CODED = (b"jxlc", b"jxlp", b"jbrd", b"jp2c", b"jp2h")


def _coded_boxes(data: bytes) -> Parts:
    view, found = memoryview(data), False
    for name, start, stop in _boxes(data, 0, len(data)):
        if name in _CODED:
            found = True
            yield name
            yield view[start:stop]
    if not found:
        raise ValueError("no picture")


def _psd(data: bytes) -> Parts:
    """Yield the head of a PSD, its palette and its composite; what a program says of it lies in between."""
    view, at = memoryview(data), 26
    (palette,) = struct.unpack_from(">I", data, at)
    yield view[: at + 4 + palette]
    at += 4 + palette
    for _ in ("resources", "layers"):
        (length,) = struct.unpack_from(">I", data, at)
        at += 4 + length
    if at >= len(data):
        raise ValueError("no picture")
    yield view[at:]
    yield _turned(data)


# The tags of a TIFF that say how its data are to be understood, and those that say where they are.
_TIFF_TAGS = (
    *(256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 317),
    *(320, 322, 323, 332, 338, 339, 347, 529, 530, 531, 532),
)
_TIFF_PLACES = ((273, 279), (324, 325), (513, 514))


def _tiff(data: bytes) -> Parts:
    """Yield what describes the first picture, and its strips or tiles."""
    view, found = memoryview(data), False
    with closing(open_image(data)) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        yield repr([(tag, tags.get(tag)) for tag in _TIFF_TAGS]).encode()
        yield bytes([orientation_of(image)])
        for offsets, lengths in _TIFF_PLACES:
            starts, sizes = (_numbers(tags.get(tag, ())) for tag in (offsets, lengths))
            found = found or bool(starts)
            yield from _each_once(view, zip(starts, sizes, strict=True))
    if not found:
        raise ValueError("no data")


def _numbers(value: object) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(map(int, value))  # type: ignore[call-overload]


def _piece(view: memoryview, start: int, length: int) -> memoryview:
    if not 0 <= start <= start + length <= len(view):
        raise ValueError("outside of the file")
    return view[start : start + length]


def _each_once(view: memoryview, pieces: Iterable[tuple[int, int]]) -> Iterator[memoryview]:
    """Yield pieces of a file, given by start and length, which a hostile one may list over and over."""
    left = 2 * len(view)
    for start, length in pieces:
        left -= length
        if left < 0:
            raise ValueError("more than the file")
        yield _piece(view, start, length)


def _iso(data: bytes) -> Parts:
    """Yield the items of a HEIC or AVIF that are pictures, and their properties, turns among them."""
    view = memoryview(data)
    start, stop = {name: (first, last) for name, first, last in _boxes(data, 0, len(data))}[b"meta"]
    inside = {name: (first, last) for name, first, last in _boxes(data, start + 4, stop)}
    kinds = _item_kinds(data, *inside[b"iinf"])
    store = inside.get(b"idat", (0, 0))[0]
    yield view[slice(*inside[b"pitm"])]
    yield view[slice(*inside[b"iprp"])]
    places = _item_places(data, inside[b"iloc"][0], store)
    shown = [item for item in sorted(places) if kinds.get(item, b"Exif") not in (b"Exif", b"mime", b"uri ")]
    yield repr([(item, kinds[item], [length for _, length in places[item]]) for item in shown]).encode()
    yield from _each_once(view, (piece for item in shown for piece in places[item]))
    yield _turned(data)


def _boxes(data: bytes, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a part of a file: name, start and end of what is in them."""
    while at + 8 <= stop:
        length, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        end = stop if length == 0 else at + length
        if end < at + head or end > stop:
            raise ValueError("no box")
        yield name, at + head, end
        at = end


def _item_kinds(data: bytes, start: int, stop: int) -> dict[int, bytes]:
    """Return the kinds of the items that `iinf` lists."""
    kinds = {}
    for _, first, _ in _boxes(data, start + (6 if data[start] == 0 else 8), stop):
        wide = data[first] >= 3
        kinds[struct.unpack_from(">I" if wide else ">H", data, first + 4)[0]] = data[
            first + (10 if wide else 8) : first + (14 if wide else 12)
        ]
    return kinds


def _item_places(data: bytes, start: int, store: int) -> dict[int, list[tuple[int, int]]]:
    """Return where `iloc` says that the pieces of each item are: offset in the file, and length."""
    version, at = data[start], start + 4

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : at], "big")

    sizes = number(2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    places: dict[int, list[tuple[int, int]]] = {}
    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        how = number(2) & 15 if version else 0
        at += 2  # the file that it is in, which is this one
        base = number(of_base) + (store if how == 1 else 0)
        pieces = places.setdefault(item, [])
        for _ in range(number(2)):
            at += of_index if version else 0
            offset, length = number(of_offset), number(of_length)
            pieces.append((base + offset, length))
        if how > 1 or not all(length for _, length in pieces) or at > len(data):
            raise ValueError("not known")
    return places


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Parts]], ...] = (
    (lambda data: data.startswith(JPEG), _jpeg),
    (lambda data: data.startswith(PNG), _png),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
    (lambda data: data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    (lambda data: data[4:8] == ISO, _iso),
    (lambda data: data.startswith((JXL_BOXES, JP2_BOXES)), _coded_boxes),
    (lambda data: data.startswith((JXL, JP2)), lambda data: iter([data])),
    (lambda data: data.startswith(PSD), _psd),
)
