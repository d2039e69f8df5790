"""`facesearch people`, `query --person` and `forget --person` as a user runs them."""

import base64
import json
import os
import shutil
import signal

import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA, SAMPLES, on_a_terminal, without_roots_privileges
from support.fakes import photo as drawn
from support.html_pages import Page
from support.known_people import shows
from support.known_people import write_people as write_known

from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import open_index, people_path
from facesearch.machine import processors
from facesearch.people.register import read_register

SOLVAY = LIBRARY / "solvay_1927.jpg"
BIDEN = LIBRARY / "biden.jpg"
HIS = [LIBRARY / "obama_2009.jpg", LIBRARY / "obama_2010.jpg", OBAMA]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def table(done):
    """Return number, name, photos and faces of each person of a list."""
    assert done.status == 0, done
    return [(int(row[0]), row[1], int(row[2]), int(row[3])) for row in done.rows]


@pytest.mark.slow
def test_the_promise_of_the_readme(tool):
    tool.env["FACESEARCH_INDEX"] = "s.npz"
    assert tool.run("index", LIBRARY, SAMPLES / "queries", "--model", "sface").status == 0
    done = tool.run("people")
    assert table(done) == [(1, "", 3, 3), (2, "", 2, 2)]
    assert done.err == "2 new people, 0 faces joined known people, 34 faces match nobody\n"
    assert {row[4] for row in done.rows} <= {*map(str, HIS), str(CURIE), str(SOLVAY)}
    done = tool.run("people", "name", 1, "Barack Obama")
    assert (done.status, done.out, done.err) == (0, b"", "Person 1 is called Barack Obama now.\n")
    done = tool.run("query", "--person", "barack obama", "--format", "paths")
    assert sorted(done.text.splitlines()) == sorted(map(str, HIS))
    done = tool.run("people", "export", "--to", "by-person", "--link")
    assert (done.status, done.err) == (0, "5 photos linked to 2 folders in by-person\n")
    assert sorted(os.listdir(tool.folder / "by-person")) == ["Barack Obama", "Person 2"]
    done = tool.run("forget", "--person", "Barack Obama")
    assert done.status == 0
    assert done.err.startswith("3 faces in 3 photos forgotten; ")
    assert done.err.endswith(" bytes searched, no trace left\n")
    assert table(tool.run("people", "list")) == [(2, "", 2, 2)]
    assert tool.run("query", "--person", "Barack Obama").status == 2


@pytest.mark.slow
def test_a_terminal_gets_a_table_without_a_names_control_characters(tool, own):
    assert tool.run("people", "name", 2, "Marie\tCurie <b>", "--index", own).status == 0
    status, shown = on_a_terminal(tool, "people", "list", "--index", own)
    assert status == 0
    assert shown == (
        "number  photos  faces  years      name\n"
        "     2       2      2             Marie Curie <b>\n"
        "     1       3      3  2009-2012\n"
    )  # fmt: skip
    status, shown = on_a_terminal(tool, "query", "--person", 2, "--index", own)
    assert status == 0
    assert "\nMarie Curie <b>\n   1  " in f"\n{shown}"


def test_lists_in_the_forms_for_programs(people, own):
    people("name", 1, 'Ada "x" \u00e9')
    rows = people("list").rows
    assert [row[:4] for row in rows] == [["1", 'Ada "x" \u00e9', "3", "3"], ["2", "", "2", "2"]]
    listed = json.loads(people("list", "--json").out)
    assert listed == {
        "schema": 2,
        "people": [
            {
                **{"number": 1, "name": 'Ada "x" \u00e9', "photos": 3, "faces": 3, "path": rows[0][4]},
                **{"first_year": 2009, "last_year": 2012},
            },
            {
                **{"number": 2, "name": "", "photos": 2, "faces": 2, "path": rows[1][4]},
                **{"first_year": None, "last_year": None},
            },
        ],
    }
    again = people("--json")
    assert json.loads(again.out) == listed
    assert again.err == "0 new people, 0 faces joined known people, 34 faces match nobody\n"
    assert people("-q").err == ""


