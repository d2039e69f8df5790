"""A library copied to another place: its index, and its people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from facesearch.faces import PhotoFaces
from facesearch.index.backend import IndexBackend
from facesearch.index.copying import Copied, copy_index
from facesearch.people.register import only_editor, read_register, write_register


def copy_library(
    source: IndexBackend,
    target: IndexBackend,
    *,
    on_start: Callable[[int], None] = lambda count: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Copied:
    """Bring an index and its people to another place; see `copy_index`.

    Raises:
        FacesearchError: One cannot be used or written.
        PeopleBroken: What is kept of people cannot be used.
    """
    register = read_register(source.people) if source.people.there() else None
    before = source.meta()
    done = copy_index(source, target, on_start=on_start, on_photo=on_photo)
    if register is not None:
        after = target.meta()
        if before is not None and after is not None and register.grouped == before.updated:
            register = replace(register, grouped=after.updated)
        with only_editor(target.people):
            write_register(target.people, register)
    return done
