"""Clips: films, of which some frames are looked at as photos are; needs the extra `video`.

Key frames can be decoded alone, which takes a sixth of the time that all frames take. They are looked at
where they come about every second, as cameras write them; elsewhere the frames between them are decoded, too.
A clip is read in parts, so that several cores can work on one, and is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.errors import UnreadablePhoto
from facesearch.faces import UNDATED, Captured, FileState, Moment
from facesearch.files import open_without_waiting
from facesearch.photos.content import read_content
from facesearch.photos.decode import MAX_PIXELS, Picture, decode, upright
from facesearch.photos.find import changed, modified
from facesearch.photos.kinds import RATE, VIDEO_HINT, can_read_videos, is_clip_name

PART = 15_000  # milliseconds

# FFmpeg may open nothing else: lists of other files, and addresses, are formats, too.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# Key frames that are no farther apart need no frames between them, in milliseconds.
_CLOSE = 1050
# Two frames are of two scenes if their levels, made small, differ by more on average.
_CUT = 45.0
_SOONEST = 200  # milliseconds from one frame that is looked at to a cut that is
# Two frames are alike if their levels, made so small, differ by less on average.
_SMALL, _ALIKE = 32, 1.2
# A part may take so many times as long as it lasts, and so many seconds at least.
_SLOWEST, _PATIENCE = 20.0, 60.0
# A clip is known by its size and by so many pieces of so many bytes.
_PIECES, _PIECE = 64, 1 << 16
# How a frame is to be turned, as in EXIF, by the signs of the matrix that the file shows it by.
_TURNS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
# So much of a film is read in parts, in milliseconds: four days, and no more than its file can hold.
_LONGEST, _MS_A_BYTE = 360_000_000, 20
_PQ, _HLG = 16, 18  # transfers of light by which bright pictures are coded


class Part(NamedTuple):
    """A part of a clip.

    Attributes:
        path: The clip.
        start: Its beginning, in milliseconds.
        stop: Where the next part begins.
        rate: How many frames a second are looked at.
    """

    path: str
    start: int
    stop: int
    rate: float


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known of a clip before its frames are.

    Attributes:
        file: The state of the file.
        duration: In milliseconds; 0 if the file does not say.
    """

    file: FileState
    duration: int

    def parts(self, path: str, rate: float = RATE) -> list[Part]:
        """Return its parts; a single one where the duration is not known."""
        # A file may claim to last for years. The last part goes on to the end, whenever that is.
        length = min(self.duration, _LONGEST, self.file.size * _MS_A_BYTE)
        starts = range(0, max(length, 1), PART)
        stops = [*starts[1:], max(self.duration, 1) + PART if self.duration else 1 << 31]
        return [Part(path, start, stop, rate) for start, stop in zip(starts, stops, strict=True)]


class Frame:
    """A frame that is looked at.

    Attributes:
        moment: When it is shown, in milliseconds.
        alike: Whether it is like the one before, so that nothing is new in it.
        cut: Whether a new scene begins with it.
        width: Of the upright frame at full size, in square pixels.
        height: Of the upright frame at full size.
    """

    def __init__(
        self,
        frame: Any,  # noqa: ANN401 (av is not loaded)
        moment: int,
        orientation: int,
        *,
        alike: bool = False,
        cut: bool = False,
    ) -> None:
        self.moment, self.alike, self.cut = moment, alike, cut
        self._frame = frame
        ratio = frame.sample_aspect_ratio if getattr(frame, "sample_aspect_ratio", None) else 1
        self._stored = max(1, round(frame.width * float(ratio or 1))), int(frame.height)
        self._orientation = orientation
        self.width, self.height = self._stored[:: -1 if self._orientation >= 5 else 1]

    def picture(self, side: int | None = None) -> Picture:
        """Return its pixels, with a longer side of so many pixels at most."""
        width, height = self._stored
        scale = min(1.0, side / max(width, height)) if side else 1.0
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if self._frame.interlaced_frame:
            pixels = self._frame.to_ndarray(format="bgr24")[::2]
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        else:
            pixels = self._frame.to_ndarray(
                format="bgr24", width=size[0], height=size[1], interpolation="AREA"
            )
        lut = _to_screen(int(self._frame.color_trc))
        pixels = np.ascontiguousarray(pixels if lut is None else cv2.LUT(pixels, lut))
        return Picture(upright(pixels, self._orientation), self.width, self.height)


def check_readable() -> None:
    """Check that clips can be read here.

    Raises:
        UnreadablePhoto: The extra is missing.
    """
    if not can_read_videos():
        raise UnreadablePhoto("It is a film.", VIDEO_HINT)


def read_clip(path: str) -> Clip:
    """Return what is known of a clip.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is no film, or shows nothing; or what reads films is not installed.
    """
    check_readable()
    file = clip_state(path)
    with closing(_opened(path)) as container:
        stream = _stream(container)
        length = container.duration
        if length is None and stream.duration is not None:
            length = stream.duration * stream.time_base * 1_000_000
        captured = _captured({**stream.metadata, **container.metadata})
    return Clip(replace(file, captured=captured), int(float(length or 0) / 1000))


