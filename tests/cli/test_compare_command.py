"""`facesearch compare`: figures of two faces and of more, in every form, and what goes wrong."""

import base64
import csv
import io
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA

from facesearch.embed import card_of
from facesearch.models.calibration import Calibration
from facesearch.models.store import ModelStore

HIM, AGAIN = LIBRARY / "obama_2009.jpg", LIBRARY / "obama_2010.jpg"
BIDEN, SOLVAY = LIBRARY / "biden.jpg", LIBRARY / "solvay_1927.jpg"
COFFEE = LIBRARY / "coffee.png"
COLUMNS = ["a", "b", "face_a", "face_b", "distance", "similarity", "probability", "verdict"]
DATA = "6,000 pairs of faces"
MEASURED = Calibration(0.6, 16.0, 9.6, ((0.001, 0.5), (0.1, 0.7), (1.0, 1.5)), DATA, "2026-11-22")
LOOKS = "measures how alike"


@pytest.fixture(scope="session")
def measured_store(tmp_path_factory, model_store):
    """A store of models whose cosine distances were measured: people, and alike, which knows looks only."""
    store = ModelStore(tmp_path_factory.mktemp("measured"))
    for name, source in (("people", "sface"), ("alike", "sface"), ("yunet", "yunet")):
        shutil.copytree(model_store.path(source), store.path(name), copy_function=_link)
        if name != "yunet":
            card = replace(
                model_store.card(source),
                name=name,
                identity=name == "people",
                calibration={"cosine": MEASURED},
            )
            file = store.path(name) / "card.json"
            file.unlink()  # which may be the other store's own file
            file.write_text(card.to_json())
    return store


