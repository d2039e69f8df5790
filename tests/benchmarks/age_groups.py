"""Says what `compare` and `query` make of pairs of photos by the ages in them.

python tests/benchmarks/age_groups.py FG-NET [--model sface]

FG-NET is a folder of folders, one for each person, whose files' names hold the age, as `001A05.JPG`.
"""

import argparse
import os
import re

import numpy as np

from facesearch.cohort import SIZE, Cohort, nearness
from facesearch.evaluate.dataset import read_people
from facesearch.evaluate.labelled_faces import find_faces
from facesearch.model import Model
from facesearch.ranking import pair_distances

GROUPS = ("0 to 6", "7 to 12", "13 to 17", "18 and more")
ADULT = (7, 13, 18)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FG-NET")
    parser.add_argument("--model", default="sface")
    asked = parser.parse_args()
    model = Model(asked.model)
    dataset = read_people(os.path.abspath(asked.folder))
    vectors = find_faces(dataset, model).vectors
    found = np.isfinite(vectors).all(axis=1)
    vectors, person = vectors[found], dataset.person[found]
    ages = [int(re.search(r"A(\d+)", os.path.basename(path))[1]) for path in np.array(dataset.paths)[found]]
    group = np.digitize(ages, ADULT)

    first, second = np.triu_indices(len(person), 1)
    same = person[first] == person[second]
    called_one = (
        pair_distances(vectors, first.astype(np.int32), second.astype(np.int32), "cosine")
        <= model.card.calibration["cosine"].threshold
    )
    sample = vectors[np.random.default_rng(0).permutation(len(vectors))[:SIZE]]
    standing = Cohort.of(sample, model.card.library).standing(vectors)
    near = nearness(standing, standing)[first, second]
    expected = [model.card.library.strangers_within(float(one), len(person)) for one in near]
    matched = np.array(expected) <= 1

    print("ages: of pairs of one person and of strangers, those called one by `compare`, and by `query`")
    for one in range(len(GROUPS)):
        for other in range(one, len(GROUPS)):
            these = np.sort(np.stack([group[first], group[second]]), axis=0)
            here = (these[0] == one) & (these[1] == other)
            told = [
                f"{100 * part[here & who].mean():.1f} %"
                for part in (called_one, matched)
                for who in (same, ~same)
            ]
            counts = f"{(here & same).sum():,} and {(here & ~same).sum():,} pairs"
            print(f"{GROUPS[one]}, {GROUPS[other]}: {counts}: {told[0]}, {told[1]}; {told[2]}, {told[3]}")


if __name__ == "__main__":
    main()
