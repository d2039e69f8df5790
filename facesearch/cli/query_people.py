"""`query --person`: photos of people by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesearch.faces import Answers
    from facesearch.library import Library


def refuse_references(refs: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse what goes with a photo as the reference, and not with a person."""
    if refs:
        raise click.UsageError("REF or --person: choose one.")
    for name in ("files_from", "files0_from", "face", "all_faces", "whole", "together", "rotations"):
        if options[name]:
            raise click.UsageError(
                f"--{name.replace('_', '-')} goes with REF, and not with --person or --with."
            )
    if options["how"]:
        raise click.UsageError("--search goes with REF, and not with --person or --with.")
    if options["metric"] == "euclidean":
        raise click.UsageError("People are grouped by cosine distance: leave out --metric.")


def photos_of_people(library: Library, options: dict[str, Any]) -> Answers:
    """Find the photos that show all people who are named in a command's options."""
    from facesearch.faces import Answers
    from facesearch.people.keeping import open_people
    from facesearch.people.photos import Wish, photos_with

    people = open_people(library)
    named = [who for who in (options["person"], *options["others"]) if who]
    chosen = {name: options[name] for name in ("threshold", "min_probability") if options[name] is not None}
    names = ("top", "only", "by", "unique")
    wish = Wish(**{name: options[name] for name in names}, **chosen)
    answer = photos_with(
        people, [people.person(who) for who in named], wish, library.card.calibration.get("cosine")
    )
    if not people.up_to_date and not options["quiet"]:
        click.echo("The index has changed since people were grouped: run `facesearch people`.", err=True)
    return Answers((answer,), ())
