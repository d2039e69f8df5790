"""Indexes of photos in which it is known who is who: each person is a direction of their own."""

import os

import numpy as np

from facesearch.embed.sface import CARD
from facesearch.faces import NOT_ASKED, Box, Face, FileState, PhotoFaces, Status
from facesearch.index.meta import Meta
from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import open_index, people_path
from facesearch.people.people import People
from facesearch.people.register import read_register, write_register
from facesearch.photos.content import read_content
from support.fakes import write_index

META = Meta(CARD.name, CARD.digest, CARD.dim, CARD.detector, {"margin": CARD.margin})
WITHIN = 0.45
LENGTH = 16  # a much shorter vector would be a poor face's; a power of two keeps ties


def shows(path, *persons, content=None, digest=None, shift=0, spread=0.3, captured=NOT_ASKED):
    """Return a photo that shows persons, by number from 0, as a pipeline would; the first is the largest.

    Vectors and digest follow from the content, by default the path; a shift moves all boxes to the right.
    Where there is such a photo, the digest is the real one.
    """
    rng = np.random.default_rng([*(content or path).encode("utf-8", "surrogateescape")])
    own = rng.bytes(16)
    if os.path.isfile(path):
        own = read_content(path).file.digest
    vectors = np.eye(CARD.dim)[list(persons)] + spread * rng.normal(size=(len(persons), CARD.dim)) / 11
    faces = tuple(Face(Box(100 * at + shift, 5, 80 - at, 80 - at), 0.9) for at in range(len(persons)))
    return PhotoFaces(
        path,
        FileState(10, 20, 30, digest or own, digest or own, captured),
        Status.OK if persons else Status.NO_FACE,
        faces,
        (LENGTH * vectors).astype(np.float32) if persons else None,
    )


def write_people(path, photos):
    """Write an index of photos anew."""
    path.unlink(missing_ok=True)
    return write_index(path, photos, META)


def opened(path):
    """Open the people of an index."""
    return People(open_index(path), read_register(CompanionFile(people_path(path))))


def kept(path, people):
    """Keep people and open them again."""
    write_register(CompanionFile(people_path(path)), people.register)
    return opened(path)


def grouped(path, photos):
    """Write an index of photos, group its faces, keep that, and open it again."""
    write_people(path, photos)
    people = opened(path)
    people.group(WITHIN)
    return kept(path, people)


def whose(people):
    """Return the number of each face's person by path and number of the face."""
    index = people.index
    return {
        (index.path(photo), at + 1): int(people.whose[row])
        for photo in range(index.photo_count)
        for at, row in enumerate(index.faces_of(photo))
    }
