"""Which precision runs a network fastest on this machine: measured once, and remembered.

What a processor says of itself does not tell. With AMX, bf16 is twice as fast as f32; with AVX-512 BF16
alone, as many machines in clouds have it, it is 1.7 times slower.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from facesearch.files import replaced

PRECISIONS = ("f32", "bf16", "f16")

# So long the networks are timed when one is opened, together.
_SECONDS = 0.2
# After so many rounds a choice is final; after fewer, where the next one takes so many times as long.
_ROUNDS, _FEW, _CLEARLY = 24, 2, 1.3


@dataclass(slots=True)
class Timings:
    """How long a network takes for a face, in each precision, as far as it was measured.

    Attributes:
        machine: What they hold for.
        rounds: How often each was timed.
        seconds: The shortest time of each.
    """

    machine: str
    rounds: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def fastest(self) -> str:
        """The precision with the shortest time; empty where nothing was measured."""
        return min(self.seconds, key=self.seconds.__getitem__, default="")

    def settled(self, precisions: Iterable[str]) -> bool:
        """Return whether the fastest of some precisions is known beyond doubt."""
        if set(precisions) != set(self.seconds):
            return False
        first, *others = sorted(self.seconds.values())
        clear = self.rounds >= _FEW and all(other >= _CLEARLY * first for other in others[:1])
        return clear or self.rounds >= _ROUNDS

    def measure(self, runs: Mapping[str, Callable[[], object]], faces: int) -> None:
        """Time networks in turn, so that what else the machine does slows all of them.

        Args:
            runs: By precision, what runs the network once.
            faces: How many faces that are.
        """
        if set(runs) != set(self.seconds):
            self.rounds, self.seconds = 0, {}
        for run in runs.values():
            run()  # the first run of a network prepares it
        ends = time.perf_counter() + _SECONDS
        while self.rounds < _ROUNDS:
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                taken = (time.perf_counter() - began) / faces
                self.seconds[name] = min(taken, self.seconds.get(name, taken))
            self.rounds += 1
            if time.perf_counter() >= ends:
                return


def read_timings(file: Path | None, machine: str) -> Timings:
    """Return what was measured on a machine; nothing where that is not known."""
    try:
        raw = json.loads(file.read_bytes()) if file is not None else {}
        seconds = {str(name): float(value) for name, value in raw["seconds"].items()}
        if raw["machine"] == machine and all(value > 0 for value in seconds.values()):
            return Timings(machine, int(raw["rounds"]), seconds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # it can be measured again
    return Timings(machine)


def write_timings(file: Path | None, timings: Timings) -> None:
    """Remember what was measured, where that can be."""
    if file is None:
        return
    with suppress(OSError), replaced(file, durable=False) as out:
        out.write(json.dumps(asdict(timings)).encode())
