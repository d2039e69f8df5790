"""`facesearch evaluate`: figures in every form, the files it writes, calibration, and what goes wrong."""

import base64
import json
import os
import re
import shutil
import signal

import pytest
from PIL import Image, ImageOps
from support.command import CURIE, LIBRARY, OBAMA, Tool
from support.html_pages import Page
from support.real_photos import altered

from facesearch.embed import card_of
from facesearch.errors import FetchFailed
from facesearch.models.store import ModelStore

# Each measures real models on photos.
pytestmark = pytest.mark.slow

PHOTOS, PAIRS = 8, (5, 23)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with people in it, whom the network parts without an error, and the cache of all tests."""
    home = tmp_path_factory.mktemp("evaluate")
    for name, number, photo in [
        ("obama", 1, OBAMA),
        ("obama", 2, LIBRARY / "obama_2009.jpg"),
        ("obama", 3, LIBRARY / "obama_2010.jpg"),
        ("curie", 1, CURIE),
        ("biden", 1, LIBRARY / "biden.jpg"),
        ("barkla", 1, LIBRARY / "charles_barkla.jpg"),
    ]:
        (home / "people" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy2(photo, home / "people" / name / f"{name}_{number:04d}.jpg")
    with Image.open(CURIE) as curie, Image.open(LIBRARY / "biden.jpg") as biden:
        curie.convert("RGB").rotate(4).save(home / "people" / "curie" / "curie_0002.png")
        ImageOps.mirror(biden).save(home / "people" / "biden" / "biden_0002.png")
    return home


@pytest.fixture(scope="module")
def process(home, model_store):
    """Runs `facesearch evaluate` as a process of its own."""
    tool = Tool(home, model_store.root)
    tool.env["XDG_CACHE_HOME"] = str(home / "cache")
    return lambda *args, **more: tool.run("evaluate", *args, **more)


@pytest.fixture(scope="module")
def first(process, home):
    """The first run of all, which is watched, with what it wrote."""
    done = process("people", "--model", "sface", "--json", "--out", "report", env={"SPY_LOG": home / "log"})
    assert done.status == 0, done
    return done


@pytest.fixture
def evaluate(ask, home, model_store, monkeypatch):
    """Evaluates in this process, by sface unless another is named; the vectors are kept between tests."""
    monkeypatch.setenv("FACESEARCH_MODEL", "sface")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return lambda *args: ask("evaluate", *args)


@pytest.fixture
def people(home):
    return home / "people"


def test_json_has_all_figures_and_begins_with_the_accuracy(first):
    told = json.loads(first.out)
    assert list(told) == ["schema", "dataset", "models"]
    dataset = told["dataset"]
    assert dataset["protocol"] == "all pairs, balanced, 3 folds of people"
    assert (dataset["photos"], dataset["people"], dataset["missing"]) == (PHOTOS, 4, [])
    assert (dataset["same_pairs"], dataset["different_pairs"]) == PAIRS
    assert dataset["remarks"] == ["People with one photo, who are only strangers to the others: 1 of 4."]

    assert list(told["models"]) == ["sface"]
    figures = told["models"]["sface"]
    assert next(iter(figures)) == "accuracy"
    assert (figures["accuracy"], figures["auc"], figures["eer"]) == (1.0, 1.0, 0.0)
    assert (figures["rank1"], figures["rank5"], figures["map"], figures["queries"]) == (1.0, 1.0, 1.0, 7)
    assert figures["folds"] == pytest.approx([1.0] * 3)
    assert figures["intervals"]["accuracy"] == [1.0, 1.0]
    assert set(figures["tar_at_far"].values()) == {None}  # too few strangers for any of them
    assert 0.2 < figures["threshold"] < 0.9
    assert (figures["metric"], figures["identity"]) == ("cosine", True)
    assert (figures["no_face"], figures["unreadable"], figures["missed_pairs"]) == (0, [], 0)
    assert figures["without_missed_faces"]["accuracy"] == 1.0


def test_json_holds_nothing_that_json_does_not_know(first):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(first.out, parse_constant=refuse)


def test_the_files_are_pictures_and_the_same_report(first, home):
    names = ["roc.png", "distances.png", "cmc.png", "reliability.png", "mistakes-sface.png"]
    names += ["report.json", "report.html"]
    assert sorted(os.listdir(home / "report")) == sorted(names)
    assert first.err.splitlines()[-1] == f"In report: {', '.join(names)}"
    assert (home / "report" / "report.json").read_bytes() == first.out
    for name in names[:-2]:
        with Image.open(home / "report" / name) as picture:
            assert picture.format == "PNG"
            assert 300 < picture.width < 4000
            assert 30 < picture.height < 4000
            picture.load()


def test_the_page_holds_figures_pictures_and_settings(first, home):
    page = Page((home / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.text.startswith(
        f"sface on people Photos {PHOTOS} of 4 people Pairs {PAIRS[0]} of one person, {PAIRS[1]} of two"
    )
    assert "People with one photo, who are only strangers to the others: 1 of 4." in page.text
    assert "one person or two? accuracy 100.0 % (100.0 to 100.0) missed faces left out 100.0 %" in page.text
    assert "TAR at FAR 0.1 % too few pairs" in page.text
    held = [base64.b64decode(attrs["src"].partition(",")[2]) for attrs in page.of("img")]
    for name in ("roc.png", "distances.png", "cmc.png", "reliability.png", "mistakes-sface.png"):
        assert (home / "report" / name).read_bytes() in held
    assert len(held) == 5
    assert "Settings DIR people --model sface --out report --runtime openvino" in page.text


def test_the_page_of_people_with_hostile_names_and_too_few_of_them(evaluate, people, tmp_path):
    folder = tmp_path / "<script>x(1)<"
    for name in ("biden", "curie"):
        shutil.copytree(people / name, folder / name)
    done = evaluate(folder, "--model", "sface", "--model", "resnet50", "--out", "out")
    assert done.status == 0
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "sface and resnet50 on <script>x(1)<" in page.text
    assert "There is no accuracy" in page.text
    assert "resnet50 measures how alike pictures of faces look" in page.text
    assert "accuracy - -" in page.text


def test_tensorflow_is_not_loaded_and_nothing_is_sent(first, home):
    events = [json.loads(line)[1:] for line in (home / "log").read_text().splitlines()]
    imported = {name.partition(".")[0] for event, name in events if event == "import"}
    assert {"click", "numpy", "openvino", "sklearn", "matplotlib"} <= imported
    assert imported & {"tensorflow", "keras", "openvino_telemetry", "requests"} == set()
    assert [event for event, _ in events if event.startswith("socket.")] == []


def test_the_table_and_a_second_run_that_says_nothing(first, process):
    done = process("people", "--model", "sface", "-q")
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0] == f"{PHOTOS} photos of 4 people in people: all pairs, balanced, 3 folds of people"
    assert lines[1:4] == ["", "                           sface", "one person or two?"]
    rows = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines[4:] if line.startswith("  "))
    assert rows["accuracy"] == "100.0 % (100.0 to 100.0)"
    assert rows["ROC AUC"] == "1.0000"
    assert rows["TAR at FAR 0.1 %"] == "too few pairs"
    assert rows["rank-1"] == "100.0 % (100.0 to 100.0)"
    assert rows["best threshold"].endswith(" (cosine)")
    assert (rows["without a face"], rows["unreadable"]) == ("0", "0")
    assert done.out.endswith(b"\n")


def test_ctrl_c_ends_it_without_figures_and_keeps_what_was_done(home, process, evaluate):
    """The photos that were not reached are not those that cannot be read."""
    shutil.copytree(home / "people", home / "again")
    spy = {"SPY_AT": "open curie_0002.png", "SPY_SIGNAL": int(signal.SIGINT)}
    done = process("again", "--model", "sface", env=spy)
    assert done.status in (130, -signal.SIGINT), done
    assert done.out == b""
    assert done.err.splitlines()[-1] == "Interrupted."
    assert json.loads(evaluate(home / "again", "--json").out)["models"]["sface"]["accuracy"] == 1.0


def test_two_models_stand_beside_each_other(evaluate, people):
    done = evaluate(people, "--model", "sface", "--model", "resnet50", "--model", "sface")
    assert done.status == 0
    lines = done.text.splitlines()
    assert lines[2].split() == ["sface", "resnet50"]
    column = lines[2].index("resnet50")
    for line in lines[4:]:
        if line.startswith("  "):
            assert line[column - 2 : column] == "  "
            assert line[column:].strip()
    told = json.loads(evaluate(people, "--model", "sface", "--model", "resnet50", "--json", "-q").out)[
        "models"
    ]
    assert list(told) == ["sface", "resnet50"]
    assert told["sface"]["accuracy"] == 1.0 >= told["resnet50"]["accuracy"]


def test_ctrl_c_in_a_later_model_keeps_the_figures_of_an_earlier_one(evaluate, people, monkeypatch):
    from facesearch.evaluate import evaluation

    whole = evaluation.evaluate

    def interrupted(dataset, model, *args, **more):
        if model.name == "resnet50":
            raise KeyboardInterrupt
        return whole(dataset, model, *args, **more)

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    done = evaluate(people, "--model", "sface", "--model", "resnet50", "--json")
    assert done.status == 130
    assert list(json.loads(done.text)["models"]) == ["sface"]


def test_a_closed_stdout_does_not_cost_the_files(process, home, tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = process(
            home / "people", "--model", "sface", "--json", "-q", "--out", tmp_path / "out", stdout=closed
        )
    assert done.status == 0
    assert (tmp_path / "out" / "report.json").is_file()
    assert (tmp_path / "out" / "roc.png").is_file()


def test_the_other_metric(evaluate, people):
    told = json.loads(evaluate(people, "--metric", "euclidean", "--json").out)["models"]["sface"]
    assert (told["metric"], told["accuracy"]) == ("euclidean", 1.0)
    assert told["threshold"] > 2


@pytest.mark.parametrize("order", [["nothing", "sface"], ["sface", "nothing"]])
def test_a_model_that_is_not_there_does_not_lose_the_figures_of_another(evaluate, people, order, tmp_path):
    options = [part for name in order for part in ("--model", name)]
    done = evaluate(people, *options, "--json", "-q", "--out", tmp_path / "report")
    assert done.status == 2
    assert list(json.loads(done.out)["models"]) == ["sface"]
    (line,) = done.err.splitlines()
    assert line.startswith("facesearch: nothing: There is no model 'nothing'. There are ")
    assert (tmp_path / "report" / "mistakes-sface.png").exists()


def test_each_source_that_failed_is_on_a_line_of_its_own(evaluate, people, monkeypatch):
    def fail(*about):
        raise FetchFailed("It could not be fetched:\n  here: \x1b[31mgone\n  there: gone", "Get it by hand.")

    monkeypatch.setattr("facesearch.cli.evaluate._measured", fail)
    done = evaluate(people, "-q")
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines() == [
        "facesearch: sface: It could not be fetched:",
        "  here: \\x1b[31mgone",
        "  there: gone Get it by hand.",
    ]


LINES = ["2 1", "obama 1 2", "obama 2 barkla 1", "biden 1 2", "biden 2 curie 1"]


def test_pairs_of_a_file_beside_the_photos(evaluate, people):
    (people / "pairs.txt").write_text("\n".join(LINES))
    done = evaluate("--pairs", people / "pairs.txt", "--json")
    assert (done.status, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["dataset"]["folder"] == str(people)
    assert told["dataset"]["protocol"] == "4 pairs of pairs.txt, 2 folds"
    assert (told["dataset"]["same_pairs"], told["dataset"]["different_pairs"]) == (2, 2)
    assert told["models"]["sface"]["accuracy"] == 1.0
    assert told["models"]["sface"]["folds"] == [1.0, 1.0]


def test_photos_of_a_list_that_are_missing_are_left_out_said_and_status_2(evaluate, people, tmp_path):
    (tmp_path / "pairs.txt").write_text("\n".join([*LINES[:4], "biden 2 nobody 7"]))
    done = evaluate(people, "--pairs", tmp_path / "pairs.txt", "--json")
    assert done.status == 2
    told = json.loads(done.out)
    assert told["dataset"]["missing"] == [{"path": f"{people}/nobody/nobody_0007.jpg"}]
    assert told["dataset"]["same_pairs"] == 2
    (note,) = [line for line in done.err.splitlines() if "not there" in line]
    assert note.startswith("Note: Photos that are not there: 1, the first '")
    assert note.endswith("Pairs that were left out for that: 1 of 4.")


def test_two_people_are_too_few_for_an_accuracy_and_that_is_said(evaluate, people, tmp_path):
    for name in ("curie", "biden"):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).symlink_to(people / name)
    done = evaluate(tmp_path / "two")
    assert done.status == 0
    assert re.search(r"^  accuracy +-$", done.text, re.MULTILINE)
    assert re.search(r"^  ROC AUC +1.0000$", done.text, re.MULTILINE)
    (note,) = done.err.splitlines()
    assert note.startswith("Note: There is no accuracy: ")
    assert note.endswith("Three people with two photos or more of each are enough.")
    quiet = evaluate(tmp_path / "two", "-q", "--json")
    assert quiet.err == ""
    assert json.loads(quiet.out)["models"]["sface"]["accuracy"] is None


@pytest.fixture
def odd(people, tmp_path):
    """People in a folder of an odd name, with a photo that cannot be read and one without a face."""
    odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\x1b[31m\xff\npeople"))
    shutil.copytree(people, odd)
    shutil.copy(LIBRARY / "coffee.png", os.path.join(odd, "biden"))
    with open(os.path.join(odd, "curie", os.fsdecode(b"no\npicture\xe9.jpg")), "w") as file:
        file.write("no picture")
    return odd


def test_photos_without_a_face_or_that_cannot_be_read_count_as_missed(evaluate, odd):
    done = evaluate(odd, "--json")
    assert done.status == 0
    told = json.loads(done.out)
    figures = told["models"]["sface"]
    assert (figures["no_face"], len(figures["unreadable"])) == (1, 1)
    # Of 9 pairs of one person 4 are missed, of 36 of strangers 13.
    assert (told["dataset"]["same_pairs"], told["dataset"]["different_pairs"]) == (9, 36)
    assert figures["missed_pairs"] == 17
    assert figures["accuracy"] == pytest.approx((5 / 9 + 23 / 36) / 2)
    assert figures["without_missed_faces"]["accuracy"] == 1.0
    (note,) = [line for line in done.err.splitlines() if "cannot be read" in line]
    assert note.startswith("Note: Photos that cannot be read and count as missed: 1, the first '")


def test_names_of_any_bytes_are_data(evaluate, odd):
    done = evaluate(odd)
    assert done.text.splitlines()[0].startswith("10 photos of 4 people in \\x1b[31m\\xff\\npeople: all pairs")
    assert done.text.splitlines()[2].strip() == "sface"
    assert "\x1b" not in done.text + done.err
    told = json.loads(evaluate(odd, "--json", "-q").out)
    assert base64.b64decode(told["dataset"]["folder_bytes"]) == os.fsencode(odd)
    (unreadable,) = told["models"]["sface"]["unreadable"]
    assert base64.b64decode(unreadable["path_bytes"]).endswith(b"/curie/no\npicture\xe9.jpg")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_face_anywhere_is_status_1(evaluate, tmp_path, form):
    for name in ("anna/1", "anna/2", "bo/1"):
        (tmp_path / "mugs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(LIBRARY / "coffee.png", tmp_path / "mugs" / f"{name}.png")
    done = evaluate(tmp_path / "mugs", "-q", *form)
    assert (done.status, done.out) == (1, b"")
    assert done.err.startswith(
        f"facesearch: sface: No face was found in any of the 3 photos of '{tmp_path}/mugs'."
    )
    assert "Look at some of them" in done.err


@pytest.fixture
def wrong(tmp_path, people):
    """Everything that could be named and is not what it should be."""
    for name in ("empty", "loose", "one/anna"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(OBAMA, tmp_path / "loose")
    shutil.copy(OBAMA, tmp_path / "one" / "anna" / "1.jpg")
    shutil.copy(OBAMA, tmp_path / "one" / "anna" / "2.jpg")
    (tmp_path / "people").symlink_to(people)
    (tmp_path / "text.txt").write_text("no pairs")
    (tmp_path / "short.txt").write_text("\n".join(LINES[:-1]))
    (tmp_path / "climbing.txt").write_text("1\n.. 1 2\nobama 2 barkla 1")
    (tmp_path / "strangers.txt").write_text("1\nnobody 1 2\nnobody 1 noone 3")


@pytest.mark.parametrize(
    ("args", "said", "step"),
    [
        ([], "Name a folder of people, or --pairs FILE.", "--help"),
        (["nowhere"], "'{}/nowhere' cannot be read: No such file", "Name a folder of people."),
        (["text.txt"], "'{}/text.txt' is no folder.", "Name a folder in which"),
        (["empty"], "'{}/empty' holds no photos.", "Give each person a folder of their own"),
        (["loose"], "holds photos and no folder of a person.", "Give each person a folder of their own"),
        (["one"], "holds the photos of one person only: 'anna'.", "Add people"),
        (["people", "--pairs", "nowhere.txt"], "'nowhere.txt' cannot be read: No such", "Name another"),
        (["people", "--pairs", "empty"], "'empty' cannot be read: Is a directory", "Name another"),
        (
            ["people", "--pairs", "text.txt"],
            "'text.txt' is not a pairs file",
            "It starts with a line such as",
        ),
        (["people", "--pairs", "short.txt"], "that is 4 lines, and holds 3.", "Mend its first line"),
        (
            ["people", "--pairs", "climbing.txt"],
            "Line 2 of 'climbing.txt' is not a pair: '.. 1 2'.",
            "A pair is",
        ),
        (["people", "--pairs", "strangers.txt"], "names none is there, such as", "before --pairs."),
        (["--pairs", "strangers.txt"], "do not lie beside it.", "evaluate DIR --pairs FILE"),
        (["people", "--model", "yunet"], "yunet is a detector", "Use it as --detector yunet."),
        (["people", "--model", "\x1b[31m\n"], "cannot be a model's name.", "Use letters"),
        (["people", "--model", ""], "'' cannot be a model's name.", "Use letters"),
        (["people", "--metric", "manhattan"], "'manhattan' is not one of 'cosine', 'euclidean'", "--help"),
        ([""], "An empty name names no file.", "--help"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_a_step_and_status_2(evaluate, wrong, tmp_path, args, said, step):
    done = evaluate(*args)
    assert (done.status, done.out) == (2, b"")
    assert said.format(tmp_path) in done.err
    assert step in done.err
    assert "\x1b" not in done.err


def test_a_place_that_cannot_be_a_folder_is_said_before_the_work(evaluate, people, tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = evaluate(people, "--out", tmp_path / "taken", "--json", "-q")
    assert (done.status, done.out) == (2, b"")
    assert f"'{tmp_path}/taken' cannot be written" in done.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_files_that_cannot_be_written_still_leave_the_figures(evaluate, people, tmp_path):
    (tmp_path / "out" / "roc.png").mkdir(parents=True)
    done = evaluate(people, "--out", tmp_path / "out", "--json", "-q")
    assert done.status == 2
    assert json.loads(done.out)["models"]["sface"]["accuracy"] == 1.0
    assert "roc.png' cannot be written" in done.err


@pytest.fixture
def own_store(model_store, tmp_path, monkeypatch):
    """A store that a test may change."""

    def link(source, destination):
        try:
            os.link(source, destination)
        except OSError:
            shutil.copy(source, destination)

    root = tmp_path / "models"
    for name in ("sface", "yunet"):
        shutil.copytree(model_store.path(name), root / name, copy_function=link)
        (root / name / "card.json").unlink()  # which may be the other store's own file
        shutil.copy(model_store.path(name) / "card.json", root / name)
    return ModelStore(root)


def test_calibrate_puts_these_people_into_the_models_card(
    ask, evaluate, own_store, model_store, people, monkeypatch
):
    theirs = (model_store.path("sface") / "card.json").read_bytes()
    monkeypatch.setenv("FACESEARCH_MODELS", str(own_store.root))

    def probabilities():
        return [float(row[3]) for row in ask("query", OBAMA, "--index", "i.npz", "--top", 9).rows]

    def card():
        (listed,) = [
            one for one in json.loads(ask("models", "list", "--json").out)["models"] if one["name"] == "sface"
        ]
        return listed["card"]["calibration"]

    assert ask("index", people, "--index", "i.npz", "--model", "sface").status == 0
    before = probabilities()
    assert not card()["cosine"]["own"]

    done = evaluate(people, "--calibrate", "--json")
    assert done.status == 0
    told = json.loads(done.out)["models"]["sface"]
    assert "The card of sface holds the threshold and probabilities of these photos now." in done.err
    for metric in ("cosine", "euclidean"):
        assert card()[metric]["own"]
        assert card()[metric]["data"] == "4 people in people: all pairs, balanced, 3 folds of people"
    assert card()["cosine"]["threshold"] == told["threshold"]

    after = probabilities()
    assert len(after) == len(before) == PHOTOS
    assert after != before
    assert after == sorted(after, reverse=True)
    assert min(after[:3]) > 0.5 > max(after[3:])
    again = json.loads(evaluate(people, "--json").out)["models"]["sface"]
    assert again["threshold_of_card"] == told["threshold"]
    assert (model_store.path("sface") / "card.json").read_bytes() == theirs


def test_what_cannot_calibrate_still_has_figures(evaluate, own_store, people, tmp_path, monkeypatch):
    """Every person's photos are strangers'."""
    monkeypatch.setenv("FACESEARCH_MODELS", str(own_store.root))
    for place, name in enumerate(("anna", "bo", "cy")):
        (tmp_path / "mixed" / name).mkdir(parents=True)
        for number, one in enumerate(
            ("obama/obama_0001.jpg", "curie/curie_0001.jpg", "biden/biden_0001.jpg")
        ):
            (tmp_path / "mixed" / name / f"{number}.jpg").write_bytes(altered(people / one, 80 * place))
    done = evaluate(tmp_path / "mixed", "--calibrate", "--json", "-q")
    assert done.status == 2
    assert json.loads(done.out)["models"]["sface"]["rank1"] == 0.0
    (line,) = done.err.splitlines()
    assert line.startswith("facesearch: sface: The distances tell nothing: ")
    assert not card_of("sface", own_store).calibration["cosine"].own
