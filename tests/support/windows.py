"""What Windows forbids: another file in the place of one that is open, or mapped."""

import errno
import os


class InUse(PermissionError):
    """The error as Python has it on Windows."""

    winerror = 32


def is_open(path):
    """Return whether this process has a file open or mapped."""
    wanted = os.path.realpath(path)
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == wanted:
                return True
        except FileNotFoundError:  # the listing's own
            continue
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        return any(line.rstrip("\n").endswith(f" {wanted}") for line in maps)


def forbid(monkeypatch, *, patience=0.0):
    """Let nothing replace or remove a file that this process has open, and have facesearch expect that."""
    from facesearch import files

    def guarded(change, *, count):
        def change_unless_open(*paths, **more):
            if any(is_open(path) for path in paths[:count] if os.path.isfile(path)):
                raise InUse(errno.EACCES, "The process cannot access the file", str(paths[0]))
            return change(*paths, **more)

        return change_unless_open

    for name, count in (("replace", 2), ("rename", 2), ("unlink", 1), ("remove", 1)):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), count=count))
    monkeypatch.setattr(files, "REPLACES_MAPPED", False)
    monkeypatch.setattr(files, "PATIENCE", patience)
