"""`index --on ray`: what it makes is what one process makes, whatever dies on the way."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil
import pytest
from support.command import LIBRARY, Tool
from support.real_photos import assert_same, make_photos

pytestmark = pytest.mark.slow

PHOTOS = 200  # and a film
# On a busy machine Ray takes its time to start.
PATIENCE = 180
SFACE = ("--model", "sface")
# More bytes than the description of the index takes, with which a journal begins.
HEAD = 4096


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = make_photos(tmp_path_factory.mktemp("ray") / "photos", PHOTOS)
    shutil.copy(LIBRARY.parent / "films" / "meeting.mp4", folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model_store, photos):
    tool = Tool(tmp_path_factory.mktemp("undisturbed"), model_store.root)
    assert tool.run("index", photos, *SFACE, "--index", "one.npz").status == 0
    return tool.folder / "one.npz"


@pytest.fixture
def tool(tmp_path, model_store):
    tool = Tool(tmp_path, model_store.root)
    yield tool
    # Ray ends its own processes when the one that started them is gone; it may take a moment.
    deadline = time.monotonic() + 30
    while workers_of(tool) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not workers_of(tool)


def workers_of(tool):
    """Return the Ray workers that a run in this folder started."""
    found = []
    for one in psutil.process_iter(["name"]):
        try:
            named = one.info["name"].startswith("ray::Worker")
            if named and one.environ().get("XDG_DATA_HOME", "").startswith(str(tool.folder)):
                found.append(one)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def journal_grows(index, deadline):
    """Wait until photos are done; say whether there are."""
    while time.monotonic() < deadline:
        if os.path.exists(f"{index}.journal") and os.path.getsize(f"{index}.journal") > HEAD:
            return True
        time.sleep(0.01)
    return False


def test_killed_workers_neither_lose_nor_double_a_face(tool, photos, undisturbed):
    rng = random.Random(5)
    index = tool.folder / "ray.npz"
    # A cluster that is there, or was, is another one's.
    other = {"RAY_ADDRESS": "127.0.0.1:1"}
    process = tool.start("index", photos, *SFACE, "--on", "ray", "--index", index, env=other)
    killed = 0
    while process.poll() is None and killed < 6:
        workers = workers_of(tool)
        if workers and journal_grows(index, time.monotonic() + PATIENCE):
            rng.choice(workers).kill()
            killed += 1
        time.sleep(rng.uniform(0.1, 1.0))
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, b""), (out, err)
    assert b"raylet" not in err
    assert killed >= 2
    assert_same(index, undisturbed)
    again = tool.run("index", photos, *SFACE, "--index", "ray.npz")
    assert again.err.startswith(f"{PHOTOS + 1} unchanged")


def test_a_killed_driver_keeps_what_was_done(tool, photos, undisturbed):
    index = tool.folder / "ray.npz"
    process = tool.start("index", photos, *SFACE, "--on", "ray", "--index", index)
    assert journal_grows(index, time.monotonic() + PATIENCE)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = tool.run("index", photos, *SFACE, "--index", index, timeout=300)
    assert done.status == 0, done
    assert "recovered from an interrupted run" in done.err
    assert_same(index, undisturbed)


def test_ctrl_c_keeps_what_was_done(tool, photos, undisturbed):
    index = tool.folder / "ray.npz"
    process = tool.start("index", photos, *SFACE, "--on", "ray", "--index", index)
    assert journal_grows(index, time.monotonic() + PATIENCE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert b"Interrupted: " in err
    assert b"Traceback" not in err
    assert tool.run("index", photos, *SFACE, "--index", index).status == 0
    assert_same(index, undisturbed)


@pytest.fixture
def cluster(tool):
    """A cluster that runs by itself; gives its address, and the environment of who may use it."""
    port, client_port = free_port(), free_port()
    env = tool.environment(RAY_USAGE_STATS_ENABLED=0, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="7" * 64)

    def ray(*args):
        command = [sys.executable, "-m", "ray.scripts.scripts", *args]
        return subprocess.run(command, env=env, check=True, capture_output=True, timeout=120)

    head = ("--head", "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--num-cpus=2")
    below = f"--temp-dir={tempfile.mkdtemp(prefix='fs-ray-')}"  # a short path: sockets lie in it
    before = set(psutil.pids())
    ray("start", *head, f"--port={port}", f"--ray-client-server-port={client_port}", below)
    yield f"ray://127.0.0.1:{client_port}", {"RAY_AUTH_TOKEN": "7" * 64}
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.pid not in before and one.environ().get("XDG_DATA_HOME") == tool.env["XDG_DATA_HOME"]:
                one.kill()


def free_port():
    """Return a free port that is not among those that Ray takes for its workers, 10002 and above."""
    for port in range(9600, 9990):
        with socket.socket() as one:
            if port not in given and one.connect_ex(("127.0.0.1", port)):
                given.add(port)
                return port
    raise AssertionError("no port is free")


given = set()


def test_a_cluster_elsewhere_makes_what_one_process_makes_though_a_worker_dies(
    tool, cluster, photos, undisturbed
):
    address, env = cluster
    process = tool.start("index", photos, *SFACE, "--on", address, "--index", "ray.npz", env=env)
    assert journal_grows(tool.folder / "ray.npz", time.monotonic() + PATIENCE)
    workers_of(tool)[0].kill()
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, b""), (out, err)
    assert b"raylet" not in err
    assert_same(tool.folder / "ray.npz", undisturbed)


def test_a_cluster_that_is_not_there_is_said(tool):
    done = tool.run("index", LIBRARY, *SFACE, "--on", "ray://127.0.0.1:1", "--index", "x.npz", timeout=300)
    assert done.status == 2
    assert "There is no Ray cluster to be had at 'ray://127.0.0.1:1'" in done.err
    assert not (tool.folder / "x.npz").exists()


def test_another_word_is_a_mistake_of_use(tool):
    done = tool.run("index", LIBRARY, "--on", "spark")
    assert done.status == 2
    assert "ray://HEAD:10001" in done.err
