"""Times a server over 100,000 faces of 5,000 people: pages in Chromium until they are seen, and the API.

    python tests/benchmarks/serve_speed.py [--faces 100000] [--people 5000] [--times 10] [--folder DIR]
    python tests/benchmarks/serve_speed.py --faces 20000 --people 1 --scroll

The faces' vectors are drawn: those of a person at a cosine of about 0.8 to each other. Photos lie on disk for
the first pages' people, small ones, so that pictures are drawn too. The upload is samples/queries/obama.jpg,
and the same at 250 pixels. Medians, with the range. With --scroll, all photos of the first person are
scrolled through instead: how long the browser was busy at a time (a long task is one of more than 50 ms).
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from measuring import show, spread

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browsing import a_browser
from support.command import OBAMA, Tool
from support.serving import Served

from facesearch.embed import card_of
from facesearch.faces import Box, Face, FileState, PhotoFaces, Status
from facesearch.index.meta import Meta
from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import people_path
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.models.store import ModelStore
from facesearch.people.register import Register, write_register
from facesearch.photos.content import fingerprint

ON_DISK = 3000
BOX = Box(40, 40, 40, 40)

_PAINT = """() => new Promise((seen) => {
  const first = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
  const wait = () => first() ? seen(first()) : setTimeout(wait, 5);
  wait();
})"""
_CHOSEN = """() => document.addEventListener("change", () => {
  sessionStorage.chosen = performance.timeOrigin + performance.now();
}, true)"""
_SINCE = """() => performance.timeOrigin + performance.getEntriesByName("first-contentful-paint")[0].startTime
  - sessionStorage.chosen"""
_ALL = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"


def make_library(folder, count, people):
    """Write an index of faces and who they are."""
    chance = np.random.default_rng(0)
    card = card_of("sface", ModelStore())
    centres = chance.standard_normal((people, card.dim)).astype(np.float32)
    settings = {"min_face": 0, "faces": "all", "rotations": False, "margin": card.margin}
    photo = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(OBAMA)), (120, 150)))[1].tobytes()
    (folder / "photos").mkdir()
    each = count // people
    digests = []
    index = folder / "many.npz"
    with NpzIndexWriter(index, Meta("sface", card.digest, card.dim, card.detector, settings)) as writer:
        writer.changes.cover([str(folder / "photos")])
        for number in range(count):
            place = folder / "photos" / f"{number:08}.jpg"
            data = photo + number.to_bytes(8, "little")
            size, mtime = len(data), 1
            if number < ON_DISK:
                place.write_bytes(data)
                mtime = place.stat().st_mtime_ns
            vector = centres[min(number // each, people - 1)] + 0.5 * chance.standard_normal(
                card.dim, dtype=np.float32
            )
            digests.append(fingerprint(data))
            faces = (Face(BOX, 0.9),)
            file = FileState(size, mtime, -1, digests[-1], digests[-1])
            writer.add(PhotoFaces(os.fspath(place), file, Status.OK, faces, vector[None]))
        writer.commit()
    digest = np.frombuffer(b"".join(digests), np.uint8).reshape(count, 16)
    boxes = np.tile(np.array([BOX.x, BOX.y, BOX.width, BOX.height], np.int32), (count, 1))
    person = np.minimum(np.arange(count) // each, people - 1).astype(np.int32) + 1
    write_register(CompanionFile(people_path(index)), Register(digest, boxes, person, last=people))
    return index


def seconds(task, times):
    """Time a task several times, in milliseconds, after one that does not count."""
    task()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        task()
        taken.append(1000 * (time.perf_counter() - began))
    return spread(taken)


def pages(server, digest, times):
    """Return the milliseconds until pages are painted first, and until all of them is there."""
    figures = {}
    with a_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})

        def visit(name, open_it):
            painted, loaded = [], []
            for turn in range(times + 1):
                open_it()
                page.wait_for_load_state("load")
                if turn:  # the first fills the cache of small pictures
                    painted.append(page.evaluate(_PAINT))
                    loaded.append(page.evaluate(_ALL))
            figures[f"{name}, first paint in ms"] = spread(painted)
            figures[f"{name}, all of it in ms"] = spread(loaded)

        root = server.address
        visit("home", lambda: page.goto(root + "1/"))
        visit("home, page 40 of people", lambda: page.goto(root + "1/?page=40"))
        visit("person", lambda: page.goto(root + "1/person/7"))
        visit("photo", lambda: page.goto(f"{root}1/photo/{digest}"))
        visit("hits of a face of the index", lambda: page.goto(f"{root}1/face/{digest}/1"))

        shown = []
        for _ in range(times + 1):
            page.goto(root + "1/")
            page.evaluate(_CHOSEN)
            page.set_input_files("#photo", OBAMA)
            page.wait_for_selector(".hits .card")
            page.wait_for_load_state("load")
            page.evaluate(_PAINT)
            shown.append(page.evaluate(_SINCE))
        figures["photo chosen to its hits painted, in ms"] = spread(shown[1:])
    return figures


_LONG_TASKS = """() => {
  window.long = [];
  new PerformanceObserver((seen) => seen.getEntries().forEach((task) => window.long.push(task.duration)))
    .observe({ type: "longtask", buffered: true });
}"""


def scrolled(server):
    """Return how long the browser was busy while a person's photos were scrolled through."""
    with a_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(server.address + "1/person/1")
        page.evaluate(_LONG_TASKS)
        began, cards, same = time.perf_counter(), 0, 0
        while same < 100:
            page.mouse.wheel(0, 1500)
            page.wait_for_timeout(20)
            now = page.locator(".photos .card").count()
            same, cards = same + 1 if now == cards else 0, now
        tasks = sorted(page.evaluate("() => window.long"))
        return {
            "photos": cards,
            "seconds of scrolling": time.perf_counter() - began,
            "long tasks": len(tasks),
            "the longest in ms": tasks[-1] if tasks else 0,
            "of the last fifth of them, the shortest in ms": tasks[len(tasks) * 4 // 5] if tasks else 0,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--scroll", action="store_true")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        index = folder / "many.npz"
        if not index.exists():
            index = make_library(folder, asked.faces, asked.people)
        began = time.perf_counter()
        server = Served(Tool(folder, ModelStore().root), "--index", index)
        stack.callback(server.process.wait)
        stack.callback(server.process.send_signal, signal.SIGINT)
        figures = {"start to address in s": time.perf_counter() - began}
        if asked.scroll:
            show("scrolling", scrolled(server))
            return
        digest = server.ask("/1/api/people/7").json["faces"][0]["photo"]
        small = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(OBAMA)), (250, 250)))[1].tobytes()
        large = OBAMA.read_bytes()
        tasks = {
            "home": lambda: server.ask("/1/"),
            "person": lambda: server.ask("/1/person/7"),
            "photo": lambda: server.ask(f"/1/photo/{digest}"),
            "hits of a face": lambda: server.ask(f"/1/face/{digest}/1"),
            "api: matches of a face": lambda: server.ask(f"/1/api/faces/{digest}/1/matches"),
            "api: query, 250 pixels": lambda: server.ask("/1/api/query", "POST", small),
            "api: query, obama.jpg": lambda: server.ask("/1/api/query", "POST", large),
            "upload, obama.jpg": lambda: server.ask("/1/uploads", "POST", large),
            "api: people": lambda: server.ask("/1/api/people"),
            "a face's picture": lambda: server.ask(f"/1/face/{digest}/1.jpg"),
            "a name given, and home after it": lambda: (
                server.ask("/1/person/7/name", "POST", b"name=Ada"),
                server.ask("/1/"),
            ),
        }
        for name, task in tasks.items():
            figures[f"{name}, in ms"] = seconds(task, asked.times)
        figures.update(pages(server, digest, asked.times))
        show(f"serve over {asked.faces:,} faces of {asked.people:,} people", figures)


if __name__ == "__main__":
    main()
