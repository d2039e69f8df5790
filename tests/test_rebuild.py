import dataclasses
import shutil

import numpy as np
import pytest
from support.fakes import META, ColourEmbedder, coloured, looked_at, pipeline, write_index

from facesearch.errors import FacesearchError, IndexBusy
from facesearch.index.npz.store import journal_path, open_index, rebuild_path
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.index.operations import forget
from facesearch.plan import IndexRequest
from facesearch.update import rebuild_index, update_index

OTHER = dataclasses.replace(META, settings={"margin": 0.0, "min_face": 3})


@pytest.fixture
def root(tmp_path):
    for number in range(6):
        coloured(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path, root):
    path = tmp_path / "i.npz"
    update_index(path, META, IndexRequest((str(root),)), pipeline)
    return path


def rebuild(index, *paths, meta=OTHER, stop=None, embedder=None, **wanted):
    """Rebuild as the library does; `stop` interrupts after so many photos."""
    seen = []

    def on_photo(one):
        seen.append(one)
        if len(seen) == stop:
            raise KeyboardInterrupt

    wanted = IndexRequest(tuple(map(str, paths)), **wanted)
    return rebuild_index(index, meta, wanted, lambda: pipeline(embedder, batch=1), on_photo=on_photo)


def names(folder):
    return sorted(file.name for file in folder.iterdir() if file.is_file() and file.suffix != ".lock")


def test_all_is_embedded_anew_with_other_settings(index, root, tmp_path):
    embedder = ColourEmbedder()
    report = rebuild(index, embedder=embedder)
    assert (report.indexed, sum(embedder.calls)) == (6, 6)
    layout = open_index(index)
    assert layout.meta.settings == OTHER.settings
    assert layout.meta.roots == (str(root),)
    assert layout.photo_count == 6
    assert names(tmp_path) == ["i.npz"]
    assert not rebuild_path(index).with_name("i.rebuild.npz.lock").exists()


def test_the_roots_of_the_index_and_what_is_asked_for_are_taken_in(index, root, tmp_path):
    coloured(tmp_path / "more" / "100.png", 100)
    assert rebuild(index, tmp_path / "more").indexed == 7
    assert open_index(index).meta.roots == (str(root), str(tmp_path / "more"))


def test_the_old_index_serves_until_the_new_one_is_whole_and_the_rest_is_done_later(index, tmp_path):
    before = index.read_bytes()
    assert rebuild(index, stop=4).interrupted
    assert index.read_bytes() == before
    embedder = ColourEmbedder()
    report = rebuild(index, embedder=embedder)
    assert (report.indexed, report.unchanged, sum(embedder.calls)) == (2, 4, 2)
    assert open_index(index).meta.settings == OTHER.settings
    assert open_index(index).photo_count == 6
    assert names(tmp_path) == ["i.npz"]


def test_a_rebuild_that_looked_at_other_frames_begins_anew(index):
    for looking in ("3 frames", "all frames"):
        report = rebuild(index, stop=4, meta=dataclasses.replace(OTHER, looking=looking))
        assert (report.indexed, report.unchanged) == (4, 0)


def test_a_rebuild_that_was_begun_with_other_settings_begins_anew(index):
    rebuild(index, stop=4)
    embedder = ColourEmbedder()
    assert rebuild(index, meta=META, embedder=embedder).indexed == 6
    assert sum(embedder.calls) == 6
    assert open_index(index).meta.settings == META.settings


def test_a_begun_rebuild_that_is_broken_begins_anew(index):
    rebuild_path(index).write_bytes(b"broken")
    assert rebuild(index).indexed == 6
    rebuild_path(index).with_name("i.rebuild.npz.journal").write_bytes(b"Dear diary, no journal of ours")
    assert rebuild(index).indexed == 6


@pytest.mark.parametrize("data", [None, b"broken"])
def test_without_a_usable_index_it_takes_what_is_asked_for(index, root, data):
    index.unlink()
    if data:
        index.write_bytes(data)
    assert rebuild(index, root).indexed == 6
    assert open_index(index).photo_count == 6


def test_a_root_that_is_not_there_is_not_lost(index, root, tmp_path):
    before = index.read_bytes()
    root.rename(tmp_path / "away")
    with pytest.raises(FacesearchError, match="photos") as caught:
        rebuild(index)
    assert "--prune" in caught.value.hint
    assert index.read_bytes() == before
    root.mkdir()  # a mount point without its disk
    with pytest.raises(FacesearchError, match="most are not there"):
        rebuild(index)
    assert index.read_bytes() == before


