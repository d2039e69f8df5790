"""The command line as a process of its own, for tests of every folder."""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import facesearch

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
LIBRARY = SAMPLES / "library"
OBAMA = SAMPLES / "queries" / "obama.jpg"
CURIE = SAMPLES / "queries" / "marie_curie.jpg"
SPY = Path(__file__).parent / "spy"

COMMAND = (sys.executable, "-m", "facesearch")
PACKAGE = Path(facesearch.__file__).parents[1]

# Under these names coverage measures the processes that are started.
COVERAGE = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")

# What a user's shell may hold and a test must not depend on.
_UNSET = (
    "CI",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "FACESEARCH_INDEX",
    "FACESEARCH_MODEL",
    "FACESEARCH_TRACEBACK",
)


class Tool:
    """Runs `facesearch` in a folder of its own, with its own data folder and the models of this machine.

    Args:
        folder: The working folder; `XDG_DATA_HOME` lies in it.
        models: Where the models lie.
    """

    def __init__(self, folder: Path, models: Path):
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if name not in _UNSET}
        self.env["FACESEARCH_MODELS"] = str(models)
        self.env["XDG_DATA_HOME"] = str(folder / "data")
        self.env["XDG_CONFIG_HOME"] = str(folder / "config")
        before = os.environ.get("PYTHONPATH")
        self.env["PYTHONPATH"] = os.pathsep.join([str(PACKAGE), *([before] if before else [])])

    def environment(self, **changes):
        """Return the environment with some variables changed; SPY_... variables put the spy to work."""
        env = {**self.env, **{name: str(value) for name, value in changes.items()}}
        if any(name.startswith("SPY_") for name in changes):
            env["PYTHONPATH"] = os.pathsep.join([str(SPY), env["PYTHONPATH"]])
        return env

    def start(self, *args, env=None, **popen):
        """Start the tool; stdout and stderr are pipes unless `popen` says otherwise."""
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        if "preexec_fn" in popen:
            # What limits the tool would limit a measurement of coverage too. And where files are cut short,
            # Python would leave compiled modules that no later process can load.
            env = {"PYTHONDONTWRITEBYTECODE": "1", **(env or {}), **dict.fromkeys(COVERAGE, "")}
        command = [*COMMAND, *(arg if isinstance(arg, bytes) else str(arg) for arg in args)]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(**(env or {})), **popen)

    def run(self, *args, env=None, input=None, timeout=120, **popen):
        """Run the tool to its end; a traceback is never what a user should see."""
        process = self.start(*args, env=env, stdin=subprocess.PIPE if input is not None else None, **popen)
        try:
            out, err = process.communicate(input, timeout=timeout)
        finally:
            process.kill()
        done = Done(process.returncode, out or b"", os.fsdecode(err or b""))
        assert "Traceback" not in done.err, done.err
        return done


class Done:
    """What came of a run: exit status, stdout as bytes, stderr as text."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def text(self):
        """Stdout as text."""
        return os.fsdecode(self.out)

    @property
    def rows(self):
        """The fields of a TSV."""
        return [line.split("\t") for line in self.text.split("\n")[:-1]]

    @property
    def names(self):
        """The file names of the matches of a TSV, nearest first."""
        return [os.path.basename(row[4]) for row in self.rows]

    def __repr__(self):
        return f"status {self.status}\nstdout: {self.text}\nstderr: {self.err}"


def on_a_terminal(tool, *args, **env):
    """Run the tool with a terminal for stdout and stderr; give its status and what it showed."""
    import fcntl  # on Windows there are no such terminals
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = tool.start(*args, env={"COLUMNS": "", "TERM": "xterm", **env}, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return process.wait(), shown.decode().replace("\r\n", "\n")


def without_roots_privileges():
    """Let permissions hold for root too: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH before exec."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None).prctl
        for capability in (1, 2):
            if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError("a capability cannot be dropped")
