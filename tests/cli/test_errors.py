"""What stands in the way: each gets a sentence, the next step and status 2, and nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from support.command import LIBRARY, OBAMA, without_roots_privileges
from support.real_photos import altered


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("grace_hopper.jpg", "henry_moseley.jpg"):
        shutil.copy2(LIBRARY / name, folder)
    return folder


@pytest.fixture
def own_index(sample_index, tmp_path):
    """A copy of the samples' index that may be harmed."""
    return shutil.copy(sample_index, tmp_path / "own.npz")


def rewrite(path, **arrays):
    """Change arrays of an index file; None leaves one out."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    held.update(arrays)
    np.savez(path, **{name: value for name, value in held.items() if value is not None})


def alter(path, name, change):
    with np.load(path) as file:
        held = file[name]
    rewrite(path, **{name: change(held)})


def spoil_meta(path, **facts):
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
    rewrite(path, meta=np.array(json.dumps({**meta, **facts})))


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def make_pickle(path):
    objects = np.array([{"a": 1}, None], dtype=object)
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    np.savez(path, **{**held, "scores": objects})


def make_folder(path):
    os.unlink(path)
    os.mkdir(path)


def make_bomb(path):
    """An archive that claims far more than it holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = (
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 2048), }"
        )
        archive.writestr("vectors.npy", head.ljust(127) + b"\n")


# How a file is spoilt, and what is said about it.
SPOILT = {
    "empty": (lambda path: os.truncate(path, 0), "cannot be used as an index"),
    "text": (lambda path: open(path, "w").write("hello\n") and None, "cannot be used as an index"),  # noqa: SIM115
    "truncated": (truncate, "cannot be used as an index"),
    "a folder": (make_folder, "cannot be used as an index"),
    "a pickle": (make_pickle, "cannot be used as an index"),
    "a bomb": (make_bomb, "cannot be used as an index"),
    "no vectors": (lambda path: rewrite(path, vectors=None), "cannot be used as an index"),
    "wrong dtype": (lambda path: alter(path, "boxes", lambda held: held * 1.0), "cannot be used as an index"),
    "faces of no photo": (
        lambda path: alter(path, "photo", lambda held: held + 99),
        "cannot be used as an index",
    ),
    "paths past the end": (
        lambda path: alter(path, "path_ends", lambda held: held + 10**9),
        "cannot be used",
    ),
    "newer format": (lambda path: rewrite(path, format=np.array(999)), "format 999"),
    "other weights": (
        lambda path: spoil_meta(path, model_digest="tensors-sha256:" + "0" * 64),
        "weights",
    ),
}


