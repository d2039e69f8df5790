"""The command line as a process: its streams, signals, imports, and what it does to the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from support.command import COMMAND, CURIE, LIBRARY, OBAMA, on_a_terminal
from support.fakes import looked_at, write_index
from support.real_photos import altered

from facesearch.embed.resnet50 import CARD
from facesearch.index.meta import Meta


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("grace_hopper.jpg", "henry_moseley.jpg", "biden.jpg", "rocket.jpg"):
        shutil.copy2(LIBRARY / name, folder)
    return folder


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_a_table(tool, photos):
    status, shown = on_a_terminal(tool, "index", photos, "--index", "i.npz")
    assert status == 0
    assert "100%" in shown
    assert "4/4" in shown
    assert "3 faces" in shown
    assert "photos/s" in shown
    assert shown.splitlines()[-2].startswith("3 indexed, 1 without a face in ")
    assert "\x1b" not in shown

    status, shown = on_a_terminal(tool, "query", OBAMA, "--index", "i.npz", NO_COLOR="1")
    assert status == 0
    assert shown.startswith("Note: resnet50 measures how alike pictures of faces look, not who they are")
    assert f"\nrank  distance  photo\n{OBAMA}\n   1  " in shown
    assert "\x1b" not in shown

    status, shown = on_a_terminal(tool, "index", photos, "--index", "j.npz", "-q")
    assert (status, shown) == (0, "")


ODD = b"\x1b[31mred\x07\n.jpg"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "ended"),
    [
        (["info", "--list", "ok"], b"\n"),
        pytest.param(["query", OBAMA, "--format", "paths"], b"\n", marks=pytest.mark.slow),
        (["query", OBAMA, "--format", "tsv"], b"\t"),
        pytest.param(["query", OBAMA, "--format", "csv"], b",", marks=pytest.mark.slow),
        (["info", "--list", "ok", "-0"], b"\0"),
        (["query", OBAMA, "-0"], b"\0"),
    ],
)
def test_a_terminal_gets_no_control_character_of_a_name(tool, tmp_path, args, ended):
    path = os.path.join(os.fsencode(tmp_path), ODD)
    name = os.fsdecode(path)
    write_index(
        tmp_path / "i.npz",
        [looked_at(name, dim=2048)],
        Meta("resnet50", CARD.digest, 2048, "haar", {"margin": 0.3}),
        [str(tmp_path)],
    )
    status, shown = on_a_terminal(tool, *args, "--index", "i.npz")
    assert status == 0
    if ended == b"\0":
        assert shown == name + "\0"
    else:
        assert "\\x1b[31mred\\x07\\n.jpg" + ended.decode() in shown
        assert not any(character in shown for character in "\x1b\x07")
    if args[-1] not in ("tsv", "csv"):  # which have escapes of their own for a newline
        assert tool.run(*args, "--index", "i.npz").out == path + ended


@pytest.mark.slow
def test_without_a_terminal_there_is_no_bar(tool, photos):
    done = tool.run("index", photos, "--index", "i.npz")
    assert "%" not in done.err
    assert "\r" not in done.err
    assert len(done.err.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("args", [["query", OBAMA, CURIE], ["info"], ["info", "--list", "ok"], ["--help"]])
def test_a_closed_pipe_is_quiet(tool, sample_index, args):
    env = {"FACESEARCH_INDEX": sample_index}
    with tool.start(*args, env=env) as process:
        process.stdout.close()  # before anything is written
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.slow
def test_head_takes_the_first_line(tool, sample_index):
    command = f'{COMMAND[0]} -m facesearch query "$0" "$1" --by face --top 30 | head -1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", OBAMA, CURIE],
        env=tool.environment(FACESEARCH_INDEX=sample_index),
        capture_output=True,
        check=True,
    )
    assert done.stdout.count(b"\n") == 1
    assert b"obama_2009" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        *(
            pytest.param(args, marks=pytest.mark.slow)
            for args in (["query", OBAMA], ["info"], ["info", "--json"])
        ),
    ],
)
def test_a_full_disk_under_stdout(tool, sample_index, args):
    with open("/dev/full", "w") as full:
        done = tool.run(*args, env={"FACESEARCH_INDEX": sample_index}, stdout=full)
    assert done.status == 2
    assert done.err.startswith("facesearch: The output cannot be written: No space left on device.\n")


@pytest.mark.slow
def test_closed_streams_are_not_taken_for_files(tool, photos):
    """A file opened as number 1 or 2 would take what libraries print there."""
    started = f'exec {COMMAND[0]} -m facesearch "$@"'
    shell = ["bash", "-c", f"{started} <&- >&- 2>&-", "bash", "index", str(photos), "--index", "i.npz"]
    assert subprocess.run(shell, cwd=tool.folder, env=tool.environment(), check=False).returncode == 0
    assert tool.run("index", photos, "--index", "i.npz").err.startswith("4 unchanged")
    assert tool.run("query", OBAMA, "--index", "i.npz", "--top", 1).names == ["biden.jpg"]


def test_the_folder_that_the_shell_is_in_was_removed(tool):
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, "info"],
        cwd=tool.folder,
        env=tool.environment(),
        capture_output=True,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_a_fault_of_its_own_is_an_error_and_not_nothing_found(tool, tmp_path):
    """Python's own status for an exception is 1, which would be read as "no such face"."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import facesearch.library\n"
        "def fail(*a, **k): raise RuntimeError('boom')\n"
        "facesearch.library.Library = fail\n"
    )
    path = os.pathsep.join([str(tmp_path / "broken"), tool.env["PYTHONPATH"]])
    done = tool.run("info", env={"PYTHONPATH": path})
    assert done.status == 2
    assert done.err.startswith(
        "facesearch: A fault in facesearch itself: RuntimeError: boom (sitecustomize.py, line 2)."
    )
    process = tool.start("info", env={"PYTHONPATH": path, "FACESEARCH_TRACEBACK": "1"})
    assert b"Traceback" in process.communicate()[1]
    assert process.returncode == 2


