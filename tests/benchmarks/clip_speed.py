"""How fast clips are indexed, and how much memory that takes.

    python tests/benchmarks/clip_speed.py CLIP [--minutes 10 60] [--photos FOLDER]

The clip is repeated until it is so long, without being coded again. Times are of whole processes; what
decoding alone takes, of the frames that are looked at and of all, is measured beside it, on one core.
With a folder of photos, such as LFW: when the last of 1,000 photos is done, without clips and with 100.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
from measuring import FACESEARCH, machine, run

from facesearch.faces import PhotoFaces
from facesearch.library import Library
from facesearch.photos.clips import frames, read_clip

PHOTOS, CLIPS = 1000, 100


def main() -> None:
    """Print the speed as a multiple of the clip's own, and the peak of private memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=int, nargs="*", default=[10, 60])
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    print(machine())
    decoding(given.clip)
    if given.photos:
        waiting(given.clip, sorted(given.photos.rglob("*.jpg"))[:PHOTOS])
    with tempfile.TemporaryDirectory() as folder:
        for minutes in given.minutes:
            long = Path(folder) / f"{minutes}.mp4"
            repeat(given.clip, long, minutes)
            index = Path(folder) / "i.npz"
            done = run([*FACESEARCH, "index", str(long), "--index", str(index), "--model", "sface", "-q"])
            index.unlink()
            long.unlink()
            speed = 60 * minutes / done.seconds
            print(
                f"{minutes} minutes: {done.seconds:.1f} s, {speed:.1f}x real time, {done.private_mb:.0f} MB"
            )


def decoding(clip: Path) -> None:
    """Print what decoding alone takes on one core."""
    known = read_clip(str(clip))
    began, looked = time.process_time(), 0
    for part in known.parts(str(clip)):
        for frame in frames(part):
            frame.picture(1280)
            looked += 1
    alone = time.process_time() - began
    began, count = time.process_time(), 0
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for _ in container.decode(stream):
            count += 1
    whole = time.process_time() - began
    seconds = known.duration / 1000
    print(f"decoding the {looked} frames that are looked at: {seconds / alone:.0f}x real time a core; "
          f"all {count}: {seconds / whole:.0f}x")  # fmt: skip


def waiting(clip: Path, photos: list[Path]) -> None:
    """Print when the last photo is done, and how long a photo came after the one before, at most."""
    for clips in (0, CLIPS):
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "library"
            library.mkdir()
            # The clips' names come first.
            for number in range(clips):
                shutil.copy(clip, library / f"a{number:03}.mp4")
            for number, photo in enumerate(photos):
                shutil.copy(photo, library / f"b{number:04}.jpg")
            done = [time.perf_counter()]

            def note(photo: PhotoFaces, done: list[float] = done) -> None:
                if photo.path.endswith(".jpg"):
                    done.append(time.perf_counter())
                if len(done) > len(photos):
                    raise Finished

            with suppress(Finished):
                Library(Path(folder) / "i.npz", "sface").index([library], on_photo=note)
            gaps = [after - before for before, after in pairwise(done[1:])]
            print(f"{len(photos)} photos and {clips} clips: the last photo after {done[-1] - done[0]:.1f} s, "
                  f"at most {max(gaps):.2f} s after the one before")  # fmt: skip


class Finished(Exception):
    """All photos are done."""


def repeat(clip: Path, long: Path, minutes: int) -> None:
    """Write a clip over and over, without coding it again."""
    with av.open(str(long), "w") as out:
        stream, at = None, 0
        while stream is None or at * stream.time_base < 60 * minutes:
            with av.open(str(clip)) as container:
                source = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(source)
                    stream.time_base = source.time_base
                last = 0
                for packet in container.demux(source):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + at, packet.dts + at
                    last = max(last, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    out.mux(packet)
                at = last


if __name__ == "__main__":
    main()
