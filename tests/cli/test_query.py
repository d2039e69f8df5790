"""`facesearch query`: which photos, in which order, by which options."""

import json
import os
import shutil
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageChops
from support.command import CURIE, LIBRARY, OBAMA, Tool
from support.html_pages import Page
from support.once import made_once

from facesearch.show.wording import percent

HIS = ["obama_2009.jpg", "obama_2010.jpg"]
SOLVAY = LIBRARY / "solvay_1927.jpg"


@pytest.fixture
def query(ask, sample_index):
    return lambda *args: ask("query", "--index", sample_index, *args)


def distances(done):
    return [float(row[2]) for row in done.rows]


@pytest.mark.slow
def test_the_promise_of_the_readme(tool):
    index = tool.run("index", LIBRARY)
    assert index.status == 0
    assert index.out == b""
    done = tool.run("query", OBAMA, "--top", 4)
    assert done.status == 0
    assert done.names[:2] == HIS
    assert len(done.names) == 4
    assert done.err == ""


def test_euclidean_too_finds_his_photographs_first(query):
    done = query(OBAMA, "--metric", "euclidean")
    assert done.names[:2] == HIS
    assert distances(done) == sorted(distances(done))
    assert distances(done)[0] > 1  # cosine distances of these photos lie far below


def test_each_ref_is_answered_in_its_order(query):
    done = query(CURIE, OBAMA, "--top", 2)
    assert [row[0] for row in done.rows] == [str(CURIE)] * 2 + [str(OBAMA)] * 2
    assert [row[1] for row in done.rows] == ["1", "2", "1", "2"]


@pytest.mark.parametrize("top", [1, 3, 9, 50])
def test_top(query, top):
    done = query(OBAMA, "--top", top)
    assert len(done.rows) == min(top, 9)  # 9 of the 12 samples show a face


def test_threshold_keeps_what_lies_within(query):
    every = query(OBAMA, "--top", 9)
    limit = (distances(every)[1] + distances(every)[2]) / 2
    done = query(OBAMA, "--top", 9, "--threshold", limit)
    assert done.status == 0
    assert done.names == every.names[:2]


def test_no_match_within_the_threshold_is_status_1(query):
    done = query(OBAMA, "--threshold", 0.001)
    assert (done.status, done.out) == (1, b"")
    assert done.err == "No face lies within a distance of 0.001.\n"
    assert query(OBAMA, "--threshold", 0.001, "-q").err == ""


def test_by_photo_names_each_photo_once_by_face_each_face(query):
    photos, faces = query(CURIE, "--top", 50), query(CURIE, "--top", 50, "--by", "face")
    assert len(set(photos.names)) == len(photos.names)
    assert faces.names.count("solvay_1927.jpg") > 20
    assert distances(faces) == sorted(distances(faces))
    best = min(row[2] for row in faces.rows if row[4] == str(SOLVAY))
    assert [row[2] for row in photos.rows if row[4] == str(SOLVAY)] == [best]


@pytest.mark.slow
def test_every_face_of_ref_or_the_one_that_is_named(query):
    every = json.loads(query(SOLVAY, "--all-faces", "--top", 1, "--json").out)["results"]
    numbers = [result["references"][0]["face"] for result in every]
    assert len(every) > 20
    assert numbers == list(range(1, len(every) + 1))
    areas = [result["references"][0]["box"]["w"] * result["references"][0]["box"]["h"] for result in every]
    assert areas == sorted(areas, reverse=True)

    (third,) = json.loads(query(SOLVAY, "--face", 3, "--top", 1, "--json").out)["results"]
    assert third["references"] == every[2]["references"]
    assert third["matches"][0]["path"] == every[2]["matches"][0]["path"]
    assert third["matches"][0]["distance"] == pytest.approx(every[2]["matches"][0]["distance"], abs=1e-5)

    (largest,) = json.loads(query(SOLVAY, "--top", 1, "--json").out)["results"]
    assert largest["references"] == every[0]["references"]


