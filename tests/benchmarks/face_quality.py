"""Fit and check what tells good faces from poor ones: blurred, tiny, shaken, and no faces at all.

Example (all folders are searched with the folders in them; PHOTOS are of known people, one folder a person):

    python tests/benchmarks/face_quality.py LFW CFP UTKFACE FGNET --no-face WALLPAPERS --model sface

Poor faces are made of good ones: out of focus (a Gaussian of 4 to 8.5 pixels where the face has 100), shaken
(a line of 22 to 36 pixels), scaled down to 9 to 14 pixels and up again; and whatever the detector takes for a
face, however unsurely, in pictures without one. Half of the photos are fitted to, the other half gives the
figures. With --write all are fitted to in the end, and the numbers of the card are printed.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from facesearch.detect import open_detector
from facesearch.detect.crop import align_face
from facesearch.detect.yunet import UPRIGHT, _scaled_down, _View
from facesearch.embed import open_embedder
from facesearch.judge import POOR, quality_of
from facesearch.models.calibration import QualityScale
from facesearch.people.grouping import group_faces, grouping_distance

RUINS = ("blurred", "shaken", "tiny")
EXTENSIONS = {".jpg", ".jpeg", ".png"}
# Of the log-odds' weights: less follows the training faces, more loses the poor ones.
RIDGE = 1e-4


def ruined(image, face, kind, rng):
    """Return a photo in which a face cannot be told."""
    unit = max(face.box.width, face.box.height) / 100
    if kind == "blurred":
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(4, 8.5) * unit)
    if kind == "tiny":
        factor = rng.uniform(9, 14) / (100 * unit)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    side = max(3, int(rng.uniform(22, 36) * unit))
    kernel, angle, middle = np.zeros((side, side), np.float32), rng.uniform(0, np.pi), (side - 1) / 2
    for step in np.linspace(-middle, middle, 4 * side):
        kernel[round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))] = 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


class Maker:
    """Makes vectors of good and of poor faces."""

    def __init__(self, model):
        self.embedder = open_embedder(model)
        self.detector = open_detector(self.embedder.card.detector)
        self.rng = random.Random(11)

    def good_and_poor(self, paths):
        """Return vectors of the largest faces, and of the same faces ruined, each with its kind."""
        good, poor, kinds = [], [], []
        for path in paths:
            image = cv2.imread(str(path))
            faces = self.detector.detect(image, 1.0) if image is not None else []
            if not faces:
                continue
            good.append(self.crop(image, faces[0]))
            if max(image.shape) < 150:
                continue  # there is nothing to ruin
            kind = self.rng.choice(RUINS)
            spoilt = ruined(image, faces[0], kind, self.rng)
            seen = [one for one in self.detector.detect(spoilt, 1.0) if one.box.overlap(faces[0].box) > 0.3]
            if seen:
                poor.append(self.crop(spoilt, seen[0]))
                kinds.append(kind)
        return self.embed(good), self.embed(poor), kinds

    def false_faces(self, paths):
        """Return vectors of what the network takes for faces where there is none."""
        crops = []
        for path in paths:
            image = cv2.imread(str(path))
            for side in (1280, 640, 320):
                small = _scaled_down(image, side)
                for view in (small, np.ascontiguousarray(small[:, ::-1]), np.ascontiguousarray(small[::-1])):
                    whole = _View(0, 0, view.shape[1], view.shape[0])
                    seen = self.detector._see(view, whole, UPRIGHT, view.shape)
                    crops += [self.crop(view, face) for face in seen]
        return self.embed(crops)

    def crop(self, image, face):
        card = self.embedder.card
        return align_face(image, face.landmarks, size=card.size, margin=card.margin)

    def embed(self, crops):
        blocks = [np.stack(crops[at : at + 16]) for at in range(0, len(crops), 16)]
        none = np.empty((0, self.embedder.card.dim), np.float32)
        return np.concatenate([none, *(self.embedder.embed(block) for block in blocks)])


def fit(sets, poor, share):
    """Return the scale by logistic regression, all sets of good faces together weighing as much as the poor.

    The offset is then chosen so that of no set more than a share is called poor.
    """
    vectors = np.concatenate([*sets, poor])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    features = np.c_[vectors / lengths, lengths / 10]
    is_good = np.arange(len(vectors)) < len(vectors) - len(poor)
    weight = np.concatenate([np.full(len(one), 0.5 / len(sets) / len(one)) for one in sets])
    weight = np.r_[weight, np.full(len(poor), 0.5 / len(poor))]

    def loss(at):
        odds = features @ at[:-1] + at[-1]
        slope = weight * (1 / (1 + np.exp(-odds)) - is_good)
        value = (weight * (np.logaddexp(0, odds) - is_good * odds)).sum() + RIDGE * (at[:-1] ** 2).sum()
        return value, np.r_[features.T @ slope + 2 * RIDGE * at[:-1], slope.sum()]

    found = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B").x
    odds = np.split(features @ found[:-1] + found[-1], np.cumsum([len(one) for one in sets]))
    offset = found[-1] - min(np.quantile(one, share) for one in odds[:-1])
    return QualityScale(tuple(found[:-2].tolist()), float(found[-2]) / 10, float(offset), "", "")


def main():
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="PHOTOS")
    parser.add_argument("--no-face", type=Path, metavar="DIR", help="pictures without a face")
    parser.add_argument("--model", default="sface")
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="photos of a folder")
    parser.add_argument(
        "--share", type=float, default=0.02, help="of the good faces in a folder, called poor"
    )
    parser.add_argument("--write", action="store_true", help="fit to all, and print the card's numbers")
    options = parser.parse_args()
    maker, rng = Maker(options.model), np.random.default_rng(3)
    sets = {}
    for folder in options.folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
        sets[folder.name] = maker.good_and_poor(
            random.Random(5).sample(paths, min(len(paths), options.limit))
        )
    poor = np.concatenate([one[1] for one in sets.values()])
    kinds = [kind for one in sets.values() for kind in one[2]]
    if options.no_face:
        false = maker.false_faces(sorted(options.no_face.iterdir()))
        poor, kinds = np.concatenate([poor, false]), kinds + ["no face"] * len(false)
    kinds = np.array(kinds)
    halves = {name: rng.random(len(good)) < 0.5 for name, (good, _, _) in sets.items()}
    half = rng.random(len(poor)) < 0.5
    scale = fit([good[halves[name]] for name, (good, _, _) in sets.items()], poor[half], options.share)
    for name, (good, _, _) in sets.items():
        rest = good[~halves[name]]
        share = np.mean(quality_of(rest, scale) < POOR)
        print(f"{name:16} {len(rest):5} good faces, called poor {share:.2%}")
    left, which = poor[~half], kinds[~half]
    told = quality_of(left, scale) < POOR
    for kind, count in Counter(which.tolist()).items():
        print(f"{kind:16} {count:5} poor faces, called poor {told[which == kind].mean():.1%}")
    within = grouping_distance(maker.embedder.card)
    for name, faces in (("all poor faces", left), ("those not called poor", left[~told])):
        sizes = np.bincount(group_faces(faces, within=within)) if len(faces) else np.zeros(1, int)
        groups = np.sum(sizes > 1)
        print(f"{name}: {len(faces)}, groups of two or more {groups}, the largest of {sizes.max()}")
    if options.write:
        scale = fit([good for good, _, _ in sets.values()], poor, options.share)
        print("direction =", tuple(round(number, 3) for number in scale.direction))
        print(f"length = {scale.length:.4f}, offset = {scale.offset:.4f}")


if __name__ == "__main__":
    main()
