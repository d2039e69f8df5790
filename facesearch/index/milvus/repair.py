"""Puts right what a killed run left of an index in Milvus."""

from __future__ import annotations

from collections import Counter

from facesearch.index.milvus.book import Book
from facesearch.index.milvus.faces import Faces, key


def repair(book: Book, faces: Faces, generation: int) -> None:
    """Remove faces of no photo, and photos whose faces are not all there: those are looked at again."""
    book.server.settle(faces.name)
    photos = book.photos(generation)
    wanted = {photo.hold: photo.faces for photo in photos if photo.hold}
    found: Counter[str] = Counter()
    stray: list[str] = []
    for hold, number in faces.numbers():
        if number < wanted.get(hold, 0):
            found[hold] += 1
        else:
            stray.append(key(hold, number))
    book.drop(generation, [photo.path for photo in photos if found[photo.hold] != photo.faces])
    faces.delete(stray)
    book.settle()


def remove_older(book: Book, generation: int) -> None:
    """Remove what a rebuild that was killed at its end left of the index before it."""
    start = f"{book.name}_faces_"
    names = [name.removeprefix(start) for name in book.server.collections() if name.startswith(start)]
    for other in (int(name) for name in names if name.isdigit()):
        if other < generation:
            remove_generation(book, other)


def remove_generation(book: Book, generation: int) -> None:
    """Remove a generation with all that belongs to it; its faces last, which tell that there is one."""
    for document in ("meta", "closed", "counts", "lengths", "open"):
        book.erase(f"{document}/{generation}")
    book.discard(generation)
    name = f"{book.name}_faces_{generation}"
    if book.server.description(name) is not None:
        book.server.drop(name)
    book.settle()
