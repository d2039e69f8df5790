"""Trains on the people of nine folds of a pairs file and decides the pairs of the tenth, ten times.

    python tests/benchmarks/train_folds.py LFW PAIRS [--base resnet50] [--loss contrastive] [--seed 0]

The threshold is that of the validation people, a fifth of those who are not in the tenth fold.
"""

import argparse

import numpy as np

from facesearch.embed import card_of, fetch_model
from facesearch.evaluate.fitting import fit_calibration
from facesearch.evaluate.pairs_file import read_pairs
from facesearch.models.store import ModelStore
from facesearch.ranking import pair_distances
from facesearch.siamese.config import ADJUSTED, HEAD, TrainingConfig, settled
from facesearch.siamese.data import Split, people_in
from facesearch.siamese.features import NOBODY
from facesearch.siamese.figures import pairs_of
from facesearch.siamese.learning import Faces, Learned


class Nowhere:
    """A run that is not kept."""

    def keep(self, state):
        """Keep nothing."""


def split_without(person, tested, validation, seed):
    """Deal all people who are not tested into those to learn from and those for validation."""
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
    wish = TrainingConfig(asked.folder, "folds", base=asked.base, loss=asked.loss, seed=asked.seed)
    wish = settled(wish, ADJUSTED if base.identity else HEAD)
    people = people_in(asked.folder)
    faces = Faces.found(people, wish, base, store, NOBODY)
    dataset = read_pairs(asked.pairs, asked.folder)
    place = {path: number for number, path in enumerate(p for p in people.paths if p not in faces.unreadable)}
    photo = np.array([place[path] for path in dataset.paths])
    trials = dataset.trials
    right = {"trained": [], f"{asked.base} alone": []}
    for fold in np.unique(trials.fold[:, 0]):
        chosen = trials.fold[:, 0] == fold
        first, second = photo[trials.first[chosen]], photo[trials.second[chosen]]
        tested = np.unique(faces.person[np.concatenate([first, second])])
        learned = Learned(
            wish, base, faces, split_without(faces.person, tested, wish.validation, wish.seed), store, NOBODY
        )
        learned.run(Nowhere(), None, lambda state: None)
        everything = np.arange(len(faces.person))
        vectors = learned.trainer.embed(everything, np.zeros_like(everything))
        validated = np.isin(faces.person, learned.split.validation)
        for name, given, metric in (
            ("trained", vectors, "euclidean"),
            (f"{asked.base} alone", faces.features.plain.views[:, 0], base.metric),
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
