"""What becomes of a query's answers: written, drawn, copied."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facesearch.cli.output.matches import FORMATS, as_paths
from facesearch.cli.output.text import counted, escaped, say_what_is_measured, what_is_measured, write
from facesearch.show.answer_page import Block, Hit, Shown, answers_page
from facesearch.show.page import write_page
from facesearch.show.pair_sheet import read_pixels
from facesearch.show.sheet import Row, draw_sheet, save_sheet
from facesearch.show.wording import few, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.faces import Answer, Answers, Match, Reference
    from facesearch.library import Library


@dataclass(frozen=True, slots=True)
class Searched:
    """What was searched.

    Attributes:
        name: The model's.
        metric: The model's distance.
        identity: Whether it knows persons.
        landmarks: Whether it wants aligned faces.
        photos: Of the index.
        faces: Of the index.
    """

    name: str
    metric: str
    identity: bool
    landmarks: bool
    photos: int
    faces: int

    @classmethod
    def of(cls, library: Library) -> Searched:
        """Say what a library is."""
        card, index = library.card, library.searched
        return cls(card.name, card.metric, card.identity, card.landmarks, index.photo_count, index.face_count)

    @classmethod
    def of_server(cls, about: Mapping[str, Any]) -> Searched:
        """Say what a server says of its index."""
        # Nothing is taken whole there, so that it does not matter what the model wants of it.
        identity, counts = bool(about["knows_persons"]), (int(about["photos"]), int(about["faces"]))
        return cls(str(about["model"]), str(about["metric"]), identity, False, *counts)


def finish(answers: Answers, options: dict[str, Any], searched: Searched) -> int:
    """Write and keep answers, and say what is wrong; give the exit status."""
    quiet = options["quiet"]
    for _, error in answers.problems:
        click.echo(f"facesearch: {escaped(error.message)} {error.hint}".rstrip(), err=True)
    if not quiet and answers.answers and not any(answer.matches for answer in answers.answers):
        click.echo(_why_nothing(options, searched), err=True)
    if not quiet and _form(options) == "table":
        say_what_is_measured(searched, whole=options["whole"])
    _write(answers, options)
    _keep(answers, options, searched, quiet=quiet)
    return _status(answers)


def _why_nothing(options: dict[str, Any], searched: Searched) -> str:
    """Say why there is no match although there was a face to look for."""
    if not searched.faces:
        return "The index holds no face yet: take in photos with `facesearch index FOLDER`."
    if options["person"] or options["others"]:
        return "No photo shows them like that. `facesearch people` takes in what was indexed since."
    limits = []
    if options["threshold"] is not None:
        limits.append(f"within a distance of {options['threshold']}")
    if options["min_probability"]:
        limits.append(f"with a probability of {options['min_probability']} or more")
    if limits:
        return f"No face lies {' and '.join(limits)}."
    return "The index holds no face but those of REF itself: --include-self lists them."


def _form(options: dict[str, Any]) -> str:
    if options["null"]:
        return "paths"
    if options["as_json"]:
        return "json"
    return str(options["form"] or ("table" if sys.stdout.isatty() else "tsv"))


def _write(answers: Answers, options: dict[str, Any]) -> None:
    if options["null"]:
        pieces = as_paths(answers.answers, "\0")
    else:
        pieces = FORMATS[_form(options)](answers.answers)
    for piece in pieces:
        write(piece)


def _keep(answers: Answers, options: dict[str, Any], searched: Searched, *, quiet: bool) -> None:
    """Draw the sheet, write the page, copy or link the matches."""
    metric = options["metric"] or searched.metric
    if options["sheet"]:
        write_sheet(answers.answers, options["sheet"], metric)
    if options["html"]:
        remarks = what_is_measured(searched, whole=options["whole"])
        write_answers(answers, searched, options["html"], metric, remarks)
    for folder, link in ((options["copy_to"], False), (options["link_to"], True)):
        if folder:
            from facesearch.show.collect import collect

            paths = [match.path for answer in answers.answers for match in answer.matches]
            count = collect(paths, folder, link=link)
            if not quiet:
                click.echo(f"{count} photos {'linked' if link else 'copied'} to {escaped(folder)}", err=True)


def _status(answers: Answers) -> int:
    from facesearch.errors import NoFace

    if any(not isinstance(error, NoFace) for _, error in answers.problems):
        return 2
    return 0 if any(answer.matches for answer in answers.answers) else 1


def write_answers(
    answers: Answers, searched: Searched, destination: str, metric: str, remarks: Sequence[str]
) -> None:
    """Write answers and what they were made with as one page.

    Raises:
        StorageError: The file cannot be written.
    """
    facts = [
        ("Model", searched.name),
        ("Distance", metric),
        ("Searched", f"{counted(searched.faces, 'face')} in {counted(searched.photos, 'photo')}"),
    ]
    page = answers_page(
        [
            Block([_reference(one) for one in answer.references], [_hit(match) for match in answer.matches])
            for answer in answers.answers
        ],
        facts=facts,
        remarks=remarks,
        problems=[(path, error.message) for path, error in answers.problems],
    )
    write_page(page, Path(destination))


def _reference(face: Reference) -> Shown:
    return replace(_shown(face), title=face.person)


def _shown(face: Reference | Match) -> Shown:
    return Shown(face.path, face.box, f"face {face.face}" if face.face > 1 else "")


def _hit(match: Match) -> Hit:
    return Hit(
        _shown(match),
        match.rank,
        f"{match.distance:.4f}",
        percent(match.probability) if match.probability is not None else "",
        few(match.strangers) if match.strangers is not None else "",
        match.same is False,
    )


def write_sheet(answers: Iterable[Answer], destination: str, metric: str) -> None:
    """Draw each answer, its first reference at the left, and save the picture."""
    rows = [
        Row(
            answer.references[0].path,
            read_pixels(answer.references[0].path),
            answer.references[0].box,
            answer.matches,
        )
        for answer in answers
    ]
    save_sheet(draw_sheet(rows, read_pixels, metric=metric), Path(destination))
