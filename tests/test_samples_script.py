"""samples/search_all.sh, the example of a batch, as a user runs it."""

import os
import shutil
import subprocess

import pytest
from support.command import COMMAND, CURIE, LIBRARY, OBAMA, SAMPLES, Tool

# A shell, and a process for each call.
pytestmark = pytest.mark.slow

SCRIPT = SAMPLES / "search_all.sh"


@pytest.fixture(scope="module")
def tool(tmp_path_factory, model_store):
    """A folder with an index of two people, and a `facesearch` on PATH."""
    folder = tmp_path_factory.mktemp("script")
    tool = Tool(folder, model_store.root)
    wrapper = folder / "bin" / "facesearch"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{COMMAND[0]}" -m facesearch "$@"\n')
    wrapper.chmod(0o755)
    tool.env["PATH"] = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    tool.env["FACESEARCH_INDEX"] = str(folder / "i.npz")
    done = tool.run("index", LIBRARY / "obama_2009.jpg", LIBRARY / "dmitri_mendeleev.jpg")
    assert done.status == 0, done
    return tool


def search_all(tool, *args, script=SCRIPT):
    return subprocess.run(
        ["sh", script, *args], cwd=tool.folder, env=tool.env, capture_output=True, text=True
    )


def test_it_searches_for_the_photos_beside_it(tool):
    done = search_all(tool)
    assert done.returncode == 0, done
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(CURIE), str(OBAMA)]
    assert [os.path.basename(row[1]) for row in rows] == ["dmitri_mendeleev.jpg", "obama_2009.jpg"]
    assert all(0 < float(row[2]) < 1 for row in rows)
    assert done.stderr == ""


def test_it_takes_a_folder_and_options_of_query(tool, tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    shutil.copy(OBAMA, folder / "tab\tand line\n.JPG")
    shutil.copy(LIBRARY / "coffee.png", folder)
    (folder / "notes.txt").write_text("not a photo")
    done = search_all(tool, folder, "--metric", "euclidean")
    assert done.returncode == 0
    ((query, match, distance),) = (line.split("\t") for line in done.stdout.splitlines())
    assert query == f"{folder}/tab\\tand line\\n.JPG"
    assert match.endswith("/obama_2009.jpg")
    assert float(distance) > 2
    assert "coffee.png: No face was found." in done.stderr


def test_its_exit_status_is_that_of_query(tool, tmp_path):
    assert search_all(tool, "--threshold", "0.001").returncode == 1
    (tmp_path / "broken.jpg").write_text("no picture")
    shutil.copy(OBAMA, tmp_path)
    done = search_all(tool, tmp_path)
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert search_all(tool, "--index", "/nowhere.npz").returncode == 2


def test_a_folder_without_photos_or_none_at_all(tool, tmp_path):
    done = search_all(tool, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no photo in" in done.stderr
    done = search_all(tool, tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a folder" in done.stderr
