"""Who is seen in a clip, and when: made clips of known people who come, cross and go.

    python tests/benchmarks/clip_appearances.py FOLDER [--clips 20]

FOLDER has a folder of photos for each person, such as LFW. Each clip shows three to five appearances of people
drawn from it. An appearance counts as found where a row of the index is of this person (nearest to the person's
other photos) at that time; a row that is of none of them then is invented.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import machine

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.films import Cast, cut_face, frames_of, write_film

from facesearch.detect import open_detector
from facesearch.library import Library

SECONDS, FPS = 16, 15
NEAR = 0.5  # seconds
KEYS = (1.0, 0.5, 4.0, 1000.0)


def main() -> None:
    """Print what was found, missed and invented, and how far the times are off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    given = parser.parse_args()
    print(machine())
    rng = random.Random(0)
    people = [one for one in sorted(given.folder.iterdir()) if len(list(one.iterdir())) > 2]
    rng.shuffle(people)
    detector = open_detector("yunet")
    off: list[float] = []
    found = missed = invented = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.clips):
            shown = [people.pop() for _ in range(rng.choice([3, 4, 5]))]
            casts = cast(shown, detector, rng)
            path = Path(folder) / f"{number:02}.mp4"
            write_film(path, frames_of(casts, SECONDS, seed=number), keys=KEYS[number % len(KEYS)])
            right, wrong, errors = judged(path, shown, casts)
            found += len(right)
            missed += len(casts) - len(right)
            invented += wrong
            off += errors
            print(f"clip {number}: {len(right)} of {len(casts)} found, {wrong} invented, off by {errors}")
    print(f"{found} found, {missed} missed, {invented} invented; off by {max(off):.2f} s at most, "
          f"{np.mean(off):.2f} s on average; within {NEAR} s: {np.mean(np.array(off) <= NEAR):.1%}")


def cast(shown: list[Path], detector: object, rng: random.Random) -> list[Cast]:
    """Return people who come and go, two at a time at most."""
    casts = []
    for at, folder in enumerate(shown):
        start = at * (SECONDS - 4) / len(shown) + rng.uniform(0, 1.5)
        face = cut_face(sorted(folder.iterdir())[0], detector)
        height = 0.3 if at % 2 else 0.7
        left, right = rng.uniform(0.15, 0.3), rng.uniform(0.7, 0.85)
        place, to = ((left, height), (right, height)) if rng.random() < 0.5 else ((right, height), (left, height))
        casts.append(Cast(face, start, start + rng.uniform(2.5, 4.0), place, to, rng.uniform(0.45, 0.58)))
    return casts


def judged(path: Path, shown: list[Path], casts: list[Cast]) -> tuple[set[int], int, list[float]]:
    """Return which appearances were found, how many rows are of none, and the errors of the times."""
    index_file = path.with_suffix(".npz")
    library = Library(index_file, "sface")
    from facesearch.plan import IndexRequest

    library.index(IndexRequest((str(path),)))
    index = library.contents
    references = [
        np.concatenate([one.vectors[:1] for one in library.faces(sorted(map(str, folder.iterdir()))[1:4]) if one.vectors is not None])
        for folder in shown
    ]
    flat = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in references]
    right: set[int] = set()
    errors: list[float] = []
    wrong = 0
    for row in range(index.face_count):
        vector = index.vectors[row] / np.linalg.norm(index.vectors[row])
        who = int(np.argmax([float((one @ vector).max()) for one in flat]))
        moment = index.moment(row)
        own = casts[who]
        start, end = abs(moment.start / 1000 - own.start), abs(moment.end / 1000 - own.stop)
        if max(start, end) > 1.5:
            wrong += 1
            print("   wrong", who, moment, own.start, own.stop, index.box(row), float(index.norms[row]))
            continue
        if who not in right:
            errors += [round(start, 2), round(end, 2)]
        right.add(who)
    return right, wrong, errors


if __name__ == "__main__":
    main()
