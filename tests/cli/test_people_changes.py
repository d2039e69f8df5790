"""What changes people and takes that back, and what shows them, as a user runs it."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA, on_a_terminal
from support.html_pages import Page
from support.known_people import grouped, kept, shows

from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import open_index, people_path
from facesearch.people.register import read_register

SOLVAY, BIDEN = LIBRARY / "solvay_1927.jpg", LIBRARY / "biden.jpg"
HIS = [LIBRARY / "obama_2009.jpg", LIBRARY / "obama_2010.jpg", OBAMA]
ADA, BEA, CLEO = range(3)
STAY = "carry names that facesearch wrote, and stay; --sidecars takes them out, also later."


def state(own):
    """Return whose which face is, and what is said of people."""
    register = read_register(CompanionFile(people_path(own)))
    order = np.argsort(register.keys)
    return register.keys[order].tolist(), register.person[order].tolist(), register.facts.tables()


def listed(people, *args):
    return [row[:3] for row in people("list", *args).rows]


def test_every_change_says_what_it_did_and_is_taken_back(people, own):
    changes = [
        (("name", 1, "Obama"), "Person 1 is called Obama now."),
        (("hide", 2), "Person 2 is hidden."),
        (("name", BIDEN, "Joe Biden"), "Person 3 is called Joe Biden now."),
        (("add", "Joe Biden", f"{SOLVAY}#3"), "Joe Biden has 2 faces in 2 photos now."),
        (
            ("reject", "Joe Biden", f"{SOLVAY}#3"),
            "1 face taken out of Joe Biden; grouping will not put it back.",
        ),
        (("merge", "Obama", f"{SOLVAY}#4"), "Obama has 4 faces in 4 photos now."),
        (("apart", "Obama", f"{SOLVAY}#5"), f"Obama and {SOLVAY.name}#5 are two people."),
        (("apart", f"{SOLVAY}#6", "Obama"), f"The face {SOLVAY.name}#6 and Obama are two people."),
        (("apart", "Obama", 2), "Obama and Person 2 are two people."),
        (("cover", "Obama", OBAMA), f"Obama is shown by {OBAMA} now."),
        (("split", "Obama", OBAMA), "1 face moved to Person 4."),
        (("ignore", 4), "1 face ignored."),
        (("ignore", BIDEN), "1 face ignored."),
        (("ignore", BIDEN, "--undo"), "1 face is no longer ignored."),
        (("add", "Joe Biden", BIDEN), "Joe Biden has 1 face in 1 photo now."),
        (("tag", CURIE, "Obama", "--box", "10,20,30,40"), f"Obama is tagged on {CURIE}."),
        (("tag", CURIE, "Obama", "--undo"), f"The tag Obama was taken off {CURIE}."),
        (
            ("reject", 2, f"{SOLVAY}#7"),
            "1 face kept out of Person 2; grouping will not put it there.",
        ),
        (("hide", 2, "--undo"), "Person 2 is listed again."),
        (("merge", "Joe Biden", "Obama", "--yes"), "Joe Biden has 4 faces in 4 photos now."),
    ]
    states = [state(own)]
    for args, said in changes:
        done = people(*args)
        assert (done.status, done.err) == (0, f"{said}\n"), args
        states.append(state(own))
    log = people("log")
    assert [int(row[0]) for row in log.rows] == list(range(1, len(changes) + 2))
    assert log.rows[0][2] == "merged Obama into Joe Biden"
    assert [row[2] for row in log.rows[2:5]] == [
        "kept solvay_1927.jpg#7 out of Person 2",
        "took the tag Obama off marie_curie.jpg",
        "tagged Obama on marie_curie.jpg",
    ]
    assert log.rows[-1][2].startswith("grouped faces: 2 new people")
    assert json.loads(people("log", "--json").out)["changes"][0]["change"] == "merged Obama into Joe Biden"
    for wanted in reversed(states[6:-1]):
        done = people("undo")
        assert (done.status, done.err[:12]) == (0, "Taken back: "), done
        assert state(own) == wanted
    done = people("undo", 6)
    assert "; and 3 more." in done.err
    assert state(own) == states[0]
    assert people("undo", 2).err.startswith("facesearch: Only 1 change can be taken back.\n")
    assert people("undo").status == 0
    assert people("undo").err == "facesearch: There is no change to undo.\n"
    assert (people("log").status, people("log").err) == (1, "There is no change to undo.\n")


def test_hidden_people_are_listed_apart_and_not_exported(people, own, tmp_path):
    assert people("hide", 1, "-q").err == ""
    assert listed(people) == [["2", "", "2"]]
    assert listed(people, "--hidden") == [["1", "", "3"]]
    assert people("export", "--to", tmp_path / "to", "--copy").err.startswith("2 photos copied to 1 folder")
    assert people("export", 1, "--to", tmp_path / "him", "--copy").err.startswith(
        "3 photos copied to 1 folder"
    )


def test_rejected_faces_do_not_come_back(people, own):
    assert people("reject", 1, OBAMA).status == 0
    assert people().err.startswith("0 new people, 0 faces joined known people, 35 faces match nobody")
    assert people("undo").status == 0  # grouping changed nothing for anybody
    assert listed(people)[0] == ["1", "", "3"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["apart", "1", "1"], "1 and 1 are the same."),
        (["apart", "1", OBAMA], "The face belongs to Person 1."),
        (["merge", "2", OBAMA], "The face belongs to Person 1."),
        (["add", "7", OBAMA], "There is no person 7."),
        (["reject", "1", "/nowhere.jpg"], "The index holds no photo '/nowhere.jpg'."),
        (["reject", "1", BIDEN], f"'{BIDEN}' is no face of person 1."),
        (["reject", "1", OBAMA, BIDEN], f"'{BIDEN}' is no face of person 1."),
        (["reject", "1", f"{BIDEN}#2"], "has no face number 2"),
        (["tag", OBAMA, "1"], f"A face of Person 1 was found in '{OBAMA}'."),
        (["tag", CURIE, "1", "--box", "-1,0,9,9"], "The box -1,0,9,9 reaches beyond the photo, which is "),
        (["tag", CURIE, "1", "--box", "9000,9000,9,9"], " pixels wide and "),
        (["cover", "2", OBAMA], "is no face of person 2."),
        (["tag", "/nowhere.jpg", "1"], "The index holds no photo '/nowhere.jpg'."),
        (["tag", OBAMA, "1", "--undo"], "Person 1 was not tagged on"),
        (["tag", OBAMA, "1", "--box", "1,2,3"], "'1,2,3' is no X,Y,W,H in pixels."),
        (["tag", OBAMA, "1", "--box", "1,2,0,4"], "at least 1"),
        (["undo", "0"], "0 is not in the range"),
        (["hide", "7"], "There is no person 7."),
        (["review", "7"], "There is no person 7."),
    ],
)
def test_bad_input_has_a_sentence_and_changes_nothing(ask, people, own, args, said):
    before = people_path(own).read_bytes()
    done = ask("people", args[0], "--index", own, *args[1:])
    assert (done.status, done.out) == (2, b"")
    assert said in done.err
    assert people_path(own).read_bytes() == before


def test_who_may_be_the_same_is_suggested_and_never_again_when_told_apart(ask, tmp_path):
    path = tmp_path / "known.npz"
    photos = [shows(f"/p/{at}.jpg", ADA, spread=0.2) for at in range(4)]
    photos += [shows("/p/bea.jpg", BEA, spread=0.2), shows("/p/cleo.jpg", CLEO, spread=0.2)]
    people = grouped(path, photos)
    twin = people.assign(people.person(1).faces[2:], None)
    kept(path, people)
    suggest = ("people", "suggest", "--index", path)
    rows = ask(*suggest).rows
    assert [row[1:] for row in rows] == [["1", str(twin.number), rows[0][3], rows[0][4]]]
    (pair,) = json.loads(ask(*suggest, "--json").out)["suggestions"]
    assert (pair["one"], pair["other"], pair["path"]) == tuple(rows[0][1:4])
    assert pair["distance"] == pytest.approx(float(rows[0][0]), abs=1e-6)
    assert ask("people", "apart", 1, twin.number, "--index", path).status == 0
    done = ask(*suggest)
    assert (done.status, done.out, done.err) == (1, b"", "Nobody is likely to be the same person.\n")
    assert ask("people", "undo", "--index", path).status == 0
    assert ask("people", "hide", 1, "--index", path).status == 0
    assert ask(*suggest).status == 1


def test_a_box_of_a_photo_that_cannot_be_read_is_refused(ask, tmp_path):
    path = tmp_path / "i.npz"
    grouped(path, [shows("/p/a.jpg", ADA), shows("/p/b.jpg", ADA), shows("/p/c.jpg")])
    tag = ("people", "tag", "/p/c.jpg", 1, "--index", path)
    done = ask(*tag, "--box", "1,2,3,4")
    assert (done.status, done.out) == (2, b"")
    assert "/p/c.jpg cannot be read: No such file" in done.err
    assert "Without --box, the photo need not be read." in done.err
    assert ask(*tag).status == 0


def test_the_person_who_is_there_keeps_number_and_name_in_any_order(ask, people, own):
    people("name", 1, "Obama")
    assert people("merge", BIDEN, f"{SOLVAY}#3", "Obama").err == "Obama has 5 faces in 5 photos now.\n"
    assert people("log").rows[0][2] == "gave 2 faces to Obama"
    assert people("merge", f"{SOLVAY}#4", 2, "--yes").err == "Person 2 has 3 faces in 2 photos now.\n"
    assert people("merge", OBAMA, 2).err == "Obama has 8 faces in 6 photos now.\n"
    assert people("merge", f"{SOLVAY}#6", f"{SOLVAY}#7").err == "Person 3 has 2 faces in 1 photo now.\n"
    assert people("log").rows[0][2] == "made Person 3 of 2 faces"
    assert listed(people) == [["1", "Obama", "6"], ["3", "", "1"]]
    assert people("name", "person 3", "Two").err == "Person 3 is called Two now.\n"
    done = people("merge", "Two", "Obama")
    assert done.err.endswith("Write --yes to merge them, under the name Two.\n")


@pytest.mark.parametrize("answer", [True, False])
def test_who_sits_at_a_terminal_is_asked_about_two_names(people, own, monkeypatch, answer):
    asked = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": staticmethod(lambda: True)}))
    monkeypatch.setattr("click.confirm", lambda text, **_: asked.append(text) or answer)
    people("name", 1, "Obama")
    people("name", 2, "Curie")
    done = people("merge", 1, 2)
    assert (done.status == 0, len(listed(people))) == (answer, 1 if answer else 2)
    assert asked == ["Obama and Curie both have a name. Merge them, under the name Obama?"]


def test_ignored_faces_are_listed_and_said(ask, people, own):
    done = people("list", "--ignored")
    assert (done.status, done.out, done.err) == (1, b"", "No face is ignored.\n")
    assert people("ignore", 1, f"{SOLVAY}#3").err == "4 faces ignored.\n"
    rows = people("list", "--ignored").rows
    assert sorted((row[1], row[0]) for row in rows) == sorted(
        [*((str(path), "1") for path in HIS), (str(SOLVAY), "3")]
    )
    told = json.loads(people("list", "--ignored", "--json").out)["ignored"]
    assert [[str(face[name]) for name in ("face", "path", "x", "y", "w", "h")] for face in told] == rows
    assert ask("faces", OBAMA, "--index", own).rows[0][7] == "ignored"
    faces = json.loads(ask("faces", SOLVAY, "--index", own, "--json").out)["photos"][0]["faces"]
    assert [face["ignored"] for face in faces[:4]] == [False, False, True, False]
    assert faces[2]["person"] is None
    done = people("ignore", "--undo", *(f"{row[1]}#{row[0]}" for row in rows))
    assert done.err == "4 faces are no longer ignored.\n"


def test_tagged_photos_are_shown_and_counted(people, own):
    people("tag", CURIE, 1, "--box", "10,20,30,40")
    people("tag", SOLVAY, 1)
    rows = people("show", 1).rows
    assert len(rows) == 5
    assert rows[3:] == [
        ["", "", str(path), *where]
        for path, where in sorted({CURIE: ["10", "20", "30", "40"], SOLVAY: [""] * 4}.items(), key=str)
    ]
    told = json.loads(people("show", 1, "--json").out)
    assert (len(told["faces"]), told["photos"]) == (3, 5)
    assert {one["path"]: one["x"] for one in told["tagged"]} == {str(CURIE): 10, str(SOLVAY): None}
    assert listed(people)[0] == ["1", "", "5"]
    assert people("add", 1, BIDEN).err == "Person 1 has 4 faces in 4 photos now.\n"
    people("ignore", *HIS, BIDEN)
    assert ["1", "", "2"] in listed(people)
    assert (people("show", 1).status, len(people("show", 1).rows)) == (0, 2)
    people("tag", CURIE, 1, "--undo")
    people("tag", SOLVAY, 1, "--undo")
    assert people("show", 1).status == 2


def test_review_lists_the_doubtful_faces_first(ask, tmp_path):
    path = tmp_path / "known.npz"
    people = grouped(path, [shows(f"/p/{who}{at}.jpg", who) for who in (ADA, BEA) for at in range(3)])
    people.assign([people.face("/p/10.jpg", 1)], people.person(1))
    people.name(people.person(2), "Bea")
    kept(path, people)
    done = ask("people", "review", 1, "--index", path)
    assert done.rows[0][4] == "/p/10.jpg"
    assert len(done.rows) == 4
    distance, like_distance, like = done.rows[0][:3]
    assert float(like_distance) < float(distance)
    assert like == "Bea"
    told = json.loads(ask("people", "review", 1, "--top", 1, "--index", path, "--json").out)["faces"]
    assert [(face["path"], face["face"], face["like"]) for face in told] == [("/p/10.jpg", 1, "Bea")]


def test_one_person_alone_is_like_nobody(ask, tmp_path):
    path = tmp_path / "known.npz"
    grouped(path, [shows(f"/p/{at}.jpg", ADA) for at in range(3)])
    assert {tuple(row[1:3]) for row in ask("people", "review", 1, "--index", path).rows} == {("", "")}


@pytest.mark.slow
def test_on_a_terminal_suggestions_are_a_table_that_says_how_to_answer(tool, tmp_path):
    path = tmp_path / "known.npz"
    people = grouped(path, [shows(f"/p/{at}.jpg", ADA, spread=0.2) for at in range(5)])
    people.name(people.assign(people.person(1).faces[2:4], None), "Twin")
    people.release(people.person(1).faces[2:])
    kept(path, people)
    assert people.whose.tolist() == [1, 1, 2, 2, -1]
    status, shown = on_a_terminal(tool, "people", "suggest", "--index", path)
    head, *lines, empty, last = shown.splitlines()
    assert (status, head.split(), empty) == (0, ["distance", "probability", "one", "other"], "")
    row = r" +0\.\d+ +>?\d+\.\d %  "
    assert re.fullmatch(
        row + r"Twin \(2 photos\) +Person 1 \(2 photos\)|" + row + r".* +/p/4\.jpg#1", lines[0]
    )
    assert len(lines) == len({*lines})
    assert any("/p/4.jpg#1" in line for line in lines)
    assert last == "One person: `facesearch people merge A B`. Two: `facesearch people apart A B`."
    assert tool.run("people", "merge", "Twin", "Person 1", "/p/4.jpg#1", "--index", path).status == 0
    status, shown = on_a_terminal(tool, "people", "suggest", "--index", path)
    assert (status, shown) == (1, "Nobody is likely to be the same person.\n")


@pytest.mark.slow
def test_on_a_terminal_two_names_are_asked_about_and_lists_are_tables(tool, own):
    for number, name in ((1, "Obama"), (2, "Curie")):
        assert tool.run("people", "name", number, name, "--index", own).status == 0
    status, shown = on_a_terminal(tool, "people", "log", "--index", own)
    assert status == 0
    assert re.match(r'   1  20\d\d-\d\d-\d\d \d\d:\d\d  named person 2 "Curie"\n', shown)
    status, shown = on_a_terminal(tool, "people", "review", 1, "--index", own)
    assert (status, shown.splitlines()[0]) == (0, "distance  like")
    assert tool.run("people", "tag", BIDEN, "Obama", "--index", own).status == 0
    status, shown = on_a_terminal(tool, "people", "show", "Obama", "--index", own)
    head, *lines, last = shown.splitlines()
    assert (status, head, last) == (0, "distance  photo", f" by hand  {BIDEN}")
    assert all(re.fullmatch(r"   0\.\d\d\d  /.*\.jpg#1", line) for line in lines)
    status, shown = on_a_terminal(tool, "people", "split", "Obama", OBAMA, "--index", own)
    assert (status, shown) == (0, "1 face moved to Person 3.\n")
    assert tool.run("people", "ignore", BIDEN, "--index", own).status == 0
    status, shown = on_a_terminal(tool, "people", "list", "--ignored", "--index", own)
    assert (status, shown) == (0, f"{BIDEN}#1\n")
    assert tool.run("people", "ignore", BIDEN, "--undo", "--index", own).status == 0
    assert tool.run("people", "add", "Obama", OBAMA, "--index", own).status == 0
    status, shown = on_a_terminal(tool, "faces", OBAMA, SOLVAY, "--index", own)
    assert status == 0
    assert re.search(rf"{OBAMA.name}: 1 face\n  #1   \d+x\d+ at \d+,\d+ +quality [01]\.\d\d  Obama\n", shown)
    assert "solvay_1927.jpg: 29 faces\n" in shown


def test_people_are_drawn_with_their_numbers(people, own, tmp_path):
    people("name", 1, "Barack <b>Obama</b>")
    sheet, page = tmp_path / "people.jpg", tmp_path / "people.html"
    done = people("list", "--sheet", sheet, "--html", page)
    assert (done.status, done.err) == (0, f"The sheet is in {sheet}\nThe page is in {page}\n")
    assert people("list", "--sheet", sheet, "-q").err == ""
    with Image.open(sheet) as image:
        assert image.width > 500
        assert len(image.getcolors(1 << 24)) > 1000
    shown = Page(page.read_text())
    assert "Barack <b>Obama</b>" in shown.text
    assert shown.text.count("photos, ") == 2
    done = people("list", "--sheet", tmp_path / "people.xyz")
    assert done.status == 2
    assert "ending names no known picture format" in done.err


def test_the_faces_of_photos_with_their_numbers(ask, people, own, tmp_path):
    people("name", 1, "Obama")
    done = ask("faces", OBAMA, CURIE, "--index", own)
    assert [row[:2] + row[7:8] for row in done.rows] == [[str(OBAMA), "1", "Obama"], [str(CURIE), "1", "2"]]
    index = open_index(own)
    box = index.box(index.faces_of(index.find(str(OBAMA)))[0])
    assert [int(value) for value in done.rows[0][2:6]] == [box.x, box.y, box.width, box.height]
    told = json.loads(ask("faces", OBAMA, "--index", own, "--json", "--vectors").out)["photos"]
    face = told[0]["faces"][0]
    assert face["person"] == {"number": 1, "name": "Obama"}
    assert 0.5 < face["quality"] <= 1
    assert len(face["landmarks"]) == 5
    np.testing.assert_array_equal(
        np.float32(face["vector"]), index.vectors[index.faces_of(index.find(str(OBAMA)))[0]]
    )
    sheet = tmp_path / "faces.png"
    assert ask("faces", SOLVAY, "--index", own, "--sheet", sheet).status == 0
    with Image.open(sheet) as image:
        assert max(image.size) > 1000


def test_faces_of_a_photo_that_was_replaced_are_not_those_of_before(ask, people, own, tmp_path):
    photo = tmp_path / "a.jpg"
    shutil.copy(OBAMA, photo)
    index = tmp_path / "i.npz"
    assert ask("index", photo, CURIE, "--index", index, "--model", "sface").status == 0
    named = ask("people", "name", f"{photo}#1", "Obama", "--index", index)
    assert named.status == 0, named
    assert ask("faces", photo, "--index", index).rows[0][7] == "Obama"
    shutil.copy(CURIE, photo)
    assert ask("faces", photo, "--index", index).rows[0][7] == ""


def test_faces_of_photos_that_the_index_does_not_hold(ask, own, tmp_path):
    copy = tmp_path / "edited.jpg"
    with Image.open(OBAMA) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(copy)
    done = ask("faces", copy, tmp_path / "gone.jpg", "--index", own)
    assert done.status == 0
    assert [row[:2] + row[7:8] for row in done.rows] == [[str(copy), "1", ""]]
    assert f"{tmp_path}/gone.jpg: " in done.err
    alone = ask("faces", copy, "--index", tmp_path / "none.npz", "--model", "sface")
    assert alone.rows == done.rows
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Name at least one PHOTO"),
        ([OBAMA, "--vectors"], "--vectors goes with --json"),
        ([OBAMA, "--sheet", "a.xyz"], "ending names no known picture format"),
    ],
)
def test_questions_about_faces_that_make_no_sense(ask, own, args, said):
    done = ask("faces", *args, "--index", own)
    assert done.status == 2
    assert said in done.err


def test_a_tagged_photo_is_found_by_the_person_in_every_form(ask, people, own, tmp_path):
    people("name", 1, "Obama")
    people("tag", CURIE, "Obama")
    people("tag", SOLVAY, "Obama", "--box", "10,20,30,40")
    query = ("query", "--person", "Obama", "--index", own)
    rows = ask(*query).rows
    tagged = sorted(map(str, (CURIE, SOLVAY)))
    assert [row[4] for row in rows[3:]] == tagged
    assert [row[2:4] + row[5:] for row in rows if row[4] == str(CURIE)] == [[""] * 8]
    assert [row[5:] for row in rows if row[4] == str(SOLVAY)] == [["10", "20", "30", "40", "", ""]]
    matches = json.loads(ask(*query, "--json").out)["results"][0]["matches"]
    assert [(one["distance"], one["by_hand"]) for one in matches[3:]] == [(None, True)] * 2
    assert {one["path"]: one["box"] for one in matches[3:]} == {
        str(CURIE): None,
        str(SOLVAY): {"x": 10, "y": 20, "w": 30, "h": 40},
    }
    assert "by hand" in ask(*query, "--format", "table").text
    sheet, page = tmp_path / "a.jpg", tmp_path / "a.html"
    assert ask(*query, "--sheet", sheet, "--html", page).status == 0
    assert sheet.exists()
    assert Page(page.read_text()).text.count("said by hand") == 2
    people("export", "Obama", "--to", tmp_path / "to", "--copy")
    assert (tmp_path / "to" / "Obama" / CURIE.name).exists()


@pytest.fixture
def album(ask, tmp_path):
    """An index of copies of his photos, which sidecars may be written beside, and he is named."""
    (tmp_path / "photos").mkdir()
    for path in (LIBRARY / "obama_2009.jpg", LIBRARY / "obama_2010.jpg", OBAMA):
        shutil.copy(path, tmp_path / "photos")
    index = tmp_path / "album.npz"
    assert ask("index", tmp_path / "photos", "--index", index, "--model", "sface").status == 0
    assert ask("people", "--index", index).status == 0
    assert ask("people", "name", 1, "Barack Obama", "--index", index).status == 0
    return index


def test_names_go_to_sidecars_and_come_back(ask, album, tmp_path):
    export = ("people", "export", "--xmp", "--index", album)
    dry = ask(*export, "--dry-run", "--diff")
    assert (dry.status, dry.err) == (
        0,
        "3 sidecars would be written, 0 would be changed, 0 up to date\n",
    )
    assert dry.text.count("+++ ") == 3
    assert dry.text.count("+      <rdf:li rdf:parseType") == 3
    assert not list((tmp_path / "photos").glob("*.xmp"))
    listed = ask(*export, "--dry-run").rows
    assert [(row[0].endswith(".jpg.xmp"), row[1]) for row in listed] == [(True, "Barack Obama")] * 3
    done = ask(*export)
    assert (done.status, done.err) == (0, "3 sidecars written, 0 changed, 0 up to date\n")
    assert ask(*export).err == "0 sidecars written, 0 changed, 3 up to date\n"
    assert ask(*export, "--tags").err == "0 sidecars written, 3 changed, 0 up to date\n"
    assert ask(*export, "--stem", "-q").err == ""
    assert (tmp_path / "photos" / "obama.xmp").exists()

    other = tmp_path / "other.npz"
    assert ask("index", tmp_path / "photos", "--index", other, "--model", "sface").status == 0
    assert ask("people", "--index", other).status == 0
    imported = ("people", "import", "--metadata", "--index", other)
    assert ask(*imported, "--dry-run").err == "3 faces of 1 person would be named\n"
    assert ask("people", "list", "--index", other).rows[0][1] == ""
    done = ask(*imported, "--json")
    assert json.loads(done.out)["people"] == [{"number": 1, "name": "Barack Obama"}]
    assert done.err == "3 faces of 1 person named\n"
    assert ask("people", "list", "--index", other).rows[0][1] == "Barack Obama"
    assert (
        ask("people", "log", "--index", other).rows[0][2] == "took names from metadata: 3 faces of 1 person"
    )


def test_what_is_undone_or_forgotten_names_the_sidecars_that_stay(ask, album, tmp_path):
    assert ask("people", "export", "--xmp", "--index", album).status == 0
    done = ask("people", "undo", "--index", album)
    assert "\n3 sidecars may hold old names, such as " in done.err
    assert (
        ask("people", "export", "--xmp", "--index", album).err
        == "0 sidecars written, 0 changed, 3 removed, 0 up to date\n"
    )
    assert not (tmp_path / "photos" / "obama.jpg.xmp").exists()
    ask("people", "name", 1, "Barack Obama", "--index", album)
    ask("people", "export", "--xmp", "--index", album)
    forget = ("forget", "--person", "Barack Obama", "--index", album)
    before = album.read_bytes()
    done = ask(*forget, "--dry-run")
    assert done.err.startswith(
        "3 faces in 3 photos of Barack Obama would be forgotten, and the log of changes\n"
    )
    assert done.err.endswith(f"3 sidecars of these photos {STAY}\n")
    assert album.read_bytes() == before
    done = ask(*forget)
    assert done.err.endswith(f"3 sidecars of these photos {STAY}\n")
    assert (ask("people", "log", "--index", album).status, done.status) == (1, 0)
    photos = sorted((tmp_path / "photos").glob("obama*.jpg"))
    clean = ("forget", *photos, "--sidecars", "--index", album)
    assert ask(*clean, "--dry-run").err.endswith(
        "names would be taken out of 0 sidecars, and 3 would be removed\n"
    )
    assert ask(*clean).err.endswith("names taken out of 0 sidecars, and 3 removed\n")
    assert not list((tmp_path / "photos").glob("*.xmp"))


def test_a_person_is_forgotten_with_the_names_in_sidecars(ask, album, tmp_path):
    ask("people", "name", 1, "Barack Obama", "--index", album)
    ask("people", "export", "--xmp", "--index", album)
    done = ask("forget", "--person", "Barack Obama", "--sidecars", "--index", album)
    assert done.err.endswith("names taken out of 0 sidecars, and 3 removed\n")
    assert not list((tmp_path / "photos").glob("*.xmp"))


def test_sidecars_that_cannot_be_read_are_counted_and_are_an_error(ask, album, tmp_path):
    ask("people", "name", 1, "Barack Obama", "--index", album)
    broken = tmp_path / "photos" / "obama.jpg.xmp"
    broken.write_bytes(b"<x")
    done = ask("people", "export", "--xmp", "--index", album)
    assert done.status == 2
    assert done.err.endswith("2 sidecars written, 0 changed, 0 up to date, 1 left as they are\n")
    assert broken.read_bytes() == b"<x"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["export"], "--to DIR or --xmp: choose one."),
        (["export", "--xmp", "--to", "a"], "--to DIR or --xmp: choose one."),
        (["export", "--to", "a", "--copy", "--tags"], "--tags, --stem and --diff go with --xmp."),
        (["export", "--xmp", "--diff"], "--diff goes with --dry-run."),
        (["import"], "DIR, --metadata or --takeout: choose one."),
        (["import", "a", "--takeout"], "DIR, --metadata or --takeout: choose one."),
    ],
)
def test_exports_and_imports_that_make_no_sense(ask, own, args, said):
    done = ask("people", args[0], "--index", own, *args[1:])
    assert done.status == 2
    assert said in done.err


def test_what_is_kept_of_forgotten_photos_is_not_called_photos(ask, album):
    forgotten = re.compile("^forgotten +(.*)$", re.MULTILINE)
    assert forgotten.findall(ask("info", "--index", album).text) == ["no photo"]
    assert ask("forget", OBAMA.parent / "nowhere.jpg", album.parent / "photos" / OBAMA.name, "--index", album)
    said = forgotten.findall(ask("info", "--index", album).text)
    assert said == ["2 digests of photos, one or more for each"]


def test_a_folder_for_each_person_and_takeout(ask, album, tmp_path):
    ask("people", "undo", "--index", album)
    (tmp_path / "who" / "Barack").mkdir(parents=True)
    shutil.copy(OBAMA, tmp_path / "who" / "Barack" / "other name.jpg")
    done = ask("people", "import", tmp_path / "who", "--index", album)
    assert done.err == "3 faces of 1 person named\n"
    assert ask("people", "undo", "--index", album).status == 0
    for photo in list((tmp_path / "photos").glob("*.jpg")):
        photo.with_name(f"{photo.name}.json").write_text('{"people": [{"name": "Barack O."}]}')
    done = ask("people", "import", "--takeout", "--index", album)
    assert (done.status, done.err) == (0, "3 faces of 1 person named\n")
    done = ask("people", "import", tmp_path / "nowhere", "--index", album)
    assert done.status == 2
    assert "Traceback" not in done.err
