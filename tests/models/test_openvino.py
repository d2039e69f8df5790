"""OpenVINO in a process with several threads."""

import locale
import subprocess
import sys
import threading

from facesearch.models import openvino

SCRIPT = """
import sys, threading
from facesearch.models.openvino import load_openvino, openvino_core
sys.setswitchinterval(1e-5)
start = threading.Barrier(8)
failed = []

def use(number):
    start.wait()
    try:
        if number % 2:
            openvino_core().available_devices
        else:
            load_openvino().Type.u8
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def test_threads_that_need_it_at_once_all_get_the_whole_of_it():
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


class LeavesC:
    """Reads as OpenVINO does, in "C", and so that of two threads the second one finds "C", and leaves it."""

    def __init__(self):
        self.entered = threading.Barrier(2)
        self.first_is_done = threading.Event()

    def read_model(self, name):
        if name == "second":
            self.entered.wait()
        before = locale.setlocale(locale.LC_ALL)
        locale.setlocale(locale.LC_ALL, "C")
        if name == "first":
            self.entered.wait()
            self.entered.wait()
        else:
            self.entered.wait()
            self.first_is_done.wait()
        locale.setlocale(locale.LC_ALL, before)


def test_the_locale_stays_whatever_two_threads_do_to_it(monkeypatch):
    before = locale.setlocale(locale.LC_ALL)
    core = LeavesC()
    monkeypatch.setattr(openvino, "openvino_core", lambda: core)

    def first():
        openvino.read_network("first")
        core.first_is_done.set()

    threads = [threading.Thread(target=first)]
    threads.append(threading.Thread(target=openvino.read_network, args=("second",)))
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert locale.setlocale(locale.LC_ALL) == "C.UTF-8"
    finally:
        locale.setlocale(locale.LC_ALL, before)
