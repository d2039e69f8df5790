"""What the shell offers when Tab is pressed: indexes, models, people.

A shell's completion must never print an error: where the names cannot be read, nothing is offered.
"""

from __future__ import annotations

import os
from typing import Any

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
    """Offer the models on this machine, and those that can be fetched."""
    from facesearch.embed import model_names
    from facesearch.models.store import ModelStore

    try:
        names = {*model_names(), *ModelStore().names()}
    except (FacesearchError, OSError):
        names = set(model_names())
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def complete_person(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names of the people of the index that the command line names so far."""
    from facesearch.library import Library
    from facesearch.people.register import read_register

    given: dict[str, Any] = {**(context.parent.params if context.parent else {}), **context.params}
    try:
        library = Library(given.get("index_file"), given.get("model"))
        names = sorted(read_register(library.backend.people).names.values())
    except (FacesearchError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]
