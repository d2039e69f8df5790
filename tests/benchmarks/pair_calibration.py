"""Fits what the distance of two faces means (`Calibration`) to folders of people that all weigh the same.

python tests/benchmarks/pair_calibration.py [--model sface] FOLDER...

First it is fitted to one half of each folder's people and measured on the other half: the expected
calibration error (ECE) and the share of right verdicts over as many pairs of strangers as of one person,
beside those of the model's present card. What is printed at the end is fitted to all people.
"""

import argparse
import os

import numpy as np

from facesearch.evaluate.dataset import read_people
from facesearch.evaluate.fitting import best_threshold, fit_logistic
from facesearch.evaluate.labelled_faces import find_faces
from facesearch.model import Model
from facesearch.ranking import pair_distances

METRICS = ("cosine", "euclidean")
PAIRS = 40_000  # of each kind and folder
BINS = 10


def read(folder, model):
    dataset = read_people(os.path.abspath(folder))
    vectors = find_faces(dataset, model).vectors
    found = np.isfinite(vectors).all(axis=1)
    return vectors[found], dataset.person[found]


def pairs(vectors, person, rng):
    """Return as many pairs of strangers as of one person: first, second, whether they are one."""
    later = [np.flatnonzero(person[at + 1 :] == person[at]) + at + 1 for at in range(len(person))]
    first = np.repeat(np.arange(len(person)), [len(some) for some in later])
    second = np.concatenate(later)
    if len(first) > PAIRS:
        chosen = rng.choice(len(first), PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    one, other = rng.integers(0, len(person), (2, 2 * len(first) + 1000))
    strangers = np.flatnonzero(person[one] != person[other])[: len(first)]
    first, second = np.concatenate([first, one[strangers]]), np.concatenate([second, other[strangers]])
    return first.astype(np.int32), second.astype(np.int32), person[first] == person[second]


def fitted(parts):
    """Fit to parts, each (distance, same), that all weigh the same."""
    rng = np.random.default_rng(1)
    size = max(len(distance) for distance, _ in parts)
    drawn = [rng.choice(len(distance), size) for distance, _ in parts]
    distance = np.concatenate([part[0][rows] for part, rows in zip(parts, drawn, strict=True)])
    same = np.concatenate([part[1][rows] for part, rows in zip(parts, drawn, strict=True)])
    order = np.argsort(distance)
    return best_threshold(distance[order], same[order]), *fit_logistic(distance[order], same[order])


def figures(distance, same, threshold, slope, intercept):
    """Return the ECE and the share of right verdicts."""
    probability = 1 / (1 + np.exp(np.clip(slope * distance - intercept, -700, 700)))
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    error = sum(
        abs((probability[here] - same[here]).sum()) for here in (bins == number for number in range(BINS))
    )
    return error / len(same), ((distance <= threshold) == same).mean()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--model", default="sface")
    asked = parser.parse_args()
    model = Model(asked.model)
    libraries = {folder: read(folder, model) for folder in asked.folders}
    for metric in METRICS:
        rng = np.random.default_rng(0)
        halves = {}
        for folder, (vectors, person) in libraries.items():
            side = rng.integers(0, 2, person.max() + 1)[person]
            for half in (0, 1):
                here, whose = vectors[side == half], person[side == half]
                first, second, same = pairs(here, whose, rng)
                halves[folder, half] = pair_distances(here, first, second, metric), same
        fit = fitted([halves[folder, 0] for folder in libraries])
        card = model.card.calibration[metric]
        print(f"{metric}, held-out people: ECE and right verdicts; the same by the card of {model.name}")
        for folder in libraries:
            before = (card.threshold, card.slope, card.intercept)
            told = (*figures(*halves[folder, 1], *fit), *figures(*halves[folder, 1], *before))
            print(f"{folder}:", *(f"{one:.3f}" for one in told), flush=True)
        print("threshold, slope, intercept:", *(f"{one:.5g}" for one in fitted(list(halves.values()))))


if __name__ == "__main__":
    main()
