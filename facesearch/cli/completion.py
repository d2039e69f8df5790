"""What the shell offers when Tab is pressed: indexes, models, people.

A shell's completion must never print an error: where the names cannot be read, nothing is offered.
"""

from __future__ import annotations

import os
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from facesearch.errors import FacesearchError


def complete_index(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer index files, and the folders on the way to them."""
    folder, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or os.curdir), key=lambda entry: entry.name)
    except OSError:
        return []
    items = []
    for entry in entries:
        path = os.path.join(folder, entry.name)
        if entry.name.startswith(start) and entry.is_dir():
            items.append(CompletionItem(path + os.sep))
        elif entry.name.startswith(start) and entry.name.endswith(".npz"):
            items.append(CompletionItem(path))
    return items


def complete_model(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the models on this machine, and those that can be fetched; Keras' own after `keras`."""
    from facesearch.embed import model_names
    from facesearch.embed.conversion import APPLICATIONS, PREFIX
    from facesearch.models.store import ModelStore

    names = set(model_names())
    if incomplete.startswith(PREFIX.rstrip("/")):
        names |= {PREFIX + name for name in APPLICATIONS}
    with suppress(FacesearchError, OSError):
        names |= set(ModelStore().names())
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def complete_person(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names of the people of the index that the command line names so far."""
    from facesearch.library import Library
    from facesearch.people.register import read_register

    above = context.parent.params if context.parent else {}
    given = {name: context.params.get(name) or above.get(name) for name in ("index_file", "model")}
    try:
        library = Library(given["index_file"], given["model"])
        names = sorted(read_register(library.backend.people).facts.names.values())
    except (FacesearchError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]
