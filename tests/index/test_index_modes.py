import dataclasses
import os
import stat

import pytest
from support.fakes import META, looked_at, write_index

from facesearch.index.npz import store as whole
from facesearch.index.npz.store import journal_path
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.index.operations import move_root

META_ROOTED = dataclasses.replace(META, roots=("/p",))


@pytest.fixture
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_open_umask")
def test_a_new_index_and_its_journal_are_private(tmp_path):
    path = tmp_path / "i.npz"
    (tmp_path / "i.npz.new").write_bytes(b"left by a process that died")
    with NpzIndexWriter(path, META_ROOTED) as writer:
        writer.add(looked_at("/p/a.jpg"))
        assert mode_of(journal_path(path)) == 0o600
        writer.commit()
    assert mode_of(path) == 0o600


@pytest.mark.usefixtures("_open_umask")
def test_nobody_reads_an_index_while_it_is_written(tmp_path, monkeypatch):
    modes, real = [], os.fsync

    def noting_fsync(handle):
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(whole.os, "fsync", noting_fsync)
    write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    assert modes[0] == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o600])
def test_a_replaced_index_keeps_its_mode(tmp_path, mode):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg")])
    path.chmod(mode)
    before = path.stat().st_ino
    move_root(path, "/p", "/q")
    assert path.stat().st_ino != before
    assert mode_of(path) == mode
