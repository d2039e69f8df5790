import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.command import COVERAGE, without_roots_privileges
from support.fakes import META, looked_at, write_index

from facesearch.errors import IndexBusy, IndexFileError, StorageError
from facesearch.faces import Status
from facesearch.files import storage_error
from facesearch.index.npz import journal
from facesearch.index.npz import store as whole
from facesearch.index.npz import writer as fold
from facesearch.index.npz.store import discard, journal_path, open_index
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.index.operations import forget, move_root
from facesearch.paths import is_within

TESTS = Path(__file__).parents[1]


def paths_of(index):
    return [index.path(photo) for photo in range(index.photo_count)]


def state(folder):
    """Return the content of all files of a folder but the locks."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}


def in_a_child(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            **dict.fromkeys(COVERAGE, ""),  # what limits the child would limit a measurement too
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        },
        cwd=TESTS.parent,
        **options,
    )


def test_the_second_writer_hears_that_it_is_busy(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    before = path.read_bytes()
    with NpzIndexWriter(path) as writer:
        with pytest.raises(IndexBusy, match=r"i\.npz"), NpzIndexWriter(path, META):
            pass
        code = (
            "import sys, pathlib\nfrom facesearch.index.npz.writer import NpzIndexWriter\n"
            "from facesearch.errors import IndexBusy\n"
            "try:\n    NpzIndexWriter(pathlib.Path(sys.argv[1])).__enter__()\n"
            "except IndexBusy as error:\n    print(error)\n"
        )
        ran = in_a_child(code, str(path))
        assert "Another facesearch is writing" in ran.stdout, ran.stderr
        writer.add(looked_at("/p/b.jpg"))
        assert path.read_bytes() == before
    with NpzIndexWriter(path) as writer:  # free again
        assert writer.recovered == 1


def test_a_writer_that_was_killed_leaves_no_lock(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    code = (
        "import os, sys, pathlib\nfrom facesearch.index.npz.writer import NpzIndexWriter\n"
        "from support.fakes import looked_at\n"
        "writer = NpzIndexWriter(pathlib.Path(sys.argv[1])).__enter__()\n"
        "writer.add(looked_at('/p/b.jpg'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert in_a_child(code, str(path)).returncode == -9
    with NpzIndexWriter(path) as writer:
        assert writer.recovered == 1
        assert not writer.torn
    assert paths_of(open_index(path)) == ["/p/a.jpg", "/p/b.jpg"]


def test_a_failure_at_the_opening_frees_the_lock(tmp_path):
    path = tmp_path / "i.npz"
    path.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(IndexFileError) as caught, NpzIndexWriter(path, META):
            pass
        assert not isinstance(caught.value, IndexBusy)


def test_a_reader_keeps_what_it_opened(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at(f"/p/{n}.jpg", 2) for n in range(50)])
    reader = open_index(path)
    vectors = reader.vectors.copy()
    write_index(path, [looked_at(f"/p/{n}.jpg", 3, seed=1) for n in range(20, 90)])
    forget(path, ["/p/3.jpg"])
    assert reader.photo_count == 50
    np.testing.assert_array_equal(reader.vectors, vectors)
    assert reader.find("/p/3.jpg") is not None
    assert open_index(path).photo_count == 89


@pytest.mark.slow
def test_readers_see_whole_files_while_it_is_written(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/0.jpg")])
    code = (
        "import sys, pathlib\nfrom support.fakes import looked_at, write_index\n"
        "for n in range(1, 60):\n"
        "    write_index(pathlib.Path(sys.argv[1]), [looked_at(f'/p/{n}.jpg', 2)])\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    with subprocess.Popen([sys.executable, "-c", code, path], env=environment, cwd=TESTS.parent) as writer:
        seen = set()
        while writer.poll() is None:
            seen.add(open_index(path).photo_count)
            time.sleep(0.001)
    assert writer.returncode == 0
    assert len(seen) > 5
    assert open_index(path).photo_count == 60


FULL_DISK = """
import pathlib, resource, signal, sys
from support.fakes import META, looked_at
from facesearch.errors import StorageError
from facesearch.index.npz.writer import NpzIndexWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, room = pathlib.Path(sys.argv[1]), int(sys.argv[2])
try:
    with NpzIndexWriter(path, META) as writer:
        writer.changes.cover(["/"])
        sys.dont_write_bytecode = True  # it would be cut short, too
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        for number in range(100):
            writer.add(looked_at(f"/p/{number:03}.jpg", 4))
        writer.commit()
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("known", "room"),
    [
        (0, 10),
        (30, 0),
        (30, 21_000),
        *(
            pytest.param(known, room, marks=pytest.mark.slow)
            for known in (0, 30)
            for room in (700, 5_000, 30_000, 50_000, 60_000)
        ),
    ],
)
def test_a_full_disk_loses_nothing(tmp_path, room, known):
    path = tmp_path / "i.npz"
    if known:
        write_index(path, [looked_at(f"/q/{number}.jpg") for number in range(known)])
    before = path.read_bytes() if known else None
    ran = in_a_child(FULL_DISK, str(path), str(room))
    assert ran.stderr == ""
    assert "cannot be written: File too large. Free some space" in ran.stdout
    assert (path.read_bytes() if path.exists() else None) == before
    assert set(state(tmp_path)) <= {"i.npz", "i.npz.journal"}
    # With room again, all that was told to be kept is there.
    with NpzIndexWriter(path, META) as writer:
        recovered = writer.recovered
    assert open_index(path).photo_count == known + recovered if recovered or known else True
    if room >= 50_000:
        assert recovered == 100  # the journal was whole: only folding it in failed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_while_folding_leaves_the_index(tmp_path, monkeypatch, number):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    before = state(tmp_path)

    def failing(*arguments):
        raise OSError(number, os.strerror(number))

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(whole.os, name, failing)
            with pytest.raises(StorageError) as caught:
                forget(path, ["/p/a.jpg"])
        assert os.strerror(number) in caught.value.message
        assert state(tmp_path) == before
    assert forget(path, ["/p/a.jpg"]).removed == ("/p/a.jpg",)


