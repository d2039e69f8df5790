"""kill -9 at any moment of an index run: nothing that was done is lost, and the end is the same."""

import os
import random
import shutil
import signal
import time

import pytest
from support.command import Tool
from support.real_photos import arrays_of, assert_same, make_photos


def length_of(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # not begun yet, or folded in just now
        return 0


def kill_at_a_random_moment(process, index, rng, kind):
    """Kill a run after some time, at some length of the journal, or while the new file is written."""
    journal, new = f"{index}.journal", f"{index}.new"
    deadline = time.monotonic() + (rng.uniform(0.05, 1.0) if kind == "time" else 60)
    length = rng.randint(1, 50_000) + length_of(journal)
    while process.poll() is None and time.monotonic() < deadline:
        if kind == "journal" and length_of(journal) >= length:
            break
        if kind == "new file" and os.path.exists(new):
            time.sleep(rng.uniform(0, 0.003))
            break
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def photos_kept(index):
    """Count what is safe: photos of the file, and whole records of the journal."""
    from facesearch.errors import IndexMissing
    from facesearch.index.npz.journal import read_journal
    from facesearch.index.npz.store import journal_path, open_index

    try:
        layout = open_index(index)
        paths = {layout.path_bytes(row) for row in range(layout.photo_count)}
    except IndexMissing:
        paths = set()
    left = journal_path(index)
    if left.exists():
        paths |= {entry.path for entry in read_journal(left).entries}
    return len(paths)


def kill_many(tool, photos, undisturbed, kinds, seed):
    """Kill one run after another on the same index, then let one complete; give what was kept after each."""
    from facesearch.index.backend import open_backend
    from facesearch.pipeline import LastRun

    rng = random.Random(seed)
    index = tool.folder / f"killed-{seed}.npz"
    kept, killed = [0], 0
    for kind in kinds:
        process = tool.start("index", photos, "--index", index, "--batch", 8)
        killed += kill_at_a_random_moment(process, index, rng, kind)
        kept.append(photos_kept(index))
        assert kept[-1] >= kept[-2]  # nothing that was done is lost
        if kept[-1] == kept[-2]:  # a photo at which a run died alone again and again would be passed over
            LastRun(open_backend(index).name, went_on=False)._file.unlink(missing_ok=True)
    done = tool.run("index", photos, "--index", index)
    assert done.status == 0, done
    assert_same(index, undisturbed)
    left = {path.name for path in tool.folder.iterdir() if path.name.startswith(index.name)}
    assert left == {index.name, f"{index.name}.lock"}
    assert tool.run("index", photos, "--index", index).err.startswith(f"{len(os.listdir(photos))} unchanged")
    return kept, killed


@pytest.fixture
def tool(tmp_path, model_store):
    return Tool(tmp_path, model_store.root)


def undisturbed_index(tool, photos):
    done = tool.run("index", photos, "--index", "undisturbed.npz")
    assert done.status == 0
    return tool.folder / "undisturbed.npz"


@pytest.mark.slow
def test_killed_three_times(tool, tmp_path):
    photos = make_photos(tmp_path / "photos", 28)
    undisturbed = undisturbed_index(tool, photos)
    held = arrays_of(undisturbed)
    assert sorted(set(held["status"].tolist())) == [0, 1, 2]  # every outcome is among them
    kept, killed = kill_many(tool, photos, undisturbed, ["journal", "new file", "time"], seed=1)
    assert killed >= 2
    assert 0 < kept[1] < 28  # the first kill came while photos were embedded


@pytest.mark.slow
def test_killed_six_times(tool, tmp_path):
    photos = make_photos(tmp_path / "photos", 160)  # more than five runs get done on a quick machine
    undisturbed = undisturbed_index(tool, photos)
    # A run that comes to the new file has done all photos: those kills come last.
    kinds = ["time", "journal", "journal", "time", "journal", "new file"]
    kept, killed = kill_many(tool, photos, undisturbed, kinds, seed=2)
    assert killed >= 4
    assert len({count for count in kept if 0 < count < 160}) >= 2  # kills at several stages of the work


@pytest.mark.slow
@pytest.mark.parametrize(
    "at",
    [
        "open killed.npz.journal",
        "open killed.npz.new",
        "os.rename killed.npz.new",
        "os.remove killed.npz.journal",
    ],
)
def test_killed_at_each_step_of_writing(tool, tmp_path, at):
    """With an index already there: it is whole after each kill, the old one or the new one."""
    photos = make_photos(tmp_path / "photos", 8)
    index = tmp_path / "killed.npz"
    undisturbed = undisturbed_index(tool, photos)
    for path in sorted(photos.iterdir())[4:]:
        shutil.move(path, tmp_path)
    assert tool.run("index", photos, "--index", index).status == 0
    for path in sorted(tmp_path.glob("00?.jpg")):
        shutil.move(path, photos)
    done = tool.run("index", photos, "--index", index, env={"SPY_AT": at, "SPY_SIGNAL": int(signal.SIGKILL)})
    assert done.status == -signal.SIGKILL
    info = tool.run("info", "--index", index)
    assert info.status == 0
    assert info.text.splitlines()[1].startswith("photos     8: " if "remove" in at else "photos     4: ")
    assert tool.run("index", photos, "--index", index).status == 0
    assert_same(index, undisturbed)


@pytest.mark.slow
def test_a_killed_rebuild_leaves_the_old_index_and_goes_on(tool, tmp_path):
    photos = make_photos(tmp_path / "photos", 60)
    undisturbed = undisturbed_index(tool, photos)
    index = tmp_path / "own.npz"
    shutil.copy(undisturbed, index)
    rng = random.Random(4)
    for kind in ("journal", "time", "journal"):
        process = tool.start("index", photos, "--index", index, "--rebuild", "--batch", 8)
        kill_at_a_random_moment(process, tmp_path / "own.rebuild.npz", rng, kind)
        assert_same(index, undisturbed)
    done = tool.run("index", photos, "--index", index, "--rebuild")
    assert done.status == 0
    assert "recovered from an interrupted run" in done.err or "unchanged" in done.err
    assert_same(index, undisturbed)
    assert not (tmp_path / "own.rebuild.npz").exists()