def test_show_gives_the_faces_the_surest_first(people):
    done = people("show", 1)
    assert done.status == 0
    assert sorted(row[2] for row in done.rows) == sorted(map(str, HIS))
    distances = [float(row[0]) for row in done.rows]
    assert distances == sorted(distances)
    assert 0.2 < distances[0] < distances[-1] < 0.6
    shown = json.loads(people("show", 1, "--json").out)
    assert (shown["schema"], shown["number"], shown["photos"], shown["name"]) == (2, 1, 3, "")
    for row, face in zip(done.rows, shown["faces"], strict=True):
        assert row[1:] == [str(face[name]) for name in ("face", "path", "x", "y", "w", "h")]
        assert float(row[0]) == pytest.approx(face["distance"], abs=1e-6)


def test_a_face_is_named_merged_split_and_ignored(people, own):
    assert people("name", BIDEN, "Joe Biden").status == 0
    assert people("name", f"{SOLVAY}#3", "A physicist").status == 0
    assert people("name", BIDEN, "Joe").status == 0  # whose face it is by now
    assert table(people("list")) == [(4, "A physicist", 1, 1), (3, "Joe", 1, 1), (1, "", 3, 3), (2, "", 2, 2)]
    done = people("merge", "joe", 1, "A physicist")
    assert (done.status, done.err.splitlines()[0]) == (2, "facesearch: Joe and A physicist both have a name.")
    assert people("merge", "joe", 1, "A physicist", "--yes").status == 0
    assert table(people("list")) == [(3, "Joe", 5, 5), (2, "", 2, 2)]
    done = people("split", "Joe", *HIS)
    assert (done.status, done.text) == (0, "5\n")
    assert people("split", "Joe", f"{SOLVAY}#3", "--into", 2).out == b""
    assert table(people("list")) == [(3, "Joe", 1, 1), (5, "", 3, 3), (2, "", 2, 3)]
    assert people("ignore", BIDEN).status == 0
    assert table(people("list"))[0] == (3, "Joe", 0, 0)
    assert people().err.startswith("0 new people, 0 faces joined known people, 32 faces match nobody")
    assert people("ignore", BIDEN, "--undo").status == 0
    assert people().err.startswith("0 new people, 0 faces joined known people, 33 faces match nobody")
    show = people("show", "Joe")
    assert (show.status, show.out, show.err) == (1, b"", "Joe is in no photo of this index now.\n")


