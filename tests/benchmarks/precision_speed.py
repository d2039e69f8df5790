"""Milliseconds a face in each precision that this machine has, and which one `auto` is.

    python tests/benchmarks/precision_speed.py

The networks take turns, so that what else the machine does slows all of them; each has all cores, and gets
16 faces at once. `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16` hides AMX from them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from measuring import show

from facesearch.embed import MODELS, open_embedder
from facesearch.models.openvino import openvino_core, precisions

FACES = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    figures: dict[str, object] = {}
    for name in MODELS:
        known = {one: open_embedder(name, precision=one) for one in precisions(openvino_core())}
        size = next(iter(known.values())).card.size
        crops = np.random.default_rng(0).integers(0, 256, (FACES, *size, 3), np.uint8)
        taken: dict[str, list[float]] = {one: [] for one in known}
        for round_ in range(options.rounds + 1):
            for one, embedder in known.items():
                began = time.perf_counter()
                embedder.embed(crops)
                if round_:  # the first prepares the network
                    taken[one].append(1000 * (time.perf_counter() - began) / FACES)
        middle = {one: statistics.median(times) for one, times in taken.items()}
        for one, value in middle.items():
            figures[f"{name}, {one}, ms a face"] = value
        auto = open_embedder(name).precision
        figures[f"{name}, auto"] = auto
        figures[f"{name}, auto against the fastest"] = min(middle.values()) / middle[auto]
    show("precision", figures)


if __name__ == "__main__":
    main()
