"""Nothing leaves the machine: neither the conversion nor the use of a network opens a connection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch.models.card import TENSORS

HOME = Path(__file__).parents[2]

# Reports every connection and every process that Python code starts, then does the work that it is given.
WATCHED = """
import sys
EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.posix_spawn",
          "os.fork", "os.forkpty", "os.exec", "os.system"}
def report(event, arguments):
    # Python's own platform.processor() asks uname.
    if event in EVENTS and arguments[:1] != ("uname",):
        print("SEEN", event, arguments, file=sys.__stderr__, flush=True)
sys.addaudithook(report)
"""

CONVERT = """
import runpy, sys
sys.argv = ["", *sys.argv[1:]]
runpy.run_module("facesearch.embed.keras_networks", run_name="__main__")
import psutil
print(psutil.Process().children(recursive=True), [c for c in psutil.Process().net_connections() if c.raddr])
"""

SERVE = """
import numpy as np, psutil, sys
from pathlib import Path
from facesearch.embed import open_embedder
from facesearch.models.store import ModelStore
open_embedder("resnet50", store=ModelStore(Path(sys.argv[1]))).embed(np.zeros((2, 224, 224, 3), np.uint8))
print(psutil.Process().children(recursive=True), [c for c in psutil.Process().net_connections() if c.raddr])
assert not [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")]
"""

# What the watcher has to see, or the tests below could not fail.
TELL = """
import socket, subprocess
with socket.socket() as line:
    line.connect_ex(("127.0.0.1", 9))
subprocess.run(["true"])
"""


def watch(work, *arguments):
    # CI=true alone turns the telemetry off; a user's machine has not set it.
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    environment.pop("CI", None)
    return subprocess.run(
        [sys.executable, "-c", WATCHED + work, *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_watcher_sees_connections_and_processes():
    seen = watch(TELL).stderr

    assert "SEEN socket.connect" in seen
    assert "SEEN subprocess.Popen" in seen


@pytest.mark.slow
def test_a_conversion_starts_no_process_and_opens_no_connection(model_store, tmp_path):
    done = watch(CONVERT, "file", model_store.path("resnet50") / TENSORS, tmp_path / "net.xml")

    assert (done.returncode, done.stdout) == (0, "[] []\n"), done.stderr
    assert "SEEN" not in done.stderr
    assert (tmp_path / "net.xml").exists()


def test_an_embedder_starts_no_process_and_opens_no_connection(model_store):
    done = watch(SERVE, model_store.root)

    assert (done.returncode, done.stdout) == (0, "[] []\n"), done.stderr
    assert done.stderr == ""


def test_openvino_is_imported_without_its_telemetry():
    code = (
        "import sys; from facesearch.models.openvino import load_openvino; openvino = load_openvino();"
        "assert load_openvino() is openvino; assert callable(openvino.convert_model);"
        "print([n for n in sys.modules if n.startswith('openvino_telemetry') and sys.modules[n]])"
    )
    done = watch(code)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
