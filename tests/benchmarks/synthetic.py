"""Large indexes for the benchmarks, in the form that `facesearch index` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facesearch.embed import card_of
from facesearch.faces import UNDATED
from facesearch.index.index import FORMAT
from facesearch.index.meta import Meta
from facesearch.index.npz.arrays import ArrayWriter

_BLOCK = 8192


def write_index(path: Path, faces: int, *, real: np.ndarray | None = None, model: str = "resnet50") -> None:
    """Write an index of so many photos with one face each.

    The vectors are `real` ones, repeated with a little noise where they do not suffice, or random ones of a
    network's kind (not negative) where there are none. Paths are made up.
    """
    card = card_of(model)
    settings = {"min_face": 0, "faces": "all", "rotations": False, "margin": card.margin}
    meta = Meta(model, card.digest, card.dim, card.detector, settings, ("/photos",), "", "", "synthetic")
    chance = np.random.default_rng(0)
    norms = []
    positive = real is not None and real.min() >= 0

    def blocks():
        for start in range(0, faces, _BLOCK):
            count = min(_BLOCK, faces - start)
            noise = chance.standard_normal((count, card.dim), dtype=np.float32)
            if real is None:
                block = np.maximum(noise, 0)
            else:
                number = np.arange(start, start + count)
                block = real[number % len(real)]
                again = number >= len(real)
                block[again] += 0.1 * block.std() * noise[again]
                if positive:
                    block = np.maximum(block, 0)
            norms.append(np.linalg.norm(block, axis=1).astype(np.float32))
            yield block

    names = [b"/photos/%08d.jpg" % number for number in range(faces)]
    number = np.arange(faces)
    with path.open("wb") as file, ArrayWriter(file) as writer:
        writer.write("format", np.array(FORMAT))
        writer.write("meta", np.array(meta.to_json()))
        writer.write_blocks("vectors", (faces, card.dim), np.dtype("<f4"), blocks())
        writer.write("norms", np.concatenate(norms))
        writer.write("boxes", np.tile(np.array([10, 10, 100, 100], np.int32), (faces, 1)))
        writer.write("scores", np.ones(faces, np.float32))
        writer.write("landmarks", np.full((faces, 5, 2), np.nan, np.float32))
        writer.write("photo", number.astype(np.int32))
        writer.write("moments", np.full((faces, 3), -1, np.int32))
        writer.write("paths", np.frombuffer(b"".join(names), np.uint8))
        writer.write("path_ends", (number + 1) * np.int64(len(names[0])))
        writer.write("root", np.zeros(faces, np.int32))
        writer.write("size", np.ones(faces, np.int64))
        writer.write("mtime_ns", np.ones(faces, np.int64))
        writer.write("ctime_ns", np.ones(faces, np.int64))
        for name in ("digest", "file_digest"):
            writer.write(name, number.astype("<u8").repeat(2).view(np.uint8).reshape(faces, 16))
        writer.write("captured", np.full(faces, UNDATED, np.int64))
        writer.write("status", np.zeros(faces, np.uint8))
        writer.write("forgotten", np.empty((0, 16), np.uint8))
        writer.write("erased", np.empty((0, 16), np.uint8))
        writer.write("erased_boxes", np.empty((0, 4), np.int32))