@pytest.mark.slow
def test_new_photos_join_and_the_query_says_that_they_have_not_yet(ask, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in HIS[:2]:
        shutil.copy2(path, photos)
    index = ["--index", "i.npz"]
    assert ask("index", photos, "--model", "sface", *index).status == 0
    assert table(ask("people", *index)) == [(1, "", 2, 2)]
    assert ask("query", "--person", 1, *index).err == ""
    layout = open_index(tmp_path / "i.npz")
    while open_index(tmp_path / "i.npz").meta.updated == layout.meta.updated:  # which is in seconds
        shutil.copy2(OBAMA, photos / "new.jpg")
        os.utime(photos / "new.jpg")
        assert ask("index", photos, *index).status == 0
    done = ask("query", "--person", 1, *index)
    assert sorted(done.names) == ["obama_2009.jpg", "obama_2010.jpg"]
    assert done.err == "The index has changed since people were grouped: run `facesearch people`.\n"
    assert ask("query", "--person", 1, "-q", *index).err == ""
    assert ask("people", *index).err == "0 new people, 1 face joined known people, 0 faces match nobody\n"
    assert "new.jpg" in ask("query", "--person", 1, *index).names


def test_query_by_person_in_every_form(ask, people, own, tmp_path):
    people("name", 1, "Barack Obama")
    query = lambda *args: ask("query", "--index", own, *args)  # noqa: E731
    done = query("--person", "Barack Obama")
    assert done.status == 0
    assert {row[0] for row in done.rows} == {"Barack Obama"}
    assert [row[1] for row in done.rows] == ["1", "2", "3"]
    assert sorted(row[4] for row in done.rows) == sorted(map(str, HIS))
    assert [row[2] for row in done.rows] == [row[0] for row in people("show", 1).rows]
    assert all(float(row[3]) > 0.99 for row in done.rows)
    assert query("--person", 1, "--top", 2).names == done.names[:2]
    found = json.loads(query("--person", 1, "--json").out)["results"][0]
    assert found["query"] == "Barack Obama"
    assert [match["path"] for match in found["matches"]] == [row[4] for row in done.rows]
    assert found["references"][0]["person"] == "Barack Obama"
    (more,) = json.loads(query("--person", 1, "--json", "--threshold", "0.01").out)["results"]
    assert more["matches"] == []
    assert query("--person", 1, "-0").out == b"".join(os.fsencode(row[4]) + b"\0" for row in done.rows)
    done = query("--person", 1, "--sheet", "s.jpg", "--html", "s.html", "--copy-to", "found")
    assert done.status == 0
    assert Image.open(tmp_path / "s.jpg").size[0] > 100
    assert Page((tmp_path / "s.html").read_text(encoding="utf-8")).classes.count("frame") == 4
    assert sorted(os.listdir(tmp_path / "found")) == sorted(path.name for path in HIS)


def test_photos_with_several_people_or_nobody_else(ask, people, own):
    people("name", f"{SOLVAY}#2", "Neighbour")
    query = lambda *args: ask("query", "--index", own, "--format", "paths", *args)  # noqa: E731
    assert query("--person", 2, "--with", "Neighbour").text == f"{SOLVAY}\n"
    assert query("--with", 2, "--with", "Neighbour").text == f"{SOLVAY}\n"
    assert query("--person", 2, "--only").text == f"{CURIE}\n"
    done = query("--person", 1, "--with", 2)
    assert (done.status, done.out) == (1, b"")
    assert done.err.startswith("No photo matches.")
    assert query("--person", 1, "--with", 2, "-q").err == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([OBAMA, "--person", "1"], "REF or --person: choose one."),
        (["--only"], "--only goes with --person or --with."),
        (["--person", "1", "--face", "2"], "--face goes with REF"),
        (["--person", "1", "--files-from", "-"], "--files-from goes with REF"),
        (["--with", "1", "--together"], "--together goes with REF"),
        (["--person", "1", "--metric", "euclidean"], "leave out --metric"),
        (["--person", "1", "--with", "1"], "Name each person once."),
        (["--person", "7"], "There is no person 7."),
        (["--person", "0"], "There is no person 0."),
        (["--person", "Nobody"], "Nobody is called 'Nobody'."),
        (["--person", "\u00b2"], "Nobody is called"),
    ],
)
def test_questions_that_make_no_sense(ask, samples, args, said):
    done = ask("query", "--index", samples, *args)
    assert (done.status, done.out) == (2, b"")
    assert said in done.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["show", "7"], "There is no person 7."),
        (["show", "0"], "There is no person 0."),
        (["show", "9" * 5000], "Nobody is called"),
        (["name", "0", "Ada"], "There is no person 0."),
        (["name", "1", "7"], "'7' is a person's number, not a name."),
        (["name", "1", ""], "An empty name names nobody."),
        (["name", "1", "A\x1b[31m"], "characters that cannot be shown"),
        (["name", "1", "A" * 101], "too long"),
        (["name", "1", "MARIE"], "Person 2 is called 'Marie' already."),
        (["name", "/nowhere.jpg", "Ada"], "Nobody is called '/nowhere.jpg'."),
        (["name", SOLVAY, "Ada"], f"'{SOLVAY}' shows 29 such faces."),
        (["name", f"{SOLVAY}#30", "Ada"], "has no face number 30; it has 29."),
        (["name", f"{SOLVAY}#0", "Ada"], "has no face number 0"),
        (["name", LIBRARY / "coffee.png", "Ada"], "shows no face."),
        (["name", "1", "Person 15"], "'Person 15' stands for a person's number"),
        (["merge", "1", "1"], "1 and 1 are the same."),
        (["merge", "Marie", "1", "Person 2"], "Marie and Person 2 are the same."),
        (["merge", f"{SOLVAY}#3", f"{SOLVAY}#3"], "are the same."),
        (["merge", "1", "7"], "There is no person 7."),
        (["merge", "0", "1"], "There is no person 0."),
        (["merge", "1"], "Missing argument"),
        (["split", "1", BIDEN], f"'{BIDEN}' is no face of person 1."),
        (["split", "1", f"{BIDEN}#1"], f"'{BIDEN}#1' is no face of person 1."),
        (["split", "1", OBAMA, BIDEN], f"'{BIDEN}' is no face of person 1."),
        (["split", "1", "/nowhere.jpg"], "The index holds no photo '/nowhere.jpg'."),
        (["split", "1", OBAMA, "--into", "7"], "There is no person 7."),
        (["ignore", SOLVAY], "shows 29 such faces."),
        (["ignore", ""], "An empty name names no file."),
        (["ignore", OBAMA, "--undo"], "is no face that is ignored."),
        (
            ["ignore", "1", "--undo"],
            "Ignored faces belong to nobody: name each as `facesearch people list --ig",
        ),
        (["list", "--ignored", "--all"], "leave out --all, --hidden, --sheet and --html."),
        (["export", "--to", "to"], "--link or --copy: choose one."),
        (["export", "7", "--to", "to", "--copy"], "There is no person 7."),
        (["export"], "--to"),
        (["lst"], "No such command 'lst'"),
        (["--json", "show", "1"], "--within go with grouping"),
        (["--within", "0.3", "list"], "--within go with grouping"),
        *((["--within", value], "--within") for value in ("0", "2", "-1", "near")),
        (["--within", "nan"], "'nan' is not a distance."),
    ],
)
def test_bad_input_has_a_sentence_and_changes_nothing(ask, people, own, args, said):
    people("name", 2, "Marie")
    before = people_path(own).read_bytes()
    done = ask("people", "--index", own, *args)
    assert (done.status, done.out) == (2, b"")
    assert said in done.err
    assert people_path(own).read_bytes() == before
    assert not os.path.exists(own.parent / "to")