def test_a_root_that_lost_most_is_rebuilt_with_prune(index, root):
    for number in range(4):
        (root / f"{number}.png").unlink()
    with pytest.raises(FacesearchError, match="most are not there"):
        rebuild(index)
    assert rebuild(index, prune=True).indexed == 2
    assert open_index(index).photo_count == 2


def test_a_missing_root_goes_with_prune(index, root, tmp_path):
    shutil.rmtree(root)
    coloured(tmp_path / "more" / "100.png", 100)
    rebuild(index, tmp_path / "more", prune=True)
    assert open_index(index).meta.roots == (str(tmp_path / "more"),)


def test_a_root_of_which_a_little_is_gone_is_rebuilt(index, root):
    (root / "0.png").unlink()
    assert rebuild(index).indexed == 5


def test_what_was_forgotten_stays_so(index, root):
    vectors = open_index(index).vectors.copy()
    forget(index, [str(root / "3.png")])
    rebuild(index)
    layout = open_index(index)
    assert layout.photo_count == 5
    assert len(layout.forgotten) == 2  # of the picture, and of the file
    assert layout.find(str(root / "3.png")) is None
    assert vectors[3].tobytes() not in index.read_bytes()


def test_what_an_interrupted_run_had_left_goes_with_the_old_index(index, root, tmp_path):
    with NpzIndexWriter(index) as writer:
        writer.changes.cover([str(tmp_path / "later")])
        writer.add(looked_at(str(tmp_path / "later" / "200.png")))
    assert journal_path(index).exists()
    coloured(tmp_path / "later" / "200.png", 200)
    assert rebuild(index).indexed == 7  # the photo that the journal names is taken in
    assert not journal_path(index).exists()
    with NpzIndexWriter(index) as writer:  # or its making would differ from the journal's
        assert writer.index.photo_count == 7


def test_another_writer_is_not_overtaken(index):
    before = index.read_bytes()
    with NpzIndexWriter(index), pytest.raises(IndexBusy):
        rebuild(index)
    assert index.read_bytes() == before
    rebuild(index)
    assert open_index(index).meta.settings == OTHER.settings


def test_the_vectors_are_the_same_as_before(index):
    before = open_index(index).vectors.copy()
    rebuild(index)
    np.testing.assert_array_equal(open_index(index).vectors, before)


def test_where_it_is_rebuilt(tmp_path):
    assert rebuild_path(tmp_path / "a.b.npz") == tmp_path / "a.b.rebuild.npz"
    write_index(tmp_path / "plain", [])
    assert rebuild_path(tmp_path / "plain").parent == tmp_path


def test_just_what_the_index_covers_is_rebuilt(tmp_path):
    for name in ("asked.png", "odd.dat", "not-asked.png", ".hidden.png"):
        coloured(tmp_path / "d" / "p.png", len(name))
        (tmp_path / "d" / "p.png").rename(tmp_path / "d" / name)
    index = tmp_path / "i.npz"
    named = tuple(str(tmp_path / "d" / name) for name in ("asked.png", "odd.dat", ".hidden.png"))
    update_index(index, META, IndexRequest(named), pipeline)
    assert rebuild(index, named[0]).indexed == 3
    assert set(open_index(index).rows) == set(named)


def test_nobody_writes_the_index_meanwhile(index, root):
    def on_photo(_photo):
        with pytest.raises(IndexBusy):
            forget(index, ["/nowhere"])
        with pytest.raises(IndexBusy):
            update_index(index, META, IndexRequest((str(root),)), pipeline)
        with pytest.raises(IndexBusy):
            rebuild_index(index, META, IndexRequest(()), pipeline)

    report = rebuild_index(index, OTHER, IndexRequest(()), pipeline, on_photo=on_photo)
    assert (report.indexed, report.photos) == (6, 6)
    assert open_index(index).photo_count == 6


def test_forgotten_photos_come_back_with_again(index, root):
    forget(index, [str(root / "3.png")])
    report = rebuild(index, root, again=True)
    assert (report.indexed, report.photos) == (6, 6)
    assert len(open_index(index).forgotten) == 0