def test_ctrl_c_while_folding_leaves_the_index(tmp_path, monkeypatch):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    before = path.read_bytes()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fold, "norms_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_index(path, [looked_at("/p/b.jpg")])
    assert path.read_bytes() == before
    assert set(state(tmp_path)) == {"i.npz", "i.npz.journal"}
    with NpzIndexWriter(path) as writer:
        assert writer.recovered == 1


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StorageError, match="cannot be written"),
        NpzIndexWriter(tmp_path / "file" / "i.npz", META),
    ):
        pass


def test_a_read_only_folder_leaves_the_index(tmp_path):
    folder = tmp_path / "locked"
    path = write_index(folder / "i.npz", [looked_at("/p/a.jpg")])
    before = state(folder)
    code = (
        "import pathlib, sys\nfrom facesearch.index.operations import forget\n"
        "from facesearch.index.npz.store import open_index\nfrom facesearch.errors import StorageError\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "print(open_index(path).photo_count)\n"
        "try:\n    forget(path, ['/p/a.jpg'])\nexcept StorageError as error:\n    print(error)\n"
    )
    folder.chmod(0o555)
    try:
        ran = in_a_child(code, str(path), preexec_fn=without_roots_privileges)
    finally:
        folder.chmod(0o755)
    assert ran.stdout.startswith("1\n"), ran.stderr
    assert "cannot be written: Permission denied. Choose a place that you may write to." in ran.stdout
    assert state(folder) == before


def test_what_a_failing_folder_means():
    assert "Free some space" in storage_error("x", OSError(errno.ENOSPC, "full")).hint
    assert "may write" in storage_error("x", OSError(errno.EROFS, "read-only")).hint
    assert storage_error("x", OSError(errno.EIO, "broken")).hint


