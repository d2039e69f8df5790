"""Photos/s of `facesearch index` against the notebook's way, and against what the cores allow.

    python tests/benchmarks/index_speed.py PHOTOS --limit 600
    python tests/benchmarks/index_speed.py PHOTOS --limit 60 --megapixels 12
    python tests/benchmarks/index_speed.py PHOTOS --limit 2000 --model sface

The ceiling is the number of cores over the core-seconds that a photo takes in the stages one by one:
reading, decoding, detecting and cropping in one thread, embedding full batches. With --megapixels the
photos are set into large backgrounds first, at three times their size, and saved as JPEG. The notebook has
ResNet-50 alone, so other models are only compared with their ceiling.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from measuring import BASELINE, FACESEARCH, run, show, tensors_file

from facesearch.detect import open_detector
from facesearch.embed import Embedder, open_embedder
from facesearch.machine import processors
from facesearch.pipeline import DEFAULT_BATCH, Pipeline

SAMPLES = Path(__file__).parents[2] / "samples" / "library"


def choose_photos(folder: Path, limit: int) -> list[Path]:
    photos = sorted(path for path in folder.rglob("*.jpg"))
    return random.Random(0).sample(photos, min(limit, len(photos)))


def enlarge(photos: list[Path], megapixels: float, into: Path, *, times: float = 3.0) -> None:
    """Set each photo, at so many times its size, into a background of so many pixels."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    names = ("coffee.png", "chelsea.png", "rocket.jpg")
    grounds = [cv2.resize(cv2.imread(str(SAMPLES / name)), (width, height)) for name in names]
    chance = np.random.default_rng(0)
    for number, photo in enumerate(photos):
        picture = cv2.resize(cv2.imread(str(photo)), None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
        canvas = grounds[number % len(grounds)].copy()
        top = int(chance.integers(0, height - picture.shape[0]))
        left = int(chance.integers(0, width - picture.shape[1]))
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        grain = chance.integers(-6, 7, (height, width, 1), dtype=np.int16)
        canvas = np.clip(canvas + grain, 0, 255).astype(np.uint8)
        cv2.imwrite(str(into / f"{number:05}.jpg"), canvas, [cv2.IMWRITE_JPEG_QUALITY, 90])


def stage_seconds(photos: list[str], model: str) -> dict[str, float]:
    """Return core-seconds a photo of each stage alone."""
    embedder = open_embedder(model)
    crops: list[np.ndarray] = []

    class Taking(Embedder):
        card = embedder.card

        def embed(self, batch):
            crops.extend(batch)
            return np.zeros((len(batch), self.card.dim), np.float32)

    pipeline = Pipeline(open_detector(embedder.card.detector), Taking(), jobs=1)
    list(pipeline.run(photos[:4]))
    crops.clear()
    began = time.process_time()
    list(pipeline.run(photos))
    looking = (time.process_time() - began) / len(photos)
    batches = [np.stack(crops[i : i + DEFAULT_BATCH]) for i in range(0, len(crops), DEFAULT_BATCH)]
    embedder.embed(batches[0])
    began = time.process_time()
    for batch in batches:
        embedder.embed(batch)
    embedding = (time.process_time() - began) / len(photos)
    return {"looking": looking, "embedding": embedding}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--megapixels", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="resnet50")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photos")
        folder.mkdir()
        chosen = choose_photos(options.photos, options.limit)
        if options.megapixels:
            enlarge(chosen, options.megapixels, folder)
        else:
            for number, photo in enumerate(chosen):
                Path(folder, f"{number:05}.jpg").write_bytes(photo.read_bytes())
        photos = sorted(str(path) for path in folder.iterdir())
        baseline, ours, ceilings = [], [], []
        few = str(max(10, len(photos) // 4))
        for number in range(options.rounds):
            if options.model == "resnet50":
                out = f"{scratch}/baseline.npz"
                call = [sys.executable, str(BASELINE), "index", str(folder), out, "--limit", few]
                call += ["--weights", str(tensors_file())]
                baseline.append(json.loads(run(call).stdout)["photos_per_second"])
            index = f"{scratch}/{number}.npz"
            call = [*FACESEARCH, "index", str(folder), "--model", options.model, "--index", index, "--json"]
            ours.append(len(photos) / json.loads(run(call).stdout)["seconds"])
            stages = stage_seconds(photos[: max(10, len(photos) // 3)], options.model)
            ceilings.append(processors() / sum(stages.values()))
        size = sum(os.path.getsize(path) for path in photos) / len(photos)
        middle = [float(np.median(values)) if values else math.nan for values in (baseline, ours, ceilings)]
        figures = {
            "photos": len(photos),
            "mean file size, kB": size / 1e3,
            "baseline, photos/s": middle[0],
            "facesearch, photos/s": middle[1],
            "times the baseline": middle[1] / middle[0],
            "looking, core-ms a photo": 1e3 * stages["looking"],
            "embedding, core-ms a photo": 1e3 * stages["embedding"],
            "ceiling, photos/s": middle[2],
            "share of the ceiling": middle[1] / middle[2],
        }
        show(f"index, {options.model}", {name: value for name, value in figures.items() if value == value})


if __name__ == "__main__":
    main()
