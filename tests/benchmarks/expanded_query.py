"""How much more of the same person `query --expand` finds.

Example (an index of a folder for each person, made by `facesearch index DIR --model sface`):

    python tests/benchmarks/expanded_query.py lfw.npz cfp.npz --limit 60

The largest face of each photo, at most --limit of them, is asked for among all other photos. The mean average
precision is of the whole ranking, and the interval is a bootstrap over people.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from facesearch.embed import card_of
from facesearch.faces import Reference
from facesearch.index.npz.store import open_index
from facesearch.judge import Judge
from facesearch.search import Question, search


def average_precision(relevant, total):
    """Return the average precision of a ranking, given which of it is relevant."""
    ranks = np.flatnonzero(relevant) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / total)


def main():
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("indexes", nargs="+", type=Path, metavar="INDEX")
    parser.add_argument("--limit", type=int, default=60, metavar="N")
    options = parser.parse_args()
    print(f"{'index':20} {'asked':>6}  {'plain':>6}  {'expanded':>22}  first match kept")
    for path in options.indexes:
        index = open_index(path)
        card = card_of(index.meta.model)
        judge = Judge.of(card, index, "cosine")
        rows = [row for row in range(index.photo_count) if len(index.faces_of(row))]
        folder = {index.path(row): os.path.basename(os.path.dirname(index.path(row))) for row in rows}
        photos = {name: sum(one == name for one in folder.values()) for name in set(folder.values())}
        rows = [row for row in rows if photos[folder[index.path(row)]] > 1]
        rows = rows[:: max(1, len(rows) // options.limit)][: options.limit]
        found, kept, people = [], 0, []
        for row in rows:
            face, name = index.faces_of(row)[0], folder[index.path(row)]
            vector = np.asarray(index.vectors[face], np.float32)
            asked = [Reference(index.path(row), 1, index.box(face), vector)]
            answers = [
                search(index, asked, Question(top=index.photo_count, expand=expand), judge)[0].matches
                for expand in (False, True)
            ]
            own = [[folder[match.path] == name for match in one] for one in answers]
            found.append([average_precision(one, photos[name] - 1) for one in own])
            kept += answers[0][0].path == answers[1][0].path
            people.append(name)
        found, people = np.array(found), np.array(people)
        names, rng = sorted(set(people.tolist())), np.random.default_rng(1)
        groups = {name: found[people == name, 1] for name in names}
        draws = [[groups[one] for one in rng.choice(names, len(names))] for _ in range(500)]
        low, high = np.quantile([np.concatenate(one).mean() for one in draws], [0.025, 0.975])
        plain, wide = found.mean(axis=0)
        between = f"{wide:.3f} ({low:.3f} to {high:.3f})"
        print(f"{path.stem:20} {len(rows):6}  {plain:6.3f}  {between:>22}  {kept} of {len(rows)}")


if __name__ == "__main__":
    main()
