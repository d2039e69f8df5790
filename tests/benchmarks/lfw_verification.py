"""How well a model tells whether two photos show one person: LFW's protocol over a pairs file.

    python tests/benchmarks/lfw_verification.py LFW_FOLDER PAIRS.txt --model resnet50

The pairs file is LFW's own (folds, pairs a fold; then lines "name i j" for same and "name i name j" for
different). The threshold of each fold is the one that is best on the nine others. Of several faces in a
photo the most central one is taken. A pair in which a face was missed counts as wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from facesearch.detect import open_detector
from facesearch.embed import open_embedder
from facesearch.pipeline import Pipeline


def read_pairs(path: Path) -> list[tuple[int, str, str, bool]]:
    """Give (fold, first photo, second photo, same person) for each pair."""
    lines = path.read_text(encoding="utf-8").splitlines()
    folds, each = (int(number) for number in lines[0].split())

    def photo(name: str, number: str) -> str:
        return f"{name}/{name}_{int(number):04d}.jpg"

    pairs = []
    for number, line in enumerate(lines[1 : 1 + 2 * folds * each]):
        fields = line.split("\t") if "\t" in line else line.split()
        same = len(fields) == 3
        second = photo(fields[0], fields[2]) if same else photo(fields[2], fields[3])
        pairs.append((number // (2 * each), photo(fields[0], fields[1]), second, same))
    return pairs


def vectors_of(
    paths: list[str], model: str, precision: str, margin: float | None
) -> dict[str, np.ndarray | None]:
    """Give the vector of the most central face of each photo; None where none was found."""
    from dataclasses import replace

    embedder = open_embedder(model, precision=precision, notify=lambda text: print(text, file=sys.stderr))
    if margin is not None:
        embedder.card = replace(embedder.card, margin=margin)
    detector = open_detector(embedder.card.detector)
    centres = {}

    class Central:
        working_side = detector.working_side

        def detect(self, image):
            height, width = image.shape[:2]
            faces = detector.detect(image)
            return sorted(
                faces,
                key=lambda face: np.hypot(face.box.centre[0] - width / 2, face.box.centre[1] - height / 2),
            )[:1]

    for photo in Pipeline(Central(), embedder).run(paths):
        centres[photo.path] = photo.vectors[0] if photo.faces else None
    return centres


def distances(first: np.ndarray, second: np.ndarray, metric: str) -> np.ndarray:
    """Give the distance of each pair of rows; not finite where a face was missed."""
    if metric == "cosine":
        first = first / np.linalg.norm(first, axis=1, keepdims=True)
        second = second / np.linalg.norm(second, axis=1, keepdims=True)
        return 1 - np.einsum("ij,ij->i", first, second)
    return np.linalg.norm(first - second, axis=1)


def best_threshold(distance: np.ndarray, same: np.ndarray) -> float:
    """Give the threshold with the most pairs right, halfway between two distances."""
    order = np.argsort(distance)
    right = np.cumsum(np.where(same[order], 1, -1))
    best = int(np.argmax(right))
    return float(distance[order][best : best + 2].mean())


def accuracy(
    distance: np.ndarray, same: np.ndarray, fold: np.ndarray, *, missed_wrong: bool
) -> tuple[float, float]:
    """Give the mean and the standard deviation over the folds."""
    found = np.isfinite(distance)
    figures = []
    for number in np.unique(fold):
        train = (fold != number) & found
        threshold = best_threshold(distance[train], same[train])
        test = (fold == number) & (found | missed_wrong)
        figures.append(np.mean(((distance <= threshold) == same)[test] & found[test]))
    return float(np.mean(figures)), float(np.std(figures))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--margin", type=float, nargs="*", help="instead of the card's; several are compared")
    options = parser.parse_args()
    pairs = read_pairs(options.pairs)
    paths = sorted({str(options.folder / name) for pair in pairs for name in pair[1:3]})
    same = np.array([pair[3] for pair in pairs])
    fold = np.array([pair[0] for pair in pairs])
    for margin in options.margin or [None]:
        vectors = vectors_of(paths, options.model, options.precision, margin)
        missing = np.full_like(next(vector for vector in vectors.values() if vector is not None), np.nan)
        sides = [
            np.stack(
                [
                    m if (m := vectors[str(options.folder / pair[side])]) is not None else missing
                    for pair in pairs
                ]
            )
            for side in (1, 2)
        ]
        result: dict[str, object] = {"model": options.model, "margin": margin, "pairs": len(pairs)}
        result["photos"] = len(paths)
        result["photos_without_a_face"] = sum(vector is None for vector in vectors.values())
        for metric in ("cosine", "euclidean"):
            distance = distances(*sides, metric)
            result[metric] = [
                round(figure, 4) for figure in accuracy(distance, same, fold, missed_wrong=True)
            ]
            left_out = accuracy(distance, same, fold, missed_wrong=False)
            result[f"{metric}_misses_left_out"] = [round(figure, 4) for figure in left_out]
        print(json.dumps(result))


if __name__ == "__main__":
    main()
