"""Seconds of a cold `facesearch query` against the notebook's way; of 100 references; of --help.

    python tests/benchmarks/query_speed.py PHOTOS --faces 10000

The index holds the vectors of some of the PHOTOS, repeated with noise up to the number asked for; both
ways search the same vectors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from index_speed import choose_photos
from measuring import BASELINE, FACESEARCH, median, run, show, tensors_file
from synthetic import write_index

from facesearch.index.npz.store import open_index


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    weights = tensors_file()
    chosen = choose_photos(options.photos, 300)
    with tempfile.TemporaryDirectory() as scratch:
        real = f"{scratch}/real.npz"
        run([*FACESEARCH, "index", *map(str, chosen), "--index", real])
        vectors = open_index(Path(real)).vectors
        index = Path(scratch, "many.npz")
        write_index(index, options.faces, real=vectors)
        many = open_index(index)
        plain = f"{scratch}/baseline.npz"
        paths = np.array([many.path(row) for row in many.photo])
        np.savez(plain, paths=paths, vectors=many.vectors)
        reference, *more = (str(path) for path in chosen[:100])
        ours = [*FACESEARCH, "query", "--index", str(index), "--format", "tsv"]
        baseline = [sys.executable, str(BASELINE), "query", reference, plain, "--weights", str(weights)]
        run([*ours, reference])
        cold = median([*ours, reference], options.rounds)
        seed = median(baseline, max(1, options.rounds // 2))
        hundred = median([*ours, reference, *more], max(1, options.rounds // 2))
        helped = median([*FACESEARCH, "--help"], options.rounds)
        show(
            "query",
            {
                "faces": options.faces,
                "baseline, cold, s": seed.seconds,
                "facesearch, cold, s": cold.seconds,
                "share of the baseline": cold.seconds / seed.seconds,
                "100 references in one call, s": hundred.seconds,
                "references/s": 100 / hundred.seconds,
                "--help, s": helped.seconds,
            },
        )


if __name__ == "__main__":
    main()
