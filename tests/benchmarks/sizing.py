"""What a library of many millions takes: bytes, hours, machines, and the time of a query.

    python tests/benchmarks/sizing.py LFW [--limit 600] [--cores 32] [--faces-per-photo 2]

Measured here, in this run: photos a second of one core (the pipeline with one thread, photos of 250x250),
and the faces a second that one core compares exactly, over an index written for it. All else is arithmetic on
that, with the assumptions that are printed, and marked with a ~. A graphics card is not measured.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from synthetic import write_index

from facesearch.index.npz.store import open_index
from facesearch.model import Model, Runtime
from facesearch.ranking import nearest

LIBRARIES = (10_000_000, 1_000_000_000)  # photos
MODELS = {"sface": 128, "resnet50": 2048}
M = 32  # of the HNSW graph: 2 M links of 4 bytes on its lowest level, M on each of the few above it
HNSW_EXTRA = 4 * 2 * M + 4 * M // (M - 1)
PATH = 80  # bytes of a photo's path
READ = 1e9  # bytes a second that a disk gives, for what does not fit into memory


def photos_a_second(name, paths):
    """Measure the pipeline with one thread that decodes and detects and one core for the network."""
    pipeline = Model(name, runtime=Runtime(jobs=1)).pipeline()
    list(pipeline.run(paths[:16]))
    began = time.perf_counter()
    count = sum(1 for _ in pipeline.run(paths))
    return count / (time.perf_counter() - began)


def faces_a_second(dim, folder, faces):
    """Measure the exact ranking over an index in the page cache, by one core."""
    write_index(Path(folder, f"{dim}.npz"), faces, model={v: k for k, v in MODELS.items()}[dim])
    index = open_index(Path(folder, f"{dim}.npz"))
    query = np.asarray(index.vectors[:1])
    times = []
    for _ in range(7):
        began = time.perf_counter()
        nearest(index.vectors, index.norms, query, 10)
        times.append(time.perf_counter() - began)
    return faces / sorted(times)[len(times) // 2]


def in_bytes(dim):
    """Return what a face takes, by how its vector is kept; the rest of what an index knows of it included."""
    rest = 4 + 16 + 4 + 40 + 4  # norm, box, score, landmarks, photo
    return {
        "float32 (the file)": 4 * dim + rest,
        "~ float16": 2 * dim + rest,
        f"~ HNSW, M {M}": 4 * dim + HNSW_EXTRA + rest,
        "~ IVF_SQ8": dim + 8 + rest,
    }


def shown(number):
    """Return a number of bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--cores", type=int, default=32, help="of a machine")
    parser.add_argument("--memory", type=float, default=256, help="of a machine, GB")
    parser.add_argument("--faces-per-photo", type=float, default=2)
    asked = parser.parse_args()
    if len(os.sched_getaffinity(0)) > 1:  # begin again on one core: libraries have started threads by now
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os.execv(sys.executable, [sys.executable, *sys.argv])
    paths = [str(path) for path in sorted(Path(asked.folder).rglob("*.jpg"))[: asked.limit]]

    machine = f"a machine has {asked.cores} cores and {asked.memory:g} GB"
    print(f"~ {asked.faces_per_photo:g} faces a photo, paths of {PATH} bytes; {machine}; cores add up")
    for name, dim in MODELS.items():
        rate = photos_a_second(name, paths)
        with tempfile.TemporaryDirectory() as folder:
            compared = faces_a_second(dim, folder, 400_000 if dim < 1000 else 50_000)
        figures = f"{rate:.1f} photos/s and {compared / 1e6:.1f} million faces/s a core"
        print(f"\n{name}, {dim} numbers a face: {figures}")
        for photos in LIBRARIES:
            show_library(asked, dim, photos, rate, compared)


def show_library(asked, dim, photos, rate, compared):
    """Print what a library of so many photos takes."""
    faces = photos * asked.faces_per_photo
    hours = photos / rate / asked.cores / 3600
    in_a_day = max(1, -(-hours // 24))
    print(f"  {photos:,} photos: ~ {hours:,.1f} hours of one machine, or {in_a_day:,.0f} for a day")
    for kind, size in in_bytes(dim).items():
        whole = faces * size + photos * (PATH + 49)
        machines = max(1, -(-whole // (asked.memory * 1e9)))
        print(f"    {kind:20} {size:6,} B a face, {shown(whole):>8}, {machines:,.0f} machine(s) hold it")
    if (vectors := faces * 4 * dim) <= asked.memory * 1e9:
        print(f"    an exact query: ~ {faces / compared / asked.cores:.2f} s on one machine")
    else:
        print(f"    an exact query: ~ {vectors / READ / 60:,.0f} min on one machine, read from disk")


if __name__ == "__main__":
    main()