# Events of the interpreter (see spy/sitecustomize.py) at which Ctrl-C comes; some are left to the slow tests.
STARTING = "import facesearch.library"
LOADING_CASCADES = "import facesearch.detect.cascades"
OPENING_THE_MODEL = "import openvino"


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.slow
@pytest.mark.parametrize(
    "at",
    [
        *slow(STARTING, LOADING_CASCADES, OPENING_THE_MODEL, f"os.scandir {os.sep}"),
        "open i.npz.journal",
        *slow("open i.npz.new", "os.rename i.npz.new"),
    ],
)
def test_ctrl_c_in_every_phase_of_indexing(tool, ask, photos, at):
    spy = {"SPY_AT": at, "SPY_SIGNAL": int(signal.SIGINT)}
    done = tool.run("index", photos, "--index", "i.npz", env=spy)
    assert done.status in (130, -signal.SIGINT), done  # a shell shows both as 130
    assert "Interrupted" in done.err
    again = ask("index", photos, "--index", "i.npz")
    assert again.status == 0, again
    assert ask("query", OBAMA, "--index", "i.npz", "--top", 50).names[0] == "biden.jpg"
    assert ask("info", "--index", "i.npz").text.splitlines()[1].startswith("photos     4: 3 with")
    left = {name for name in os.listdir(tool.folder) if name.startswith("i.npz")} - {"i.npz.lock"}
    assert left == {"i.npz"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [*slow(STARTING, LOADING_CASCADES, OPENING_THE_MODEL, "open samples.npz"), "open obama.jpg"]
)
def test_ctrl_c_in_every_phase_of_a_query(tool, sample_index, at):
    spy = {"SPY_AT": at, "SPY_SIGNAL": int(signal.SIGINT)}
    done = tool.run("query", OBAMA, "--index", sample_index, env=spy)
    assert done.status in (130, -signal.SIGINT), done
    assert done.out == b""
    assert done.err.strip() == "Interrupted."


@pytest.mark.slow
def test_ctrl_c_while_photos_are_embedded_keeps_what_was_done(tool, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(40):
        # The same faces, other pictures: else they would be known as copies.
        (photos / f"{number:02}.jpg").write_bytes(altered(LIBRARY / "grace_hopper.jpg", 6 * number))
    process = tool.start("index", photos, "--index", "i.npz", "--batch", 4, "--jobs", 1)
    wait_for_bytes(tmp_path / "i.npz.journal", 40_000, process)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1].decode()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Interrupted: " in err
    assert "all of it is kept. The same command again goes on from there." in err
    kept = int(err.split("Interrupted: ")[1].split(" indexed")[0])
    assert 4 <= kept < 40
    done = tool.run("index", photos, "--index", "i.npz")
    unchanged = int(done.err.split(" indexed, ")[1].split(" unchanged")[0])
    assert unchanged in (kept, kept + 1)  # one may be kept that was not yet counted
    assert done.err.startswith(f"{40 - unchanged} indexed, ")


