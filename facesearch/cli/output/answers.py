"""What becomes of a query's answers: they are printed, drawn, written as a page, and their photos copied."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from facesearch.cli.output.matches import FORMATS, as_paths
from facesearch.cli.output.text import counted, escaped, say_what_is_measured, what_is_measured, write
from facesearch.faces import NOT_ASKED, UNDATED

if TYPE_CHECKING:
    from datetime import datetime

    from facesearch.faces import Answers
    from facesearch.library import Library
    from facesearch.ranking import Ranking
    from facesearch.web.client import ServedIndex


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The options of `query` on which the form of its answers depends, and the reason when there are none."""

    quiet: bool
    form: str | None
    as_json: bool
    null: bool
    sheet: str | None
    html: str | None
    copy_to: str | None
    link_to: str | None
    metric: Ranking | None
    whole: bool
    person: str | None
    others: tuple[str, ...]
    threshold: float | None
    min_probability: float | None
    min_quality: float | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Searched:
    """What was searched.

    Attributes:
        name: The model's name.
        metric: The model's distance.
        identity: Whether the model tells persons apart.
        landmarks: Whether the model needs aligned faces.
        photos: Number of photos in the index.
        faces: Number of faces in the index.
        undated: Number of photos without a date.
        not_asked: Number of those whose date an older facesearch did not look for.
    """

    name: str
    metric: str
    identity: bool
    landmarks: bool
    photos: int
    faces: int
    undated: int = 0
    not_asked: int = 0

    @classmethod
    def of(cls, library: Library) -> Searched:
        """Describe a library."""
        card, index = library.card, library.searched
        captured = getattr(index, "captured", None)  # a server does not tell
        undated, not_asked = (
            (0, 0) if captured is None else (int((captured <= last).sum()) for last in (UNDATED, NOT_ASKED))
        )
        counts = index.photo_count, index.face_count
        return cls(card.name, card.metric, card.identity, card.landmarks, *counts, undated, not_asked)

    @classmethod
    def of_server(cls, index: ServedIndex) -> Searched:
        """Describe a served index."""
        # A server takes no photo as a whole face, so it does not matter whether the model needs landmarks.
        return cls(index.model, index.metric, index.identity, False, index.photos, index.faces)


def finish(answers: Answers, options: OutputOptions, searched: Searched) -> int:
    """Write answers in the forms that were asked for, and say what went wrong.

    Returns:
        The exit status.
    """
    quiet = options.quiet
    for _, error in answers.problems:
        click.echo(f"facesearch: {escaped(error.message)} {error.hint}".rstrip(), err=True)
    if not quiet and answers.answers and not any(answer.matches for answer in answers.answers):
        click.echo(_why_nothing(options, searched), err=True)
    if not quiet and (options.since or options.until) and searched.undated:
        click.echo(_undated(searched), err=True)
    if not quiet and _form(options) == "table":
        say_what_is_measured(searched, whole=options.whole)
    _write(answers, options)
    _keep(answers, options, searched, quiet=quiet)
    return _status(answers)


def _why_nothing(options: OutputOptions, searched: Searched) -> str:
    """Return the reason why there is no match although there was a face to look for."""
    if not searched.faces:
        return "The index holds no face yet: add photos with `facesearch index FOLDER`."
    limits = []
    if options.threshold is not None:
        limits.append(f"within a distance of {options.threshold}")
    if options.min_probability:
        limits.append(f"with a probability of {options.min_probability} or more")
    if options.min_quality:
        limits.append(f"with a quality of {options.min_quality} or more")
    if options.since or options.until:
        return f"No face lies {' and '.join([*limits, 'in a photo that was taken then'])}."
    if options.person or options.others:
        return "No photo matches. `facesearch people` also groups what was indexed since."
    if limits:
        return f"No face lies {' and '.join(limits)}."
    return "The index holds only the faces of REF itself: --include-self lists them."


def _undated(searched: Searched) -> str:
    """Return how many photos a question for a time leaves out, and what helps."""
    said = f"{searched.undated:,} of {counted(searched.photos, 'photo')} have no date, and are left out."
    if not searched.not_asked:
        return said
    return f"{said} {searched.not_asked:,} of them were never asked: run `facesearch index --verify`."


def _form(options: OutputOptions) -> str:
    if options.null:
        return "paths"
    if options.as_json:
        return "json"
    return str(options.form or ("table" if sys.stdout.isatty() else "tsv"))


def _write(answers: Answers, options: OutputOptions) -> None:
    found = answers.answers
    if not found and answers.problems and _form(options) == "table":
        return  # what went wrong was said; a head without rows would say nothing
    for piece in as_paths(found, "\0") if options.null else FORMATS[_form(options)](found):
        write(piece)


def _keep(answers: Answers, options: OutputOptions, searched: Searched, *, quiet: bool) -> None:
    """Draw the sheet, write the page, copy or link the matches."""
    metric = options.metric or searched.metric
    if options.sheet:
        from facesearch.cli.output.answer_files import write_answer_sheet

        write_answer_sheet(answers.answers, options.sheet, metric)
        if not quiet:
            click.echo(f"The sheet is in {escaped(options.sheet)}", err=True)
    if options.html:
        from facesearch.cli.output.answer_files import write_answer_page

        remarks = what_is_measured(searched, whole=options.whole)
        write_answer_page(answers, searched, options.html, metric, remarks)
        if not quiet:
            click.echo(f"The page is in {escaped(options.html)}", err=True)
    for folder, link in ((options.copy_to, False), (options.link_to, True)):
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
