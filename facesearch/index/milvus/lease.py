"""A lease for one writer at a time: a document that names the writer and when its turn expires."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from facesearch.errors import FacesearchError, IndexBusy
from facesearch.index.milvus.photo_collection import PhotoCollection

# A writer that was killed on another machine blocks others for this long.
SECONDS = 60.0
_RENEWED = SECONDS / 3
# After this pause, two writers that began in the same moment both see which of them wrote last.
_PAUSE = 0.2

# Owners of this process's ended leases: the server may have been away when they were to be removed.
_ended_here: set[str] = set()


class Lease:
    """The right to write an index, or its people.

    Args:
        collection: The collection that holds the document.
        name: The document's name.
    """

    def __init__(self, collection: PhotoCollection, name: str) -> None:
        self._collection = collection
        self._name = f"lease/{name}"
        self._owner = secrets.token_hex(8)
        self._ended = threading.Event()
        self._lost = False

    @contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the lease for the duration of the context.

        Raises:
            IndexBusy: Another process holds it.
        """
        self._refuse_others()
        self._write()
        time.sleep(_PAUSE)
        self._refuse_others()
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(timeout=SECONDS)
            _ended_here.add(self._owner)
            with suppress(FacesearchError):  # it expires by itself
                if not self._lost:
                    self._collection.erase(self._name)

    def check(self) -> None:
        """Check that no other process has taken the lease meanwhile.

        Raises:
            IndexBusy: One has.
        """
        if self._lost:
            raise self._busy()

    def _refuse_others(self) -> None:
        self._collection.settle()
        data = self._collection.read(self._name)
        if data is None:
            return
        try:
            about = json.loads(data)
            ours = {self._owner} | _ended_here
            others = about["owner"] not in ours and float(about["until"]) > time.time()
            others = others and not (about["host"] == socket.gethostname() and _is_dead(int(about["pid"])))
        except (ValueError, TypeError, KeyError):
            return  # not a lease that a process could hold
        if others:
            raise self._busy()

    def _busy(self) -> IndexBusy:
        return IndexBusy(
            f"Another facesearch is writing {self._collection.address.name!r}.",
            "Run this again when it has ended; queries need not wait. One that was killed elsewhere is in "
            f"the way for {SECONDS:.0f} seconds.",
        )

    def _write(self) -> None:
        about = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "until": time.time() + SECONDS,
        }
        self._collection.write(self._name, json.dumps(about).encode())

    def _renew(self) -> None:
        while not self._ended.wait(_RENEWED):
            try:
                self._refuse_others()
                self._write()
            except IndexBusy:
                self._lost = True
                return
            except FacesearchError:
                continue  # the server is away for a while: the next write reports it


def _is_dead(process: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
