"""Seconds and private memory of a cold `facesearch query` over a million faces, the file in the page cache.

    python tests/benchmarks/large_query.py REFERENCE --faces 1000000 --scratch FOLDER

Needs 8.5 GB of disk in FOLDER (8.3 kB a face) and as much memory that is free for the page cache.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measuring import FACESEARCH, run, show, spread, tensors_file
from synthetic import write_index


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the file for another run")
    options = parser.parse_args()
    tensors_file()
    index = options.scratch / f"synthetic-{options.faces}.npz"
    if not index.exists():
        write_index(index, options.faces)
    with index.open("rb") as file:
        while file.read(1 << 24):
            pass
    figures: dict[str, object] = {"faces": options.faces, "GB": index.stat().st_size / 1e9}
    for metric in ("cosine", "euclidean"):
        call = [*FACESEARCH, "query", str(options.reference), "--index", str(index), "--metric", metric]
        ran = [run(call) for _ in range(options.rounds)]
        figures[f"{metric}, cold, s"] = spread([one.seconds for one in ran])
        figures[f"{metric}, private MB"] = max(one.private_mb for one in ran)
    show("large query", figures)
    if not options.keep:
        index.unlink()


if __name__ == "__main__":
    main()
