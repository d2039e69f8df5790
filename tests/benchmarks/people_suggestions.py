"""Of the first suggestions, how many are right: each person's photos are dealt into two groups.

    python tests/benchmarks/people_suggestions.py LFW [--top 100 300 1000]

LFW is a folder of folders, one for each person; the most central face of each photo is taken. A person with
one photo is alone. Nothing is grouped first: the two halves of all people are the groups.
"""

import argparse

import numpy as np
from measuring import show
from people_grouping import folder_faces

from facesearch.embed import card_of, fetch_model
from facesearch.models.store import ModelStore
from facesearch.people.grouping import grouping_distance, likely_pairs
from facesearch.people.suggestions import suggested_distance


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--top", type=int, nargs="+", default=[100, 300, 1000, 3000])
    asked = parser.parse_args()
    store = ModelStore()
    fetch_model("sface", store)
    card = card_of("sface", store)
    vectors, person = folder_faces(asked.folder, card, store)
    order = np.random.default_rng(0).permutation(len(person))
    group, dealt = np.empty(len(person), np.int64), {}
    for row in order.tolist():
        dealt.setdefault(int(person[row]), []).append(row)
    for number, rows in enumerate(dealt.values()):
        group[rows] = 2 * number + np.arange(len(rows)) % 2
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    figures = {"faces": len(person), "people in two groups": sum(len(rows) > 1 for rows in dealt.values())}
    for name, within in (("careful", grouping_distance(card)), ("suggested", suggested_distance(card))):
        pairs, distances = likely_pairs(vectors, group, within=within)
        right = person[first[pairs[:, 0]]] == person[first[pairs[:, 1]]]
        figures[f"within {within:.3f} ({name})"] = f"{len(pairs):,} suggestions, {right.sum():,} right"
        for top in asked.top:
            if top <= len(pairs):
                figures[f"{name}: right of the first {top}"] = int(right[:top].sum())
        beyond = distances > grouping_distance(card)
        if beyond.any():
            figures[f"{name}: right of the first 100 beyond the careful distance"] = int(
                right[beyond][:100].sum()
            )
            figures[f"{name}: beyond the careful distance"] = (
                f"{right[beyond].mean():.1%} of {beyond.sum():,}"
            )
    show("suggestions", figures)


if __name__ == "__main__":
    main()
