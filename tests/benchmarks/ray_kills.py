"""Kill workers and drivers of runs on Ray at random moments, and look whether every face is there once.

    python tests/benchmarks/ray_kills.py LFW [--kills 20] [--limit 600] [--index milvus://127.0.0.1:19530/kills]

Each run starts from nothing. A worker is killed and the run goes on; a driver is killed and the same command
is given again. What comes of it is compared with an index that one process made, row for row.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from ray_speed import photos_of

from facesearch.index.backend import open_backend

OF_A_FACE = ("vectors", "boxes", "scores", "landmarks")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--index", help="an index by URL; a file when not given")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as scratch:
        photos = photos_of(asked.folder, asked.limit, Path(scratch, "photos"))
        began = time.monotonic()
        whole = started(photos, Path(scratch, "whole.npz"), [])
        assert whole.wait() == 0
        print(f"one process: {time.monotonic() - began:.1f} s", flush=True)
        wanted = rows(Path(scratch, "whole.npz"))
        done, number = {"worker": 0, "driver": 0}, 0
        while sum(done.values()) < asked.kills:
            number += 1
            index = f"{asked.index}_{number}" if asked.index else Path(scratch, f"{number}", "i.npz")
            Path(scratch, f"{number}").mkdir()
            killed = one_run(photos, index, chance, done, asked.kills)
            found = rows(index)
            assert found == wanted, f"run {number}: {len(found)} rows, wanted {len(wanted)}"
            print(
                f"run {number}: killed {', '.join(killed) or 'nothing'}: {len(found)} rows, all the same",
                flush=True,
            )
            shutil.rmtree(Path(scratch, f"{number}"))
    print(f"{done['worker']} workers and {done['driver']} drivers were killed; every face is there once")


def one_run(photos, index, chance, done, most):
    """Index with kills until a run comes to its end; give what was killed and when."""
    killed = []
    # Half of the runs are of drivers: a kill ends the run, and the next goes on from there.
    what = "driver" if done["driver"] <= done["worker"] else "worker"
    while True:
        process = started(photos, index, ["--on", "ray"])
        began = time.monotonic()
        while process.poll() is None:
            wait_for_workers(process)
            time.sleep(chance.uniform(0.0, 4.0))
            enough = sum(done.values()) >= most or len(killed) >= 4
            victim = None if enough or process.poll() is not None else victim_of(process, what, chance)
            if victim is None:
                process.wait()
                break
            victim.kill()
            done[what] += 1
            killed.append(f"a {what} after {time.monotonic() - began:.1f} s")
        if process.wait() == 0:
            return killed
        assert process.returncode < 0, process.returncode  # the driver was killed


def started(photos, index, options):
    command = [sys.executable, "-m", "facesearch", "index", photos, "--model", "sface", "--index", index]
    return subprocess.Popen([*map(str, command), "--follow", "--jobs", "1", "-q", *options], env=os.environ)


def workers_of(process):
    """Return the Ray workers that the run started."""
    try:
        return [one for one in psutil.Process(process.pid).children(recursive=True) if named_worker(one)]
    except psutil.NoSuchProcess:
        return []


def named_worker(one):
    try:
        return one.name().startswith("ray::Worker")
    except psutil.Error:
        return False


def wait_for_workers(process):
    while process.poll() is None and not workers_of(process):
        time.sleep(0.05)


def victim_of(process, what, chance):
    if what == "driver":
        return process
    workers = workers_of(process)
    return chance.choice(workers) if workers else None


def rows(index):
    """Return each photo, and each face of it as bytes."""
    layout = open_backend(index).read()
    found = []
    for photo in range(layout.photo_count):
        name = (layout.path(photo), layout.digest[photo].tobytes(), int(layout.status[photo]))
        found.append((*name, b""))
        for face in layout.faces_of(photo):
            found.append((*name, b"".join(getattr(layout, one)[face].tobytes() for one in OF_A_FACE)))
    return sorted(found)


if __name__ == "__main__":
    main()
