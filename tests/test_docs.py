"""The documentation says what is: its sessions run, its commands parse, its messages are the code's own."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.command import COMMAND, Tool

from facesearch.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
}
TOUR = re.search(r"<!-- tour -->\n```sh\n(.*?)```", README, re.DOTALL)[1].splitlines()


def sessions():
    found = []
    for name, text in PAGES.items():
        for session, printed in re.findall(
            r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", text, re.DOTALL
        ):
            found.append(pytest.param(session, printed, id=f"{name}-{len(found)}"))
    return found


def command_lines():
    """Return the words of every call of facesearch in a block of shell, with the page that it is on."""
    lines = []
    for name, text in PAGES.items():
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                for part in re.split(r"&&|\|(?!\|)|;", line.partition("  #")[0].partition(" # ")[0]):
                    words = shlex.split(re.sub(r"[<>]\S*\s*\S*", "", part.rstrip("& ")))
                    if words and words[0] in ("facesearch", ".venv/bin/facesearch"):
                        lines.append((name, words[1:]))
    return lines


@pytest.mark.parametrize(("session", "printed"), sessions())
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


def test_the_commands_help_is_printed_as_it_is():
    run = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "docs/commands.md"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_command_line_is_one_that_the_commands_take(monkeypatch):
    monkeypatch.delenv("FACESEARCH_SERVER", raising=False)
    lines = command_lines()
    assert len(lines) > 45
    for page, words in lines:
        try:
            parse(main, words)
        except click.UsageError as error:
            pytest.fail(f"{page}: facesearch {' '.join(words)}: {error.format_message()}")


def parse(command, words, parent=None):
    """Parse a command line as click does, without running it."""
    context = command.make_context(command.name, list(words), parent=parent)
    if isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        _, inner, rest = command.resolve_command(context, rest)
        parse(inner, rest, context)


def test_the_first_screen_holds_two_lines_that_set_everything_up():
    lines = [line for line in README.splitlines()[:25] if line.startswith("python3 -m venv ")]
    assert len(lines) == 2
    assert "--index samples.npz" in lines[0]  # an index of its own, never the user's
    assert lines[1].endswith("-m pytest -n 2")
    assert len(README.splitlines()) <= 250


@pytest.mark.slow
def test_the_first_command_and_the_tour_work_as_printed(model_store, tmp_path):
    tool = Tool(tmp_path, model_store.root)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "facesearch").write_text(f'#!/bin/sh\nexec "{COMMAND[0]}" -m facesearch "$@"\n')
    (binaries / "facesearch").chmod(0o755)
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\nexport PATH\n')
    first = next(line for line in README.splitlines() if line.startswith("python3 -m venv "))
    script = ["set -eu", *first.split(" && ")[2:], *TOUR]
    done = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=tool.env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "solvay_1927.jpg" in done.stdout.splitlines()[0]
    assert (tmp_path / "result.jpg").exists()
    assert "Barack Obama" in done.stdout
    assert not (tmp_path / "data" / "facesearch").exists()  # nothing of the user's own was touched


def messages():
    """Return the package's texts, with an ellipsis in place of what is filled in."""
    texts = []
    for path in (ROOT / "facesearch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_are_quoted_as_the_code_says_them():
    quoted = re.findall(r"^\| `(.+?)` \|", PAGES["troubleshooting.md"], re.MULTILINE)
    assert len(quoted) > 9
    texts = messages()
    for message in quoted:
        pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
        assert any(pattern.search(text) for text in texts), message


def test_every_link_within_the_documentation_leads_somewhere():
    for name, text in PAGES.items():
        folder = ROOT if (ROOT / name).exists() else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not target.startswith("http"):
                assert os.path.exists(folder / target), f"{name}: {target}"
