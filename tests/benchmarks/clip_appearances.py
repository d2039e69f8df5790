"""Who is seen in a clip, and when: made clips of known people who come, cross and go.

    python tests/benchmarks/clip_appearances.py FOLDER [--clips 20]

FOLDER has a folder of photos for each person, such as LFW. Each clip shows three to five appearances of
people drawn from it. An appearance counts as found where a row of the index is where the person is at that
time; a row that is at nobody's place is invented. The faces are also compared with the people's other photos.
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
from facesearch.faces import Box, Moment
from facesearch.library import Library
from facesearch.plan import IndexRequest
from facesearch.ranking import unit_vectors

SECONDS, SIZE = 16, (640, 360)
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
    known: list[bool] = []
    found = missed = invented = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.clips):
            shown = [people.pop() for _ in range(rng.choice([3, 4, 5]))]
            casts = cast(shown, detector, rng)
            path = Path(folder) / f"{number:02}.mp4"
            write_film(path, frames_of(casts, SECONDS, size=SIZE, seed=number), keys=KEYS[number % len(KEYS)])
            right, wrong, errors, again = judged(path, shown, casts)
            known += again
            found += len(right)
            missed += len(casts) - len(right)
            invented += wrong
            off += errors
            print(f"clip {number}: {len(right)} of {len(casts)} found, {wrong} invented, off by {errors}")
    print(
        f"{found} found, {missed} missed, {invented} invented; off by {max(off):.2f} s at most, "
        f"{np.mean(off):.2f} s on average; within {NEAR} s: {np.mean(np.array(off) <= NEAR):.1%}; "
        f"{sum(known)} of {len(known)} faces nearest to other photos of their own person"
    )


def cast(shown: list[Path], detector: object, rng: random.Random) -> list[Cast]:
    """Return people who come and go, two at a time at most."""
    casts = []
    for at, folder in enumerate(shown):
        start = at * (SECONDS - 4) / len(shown) + rng.uniform(0, 1.5)
        face = cut_face(sorted(folder.iterdir())[0], detector)
        height = 0.3 if at % 2 else 0.7
        left, right = rng.uniform(0.15, 0.3), rng.uniform(0.7, 0.85)
        place, to = (
            ((left, height), (right, height)) if rng.random() < 0.5 else ((right, height), (left, height))
        )
        casts.append(Cast(face, start, start + rng.uniform(2.5, 4.0), place, to, rng.uniform(0.45, 0.58)))
    return casts


def judged(path: Path, shown: list[Path], casts: list[Cast]) -> tuple[set[int], int, list[float], list[bool]]:
    """Return which appearances were found, the rows of none, the errors of times, and who was known again."""
    library = Library(path.with_suffix(".npz"), "sface")
    library.index(IndexRequest((str(path),)))
    index = library.contents
    flat = [unit_vectors(others_of(library, folder)) for folder in shown]
    right: dict[int, Moment] = {}
    known: list[bool] = []
    wrong = 0
    for row in range(index.face_count):
        moment, box = index.moment(row), index.box(row)
        vector = unit_vectors(index.vectors[row : row + 1])[0]
        there = [at for at, cast in enumerate(casts) if is_at(cast, moment.best / 1000, box)]
        if not there:
            wrong += 1
            print("   invented:", moment, box)
            continue
        known.append(int(np.argmax([float((one @ vector).max()) for one in flat])) == there[0])
        right[there[0]] = moment
    pairs = [(casts[at], moment) for at, moment in right.items()]
    ends = [(cast.start, moment.start, cast.stop, moment.end) for cast, moment in pairs]
    errors = [round(abs(was - told / 1000), 2) for one in ends for was, told in (one[:2], one[2:])]
    return set(right), wrong, errors, known


def others_of(library: Library, folder: Path) -> np.ndarray:
    """Return the vectors of a person's photos but the one in the clip."""
    photos = library.faces(sorted(map(str, folder.iterdir()))[1:4])
    return np.concatenate([one.vectors[:1] for one in photos if one.vectors is not None])


def is_at(cast: Cast, now: float, box: Box) -> bool:
    """Return whether a person is where a face was found."""
    progress = (now - cast.start) / (cast.stop - cast.start)
    x, y = (here + (there - here) * progress for here, there in zip(cast.place, cast.to, strict=True))
    found = box.centre[0] / SIZE[0], box.centre[1] / SIZE[1]
    return -0.1 <= progress <= 1.1 and abs(found[0] - x) < 0.12 and abs(found[1] - y) < 0.2


if __name__ == "__main__":
    main()
