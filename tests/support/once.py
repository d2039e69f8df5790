"""Folders that are expensive to make: made once for all processes of a test run."""

import os

import filelock


def made_once(tmp_path_factory, name, make):
    """Return a folder of this name that `make(folder)` filled; tests only read it.

    The processes of pytest-xdist share it: the first one makes it, and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with filelock.FileLock(base / f"{name}.lock"):
        if not made.exists():
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
