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
ARCHITECTURE = PAGES["ARCHITECTURE.md"]


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


@pytest.mark.slow
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


def marked_block(page):
    """Return the shell block of a page that is marked to be run by a test."""
    (block,) = re.findall(r"<!-- run -->\n```sh\n(.*?)```", PAGES[page], re.DOTALL)
    return block


@pytest.fixture
def shell(model_store, tmp_path):
    """Return a function that runs a script in an empty home with the samples and `facesearch` in it."""
    tool = Tool(tmp_path, model_store.root)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "facesearch").write_text(f'#!/bin/sh\nexec "{COMMAND[0]}" -m facesearch "$@"\n')
    (binaries / "facesearch").chmod(0o755)
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\nexport PATH\n')

    def run(*lines, **environment):
        done = subprocess.run(
            ["sh", "-c", "\n".join(["set -eu", *lines])],
            cwd=tmp_path,
            env={**tool.env, "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.mark.slow
def test_the_first_command_and_the_tour_work_as_printed(shell, tmp_path):
    first = next(line for line in README.splitlines() if line.startswith("python3 -m venv "))
    done = shell(*first.split(" && ")[2:], marked_block("README.md"))
    assert "solvay_1927.jpg" in done.stdout.splitlines()[0]
    assert (tmp_path / "result.jpg").exists()
    assert "Barack Obama" in done.stdout
    assert not (tmp_path / "data" / "facesearch").exists()  # the user's default library is untouched


@pytest.mark.slow
def test_the_lines_about_people_work_as_printed(shell, tmp_path):
    *lines, forget = marked_block("people.md").splitlines()
    done = shell(". .venv/bin/activate", *lines, "facesearch people list", forget)
    told, table = PAGES["people.md"].split("```text\n")[1].split("\n\n")[:2]
    assert told in done.stderr
    # The rows of the table that the page shows, without its heading; a script gets paths, and no years.
    table = [re.sub(r" {2}\d{4}(-\d{4})?", "", row) for row in table.splitlines()[1:]]
    listed = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 4]
    named = [[number, photos, faces, name] for number, name, photos, faces, _ in listed[-len(table) :]]
    assert [" ".join(row).strip() for row in named] == [" ".join(row.split()) for row in table]
    assert "6 photos linked to 3 folders in by-person" in done.stderr
    assert re.search(r"3 faces in 3 photos forgotten; [\d,]+ bytes searched, no trace left", done.stderr)
    assert len(list((tmp_path / "by-person").iterdir())) == 3


@pytest.mark.slow
def test_the_lines_for_scripts_work_as_printed(shell, tmp_path):
    photos = "mkdir found && cp -r samples/queries refs && cp refs/obama.jpg friend.jpg"
    index = "facesearch index samples/library"
    shell(". .venv/bin/activate", photos, index, marked_block("scripting.md"), FACESEARCH_MODEL="sface")
    hits = [line.split("\t") for line in (tmp_path / "hits.tsv").read_text().splitlines()]
    assert {len(row) for row in hits} == {11}
    assert {row[0] for row in hits} == {
        str(tmp_path / "refs" / name) for name in ("marie_curie.jpg", "obama.jpg")
    }
    copied = {path.name for path in (tmp_path / "found").iterdir()}
    assert {"obama_2009.jpg", "obama_2010.jpg", "biden.jpg"} <= copied


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


@pytest.mark.slow
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


def test_every_file_that_the_architecture_names_exists():
    named = set(re.findall(r"`([\w/-]+(?:\.(?:py|toml)|/))`", ARCHITECTURE))
    assert len(named) > 30
    named.remove("cli/COMMAND.py")  # stands for the file of each command
    gone = [
        path
        for path in sorted(named)
        if not any((base / path).exists() for base in (ROOT, ROOT / "facesearch"))
    ]
    assert not gone


def test_the_floors_are_those_of_the_contract():
    shown = re.search(r"## Floors.*?```text\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    contract = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]
    )
    floors = [re.split(r"\s{3,}", line)[0] for line in shown.splitlines()]
    assert floors == [floor.replace("facesearch.", "") for floor in re.findall(r'"(.+)"', contract)]
