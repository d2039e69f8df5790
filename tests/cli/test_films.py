"""Films in a library: who is seen in them and when, in every form of answer, and as photos in all else."""

import json
import os
import shutil
import time

import av
import numpy as np
import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA, Tool, on_a_terminal
from support.films import Cast, cut_face, frames_of, write_film
from support.once import made_once

from facesearch.detect import open_detector
from facesearch.index.npz.store import open_index

SECONDS = 9
# Who comes when, and where; the two are in the picture together for a second.
HE, SHE = (1.0, 5.0), (4.0, 8.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory, model_store):
    """A folder with a film and a photo, and an index of it; tests only read it."""

    def make(folder):
        detector = open_detector("yunet", store=model_store)
        he, she = (cut_face(photo, detector) for photo in (LIBRARY / "obama_2010.jpg", CURIE))
        casts = [
            Cast(he, *HE, (0.25, 0.5), (0.35, 0.5), 0.6),
            Cast(she, *SHE, (0.75, 0.5), (0.65, 0.5), 0.6),
        ]
        (folder / "library").mkdir()
        write_film(folder / "library" / "party.mp4", frames_of(casts, SECONDS), keys=1.0)
        shutil.copy(LIBRARY / "biden.jpg", folder / "library")
        done = Tool(folder, model_store.root).run("index", "library", "--index", "i.npz", "--model", "sface")
        assert done.status == 0, done

    return made_once(tmp_path_factory, "films", make)


