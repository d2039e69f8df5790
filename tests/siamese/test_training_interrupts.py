"""Ctrl-C waits for the end of a step, and a second one does not."""

import os
import signal
import threading

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def interrupts():
    from facesearch.siamese.keras_training import _Interrupts

    return _Interrupts()


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_it_is_held_back_until_it_is_heeded(interrupts):
    before = signal.getsignal(signal.SIGINT)
    with interrupts:
        ctrl_c()
        whole = True
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_if_interrupted()
        interrupts.raise_if_interrupted()  # once is enough
    assert whole
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_one_is_not_held_back(interrupts):
    with interrupts:
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_outside_the_main_thread_nothing_changes(interrupts):
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with interrupts:
            interrupts.raise_if_interrupted()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
