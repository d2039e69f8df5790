"""What the command line says about itself: help, README, completion."""

import os
import re
import shutil
import subprocess

import click
import pytest
from support.command import COMMAND, ROOT

import facesearch
from facesearch.cli import COMMANDS, main


def commands():
    """Yield every command and subcommand with its words: "index", "models fetch", ..."""
    with click.Context(main) as context:
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                for inner in command.list_commands(context):
                    yield f"{name} {inner}", command.get_command(context, inner)
            else:
                yield name, command


EVERY = dict(commands())


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text()


def test_the_table_of_commands_is_whole():
    assert {name.split()[0] for name in EVERY} == set(COMMANDS)
    assert {"index", "query", "info", "forget", "move-root", "models"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_table_is_the_commands_own(name):
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command.get_short_help_str(limit=200) == COMMANDS[name][1]


@pytest.mark.parametrize("words", EVERY)
def test_help_says_what_it_does_and_ends_with_examples(ask, words):
    done = ask(*words.split(), "--help")
    assert (done.status, done.err) == (0, "")
    assert done.text == ask(*words.split(), "-h").text
    assert done.text.startswith(f"Usage: facesearch {words} ")
    prose = re.sub(r"\s+", " ", EVERY[words].help.partition("\b")[0]).strip()
    assert len(prose) > 20
    examples = done.text.partition("Examples:\n")[2].partition("\n\n")[0]
    assert f"facesearch {words}" in examples
    options = [param for param in EVERY[words].params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("words", EVERY)
def test_examples_name_options_that_are_there(words):
    command = EVERY[words]
    known = {option for param in command.params for option in param.opts + param.secondary_opts}
    text = (command.help or "") + (command.epilog or "")
    for line in re.findall(rf"facesearch {words}\b[^|\n]*", text.partition("Examples:")[2]):
        assert set(re.findall(r"(?<!\S)--[a-z0-9-]+", line)) <= known, line


@pytest.mark.parametrize("words", EVERY)
def test_every_command_stands_in_the_readme(readme, words):
    # A subcommand stands there by its words, or in the list that its group's help gives.
    here = rf"\b{words}\b|^  {words.split()[-1]} +\S"
    assert re.search(here if " " in words else rf"\bfacesearch {words}\b", readme, re.MULTILINE)


def test_without_a_command_it_shows_its_help(ask):
    done = ask()
    assert done.status == 2
    assert "Usage: facesearch" in done.text + done.err
    assert "Commands:" in done.text + done.err


def test_the_list_of_commands_with_exit_statuses(ask):
    done = ask("--help")
    assert done.status == 0
    for name, (_, summary) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", done.text, re.MULTILINE)
    assert "0 found or done, 1 nothing found, 2 any error, 130 interrupted" in re.sub(r"\s+", " ", done.text)


def test_version(ask):
    assert ask("--version").text == f"facesearch, version {facesearch.__version__}\n"


def test_a_mistyped_command_is_guessed(ask):
    done = ask("qurey", "x.jpg")
    assert done.status == 2
    assert "No such command 'qurey'. Did you mean 'query'?" in done.err
    assert "Did you mean" not in ask("zzz").err


def complete(tool, line):
    """Ask for the completion of a command line as bash does."""
    words = line.split(" ")
    env = {"_FACESEARCH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": len(words) - 1}
    done = tool.run(env=env)
    assert (done.status, done.err) == (0, "")
    return [entry.partition(",")[::2] for entry in done.text.splitlines()]


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")]
)
def test_a_completion_script_for_each_shell(tool, tmp_path, shell, mark):
    tools = tmp_path / "bin"
    tools.mkdir()
    if shutil.which("bash"):
        os.symlink(shutil.which("bash"), tools / "bash")  # click asks it for its version
    done = tool.run(env={"_FACESEARCH_COMPLETE": f"{shell}_source"})
    assert (done.status, done.err) == (0, "")
    assert mark in done.text
    assert "_FACESEARCH_COMPLETE=" in done.text
    assert "facesearch" in done.text


def test_completion_knows_commands_options_and_values(tool):
    assert complete(tool, "facesearch ") == [("plain", name) for name in COMMANDS]
    assert complete(tool, "facesearch query --thr") == [("plain", "--threshold")]
    assert complete(tool, "facesearch query --metric ") == [("plain", "cosine"), ("plain", "euclidean")]
    assert complete(tool, "facesearch index ") == [("file", "")]


def test_bash_completes_with_the_script(tool, tmp_path):
    """The script at work: the shell's own function is called and fills in COMPREPLY."""
    (tmp_path / "facesearch").write_text(f'#!/bin/sh\nexec {COMMAND[0]} -m facesearch "$@"\n')
    (tmp_path / "facesearch").chmod(0o755)
    script = (
        'eval "$(_FACESEARCH_COMPLETE=bash_source facesearch)"\n'
        "COMP_WORDS=(facesearch mo) COMP_CWORD=1\n"
        "_facesearch_completion facesearch\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = tool.environment(PATH=f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=True)
    assert done.stdout.split() == [b"move-root", b"models"]
