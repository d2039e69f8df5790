"""Trains on the people of nine folds of a pairs file and decides the pairs of the tenth, ten times.

    python tests/benchmarks/train_folds.py LFW PAIRS [--base resnet50] [--loss contrastive] [--seed 0]

The threshold is that of the validation people, a fifth of those who are not in the tenth fold.
"""

import argparse

import numpy as np

from facesearch.embed import card_of, fetch_model
from facesearch.evaluate.dataset import read_pairs
from facesearch.evaluate.fitting import fit_calibration
from facesearch.models.store import ModelStore
from facesearch.ranking import pair_distances
from facesearch.siamese.config import ADJUSTED, HEAD, TrainingConfig, with_defaults
from facesearch.siamese.data import Split, photos_of_people
from facesearch.siamese.features import SILENT
from facesearch.siamese.figures import pairs_of
from facesearch.siamese.learning import Learner, TrainingFaces


class Nowhere:
    """A run that is not saved."""

    def save(self, state):
        """Save nothing."""


def split_without(person, tested, validation, seed):
    """Divide all people who are not tested into those for training and those for validation."""
    photos = np.bincount(person)
    several = np.setdiff1d(np.flatnonzero(photos > 1), tested)
    order = np.random.default_rng(seed).permutation(several)
    count = round(validation * len(order))
    alone = np.setdiff1d(np.flatnonzero(photos == 1), tested)
    return Split(np.sort(np.concatenate([order[count:], alone])), np.sort(order[:count]), tested)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("pairs")
    parser.add_argument("--base", default="resnet50")
    parser.add_argument("--loss")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    store = ModelStore()
    fetch_model(asked.base, store)
    base = card_of(asked.base, store)
    config = TrainingConfig(asked.folder, "folds", base=asked.base, loss=asked.loss, seed=asked.seed)
    config = with_defaults(config, ADJUSTED if base.identity else HEAD)
    people = photos_of_people(asked.folder)
    faces = TrainingFaces.extract(people, config, base, store, SILENT)
    dataset = read_pairs(asked.pairs, asked.folder)
    place = {path: number for number, path in enumerate(p for p in people.paths if p not in faces.unreadable)}
    photo = np.array([place[path] for path in dataset.paths])
    trials = dataset.trials
    right = {"trained": [], f"{asked.base} alone": []}
    for fold in np.unique(trials.fold[:, 0]):
        chosen = trials.fold[:, 0] == fold
        first, second = photo[trials.first[chosen]], photo[trials.second[chosen]]
        tested = np.unique(faces.person[np.concatenate([first, second])])
        split = split_without(faces.person, tested, config.validation, config.seed)
        learner = Learner(config, base, faces, split, store, SILENT)
        learner.run(Nowhere(), None, lambda state: None)
        everything = np.arange(len(faces.person))
        vectors = learner.trainer.embed(everything, np.zeros_like(everything))
        validated = np.isin(faces.person, learner.split.validation)
        for name, given, metric in (
            ("trained", vectors, "euclidean"),
            (f"{asked.base} alone", faces.features.vectors.views[:, 0], base.metric),
        ):
            pairs = pairs_of(given[validated], faces.person[validated], metric)
            threshold = fit_calibration(pairs, data="", date="2026-01-01", own=True).threshold
            distance = pair_distances(given, first, second, metric)
            right[name].append(float(np.mean((distance <= threshold) == trials.same[chosen])))
        print(f"fold {fold}: " + ", ".join(f"{name} {100 * one[-1]:.1f} %" for name, one in right.items()))
    for name, one in right.items():
        print(
            f"{name}: {100 * np.mean(one):.2f} % of {len(trials.same):,} pairs, folds {np.std(one) * 100:.1f}"
        )


if __name__ == "__main__":
    main()