def frames(part: Part) -> Iterator[Frame]:
    """Yield the frames of a part that are looked at, in their order.

    What is damaged is passed over.

    Raises:
        UnreadablePhoto: It cannot be opened any more, or takes too long.
    """
    deadline = time.monotonic() + max(_PATIENCE, _SLOWEST * (part.stop - part.start) / 1000)
    with closing(_opened(part.path)) as container:
        stream = _stream(container)
        whole = _needs_all(container, stream, part)
        found = _decoded(container, stream, part, deadline, keys_only=not whole)
        yield from _chosen(found, 1000 / part.rate, cuts=whole)


def frame_at(path: str, moment: int) -> Frame:
    """Return the frame of a clip that is shown at a moment.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is no film, or shows nothing at this moment.
    """
    check_readable()
    with closing(_opened(path)) as container:
        part = Part(path, moment, moment + PART, RATE)
        deadline = time.monotonic() + _PATIENCE
        for shown, frame in _decoded(container, _stream(container), part, deadline):
            return Frame(frame, shown, _orientation(frame))
    raise UnreadablePhoto(f"{path!r} shows nothing at this moment now.")


def picture_at(
    path: str, moment: Moment | None = None, *, side: int | None = None, shrink: float = 1.0
) -> tuple[FileState, Picture]:
    """Return the picture of a photo, or of a clip at a moment, and the state of the file.

    Args:
        path: The photo or clip.
        moment: When in a clip, or in which frame of a picture; None for the beginning.
        side: The longer side that is needed, in pixels; see `decode`.
        shrink: How many times smaller the picture may be.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is not readable.
    """
    if not is_clip_name(path):
        content = read_content(path)
        frame = (moment.frame if moment else 0) or 1
        return content.file, decode(content.picture, side=side, shrink=shrink, frame=frame)
    shown = frame_at(path, moment.best if moment else 0)
    wanted = side or round(max(shown.width, shown.height) / max(1.0, shrink))
    return clip_state(path), shown.picture(max(1, wanted))


def clip_state(path: str) -> FileState:
    """Return the state of a clip's file; its digests are of pieces, so that it need not be read whole.

    Raises:
        OSError: It cannot be read.
        UnreadablePhoto: It is empty, or no ordinary file.
    """
    with open(path, "rb", opener=open_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise UnreadablePhoto("It is not an ordinary file.")
        if not about.st_size:
            raise UnreadablePhoto("It is empty.")
        start, stop = _media(file, about.st_size)
        digest = _pieces(file, start, stop, b"clip")
        whole = _pieces(file, 0, about.st_size, b"film")
    return FileState(about.st_size, modified(about), changed(about), digest, whole, UNDATED)


def _pieces(file: Any, start: int, stop: int, person: bytes) -> bytes:  # noqa: ANN401
    digest = hashlib.blake2b(str(stop - start).encode(), digest_size=16, person=person)
    for place in np.linspace(start, max(start, stop - _PIECE), _PIECES).astype(np.int64).tolist():
        file.seek(place)
        digest.update(file.read(min(_PIECE, stop - place)))
    return digest.digest()


def _media(file: Any, size: int) -> tuple[int, int]:  # noqa: ANN401
    """Return where the pictures of an MP4 lie, which tags do not change; or the whole file."""
    at, best = 0, (0, size)
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        end = size if length == 0 else at + length
        if end <= at + 7 or end > size or not head[4:8].isalnum():
            break
        if head[4:8] == b"mdat" and (best == (0, size) or end - at > best[1] - best[0]):
            best = at + 8, end
        at = end
    return best


def _opened(path: str) -> Any:  # noqa: ANN401
    av = _av()
    try:
        return av.open(path, options=dict(_OPTIONS), metadata_errors="replace")
    except av.error.FFmpegError as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError)):
            raise
        raise UnreadablePhoto(f"It is not a film that can be read ({_said(error)}).") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # on hostile input
        raise UnreadablePhoto(f"It is not a film that can be read ({_said(error)}).") from error


def _stream(container: Any) -> Any:  # noqa: ANN401
    stream = container.streams.best("video")
    if stream is None:
        raise UnreadablePhoto("It is a film without pictures.")
    if stream.codec_context is None:
        raise UnreadablePhoto(
            "It is a film whose pictures are protected, or coded in a way that is not known."
        )
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _needs_all(container: Any, stream: Any, part: Part) -> bool:  # noqa: ANN401
    """Return whether the key frames of a part lie too far apart; nothing is decoded for that."""
    keys, last = [part.start], part.start
    for shown, is_key in _times(container, stream, part):
        last = max(last, shown)
        if is_key:
            keys.append(shown)
    return any(later - sooner > _CLOSE for sooner, later in pairwise(sorted([*keys, last])))


