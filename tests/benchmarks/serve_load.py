"""Asks a server by many clients at once: requests a second, errors, times, and the server's memory.

    python tests/benchmarks/serve_load.py [--clients 50] [--seconds 60]

Over the sample photos, with the model sface. Each client asks on and on: for pages, small pictures, faces
near to one of the index, and matches of a photo that it sends (obama.jpg, whole or at 250 pixels).
Memory is the server's own, without what files back; it must not grow between 10 seconds and the end.
"""

import argparse
import contextlib
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import psutil
from measuring import show

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.command import OBAMA, Tool
from support.serving import Served, make_album

from facesearch.models.store import ModelStore


class Client(threading.Thread):
    """Asks until it is told to stop."""

    def __init__(self, server, asks, stop, seed):
        super().__init__(daemon=True)
        self.taken, self.errors = [], Counter()
        self._server, self._asks, self._ended, self._random = server, asks, stop, random.Random(seed)

    def run(self):
        while not self._ended.is_set():
            name, (path, method, body, status) = self._random.choice(self._asks)
            began = time.perf_counter()
            try:
                reply = self._server.ask(path, method, body)
                if reply.status != status or not reply.body:
                    self.errors[f"{name}: {reply.status}"] += 1
            except OSError as error:
                self.errors[f"{name}: {error}"] += 1
            self.taken.append((name, 1000 * (time.perf_counter() - began)))


def asks_of(server):
    """Return what clients ask for, as often as it stands there."""
    large = OBAMA.read_bytes()
    small = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(OBAMA)), (250, 250)))[1].tobytes()
    asks = [("home", ("/1/", "GET", None, 200)), ("people", ("/1/api/people", "GET", None, 200))]
    for person in server.ask("/1/api/people").json["people"]:
        number = person["number"]
        asks.append(("person", (f"/1/person/{number}", "GET", None, 200)))
        for face in server.ask(f"/1/api/people/{number}").json["faces"]:
            place = f"/1/face/{face['photo']}/{face['face']}"
            asks.append(("picture", (place + ".jpg", "GET", None, 200)))
            asks.append(("photo", (f"/1/photo/{face['photo']}.jpg", "GET", None, 200)))
            asks.append(("hits", (place, "GET", None, 200)))
    asks += 2 * [("query, 250 pixels", ("/1/api/query", "POST", small, 200))]
    asks += [("query, obama.jpg", ("/1/api/query", "POST", large, 200))]
    asks += [("upload, obama.jpg", ("/1/uploads", "POST", large, 201))]
    return asks


def private(process):
    """Return a process' own memory in MB."""
    memory = process.memory_info()
    return (memory.rss - memory.shared) / 1e6


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        tool = Tool(Path(stack.enter_context(tempfile.TemporaryDirectory())), ModelStore().root)
        make_album(tool)
        server = Served(tool, "--index", tool.folder / "album.npz")
        stack.callback(server.process.wait)
        stack.callback(server.process.send_signal, signal.SIGINT)
        process, stop = psutil.Process(server.process.pid), threading.Event()
        figures = {"memory at the start in MB": private(process)}
        asks = asks_of(server)
        clients = [Client(server, asks, stop, seed) for seed in range(asked.clients)]
        began = time.perf_counter()
        for client in clients:
            client.start()
        for at in (
            (10, 30, 60) if asked.seconds == 60 else (asked.seconds / 6, asked.seconds / 2, asked.seconds)
        ):
            time.sleep(max(0, at - (time.perf_counter() - began)))
            figures[f"memory at {at:g} s in MB"] = private(process)
        stop.set()
        for client in clients:
            client.join()
        seconds = time.perf_counter() - began
        errors = sum((client.errors for client in clients), Counter())
        taken = [one for client in clients for one in client.taken]
        figures["requests/s"] = len(taken) / seconds
        figures["errors"] = sum(errors.values())
        for name in ["", *sorted({name for name, _ in taken})]:
            times = [time for kind, time in taken if name in ("", kind)]
            figures[f"{name or 'all'}: median, 95 % in ms"] = (
                f"{statistics.median(times):.0f}, {percentile(times, 0.95):.0f} ({len(times)})"
            )
        show(f"serve under {asked.clients} clients", figures)
        if errors:
            raise SystemExit(f"errors: {dict(errors)}\n{server.errors}")


if __name__ == "__main__":
    main()
