"""Groups labelled photos into people: pairwise precision and recall, people split or merged, time, memory.

    python tests/benchmarks/people_grouping.py [LFW] [--within D] [--centring 0.85] [--faces 100000]
    python tests/benchmarks/people_grouping.py LFW --strangers 100000

First the sample photos, all faces of them; then a folder of folders, the most central face of each photo. The
distance is by default the one that `facesearch people` takes from the model's card.

With --faces, each vector stands in 15 grainy copies, at a cosine of 0.8 to 0.95 to it, in a direction drawn
at random; these are four fifths of all, for which further people are drawn where the photos do not suffice.
The rest are strangers. What is drawn comes from a normal distribution with the mean and the covariance of the
photos' own. With --strangers, all are drawn. Pairs are of all faces, strangers and people with one photo
among them.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from facesearch.embed import card_of, fetch_model
from facesearch.faces import Box
from facesearch.library import Library
from facesearch.models.store import ModelStore
from facesearch.people.grouping import CENTRING, group_faces, grouping_distance
from facesearch.siamese.data import SLIGHT, photos_of_people
from facesearch.siamese.features import SILENT, FeatureSettings, extract_features

COPIES = 15
SAMPLES = Path(__file__).parents[2] / "samples"
# People who are in several samples: photo -> (who, a point of the face; None where it is the only one).
KNOWN = {
    "library/obama_2009.jpg": ("Obama", None),
    "library/obama_2010.jpg": ("Obama", None),
    "queries/obama.jpg": ("Obama", None),
    "queries/marie_curie.jpg": ("Curie", None),
    "library/solvay_1927.jpg": ("Curie", (698, 809)),
}


def pairs_in(numbers):
    """Return how many pairs have one number."""
    counts = np.unique(numbers, return_counts=True, axis=-1)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def share(part, whole):
    return f"{part / whole:.4f}" if whole else "of none"


def enlarged(vectors, person, count):
    """Return grainy copies of the vectors and strangers, `count` in all, and whose they are."""
    rng = np.random.default_rng(0)
    flat = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    middle, spread = flat.mean(axis=0), np.cov(flat.T)
    further = max(0, count * 4 // 5 // COPIES - len(flat))
    more = rng.multivariate_normal(middle, spread, further).astype(np.float32)
    base = np.repeat(
        np.concatenate([flat, more / np.linalg.norm(more, axis=1, keepdims=True)]), COPIES, axis=0
    )
    person = np.concatenate([person, person.max() + 1 + np.arange(further)])
    grain = rng.standard_normal(base.shape).astype(np.float32)
    grain -= (grain * base).sum(axis=1, keepdims=True) * base
    grain /= np.linalg.norm(grain, axis=1, keepdims=True)
    cosine = rng.uniform(0.8, 0.95, (len(base), 1)).astype(np.float32)
    copies = cosine * base + np.sqrt(1 - cosine**2) * grain
    strangers = rng.multivariate_normal(middle, spread, count - len(copies))
    whose = np.concatenate([np.repeat(person, COPIES), person.max() + 1 + np.arange(len(strangers))])
    order = rng.permutation(count)
    return np.concatenate([copies, strangers.astype(np.float32)])[order], whose[order]


def strangers(vectors, count):
    """Return `count` vectors of people who are there once."""
    flat = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = np.random.default_rng(0).multivariate_normal(flat.mean(axis=0), np.cov(flat.T), count)
    return drawn.astype(np.float32), np.arange(count)


def sample_faces(store):
    """Return the vectors of all faces of the samples and whose they are; who is not known is nobody else."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "samples.npz", "sface", store=store)
        library.index([SAMPLES / "library", SAMPLES / "queries"])
        index = library.contents
        vectors = np.array(index.vectors)
        whose = [who_is(index, row) or f"face {row}" for row in range(index.face_count)]
    return vectors, np.unique(whose, return_inverse=True)[1]


def who_is(index, row):
    """Return the name of a face of the samples, None where it stands in one photo alone."""
    path = Path(index.path(int(index.photo[row]))).relative_to(SAMPLES).as_posix()
    who, point = KNOWN.get(path, (None, None))
    return who if point is None or index.box(row).overlap(Box(*point, 1, 1)) else None


def folder_faces(folder, card, store):
    """Return the vectors of labelled photos and whose they are."""
    people = photos_of_people(folder)
    found = extract_features(people.folder, people.paths, FeatureSettings(card, 0, SLIGHT), store, SILENT)
    return found.faces[found.readable, 0, : card.dim], people.person[found.readable]


def report(title, vectors, person, within, centring):
    """Group faces and print how well that went."""
    began = time.monotonic()
    group = group_faces(vectors, within=within, centring=centring)
    seconds = time.monotonic() - began
    together = pairs_in(np.stack([group, person]))
    both = np.unique(np.stack([group, person]), axis=1)
    merged = int((np.unique(both[0], return_counts=True)[1] > 1).sum())
    split = int((np.unique(both[1], return_counts=True)[1] > 1).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{title}, within {within:.3f}")
    print(f"{len(vectors):,} faces of {len(np.unique(person)):,} people in {group.max() + 1:,} groups")
    print(
        f"pairwise precision {share(together, pairs_in(group))}, recall {share(together, pairs_in(person))}"
    )
    print(f"{split:,} people are split, {merged:,} groups hold more than one person")
    print(f"{seconds:.1f} s, {peak:,.0f} MB at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--within", type=float)
    parser.add_argument("--centring", type=float, default=CENTRING)
    parser.add_argument("--faces", type=int)
    parser.add_argument("--strangers", type=int, metavar="FACES")
    asked = parser.parse_args()

    store = ModelStore()
    fetch_model("sface", store)
    card = card_of("sface", store)
    within = asked.within or grouping_distance(card)
    report("Samples", *sample_faces(store), within, asked.centring)
    if asked.folder:
        vectors, person = folder_faces(asked.folder, card, store)
        if asked.faces:
            vectors, person = enlarged(vectors, person, asked.faces)
        if asked.strangers:
            vectors, person = strangers(vectors, asked.strangers)
        print()
        report(asked.folder, vectors, person, within, asked.centring)


if __name__ == "__main__":
    main()
