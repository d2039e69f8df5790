"""Each command on an index in Milvus says and writes what it does on the same index in a file."""

import json
import re
import shutil

import pytest
from support.command import LIBRARY, OBAMA

pytestmark = pytest.mark.slow

NAMES = ["grace_hopper.jpg", "obama_2009.jpg", "obama_2010.jpg", "rocket.jpg", "henry_moseley.jpg"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        shutil.copy2(LIBRARY / name, folder)
    shutil.copy2(LIBRARY / "obama_2009.jpg", folder / "copy.jpg")
    return folder


@pytest.fixture
def both(ask, tmp_path, milvus, request):
    """Runs a command on both; gives what came of it on Milvus, where nothing but names and times differ."""
    url = milvus.url(request.node.name)

    def both(*args, on="--index"):
        on_file, there = ask(*args, on, "i.npz"), ask(*args, on, url)
        assert there.status == on_file.status, (on_file, there)
        if "--json" not in args:
            assert there.out == on_file.out
        assert plain(there.err, url) == plain(on_file.err, str(tmp_path / "i.npz"))
        return there

    return both


def plain(text, name):
    text = re.sub(r"in \d+\.\d s \(.* photos/s\)", "in no time", text.replace(name, "INDEX"))
    return re.sub(r"[\d,]+ bytes", "some bytes", text)


def test_the_commands(ask, both, photos, tmp_path, milvus):
    assert both("index", photos, "--model", "sface").status == 0
    assert "6 unchanged" in both("index", photos).err
    assert both("query", OBAMA, "--top", "3").names[0] in ("copy.jpg", "obama_2009.jpg", "obama_2010.jpg")
    for more in (["--metric", "euclidean"], ["--search", "exact"], ["--by", "face"], ["--unique"]):
        both("query", OBAMA, *more)
    both("query", photos / "copy.jpg", "--format", "jsonl", "--unique")
    both("info", "--list", "no-face")
    facts = json.loads(both("info", "--json").out)
    assert facts["photos"] == 6
    assert facts["search"]["index"] == "FLAT"
    assert "FLAT" in ask("info", "--index", milvus.url("test_the_commands")).text
    both("people")
    both("people", "name", "1", "Barack")
    assert both("query", "--person", "Barack", "-0").out.count(b"\0") == 3
    both("people", "list")
    shutil.move(photos / "grace_hopper.jpg", photos / "moved.jpg")
    assert "1 moved" in both("index", photos).err
    assert "2 photos forgotten" in both("forget", photos / "copy.jpg", "--copies").err
    assert "no trace left" in both("forget", "--person", "Barack").err
    both("info", "--list", "ok")
    moved = photos.rename(tmp_path / "elsewhere")
    both("move-root", photos, moved)
    both("query", OBAMA, "--top", "9")
    assert both("index", moved, "--dry-run").status == 0
    assert both("index", moved, "--rebuild").status == 0
    assert sorted(both("query", OBAMA).names) == ["henry_moseley.jpg", "moved.jpg"]
    done = ask("copy", "--from", milvus.url("test_the_commands"), "--to", "copy.npz", "--json")
    assert json.loads(done.out)["photos"] == 4
    assert ask("query", OBAMA, "--index", "copy.npz").out == both("query", OBAMA).out


def test_peoples_commands(both, photos, tmp_path):
    obama, copy, hopper = (photos / f"{name}.jpg" for name in ("obama_2010", "copy", "grace_hopper"))
    both("index", photos, "--model", "sface")
    assert both("people").err.startswith("1 new person")
    assert both("people", "name", hopper, "Grace Hopper").status == 0
    both("people", "show", "1")
    assert both("people", "split", "1", obama).out == b"3\n"
    assert both("people", "split", "1", copy, "--into", "3").status == 0
    assert both("people", "merge", "3", "Grace Hopper").status == 0
    assert both("people", "merge", "3", "9").status == 2
    for undo in ([], ["--undo"]):
        assert both("people", "ignore", hopper, *undo).status == 0
        both("people", "list")
    both("people")
    both("people", "export", "--to", "by-person", "--dry-run")
    both("query", OBAMA, "--with", "Grace Hopper")
    shutil.copy2(OBAMA, photos)
    assert "1 indexed" in both("index", photos).err
    both("people")
    both("query", "--person", "3", "--only")
    both("people", "show", "3", "--json")


def test_what_is_not_there_or_not_to_be_had(ask, milvus, monkeypatch):
    monkeypatch.setenv("FACESEARCH_MILVUS_TIMEOUT", "1")
    done = ask("query", OBAMA, "--index", milvus.url("nothing"))
    assert (done.status, "There is no index at" in done.err) == (2, True)
    for url, words in {
        "milvus://localhost": "names no collection",
        "milvus://localhost:19530/a-b": "names no collection",
        "milvus://localhost:x/a": "names no collection",
        "milvus://me:secret@localhost/a": "password",
        "milvus://127.0.0.1:9/a": "does not answer",
        "milvus+tls://127.0.0.1:9/a": "does not answer",
    }.items():
        done = ask("info", "--index", url)
        assert (done.status, words in done.err) == (2, True), done
        assert "secret" not in done.err.replace(url, "")
    for args in (
        ["merge", milvus.url("a"), "--into", "b.npz"],
        ["query", "--person", "1", "--search", "exact"],
    ):
        assert ask(*args).status == 2