def test_the_journal_reaches_the_disk_from_time_to_time(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(journal, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(journal.os, "fsync", synced.append)
    with NpzIndexWriter(tmp_path / "i.npz", META) as writer:
        writer.changes.cover(["/"])
        writer.add(looked_at("/p/a.jpg"))
    assert synced


def test_no_change_writes_nothing(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    before = path.stat()
    write_index(path, [])
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_photo_has_the_faces_that_were_found_last(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg", 3), looked_at("/p/b.jpg", 1)])
    write_index(path, [looked_at("/p/a.jpg", 1, seed=1), looked_at("/p/a.jpg", 2, seed=2)])
    index = open_index(path)
    assert index.photo.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(index.vectors[:2], looked_at("/p/a.jpg", 2, seed=2).vectors)


SECRET = "/library/secret place/ex-husband \udcfe.jpg"


def test_forgotten_photos_leave_no_trace(tmp_path):
    secret, copy = looked_at(SECRET, 2), looked_at("/library/zz copy of it.jpg", 2)
    copy = looked_at(copy.path, 2, digest=secret.file.digest)
    kept = [looked_at(f"/library/{n}.jpg", 2) for n in range(20)]
    path = write_index(tmp_path / "i.npz", [*kept, secret, copy], roots=["/library"])
    # An interrupted run left it in the journal, too.
    with NpzIndexWriter(path) as writer:
        writer.add(looked_at(SECRET, 2, digest=secret.file.digest))
    assert b"ex-husband" in journal_path(path).read_bytes()
    assert forget(path, ["/library/secret place"]).removed == (secret.path, copy.path)
    everything = b"".join(state(tmp_path).values())
    for trace in (b"ex-husband", b"secret place", b"copy of it"):
        assert trace not in everything
    for photo in (secret, copy):
        for vector in photo.vectors:
            assert vector.tobytes() not in everything
    index = open_index(path)
    assert paths_of(index) == sorted(photo.path for photo in kept)
    assert [row.tobytes() for row in index.forgotten] == sorted(secret.file.digests)
    for row, photo in zip(range(0, 40, 2), sorted(kept, key=lambda photo: photo.path), strict=True):
        np.testing.assert_array_equal(index.vectors[row : row + 2], photo.vectors)


def test_a_forgotten_root_is_no_root_any_more(tmp_path):
    path = write_index(
        tmp_path / "i.npz", [looked_at("/a/x.jpg"), looked_at("/secret/y.jpg")], roots=["/a", "/secret"]
    )
    assert forget(path, ["/secret"]).removed == ("/secret/y.jpg",)
    assert open_index(path).meta.roots == ("/a",)
    assert b"secret" not in path.read_bytes()


def test_forgetting_what_is_not_there_changes_nothing(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")], roots=["/p"])
    before = state(tmp_path)
    assert forget(path, ["/p/a", "/p/a.jp", "/q"]).removed == ()
    assert state(tmp_path) == before


def test_unreadable_photos_can_be_forgotten_one_by_one(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at(f"/p/{n}.jpg", 0, digest=b"") for n in range(3)])
    assert forget(path, ["/p/1.jpg"]).removed == ("/p/1.jpg",)
    assert paths_of(open_index(path)) == ["/p/0.jpg", "/p/2.jpg"]
    assert len(open_index(path).forgotten) == 0


def test_a_forgotten_content_is_not_taken_in_until_it_is_remembered(tmp_path):
    photo = looked_at("/p/a.jpg")
    path = write_index(tmp_path / "i.npz", [photo])
    forget(path, ["/p/a.jpg"])
    write_index(path, [photo])
    assert open_index(path).photo_count == 0
    with NpzIndexWriter(path) as writer:
        assert writer.changes.forgotten == set(photo.file.digests)
        writer.changes.remember(*photo.file.digests)
        writer.add(photo)
        writer.commit()
    assert open_index(path).photo_count == 1
    assert len(open_index(path).forgotten) == 0


def test_an_erased_face_leaves_no_trace_and_stays_out(tmp_path):
    """It is erased from copies too, from what is found anew with slightly other boxes, and only once."""
    group = looked_at("/p/group.jpg", 3)
    copy = looked_at("/p/zz.jpg", 3, digest=group.file.digest)
    other = looked_at("/p/other.jpg", 2)
    path = write_index(tmp_path / "i.npz", [group, copy, other], roots=["/p"])
    with NpzIndexWriter(path) as writer:
        writer.changes.erase([(group.file.digest, group.faces[1].box)])
        writer.commit()
    left = [0, 2]
    for _ in range(2):
        index = open_index(path)
        assert index.photo.tolist() == [0, 0, 1, 1, 2, 2]
        for photo, source in ((0, group), (2, copy)):
            rows = index.faces_of(photo)
            np.testing.assert_array_equal(index.vectors[rows], source.vectors[left])
            assert [index.box(row) for row in rows] == [source.faces[number].box for number in left]
        everything = b"".join(state(tmp_path).values())
        for photo in (group, copy):
            assert photo.vectors[1].tobytes() not in everything
            assert photo.vectors[0].tobytes() in everything
        # The photo is looked at anew, and the detector places its boxes a little otherwise.
        moved = tuple(replace(face, box=replace(face.box, y=face.box.y + 1)) for face in group.faces)
        write_index(path, [replace(group, faces=moved), replace(copy, faces=group.faces)], roots=["/p"])
        group = replace(group, faces=moved)


def test_a_photo_whose_only_face_is_erased_has_none(tmp_path):
    photo = looked_at("/p/a.jpg")
    path = write_index(tmp_path / "i.npz", [photo])
    with NpzIndexWriter(path) as writer:
        writer.changes.erase([(photo.file.digest, photo.faces[0].box)])
        writer.commit()
    index = open_index(path)
    assert (index.face_count, index.status.tolist()) == (0, [Status.NO_FACE])
    assert index.erased_faces == {photo.file.digest: (photo.faces[0].box,)}


@pytest.mark.parametrize(
    ("roots", "old", "new", "wanted", "after"),
    [
        (["/p"], "/p", "/q", ["/q/a.jpg", "/q/s/b.jpg", "/q/s/c.jpg"], ("/q",)),
        (["/p"], "/p/s", "/q", ["/p/a.jpg", "/q/b.jpg", "/q/c.jpg"], ("/p", "/q")),
        (["/p"], "/p/s", "/p/t", ["/p/a.jpg", "/p/t/b.jpg", "/p/t/c.jpg"], ("/p",)),
        (["/p"], "/p", "/p/deep", ["/p/deep/a.jpg", "/p/deep/s/b.jpg", "/p/deep/s/c.jpg"], ("/p/deep",)),
        (["/p/s", "/p"], "/p", "/", ["/a.jpg", "/s/b.jpg", "/s/c.jpg"], ("/",)),
        (["/"], "/", "/x", ["/x/p/a.jpg", "/x/p/s/b.jpg", "/x/p/s/c.jpg"], ("/x",)),
        (["/p"], "/", "/x", ["/x/p/a.jpg", "/x/p/s/b.jpg", "/x/p/s/c.jpg"], ("/x/p",)),
    ],
)
def test_a_root_moves_with_its_faces(tmp_path, roots, old, new, wanted, after):
    photos = [looked_at(name, 2) for name in ("/p/a.jpg", "/p/s/b.jpg", "/p/s/c.jpg")]
    path = write_index(tmp_path / "i.npz", photos, roots=roots)
    before = open_index(path)
    assert move_root(path, old, new) == sum(is_within(p.path.encode(), old.encode()) for p in photos)
    index = open_index(path)
    assert paths_of(index) == wanted
    assert index.meta.roots == after
    np.testing.assert_array_equal(index.vectors, before.vectors)
    np.testing.assert_array_equal(index.mtime_ns, before.mtime_ns)
    for photo, root in enumerate(index.root):
        assert is_within(index.path_bytes(photo), index.meta.roots[root].encode())


def test_a_root_is_named_by_another_name_of_its_folder(tmp_path, lax):
    folder = tmp_path / "Photos"
    folder.mkdir()
    old = str(tmp_path / "PHOTOS")
    path = write_index(
        tmp_path / "i.npz", [looked_at(f"{old}/1.jpg"), looked_at(f"{old}/2.jpg")], roots=[old]
    )
    assert forget(path, [str(folder / "1.jpg")]).removed == (f"{old}/1.jpg",)
    assert move_root(path, str(folder), str(folder)) == 1
    index = open_index(path)
    assert (paths_of(index), index.meta.roots) == ([str(folder / "2.jpg")], (str(folder),))
    assert forget(path, [str(folder)]).removed == (str(folder / "2.jpg"),)
    assert open_index(path).meta.roots == ()


@pytest.mark.parametrize("place", ["/b/x.jpg", "/c/x.jpg", "/a/sub/x.jpg"])
def test_a_single_photo_moves_out_of_its_root(tmp_path, place):
    photos = [looked_at("/a/w.jpg"), looked_at("/a/x.jpg"), looked_at("/c/y.jpg")]
    path = write_index(tmp_path / "i.npz", photos, roots=["/a", "/c"])
    assert move_root(path, "/a/x.jpg", place) == 1
    index = open_index(path)
    for photo, root in enumerate(index.root):
        assert is_within(index.path_bytes(photo), index.meta.roots[root].encode())
    assert set(paths_of(index)) == {"/a/w.jpg", place, "/c/y.jpg"}
    assert forget(path, [place]).removed == (place,)  # a writer opens it


def test_moving_a_root_that_is_none(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    before = state(tmp_path)
    with pytest.raises(IndexFileError, match="no photo below '/pp'"):
        move_root(path, "/pp", "/q")
    assert state(tmp_path) == before


def test_moving_keeps_the_order_of_paths(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/a/1.jpg"), looked_at("/b/2.jpg")], roots=["/a", "/b"])
    move_root(path, "/a", "/c")
    index = open_index(path)
    assert paths_of(index) == ["/b/2.jpg", "/c/1.jpg"]
    np.testing.assert_array_equal(index.vectors[1:], looked_at("/a/1.jpg").vectors)
    assert index.find("/c/1.jpg") == 1


def test_an_index_is_discarded_with_its_journal(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    journal_path(path).write_bytes(b"x")
    discard(path)
    assert state(tmp_path) == {}
    discard(path)  # nothing is there: nothing to do
    path.mkdir()
    with pytest.raises(StorageError, match="cannot be removed"):
        discard(path)
