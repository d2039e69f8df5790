"""What each format costs: reading and decoding one photo of 12 megapixels, compared with its JPEG.

    python tests/benchmarks/format_speed.py [PHOTO]

The photo, by default a sample that is enlarged, is written in every format that can be written here.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 (Pillow writes JPEG XL with it)
from measuring import machine
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.raw_photos import dng

from facesearch.photos.content import content_of
from facesearch.photos.decode import decode

SAMPLE = Path(__file__).parents[2] / "samples" / "library" / "grace_hopper.jpg"
SIDE = 1280  # what the detector looks at
TIMES = 5


def main() -> None:
    """Print the time of each format and its ratio to the JPEG's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", default=str(SAMPLE), help="the photo, by default a sample")
    options = parser.parse_args()
    pillow_heif.register_heif_opener()
    warnings.simplefilter("ignore")
    image = cv2.imread(options.photo)
    factor = (12e6 / (image.shape[0] * image.shape[1])) ** 0.5
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    print(machine(), f"{image.shape[1]}x{image.shape[0]} pixels, decoded for a side of {SIDE}", sep="\n")
    first = 0.0
    for name, data in files(image):
        seconds = [timed(data) for _ in range(TIMES)]
        first = first or median(seconds)
        ms, size = 1000 * median(seconds), len(data) / 1e6
        print(f"{name:22} {size:6.1f} MB {ms:7.0f} ms {median(seconds) / first:6.2f}x")


def files(image: np.ndarray) -> list[tuple[str, bytes]]:
    """Return the photo in each format."""
    shown = Image.fromarray(image[..., ::-1])

    def saved(kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        shown.save(file, kind, **options)
        return file.getvalue()

    half = max(image.shape) // 2
    return [
        ("JPEG", saved("JPEG", quality=92)),
        ("progressive JPEG", saved("JPEG", quality=92, progressive=True)),
        ("RAW, preview inside", dng(image, preview=max(image.shape))),
        ("RAW, half a preview", dng(image, preview=half)),
        ("RAW, no preview", dng(image)),
        ("PNG", saved("PNG", compress_level=1)),
        ("WebP", saved("WEBP", quality=90, method=2)),
        ("TIFF", saved("TIFF")),
        ("HEIC", saved("HEIF", quality=80)),
        ("AVIF", saved("AVIF", quality=80, speed=9)),
        ("JPEG XL", saved("JXL", quality=90, effort=3)),
        ("JPEG 2000", saved("JPEG2000", quality_mode="rates", quality_layers=[10], irreversible=True)),
    ]


def timed(data: bytes) -> float:
    """Return how long it takes to read and decode a photo, with its digests."""
    began = time.perf_counter()
    decode(content_of(data).picture, side=SIDE)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
