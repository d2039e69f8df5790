"""Films that are made of photographs: people come, cross the picture and go, at moments that are known."""

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

from facesearch.photos.content import read_content
from facesearch.photos.decode import decode

_MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Cast:
    """A person in a film.

    Attributes:
        face: (h, w, 3) BGR uint8, a photograph of the face with some of what is around it.
        start: When it comes, in seconds.
        stop: When it goes.
        place: Where its middle is at first, in parts of the picture.
        to: Where its middle is at last.
        side: Its longer side, as a part of the picture's height.
    """

    face: np.ndarray
    start: float
    stop: float
    place: tuple[float, float] = (0.3, 0.5)
    to: tuple[float, float] = (0.7, 0.5)
    side: float = 0.7


def cut_face(path, detector):
    """Return the largest face of a photo with half of its size around it."""
    picture = decode(read_content(str(path)).picture)
    face = detector.detect(picture.pixels, 1.0)[0].box
    x, y = face.centre
    reach = round(max(face.width, face.height) * 0.95)
    left, top = max(0, round(x) - reach), max(0, round(y) - reach)
    return picture.pixels[top : round(y) + reach, left : round(x) + reach].copy()


def frames_of(casts, seconds, *, size=(640, 360), fps=15, seed=0):
    """Yield the frames of a film, (h, w, 3) BGR uint8."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(60, 160, (6, 10, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
    for number in range(round(seconds * fps)):
        now = number / fps
        frame = ground.astype(np.int16)
        for cast in casts:
            if cast.start <= now < cast.stop:
                _paste(frame, cast, (now - cast.start) / (cast.stop - cast.start))
        frame += rng.integers(-3, 4, frame.shape, np.int16)
        yield np.clip(frame, 0, 255).astype(np.uint8)


def _paste(frame, cast, progress):
    height, width = frame.shape[:2]
    factor = cast.side * height / max(cast.face.shape)
    face = cv2.resize(cast.face, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    (x, y), (to_x, to_y) = cast.place, cast.to
    left = round((x + (to_x - x) * progress) * width - face.shape[1] / 2)
    top = round((y + (to_y - y) * progress) * height - face.shape[0] / 2)
    right, bottom = min(width, left + face.shape[1]), min(height, top + face.shape[0])
    if right > max(0, left) and bottom > max(0, top):
        part = face[max(0, -top) : bottom - top, max(0, -left) : right - left]
        frame[max(0, top) : bottom, max(0, left) : right] = part


def write_film(
    path, frames, *, fps=15, codec="libx264", keys=1.0, turn=0, options=None, rate=None, said=None
):
    """Write frames as a film.

    Args:
        path: The file; its suffix says the container.
        frames: (h, w, 3) BGR uint8 each.
        fps: Frames a second.
        codec: The encoder.
        keys: Seconds from one key frame to the next.
        turn: By how many degrees counter-clockwise a player has to turn it.
        options: Of the encoder.
        rate: A function from the number of a frame to the milliseconds when it is shown; None for `fps`.
        said: What the container says of it.
    """
    kind = {".mts": "mpegts", ".m2ts": "mpegts"}.get(path.suffix.lower())
    with av.open(str(path), "w", format=kind) as container:
        container.metadata.update(said or {})
        stream = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(
                    codec,
                    rate=fps,
                    options={"g": str(max(1, round(keys * fps))), **_of(codec), **(options or {})},
                )
                stream.width, stream.height = pixels.shape[1], pixels.shape[0]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                if rate:
                    stream.codec_context.time_base = stream.time_base = _MS
                if turn:
                    stream.set_display_rotation(turn)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            if rate:
                frame.pts, frame.time_base = rate(number), _MS
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    return path


def _of(codec):
    """Return what makes an encoder fast."""
    return {
        "libx264": {"preset": "ultrafast", "sc_threshold": "0"},
        "libx265": {"preset": "ultrafast"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    }.get(codec, {})