@pytest.fixture
def own(made, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def query(ask, made):
    return lambda *args: ask("query", *args, "--index", made / "i.npz", "--top", 3)


def appearances(index):
    """Return when somebody is seen in the film, in seconds, each appearance once."""
    moments = {index.moment(row) for row in range(index.face_count)} - {None}
    return sorted({(moment.start / 1000, moment.end / 1000) for moment in moments})


def test_everybody_is_seen_when_they_are_there(made):
    index = open_index(made / "i.npz")
    found = appearances(index)
    assert len(found) == 2
    for (start, end), (came, went) in zip(found, (HE, SHE), strict=True):
        assert start == pytest.approx(came, abs=0.5)
        assert end == pytest.approx(went, abs=0.5)
    film = index.find(str(made / "library" / "party.mp4"))
    assert 2 <= len(index.faces_of(film)) <= 6


@pytest.mark.parametrize(("ref", "seen"), [(OBAMA, HE), (CURIE, SHE)])
def test_a_film_is_found_with_the_time(query, made, ref, seen):
    first = query(ref).rows[0]
    assert first[4] == str(made / "library" / "party.mp4")
    assert seen[0] <= float(first[-1]) <= seen[1]
    assert float(first[3]) > 0.9
    match = json.loads(query(ref, "--json").out)["results"][0]["matches"][0]
    assert match["start"] <= match["time"] <= match["end"]
    assert match["start"] == pytest.approx(seen[0], abs=0.5)
    table = query(ref, "--format", "table").text
    assert f"party.mp4 at 0:00:0{int(match['time'])}\n" in table


def test_a_photo_has_no_time(query, ask, made):
    rows = query(LIBRARY / "biden.jpg").rows
    assert [row[-1] == "" for row in rows if row[4].endswith("biden.jpg")] == [True]
    heading = query(OBAMA, "--format", "csv").text.splitlines()[0]
    assert heading.split(",")[-1] == "time"
    matches = json.loads(query(LIBRARY / "biden.jpg", "--json").out)["results"][0]["matches"]
    assert [one["time"] for one in matches if one["path"].endswith("biden.jpg")] == [None]


def test_an_appearance_is_one_face(query):
    rows = query(OBAMA, "--by", "face").rows
    assert len([row for row in rows if row[4].endswith(".mp4")]) == 2


def test_what_is_seen_is_drawn(query, ask, made, tmp_path):
    assert query(OBAMA, "--sheet", tmp_path / "s.png", "--html", tmp_path / "a.html").status == 0
    with Image.open(tmp_path / "s.png") as image:
        assert image.size[0] > 300
    page = (tmp_path / "a.html").read_text()
    assert "party.mp4" in page
    assert "at 0:00:0" in page
    assert "Photo gone or unreadable" not in page
    faces = json.loads(ask("faces", made / "library" / "party.mp4", "--index", made / "i.npz", "--json").out)
    assert {"time", "start", "end"} <= faces["photos"][0]["faces"][0].keys()


def test_a_film_is_copied_once(query, tmp_path):
    query(OBAMA, "--by", "face", "--threshold", "0.7", "--copy-to", tmp_path / "found")
    assert os.listdir(tmp_path / "found") == ["party.mp4"]


def test_a_film_as_the_reference(query, made):
    rows = query(made / "library" / "party.mp4", "--all-faces", "--include-self").rows
    assert {row[4] for row in rows if float(row[2]) < 0.2} == {str(made / "library" / "party.mp4")}


def test_a_film_that_is_known_is_not_looked_at_again(ask, own):
    index = ("--index", own / "i.npz")
    # The copy has another root; its photos are known by their content.
    done = ask("index", own / "library", *index)
    assert "2 copied from known photos" in done.err
    before = appearances(open_index(own / "i.npz"))
    os.rename(own / "library" / "party.mp4", own / "library" / "renamed.mp4")
    done = ask("index", own / "library", *index)
    assert "1 moved" in done.err
    assert appearances(open_index(own / "i.npz")) == before
    assert "indexed" not in ask("index", own / "library", *index).err


def test_a_film_is_forgotten(ask, own):
    index = ("--index", own / "i.npz")
    assert ask("index", own / "library", *index).status == 0
    done = ask("forget", own / "library" / "party.mp4", "--copies", *index)
    assert done.status == 0
    assert appearances(open_index(own / "i.npz")) == []
    ask("index", own / "library", *index)
    assert appearances(open_index(own / "i.npz")) == []


def test_people_of_films_and_photos_are_one(ask, own):
    for name in ("obama_2009.jpg", "obama_2010.jpg"):
        shutil.copy(LIBRARY / name, own / "library")
    shutil.copy(CURIE, own / "library")
    index = ("--index", own / "i.npz")
    assert ask("index", own / "library", *index).status == 0
    assert ask("people", *index).status == 0
    sizes = sorted(int(row[2]) for row in ask("people", "list", *index).rows)
    assert sizes[-1] >= 3
    assert ask("people", "name", 1, "Barack", *index).status == 0
    found = ask("query", "--person", "Barack", *index)
    assert any(row[4].endswith("party.mp4") and row[-1] for row in found.rows)
    done = ask("people", "list", "--sheet", own / "p.png", *index)
    assert done.status == 0
    assert ask("people", "export", "--xmp", *index).status == 0
    assert not (own / "library" / "party.mp4.xmp").exists()


def test_photos_come_before_films_and_the_kinds_can_be_chosen(ask, own):
    plan = ask("index", own / "library", "--index", own / "n.npz", "--model", "sface", "--dry-run", "-v")
    new = [line.split()[-1].rpartition("/")[2] for line in plan.err.splitlines() if line.startswith("new")]
    assert new == ["biden.jpg", "party.mp4"]
    photos = ("index", own / "library", "--index", own / "n.npz", "--model", "sface", "--kinds", "photos")
    assert ask(*photos).status == 0
    assert appearances(open_index(own / "n.npz")) == []
    assert ask("index", own / "library", "--index", own / "n.npz", "--video-rate", "1").status == 0
    assert len(appearances(open_index(own / "n.npz"))) == 2


def test_the_film_of_a_live_photo_is_passed_over(ask, own):
    shutil.copy(OBAMA, own / "library" / "IMG_1.JPG")
    os.rename(own / "library" / "party.mp4", own / "library" / "IMG_1.mp4")
    index = ("--index", own / "n.npz", "--model", "sface")
    done = ask("index", own / "library", *index)
    assert "Passed over: 1 film of Live Photos (--live)" in done.err
    assert appearances(open_index(own / "n.npz")) == []
    again = ask("index", own / "library", *index)
    assert "1 film of Live Photos" in again.err
    assert ask("index", own / "library", *index, "--live").status == 0
    assert len(appearances(open_index(own / "n.npz"))) == 2


def test_a_damaged_film_ends_nothing(ask, own):
    film = own / "library" / "party.mp4"
    film.write_bytes(film.read_bytes()[:5000])
    done = ask("index", own / "library", "--index", own / "n.npz", "--model", "sface")
    assert done.status == 0
    assert "1 face of 1 photo (and 1 unreadable)" in done.err
    listed = json.loads(ask("info", "--index", own / "n.npz", "--list", "unreadable", "--json").out)
    assert listed["photos"][0]["path"] == str(film)


def test_on_the_page(made, tmp_path, model_store):
    from support.serving import Served

    shutil.copytree(made, tmp_path / "own")
    server = Served(Tool(tmp_path, model_store.root), "--index", tmp_path / "own" / "i.npz")
    try:
        (match, *_) = server.ask("/1/api/query?top=1", "POST", OBAMA.read_bytes()).json["results"][0][
            "matches"
        ]
        assert match["time"] is not None
        film = (made / "library" / "party.mp4").read_bytes()
        index = open_index(made / "i.npz")
        digest = index.digest[index.find(match["path"])].tobytes().hex()
        page = server.ask(f"/1/photo/{digest}?face={match['face']}").text
        assert f'/photo/{digest}/film#t={match["start"]:.1f}"' in page
        assert f">At 0:00:{int(match['time']):02}<" in page
        assert server.ask(f"/1/photo/{digest}.jpg?face=1").headers["content-type"] == "image/jpeg"
        assert server.ask(f"/1/face/{digest}/1.jpg").status == 200
        whole = server.ask(f"/1/photo/{digest}/film")
        assert whole.body == film
        part = server.ask(f"/1/photo/{digest}/film", Range="bytes=100-199")
        assert (part.status, part.body) == (206, film[100:200])
        photo = index.digest[index.find(str(made / "library" / "biden.jpg"))].tobytes().hex()
        assert server.ask(f"/1/photo/{photo}/film").status == 404
        assert "media-src 'self'" in server.ask("/1/").headers["content-security-policy"]
    finally:
        assert server.end() == 0


def test_a_film_without_a_face_can_be_had_from_the_page(ask, tmp_path, model_store):
    from support.serving import Served

    still = np.full((120, 160, 3), 90, np.uint8)
    film = write_film(tmp_path / "blank.mp4", [still] * 10, fps=10)
    shutil.copy(OBAMA, tmp_path)
    ask("index", tmp_path, "--index", "i.npz", "--model", "sface")
    assert ask("people", "name", tmp_path / OBAMA.name, "Barack", "--index", "i.npz").status == 0
    assert ask("people", "tag", film, "Barack", "--index", "i.npz").status == 0
    index = open_index(tmp_path / "i.npz")
    digest = index.digest[index.find(str(film))].tobytes().hex()
    server = Served(Tool(tmp_path, model_store.root), "--index", tmp_path / "i.npz")
    try:
        assert server.ask(f"/1/photo/{digest}").status == 200
        assert server.ask(f"/1/photo/{digest}/file").body == film.read_bytes()
    finally:
        assert server.end() == 0


@pytest.mark.slow
def test_a_terminal_shows_how_far_a_film_is(tmp_path, model_store):
    still = np.full((120, 160, 3), 90, np.uint8)
    write_film(tmp_path / f"{'a' * 40}.mp4", [still] * 40, fps=1, keys=5.0)  # three parts
    tool = Tool(tmp_path, model_store.root)
    status, shown = on_a_terminal(tool, "index", tmp_path, "--index", "i.npz", "--model", "sface")
    assert status == 0
    for part in ("33%", "67%", "100%"):
        assert f"0 faces, …{'a' * 25}.mp4: {part}" in shown


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_film_keeps_the_photos(made, tmp_path, model_store):
    folder = tmp_path / "library"
    shutil.copytree(LIBRARY, folder)
    film = made / "library" / "party.mp4"
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    write_film(folder / "long.mp4", frames * 12, keys=1000.0)
    tool = Tool(tmp_path, model_store.root)
    process = tool.start("index", folder, "--index", "i.npz", "--model", "sface", "--jobs", 1)
    journal, size = tmp_path / "i.npz.journal", -1
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # until nothing was added for a while: it is at the film
        time.sleep(0.7)
        now = journal.stat().st_size if journal.exists() else 0
        if now and now == size:
            break
        size = now
    assert process.poll() is None
    process.kill()
    process.communicate()
    done = tool.run("index", folder, "--index", "i.npz")
    assert done.status == 0
    assert "1 indexed" in done.err
    assert open_index(tmp_path / "i.npz").photo_count == len(os.listdir(folder))
