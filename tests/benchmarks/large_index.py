"""Times what changes and lists an index of a million photos, against copying the file.

    python tests/benchmarks/large_index.py LFW --faces 1000000 --scratch FOLDER

The faces are made from LFW's, as people_grouping.py makes them: grainy copies and strangers. The copy is
synced to the disk, as the index is when it is written. Needs 1.5 kB of disk in FOLDER for each face.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import FACESEARCH, median, run, show
from people_grouping import enlarged, folder_faces
from synthetic import write_index

from facesearch.embed import card_of, fetch_model
from facesearch.models.store import ModelStore


def copied(source: Path, target: Path) -> float:
    """Copy a file to the disk, and return the seconds."""
    began = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos")
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, required=True)
    options = parser.parse_args()
    store = ModelStore()
    fetch_model("sface", store)
    vectors, person = folder_faces(options.photos, card_of("sface", store), store)
    length = np.median(np.linalg.norm(vectors, axis=1))
    made, _ = enlarged(vectors, person, options.faces)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        index, changed = Path(scratch, "large.npz"), Path(scratch, "changed.npz")
        write_index(
            index, options.faces, real=made * (length / np.linalg.norm(made, axis=1))[:, None], model="sface"
        )
        del vectors, made
        figures: dict[str, object] = {"faces": options.faces}
        call = [*FACESEARCH, "people", "--index", str(index), "--quiet"]
        first = run(call)
        figures["people, s"], figures["people, MB"] = first.seconds, first.resident_mb
        figures["people again, s"] = median(call, options.rounds).seconds
        figures["people list, s"] = median([*call[:-1], "list"], options.rounds).seconds
        figures["info, s"] = median([*FACESEARCH, "info", "--index", str(index)], options.rounds).seconds
        copies = sorted(copied(index, changed) for _ in range(options.rounds))
        figures["copy and sync of the file, s"] = copy = copies[len(copies) // 2]
        times: dict[str, list[float]] = {"forget": [], "move-root": []}
        for number in range(options.rounds):
            photo = f"/photos/{number * options.faces // options.rounds:08}.jpg"
            copied(index, changed)
            times["forget"].append(run([*FACESEARCH, "forget", photo, "--index", str(changed)]).seconds)
            move = [*FACESEARCH, "move-root", "/photos", "/pictures", "--index", str(changed)]
            times["move-root"].append(run(move).seconds)
        for name, seconds in times.items():
            figures[f"{name}, s"] = sorted(seconds)[len(seconds) // 2]
            figures[f"{name}, times the copy"] = sorted(seconds)[len(seconds) // 2] / copy
    show("large index", figures)


if __name__ == "__main__":
    main()
