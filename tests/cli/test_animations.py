"""Animations and TIFFs of several pages: who is in a frame beyond the first is found, and shown."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.command import CURIE, LIBRARY, OBAMA, Tool
from support.films import cut_face
from support.once import made_once

from facesearch.detect import open_detector
from facesearch.index.npz.store import open_index

SIZE = (320, 320)


def photo(path):
    image = Image.open(path).convert("RGB")
    image.thumbnail(SIZE)
    ground = Image.new("RGB", SIZE, "white")
    ground.paste(image)
    return ground


def save(images, path):
    images[0].save(path, save_all=True, append_images=images[1:], duration=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory, model_store):
    """A folder of pictures with several frames, and an index of it; tests only read it."""

    def make(folder):
        he, she, blank = photo(LIBRARY / "obama_2010.jpg"), photo(CURIE), Image.new("RGB", SIZE, "white")
        (folder / "library").mkdir()
        save([blank, he, she], folder / "library" / "late.gif")
        save([she, she.rotate(1), she.rotate(2)], folder / "library" / "turning.webp")
        save([he, blank, blank, she, he.rotate(3)], folder / "library" / "album.tiff")
        done = Tool(folder, model_store.root).run("index", "library", "--index", "i.npz", "--model", "sface")
        assert done.status == 0, done

    return made_once(tmp_path_factory, "animations", make)


@pytest.fixture
def query(ask, made):
    return lambda *args: ask("query", *args, "--index", made / "i.npz")


def frames(index_file):
    """Return in which frames of each picture somebody is."""
    index = open_index(index_file)
    found = {}
    for row in range(index.face_count):
        moment = index.moment(row)
        name = index.path(int(index.photo[row])).rpartition("/")[2]
        found.setdefault(name, []).append(moment.frame if moment else 1)
    return {name: sorted(numbers) for name, numbers in found.items()}


def test_first_middle_and_last_frame_are_looked_at(made):
    assert {name: of for name, of in frames(made / "i.npz").items() if name != "turning.webp"} == {
        "late.gif": [2, 3],
        "album.tiff": [1, 5],
    }


def test_who_is_in_all_frames_of_an_animation_is_one_face(made):
    assert len(frames(made / "i.npz")["turning.webp"]) == 1


def test_all_frames(ask, made, tmp_path):
    done = ask(
        "index", made / "library", "--frames", "all", "--index", tmp_path / "i.npz", "--model", "sface"
    )
    assert done.status == 0
    assert frames(tmp_path / "i.npz")["album.tiff"] == [1, 4, 5]
    one = ask("index", made / "library", "--frames", "1", "--index", tmp_path / "o.npz", "--model", "sface")
    assert one.status == 0
    assert frames(tmp_path / "o.npz") == {"turning.webp": [1], "album.tiff": [1]}


@pytest.mark.parametrize("number", ["0", "-1", "some", "5001", "1.5"])
def test_frames_that_are_none(ask, made, tmp_path, number):
    done = ask("index", made / "library", f"--frames={number}", "--index", tmp_path / "i.npz")
    assert done.status == 2
    assert "neither a number from 1 to 5000 nor all" in done.err


def test_a_match_says_its_frame(query):
    first = json.loads(query(OBAMA, "--json").out)["results"][0]["matches"]
    late = next(match for match in first if match["path"].endswith("late.gif"))
    assert (late["frame"], late["time"], late["same_person"]) == (2, None, True)
    (row,) = [row for row in query(OBAMA).rows if row[4] == late["path"]]
    assert row[-2:] == ["2", ""]
    table = query(OBAMA, "--format", "table").text
    assert "late.gif in frame 2\n" in table
    assert [row[-1] for row in query(OBAMA).rows if row[4].endswith("late.gif")] == [""]


@pytest.mark.parametrize("name", ["late.gif", "album.tiff"])
@pytest.mark.parametrize("where", ["library", "elsewhere"])
def test_the_numbers_of_faces_are_those_of_a_reference(ask, query, made, tmp_path, name, where):
    if where == "elsewhere":  # it is looked at, and not only looked up
        shutil.copy(made / "library" / name, tmp_path)
    ref = made / "library" / name if where == "library" else tmp_path / name
    faces = [int(row[1]) for row in ask("faces", ref, "--index", made / "i.npz").rows]
    assert faces == [1, 2]
    boxes = json.loads(ask("faces", ref, "--index", made / "i.npz", "--json").out)["photos"][0]["faces"]
    for number, face in zip(faces, boxes, strict=True):
        told = json.loads(query(ref, "--face", number, "--top", 1, "--json").out)
        assert told["results"][0]["references"][0]["box"] == face["box"]
    assert "There is no face number 3" in query(ref, "--face", 3).err


def test_a_reference_that_is_gone_or_has_one_frame_is_not_only_looked_up(ask, tmp_path, made):
    folder = tmp_path / "l"
    folder.mkdir()
    shutil.copy(made / "library" / "late.gif", folder)
    Image.open(LIBRARY / "solvay_1927.jpg").save(folder / "group.png")
    (folder / "broken.gif").write_bytes(b"GIF89a")
    ask("index", folder, "--index", "r.npz", "--model", "sface", "--faces", "largest")
    assert len(ask("query", folder / "group.png", "--all-faces", "--index", "r.npz", "--top", 1).rows) > 20
    said = ask("query", folder / "broken.gif", "--index", "r.npz").err
    assert "broken.gif: It is not a picture in a format that is known here" in said
    (folder / "late.gif").unlink()
    assert ask("query", folder / "late.gif", "--index", "r.npz").status == 2


def test_compared_faces_are_drawn_from_their_frames(ask, made, tmp_path):
    shutil.copy(made / "library" / "late.gif", tmp_path / "copy.gif")
    both = (made / "library" / "late.gif", tmp_path / "copy.gif")
    assert ask("compare", *both, "--model", "sface", "--sheet", "c.png").status == 0
    with Image.open(tmp_path / "c.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert (pixels < 128).mean() > 0.1  # the first frame is blank


def test_the_frame_is_drawn(query, ask, made, tmp_path):
    matches = json.loads(query(OBAMA, "--json").out)["results"][0]["matches"]
    rank = next(match["rank"] for match in matches if match["path"].endswith("late.gif"))
    assert (
        query(OBAMA, "--top", rank, "--sheet", tmp_path / "s.png", "--html", tmp_path / "a.html").status == 0
    )
    assert "in frame 2" in (tmp_path / "a.html").read_text()
    done = ask(
        "faces", made / "library" / "late.gif", "--index", made / "i.npz", "--sheet", tmp_path / "f.png"
    )
    assert done.status == 0
    with Image.open(tmp_path / "f.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    # Both frames are there: one of them alone would be as high as it is wide.
    assert pixels.shape[0] > 1.8 * pixels.shape[1]
    dark = (pixels.max(axis=2) < 128).mean(axis=1)
    assert dark[: len(dark) // 2].max() > 0.1
    assert dark[len(dark) // 2 :].max() > 0.1


def test_people_of_frames_and_pages(ask, made, tmp_path):
    shutil.copytree(made, tmp_path / "own")
    index = ("--index", tmp_path / "own" / "i.npz")
    assert "3 copied from known photos" in ask("index", tmp_path / "own" / "library", *index).err
    assert ask("people", *index).status == 0
    faces = [int(row[3]) for row in ask("people", "list", *index).rows]
    assert sorted(faces) == [4, 6]  # of both copies; a person may be on several pages of one file
    for number, name in ((1, "Barack"), (2, "Marie")):
        assert ask("people", "name", number, name, *index).status == 0
    assert ask("people", "export", "--xmp", *index).status == 0
    gif, album = (
        (tmp_path / "own" / "library" / f"{name}.xmp").read_text("utf-8")
        for name in ("late.gif", "album.tiff")
    )
    assert "Barack" in gif
    assert "Marie" in gif
    assert "Regions" not in gif  # they would be in the first frame, in which nobody is
    assert album.count("<mwg-rs:Area") == 1


def test_the_page_shows_the_frame(made, tmp_path, model_store):
    from support.serving import Served

    index = open_index(made / "i.npz")
    photo_number = index.find(str(made / "library" / "late.gif"))
    digest = index.digest[photo_number].tobytes().hex()
    (tmp_path / "i.npz").write_bytes((made / "i.npz").read_bytes())
    server = Served(Tool(tmp_path, model_store.root), "--index", tmp_path / "i.npz")
    try:
        page = server.ask(f"/1/photo/{digest}").text
        assert "Seen in frame 2" in page
        assert "Seen in frame 3" in page
        assert "<video" not in page
        for face, row in enumerate(index.faces_of(photo_number), start=1):
            page = server.ask(f"/1/photo/{digest}?face={face}").text
            assert f">In frame {index.moment(row).frame}<" in page
        pictures = {server.ask(f"/1/photo/{digest}.jpg{at}").body for at in ("", "?face=1", "?face=2")}
        assert len(pictures) == 3
        assert server.ask(f"/1/photo/{digest}/film").status == 404
    finally:
        assert server.end() == 0


@pytest.fixture
def crossing(ask, tmp_path, model_store):
    """An index of pages with three people at one place, and of an animation that one walks through."""
    detector = open_detector("yunet", store=model_store)
    photos = (LIBRARY / "obama_2010.jpg", CURIE, LIBRARY / "henry_moseley.jpg")
    faces = [Image.fromarray(cut_face(one, detector)[..., ::-1]).resize((200, 240)) for one in photos]

    def shown(face, x):
        ground = Image.new("RGB", (640, 320), "white")
        ground.paste(face, (x, 40))
        return ground

    folder = tmp_path / "library"
    folder.mkdir()
    save([shown(face, 60) for face in faces], folder / "album.tiff")
    save([shown(faces[1].rotate(x / 60), x) for x in range(20, 420, 50)], folder / "walk.webp")

    def index(*args):
        done = ask("index", folder, "--index", "c.npz", "--model", "sface", *args)
        assert done.status == 0, done
        return open_index(tmp_path / "c.npz")

    index()
    return folder, index


def test_a_name_stays_with_its_face_whichever_frames_are_looked_at(ask, crossing):
    folder, index = crossing
    assert frames_of_people(ask, folder / "album.tiff") == {1: None, 2: None, 3: None}
    for number, name in enumerate(("Barack", "Marie", "Henry"), start=1):
        page = json.loads(ask("faces", folder / "album.tiff", "--index", "c.npz", "--json").out)
        face = next(one for one in page["photos"][0]["faces"] if (one.get("frame") or 1) == number)
        assert (
            ask("people", "name", f"{folder / 'album.tiff'}#{face['face']}", name, "--index", "c.npz").status
            == 0
        )
    assert ask("people", "name", folder / "walk.webp", "Walker", "--index", "c.npz").status == 0
    named = {1: "Barack", 2: "Marie", 3: "Henry"}
    assert frames_of_people(ask, folder / "album.tiff") == named
    index("--rebuild", "--frames", 1)
    assert frames_of_people(ask, folder / "album.tiff") == {1: "Barack"}
    for many in ("all", 2, 3):
        index("--rebuild", "--frames", many)
        assert set(frames_of_people(ask, folder / "walk.webp").values()) == {"Walker"}
    assert frames_of_people(ask, folder / "album.tiff") == named


def frames_of_people(ask, path):
    """Return whose the faces of a picture are, by their frames."""
    told = json.loads(ask("faces", path, "--index", "c.npz", "--json").out)
    faces = told["photos"][0]["faces"]
    return {face.get("frame") or 1: (face["person"] or {}).get("name") or None for face in faces}


@pytest.mark.slow
@pytest.mark.parametrize("many", [1, 2, "all"])
def test_who_is_forgotten_is_in_no_other_frame_and_nobody_else_goes(ask, crossing, many):
    folder, index = crossing
    before = index()
    assert before.face_count >= 4
    assert ask("people", "name", folder / "walk.webp", "Marie", "--index", "c.npz").status == 0
    page = f"{folder / 'album.tiff'}#{page_two(ask, folder)}"
    assert ask("people", "add", "Marie", page, "--index", "c.npz").status == 0
    assert ask("forget", "--person", "Marie", "--index", "c.npz").status == 0
    after = index("--rebuild", "--frames", many)
    assert ask("query", CURIE, "--index", "c.npz", "--threshold", 0.5).names == []
    assert 1 in frames_of_people(ask, folder / "album.tiff")
    assert 0 < after.face_count <= 2


@pytest.mark.slow
@pytest.mark.parametrize("many", [1, 3])
def test_an_index_that_knows_animations_by_their_first_frame_keeps_what_is_known(
    ask, tmp_path, crossing, many, monkeypatch
):
    """As earlier versions did."""
    folder, index = crossing
    with monkeypatch.context() as patched:
        patched.setattr("facesearch.photos.content.frame_count", lambda data: 1)
        (tmp_path / "c.npz").unlink()
        index()
        assert ask("people", "name", folder / "walk.webp", "Walker", "--index", "c.npz").status == 0
        page = next(number for number in (1, 2, 3) if frame_of(ask, folder / "album.tiff", number) == 1)
        assert (
            ask("people", "name", f"{folder / 'album.tiff'}#{page}", "Barack", "--index", "c.npz").status == 0
        )
        assert ask("forget", "--person", "Barack", "--index", "c.npz").status == 0
    for _ in range(2):
        index("--rebuild", "--frames", many)
        assert set(frames_of_people(ask, folder / "walk.webp").values()) == {"Walker"}
        assert 1 not in frames_of_people(ask, folder / "album.tiff")
        assert ask("query", OBAMA, "--index", "c.npz", "--threshold", 0.5).names == []


def frame_of(ask, path, number):
    told = json.loads(ask("faces", path, "--index", "c.npz", "--json").out)
    return told["photos"][0]["faces"][number - 1].get("frame") or 1


def page_two(ask, folder):
    told = json.loads(ask("faces", folder / "album.tiff", "--index", "c.npz", "--json").out)
    return next(face["face"] for face in told["photos"][0]["faces"] if face.get("frame") == 2)
