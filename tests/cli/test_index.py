"""`facesearch index`, and what changes an index afterwards: which photos are taken in, and what is said."""

import json
import os
import shutil

import numpy as np
import pytest
from support.command import LIBRARY, OBAMA

from facesearch.faces import Box
from facesearch.photos.content import fingerprint
from facesearch.show.thumbnails import Thumbnails

FACES = ["grace_hopper.jpg", "henry_moseley.jpg"]


@pytest.fixture
def photos(tmp_path):
    """Two photos with a face, one without, a text that is none: small, so that a run is short."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in [*FACES, "rocket.jpg"]:
        shutil.copy2(LIBRARY / name, folder)
    (folder / "notes.txt").write_text("no photo by its name")
    (folder / "broken.jpg").write_text("no photo by its content")
    return folder


@pytest.fixture
def index(ask):
    return lambda *args: ask("index", "--index", "i.npz", *args)


@pytest.fixture
def listed(ask, tmp_path):
    """The photos of the index, by their paths relative to the test's folder."""

    def listed(status="ok", index="i.npz"):
        done = ask("info", "--index", index, "--list", status)
        return [os.path.relpath(path, tmp_path) for path in done.text.splitlines()]

    return listed


@pytest.fixture
def vectors(tmp_path):
    """The vectors of the index, by the name of their photo."""

    def vectors():
        with np.load(tmp_path / "i.npz", allow_pickle=False) as file:
            ends = file["path_ends"].tolist()
            blob = file["paths"].tobytes()
            names = [blob[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            photo = file["photo"].tolist()
            rows = file["vectors"]
        return {
            os.path.basename(os.fsdecode(names[p])): row.tobytes() for p, row in zip(photo, rows, strict=True)
        }

    return vectors


def test_the_tally(index, photos, tmp_path):
    done = index(photos)
    assert (done.status, done.out) == (0, b"")
    reason, tally, total, others = done.err.splitlines()
    assert reason == f"{photos}/broken.jpg: It is not a picture in a format that is known here."
    assert tally.startswith("2 indexed, 1 without a face, 1 unreadable in ")
    assert tally.endswith(" photos/s)")
    assert total == f"2 faces of 3 photos (and 1 unreadable) in {tmp_path}/i.npz"
    assert others == "Passed over: 1 TXT"
    again = index(photos)
    assert again.err == f"4 unchanged\n{total}\n{others}\n"


def test_what_changed_moved_came_and_went(index, photos, vectors, ask):
    index(photos)
    before = vectors()
    os.rename(photos / "grace_hopper.jpg", photos / "moved.jpg")
    os.utime(photos / "henry_moseley.jpg", (1, 1))  # another time, the same content
    (photos / "rocket.jpg").unlink()
    shutil.copy(photos / "moved.jpg", photos / "copied.jpg")
    shutil.copy(LIBRARY / "dmitri_mendeleev.jpg", photos)
    done = index(photos)
    assert done.err.startswith("1 indexed, 2 unchanged, 1 moved, 1 copied from known photos, 1 removed in ")
    after = vectors()
    assert set(after) == {"moved.jpg", "copied.jpg", "henry_moseley.jpg", "dmitri_mendeleev.jpg"}
    assert after["moved.jpg"] == after["copied.jpg"] == before["grace_hopper.jpg"]
    assert after["henry_moseley.jpg"] == before["henry_moseley.jpg"]
    assert index(photos).err.startswith("5 unchanged\n")


def test_a_changed_photo_is_looked_at_again(index, photos, vectors):
    index(photos)
    before = vectors()["grace_hopper.jpg"]
    shutil.copy(LIBRARY / "biden.jpg", photos / "grace_hopper.jpg")
    assert index(photos).err.startswith("1 indexed, 3 unchanged in ")
    assert vectors()["grace_hopper.jpg"] != before


def test_json_tells_the_same(index, photos):
    done = index(photos, "--json")
    report = json.loads(done.out)
    assert (report["schema"], report["indexed"], report["no_face"], report["photos"]) == (2, 2, 1, 4)
    assert report["unreadable"] == [
        {"path": f"{photos}/broken.jpg", "reason": "It is not a picture in a format that is known here."}
    ]
    assert report["index"].endswith("/i.npz")
    assert "indexed" not in done.err


def test_quiet_says_nothing_when_all_is_well(index, photos):
    (photos / "broken.jpg").unlink()
    done = index(photos, "-q")
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_ten_unreadable_photos_are_listed_all_with_v(index, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.jpg").touch()
    done = index(folder)
    assert done.status == 0
    assert done.err.count("It is empty.") == 10
    assert "... and 2 more: `facesearch info --list unreadable`." in done.err
    assert "12 unreadable" in done.err
    (tmp_path / "i.npz").unlink()
    assert index(folder, "-v").err.count("It is empty.") == 12


def test_a_list_of_errors_and_strict(index, photos, tmp_path):
    os.rename(photos / "broken.jpg", photos / "tab\tand\nline.jpg")
    done = index(photos, "--errors", "errors.tsv", "--strict")
    assert done.status == 2
    assert (tmp_path / "errors.tsv").read_text() == (
        f"{photos}/tab\\tand\\nline.jpg\tIt is not a picture in a format that is known here.\n"
    )
    assert "2 indexed" in done.err  # everything else was done


def test_a_list_of_errors_that_cannot_be_written(index, photos):
    done = index(photos, "--errors", "/dev/full")
    assert done.status == 2
    assert "'/dev/full' cannot be written: No space left on device." in done.err
    assert index(photos).err.startswith("4 unchanged")


def test_a_missing_path_does_not_keep_the_rest_from_being_done(index, photos):
    done = index("nowhere", photos)
    assert done.status == 2
    assert "nowhere cannot be read: No such file or directory." in done.err
    assert "2 indexed" in done.err
    assert index(photos).status == 0


def test_dry_run_writes_nothing(index, photos, tmp_path):
    before = sorted(os.walk(tmp_path))
    done = index(photos, "--dry-run")
    assert (done.status, done.text) == (0, "4 new or changed, 0 unchanged, 0 gone\n")
    assert done.err == "Passed over: 1 TXT\n"
    assert sorted(os.walk(tmp_path)) == before

    index(photos)
    held = (tmp_path / "i.npz").read_bytes()
    (photos / "rocket.jpg").unlink()
    shutil.copy(LIBRARY / "biden.jpg", photos)
    done = index(photos, "--dry-run", "-v")
    assert done.text == "1 new or changed, 3 unchanged, 1 gone\n"
    assert done.err.startswith(f"new       {photos}/biden.jpg\ngone      {photos}/rocket.jpg\n")
    plan = json.loads(index(photos, "--dry-run", "--json").out)
    assert plan["new"] == [{"path": f"{photos}/biden.jpg"}]
    assert plan["gone"] == [{"path": f"{photos}/rocket.jpg"}]
    assert (plan["passed_over"], plan["links"], plan["excluded"]) == ({"TXT": 1}, 0, [])
    assert plan["unchanged"] == 3
    assert (tmp_path / "i.npz").read_bytes() == held
    assert index("nowhere", "--dry-run").status == 2


def test_hidden_exclude_and_follow(index, photos, listed, tmp_path):
    (photos / "broken.jpg").unlink()
    away = tmp_path / "away"
    away.mkdir()
    for name in (".hidden.jpg", "inner/.thumbs/a.jpg", "inner/b.jpg", "../away/c.jpg"):
        place = photos / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(LIBRARY / "henry_moseley.jpg", place)
    os.symlink(away, photos / "link")
    os.symlink(photos, photos / "inner" / "loop")
    known = ["photos/grace_hopper.jpg", "photos/henry_moseley.jpg"]

    done = index(photos, "--exclude", "inner")
    assert done.err.endswith("Passed over: 1 TXT, 1 link (--follow)\n")
    assert listed() == known
    done = index(photos, "--exclude", "hen*", "--exclude", "inner/b.jpg", "--keep-excluded")
    assert listed() == known
    done = index(photos, "--exclude", "hen*", "--exclude", "typo", "--dry-run")
    assert done.text == "1 new or changed, 2 unchanged, 0 gone, 1 to leave out\n"
    assert "--exclude typo matched nothing" in done.err
    assert listed() == known
    done = index(photos, "--exclude", "hen*", "--exclude", "inner")
    assert "1 left out now" in done.err
    assert listed() == known[:1]
    index(photos)
    assert listed() == sorted([*known, "photos/inner/b.jpg"])
    index(photos, "--hidden")
    hidden = ["photos/.hidden.jpg", "photos/inner/.thumbs/a.jpg"]
    assert listed() == sorted([*known, *hidden, "photos/inner/b.jpg"])
    index(photos, "--hidden", "--follow")
    assert listed() == sorted([*known, *hidden, "photos/inner/b.jpg", "photos/link/c.jpg"])


@pytest.mark.slow
def test_a_photo_named_outright_and_the_largest_face_alone(ask, listed):
    done = ask("index", LIBRARY / "solvay_1927.jpg", "--index", "i.npz", "--faces", "largest")
    assert done.status == 0
    assert done.err.splitlines()[1].startswith("1 face of 1 photo in ")


def test_most_of_a_folder_gone_is_not_believed_without_prune(index, photos, listed, tmp_path):
    index(photos)
    shutil.move(photos, tmp_path / "elsewhere")
    photos.mkdir()
    done = index(photos)
    assert done.status == 0
    assert f"4 photos below {photos} cannot be found any more" in done.err
    assert "--prune" in done.err
    assert len(listed()) == 2
    assert index(photos, "--strict").status == 2
    assert index(photos, "--prune").err.startswith("4 removed\n")
    assert listed() == []


def test_a_folder_that_is_away_keeps_its_photos(index, photos, listed, tmp_path):
    index(photos)
    shutil.move(photos, tmp_path / "elsewhere")
    done = index(photos)
    assert done.status == 2
    assert "What the index has of it was kept." in done.err
    assert len(listed()) == 2


def test_forget_and_again(ask, index, photos, listed):
    index(photos)
    done = ask("forget", photos / "grace_hopper.jpg", "--index", "i.npz")
    assert (done.status, done.out, done.err) == (0, b"", "1 photo forgotten\n")
    assert (photos / "grace_hopper.jpg").exists()
    assert listed() == ["photos/henry_moseley.jpg"]
    shutil.copy(photos / "grace_hopper.jpg", photos / "copy.jpg")
    assert "2 forgotten" in index(photos).err
    assert listed() == ["photos/henry_moseley.jpg"]
    assert ask("forget", "never.jpg", "--index", "i.npz").status == 1
    assert "2 indexed" in index(photos, "--again").err
    assert listed() == ["photos/copy.jpg", "photos/grace_hopper.jpg", "photos/henry_moseley.jpg"]
    assert "unchanged" in index(photos).err


def test_forget_removes_the_small_pictures_too(ask, index, photos, monkeypatch, tmp_path):
    """Those of copies as well, and those that an earlier call left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index(photos)
    gone, kept = photos / "grace_hopper.jpg", photos / "henry_moseley.jpg"
    cache = Thumbnails()
    for path in (gone, kept):
        cache.photo(str(path), fingerprint(path.read_bytes()), 100)
        cache.face(str(path), fingerprint(path.read_bytes()), Box(10, 10, 50, 50), 64)

    def names():
        return [path.name[:32] for path in cache.folder.rglob("*.jpg")]

    assert len(names()) == 4
    assert ask("forget", gone, "--index", "i.npz").status == 0
    assert names() == [fingerprint(kept.read_bytes()).hex()] * 2
    cache.photo(str(gone), fingerprint(gone.read_bytes()), 100)
    assert ask("forget", gone, "--index", "i.npz").status == 1
    assert names() == [fingerprint(kept.read_bytes()).hex()] * 2


@pytest.mark.parametrize("name", ["forget", "index"])
def test_an_empty_name_is_not_this_folder(ask, index, photos, listed, monkeypatch, name):
    index(photos)
    monkeypatch.chdir(photos)
    done = ask(name, "", "--index", "../i.npz")
    assert done.status == 2
    assert "An empty name names no file." in done.err
    assert len(listed(index="../i.npz")) == 2


def test_move_root_embeds_nothing_again(ask, index, photos, vectors, listed, tmp_path):
    index(photos)
    before = vectors()
    shutil.move(photos, tmp_path / "new home")
    done = ask("move-root", photos, "new home", "--index", "i.npz")
    assert done.status == 0
    assert done.err == f"4 photos lie below {tmp_path}/new home now\n"
    assert listed() == [f"new home/{name}" for name in FACES]
    assert vectors() == before
    assert index(tmp_path / "new home").err.startswith("4 unchanged\n")  # none was even opened
    done = ask("move-root", photos, "new home", "--index", "i.npz")
    assert done.status == 2
    assert "holds no photo below" in done.err


def test_other_settings_are_refused_until_rebuild(index, photos, listed, ask):
    index(photos)
    done = index(photos, "--min-face", 150)
    assert done.status == 2
    assert "settings 'min_face=150', and the index has 'min_face=0'." in done.err
    assert "--rebuild" in done.err
    done = index(photos, "--detector", "nothing-like-it", "--rebuild")
    assert done.status == 2
    assert len(listed()) == 2  # the old index serves on
    done = index(photos, "--min-face", 150, "--rebuild")
    assert done.status == 0
    assert json.loads(ask("info", "--index", "i.npz", "--json").out)["settings"]["min_face"] == 150
    assert index(photos).err.startswith("4 unchanged")  # what it holds to need not be said again
    assert index(photos, "--min-face", 40).status == 2


@pytest.mark.slow
def test_rebuild_takes_all_that_the_index_covers(index, photos, listed, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(LIBRARY / "biden.jpg", other)
    index(photos)
    done = index(other, "--rebuild")
    assert "3 indexed" in done.err
    assert listed() == ["other/biden.jpg", *(f"photos/{name}" for name in FACES)]
    shutil.rmtree(other)
    done = index(photos, "--rebuild")
    assert done.status == 2
    assert "move-root" in done.err
    assert len(listed()) == 3


@pytest.mark.slow
def test_rotations(index, ask, tmp_path):
    from PIL import Image

    Image.open(OBAMA).convert("RGB").rotate(90, expand=True).save(tmp_path / "turned.png")
    assert "1 without a face" in index("turned.png").err
    assert index("turned.png", "--rotations", "--rebuild").err.startswith("1 indexed")
    done = ask("query", OBAMA, "--index", "i.npz")
    assert float(done.rows[0][2]) < 0.1  # it was turned upright before it was embedded


def test_the_turned_sample_is_upright(ask, sample_index):
    """charles_barkla.jpg lies on its side and is turned by its EXIF flag."""
    (row,) = ask(
        "query", LIBRARY / "charles_barkla.jpg", "--include-self", "--top", 1, "--index", sample_index
    ).rows
    x, y, w, h = map(int, row[5:9])
    assert x + w <= 1217
    assert y + h <= 1600
    assert w > 600


@pytest.mark.slow
def test_batch_and_jobs_do_not_change_the_answer(index, photos, vectors, tmp_path):
    index(photos)
    before = vectors()
    (tmp_path / "i.npz").unlink()
    assert index(photos, "--batch", 1, "--jobs", 1).status == 0
    assert vectors() == before


def test_a_folder_without_photos(index, tmp_path):
    (tmp_path / "empty").mkdir()
    done = index("empty")
    assert done.status == 0
    assert done.err.startswith("nothing to do\n0 faces of 0 photos in ")


def test_no_path_is_a_usage_error(ask):
    done = ask("index")
    assert done.status == 2
    assert "PATH" in done.err


def test_pipes_and_devices_are_no_photos_and_block_nothing(index, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    done = index("pipe.jpg", "/dev/zero")
    assert done.status == 0
    assert done.err.count("It is not an ordinary file.") == 2
    assert "2 unreadable" in done.err