def test_a_photo_of_several_of_its_own_faces_says_which_one_to_name(people, own):
    people("merge", 2, 1)
    people("name", f"{SOLVAY}#4", "Fourth")
    people("merge", 2, "Fourth")
    faces = [int(row[1]) for row in people("show", 2).rows if row[2] == str(SOLVAY)]
    done = people("split", 2, SOLVAY)
    assert done.status == 2
    assert f"{SOLVAY}#{min(faces)}" in done.err.splitlines()[1]


def test_names_of_files_with_a_number_sign(ask, tmp_path):
    """ "x#2" is a file's name where there is such a file, else the second face of "x"."""
    paths = [str(tmp_path / name) for name in ("x.jpg", "x.jpg#2", "#", "x#y.jpg")]
    write_known(tmp_path / "i.npz", [shows(paths[0], 0, 1), *(shows(path, 2) for path in paths[1:])])
    for face, name in (("x.jpg#2", "File"), ("x.jpg#1", "First"), ("#", "Sign"), ("x#y.jpg#1", "Inner")):
        assert ask("people", "name", face, name, "--index", "i.npz").status == 0
    shown = {
        name: ask("people", "show", name, "--index", "i.npz").rows[0][1:3]
        for name in ("File", "First", "Sign", "Inner")
    }
    assert shown == {
        "File": ["1", paths[1]],
        "First": ["1", paths[0]],
        "Sign": ["1", paths[2]],
        "Inner": ["1", paths[3]],
    }
    done = ask("people", "name", "x.jpg#3", "Third", "--index", "i.npz")
    assert "has no face number 3" in done.err


