"""One writer at a time, by a document that says who writes and until when that counts."""

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

# A writer that was killed on another machine keeps others out for this long.
SECONDS = 60.0
_RENEWED = SECONDS / 3
# Two that begin in the same moment both see who was last after this.
_PAUSE = 0.2

# Of this process: those that could not be given back since the server was away.
_ended_here: set[str] = set()


class Lease:
    """Who writes an index, or its people.

    Args:
        collection: Where the document is.
        name: Of the document.
    """

    def __init__(self, collection: PhotoCollection, name: str) -> None:
        self._collection = collection
        self._name = f"lease/{name}"
        self._owner = secrets.token_hex(8)
        self._ended = threading.Event()
        self._lost = False

    @contextmanager
    def held(self) -> Iterator[Lease]:
        """Be the only one.

        Raises:
            IndexBusy: Another process is.
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
            with suppress(FacesearchError):  # it runs out by itself
                if not self._lost:
                    self._collection.erase(self._name)

    def check(self) -> None:
        """See that nobody else has taken it meanwhile.

        Raises:
            IndexBusy: Somebody has.
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
            return  # nobody's who could hold it
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
                continue  # away for a while: what is written next says so


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
