"""Photos a second on a Ray cluster of one and of two workers with one thread each, and the driver's memory.

    python tests/benchmarks/ray_speed.py LFW [--limit 1000] [--model sface]

A cluster of its own is started for each run (`ray start --head` on loopback) and asked through its address,
as one on other machines is. Starting workers and the model counts, so that the ratio of two long runs is
taken: of --limit photos and of twice as many.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

PORT = 9701


@contextmanager
def cluster(workers):
    """Start a cluster that takes so many workers; it ends with this."""
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.1", "--port=6399", f"--ray-client-server-port={PORT}"]
    command += [f"--num-cpus={workers}", "--include-dashboard=false"]
    head = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(PORT):
            assert head.poll() is None, "the cluster does not start"
            time.sleep(0.5)
        yield
    finally:
        head.terminate()  # and it ends what it started
        head.wait(60)
        while answers(PORT):
            time.sleep(0.5)


def answers(port):
    with socket.socket() as one:
        return not one.connect_ex(("127.0.0.1", port))


def photos_of(folder, limit, into):
    """Link to so many photos in a folder of their own."""
    into.mkdir()
    for number, path in enumerate(sorted(Path(folder).rglob("*.jpg"))[:limit]):
        os.symlink(path, into / f"{number:06}.jpg")
    return into


def timed_index(photos, model, scratch):
    """Index through the cluster; give seconds and the driver's largest memory in MB."""
    index = Path(tempfile.mkdtemp(dir=scratch)) / "i.npz"
    command = [sys.executable, "-m", "facesearch", "index", photos, "--model", model, "--index", index]
    command += ["--follow", "--jobs", "1", "-q", "--on", f"ray://127.0.0.1:{PORT}"]
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen(command)
    while process.poll() is None:
        try:
            peak = max(peak, psutil.Process(process.pid).memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    assert process.wait() == 0
    return time.monotonic() - began, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--model", default="sface")
    asked = parser.parse_args()
    rates = {}
    with tempfile.TemporaryDirectory() as scratch:
        few = photos_of(asked.folder, asked.limit, Path(scratch, "few"))
        many = photos_of(asked.folder, 2 * asked.limit, Path(scratch, "many"))
        for workers in (1, 2):
            with cluster(workers):
                timed_index(few, asked.model, scratch)  # workers of a new cluster start slowly
                short, little = timed_index(few, asked.model, scratch)
                long, much = timed_index(many, asked.model, scratch)
            rates[workers] = asked.limit / (long - short)
            print(
                f"{workers} worker(s): {short:.1f} s and {long:.1f} s, {rates[workers]:.1f} photos/s",
                end="; ",
            )
            print(f"the driver takes {little:.0f} MB and {much:.0f} MB", flush=True)
    print(f"two workers against one: {rates[2] / rates[1]:.2f}")


if __name__ == "__main__":
    main()