@pytest.mark.slow
def test_paths_that_are_not_utf_8(ask, tool, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9 \n.png")
    drawn(os.fsdecode(path), (5, 5, 30, (9, 200, 9)))
    write_known(tmp_path / "i.npz", [shows(os.fsdecode(path), 0, 1), shows("/p/a.jpg", 0)])
    index = ["--index", "i.npz"]
    assert ask("people", "name", path + b"#2", "Ada", *index).status == 0
    show = tool.run("people", "show", "Ada", *index)
    assert show.out.split(b"\t")[2] == path.replace(b"\n", b"\\n")
    (face,) = json.loads(ask("people", "show", "Ada", "--json", *index).out)["faces"]
    assert base64.b64decode(face["path_bytes"]) == path
    (listed,) = json.loads(ask("people", "list", "--json", *index).out)["people"]
    assert base64.b64decode(listed["path_bytes"]) == path
    assert tool.run("query", "--person", "Ada", "-0", *index).out == path + b"\0"
    assert ask("people", "export", "--to", b"to\xff", "--copy", *index).status == 0
    assert os.listdir(os.path.join(os.fsencode(tmp_path), b"to\xff", b"Ada")) == [b"caf\xe9 \n.png"]
    done = ask("people", "split", "Ada", b"\xff.jpg", *index)
    assert done.status == 2
    assert "holds no photo '\\udcff.jpg'" in done.err


def test_export_says_first_what_would_go_where(people, own, tmp_path):
    people("name", 1, "A/B")
    done = people("export", "--to", "to", "--dry-run")
    assert done.status == 0
    assert not (tmp_path / "to").exists()
    assert sorted(done.rows) == sorted(
        [[str(path), str(tmp_path / "to" / "A_B")] for path in HIS]
        + [[str(path), str(tmp_path / "to" / "Person 2")] for path in (CURIE, SOLVAY)]
    )
    done = people("export", "--to", "to", "--copy", "-q")
    assert (done.status, done.err) == (0, "")
    made = {path.parent.name: set() for path in (tmp_path / "to").glob("*/*")}
    for path in (tmp_path / "to").glob("*/*"):
        assert not path.is_symlink()
        made[path.parent.name].add(path.name)
    assert made == {"A_B": {path.name for path in HIS}, "Person 2": {CURIE.name, SOLVAY.name}}
    assert people("export", 2, "--to", "one", "--link").err == "2 photos linked to 1 folder in one\n"


def test_all_of_a_command_keeps_to_its_jobs(ask, own):
    for count in (3, 1):
        assert ask("people", "--index", own, "--jobs", count).status == 0
        assert processors() == count  # what each part of the package asks
    assert ask("people", "--index", own, "--jobs", -1).status == 2


def test_nobody_is_status_1(ask, tmp_path):
    write_known(tmp_path / "i.npz", [shows("/p/a.jpg", 0), shows("/p/b.jpg", 1)])
    index = ["--index", "i.npz"]
    for args in (["people"], ["people", "list"], ["people", "export", "--to", "to", "--copy"]):
        done = ask(*args, *index)
        assert (done.status, done.out) == (1, b"")
    assert json.loads(ask("people", "list", "--json", *index).out) == {"schema": 2, "people": []}


def test_a_distance_of_ones_own(ask, tmp_path):
    write_known(tmp_path / "i.npz", [shows(f"/p/{at}.jpg", 0, spread=1) for at in range(4)])
    assert ask("people", "--within", "0.01", "--index", "i.npz").status == 1
    assert table(ask("people", "--within", "0.9", "--index", "i.npz")) == [(1, "", 4, 4)]


def test_what_stands_before_the_subcommand_holds_for_it(ask, own, tmp_path, monkeypatch):
    write_known(tmp_path / "i.npz", [shows("/p/a.jpg", 0), shows("/p/b.jpg", 0)])
    monkeypatch.setenv("FACESEARCH_INDEX", str(own))
    assert len(ask("people", "list").rows) == 2
    assert ask("people", "--index", "i.npz", "list").status == 1
    assert ask("people", "--index", own, "list", "--index", "i.npz").status == 1
    assert ask("people", "-q", "export", "--to", "to", "--copy", "--index", own).err == ""
    done = ask("people", "--model", "resnet50", "list")
    assert done.status == 2
    assert "'resnet50' is asked for" in done.err


@pytest.mark.parametrize(
    "args",
    [
        ["people"],
        ["people", "list"],
        ["people", "name", "1", "Ada"],
        ["query", "--person", "1"],
        ["forget", "--person", "1"],
    ],
)
def test_a_model_that_measures_looks_knows_no_people(ask, sample_index, args):
    beside = set(sample_index.parent.iterdir())
    done = ask(*args, "--index", sample_index)
    assert (done.status, done.out) == (2, b"")
    assert "resnet50 measures how alike pictures of faces look" in done.err
    assert "--model sface" in done.err
    assert set(sample_index.parent.iterdir()) == beside


@pytest.mark.parametrize(
    "args",
    [
        ["people"],
        ["people", "list"],
        ["people", "ignore", "x.jpg"],
        ["query", "--person", "1"],
        ["forget", "--person", "1"],
    ],
)
def test_without_an_index_nothing_is_made(ask, tmp_path, args):
    for model in ([], ["--model", "sface"]):
        done = ask(*args, "--index", "there/is/none.npz", *model)
        assert (done.status, done.out) == (2, b"")
        assert "There is no index at" in done.err
        assert ("--model sface" in done.err) != bool(model)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["people"],
        ["people", "list"],
        ["people", "merge", "1", "2"],
        ["query", "--person", "1"],
        ["forget", "--person", "1"],
        ["forget", LIBRARY],
    ],
)
def test_a_list_of_people_that_is_broken_is_left_as_it_is(ask, own, args):
    os.truncate(people_path(own), 1000)
    before = people_path(own).read_bytes(), own.read_bytes()
    done = ask(*args, "--index", own)
    assert (done.status, done.out) == (2, b"")
    assert "cannot be used as a list of people" in done.err
    assert "It was left as it is." in done.err
    assert (people_path(own).read_bytes(), own.read_bytes()) == before
    assert ask("query", OBAMA, "--index", own).status == 0


