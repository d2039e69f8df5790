import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fakes import GREEN, META, RED, ColourEmbedder, SquareDetector, coloured, photo, pipeline

from facesearch.errors import IndexConflict
from facesearch.index.index import ARRAYS, empty_index
from facesearch.index.npz.store import journal_path, open_index
from facesearch.index.operations import forget
from facesearch.pipeline import TRUNCATED, Pipeline
from facesearch.plan import IndexRequest, make_plan
from facesearch.update import Report, update_index


class Library:
    """A folder of photos and its index."""

    def __init__(self, folder):
        self.root = folder / "photos"
        self.root.mkdir()
        self.index = folder / "i.npz"
        self.embedder = ColourEmbedder()

    def add(self, *numbers):
        for number in numbers:
            coloured(self.root / f"{number:03}.png", number)

    def pipeline(self):
        return pipeline(self.embedder, batch=2)

    def request(self, *paths, **wanted):
        return IndexRequest(tuple(str(path) for path in paths or (self.root,)), **wanted)

    def update(self, *paths, meta=META, carry=None, on_photo=lambda photo: None, **wanted):
        """Bring the index up to date; `self.looked` tells which photos were looked at."""
        self.looked = []

        def note(one):
            if one.faces:
                self.looked.append(os.path.basename(one.path))
            on_photo(one)

        wanted = self.request(*paths, **wanted)
        return update_index(self.index, meta, wanted, self.pipeline, carry=carry, on_photo=note)

    @property
    def contents(self):
        return open_index(self.index)

    @property
    def names(self):
        contents = self.contents
        return [os.path.relpath(contents.path(photo), self.root) for photo in range(contents.photo_count)]

    def check(self):
        """See that each photo of the index has the face that it shows."""
        contents = self.contents
        for face, owner in enumerate(contents.photo):
            number = int(Path(contents.path(owner)).stem.split()[0])
            wanted = np.float32([130 + number % 10, 130 + number // 10 % 10, 130 + number // 100]) / 255
            np.testing.assert_allclose(contents.vectors[face], wanted, atol=1e-6)


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path)


def tally(report):
    """Return what a report counts, without what is nought."""
    counts = dataclasses.asdict(dataclasses.replace(report, seconds=0.0, faces=0, photos=0, readable=0))
    return {name: value for name, value in counts.items() if value}


def test_a_first_run_takes_in_all(library):
    library.add(*range(5))
    photo(library.root / "none.png")
    (library.root / "broken.jpg").write_bytes(b"no")
    (library.root / "notes.txt").write_bytes(b"no photo at all")
    told = []
    report = update_index(
        library.index,
        META,
        IndexRequest((str(library.root),)),
        lambda: pipeline(library.embedder),
        on_plan=lambda plan: told.append([Path(one.path).name for one in plan.new]),
    )
    broken = str(library.root / "broken.jpg")
    reason = "It is not a picture in a format that is known here."
    assert tally(report) == {
        **{"indexed": 5, "no_face": 1, "unreadable": {broken: reason}},
        "passed_over": {"TXT": 1},
    }
    assert (report.faces, report.photos) == (5, 7)
    assert told == [["000.png", "001.png", "002.png", "003.png", "004.png", "broken.jpg", "none.png"]]
    assert library.contents.meta.roots == (str(library.root),)
    assert not journal_path(library.index).exists()


def test_a_second_run_looks_at_nothing(library):
    library.add(*range(5))
    photo(library.root / "none.png")
    (library.root / "broken.jpg").write_bytes(b"no")
    library.update()
    before = library.index.stat()

    def refused():
        raise AssertionError("the model was opened")

    report = update_index(library.index, META, IndexRequest((str(library.root),)), refused)
    assert tally(report) == {"unchanged": 7}
    assert (report.faces, report.photos) == (5, 7)
    assert (library.index.stat().st_ino, library.index.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_new_changed_and_removed_photos(library):
    library.add(*range(6))
    library.update()
    library.add(6, 7)
    coloured(library.root / "002.png", 900)
    (library.root / "005.png").unlink()
    report = library.update()
    assert tally(report) == {"indexed": 3, "unchanged": 4, "removed": 1}
    assert sorted(library.looked) == ["002.png", "006.png", "007.png"]
    assert library.names == ["000.png", "001.png", "002.png", "003.png", "004.png", "006.png", "007.png"]
    shutil.move(library.root / "002.png", library.root / "900 again.png")
    library.update()
    library.check()


def test_a_photo_that_lost_its_face_loses_its_vectors(library):
    library.add(1, 2)
    library.update()
    photo(library.root / "002.png", width=50)
    assert tally(library.update()) == {"no_face": 1, "unchanged": 1}
    assert library.contents.photo.tolist() == [0]
    assert library.contents.status.tolist() == [0, 1]


def test_a_touched_photo_is_not_embedded_again(library):
    library.add(1, 2)
    library.update()
    os.utime(library.root / "001.png", ns=(5, 5))
    assert tally(library.update()) == {"unchanged": 2}
    assert library.looked == []
    assert library.contents.mtime_ns[0] == 5
    assert tally(library.update()) == {"unchanged": 2}
    library.check()


def test_a_touched_copy_is_unchanged_as_well(library):
    library.add(1)
    for name in ("001 a.png", "001 b.png"):
        shutil.copy2(library.root / "001.png", library.root / name)
    library.update()
    for name in ("001 a.png", "001.png"):
        os.utime(library.root / name, ns=(5, 5))
    assert tally(library.update()) == {"unchanged": 3}
    assert library.looked == []


def test_moved_renamed_and_copied_photos_keep_their_vectors(library):
    library.add(*range(6))
    library.update()
    (library.root / "sub").mkdir()
    shutil.move(library.root / "000.png", library.root / "sub" / "000.png")
    (library.root / "001.png").rename(library.root / "001 renamed.png")
    shutil.copy(library.root / "002.png", library.root / "002 copy.png")
    report = library.update()
    assert tally(report) == {"unchanged": 4, "moved": 2, "copied": 1}
    assert library.looked == []
    assert set(library.names) == {
        *("001 renamed.png", "002 copy.png", "002.png", "003.png", "004.png", "005.png"),
        "sub/000.png",
    }
    library.check()


def test_a_folder_of_photos_and_their_copies_can_be_renamed(library):
    library.add(*range(4))
    shutil.copytree(library.root, library.root / "b copies")
    library.update()
    (library.root / "b copies").rename(library.root / "a copies")
    assert tally(library.update()) == {"unchanged": 4, "moved": 4}
    assert tally(library.update()) == {"unchanged": 8}
    library.check()


def test_everything_can_move_to_another_root(library):
    library.add(*range(4))
    library.update()
    elsewhere = library.root.with_name("elsewhere")
    elsewhere.mkdir()
    for path in sorted(library.root.iterdir()):
        shutil.move(path, elsewhere / path.name)
    assert tally(library.update(library.root, elsewhere)) == {"moved": 4}
    assert library.looked == []
    library.check()


def test_two_photos_that_change_places(library):
    library.add(1, 2)
    library.update()
    os.replace(library.root / "001.png", library.root / "x")
    os.replace(library.root / "002.png", library.root / "001.png")
    os.replace(library.root / "x", library.root / "002.png")
    for path in library.root.iterdir():
        os.utime(path, ns=(7, 7))
    library.update()
    assert library.looked == []
    np.testing.assert_allclose(library.contents.vectors[:, 0] * 255, [132, 131], atol=1e-3)


def test_the_numbers_add_up(library):
    library.add(*range(9))
    library.update()
    forget(library.index, [str(library.root / "008.png")])
    library.add(9)
    photo(library.root / "none.png")
    (library.root / "broken.jpg").write_bytes(b"no")
    shutil.copy(library.root / "002.png", library.root / "002 copy.png")
    (library.root / "001.png").rename(library.root / "001 renamed.png")
    report = library.update()
    found = len(list(library.root.iterdir()))
    counted = report.indexed + report.no_face + len(report.unreadable) + report.unchanged
    assert counted + report.moved + report.copied + report.forgotten == found
    assert report.forgotten == 1


# The guard: what seems gone may only be out of reach.


def test_a_missing_root_empties_nothing(library):
    library.add(*range(4))
    library.update()
    library.root.rename(library.root.with_name("away"))
    report = library.update()
    assert tally(report) == {"problems": {str(library.root): "No such file or directory"}}
    assert report.photos == 4
    library.root.with_name("away").rename(library.root)
    assert tally(library.update()) == {"unchanged": 4}


def test_one_missing_root_does_not_stop_the_other(library):
    library.add(1)
    missing = library.root.with_name("missing")
    report = library.update(missing, library.root)
    assert tally(report) == {"indexed": 1, "problems": {str(missing): "No such file or directory"}}
    assert library.contents.meta.roots == (str(library.root),)


def test_an_empty_root_empties_nothing(library):
    library.add(*range(4))
    library.update()
    library.root.rename(library.root.with_name("away"))
    library.root.mkdir()  # a mount point without its disk
    assert tally(library.update()) == {"kept": {str(library.root): 4}}
    assert library.contents.photo_count == 4
    report = library.update(prune=True)
    assert (report.removed, report.photos) == (4, 0)


def test_a_folder_that_is_empty_now_is_probably_not_mounted(library):
    library.add(*range(6))
    away = library.root / "disk"
    coloured(away / "deep" / "a.png", 11)
    coloured(away / "b.png", 12)
    library.update()
    shutil.rmtree(away)
    (away).mkdir()
    assert tally(library.update()) == {"unchanged": 6, "kept": {str(away): 2}}
    assert library.contents.photo_count == 8
    assert tally(library.update(prune=True)) == {"unchanged": 6, "removed": 2}


def test_a_folder_that_was_deleted_is_removed(library):
    library.add(*range(6))
    coloured(library.root / "party" / "a.png", 11)
    library.update()
    shutil.rmtree(library.root / "party")
    assert tally(library.update()) == {"unchanged": 6, "removed": 1}


def test_a_file_system_that_was_mounted_is_missed_though_its_folder_is_gone_too(library, tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    library.add(*range(6))
    with tempfile.TemporaryDirectory(dir=other) as disk:
        coloured(Path(disk) / "a.png", 11)
        coloured(Path(disk) / "b.png", 12)
        place = library.root / "disk"
        place.symlink_to(disk)
        assert tally(library.update(follow=True)) == {"indexed": 8}
        assert library.contents.meta.mounts == (str(place),)
        (Path(disk) / "b.png").unlink()
        assert tally(library.update(follow=True)) == {"unchanged": 7, "removed": 1}
        place.unlink()
        assert tally(library.update(follow=True)) == {"unchanged": 6, "kept": {str(place): 1}}
        assert tally(library.update(follow=True, prune=True)) == {"unchanged": 6, "removed": 1}
        assert library.contents.meta.mounts == ()


@pytest.mark.parametrize(("gone", "kept"), [(5, False), (6, True), (9, True)])
def test_dropping_more_than_half_needs_prune(library, gone, kept):
    library.add(*range(10))
    library.update()
    for number in range(gone):
        (library.root / f"{number:03}.png").unlink()
    report = library.update()
    assert report.photos == (10 if kept else 10 - gone)
    assert tally(report) == {
        "unchanged": 10 - gone,
        **({"kept": {str(library.root): gone}} if kept else {"removed": gone}),
    }
    assert library.update(prune=True).photos == 10 - gone


def test_each_root_is_guarded_by_itself(library):
    library.add(*range(10))
    other = library.root.with_name("other")
    for number in range(100, 104):
        coloured(other / f"{number}.png", number)
    library.update(library.root, other)
    shutil.rmtree(other)
    other.mkdir()
    (library.root / "000.png").unlink()
    report = library.update(library.root, other)
    assert tally(report) == {"unchanged": 9, "removed": 1, "kept": {str(other): 4}}
    assert report.photos == 13


def test_an_empty_folder_of_a_root_is_not_taken_for_emptied(library):
    library.add(*range(10))
    for number in (100, 101):
        coloured(library.root / "disk" / f"{number}.png", number)
    library.update()
    shutil.rmtree(library.root / "disk")
    (library.root / "disk").mkdir()
    assert tally(library.update(library.root / "disk")) == {"kept": {str(library.root): 2}}
    assert library.contents.photo_count == 12


def test_a_folder_that_cannot_be_read_keeps_its_photos(library, monkeypatch):
    library.add(*range(10))
    for number in range(100, 103):
        coloured(library.root / "locked" / f"{number}.png", number)
    library.update()
    real = os.scandir

    def scandir(folder):
        if os.path.basename(folder) == "locked":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    (library.root / "000.png").unlink()
    report = library.update()
    locked = str(library.root / "locked")
    assert tally(report) == {"unchanged": 9, "removed": 1, "problems": {locked: "Permission denied"}}
    assert report.photos == 12


def test_other_roots_are_left_alone(library):
    library.add(1, 2)
    library.update()
    shutil.rmtree(library.root)
    other = library.root.with_name("other")
    coloured(other / "100.png", 100)
    assert tally(library.update(other)) == {"indexed": 1}
    assert library.contents.photo_count == 3
    assert library.contents.meta.roots == (str(library.root), str(other))


# Forgotten photos.


def test_a_forgotten_photo_stays_out_under_any_name(library):
    library.add(1, 2)
    library.update()
    forget(library.index, [str(library.root / "001.png")])
    shutil.copy(library.root / "001.png", library.root / "001 copy.png")
    for _ in range(2):
        assert tally(library.update()) == {"unchanged": 1, "forgotten": 2}
        assert library.looked == []
        assert library.names == ["002.png"]


def test_again_takes_a_forgotten_photo_in(library):
    library.add(1, 2)
    library.update()
    forget(library.index, [str(library.root / "001.png")])
    assert tally(library.update(again=True)) == {"indexed": 1, "unchanged": 1}
    assert library.names == ["001.png", "002.png"]
    assert tally(library.update()) == {"unchanged": 2}
    library.check()


def test_a_photo_that_becomes_a_forgotten_one_is_dropped(library):
    library.add(1, 2)
    library.update()
    forget(library.index, [str(library.root / "001.png")])
    os.replace(library.root / "001.png", library.root / "002.png")
    assert tally(library.update()) == {"forgotten": 1}
    assert library.names == []


# Photos that cannot be read just now.


class Hindering(SquareDetector):
    """Does something to the disk when it sees its first photo."""

    def __init__(self, do):
        super().__init__()
        self._do = do

    def detect(self, image, scale):
        self._do, do = lambda: None, self._do
        do()
        return super().detect(image, scale)


def hindered(library, do):
    library.add(0)
    os.utime(library.root / "000.png", ns=(3, 3))
    return update_index(
        library.index,
        META,
        IndexRequest((str(library.root),)),
        lambda: Pipeline(Hindering(do), ColourEmbedder(), jobs=1, batch=1),
    )


def test_a_photo_that_cannot_be_read_now_keeps_its_faces(library):
    library.add(*range(1, 4))
    library.update()
    path = library.root / "003.png"
    path.touch()

    def lock():
        path.unlink()
        path.symlink_to(path)  # it is there, and opening it fails

    report = hindered(library, lock)
    assert list(report.unreadable) == [str(path)]
    assert report.photos == 4
    assert library.contents.face_count == 4


def test_a_photo_that_vanishes_is_no_error(library):
    library.add(1, 2)
    library.update()
    coloured(library.root / "003.png", 3)
    report = hindered(library, lambda: (library.root / "003.png").unlink())
    assert tally(report) == {"indexed": 1, "unchanged": 2}
    assert library.names == ["000.png", "001.png", "002.png"]


def test_a_photo_that_was_never_read_is_tried_again(library):
    library.add(1)
    (library.root / "002.png").symlink_to("002.png")
    path = str(library.root / "002.png")
    for _ in range(2):
        report = library.update(library.root, path)
        assert str(library.root / "002.png") in {**report.unreadable, **report.problems}
    (library.root / "002.png").unlink()
    library.add(2)
    assert tally(library.update()) == {"indexed": 1, "unchanged": 1}


def test_a_photo_whose_content_broke_loses_its_faces(library):
    library.add(1, 2)
    library.update()
    (library.root / "002.png").write_bytes(b"broken")
    report = library.update()
    assert list(report.unreadable) == [str(library.root / "002.png")]
    assert library.contents.status.tolist() == [0, 2]
    assert library.contents.face_count == 1
    assert tally(library.update()) == {"unchanged": 2}


# Paths of all kinds.


def test_a_single_file(library):
    library.add(1, 2)
    assert tally(library.update(library.root / "001.png")) == {"indexed": 1}
    assert library.names == ["001.png"]
    assert library.contents.meta.roots == (str(library.root),)
    (library.root / "scan").write_bytes((library.root / "002.png").read_bytes())
    assert tally(library.update(library.root / "scan")) == {"indexed": 1}
    # Its name is no photo's: a later walk over the folder does not take it for gone.
    assert library.update().photos == 3
    (library.root / "scan").unlink()
    assert library.update().photos == 2


def test_nested_roots_are_one(library):
    library.add(1)
    coloured(library.root / "sub" / "100.png", 100)
    library.update(library.root / "sub")
    assert library.contents.meta.roots == (str(library.root / "sub"),)
    assert tally(library.update(library.root, library.root / "sub")) == {"indexed": 1, "unchanged": 1}
    assert library.contents.meta.roots == (str(library.root),)
    assert tally(library.update(library.root / "sub")) == {"unchanged": 1}
    assert library.contents.photo_count == 2
    library.check()


@pytest.mark.parametrize("name", ["1 new\nline.png", "1 'quote\".png", "1 日本.png", b"1 \xff\xfe.png"])
def test_every_name_a_file_can_have(library, name):
    library.add(1)
    path = os.path.join(os.fsencode(library.root), os.fsencode(name))
    os.rename(library.root / "001.png", path)
    assert tally(library.update()) == {"indexed": 1}
    assert library.contents.path_bytes(0) == path
    assert tally(library.update()) == {"unchanged": 1}
    library.check()


def test_what_is_excluded_later_is_taken_out_and_comes_back_with_the_pattern(library):
    library.add(*range(10), 11, 12)
    library.update()
    _, plan = make_plan(library.contents, IndexRequest((str(library.root),), exclude=("00*",)))
    assert len(plan.excluded) == 10
    assert tally(library.update(exclude=("00*",), keep_excluded=True)) == {"unchanged": 2}
    assert library.contents.photo_count == 12
    assert tally(library.update(exclude=("00*",))) == {"unchanged": 2, "excluded": 10}
    assert library.contents.photo_count == 2
    assert tally(library.update()) == {"unchanged": 2, "indexed": 10}
    library.check()


def test_a_pattern_that_matched_nothing_and_other_files_are_reported(library):
    library.add(1)
    (library.root / "film.mp3").touch()
    report = library.update(exclude=("typo*", "./film.mp3"))
    assert (report.unmatched, report.passed_over) == (["typo*"], {})
    assert library.update().passed_over == {"MP3": 1}


def test_a_time_that_no_64_bits_hold(library):
    library.add(1)
    os.utime(library.root / "001.png", ns=(0, 1 << 63))
    assert tally(library.update()) == {"indexed": 1}
    assert tally(library.update()) == {"unchanged": 1}


def test_several_faces_of_a_photo_stay_together(library):
    photo(library.root / "a.png", (5, 5, 20, RED), (50, 30, 40, GREEN))
    photo(library.root / "b.png", (5, 5, 40, RED))
    assert library.update().faces == 3
    assert library.contents.photo.tolist() == [0, 0, 1]
    assert library.contents.boxes[:, 2].tolist() == [40, 20, 40]


# Interrupted runs.


def stop_after(count):
    seen = []

    def on_photo(one):
        seen.append(one)
        if len(seen) == count:
            raise KeyboardInterrupt

    return on_photo


def same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    blank = {"created": "", "updated": ""}
    assert dataclasses.replace(one.meta, **blank) == dataclasses.replace(other.meta, **blank)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_ctrl_c_keeps_what_was_done(library, count):
    library.add(*range(10))
    report = library.update(on_photo=stop_after(count))
    assert report.interrupted
    assert (report.indexed, report.photos) == (count, count)
    report = library.update()
    assert (report.indexed, report.unchanged, report.interrupted) == (10 - count, count, False)
    undisturbed = library.index.with_name("other.npz")
    update_index(undisturbed, META, IndexRequest((str(library.root),)), pipeline)
    same(library.contents, open_index(undisturbed))


def test_ctrl_c_drops_nothing_that_seems_gone(library):
    library.add(*range(10))
    library.update()
    (library.root / "zz").mkdir()  # the last to be looked at
    (library.root / "005.png").rename(library.root / "zz" / "005.png")
    library.add(10, 11)
    report = library.update(on_photo=stop_after(1))
    assert report.interrupted
    assert report.removed == 0
    assert "005.png" in library.names
    report = library.update()
    assert (report.moved, report.photos) == (1, 12)
    library.check()


@pytest.mark.parametrize("count", [1, 5, 8])
def test_a_killed_run_goes_on_where_it_was(library, count):
    library.add(*range(10))
    code = (
        "import os, sys, pathlib\nfrom support.fakes import META, pipeline\n"
        "from facesearch.plan import IndexRequest\nfrom facesearch.update import update_index\n"
        "seen = []\n"
        "def on_photo(one):\n    seen.append(one)\n"
        f"    if len(seen) == {count}: os.kill(os.getpid(), 9)\n"
        "request = IndexRequest((sys.argv[2],))\n"
        "update_index(pathlib.Path(sys.argv[1]), META, request, pipeline, on_photo=on_photo)\n"
    )
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    killed = subprocess.run([sys.executable, "-c", code, library.index, library.root], env=environment)
    assert killed.returncode == -9
    assert not library.index.exists()
    report = library.update()
    assert (report.recovered, report.indexed, report.unchanged) == (count, 10 - count, count)
    undisturbed = library.index.with_name("other.npz")
    update_index(undisturbed, META, IndexRequest((str(library.root),)), pipeline)
    same(library.contents, open_index(undisturbed))


def test_an_error_of_the_network_loses_nothing(library):
    library.add(*range(6))

    class Failing(ColourEmbedder):
        def embed(self, crops):
            if crops[..., 0].max() == 135:  # the last of the six photos
                raise RuntimeError("out of memory")
            return super().embed(crops)

    library.embedder = Failing()
    with pytest.raises(RuntimeError):
        library.update()
    library.embedder = ColourEmbedder()
    report = library.update()
    assert report.recovered == 4  # the two batches before
    assert report.recovered + report.indexed == 6
    library.check()


def test_other_settings_are_refused_and_nothing_is_changed(library):
    library.add(1)
    library.update()
    before = library.index.read_bytes()
    library.add(2)
    with pytest.raises(IndexConflict, match="settings"):
        library.update(meta=dataclasses.replace(META, settings={"margin": 0.9}))
    with pytest.raises(IndexConflict, match="model"):
        library.update(meta=dataclasses.replace(META, model="other"))
    assert library.index.read_bytes() == before


def test_a_plan_writes_nothing(library):
    library.add(1, 2)
    _, plan = make_plan(empty_index(META), IndexRequest((str(library.root), "/nowhere at all")))
    assert [Path(one.path).name for one in plan.new] == ["001.png", "002.png"]
    assert plan.problems == {"/nowhere at all": "No such file or directory"}
    library.update()
    (library.root / "001.png").unlink()
    before = library.index.read_bytes()
    _, plan = make_plan(library.contents, IndexRequest((str(library.root),)))
    assert (plan.new, plan.unchanged, plan.gone) == ([], 1, [str(library.root / "001.png")])
    assert library.index.read_bytes() == before
    assert isinstance(library.update(), Report)


def test_a_truncated_photo_is_taken_as_far_as_it_goes_and_told(library):
    place = library.root / "1.jpg"
    picture = np.full((90, 200, 3), 100, np.uint8)
    picture[10:50, 10:50] = RED
    place.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes()[:-2])
    report = library.update()
    assert tally(report) == {"indexed": 1, "truncated": {str(place): TRUNCATED}}
    assert library.contents.face_count == 1
    assert tally(library.update()) == {"unchanged": 1}


DEADLY = """
import os, signal, sys
from facesearch import pipeline
real = pipeline.decode
def deadly(data, **options):
    if b"deadly" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(data, **options)
pipeline.decode = deadly
sys.path.insert(0, sys.argv[1])
from support.fakes import META, pipeline as fake
from facesearch.plan import IndexRequest
from facesearch.update import update_index
report = update_index(sys.argv[2], META, IndexRequest((sys.argv[3],)), fake)
print(report.indexed, report.unchanged, report.unreadable)
"""


def test_a_photo_that_ends_the_process_is_passed_over(library, monkeypatch, tmp_path):
    """As by a fault in a decoder, or for want of memory: the fourth run gets through, and says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library.add(*range(1, 60))
    bad = library.root / "030.png"
    bad.write_bytes(bad.read_bytes() + b"deadly")

    def run():
        args = [
            sys.executable,
            "-c",
            DEADLY,
            str(Path(__file__).parent),
            str(library.index),
            str(library.root),
        ]
        return subprocess.run(args, capture_output=True, text=True, timeout=60)

    assert [run().returncode for _ in range(3)] == [-9, -9, -9]
    done = run()
    assert done.returncode == 0, done.stderr
    assert "'facesearch died of it again and again.'" in done.stdout
    assert str(bad) in done.stdout
    assert library.contents.face_count == 58
    assert run().stdout == "0 59 {}\n"  # it is not tried again
    assert not list((tmp_path / "cache").rglob("in-work/*"))
    coloured(bad, 30)
    assert run().stdout == "1 58 {}\n"
    library.check()
