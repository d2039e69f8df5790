"""Seconds of `facesearch index` with nothing to do, against `os.scandir` with `stat` over the same files.

    python tests/benchmarks/unchanged_library.py --files 100000

The files are made for it, and are no photos: what is in a file does not matter here. The index is in both
cases read by a new process, so that what a process takes to start is measured too, and taken off.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from measuring import FACESEARCH, run, show

SAMPLES = Path(__file__).parents[2] / "samples" / "library"


def make_files(root: Path, count: int) -> None:
    for number in range(count):
        folder = root / f"{number // 4000:03}" / f"{number // 200:05}"
        if number % 200 == 0:
            folder.mkdir(parents=True)
        (folder / f"IMG_{number:07}.jpg").write_bytes(b"%d" % number)


def look_at_all(root: str) -> float:
    began = time.perf_counter()
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_files(Path(scratch, "photos"), options.files)
        index = [*FACESEARCH, "index", "--model", "sface", "--quiet"]
        many = [*index, f"{scratch}/photos", "--index", f"{scratch}/many.npz"]
        few = [*index, str(SAMPLES), "--index", f"{scratch}/few.npz"]
        run(many)
        run(few)
        rounds = [
            (look_at_all(f"{scratch}/photos"), run(few).seconds, run(many).seconds)
            for _ in range(options.rounds)
        ]
    looked, start, whole = map(statistics.median, zip(*rounds, strict=True))
    show(
        "unchanged library",
        {
            "files": options.files,
            "scandir and stat, s": looked,
            "start (12 photos), s": start,
            "facesearch index, s": whole,
            "without the start, against scandir and stat": (whole - start) / looked,
        },
    )


if __name__ == "__main__":
    main()
