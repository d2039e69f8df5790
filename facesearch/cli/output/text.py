"""Names from files as text: data in every output, never control characters, always reversible."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import click

from facesearch.answer_json import SCHEMA
from facesearch.paths import ESCAPES
from facesearch.show.wording import escaped as escaped

if TYPE_CHECKING:
    from facesearch.faces import PhotoFaces

# Of a file's name in the bar, in characters.
LONGEST_NAME = 30


def shown(text: str) -> str:
    """Return text as stdout is to have it: escaped on a terminal, which would obey it; else as it is."""
    return escaped(text) if sys.stdout.isatty() else text


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural but for one."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class Measure(Protocol):
    """What a card says of a model's distances."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def identity(self) -> bool:
        """Whether it knows persons."""

    @property
    def landmarks(self) -> bool:
        """Whether it wants aligned faces."""


def say_what_is_measured(model: Measure, *, whole: bool) -> None:
    """Say what has to be known of a model's distances."""
    for remark in what_is_measured(model, whole=whole):
        click.echo(f"Note: {remark}", err=True)


def what_is_measured(model: Measure, *, whole: bool) -> list[str]:
    """Tell plainly where a model's distances are not about persons, or are not told as it wants."""
    remarks = []
    if not model.identity:
        remarks.append(
            f"{model.name} measures how alike pictures of faces look, not who they are. "
            "`--model sface` finds the person."
        )
    if whole and model.landmarks:
        remarks.append(
            f"{model.name} wants aligned faces, and --whole takes a picture as it is: probabilities are "
            "left out."
        )
    return remarks


def escaped_field(value: object) -> str:
    """Return a TSV field: backslash, tab, newline and carriage return escaped, other bytes as they are."""
    text = str(value)
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return text


def tsv_line(fields: Iterable[object]) -> str:
    """Return one line of TSV, with its newline."""
    return "\t".join(shown(escaped_field(field)) for field in fields) + "\n"


def csv_line(fields: Iterable[object]) -> str:
    """Return one record of CSV as RFC 4180 has it, but with a newline alone at its end."""
    stream = io.StringIO()
    # The writer quotes a field for the characters of its own line end: with "\n" it would leave "\r" bare.
    csv.writer(stream, lineterminator="\r\n").writerow([shown(str(field)) for field in fields])
    return stream.getvalue().removesuffix("\r\n") + "\n"


def json_text(value: Mapping[str, Any]) -> str:
    """Return an object with its schema number as JSON in ASCII."""
    return json.dumps({"schema": SCHEMA, **value}, indent=2) + "\n"


def write_json(value: Mapping[str, Any]) -> None:
    """Write an object with its schema number to stdout."""
    write(json_text(value))


def write(text: str) -> None:
    """Write to stdout as it is; paths that are not UTF-8 become the bytes they are."""
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", ESCAPES))
        sys.stdout.buffer.flush()
    else:  # a stream of text that a test or a notebook put in stdout's place
        click.echo(text, nl=False)


class Progress:
    """Photos done, photos/s, faces and time left.

    Args:
        quiet: Whether to show nothing even on a terminal.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None
        self._faces = 0

    def start(self, photos: int) -> None:
        """Show the bar for so many photos."""
        if self._bar is not None:
            self._bar.close()
        if photos and not self._quiet:
            from tqdm import tqdm

            self._bar = tqdm(total=photos, unit=" photos", dynamic_ncols=True, file=sys.stderr)

    def photo(self, photo: PhotoFaces | None = None) -> None:
        """Count a photo, and its faces where they were looked for."""
        if self._bar is not None:
            if photo is not None:
                self._faces += len(photo.faces)
                self._bar.set_postfix_str(f"{self._faces} faces", refresh=False)
            self._bar.update()

    def part(self, path: str, done: int, parts: int) -> None:
        """Show how far a film is."""
        if self._bar is not None:
            name = escaped(os.path.basename(path))
            name = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
            self._bar.set_postfix_str(f"{self._faces} faces, {name}: {done / parts:.0%}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
