"""An index where no file can take the place of one that is open or mapped."""

import os
import threading
import time

import numpy as np
import pytest
from support import windows
from support.fakes import coloured, rate
from test_update import Library, tally

from facesearch import files
from facesearch.errors import IndexBroken, StorageError
from facesearch.files import remove_file, replaced
from facesearch.index.index import check_index
from facesearch.index.npz.arrays import map_arrays
from facesearch.index.npz.store import broken, open_index
from facesearch.index.operations import forget, merge_indexes, move_root

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not tell what is open"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_index_is_changed_while_another_reads_it(tmp_path, monkeypatch):
    windows.forbid(monkeypatch)
    library = Library(tmp_path)
    library.add(1, 2, 3)
    library.update()
    reader = open_index(library.index)  # as `serve` holds it
    before = np.array(reader.vectors)
    library.add(4)
    rate(library.root / "001.png")
    assert tally(library.update()) == {"indexed": 1, "unchanged": 3}
    forget(library.index, [str(library.root / "002.png")])
    moved = library.root.rename(tmp_path / "elsewhere")
    move_root(library.index, str(library.root), str(moved))
    np.testing.assert_array_equal(reader.vectors, before)
    index = open_index(library.index)
    assert [os.path.basename(index.path(photo)) for photo in range(index.photo_count)] == [
        "001.png",
        "003.png",
        "004.png",
    ]
    merge_indexes([library.index], tmp_path / "merged.npz")
    assert open_index(tmp_path / "merged.npz").photo_count == 3


def test_what_a_virus_scanner_holds_is_replaced_when_it_lets_go(tmp_path, monkeypatch):
    windows.forbid(monkeypatch, patience=30.0)
    file = tmp_path / "file"
    file.write_bytes(b"old")
    held = open(file, "rb")  # noqa: SIM115

    def let_go():
        time.sleep(0.2)
        held.close()

    scanner = threading.Thread(target=let_go)
    scanner.start()
    with replaced(file) as draft:
        draft.write(b"new")
    scanner.join()
    assert file.read_bytes() == b"new"
    remove_file(file)
    remove_file(file)  # is not there any more
    assert list(tmp_path.iterdir()) == []


def test_what_is_never_let_go_is_said_and_nothing_is_left_beside_it(tmp_path, monkeypatch):
    windows.forbid(monkeypatch)
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with open(file, "rb"), pytest.raises(PermissionError) as error, replaced(file) as draft:
        draft.write(b"new")
    assert isinstance(files.storage_error(file, error.value), StorageError)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_ours_is_not_waited_for(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    begun = time.monotonic()
    with pytest.raises(PermissionError), replaced(tmp_path / "file") as draft:
        draft.write(b"new")
    assert time.monotonic() - begun < files.PATIENCE / 2


def test_an_index_with_names_that_the_system_cannot_have_is_refused(tmp_path, monkeypatch):
    library = Library(tmp_path)
    coloured(os.fsdecode(os.fsencode(library.root) + b"/caf\xe9.png"), 1)
    library.update()
    assert open_index(library.index).photo_count == 1
    monkeypatch.setattr("facesearch.index.index.ESCAPES", "surrogatepass")
    with pytest.raises(IndexBroken, match="a path is not Unicode"):
        check_index(map_arrays(library.index), lambda clause: broken(library.index, clause))


def test_a_walk_whose_listings_do_not_tell_folders_apart(tmp_path, monkeypatch):
    """On Windows a listing gives no device and no inode: every folder looked like the first one."""
    library = Library(tmp_path)
    for folder in ("a", "b", "b/c"):
        coloured(library.root / folder / "1.png", hash(folder) % 200)
    listed = os.scandir

    class Entry:
        def __init__(self, entry):
            self._entry = entry
            self.name, self.path = entry.name, entry.path
            self.is_dir, self.is_file, self.is_symlink = entry.is_dir, entry.is_file, entry.is_symlink

        def stat(self, *, follow_symlinks=True):
            about = list(self._entry.stat(follow_symlinks=follow_symlinks))
            about[1:4] = 0, 0, 0  # inode, device, links
            return os.stat_result(about, {"st_mtime_ns": 1, "st_ctime_ns": 1})

    class Listing(list):
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    def scandir(path="."):
        with listed(path) as entries:
            return Listing(map(Entry, entries))

    from facesearch.photos.find import Scan, find_photos

    scan = Scan()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        find_photos(str(library.root), scan)
    assert len(scan.photos) == 3
    assert scan.mounts == set()
