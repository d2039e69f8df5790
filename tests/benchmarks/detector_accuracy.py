"""How many faces a detector finds, how many it invents, and what a photo costs.

Example (LFW, AT&T and UTKFace are public; the folder without faces is one of your own):

    python tests/benchmarks/detector_accuracy.py --portraits lfw/ --chips orl/ utkface/ --no-face landscapes/
    python tests/benchmarks/detector_accuracy.py --detector yunet --portraits lfw/

A folder of portraits holds photographs with one person in the middle (as LFW's 250x250 ones); a folder of
chips holds pictures that a face fills (as AT&T's); in the photographs of a folder without faces, whatever
is found is false. Each folder is searched with the folders in it.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import cv2

from facesearch.detect import DETECTORS, open_detector

# A portrait is hit when a box's centre lies this near to the photo's centre, in photo widths and heights.
CENTRAL = 0.25
EXTENSIONS = {".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass
class Tally:
    """What one folder gave."""

    photos: int = 0
    hits: int = 0
    others: int = 0
    photos_with_others: int = 0
    unreadable: int = 0
    seconds: float = 0.0


def central(box, width, height):
    x, y = box.centre
    return abs(x - width / 2) <= CENTRAL * width and abs(y - height / 2) <= CENTRAL * height


def measure(detector, paths, kind):
    tally = Tally()
    for path in paths:
        image = cv2.imread(str(path))
        if image is None:
            tally.unreadable += 1
            continue
        height, width = image.shape[:2]
        start = time.process_time()
        faces = detector.detect(image, 1.0)
        tally.seconds += time.process_time() - start
        tally.photos += 1
        if kind == "portraits":
            hit = any(central(face.box, width, height) for face in faces)
        else:
            hit = kind == "chips" and bool(faces)
        others = len(faces) - hit
        tally.hits += hit
        tally.others += others
        tally.photos_with_others += others > 0
    return tally


def chosen(folder, arguments):
    """List the folder's photos: those of its part, of them at most the limit, drawn at random."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS)
    groups = sorted({path.parent for path in paths})
    # Portraits lie in one folder a person: a part takes whole people, so that no person is in both halves.
    key = {group: index for index, group in enumerate(groups)}
    if arguments.part is not None:
        by_group = len(groups) >= len(paths) / 20
        paths = [
            path
            for index, path in enumerate(paths)
            if (key[path.parent] if by_group else index) % 2 == arguments.part
        ]
    if arguments.limit and len(paths) > arguments.limit:
        paths = sorted(random.Random(0).sample(paths, arguments.limit))
    return paths


def parse():
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind in ("portraits", "chips", "no-face"):
        parser.add_argument(
            f"--{kind}", nargs="+", default=[], metavar="DIR", help=f"folders of {kind} photos"
        )
    parser.add_argument("--detector", choices=sorted(DETECTORS), default="haar")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N photos of a folder")
    parser.add_argument(
        "--part",
        type=int,
        choices=(0, 1),
        help="every second person or photo only: 0 to tune on, 1 to report",
    )
    parser.add_argument("--min-face", type=int, default=None, metavar="PX", help="the detector's min_face")
    parser.add_argument("--rotations", action="store_true", help="also search turned photos")
    arguments = parser.parse_args()
    if not (arguments.portraits or arguments.chips or arguments.no_face):
        parser.error("give at least one folder: --portraits, --chips or --no-face")
    return arguments


def main():
    arguments = parse()
    cv2.setNumThreads(1)
    settings = {"rotations": arguments.rotations}
    if arguments.min_face is not None:
        settings["min_face"] = arguments.min_face
    detector = open_detector(arguments.detector, settings)
    columns = "{:<10} {:<24} {:>7} {:>7} {:>7} {:>7} {:>10} {:>9}"
    print(columns.format("kind", "folder", "photos", "hits", "misses", "others", "in photos", "core-ms"))
    for kind in ("portraits", "chips", "no_face"):
        for folder in getattr(arguments, kind):
            tally = measure(detector, chosen(folder, arguments), kind)
            hits, misses = (tally.hits, tally.photos - tally.hits) if kind != "no_face" else ("-", "-")
            cost = f"{1000 * tally.seconds / tally.photos:.1f}" if tally.photos else "-"
            name = Path(folder).name[:24]
            print(
                columns.format(
                    kind, name, tally.photos, hits, misses, tally.others, tally.photos_with_others, cost
                )
            )
            if tally.unreadable:
                print(f"           {tally.unreadable} files could not be read")
    print("others: faces beside the one that was looked for; without faces in the photo, all are false")


if __name__ == "__main__":
    main()