@pytest.mark.slow
def test_verbose_says_what_was_looked_for(query):
    done = query(OBAMA, SOLVAY, "-v", "--json")
    boxes = [result["references"][0]["box"] for result in json.loads(done.out)["results"]]
    where = ["{x},{y} of {w}x{h} pixels".format(**box) for box in boxes]
    assert done.err == (
        f"{OBAMA}: 1 face looked for, at {where[0]}\n{SOLVAY}: 1 face looked for, at {where[1]}\n"
    )
    every = query(SOLVAY, "-v", "--all-faces", "--json")
    count = len(json.loads(every.out)["results"])
    assert every.err == f"{SOLVAY}: {count} faces looked for, the largest at {where[1]}\n"
    together = query(OBAMA, SOLVAY, "-v", "--together")
    assert together.err == done.err
    assert query(OBAMA).err == query(OBAMA, "-v", "-q").err == ""


def test_a_face_that_ref_has_not(query):
    done = query(OBAMA, "--face", 7)
    assert done.status == 1
    assert "There is no face number 7." in done.err
    assert "--face" in done.err.splitlines()[0].partition("7.")[2]


def test_together_fuses_the_refs_into_one_question(query):
    one, other = LIBRARY / "obama_2009.jpg", LIBRARY / "obama_2010.jpg"
    done = query(one, other, "--together", "--include-self", "--top", 3)
    assert len(done.rows) == 3
    assert set(done.names[:2]) == set(HIS)
    assert {row[0] for row in done.rows} == {f"{one} + {other}"}
    # Nearer to both of them than they are to each other.
    assert distances(done)[1] < distances(query(one, "--top", 1))[0]


def test_refs_own_file_is_left_out_unless_it_is_wanted(query):
    photo = LIBRARY / "biden.jpg"
    assert "biden.jpg" not in query(photo, "--top", 50).names
    done = query(photo, "--include-self", "--top", 1)
    assert done.names == ["biden.jpg"]
    assert distances(done)[0] == pytest.approx(0, abs=1e-5)


def test_own_file_is_known_through_a_link(query, tmp_path):
    os.symlink(LIBRARY / "biden.jpg", tmp_path / "link.jpg")
    assert "biden.jpg" not in query(tmp_path / "link.jpg", "--top", 50).names


def test_whole_takes_ref_for_the_face(query, tmp_path):
    crop = tmp_path / "crop.png"
    Image.open(LIBRARY / "astronaut.png").convert("RGB").crop((180, 60, 290, 190)).save(crop)
    (result,) = json.loads(query(crop, "--whole", "--top", 1, "--json").out)["results"]
    assert result["references"][0]["box"] == {"x": 0, "y": 0, "w": 110, "h": 130}


@pytest.mark.slow
def test_a_ref_that_lies_on_its_side(query, tmp_path):
    turned = tmp_path / "turned.png"
    Image.open(OBAMA).convert("RGB").rotate(90, expand=True).save(turned)
    without = query(turned)
    assert without.status == 1
    assert "--rotations" in without.err
    done = query(turned, "--rotations", "--top", 2)
    assert done.status == 0
    assert done.names == HIS


