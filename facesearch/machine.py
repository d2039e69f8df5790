"""What this process may use of the machine: processors, as a container limits them, and memory.

A container sees all processors of its host. What it may use stands in control groups: version
2 (Linux, `Documentation/admin-guide/cgroup-v2.rst`), or version 1 on older hosts.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from facesearch.errors import FacesearchError

JOBS = "FACESEARCH_JOBS"
_PROC, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# What decoding a photo of 40 megapixels takes (JPEG 230 MB, AVIF 310, WebP 600; larger ones come one at a
# time), and what is needed besides.
_PHOTO, _BESIDES = 512 << 20, 1 << 30


def processors() -> int:
    """Return how many processors this process may use, 1 or more.

    It is FACESEARCH_JOBS where that is set; else those that the process is bound to, as far as its control
    groups grant their time.

    Raises:
        FacesearchError: FACESEARCH_JOBS is not a whole number from 1.
    """
    wanted = os.environ.get(JOBS, "")
    if not wanted:
        return _granted_processors()
    if not (wanted.isascii() and wanted.isdigit() and int(wanted[:9]) > 0):
        raise FacesearchError(f"{JOBS} is {wanted!r}, not a number of processors.", "Set it to 1 or more.")
    return int(wanted[:9])


def decoders() -> int:
    """Return how many photos may be decoded at once: one a processor, as far as there is memory for them."""
    fitting = ((limit - _BESIDES) // _PHOTO for limit in _memory_limits(_PROC, _GROUPS))
    return max(1, min([processors(), *fitting]))


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles of garbage where a million objects are made and none is dropped."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library would keep it: glibc keeps gigabytes."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; on Windows there is none to ask
        return None


def processor_limit() -> int:
    """Return how many processors this process may use where the machine has more; else 0.

    For libraries that know best how to use all of a machine, and nothing of containers.
    """
    count = processors()
    return count if count < (os.cpu_count() or 1) else 0  # noqa: TID251 (the machine's own)


@cache
def _granted_processors() -> int:
    bound = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    if bound is not None:
        count = bound()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()  # noqa: TID251 (this is where it is asked)
    return max(1, min([count or 1, *(math.ceil(share) for share in _processor_limits(_PROC, _GROUPS))]))


def _processor_limits(proc: Path, groups: Path) -> Iterator[float]:
    """Yield how many processors' time each control group grants that this process is in."""
    for folder in _folders(proc, groups, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _memory_limits(proc: Path, groups: Path) -> Iterator[int]:
    """Yield the bytes of memory that the machine has, and that each control group of this process grants."""
    if physical := _physical_memory():
        yield physical
    for folder in _folders(proc, groups, "memory"):
        limit = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
        if limit.isdigit():
            yield int(limit)


def _physical_memory() -> int:
    """Return the machine's memory in bytes; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _folders(proc: Path, groups: Path, wanted: str) -> Iterator[Path]:
    """Yield the folders of a controller's groups that a process is in, its own first, the outermost last."""
    for line in _text(proc).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mount = groups  # version 2 has one tree for all
        elif wanted in controllers.split(","):
            mount = next((one for one in (groups / controllers, groups / wanted) if one.is_dir()), groups)
        else:
            continue
        # In a namespace of its own a container sees its group as the outermost one.
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