@pytest.mark.slow
def test_a_folder_that_may_not_be_written(tool, samples, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    for path in (samples, people_path(samples)):
        shutil.copy(path, locked)
    locked.chmod(0o555)
    try:
        for args in (["people"], ["forget", "--person", 1]):
            done = tool.run(*args, "--index", locked / "s.npz", preexec_fn=without_roots_privileges)
            assert (done.status, done.out) == (2, b"")
            assert "Permission denied" in done.err
            assert "Choose a place that you may write to." in done.err
        for args in (["people", "list"], ["query", "--person", 1]):
            done = tool.run(*args, "--index", locked / "s.npz", preexec_fn=without_roots_privileges)
            assert (done.status, done.err) == (0, "")
    finally:
        locked.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [pytest.param("open s.npz.people.new", marks=pytest.mark.slow), "os.rename s.npz.people.new"]
)
def test_killed_while_people_are_written(tool, own, at):
    before = people_path(own).read_bytes()
    env = {"SPY_AT": at, "SPY_SIGNAL": int(signal.SIGKILL)}
    assert tool.run("people", "name", 1, "Ada", "--index", own, env=env).status == -signal.SIGKILL
    assert people_path(own).read_bytes() == before
    assert tool.run("people", "name", 1, "Ada", "--index", own).status == 0
    assert not list(own.parent.glob("*.new"))
    assert read_register(CompanionFile(people_path(own))).facts.names == {1: "Ada"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", ["os.rename s.npz.new", pytest.param("os.rename s.npz.people.new", marks=pytest.mark.slow)]
)
def test_killed_while_somebody_is_forgotten(tool, own, at):
    """The index is written first: the same command again does the rest."""
    layout = open_index(own)
    vectors = [layout.vectors[layout.faces_of(layout.find(str(path))).start] for path in HIS]
    tool.run("people", "name", 1, "Ada Lovelace", "--index", own)
    env = {"SPY_AT": at, "SPY_SIGNAL": int(signal.SIGKILL)}
    forget = ["forget", "--person", "Ada Lovelace", "--index", own]
    assert tool.run(*forget, env=env).status == -signal.SIGKILL
    done = tool.run(*forget)
    assert done.status == 0
    assert done.err.startswith("0 faces" if "people" in at else "3 faces")
    for file in own.parent.glob("s.npz*"):
        data = file.read_bytes()
        assert not any(vector.tobytes()[:64] in data for vector in vectors)
        assert "Ada Lovelace".encode("utf-32-le") not in data
    assert table(tool.run("people", "list", "--index", own)) == [(2, "", 2, 2)]


