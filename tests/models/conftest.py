import os
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from facesearch.models.card import NETWORK, WEIGHTS, Card
from facesearch.models.sources import Recipe

CARD = Card(name="tiny", dim=4, size=(8, 8), margin=0.1, detector="haar", digest="sha256:" + "0" * 64)


@dataclass(frozen=True)
class Given:
    """A source that gives these bytes, or fails with this error."""

    data: bytes = b"weights"
    error: Exception | None = None

    def __str__(self):
        return "the place given"

    def fetch(self, folder, *, progress):
        if self.error:
            raise self.error
        (folder / "weights").write_bytes(self.data)
        return folder / "weights"


def build_tiny(file, folder):
    """Stand in for a conversion: the weights, and a graph of no meaning."""
    (folder / NETWORK).write_text("<net/>")
    (folder / WEIGHTS).write_bytes(file.read_bytes())
    return CARD


@pytest.fixture
def tiny_recipe():
    def make(*sources):
        return Recipe(CARD, sources or (Given(),), build_tiny, origin=WEIGHTS, by_hand="the file weights")

    return make


@pytest.fixture
def given():
    return Given


@pytest.fixture
def fake_command(tmp_path, monkeypatch):
    """Put a command on an otherwise empty PATH; its body is Python, run in the caller's folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name, body="", python=sys.executable):
        path = folder / name
        path.write_text(f"#!{python} -S\n{textwrap.dedent(body)}")
        path.chmod(0o755)
        return path

    make.folder = folder
    return make


@pytest.fixture
def run_python(tmp_path):
    """Start a Python process that can import the package."""
    import subprocess

    home = Path(__file__).parents[2]

    def start(code, *arguments):
        path = tmp_path / "child.py"
        path.write_text(textwrap.dedent(code))
        environment = {**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{Path(__file__).parent}"}
        return subprocess.Popen(
            [sys.executable, path, *map(str, arguments)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start
