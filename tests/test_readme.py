"""README says what is: its Python session runs, its help texts are the commands' own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


SESSIONS = re.findall(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", README, re.DOTALL)


def test_every_python_session_says_what_it_prints():
    assert len(SESSIONS) == README.count("```python") == 2


@pytest.mark.parametrize(("session", "printed"), SESSIONS)
def test_the_python_sessions_print_what_they_say(session, printed, model_store, tmp_path):
    (tmp_path / "samples").symlink_to(ROOT / "samples")

    run = subprocess.run(
        [sys.executable, "-c", session],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "FACESEARCH_MODELS": str(model_store.root), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, printed), run.stderr


def test_the_help_texts_are_the_commands_own():
    run = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "README.md"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_first_screen_holds_two_lines_that_set_everything_up():
    lines = [line for line in README.splitlines()[:25] if line.startswith("python3 -m venv ")]

    assert len(lines) == 2
    assert "facesearch index samples/library" in lines[0]
    assert lines[1].endswith("-m pytest -n 3")