def test_forgetting_needs_photos_or_a_person(ask, own):
    for args in ([], [LIBRARY, "--person", "1"]):
        done = ask("forget", *args, "--index", own)
        assert done.status == 2
        assert "Name PATHs, or --person P." in done.err
    done = ask("forget", "--person", "Nobody", "--index", own)
    assert done.status == 2
    assert "Nobody is called 'Nobody'." in done.err


@pytest.mark.slow
def test_forgotten_faces_come_back_with_again(ask, own):
    assert ask("forget", "--person", 1, "--index", own).status == 0
    everything = [LIBRARY, SAMPLES / "queries", "--index", own]
    assert ask("index", *everything).err.startswith("14 unchanged")
    assert table(ask("people", "--index", own)) == [(2, "", 2, 2)]
    done = ask("index", "--again", *everything)
    assert done.err.startswith("3 indexed, 11 unchanged")
    assert table(ask("people", "--index", own)) == [(3, "", 3, 3), (2, "", 2, 2)]


def test_it_opens_no_socket_starts_nobody_and_loads_no_network(tool, own):
    log = tool.folder / "log"
    assert tool.run("people", "--index", own, env={"SPY_LOG": log}).status == 0
    events = [json.loads(line)[1:] for line in log.read_text().splitlines()]
    assert len(events) > 50
    assert [event for event in events if event[0] != "import"] == []
    imported = {name.partition(".")[0] for _, name in events}
    assert "click" in imported
    assert imported & {"tensorflow", "keras", "openvino", "sklearn", "scipy"} == set()


@pytest.mark.slow
def test_people_outlast_ratings_and_photos_that_are_saved_again(tool, tmp_path):
    """As photo managers leave files: rated, then exported again in another size over the same names."""
    from support.fakes import rate

    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (*HIS, CURIE, SOLVAY, BIDEN):
        shutil.copyfile(path, photos / path.name)
    tool.env["FACESEARCH_INDEX"] = "p.npz"
    assert tool.run("index", photos, "--model", "sface").status == 0
    assert tool.run("people").status == 0
    (his,) = [int(row[0]) for row in tool.run("people", "list").rows if int(row[2]) == 3]
    assert tool.run("people", "name", his, "Barack Obama").status == 0
    assert tool.run("forget", photos / BIDEN.name).status == 0

    def who():
        return sorted(os.path.basename(path) for path in tool.run("query", "--person", "Obama", "-q").names)

    for path in photos.iterdir():
        rate(path)
    done = tool.run("index", photos)
    assert done.err.startswith("5 unchanged, 1 forgotten\n")
    assert who() == sorted(path.name for path in HIS)
    for path in HIS:
        image = Image.open(photos / path.name).convert("RGB")
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(photos / path.name, quality=80)
    assert tool.run("index", photos).err.startswith("3 indexed, 2 unchanged, 1 forgotten")
    assert who() == sorted(path.name for path in HIS)
    # Another photo under one of the names inherits nothing.
    shutil.copyfile(BIDEN, photos / HIS[0].name)
    assert tool.run("index", photos, "--again").status == 0
    assert who() == sorted(path.name for path in HIS[1:])
