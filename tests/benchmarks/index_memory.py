"""Peak memory of `facesearch index` over some photos and over four times as many.

python tests/benchmarks/index_memory.py PHOTOS --limit 1000
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from index_speed import choose_photos
from measuring import FACESEARCH, run, show, tensors_file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    options = parser.parse_args()
    tensors_file()
    peaks = {}
    for times in (1, 4):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "photos")
            folder.mkdir()
            for number, photo in enumerate(choose_photos(options.photos, times * options.limit)):
                Path(folder, f"{number:05}.jpg").write_bytes(photo.read_bytes())
            count = len(list(folder.iterdir()))
            ran = run([*FACESEARCH, "index", str(folder), "--index", f"{scratch}/index.npz"])
            peaks[count] = ran
    (few, small), (many, large) = peaks.items()
    show(
        "memory while indexing",
        {
            f"{few} photos, resident MB at most": small.resident_mb,
            f"{many} photos, resident MB at most": large.resident_mb,
            "ratio": large.resident_mb / small.resident_mb,
            "ratio without what files back": large.private_mb / small.private_mb,
        },
    )


if __name__ == "__main__":
    main()
