"""What the command line says about itself: help, the manual, completion."""

import os
import re
import shutil
import subprocess
import sys

import click
import pytest
from support.command import COMMAND, ROOT
from support.known_people import grouped, kept, shows

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
def manual():
    return (ROOT / "docs" / "commands.md").read_text()


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
def test_every_command_stands_in_the_manual(manual, words):
    assert re.search(rf"^#+ facesearch {words}$", manual, re.MULTILINE)


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
    return [entry.partition(",")[::2] for entry in done.text.splitlines() if entry]


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
    assert complete(tool, "facesearch query --metric ") == [
        ("plain", "cosine"),
        ("plain", "euclidean"),
        ("plain", "centred"),
    ]
    assert complete(tool, "facesearch index ") == [("file", "")]


@pytest.mark.slow
def test_completion_knows_models_without_loading_anything_heavy(tool):
    names = [name for _, name in complete(tool, "facesearch query --model s")]
    assert names == ["sface"]
    assert ("plain", "resnet50") in complete(tool, "facesearch models verify ")
    assert complete(tool, "facesearch index --model keras/MobileNetV3S") == [
        ("plain", "keras/MobileNetV3Small")
    ]
    for line in ("facesearch query --model r", "facesearch query --index "):
        words = line.split(" ")
        env = tool.environment(
            COMP_WORDS=line, COMP_CWORD=len(words) - 1, _FACESEARCH_COMPLETE="bash_complete"
        )
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "facesearch"],
            env=env, cwd=tool.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        loaded = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
        assert loaded & {"numpy", "cv2", "PIL", "openvino", "tensorflow", "keras"} == set()


@pytest.mark.slow
def test_completion_knows_index_files_and_folders(tool, tmp_path):
    (tmp_path / "family.npz").touch()
    (tmp_path / "family.npz.people").touch()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old one.npz").touch()
    expected = [("plain", "family.npz"), ("plain", "far/")]
    assert complete(tool, "facesearch query --index fa") == expected
    assert complete(tool, "facesearch serve --index fa") == expected
    assert complete(tool, "facesearch people --index fam") == expected[:1]
    assert complete(tool, "facesearch info --index far/") == [("plain", "far/old one.npz")]
    assert complete(tool, "facesearch info --index nowhere/") == []


@pytest.fixture
def people_index(tmp_path):
    """An index s.npz of two people, Ada and Grace."""
    people = grouped(tmp_path / "s.npz", [shows(f"/{number}.jpg", number % 2) for number in range(4)])
    for person, name in zip(people.everyone(), ("Ada", "Grace"), strict=True):
        people.name(person, name)
    kept(tmp_path / "s.npz", people)


@pytest.mark.slow
@pytest.mark.usefixtures("people_index")
def test_completion_knows_people(tool, tmp_path):
    for line in (
        "facesearch query --index s.npz --person a",
        "facesearch query --index s.npz --with A",
        "facesearch people --index s.npz show a",
        "facesearch people merge --index s.npz Grace ad",
        "facesearch people name --index s.npz a",
        "facesearch forget --index s.npz --person a",
    ):
        assert complete(tool, line) == [("plain", "Ada")], line
    assert complete(tool, "facesearch query --index none.npz --person a") == []
    (tmp_path / "s.npz.people").write_bytes(b"broken")
    assert complete(tool, "facesearch query --index s.npz --person a") == []


@pytest.mark.parametrize(
    "words", ["index", "query", "compare", "evaluate", "train", "serve", "models import"]
)
def test_options_stand_in_named_groups(ask, words):
    """Every option of a command with many is in a group with a name; only --help is left over."""
    text = ask(*words.split(), "--help").text
    assert len(re.findall(r"^[A-Z][^\n]*:$", text, re.MULTILINE)) >= 4
    assert re.search(r"^Other options:\n  -h, --help +[^\n]+\n(\n|$)", text, re.MULTILINE) or not re.search(
        r"^(Other o|O)ptions:$", text, re.MULTILINE
    )


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
