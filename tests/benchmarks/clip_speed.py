"""How fast clips are indexed, and how much memory that takes.

    python tests/benchmarks/clip_speed.py CLIP [--minutes 10 60]

The clip is repeated until it is so long, without being coded again. Times are of whole processes; what
decoding alone takes, of the frames that are looked at and of all, is measured beside it, on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import av
from measuring import FACESEARCH, machine, run

from facesearch.photos.clips import frames, read_clip


def main() -> None:
    """Print the speed as a multiple of the clip's own, and the peak of private memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=int, nargs="*", default=[10, 60])
    given = parser.parse_args()
    print(machine())
    decoding(given.clip)
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