@pytest.mark.slow
def test_unique_lists_copies_once(ask, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(LIBRARY / "henry_moseley.jpg", photos / name)
    shutil.copy(LIBRARY / "grace_hopper.jpg", photos / "d.jpg")
    assert ask("index", photos, "--index", "i.npz").status == 0
    done = ask("query", OBAMA, "--index", "i.npz")
    assert sorted(done.names) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [name for name in done.names if name < "d"] == ["a.jpg", "b.jpg", "c.jpg"]  # ties by path
    done = ask("query", OBAMA, "--index", "i.npz", "--unique")
    assert sorted(done.names) == ["a.jpg", "d.jpg"]


@pytest.mark.slow
def test_f32_and_the_keras_free_default_agree(query):
    fast, exact = query(OBAMA, "--top", 9), query(OBAMA, "--top", 9, "--precision", "f32")
    assert exact.names[:2] == HIS
    nearby = dict(zip(fast.names, distances(fast), strict=True))
    for name, distance in zip(exact.names, distances(exact), strict=True):
        assert nearby[name] == pytest.approx(distance, abs=0.005)  # bf16 keeps 8 bits of each number


@pytest.mark.slow
def test_lists_of_refs(query, tmp_path):
    lines = tmp_path / "list.txt"
    lines.write_text(f"{CURIE}\r\n\n{OBAMA}")
    done = query("--files-from", lines, "--top", 1)
    assert [row[0] for row in done.rows] == [str(CURIE), str(OBAMA)]
    zeros = tmp_path / "list0"
    zeros.write_bytes(b"%s\0%s\0" % (os.fsencode(OBAMA), os.fsencode(CURIE)))
    done = query("--files0-from", zeros, "--top", 1)
    assert [row[0] for row in done.rows] == [str(OBAMA), str(CURIE)]
    done = query(LIBRARY / "biden.jpg", "--files0-from", zeros, "--top", 1)
    assert [row[0] for row in done.rows] == [str(LIBRARY / "biden.jpg"), str(OBAMA), str(CURIE)]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "end"), [("--files-from", b"\n"), ("--files0-from", b"\0")])
def test_a_list_on_stdin(tool, sample_index, option, end):
    refs = end.join([os.fsencode(OBAMA), os.fsencode(CURIE)]) + end
    done = tool.run("query", "--index", sample_index, option, "-", "--top", 1, input=refs)
    assert [row[0] for row in done.rows] == [str(OBAMA), str(CURIE)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_list_that_a_program_of_windows_wrote(query, tmp_path, encoding):
    shutil.copy(OBAMA, tmp_path / "Señor Ω.jpg")
    text = f"{tmp_path}/Señor Ω.jpg\r\n{CURIE}\r\n"
    (tmp_path / "list.txt").write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
    done = query("--files-from", "list.txt", "--top", 1)
    assert (done.status, done.err) == (0, "")
    assert [row[0] for row in done.rows] == [f"{tmp_path}/Señor Ω.jpg", str(CURIE)]


@pytest.mark.parametrize(
    ("data", "words", "hint"),
    [
        (b"/p/a.jpg\0/p/b.jpg\0", "holds zero bytes", "--files0-from"),
        (b"\xff\xfea", "begins as UTF-16, and is not", "UTF-8"),
    ],
)
def test_a_list_that_is_none_is_said(query, tmp_path, data, words, hint):
    (tmp_path / "list.txt").write_bytes(data)
    done = query("--files-from", "list.txt")
    assert (done.status, done.out) == (2, b"")
    assert words in done.err
    assert hint in done.err


def test_an_empty_list_finds_nothing_and_a_missing_one_is_an_error(query, tmp_path):
    assert query("--files-from", os.devnull).status == 1
    done = query("--files-from", "nowhere.txt")
    assert done.status == 2
    assert "'nowhere.txt' cannot be read: No such file" in done.err


def test_a_batch_goes_on_past_bad_refs_and_ends_in_2(query, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    done = query("missing.jpg", LIBRARY / "coffee.png", "text.jpg", tmp_path, OBAMA, "--top", 1)
    assert done.status == 2
    assert done.names == HIS[:1]
    said = done.err.splitlines()
    assert len(said) == 4
    assert "missing.jpg" in said[0]
    assert "No such file" in said[0]
    assert "No face was found" in said[1]
    assert "--whole" in said[1]
    assert "not a picture" in said[2]
    assert "folder" in said[3]


def test_a_ref_without_a_face_is_no_error_as_long_as_another_is_found(query):
    done = query(LIBRARY / "coffee.png", OBAMA)
    assert done.status == 0
    assert "coffee.png: No face was found." in done.err
    alone = query(LIBRARY / "coffee.png")
    assert (alone.status, alone.out) == (1, b"")


def test_no_ref_at_all_is_a_usage_error(query):
    done = query()
    assert done.status == 2
    assert "Name at least one REF" in done.err


def test_an_index_without_a_face_says_so(ask, tmp_path):
    shutil.copy(LIBRARY / "rocket.jpg", tmp_path)
    assert ask("index", "rocket.jpg", "--index", "i.npz").status == 0
    done = ask("query", OBAMA, "--index", "i.npz")
    assert (done.status, done.out) == (1, b"")
    assert "facesearch index FOLDER" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-0", "--format", "tsv"], "-0 writes only paths"),
        (["-0", "--json"], "-0 writes only paths"),
        (["--json", "--format", "csv"], "choose one"),
        (["--face", "2", "--all-faces"], "--face or --all-faces: choose one"),
        (["--whole", "--all-faces"], "choose one"),
        (["--threshold", "nan"], "not a distance"),
        (["--threshold", "near"], "--threshold"),
        (["--top", "0"], "--top"),
        (["--face", "0"], "--face"),
        (["--metric", "manhattan"], "'cosine', 'euclidean'"),
        (["--sheet", "out.gif"], ".jpg, .png or .webp"),
        (["--sheet", ""], "empty name"),
        (["--tpo", "3"], "--top"),
    ],
)
def test_options_that_make_no_sense(query, options, said):
    done = query(OBAMA, *options)
    assert (done.status, done.out) == (2, b"")
    assert said in done.err