@pytest.mark.parametrize("harm", SPOILT)
def test_an_index_that_cannot_be_used(ask, own_index, photos, harm):
    spoil, said = SPOILT[harm]
    spoil(own_index)
    before = own_index.stat()
    for args in (["query", OBAMA], ["index", photos]):
        done = ask(*args, "--index", own_index)
        assert (done.status, done.out) == (2, b""), args
        sentence, *hint = done.err.rstrip().split("\n")
        assert sentence.startswith("facesearch: ")
        assert said in done.err
        assert str(own_index) in sentence or "does not fit the index" in sentence
        assert "".join(hint).endswith(".")
        assert "" not in hint
    assert (own_index.stat().st_size, own_index.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("harm", ["empty", "truncated", "newer format", "a pickle"])
def test_info_forget_and_move_root_refuse_it_too(ask, own_index, harm):
    SPOILT[harm][0](own_index)
    before = own_index.read_bytes()
    for args in (["info"], ["forget", LIBRARY], ["move-root", LIBRARY, "/new"]):
        done = ask(*args, "--index", own_index)
        assert (done.status, done.out) == (2, b"")
        assert str(own_index) in done.err
    assert own_index.read_bytes() == before


@pytest.mark.slow
def test_a_broken_index_is_rebuilt_when_asked(ask, own_index, photos):
    truncate(own_index)
    assert "--rebuild" in ask("query", OBAMA, "--index", own_index).err
    assert ask("index", photos, "--index", own_index, "--rebuild").status == 0
    assert len(ask("query", OBAMA, "--index", own_index).rows) == 2


def test_no_index_yet(ask, tmp_path):
    for args in (["query", OBAMA], ["info"], ["forget", "x"], ["move-root", "/a", "/b"]):
        done = ask(*args)
        assert (done.status, done.out) == (2, b"")
        assert f"There is no index at '{tmp_path}/data/facesearch/resnet50.npz'." in done.err
        assert "facesearch index FOLDER" in done.err
    assert not (tmp_path / "nowhere.npz").exists()


@pytest.mark.slow
@pytest.mark.slow
def test_the_only_index_is_used_and_of_several_one_is_to_be_chosen(ask, photos, tmp_path, monkeypatch):
    assert ask("index", photos, "--model", "sface").status == 0
    place = tmp_path / "data" / "facesearch"
    for command in (("query", OBAMA), ("info",), ("people",), ("people", "list")):
        done = ask(*command)
        assert done.status in (0, 1)
        assert done.err.startswith(f"The default model has no index; sface's is used: {place}/sface.npz\n")
    assert ask("query", OBAMA, "-q").err == ""
    shutil.copy(place / "sface.npz", place / "family.npz")
    done = ask("query", OBAMA)
    assert done.status == 2
    assert "resnet50, has no index; there are those of family, sface." in done.err
    assert "--model" in done.err
    monkeypatch.setenv("FACESEARCH_MODEL", "sface")
    assert ask("query", OBAMA).err == ""
    monkeypatch.delenv("FACESEARCH_MODEL")
    # To index is to make the one that is named, or the default one.
    assert ask("index", photos).status == 0
    assert (place / "resnet50.npz").exists()
    assert ask("query", OBAMA).err == ""


def test_the_default_index_lies_in_the_users_data_folder(ask, photos, tmp_path, monkeypatch):
    assert ask("index", photos).status == 0
    assert (tmp_path / "data" / "facesearch" / "resnet50.npz").is_file()
    monkeypatch.chdir("/")
    assert len(ask("query", OBAMA).rows) == 2


@pytest.mark.slow
def test_facesearch_index_names_another(ask, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEARCH_INDEX", "mine.npz")
    assert ask("index", photos).status == 0
    assert (tmp_path / "mine.npz").is_file()
    assert len(ask("query", OBAMA).rows) == 2
    assert ask("query", OBAMA, "--index", "other.npz").status == 2  # the option comes first
    monkeypatch.setenv("FACESEARCH_INDEX", "")
    assert "data/facesearch/resnet50.npz" in ask("query", OBAMA).err


@pytest.mark.slow
def test_an_index_remembers_its_model(ask, sample_index, monkeypatch, tmp_path):
    done = ask("query", OBAMA, "--index", sample_index, "--model", "other")
    assert done.status == 2
    assert "was made with the model 'resnet50', and 'other' is asked for." in done.err
    assert "--model" in done.err.splitlines()[1]
    assert ask("query", OBAMA, "--index", sample_index, "--model", "resnet50").status == 0

    monkeypatch.setenv("FACESEARCH_MODEL", "other")  # only fills in where no index file says otherwise
    assert ask("query", OBAMA, "--index", sample_index).status == 0
    done = ask("query", OBAMA)
    assert done.status == 2
    assert f"'{tmp_path}/data/facesearch/other.npz'" in done.err or "'other'" in done.err
    done = ask("index", LIBRARY, "--index", "new.npz")
    assert done.status == 2
    assert "There is no model 'other'." in done.err
    assert "facesearch models list" in done.err
    assert ask("index", LIBRARY, "--index", "new.npz", "--model", "resnet50", "--dry-run").status == 0


def test_a_device_that_is_not_there(ask, sample_index, photos):
    done = ask("query", OBAMA, "--index", sample_index, "--device", "QPU")
    assert done.status == 2
    assert "no device QPU" in done.err
    assert ask("index", photos, "--index", "i.npz", "--device", "QPU").status == 2
    assert ask("index", photos, "--index", "i.npz").err.startswith("2 indexed")


def limit_files(size):
    """Let no file grow past a size: what a full disk does, without filling one."""
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    [pytest.param(1_000, marks=pytest.mark.slow), 12_000, pytest.param(24_000, marks=pytest.mark.slow)],
)
def test_a_full_disk_loses_nothing(tool, ask, own_index, photos, size):
    """The limits lie in the journal's first record, in its faces, and in the index file itself."""
    for number, photo in enumerate(photos.iterdir()):
        photo.write_bytes(altered(photo, 50 * number))  # a picture that the index does not know
    held = own_index.read_bytes()
    done = tool.run("index", photos, "--index", own_index, preexec_fn=limit_files(size))
    assert done.status == 2
    sentence, hint = done.err.rstrip().split("\n")
    assert "cannot be written: File too large." in sentence
    assert str(own_index) in sentence
    assert hint == "Free some space and run the same command again: what was done so far is kept."
    assert own_index.read_bytes() == held
    assert ask("query", OBAMA, "--index", own_index).names[:1] == ["obama_2009.jpg"]
    done = ask("index", photos, "--index", own_index)
    assert done.status == 0
    assert " of 14 photos in " in done.err
    left = {path.name for path in own_index.parent.iterdir()} - {"photos", "own.npz.lock", "data"}
    assert left == {"own.npz"}


@pytest.mark.slow
def test_a_full_disk_under_what_a_query_writes(tool, sample_index):
    for option in (["--sheet", "sheet.png"], ["--copy-to", "found"]):
        done = tool.run("query", OBAMA, "--index", sample_index, *option, preexec_fn=limit_files(1_000))
        assert done.status == 2
        assert done.names[:1] == ["obama_2009.jpg"]  # the answer itself is there
        assert "not written" in done.err or "cannot be written: File too large." in done.err
    assert not (tool.folder / "sheet.png").exists()
    assert list((tool.folder / "found").iterdir()) == []


@pytest.fixture
def locked(tmp_path):
    """A folder that may not be written."""
    folder = tmp_path / "locked"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


@pytest.mark.slow
def test_a_folder_that_may_not_be_written(tool, ask, own_index, photos, locked):
    os.rename(own_index, locked / "own.npz")
    locked.chmod(0o555)
    index = locked / "own.npz"
    for args in (["index", photos], ["forget", LIBRARY], ["move-root", LIBRARY, "/new"]):
        done = tool.run(*args, "--index", index, preexec_fn=without_roots_privileges)
        assert (done.status, done.out) == (2, b"")
        assert str(locked) in done.err
        assert "Permission denied" in done.err
        assert "Choose a place that you may write to." in done.err
    done = tool.run("query", OBAMA, "--index", index, preexec_fn=without_roots_privileges)
    assert done.status == 0  # reading needs no lock
    done = tool.run(
        "query", OBAMA, "--index", index, "--sheet", locked / "s.jpg", preexec_fn=without_roots_privileges
    )
    assert (done.status, len(done.rows)) == (2, 4)
    assert "Permission denied" in done.err


@pytest.mark.slow
def test_photos_and_folders_that_may_not_be_read(tool, photos, locked):
    shutil.copy(LIBRARY / "biden.jpg", locked)
    (photos / "inner").mkdir()
    shutil.copy(LIBRARY / "biden.jpg", photos / "inner")
    (photos / "inner").chmod(0)
    (photos / "grace_hopper.jpg").chmod(0)
    locked.chmod(0)
    done = tool.run("index", photos, locked, "--index", "i.npz", preexec_fn=without_roots_privileges)
    (photos / "inner").chmod(0o755)
    assert done.status == 2
    assert f"{locked} cannot be read: Permission denied." in done.err
    assert f"{photos}/inner cannot be read: Permission denied." in done.err
    assert f"{photos}/grace_hopper.jpg: It cannot be read (Permission denied)." in done.err
    assert "1 indexed, 1 unreadable" in done.err
    (photos / "grace_hopper.jpg").chmod(0o644)
    assert tool.run("index", photos, "--index", "i.npz").err.startswith("2 indexed, 1 unchanged")


def test_a_loop_of_links_ends(ask, photos):
    os.symlink(photos, photos / "loop")
    done = ask("index", photos, "--follow", "--index", "i.npz")
    assert done.status == 0
    assert "2 indexed" in done.err


@pytest.mark.slow
def test_two_writers(tool, ask, photos, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(40):
        (many / f"{number:02}.jpg").write_bytes(altered(LIBRARY / "grace_hopper.jpg", 6 * number))
    with tool.start("index", many, "--index", "i.npz", "--jobs", 1) as first:
        while not (tmp_path / "i.npz.journal").exists():
            assert first.poll() is None
            time.sleep(0.002)
        for args in (["index", photos], ["forget", many], ["move-root", many, "/new"]):
            second = ask(*args, "--index", "i.npz")
            assert (second.status, second.out) == (2, b"")
            assert f"Another facesearch is writing '{tmp_path}/i.npz'." in second.err
            assert "Run this again when it has ended" in second.err
        assert first.poll() is None  # it was at work all the while
        assert first.communicate()[1].startswith(b"40 indexed")
    assert first.returncode == 0
    assert ask("index", photos, "--index", "i.npz").err.splitlines()[1].startswith("42 faces of 42 photos")


@pytest.mark.slow
def test_a_reader_always_gets_a_whole_answer(tool, ask, own_index, tmp_path):
    """Another process replaces the file again and again; all photos lie in the one place or the other."""
    script = (
        "import sys; from pathlib import Path; from facesearch.index.operations import move_root\n"
        "for turn in range(200):\n"
        "    move_root(Path(sys.argv[1]), *(sys.argv[2:] if turn % 2 == 0 else sys.argv[:1:-1]))\n"
    )
    args = [sys.executable, "-c", script, str(own_index), str(LIBRARY), "/elsewhere"]
    seen = set()
    with subprocess.Popen(args, env=tool.environment()) as writer:
        while writer.poll() is None:
            done = ask("query", OBAMA, "--index", own_index, "--top", 50, "--whole")
            assert (done.status, len(done.rows)) == (0, 9)
            seen.add(os.path.dirname(done.rows[0][4]))
            assert {os.path.dirname(row[4]) for row in done.rows} == {os.path.dirname(done.rows[0][4])}
    assert writer.returncode == 0
    assert seen == {str(LIBRARY), "/elsewhere"}
