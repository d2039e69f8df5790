"""`facesearch faces`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.answer_json import SCHEMA, box_as_json, moment_as_json, with_path_bytes
from facesearch.cli.options import (
    AnyPath,
    LibraryOptions,
    ListOptions,
    RuntimeOptions,
    index_option,
    json_option,
    list_options,
    machine_options,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import counted, escaped, tsv_line, write, write_json
from facesearch.show.wording import frame_and_time, seen

if TYPE_CHECKING:
    from facesearch.faces import Box, Moment, PhotoFaces
    from facesearch.library import Library
    from facesearch.models.calibration import QualityScale
    from facesearch.people.people import People


@dataclass(frozen=True, kw_only=True)
class FacesOptions(ListOptions, LibraryOptions, RuntimeOptions):
    """The options of `facesearch faces`, by click's names."""

    as_json: bool
    vectors: bool
    sheet: str | None


@cloup.command("faces", short_help="List the faces of photos, with their numbers.")
@cloup.argument("photos", nargs=-1, type=AnyPath(), metavar="PHOTO...")
@option_group("What to look at", list_options, index_option, model_option)
@option_group(
    "Output",
    cloup.option(
        "--sheet", metavar="FILE", type=AnyPath(), help="Draw the faces with their numbers (.jpg, .png)."
    ),
    json_option,
    cloup.option("--vectors", is_flag=True, help="With --json: each face's vector."),
    quiet_option,
)
@machine_options
def command(photos: Sequence[str], **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """List the faces of photos: the number that other commands take, where each is, how good, and whose.

    Faces of photos that the index holds are those of the index; in other photos they are looked for.

    Without a terminal: the columns path, face, x, y, w, h, quality, person, frame, time (tsv). Quality is
    from 0 to 1; below 0.5 a face is too poor to tell who it is. Person is the name, or the number, or
    "ignored". Frame is in which frame of an animation a face is, from the second; time is when in a film.

    \b
    Examples:
      facesearch faces group.jpg --sheet numbered.jpg
      facesearch faces *.jpg --json --vectors

    Exit status: 0 found, 1 no face, 2 any error.
    """  # noqa: D301
    options = FacesOptions(**given)
    named = options.photos(photos)
    _check(options, named)
    library = options.open_library(options.make_runtime())
    found = list(library.faces(named))
    people = _people(library)
    shown = [(photo, list(_faces(library.card.quality, people, photo))) for photo in found]
    for photo in found:
        if photo.reason:
            click.echo(escaped(f"{photo.path}: {photo.reason}"), err=True)
    if options.sheet:
        _draw(shown, options.sheet)
    if options.as_json:
        write_json(
            {"schema": SCHEMA, "photos": [_json(photo, faces, options.vectors) for photo, faces in shown]}
        )
    elif sys.stdout.isatty():
        write("".join(_table(shown)))
    else:
        write("".join(_tsv(shown)))
    sys.exit(0 if any(faces for _, faces in shown) else 2 if any(photo.reason for photo in found) else 1)


def _check(options: FacesOptions, named: Sequence[str]) -> None:
    """Refuse, before the work starts, what cannot be done."""
    if not named:
        raise click.UsageError("Name at least one PHOTO, or --files-from a list of them.")
    if options.vectors and not options.as_json:
        raise click.UsageError("--vectors goes with --json.")
    if options.sheet:
        from facesearch.show.sheet import sheet_format

        sheet_format(Path(options.sheet))


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of a face beside its place."""

    number: int
    quality: float | None
    person: int
    title: str

    @property
    def badge(self) -> str:
        """What stands beside the face on a sheet."""
        return str(self.number) if self.title.isdecimal() else f"{self.number} {self.title}".rstrip()


def _faces(scale: QualityScale | None, people: People | None, photo: PhotoFaces) -> Iterator[_Told]:
    from facesearch.judge import quality_of

    quality = (
        quality_of(photo.vectors, scale).tolist()
        if scale is not None and photo.vectors is not None
        else [None] * len(photo.faces)
    )
    rows: dict[Box, int] = {}
    if people is not None and (known := people.index.find(photo.path)) is not None:
        # By their places: in a photo that was changed, the faces were looked for again.
        rows = {people.index.place(row): row for row in people.index.faces_of(known)}
        if not set(people.index.file(known).digests) & set(photo.file.digests):
            rows = {}
    for number, (face, good) in enumerate(zip(photo.faces, quality, strict=True), 1):
        whose = int(people.whose[rows[face.place]]) if people is not None and face.place in rows else -1
        yield _Told(number, good, whose, _title(people, whose))


def _title(people: People | None, whose: int) -> str:
    """Return what stands for a person: the name, or the number."""
    if people is None or whose < 0:
        return ""
    return people.facts.names.get(whose, str(whose)) if whose else "ignored"


def _people(library: Library) -> People | None:
    """Return the people of the index; None where there is no index, or its model tells nobody apart."""
    from facesearch.errors import IndexMissing, ModelError

    try:
        return library.people()
    except (IndexMissing, ModelError):
        return None


def _tsv(shown: Sequence[tuple[PhotoFaces, list[_Told]]]) -> Iterator[str]:
    for photo, told in shown:
        for face, one in zip(photo.faces, told, strict=True):
            quality = "" if one.quality is None else f"{one.quality:.4f}"
            row = (photo.path, one.number, *face.box.corners, quality, one.title)
            yield tsv_line((*row, *frame_and_time(face.moment)))


def _table(shown: Sequence[tuple[PhotoFaces, list[_Told]]]) -> Iterator[str]:
    for photo, told in shown:
        yield f"{escaped(photo.path)}: {counted(len(told), 'face')}\n"
        for face, one in zip(photo.faces, told, strict=True):
            box = face.box
            place = f"{box.width}x{box.height} at {box.x},{box.y}"
            quality = "" if one.quality is None else f"  quality {one.quality:.2f}"
            when = f"  {seen(face.moment)}" if face.moment else ""
            yield f"  #{one.number:<3} {place:22}{quality}{when}  {escaped(one.title)}".rstrip() + "\n"


def _json(photo: PhotoFaces, told: Sequence[_Told], vectors: bool) -> dict[str, Any]:
    faces = []
    for at, (face, one) in enumerate(zip(photo.faces, told, strict=True)):
        fields = {
            "face": one.number,
            "box": box_as_json(face.box),
            "score": face.score,
            "landmarks": face.landmarks,
            "quality": one.quality,
            "person": {"number": one.person, "name": one.title} if one.person > 0 else None,
            "ignored": one.person == 0,
        }
        fields |= moment_as_json(face.moment)
        if vectors and photo.vectors is not None:
            fields["vector"] = photo.vectors[at].tolist()
        faces.append(fields)
    return {**with_path_bytes({"path": photo.path}), "reason": photo.reason, "faces": faces}


def _draw(shown: Sequence[tuple[PhotoFaces, list[_Told]]], destination: str) -> None:
    from facesearch.errors import UnreadablePhoto
    from facesearch.faces import Moment
    from facesearch.show.contact_sheet import NumberedPhoto, draw_numbered
    from facesearch.show.pair_sheet import read_pixels
    from facesearch.show.sheet import save_sheet

    photos = []
    for photo, told in shown:
        # Of a film, or a picture of several frames, each frame in which somebody is.
        frames: dict[Moment | None, list[tuple[Box, str]]] = {} if photo.faces else {None: []}
        for face, one in zip(photo.faces, told, strict=True):
            moment = face.moment and Moment(face.moment.best, face.moment.best, face.moment.best)
            frames.setdefault(moment, []).append((face.box, one.badge))
        for moment, faces in sorted(frames.items(), key=lambda one: abs(one[0].best) if one[0] else 0):
            try:
                image = read_pixels(photo.path, moment)
            except UnreadablePhoto:
                continue  # it has been said
            title = os.path.abspath(photo.path) + (f" {seen(moment)}" if moment else "")
            photos.append(NumberedPhoto(title, image, faces))
    save_sheet(draw_numbered(photos), Path(destination))
