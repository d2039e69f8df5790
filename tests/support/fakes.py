"""A detector and an embedder so simple that a test can say what they must give, and the photos for them."""

import contextlib
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np

from facesearch.embed import Embedder
from facesearch.faces import Box, Face, FileState, PhotoFaces, Status
from facesearch.index.meta import Meta
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.models.card import Card
from facesearch.photos import kinds
from facesearch.pipeline import Pipeline

GROUND = 100  # a darker picture would be brightened before it is searched again
CARD = Card(
    name="colours", dim=3, size=(16, 16), margin=0.0, detector="squares", digest="fake:0123456789abcdef"
)
META = Meta(CARD.name, CARD.digest, CARD.dim, CARD.detector, {"margin": CARD.margin})

RED, GREEN, BLUE, YELLOW = (20, 20, 250), (20, 250, 20), (250, 20, 20), (20, 250, 250)


class SquareDetector:
    """Takes every bright square on a dark ground for a face."""

    def __init__(self, side: int = 1280) -> None:
        self.side = side

    def working_side(self, width: int, height: int) -> int:
        return self.side

    def detect(self, image, scale):
        bright = (image.max(axis=2) > 120).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [Box(*(int(value) for value in row[:4])) for row in stats[1:] if row[4] >= 4]
        boxes.sort(key=lambda box: (-box.area, box.x, box.y))
        return [Face(box, 1.0) for box in boxes]


class ColourEmbedder(Embedder):
    """Gives each crop's mean colour, blue, green and red in 0..1; notes how many it was given at once."""

    def __init__(self, card: Card = CARD) -> None:
        self.card = card
        self.calls: list[int] = []
        self.crops: list[np.ndarray] = []
        self._lock = threading.Lock()

    def embed(self, crops):
        with self._lock:
            self.calls.append(len(crops))
            self.crops.extend(crops)
        return (crops.reshape(len(crops), -1, 3).mean(axis=1) / 255).astype(np.float32)


def picture(*squares, width=120, height=90):
    """Draw squares (x, y, side, colour) on a dark ground: (height, width, 3) BGR uint8."""
    image = np.full((height, width, 3), GROUND, np.uint8)
    for x, y, side, colour in squares:
        image[y : y + side, x : x + side] = colour
    return image


def encoded(image, suffix=".png"):
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def photo(path, *squares, **size):
    """Write a drawn photo; without squares it is one without faces."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(*squares, **size)))
    return path


def coloured(path, number):
    """Write a photo with one face whose colour tells its number, 0 to 999."""
    colour = (130 + number % 10, 130 + number // 10 % 10, 130 + number // 100)
    return photo(path, (10, 12, 30, colour), width=64, height=60)


def pipeline(embedder=None, **options):
    return Pipeline(SquareDetector(), embedder or ColourEmbedder(), **{"jobs": 2, "batch": 4, **options})


def looked_at(path, faces=1, *, seed=0, digest=None, size=10, mtime_ns=20, dim=META.dim):
    """Return a photo as a pipeline would: its faces' vectors are drawn from its path and the seed."""
    rng = np.random.default_rng([seed, *path.encode("utf-8", "surrogateescape")])
    digest = rng.bytes(16) if digest is None else digest
    return PhotoFaces(
        path,
        FileState(size, mtime_ns, 30, digest, digest[::-1]),
        Status.OK if faces else Status.NO_FACE,
        tuple(Face(Box(number, 2, 30 - number, 40), 0.5) for number in range(faces)),
        rng.normal(size=(faces, dim)).astype(np.float32) if faces else None,
    )


def write_index(path, photos, meta=META, roots=("/",)):
    """Write an index of photos that were looked at."""
    with NpzIndexWriter(path, meta) as writer:
        writer.changes.cover(roots)
        for one in photos:
            writer.add(one)
        writer.commit()
    return path


def rated(data, stars=4):
    """Return a JPEG or PNG with a rating written into it, as other programs do; the picture is the same."""
    xmp = (
        b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="%d"/></rdf:RDF></x:xmpmeta>' % stars
    )
    if data.startswith(b"\xff\xd8"):
        body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]  # behind the header


def rate(path, stars=4):
    """Rate a photo: see `rated`."""
    path.write_bytes(rated(path.read_bytes(), stars))


@contextlib.contextmanager
def without_extras():
    """Let it seem as if what reads RAW photos, films and JPEG XL were not installed."""
    caches = [kinds.can_read_raw, kinds.can_read_jxl, kinds.can_read_videos, kinds.suffixes]
    there = kinds.find_spec
    kinds.find_spec = lambda name: None
    try:
        for one in caches:
            one.cache_clear()
        yield
    finally:
        kinds.find_spec = there
        for one in caches:
            one.cache_clear()
