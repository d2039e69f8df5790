import json

import numpy as np
import pytest
from click.testing import CliRunner

from facesearch.cli.models import models
from facesearch.errors import FacesearchError, FetchFailed, ModelError, UnknownModel
from facesearch.models.openvino import load_openvino
from facesearch.models.store import ModelStore


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a subcommand on an empty store; give what it wrote to stdout."""
    monkeypatch.setenv("FACESEARCH_MODELS", str(tmp_path / "models"))

    def call(*arguments):
        result = CliRunner().invoke(models, [str(argument) for argument in arguments])
        if isinstance(result.exception, FacesearchError):
            raise result.exception
        call.status, call.stderr = result.exit_code, result.stderr
        return result.stdout

    return call


@pytest.fixture
def network(tmp_path):
    """Write a network that averages RGB pictures of 8x8."""
    openvino = load_openvino()
    picture = openvino.opset13.parameter([-1, 3, 8, 8], np.float32)
    scaled = openvino.opset13.multiply(picture, np.float32(2))
    openvino.save_model(openvino.Model([scaled], [picture], "mean"), tmp_path / "net.xml")
    return tmp_path / "net.xml"


def test_an_imported_network_is_listed_verified_exported_and_removed(run, network, tmp_path):
    folder = run(
        "import", network, "--name", "mine", "--mean", "1,2,3", "--scale", "4", "--color", "bgr"
    ).strip()

    assert folder == str(tmp_path / "models" / "mine")
    assert run("list").splitlines() == [
        "mine                     here       how alike faces look: 3 numbers of 8x8 pixels, faces by haar",
        "resnet50                 to fetch   how alike faces look: 2048 numbers of 224x224 pixels, "
        "faces by haar",
        "sface                    to fetch   who it is: 128 numbers of 112x112 pixels, faces by yunet",
        "yunet                    to fetch   detector, gives boxes and landmarks",
    ]
    assert run("verify") == run("verify", "mine") == "mine\tok\n"
    assert run("path", "mine") == f"{folder}\n"
    assert run("path") == f"{tmp_path / 'models'}\n"
    assert run("export", "mine", tmp_path) == f"{tmp_path / 'mine.zip'}\n"
    assert run("remove", "mine") == ""
    assert run.stderr == "Removed the model mine.\n"
    assert run("import", tmp_path / "mine.zip").strip() == folder

    card = ModelStore().card("mine")
    assert (card.mean, card.scale, card.color) == ((1.0, 2.0, 3.0), (4.0, 4.0, 4.0), "bgr")


def test_the_list_is_also_json(run):
    listed = json.loads(run("list", "--json"))

    assert listed["schema"] == 2
    known, people, detector = listed["models"]
    assert (known["name"], known["state"], known["card"]["dim"]) == ("resnet50", "to fetch", 2048)
    assert known["card"]["calibration"] == {}
    assert set(people["card"]["calibration"]) == {"cosine", "euclidean"}
    assert people["card"]["calibration"]["cosine"]["date"] == "2026-11-22"
    assert "files" not in known["card"]
    assert (detector["name"], detector["card"]["kind"]) == ("yunet", "detector")


def test_a_broken_model_is_listed_as_such(run, network, tmp_path):
    run("import", network, "--name", "mine")
    (tmp_path / "models" / "mine" / "network.bin").unlink()

    assert run("list").startswith(
        "mine                     broken     The model mine is broken: network.bin is missing"
    )
    assert json.loads(run("list", "--json"))["models"][0]["card"] is None


@pytest.mark.parametrize(
    ("option", "text"),
    [("--size", "big"), ("--size", "1x2x3"), ("--mean", "1,2"), ("--scale", "x"), ("--detector", "none")],
)
def test_an_option_that_cannot_be_read_is_told(option, text, run, network):
    run("import", network, "--name", "mine", option, text)

    assert run.status == 2
    assert option in run.stderr


def test_align_is_refused_as_the_detector_gives_no_landmarks(run, network):
    with pytest.raises(ModelError, match="wants aligned crops, and the detector haar gives no") as raised:
        run("import", network, "--name", "mine", "--align", "--detector", "haar")
    assert "leave out --align" in raised.value.hint
    assert ModelStore().names() == []


def test_align_brings_the_detector_that_gives_landmarks(run, network):
    run("import", network, "--name", "mine", "--align", "--identity")

    card = ModelStore().card("mine")
    assert (card.detector, card.landmarks, card.identity) == ("yunet", True, True)


def test_a_size_of_two_numbers_is_height_and_width(run, tmp_path):
    openvino = load_openvino()
    picture = openvino.opset13.parameter([-1, 3, -1, -1], np.float32)
    openvino.save_model(
        openvino.Model([openvino.opset13.relu(picture)], [picture], "any"), tmp_path / "any.xml"
    )

    run("import", tmp_path / "any.xml", "--size", "8x12")

    assert ModelStore().card("any").size == (8, 12)


@pytest.mark.parametrize(
    "command", [["verify", "none"], ["path", "none"], ["export", "none"], ["remove", "none"]]
)
def test_a_model_that_is_not_here_is_an_error(command, run):
    with pytest.raises(UnknownModel, match="none is not in"):
        run(*command)


def test_an_unknown_model_is_not_fetched(run):
    with pytest.raises(UnknownModel, match="There is no model 'nothing'"):
        run("fetch", "nothing")


@pytest.mark.slow
def test_an_application_that_cannot_be_fetched_is_told_with_the_way_by_hand(run, monkeypatch):
    # A proxy that is not there: no test depends on what this machine reaches.
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with pytest.raises(FetchFailed, match="URL fetch failure") as raised:
        run("fetch", "keras/MobileNet")
    assert "facesearch models import FILE --name keras/MobileNet" in raised.value.hint


@pytest.mark.parametrize("name", sorted(models.commands))
def test_the_help_of_each_command_ends_with_examples(name, run):
    lines = run(name, "--help").splitlines()

    assert f"facesearch models {name}" in lines[-1]
    assert "Examples:" in "".join(lines)


def test_a_choice_of_model_lasts(ask, monkeypatch):
    assert ask("use").text == "resnet50\n"
    done = ask("use", "sface")
    assert done.status == 0
    assert done.err.startswith("sface is the model of new indexes now")
    assert ask("use").text == "sface\n"
    assert "sface.npz" in ask("query", "missing.jpg").err
    monkeypatch.setenv("FACESEARCH_MODEL", "resnet50")
    assert ask("use").text == "resnet50\n"


@pytest.mark.parametrize("command", [["use"], ["index", ".", "--model"], ["info", "--model"]])
def test_an_unknown_model_is_told_with_what_there_is(ask, command):
    done = ask(*command, "no-such-model")
    assert done.status == 2
    assert "no-such-model" in done.err
    assert "sface" in done.err
    assert "facesearch index FOLDER" not in done.err
