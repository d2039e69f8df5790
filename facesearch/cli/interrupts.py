"""Ctrl-C, but never in the midst of Python's own import machinery.

An interrupt that is raised just after the machinery took its global lock is swallowed there, and the lock is
never let go: every import of every thread then waits for ever, and the command with it.
"""

from __future__ import annotations

import signal
from types import FrameType

_MACHINERY = "<frozen importlib._bootstrap>"
_SOON = 0.005  # seconds


def take_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt as soon as that is safe; one that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename == _MACHINERY and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    raise KeyboardInterrupt