def test_the_sheet_is_a_picture_of_the_answer(query, tmp_path):
    done = query(OBAMA, CURIE, "--top", 3, "--sheet", "sheet.jpg")
    assert done.status == 0
    assert len(done.rows) == 6
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
        width, height = sheet.size
    assert width > height / 2
    # The frames around the faces: one for each of 2 references and 6 matches, in the accent colour.
    framed = (np.abs(pixels - (226, 62, 87)).sum(axis=2) < 60).sum()
    assert framed > 8 * 100
    assert pixels.std() > 40  # photos, not an empty page


@pytest.mark.slow
def test_the_sheet_differs_by_what_was_found(query, tmp_path):
    query(OBAMA, "--top", 1, "--sheet", "a.png")
    query(OBAMA, "--top", 1, "--sheet", "b.png", "--metric", "euclidean")
    query(OBAMA, "--top", 1, "--sheet", "c.png", "--metric", "cosine")
    a, b, c = (Image.open(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert ImageChops.difference(a, c).getbbox() is None
    assert ImageChops.difference(a, b).getbbox() is not None  # its distances are other numbers


def test_a_sheet_that_cannot_be_written_still_leaves_the_answer(query):
    done = query(OBAMA, "--top", 1, "--sheet", "/nowhere/sheet.jpg")
    assert done.status == 2
    assert done.names == HIS[:1]
    assert "'/nowhere/sheet.jpg' cannot be written" in done.err or "/nowhere/sheet.jpg cannot" in done.err


@pytest.mark.slow
def test_the_page_is_the_answer_as_a_user_gets_it(tool, people_index, tmp_path):
    refs = (OBAMA, CURIE, LIBRARY / "rocket.jpg")
    done = tool.run("query", *refs, "--index", people_index, "--html", "a.html", "--json")
    assert done.status == 0
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.classes.count("frame") == 2 + 8
    links = [attrs["href"] for attrs in page.of("a")]
    for match in (one for result in json.loads(done.out)["results"] for one in result["matches"]):
        name = os.path.basename(match["path"])
        assert f"{match['rank']} {percent(match['probability'])} {name}" in page.text
        assert f"distance {match['distance']:.4f}" in page.text
        assert f"file://{match['path']}" in links
    assert "Model sface Distance cosine Searched " in page.text
    assert "Not searched for rocket.jpg : " in page.text
    assert {"a.html", "data"} >= {*os.listdir(tmp_path)}


def test_the_page_of_a_model_of_looks_names_one_that_knows_persons(query, tmp_path):
    query(OBAMA, "--html", "a.html")
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "resnet50 measures how alike pictures of faces look, not who they are" in page.text
    assert "--model sface" in page.text
    assert "%" not in page.text


def test_the_page_says_what_is_beyond_the_threshold(ask, people_index, tmp_path):
    done = ask("query", OBAMA, "--index", people_index, "--top", 9, "--html", "a.html", "--json")
    done = json.loads(done.out)
    beyond = [match["same_person"] for match in done["results"][0]["matches"]].count(False)
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.classes.count("beyond") == beyond > 0


@pytest.mark.slow
def test_a_page_with_hostile_names_and_a_photo_that_vanished(tool, tmp_path):
    names = [b"<script>x(1)<.jpg", b"caf\xe9 \x1b[31m\n.jpg", b"\"'onerror=x.jpg"]
    folder = os.path.join(os.fsencode(tmp_path), b"photos")
    os.mkdir(folder)
    for name in names:
        shutil.copy(LIBRARY / "grace_hopper.jpg", os.path.join(folder, name))
    assert tool.run("index", "photos", "--index", "i.npz").status == 0
    os.unlink(os.path.join(folder, names[0]))
    done = tool.run("query", OBAMA, os.path.join(folder, names[1]), "--index", "i.npz", "--html", "a.html")
    assert done.status == 0
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    links = {attrs["href"] for attrs in page.of("a")}
    assert {f"file://{quote(os.path.join(folder, name))}" for name in names} <= links
    assert page.text.count("Photo gone or unreadable") == 2
    assert "caf\\xe9 \\x1b[31m\\n.jpg" in page.text


@pytest.mark.parametrize("place", ["/nowhere/a.html", "folder"])
def test_a_page_that_cannot_be_written_still_leaves_the_answer(query, tmp_path, place):
    (tmp_path / "folder").mkdir()
    done = query(OBAMA, "--top", 1, "--html", place)
    assert done.status == 2
    assert done.names == HIS[:1]
    assert f"{place} cannot be written" in done.err
    assert os.listdir(tmp_path / "folder") == []


@pytest.mark.parametrize("option", ["--copy-to", "--link-to"])
def test_matches_put_together_in_a_folder(query, tmp_path, option):
    done = query(OBAMA, CURIE, "--top", 2, option, "found")
    assert done.status == 0
    found = {path.name: path for path in (tmp_path / "found").iterdir()}
    assert set(found) == set(done.names)
    assert f"{len(found)} photos {'copied' if option == '--copy-to' else 'linked'} to found" in done.err
    for name, path in found.items():
        assert path.is_symlink() == (option == "--link-to")
        assert path.read_bytes() == (LIBRARY / name).read_bytes()
    assert query(OBAMA, "--top", 2, option, "found", "-q").err == ""
    assert {path.name for path in (tmp_path / "found").iterdir()} == set(found)  # once is enough


@pytest.mark.parametrize("option", ["--copy-to", pytest.param("--link-to", marks=pytest.mark.slow)])
def test_nothing_in_the_folder_is_overwritten(query, tmp_path, option):
    one, other = query(OBAMA, "--top", 2).names
    found = tmp_path / "found"
    found.mkdir()
    (found / one).write_text("mine")
    (found / f"{one}.part").write_text("mine too")
    os.symlink("nowhere", found / other)
    done = query(OBAMA, "--top", 2, option, "found")
    assert done.status == 0
    assert (found / one).read_text() == "mine"
    assert (found / f"{one}.part").read_text() == "mine too"
    assert os.readlink(found / other) == "nowhere"
    for name in (one, other):
        beside = found / name.replace(".jpg", " (2).jpg")
        assert beside.read_bytes() == (LIBRARY / name).read_bytes()
    assert len(list(found.iterdir())) == 5


@pytest.mark.parametrize("option", [pytest.param("--copy-to", marks=pytest.mark.slow), "--link-to"])
def test_a_match_that_has_vanished(ask, tmp_path, option):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("grace_hopper.jpg", "henry_moseley.jpg"):
        shutil.copy(LIBRARY / name, photos)
    ask("index", photos, "--index", "i.npz")
    (photos / "grace_hopper.jpg").unlink()
    done = ask("query", OBAMA, "--index", "i.npz", option, "found", "--sheet", "sheet.png")
    assert done.status == 2
    assert len(done.rows) == 2
    assert "grace_hopper.jpg' cannot be read any more" in done.err
    assert "facesearch index" in done.err
    assert os.listdir(tmp_path / "found") == ["henry_moseley.jpg"]
    assert Image.open(tmp_path / "sheet.png").size[0] > 100


def test_the_folder_to_copy_to_is_a_file(query, tmp_path):
    (tmp_path / "found").write_text("mine")
    done = query(OBAMA, "--copy-to", "found")
    assert done.status == 2
    assert "'found' is a file, not a folder." in done.err
    assert (tmp_path / "found").read_text() == "mine"


@pytest.fixture(scope="module")
def dated(tmp_path_factory, model_store):
    """An index of photos with dates, by years, and two without."""

    def make(folder):
        for year in (1998, 2007, 2019):
            exif = Image.Exif()
            exif[0x0132] = f"{year}:06:15 12:00:00"
            with Image.open(OBAMA) as image:
                image.save(folder / f"{year}.jpg", exif=exif.tobytes(), quality=90 - year % 7)
        for name in ("one.jpg", "two.jpg"):
            with Image.open(LIBRARY / "biden.jpg") as image:
                image.rotate(len(name) - 7 + (name == "two.jpg")).save(folder / name)
        tool = Tool(folder, model_store.root)
        done = tool.run("index", folder, "--index", "d.npz", "--model", "sface")
        assert done.status == 0, done

    return made_once(tmp_path_factory, "dated", make) / "d.npz"


@pytest.mark.parametrize(
    ("args", "years"),
    [
        (["--since", "2000"], ["2007", "2019"]),
        (["--until", "2007"], ["1998", "2007"]),
        (["--until", "2007-05"], ["1998"]),
        (["--until", "2007-06-15"], ["1998", "2007"]),
        (["--until", "2007-06-15T11:59"], ["1998"]),
        (["--since", "2007-06-15T12:00", "--until", "2007-12"], ["2007"]),
        (["--since", "2020"], []),
        (["--until", "1969"], []),
        (["--since", "1970", "--until", "1998"], ["1998"]),
    ],
)
def test_photos_of_a_time(ask, dated, args, years):
    done = ask("query", OBAMA, "--index", dated, "--top", 9, *args)
    assert done.status == (0 if years else 1)
    assert sorted(name[:4] for name in done.names) == years
    assert "2 of 5 photos have no date, and are left out." in done.err
    if not years:
        assert "No face lies in a photo that was taken then." in done.err


def test_no_photo_is_both(ask, dated):
    done = ask("query", OBAMA, "--index", dated, "--since", "2010", "--until", "2005")
    assert done.status == 2
    assert "--since is later than --until" in done.err


def test_matches_in_the_order_of_their_dates(ask, dated):
    done = ask("query", OBAMA, "--index", dated, "--top", 9, "--sort", "date", "--json")
    matches = json.loads(done.out)["results"][0]["matches"]
    assert [one["captured"] for one in matches] == [
        "1998-06-15T12:00:00",
        "2007-06-15T12:00:00",
        "2019-06-15T12:00:00",
        None,
        None,
    ]
    assert sorted(one["rank"] for one in matches) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("date", ["", "x", "19", "2019-13", "2019-02-30", "2019-07-04T99:00", "9999-12-31"])
def test_dates_that_are_none(ask, dated, date):
    done = ask("query", OBAMA, "--index", dated, "--until", date)
    assert done.status == 2
    assert "is no date such as" in done.err


def test_an_index_of_the_second_format_knows_no_dates_until_all_is_read(ask, dated, tmp_path):
    with np.load(dated) as file:
        arrays = {name: file[name] for name in file.files if name != "captured"}
    index = tmp_path / "old.npz"
    np.savez(index, **{**arrays, "format": np.array(2)})
    query = ("query", OBAMA, "--index", index, "--top", 9, "--since", "1900")
    done = ask(*query)
    assert done.status == 1
    assert "5 of 5 photos have no date" in done.err
    assert "5 of them were never asked: run `facesearch index --verify`." in done.err
    assert ask("index", dated.parent, "--index", index).status == 0
    assert ask(*query).status == 1
    assert ask("index", dated.parent, "--index", index, "--verify").status == 0
    assert len(ask(*query).rows) == 3