def _link(source, destination):
    """Spare the disk where both stores are on one."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy(source, destination)


@pytest.fixture
def compare(ask, monkeypatch, measured_store):
    """Compares in this process, by the model `people` unless another is named."""
    monkeypatch.setenv("FACESEARCH_MODELS", str(measured_store.root))
    monkeypatch.setenv("FACESEARCH_MODEL", "people")
    return lambda *args: ask("compare", *args)


def figures(done):
    """Return the text of two faces as names and values."""
    return dict(re.split(r" +", line, maxsplit=1) for line in done.text.splitlines())


def records(done):
    return list(csv.DictReader(io.StringIO(done.text, newline="")))


def test_two_photos_of_one_man(compare):
    done = compare(OBAMA, HIM)
    assert (done.status, done.err) == (0, "")
    assert [line.split()[0] for line in done.text.splitlines()] == [
        "A", "B", "distance", "similarity", "probability", "verdict", "threshold",
    ]  # fmt: skip
    assert len({re.match(r"\S+ +", line).end() for line in done.text.splitlines()}) == 1  # aligned
    told = figures(done)
    assert (told["A"], told["B"]) == (str(OBAMA), str(HIM))
    distance = float(told["distance"].removesuffix("  (cosine)"))
    assert 0 < distance < 0.5
    assert float(told["similarity"]) == pytest.approx(1 - distance, abs=2e-4)
    assert float(told["probability"].split(" %")[0]) == pytest.approx(
        100 * MEASURED.probability(distance), abs=0.1
    )
    assert told["verdict"] == "same person"
    assert told["threshold"] == f"0.6000  (measured on {DATA}, 2026-11-22)"


def test_two_people(compare):
    told = figures(compare(OBAMA, BIDEN))
    assert told["verdict"] == "different people"
    assert float(told["probability"].split(" %")[0]) < 20


@pytest.mark.slow
def test_no_probability_is_a_certainty(compare):
    assert figures(compare(OBAMA, OBAMA))["probability"].startswith(">99.9 %  that both are one person")
    assert figures(compare(OBAMA, LIBRARY / "charles_barkla.jpg"))["probability"].startswith("<0.1 %")


def test_a_model_of_looks_gives_distances_and_no_verdict(ask):
    done = ask("compare", OBAMA, HIM, "--model", "resnet50")
    assert done.status == 2
    assert len(done.err.splitlines()) == 2
    assert f"resnet50 {LOOKS}" in done.err
    assert "--model sface" in done.err
    told = figures(done)
    assert float(told["distance"].split()[0]) == pytest.approx(1 - float(told["similarity"]), abs=1e-4)
    assert not told.keys() & {"probability", "threshold"}
    assert told["verdict"] == "none: resnet50 was not measured on pairs of people by cosine distance"


def test_a_model_of_looks_that_was_measured_on_people_gives_verdicts(compare):
    near, far = compare(OBAMA, HIM, "--model", "alike"), compare(OBAMA, BIDEN, "--model", "alike")
    assert (figures(near)["verdict"], figures(far)["verdict"]) == ("same person", "different people")
    assert (near.status, far.status) == (0, 0)
    assert LOOKS in near.err


@pytest.mark.slow
def test_another_metric_than_was_measured(compare):
    told = figures(compare(OBAMA, HIM, "--metric", "euclidean"))
    assert float(told["distance"].removesuffix("  (euclidean)")) > 2
    cosine = figures(compare(OBAMA, HIM))
    assert told["similarity"] == cosine["similarity"]
    assert not told.keys() & {"probability", "threshold"}
    assert told["verdict"].endswith("by euclidean distance")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_sface_tells_one_man_from_two(ask, model_store, metric):
    done = ask("compare", OBAMA, HIM, BIDEN, "--model", "sface", "--metric", metric, "--json")
    assert (done.status, done.err) == (0, "")
    told = json.loads(done.out)
    calibration = card_of("sface", model_store).calibration[metric]
    one, two, also_two = told["pairs"]
    assert (told["model"], told["metric"]) == ("sface", metric)
    assert told["threshold"] == calibration.threshold
    assert one["distance"] < two["distance"]
    for pair in told["pairs"]:
        assert pair["probability"] == calibration.probability(pair["distance"])
    assert one["probability"] > 0.9
    assert also_two["probability"] < 0.1
    assert [pair["verdict"] for pair in told["pairs"]] == ["same person"] + ["different people"] * 2


@pytest.mark.slow
def test_the_default_model_is_resnet50_and_the_environment_names_another(ask, monkeypatch):
    assert json.loads(ask("compare", OBAMA, OBAMA, "--json").out)["model"] == "resnet50"
    monkeypatch.setenv("FACESEARCH_MODEL", "sface")
    assert json.loads(ask("compare", OBAMA, OBAMA, "--json").out)["model"] == "sface"


def test_more_photos_are_a_matrix_and_the_nearest_pairs(compare):
    done = compare(OBAMA, CURIE, HIM, BIDEN)
    assert done.status == 0
    head, *rows = done.text.split("\n\n")[0].splitlines()[1:]
    assert head.split() == ["1", "2", "3", "4"]
    assert [row.split()[1] for row in rows] == [
        "obama.jpg",
        "marie_curie.jpg",
        "obama_2009.jpg",
        "biden.jpg",
    ]
    matrix = [row.split()[2:] for row in rows]
    assert [matrix[place][place] for place in range(4)] == ["-"] * 4
    assert [list(column) for column in zip(*matrix, strict=True)] == matrix
    nearest = done.text.split("nearest pairs\n")[1].split("\n\n")[0].splitlines()
    assert len(nearest) == 6
    assert re.fullmatch(r"0\.\d{4}  +[>\d.]+ %  same person       1 obama.jpg  +3 obama_2009.jpg", nearest[0])
    assert all("different people" in line for line in nearest[1:])
    distances = [float(line.split()[0]) for line in nearest]
    assert distances == sorted(distances)
    assert f"measured on {DATA}, 2026-11-22" in done.text.splitlines()[-1]


@pytest.mark.slow
def test_the_matrix_keeps_to_the_width_of_the_terminal(compare, monkeypatch):
    every = sorted(path for path in LIBRARY.iterdir() if path.suffix == ".jpg" and path.stem != "rocket")
    lines = {}
    for width in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        text = compare(*every, OBAMA, CURIE).text
        lines[width] = text.split("\nnearest pairs\n")[0].splitlines()
        assert max(map(len, lines[width])) <= width
        numbers = [int(number) for line in lines[width] if line[:9].isspace() for number in line.split()]
        assert numbers == list(range(1, len(every) + 3))
        pairs = text.split("nearest pairs\n")[1].split("\n\n")[0].splitlines()
        assert len(pairs) == 11
        assert pairs[-1] == "and 35 more pairs: --format csv has them all"
        if width >= 80:
            assert max(map(len, pairs)) <= width
    assert len(lines[40]) > len(lines[80]) >= len(lines[200])
    assert "dmitri_mendeleev.jpg" in "\n".join(lines[200])
    assert "…" in "\n".join(lines[40])


@pytest.mark.slow
def test_names_that_are_the_same_are_told_apart(compare, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(OBAMA, tmp_path / folder / "x.jpg")
    done = compare("one/x.jpg", "two/x.jpg", "one/x.jpg")
    assert [line.split()[1] for line in done.text.splitlines()[2:5]] == [
        "one/x.jpg",
        "two/x.jpg",
        "one/x.jpg",
    ]
    assert [line.split()[0] for line in done.text.splitlines()[2:5]] == ["1", "2", "3"]


@pytest.mark.slow
def test_csv_is_one_record_a_pair(compare):
    done = compare(OBAMA, HIM, BIDEN, "--format", "csv")
    assert done.text.splitlines()[0].split(",") == COLUMNS
    rows = records(done)
    assert [(row["a"], row["b"]) for row in rows] == [
        (str(OBAMA), str(HIM)),
        (str(OBAMA), str(BIDEN)),
        (str(HIM), str(BIDEN)),
    ]
    assert {(row["face_a"], row["face_b"]) for row in rows} == {("1", "1")}
    for row in rows:
        distance = float(row["distance"])
        assert float(row["similarity"]) == pytest.approx(1 - distance, abs=2e-6)
        assert float(row["probability"]) == pytest.approx(MEASURED.probability(distance), abs=1e-4)
    assert [row["verdict"] for row in rows] == ["same person", "different people", "different people"]
    (row,) = records(compare(OBAMA, HIM, "--format", "csv", "--metric", "euclidean"))
    assert float(row["similarity"]) == pytest.approx(float(rows[0]["similarity"]), abs=1e-6)
    assert (row["probability"], row["verdict"]) == ("", "")


@pytest.mark.slow
def test_json_has_all_of_it(compare):
    done = compare(OBAMA, COFFEE, HIM, BIDEN, "--json")
    assert done.out == compare(OBAMA, COFFEE, HIM, BIDEN, "--format", "json").out
    told = json.loads(done.out)
    assert list(told) == [
        "schema", "model", "metric", "threshold", "photos", "pairs", "matrix", "problems",
    ]  # fmt: skip
    assert (told["schema"], told["model"], told["metric"], told["threshold"]) == (2, "people", "cosine", 0.6)
    assert [photo["path"] for photo in told["photos"]] == [str(OBAMA), str(HIM), str(BIDEN)]
    assert [list(photo) for photo in told["photos"]] == [["path", "face", "box"]] * 3
    assert told["photos"][0]["face"] == 1
    assert set(told["photos"][0]["box"]) == {"x", "y", "w", "h"}
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    for pair in told["pairs"]:
        assert list(pair) == ["a", "b", "distance", "similarity", "probability", "verdict"]
        assert (
            pair["distance"] == told["matrix"][pair["a"]][pair["b"]] == told["matrix"][pair["b"]][pair["a"]]
        )
        assert pair["probability"] == MEASURED.probability(pair["distance"])
    assert [told["matrix"][place][place] for place in range(3)] == [0.0] * 3
    (problem,) = told["problems"]
    assert problem["path"] == str(COFFEE)
    assert "No face was found" in problem["message"]
    assert "--rotations" in problem["hint"]


@pytest.mark.slow
def test_the_face_of_each_photo_that_is_named(compare):
    second, third = (json.loads(compare(SOLVAY, SOLVAY, "--face", n, "--json").out) for n in (2, 3))
    assert [photo["face"] for photo in second["photos"]] == [2, 2]
    assert second["photos"][0]["box"] != third["photos"][0]["box"]
    assert second["pairs"][0]["distance"] == pytest.approx(0, abs=1e-6)
    assert figures(compare(SOLVAY, SOLVAY, "--face", 2))["B"] == f"{SOLVAY} (face 2)"
    out = compare(SOLVAY, OBAMA, SOLVAY, SOLVAY, "--face", 2)
    assert "1 solvay_1927.jpg (face 2)" in out.text
    assert (out.status, out.err.count("There is no face number 2.")) == (0, 1)


def test_a_face_that_no_photo_has(compare):
    done = compare(OBAMA, HIM, "--face", 7)
    assert (done.status, done.out) == (1, b"")
    assert done.err.count("There is no face number 7.") == 2
    assert "Leave out --face" in done.err
    assert done.err.endswith("A comparison takes two faces, and none was found.\n")


def test_whole_takes_the_photos_for_the_faces(compare):
    told = json.loads(compare(OBAMA, COFFEE, "--whole", "--json").out)
    assert [photo["box"]["x"] for photo in told["photos"]] == [0, 0]
    assert told["problems"] == []


@pytest.mark.slow
def test_photos_that_lie_on_their_side(compare, tmp_path):
    Image.open(OBAMA).convert("RGB").rotate(90, expand=True).save(tmp_path / "turned.png")
    for asked in ([], ["--rotations"]):
        done = compare("turned.png", HIM, *asked)
        assert done.status == 0
        assert figures(done)["verdict"] == "same person"


def test_fewer_than_two_faces_is_status_1(compare):
    done = compare(OBAMA, COFFEE)
    assert (done.status, done.out) == (1, b"")
    assert "coffee.png: No face was found. Try --rotations" in done.err
    assert done.err.endswith("A comparison takes two faces, and 1 was found.\n")
    quiet = compare(OBAMA, COFFEE, "-q", "--format", "csv", "--sheet", "sheet.png")
    assert quiet.text == ",".join(COLUMNS) + "\n"
    assert len(quiet.err.splitlines()) == 1
    assert not os.path.exists("sheet.png")
    assert json.loads(compare(OBAMA, COFFEE, "--json").out)["pairs"] == []


def test_a_photo_without_a_face_is_no_error_as_long_as_two_have_one(compare):
    done = compare(OBAMA, COFFEE, HIM)
    assert done.status == 0
    assert figures(done)["verdict"] == "same person"
    assert "No face was found" in done.err


def test_what_cannot_be_read_is_status_2_and_the_others_are_compared(compare, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    done = compare("missing.jpg", OBAMA, "text.jpg", tmp_path, HIM)
    assert done.status == 2
    assert figures(done)["verdict"] == "same person"
    said = done.err.splitlines()
    assert len(said) == 3
    assert "missing.jpg: It cannot be read (No such file" in said[0]
    assert "not a picture" in said[1]
    assert "Name the photos in it." in said[2]
    assert compare("missing.jpg", OBAMA).status == 2


@pytest.mark.slow
def test_verbose_says_which_faces_were_compared(compare):
    done = compare(OBAMA, HIM, "-v", "--json")
    boxes = [photo["box"] for photo in json.loads(done.out)["photos"]]
    assert done.err.splitlines() == [
        "{}: face 1 compared, at {x},{y} of {w}x{h} pixels".format(path, **box)
        for path, box in zip((OBAMA, HIM), boxes, strict=True)
    ]
    assert compare(OBAMA, HIM, "-v", "-q").err == ""


@pytest.mark.slow
def test_names_of_any_bytes(tool, measured_store, tmp_path):
    names = [b"two\nlines\xff.jpg", b"\x1b[31m-\xe9.jpg", b"-dash.jpg", b"-"]
    for name in names:
        shutil.copy(os.fsencode(OBAMA), os.path.join(os.fsencode(tmp_path), name))
    env = {"FACESEARCH_MODELS": measured_store.root}

    def run(*args):
        done = tool.run("compare", "--model", "people", *args, env=env)
        assert (done.status, done.err) == (0, "")
        return done

    folder = os.fsencode(tmp_path) + b"/"
    two = run(*names[:2])
    assert two.text.splitlines()[:2] == [
        f"A            {tmp_path}/two\\nlines\\xff.jpg",
        f"B            {tmp_path}/\\x1b[31m-\\xe9.jpg",
    ]
    many = run("--", *names)
    assert b"\x1b" not in many.out
    assert "1 two\\nlines\\xff.jpg" in many.text
    assert [line.split()[1] for line in many.text.splitlines()[4:6]] == ["-dash.jpg", "-"]
    rows = records(run("--format", "csv", "--", *names))
    assert [os.fsencode(row["b"]) for row in rows[:3]] == [folder + name for name in names[1:]]
    photos = json.loads(run("--json", "--", *names).out)["photos"]
    raw = [base64.b64decode(p["path_bytes"]) if "path_bytes" in p else p["path"].encode() for p in photos]
    assert raw == [folder + name for name in names]


def test_problems_with_names_of_any_bytes(compare, tmp_path):
    done = compare(b"gone\n\x1b[31m\xff.jpg", OBAMA, HIM, "--json")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert "gone\\n\\x1b[31m\\xff.jpg: It cannot be read" in done.err
    (problem,) = json.loads(done.out)["problems"]
    assert base64.b64decode(problem["path_bytes"]) == os.fsencode(tmp_path) + b"/gone\n\x1b[31m\xff.jpg"


@pytest.mark.slow
@pytest.mark.parametrize(("option", "end"), [("--files-from", b"\n"), ("--files0-from", b"\0")])
def test_lists_of_photos(compare, tool, measured_store, tmp_path, option, end):
    data = end.join([os.fsencode(HIM), os.fsencode(BIDEN)]) + end
    (tmp_path / "list").write_bytes(data)
    rows = records(compare(OBAMA, option, "list", "--format", "csv"))
    assert [(row["a"], row["b"]) for row in rows][:2] == [(str(OBAMA), str(HIM)), (str(OBAMA), str(BIDEN))]
    done = tool.run(
        "compare", "--model", "people", option, "-", "--format", "csv",
        env={"FACESEARCH_MODELS": measured_store.root}, input=data,
    )  # fmt: skip
    assert [(row["a"], row["b"]) for row in records(done)] == [(str(HIM), str(BIDEN))]


def test_a_list_of_too_few_finds_nothing_and_a_missing_one_is_an_error(compare):
    done = compare("--files-from", os.devnull)
    assert (done.status, done.out) == (1, b"")
    assert "none was found" in done.err
    done = compare(OBAMA, "--files-from", "nowhere.txt")
    assert done.status == 2
    assert "'nowhere.txt' cannot be read" in done.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Name at least two photos"),
        ([OBAMA], "Name at least two photos"),
        ([OBAMA, HIM, "--json", "--format", "csv"], "choose one"),
        ([OBAMA, HIM, "--face", "2", "--whole"], "--face or --whole: choose one"),
        ([OBAMA, HIM, "--face", "0"], "--face"),
        ([OBAMA, HIM, "--metric", "manhattan"], "'cosine', 'euclidean'"),
        ([OBAMA, HIM, "--format", "tsv"], "--format"),
        ([OBAMA, HIM, "--sheet", "out.gif"], ".jpg, .png or .webp"),
        ([OBAMA, HIM, "--index", "i.npz"], "--index"),
        ([OBAMA, ""], "empty name"),
        ([OBAMA, HIM, "--model", "peeple"], "Near to it: people"),
    ],
)
def test_what_makes_no_sense(compare, args, said):
    done = compare(*args)
    assert (done.status, done.out) == (2, b"")
    assert said in done.err


@pytest.mark.slow
def test_the_sheet_is_a_picture_of_the_pairs(compare, tmp_path):
    done = compare(OBAMA, HIM, "--sheet", "two.jpg")
    assert (done.status, done.err) == (0, "")
    assert figures(done)["verdict"] == "same person"
    compare(OBAMA, HIM, BIDEN, CURIE, "--sheet", "six.png", "--json")
    with Image.open(tmp_path / "two.jpg") as two, Image.open(tmp_path / "six.png") as six:
        assert (two.format, six.format) == ("JPEG", "PNG")
        assert two.width > two.height > 400
        assert six.width > two.width
        # One pair is of one man: its rule is green.
        green = (np.abs(np.asarray(six.convert("RGB")).astype(int) - (26, 127, 84)) < 3).all(axis=2)
        assert 0 < green.any(axis=0).sum() < six.width / 2
        assert np.asarray(two).std() > 40  # photos, not an empty page


def test_a_sheet_that_cannot_be_written_still_leaves_the_answer(compare):
    done = compare(OBAMA, HIM, "--sheet", "/nowhere/sheet.jpg")
    assert done.status == 2
    assert figures(done)["verdict"] == "same person"
    assert "/nowhere/sheet.jpg cannot be written" in done.err


def test_the_index_is_not_looked_for(compare, tmp_path):
    """A comparison needs no index, and makes none."""
    compare(OBAMA, HIM)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_pictures_taken_whole_have_no_probability_where_aligned_faces_are_wanted(compare):
    whole = compare(OBAMA, LIBRARY / "obama_2009.jpg", "--whole", "--model", "sface", "--json")
    (pair,) = json.loads(whole.text)["pairs"]
    assert pair["distance"] > 0
    assert (pair["probability"], pair["verdict"]) == (None, None)
    assert "sface wants aligned faces, and --whole takes a picture as it is" in whole.err
