"""What the benchmarks share: child processes that are timed and watched, and the machine's name."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from facesearch.machine import processors

BASELINE = Path(__file__).parent / "seed_baseline.py"
FACESEARCH = [sys.executable, "-m", "facesearch"]


@dataclass(frozen=True)
class Ran:
    """A child process that has ended: seconds, the largest memory in MB, what it printed."""

    seconds: float
    private_mb: float
    resident_mb: float
    stdout: str


def run(call: list[str]) -> Ran:
    """Run a process to its end, watching its memory; private memory is what no file backs."""
    began = time.perf_counter()
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    peaks = {"private": 0, "resident": 0}

    def watch() -> None:
        while process.poll() is None:
            try:
                memory = watched.memory_info()
            except psutil.Error:
                return
            shared = getattr(memory, "shared", 0)
            peaks["private"] = max(peaks["private"], memory.rss - shared)
            peaks["resident"] = max(peaks["resident"], memory.rss)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    output, errors = process.communicate()
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(call)} ended with {process.returncode}:\n{errors}")
    return Ran(seconds, peaks["private"] / 1e6, peaks["resident"] / 1e6, output)


def median(call: list[str], times: int) -> Ran:
    """Run several times and give the run of median length."""
    return sorted((run(call) for _ in range(times)), key=lambda ran: ran.seconds)[times // 2]


def machine() -> str:
    """Name the processor, whether it has AMX, its cores, and Python."""
    name = platform.processor() or platform.machine()
    amx = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        told = cpuinfo.read_text()
        lines = [line for line in told.splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
        amx = "with AMX, " if "amx_bf16" in told else "without AMX, "
    return f"{name}, {amx}{processors()} cores, Python {platform.python_version()}"


def tensors_file() -> Path:
    """Return the .npz of ResNet-50's tensors that the model store keeps, fetching the model if need be."""
    from facesearch.embed import open_embedder
    from facesearch.models.store import ModelStore

    store = ModelStore()
    open_embedder("resnet50", store=store, notify=lambda text: print(text, file=sys.stderr))
    return store.path("resnet50") / "tensors.npz"


def show(title: str, figures: dict[str, object]) -> None:
    """Print figures, one a line, after the machine's name."""
    print(f"{title}  ({machine()})")
    for name, value in figures.items():
        print(f"  {name:45} {value:.3g}" if isinstance(value, float) else f"  {name:45} {value}")
    print(json.dumps(figures))


def spread(values: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
