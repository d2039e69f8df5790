import signal
import threading
import time
from concurrent.futures import _base, thread

import pytest

from facesearch.cli import take_interrupts


@pytest.fixture
def handlers():
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)}
    yield
    for number, handler in held.items():
        signal.signal(number, handler)


def frame_of(filename, name="act"):
    """Return a frame of a function that claims to come from a file."""
    place = {}
    exec(
        compile(f"import sys\ndef {name}():\n    return sys._getframe()\nframe = {name}()", filename, "exec"),
        place,
    )
    return place["frame"]


@pytest.mark.parametrize(
    "filename",
    ["<frozen importlib._bootstrap>", threading.__file__, thread.__file__, _base.__file__],
    ids=["import", "threading", "pool", "future"],
)
def test_pythons_own_machinery_is_let_finish_first(handlers, filename):
    """Raised there, an interrupt left a lock held: imports, or the threads of a pool, hung for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_interrupts()
    handler = signal.getsignal(signal.SIGINT)
    machinery, returned = frame_of(filename), []

    def interrupted():
        returned.append(handler(signal.SIGINT, machinery))
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert returned == [None]  # nothing was raised in the machinery itself
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, frame_of("facesearch/pipeline.py"))


def test_waiting_for_other_threads_is_interrupted_at_once(handlers):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_interrupts()
    with pytest.raises(KeyboardInterrupt):
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame_of(threading.__file__, "wait"))


def test_an_interrupt_that_is_ignored_stays_so(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and a shell's & do
    take_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
