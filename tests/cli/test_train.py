"""`facesearch train` as a process, on drawn people: what it says, what it writes, and what goes wrong."""

import base64
import json
import os
import re
import shutil

import pytest
from support.command import Done, Tool
from support.drawn_people import draw_people
from support.html_pages import Page
from support.once import made_once

pytestmark = pytest.mark.slow

SHORT = ["--whole", "--base", "cnn", "--epochs", "3", "--batch", "24", "--validation", "0.4", "--test", "0.4"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder in which two models were trained; tests only read it."""
    return made_once(tmp_path_factory, "train", _train_twice)


def _train_twice(home):
    draw_people(home / "people", 14, 4)
    (home / "people" / "person03" / "broken.jpg").write_bytes(b"no picture")
    for name, args in (
        ("first", ("--name", "mine")),
        ("second", ("--name", "other/one", "--run", "kept", "--json", "-q")),
    ):
        done = _process(home)("train", "people", *args, *SHORT)
        assert done.status == 0, done
        (home / f"{name}.out").write_bytes(done.out)
        (home / f"{name}.err").write_text(done.err)


def _process(home):
    tool = Tool(home, home / "models")
    tool.env["XDG_CACHE_HOME"] = str(home / "cache")
    return lambda *args, **more: tool.run(*args, timeout=300, **more)


@pytest.fixture
def process(home):
    """Runs the command as a process of its own, with a store of these tests alone."""
    return _process(home)


@pytest.fixture
def first(home):
    """What the first training said, with the table."""
    return _said(home, "first")


@pytest.fixture
def second(home):
    """The same again under another name, with figures for scripts, and nothing said besides."""
    return _said(home, "second")


def _said(home, name):
    return Done(0, (home / f"{name}.out").read_bytes(), (home / f"{name}.err").read_text())


def test_the_table_says_how_good_it_is_beside_what_is_simple(first):
    lines = first.text.splitlines()
    assert re.fullmatch(r"6 people who were held out, \d+ pairs, both kinds weighing the same", lines[0])
    assert lines[2].split() == ["accuracy", "AUC", "EER", "rank-1"]
    assert re.match(r"mine  +\d+\.\d % \(\d+\.\d to \d+\.\d\) *[01]\.\d{4} +\d+\.\d % +\d+\.\d %$", lines[3])
    assert lines[4].startswith("16x16 grey pixels ")
    assert lines[6].startswith("With the threshold of the 3 validation people, ")
    assert lines[7].startswith(("Training helped: ", "Training did not help: "))
    assert lines[8].startswith("The model is ready: use it with --model mine. ")
    assert first.out.endswith(b"\n")


def test_no_column_of_the_table_runs_into_the_next(first):
    rows = [line for line in first.text.splitlines() if ")" in line and line.startswith(("mine ", "16x16 "))]
    assert len(rows) == 2
    assert all(") " in row for row in rows)


def test_progress_is_said_epoch_by_epoch_and_unreadable_photos_are_named(first, home):
    said = first.err.splitlines()
    epochs = [line for line in said if line.startswith("epoch ")]
    assert [int(line.split()[1]) for line in epochs] == [1, 2, 3]
    assert re.fullmatch(
        r"epoch   1  loss \d+\.\d{4}  validation \d+\.\d %  AUC \d\.\d{4}  \d+\.\d s  best so far", epochs[0]
    )
    assert f"{home}/people/person03/broken.jpg: It cannot be read." in said
    assert all("tensorflow" not in line.lower() for line in said)


def test_json_begins_with_the_accuracy_and_quiet_says_nothing_else(second, first):
    assert second.err == ""
    told = json.loads(second.out)
    assert next(name for name in told if name != "schema") == "accuracy"
    assert told["accuracy"] == told["test"]["other/one"]["accuracy"] > 0.7
    assert list(told["test"]) == ["other/one", "16x16 grey pixels"]
    assert told["people"] == {"train": 5, "validation": 3, "test": 6}
    assert (told["photos"], told["epochs"], told["base"], told["seed"]) == (56, 3, "cnn", 0)
    assert [os.path.basename(one["path"]) for one in told["unreadable"]] == ["broken.jpg"]
    assert 0 < told["threshold"] < 4
    # The same seed, the same figures as in the first training.
    assert f"{100 * told['accuracy']:.1f} %" in first.text.splitlines()[3]
    assert f"{told['test']['other/one']['auc']:.4f}" in first.text.splitlines()[3]


@pytest.mark.parametrize("folder", ["kept", "data/facesearch/runs/mine"])
def test_the_runs_folder_holds_what_was_asked_and_what_came_of_it(first, second, home, folder):
    run = home / folder
    assert {"config.json", "history.csv", "history.json", "state.npz", "model"} <= {*os.listdir(run)}
    config = json.loads((run / "config.json").read_text())
    assert (config["base"], config["epochs"], config["seed"], config["loss"]) == ("cnn", 3, 0, "supcon")
    assert config["photos"].startswith("sha256:")
    assert len(json.loads((run / "history.json").read_text())) == 4  # before training, and three epochs
    assert len((run / "history.csv").read_text().splitlines()) == 5
    assert {"network.xml", "network.bin", "card.json"} <= {*os.listdir(run / "model")}


@pytest.mark.parametrize(("folder", "name"), [("kept", "other/one"), ("data/facesearch/runs/mine", "mine")])
def test_the_runs_page_holds_figures_curves_and_settings(first, second, home, folder, name):
    page = Page((home / folder / "report.html").read_text(encoding="utf-8"))
    told = json.loads((home / folder / "report.json").read_text())
    assert page.text.startswith(
        f"Training of {name} People 5 to learn from, 3 to stop in time, 6 held out Photos 56"
    )
    assert f"{name} {100 * told['accuracy']:.1f} % (" in page.text
    assert "16x16 grey pixels" in page.text
    assert "Training helped: " in page.text or "Training did not help: " in page.text
    assert "Unreadable 1 photo " in page.text
    (curves,) = page.of("img")
    data = base64.b64decode(curves["src"].removeprefix("data:image/png;base64,"))
    assert data == (home / folder / "curves.png").read_bytes()
    assert f"Settings folder {home}/people base cnn unfreeze 0 single no whole yes" in page.text
    assert "loss supcon" in page.text


def test_the_model_compares_photos(process, first, second, home):
    photos = [
        home / "people" / name
        for name in ("person00/0.png", "person00/0.png", "person00/1.png", "person01/0.png")
    ]
    for name in ("mine", "other/one"):
        done = process("compare", *photos, "--model", name, "--json")
        assert done.status == 0, done
        pairs = json.loads(done.out)["pairs"]
        assert len(pairs) == 6
        assert all(0 <= pair["distance"] <= 4 for pair in pairs)
        assert all(0 <= pair["probability"] <= 1 for pair in pairs)
        assert pairs[0]["distance"] == pytest.approx(0, abs=1e-3)


def test_the_model_finds_photos(process, first, home):
    done = process("index", "people", "--index", "i.npz", "--model", "mine")
    assert done.status == 0, done
    found = process("query", home / "people" / "person05" / "0.png", "--index", "i.npz", "--top", "3")
    assert found.status == 0, found
    assert {os.path.dirname(row[4]) for row in found.rows} == {f"{home}/people/person05"}


def test_the_model_is_listed_and_verified(process, first):
    assert "mine" in process("models", "list").text
    assert process("models", "verify", "mine").status == 0


def complaint(done):
    """Return the sentence and the hint of a command that ended with an error and wrote nothing else."""
    assert (done.status, done.out) == (2, b""), done
    sentence, *hint = [line for line in done.err.splitlines() if not line.startswith("epoch ")]
    assert sentence.startswith("facesearch: ")
    return sentence.removeprefix("facesearch: "), " ".join(hint)


def test_a_name_that_is_taken(process, first):
    sentence, hint = complaint(process("train", "people", "--name", "mine", *SHORT))
    assert sentence == "There is already a model named mine."
    assert hint == "Use another --name, or replace it with --force."


@pytest.fixture
def train(ask, home, monkeypatch):
    """Trains in this process, where it does not come to a training."""
    monkeypatch.setenv("FACESEARCH_MODELS", str(home / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return lambda folder, *args: ask("train", folder, *(args or ("--name", "new", *SHORT)))


@pytest.mark.parametrize("name", ["sface", "resnet50", "cnn", "yunet", "haar", "keras/VGG16"])
def test_a_name_that_means_something_else(train, home, name):
    sentence, hint = complaint(train(home / "people", "--name", name, *SHORT, "--force"))
    assert sentence == f"The name {name} is taken by a model that comes with facesearch."
    assert hint == "Use another --name."


@pytest.mark.parametrize("name", ["../out", "", ".hidden", "a/b/c", "a b", "\x1b[31m"])
def test_a_name_that_cannot_be_one(train, home, name):
    sentence, _ = complaint(train(home / "people", "--name", name, *SHORT))
    assert sentence.endswith("cannot be a model's name.")
    assert "\x1b" not in sentence


def test_a_base_that_is_not_known(train, home):
    sentence, hint = complaint(train(home / "people", "--name", "new", "--base", "sfaec"))
    assert sentence.startswith("There is no model 'sfaec'. Near to it: sface")
    assert "facesearch models list" in hint


def few(home, folder, count):
    for name in sorted(os.listdir(home / "people"))[:count]:
        shutil.copytree(home / "people" / name, folder / name)
    return folder


def test_one_person_or_too_few(train, home, tmp_path):
    sentence, hint = complaint(train(few(home, tmp_path / "one", 1)))
    assert sentence.endswith("holds the photos of one person only: 'person00'.")
    assert hint.startswith("Add people: ")
    sentence, hint = complaint(train(few(home, tmp_path / "four", 4)))
    assert sentence == (
        "4 people give 1 for training, 1 for validation and 2 for the test, which is too few."
    )
    assert hint == "Each part needs 2 people or more: add people, or change --validation and --test."


def test_a_folder_that_is_missing_or_empty_or_no_folder(train, home, tmp_path):
    assert "cannot be read: No such file or directory." in complaint(train(tmp_path / "nowhere"))[0]
    (tmp_path / "empty").mkdir()
    assert complaint(train(tmp_path / "empty"))[0].endswith("holds no photos.")
    assert complaint(train(home / "people" / "person00" / "0.png"))[0].endswith("is no folder.")
    assert complaint(train(home / "people" / "person00"))[0].endswith(
        "holds photos and no folder of a person."
    )


def test_resume_without_a_run(train, home, tmp_path):
    sentence, hint = complaint(train(home / "people", "--name", "new", *SHORT, "--resume"))
    assert sentence.startswith("There is no run to resume in ")
    assert hint == "Leave out --resume."


def test_resume_of_a_run_that_was_asked_for_other_things(train, home, first, second):
    args = ["--name", "new", *SHORT, "--run", home / "kept", "--resume", "--seed", "1"]
    sentence, hint = complaint(train(home / "people", *args))
    assert sentence == f"The run in '{home}/kept' was started with other settings: seed."
    assert hint.startswith("Use the same settings as before, or leave out --resume")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--name", "new", "--loss", "sum"],
        ["--name", "new", "--validation", "1"],
        ["--name", "new", "--test", "0"],
        ["--name", "new", "--epochs", "0"],
        ["--name", "new", "--batch", "2"],
        ["--name", "new", "--rate", "0"],
        ["--name", "new", "--seed", "-1"],
        ["--name", "new", "--device", "tpu"],
    ],
)
def test_options_that_make_no_sense(ask, home, args):
    done = ask("train", home / "people", *args)
    assert (done.status, done.out) == (2, b"")
    assert "Usage: facesearch train" in done.err


@pytest.mark.parametrize("option", ["--validation", "--test"])
def test_a_share_that_is_no_number(train, home, option):
    done = train(home / "people", "--name", "new", *SHORT, option, "nan")
    assert done.status == 2
    assert "fault in facesearch" not in done.err