def _times(container: Any, stream: Any, part: Part) -> Iterator[tuple[int, bool]]:  # noqa: ANN401
    """Yield when the frames of a part are shown, and which are key frames."""
    base, begin = float(stream.time_base) * 1000, _begin(container)
    entries = stream.index_entries
    if entries is not None and len(entries) > 1:
        found = ((round(one.timestamp * base) - begin, one.is_keyframe) for one in entries)
        yield from (one for one in found if part.start <= one[0] < part.stop)
        return
    _seek(container, stream, part.start)
    for packet in _packets(container, stream):
        if packet.pts is not None:
            shown = round(packet.pts * base) - begin
            if shown >= part.stop:
                return
            if shown >= part.start:
                yield shown, packet.is_keyframe


def _decoded(
    container: Any,  # noqa: ANN401
    stream: Any,  # noqa: ANN401
    part: Part,
    deadline: float,
    *,
    keys_only: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield when each frame of a part is shown, and the frame; damaged ones are passed over."""
    begin = _begin(container)
    stream.codec_context.flush_buffers()
    stream.codec_context.skip_frame = "NONKEY" if keys_only else "DEFAULT"
    _seek(container, stream, part.start)
    for packet in _packets(container, stream):
        if time.monotonic() > deadline:
            raise UnreadablePhoto("It takes too long to read.")
        if keys_only and packet.size and not packet.is_keyframe:
            continue
        for frame in _frames_in(packet):
            shown = round(frame.time * 1000) - begin
            if shown >= part.stop:
                return
            if shown >= part.start - 1:
                yield max(0, shown), frame


def _frames_in(packet: Any) -> list[Any]:  # noqa: ANN401
    """Decode a packet; a damaged one holds no frame."""
    try:
        found = packet.decode()
    except _av().error.FFmpegError:
        return []
    return [frame for frame in found if frame.time is not None and frame.width > 0]


def _packets(container: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield packets as far as they can be read."""
    try:
        yield from container.demux(stream)
    except _av().error.FFmpegError:
        return


def _chosen(found: Iterator[tuple[int, Any]], every: float, *, cuts: bool) -> Iterator[Frame]:
    """Choose the frames that are looked at: one in so many milliseconds, and those after a cut."""
    last, looked, before, turned = -every, None, None, 0
    for shown, frame in found:
        # Asked of one frame alone: a frame that was asked is freed late.
        turned = turned or _orientation(frame)
        due = shown - last >= every - 1
        if not due and not cuts:
            continue
        small = _small(frame)
        cut = cuts and before is not None and _differ(small, before) > _CUT
        before = small
        if due or (cut and shown - last >= _SOONEST):
            change = _differ(small, looked) if looked is not None else _CUT
            yield Frame(frame, shown, turned, alike=change < _ALIKE, cut=cut)
            last, looked = shown, small


def _small(frame: Any) -> NDArray[np.int16]:  # noqa: ANN401
    grey = frame.to_ndarray(format="gray", width=_SMALL, height=_SMALL, interpolation="FAST_BILINEAR")
    return np.asarray(grey, np.int16)


def _differ(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    return float(np.abs(one - other).mean())


def _seek(container: Any, stream: Any, moment: int) -> None:  # noqa: ANN401
    # A little before it: where a stream has no index, the frame itself may be missed.
    place = int((moment - _CLOSE + _begin(container)) / 1000 / float(stream.time_base))
    with suppress(_av().error.FFmpegError):  # it goes on from where it is: at the beginning
        container.seek(max(0, place), stream=stream, backward=True)


def _begin(container: Any) -> int:  # noqa: ANN401
    """Return what a clip's times begin with, in milliseconds."""
    return int((container.start_time or 0) / 1000)


def _orientation(frame: Any) -> int:  # noqa: ANN401
    """Return how a frame is to be turned, 1 to 8 as in EXIF."""
    for one in frame.side_data:
        if one.type.name == "DISPLAYMATRIX":
            matrix = np.frombuffer(bytes(one), np.int32)
            a, b, c, d = (int(np.sign(matrix[at])) for at in (0, 1, 3, 4))
            return _TURNS.get((a, b, c, d), 1)
    return 1


@cache
def _to_screen(transfer: int) -> NDArray[np.uint8] | None:
    """Return what makes levels for bright screens those of ordinary ones; None where they are already."""
    level = np.arange(256) / 255
    if transfer == _PQ:  # SMPTE ST 2084; 203 cd/m2 are white (ITU-R BT.2408)
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = level ** (1 / m2)
        light = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / 203
    elif transfer == _HLG:  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12) / 0.265
    else:
        return None
    light = np.clip(light, 0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * shown), np.uint8)


def _captured(said: dict[str, str]) -> int:
    """Return when a clip was made, by what its file says, as `Captured.code`."""
    for name in ("com.apple.quicktime.creationdate", "creation_time", "date"):
        text = said.get(name, "").strip()
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("+0000", "+00:00"))
        except ValueError:
            continue
        if moment.year > _FIRST_YEAR:  # a camera without a clock says 1904 or 1970
            return Captured.at(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).code
    return UNDATED


_FIRST_YEAR = 1971


def _said(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:120]


@cache
def _av() -> Any:  # noqa: ANN401
    """Import av on first use: few libraries hold films."""
    import av
    import av.logging

    av.logging.set_level(av.logging.PANIC)
    return av
