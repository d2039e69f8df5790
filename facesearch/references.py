"""Photos that show whom to look for -> the faces that are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from facesearch.errors import NoFace, PhotoError, UnreadablePhoto
from facesearch.faces import Face, PhotoFaces, Reference, Status
from facesearch.pipeline import Choice, Pipeline, all_faces, largest_face

FaceWanted = int | Literal["largest", "all"]


def find_references(
    pipeline: Pipeline, paths: Sequence[str], face: FaceWanted, on_photo: Callable[[PhotoFaces], None]
) -> tuple[list[Reference], list[tuple[str, PhotoError]]]:
    """Look at photos and take the faces that are meant.

    Args:
        pipeline: As it made the index; which faces it takes is set here.
        paths: Absolute.
        face: Which face of each photo: a number (1 for the largest), "largest" or "all".
        on_photo: Told of each photo that was looked at.

    Returns:
        The faces in the order of the photos; the photos that gave none, with the reason.
    """
    found: list[Reference] = []
    problems: list[tuple[str, PhotoError]] = []
    for photo in replace(pipeline, choose=chosen(face)).run(paths):
        on_photo(photo)
        if photo.status is Status.OK and photo.vectors is not None:
            found.extend(references_in(photo, face))
        else:
            problems.append((photo.path, problem(photo, face)))
    return found, problems


def chosen(face: FaceWanted) -> Choice:
    """Give what takes the faces that are meant from all of a photo's."""
    if face == "all":
        return all_faces
    if face == "largest":
        return largest_face
    number = face

    def numbered(faces: Sequence[Face]) -> Sequence[Face]:
        return faces[number - 1 : number]

    return numbered


def references_in(photo: PhotoFaces, face: FaceWanted) -> list[Reference]:
    """Give the faces of a photo that was looked at for those that are meant."""
    assert photo.vectors is not None
    first = face if isinstance(face, int) else 1
    return [
        Reference(photo.path, first + number, one.box, photo.vectors[number])
        for number, one in enumerate(photo.faces)
    ]


def problem(photo: PhotoFaces, face: FaceWanted) -> PhotoError:
    """Say why a photo gave no face to look for."""
    if os.path.isdir(photo.path):
        return UnreadablePhoto(f"{photo.path}: It is a folder.", "Name the photos in it.")
    if photo.status is Status.UNREADABLE:
        return UnreadablePhoto(f"{photo.path}: {photo.reason}")
    if isinstance(face, int) and face > 1:
        return NoFace(f"{photo.path}: There is no face number {face}.", "Leave out --face for the largest.")
    return NoFace(
        f"{photo.path}: No face was found.",
        "Try --rotations, or --whole when the photo is nothing but the face.",
    )
