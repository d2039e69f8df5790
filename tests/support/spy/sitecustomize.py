"""Runs first in a Python that has this folder on PYTHONPATH: notes what it does, and can interrupt it.

SPY_LOG names a file that takes one JSON line for each event of interest: [pid, event, its first argument].
SPY_AT is "EVENT TEXT" and SPY_SIGNAL a number: the process sends itself that signal, once, when an event of
that name first comes with the text in its first argument. So a test can stop a process at just one point.
"""

import json
import os
import sys

_NOTED = (
    "import",
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.startfile",
)


def _watch():
    log = os.environ.get("SPY_LOG")
    at, _, text = os.environ.get("SPY_AT", "").partition(" ")
    number = int(os.environ.get("SPY_SIGNAL", "0"))
    state = {"sent": not at}
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else -1

    def hook(event, args):
        first = str(args[0]) if args else ""
        if not state["sent"] and event == at and text in first:
            state["sent"] = True
            os.kill(os.getpid(), number)
        if log and event.startswith(_NOTED):
            os.write(handle, (json.dumps([os.getpid(), event, first]) + "\n").encode())

    sys.addaudithook(hook)


_watch()
