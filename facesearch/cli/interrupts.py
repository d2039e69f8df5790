"""Ctrl-C, but never while Python's own machinery for imports and threads holds a lock.

An interrupt that is raised just after that machinery took a lock leaves it locked: every import, or every
thread of a pool, then waits for ever, and the command with it.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_MACHINERY = (
    "<frozen importlib._bootstrap>",
    f"{os.sep}threading.py",
    os.path.join("concurrent", "futures", "thread.py"),
    os.path.join("concurrent", "futures", "_base.py"),
)
# Where the main thread waits for others, for as long as they take.
_WAITING = frozenset({"wait", "join", "_wait_for_tstate_lock"})
_SOON = 0.005  # seconds


def take_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt as soon as that is safe; one that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if frame is not None and _holds_a_lock(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    raise KeyboardInterrupt


def _holds_a_lock(frame: FrameType) -> bool:
    """Return whether a frame may have taken a lock that an interrupt here would leave locked."""
    code = frame.f_code
    return code.co_filename.endswith(_MACHINERY) and code.co_name not in _WAITING