def wait_for_bytes(path, size, process):
    while not path.exists() or path.stat().st_size < size:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def noted(tmp_path_factory, model_store, sample_index):
    """What index, query, info and --help import, connect to and start, by command; CI is unset."""
    from support.command import Tool

    folder = tmp_path_factory.mktemp("spied")
    tool = Tool(folder, model_store.root)
    commands = {
        "index": ["index", LIBRARY / "henry_moseley.jpg", "--index", "i.npz"],
        "query": ["query", OBAMA, "--index", sample_index, "--sheet", "sheet.jpg"],
        "info": ["info", "--index", sample_index],
        "--help": ["--help"],
        "index --help": ["index", "--help"],
        "query --help": ["query", "--help"],
    }
    events, processes, sockets = {}, {}, {}
    for name, args in commands.items():
        log = folder / f"{name}.log"
        process = tool.start(*args, env={"SPY_LOG": log})
        assert "CI" not in tool.environment()
        seen = watch(process)
        err = process.communicate()[1]
        assert process.returncode == 0, err
        events[name] = [json.loads(line) for line in log.read_text().splitlines()]
        processes[name], sockets[name] = seen
    return events, processes, sockets


def watch(process):
    """Look at a process from outside until it ends: give its children and its open sockets."""
    children, sockets, watched = set(), set(), psutil.Process(process.pid)

    def drain():
        process.stdout.read()

    reading = threading.Thread(target=drain)
    reading.start()
    while process.poll() is None:
        try:
            children |= {" ".join(child.cmdline()) for child in watched.children(recursive=True)}
            for number in os.listdir(f"/proc/{process.pid}/fd"):
                target = os.readlink(f"/proc/{process.pid}/fd/{number}")
                if target.startswith("socket:"):
                    sockets.add(target)
        except (psutil.Error, OSError):
            continue  # it, or one of its files, is gone
    reading.join()
    return children, sockets


COMMANDS = ["index", "query", "info", "--help", "index --help", "query --help"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_no_socket_and_no_other_process(noted, name):
    events, processes, sockets = noted
    assert len(events[name]) > 30  # the spy was there
    assert [event for event in events[name] if event[1] != "import"] == []
    assert processes[name] == set()
    assert sockets[name] == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_tensorflow_is_not_loaded(noted, name):
    imported = {event[2].partition(".")[0] for event in noted[0][name] if event[1] == "import"}
    assert "click" in imported
    assert imported & {"tensorflow", "keras", "openvino_telemetry", "ray", "pymilvus", "requests"} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["--help", "index --help", "query --help"])
def test_help_loads_nothing_heavy(noted, name):
    imported = {event[2].partition(".")[0] for event in noted[0][name] if event[1] == "import"}
    assert imported & {"numpy", "cv2", "openvino", "scipy", "PIL", "tqdm", "filelock", "pooch"} == set()


def test_the_spy_sees_sockets_and_processes(tool, tmp_path):
    """Else the tests above could not fail."""
    code = (
        "import socket, subprocess, sys, time; socket.create_server(('127.0.0.1', 0)); "
        "s = socket.socket(); subprocess.run([sys.executable, '-c', 'import time; time.sleep(.5)']); "
        "time.sleep(.2)"
    )
    env = tool.environment(SPY_LOG=tmp_path / "log")
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    children, sockets = watch(process)
    process.communicate()
    events = {json.loads(line)[1] for line in (tmp_path / "log").read_text().splitlines()}
    assert {"socket.bind", "subprocess.Popen"} <= events
    assert any("time.sleep(.5)" in child for child in children)
    assert sockets


@pytest.mark.slow
def test_a_question_has_the_same_answer_in_an_empty_network(tool, sample_index):
    """Where the kernel allows a network of its own; what cannot be reached cannot be needed."""
    alone = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a process have a network of its own")
    args = ["query", str(OBAMA), "--index", str(sample_index)]
    done = subprocess.run([*alone, *COMMAND, *args], env=tool.environment(), capture_output=True, check=True)
    assert done.stdout == tool.run(*args).out
