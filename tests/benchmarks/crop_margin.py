"""Which margin around a face's box suits a model: verification on labelled pairs at several margins.

    python tests/benchmarks/crop_margin.py LFW PAIRS.txt --model resnet50 --margin 0.2 0.3 0.4

The protocol is that of `facesearch evaluate --pairs`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from facesearch.detect import open_detector
from facesearch.embed import open_embedder
from facesearch.evaluate.dataset import read_pairs
from facesearch.evaluate.verification import Pairs, verify
from facesearch.pipeline import Pipeline
from facesearch.ranking import pair_distances


class Central:
    """Takes the most central of the faces that a detector finds."""

    def __init__(self, detector):
        self.detector = detector

    def working_side(self, width, height):
        return self.detector.working_side(width, height)

    def detect(self, image, scale):
        middle = image.shape[1] / 2, image.shape[0] / 2
        return sorted(
            self.detector.detect(image, scale),
            key=lambda face: np.hypot(*np.subtract(face.box.centre, middle)),
        )[:1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--margin", type=float, nargs="+", default=[0.2, 0.3, 0.4])
    options = parser.parse_args()
    dataset = read_pairs(str(options.pairs), str(options.folder))
    trials = dataset.trials
    embedder = open_embedder(options.model, notify=lambda text: print(text, file=sys.stderr))
    detector = Central(open_detector(embedder.card.detector))
    for margin in options.margin:
        embedder.card = replace(embedder.card, margin=margin)
        vectors = np.full((len(dataset.paths), embedder.card.dim), np.nan, np.float32)
        for place, photo in enumerate(Pipeline(detector, embedder).run(dataset.paths)):
            if photo.faces:
                vectors[place] = photo.vectors[0]
        people = dataset.person[np.stack([trials.first, trials.second], axis=1)]
        for metric in ("cosine", "euclidean"):
            distance = pair_distances(vectors, trials.first, trials.second, metric)
            found = verify(Pairs(distance, trials.same, people, trials.fold, trials.balanced))
            print(
                f"margin {margin:g}, {metric}: accuracy {found.accuracy:.4f}, AUC {found.figures.auc:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
