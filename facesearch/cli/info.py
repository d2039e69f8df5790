"""`facesearch info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from facesearch.answer_json import with_path_bytes
from facesearch.cli.options import index_option, json_option, model_option, open_library
from facesearch.cli.output.text import counted, escaped, shown, write, write_json

if TYPE_CHECKING:
    from facesearch.index.backend import IndexBackend
    from facesearch.index.index import Index
    from facesearch.models.card import Card

STATUSES = ("ok", "no-face", "unreadable")


@click.command("info", short_help="Show what an index holds.")
@index_option
@model_option
@click.option(
    "--list", "status", type=click.Choice(STATUSES), help="List the photos with this status instead."
)
@click.option("-0", "--null", is_flag=True, help="End each listed path with a zero byte.")
@json_option
def command(index_file: str | None, model: str | None, status: str | None, null: bool, as_json: bool) -> None:
    """Show what an index holds: photos, faces, model, settings, roots; or list its photos.

    \b
    Examples:
      facesearch info
      facesearch info --index family.npz --json
      facesearch info --list no-face
      facesearch info --list unreadable -0 | xargs -0 ls -l

    Exit status: 0 done, 2 when there is no index or it cannot be used.
    """  # noqa: D301
    if null and (status is None or as_json):
        raise click.UsageError("-0 goes with --list, and not with --json.")
    library = open_library(index_file, model)
    index = library.opened()
    if status is not None:
        _write_list(index, status, end="\0" if null else "\n", as_json=as_json)
        return
    facts = _facts(index, library.backend, library.card_of_index)
    if as_json:
        write_json(facts)
    else:
        write(_shown(facts))


def _write_list(index: Index, status: str, *, end: str, as_json: bool) -> None:
    paths = [index.path(row) for row in (index.status == STATUSES.index(status)).nonzero()[0].tolist()]
    if as_json:
        write_json({"status": status, "photos": [with_path_bytes({"path": path}) for path in paths]})
    else:
        # A zero byte ends paths that a program reads.
        write("".join((path if end == "\0" else shown(path)) + end for path in paths))


def _facts(index: Index, backend: IndexBackend, card: Card | None) -> dict[str, Any]:
    from facesearch.cohort import SIZE, Cohort
    from facesearch.judge import poor_faces

    meta = index.meta
    counts = {name: int((index.status == number).sum()) for number, name in enumerate(STATUSES)}
    facts: dict[str, Any] = {
        "index": backend.name,
        "model": meta.model,
        "model_digest": meta.model_digest,
        "dim": meta.dim,
        "detector": meta.detector,
        "settings": dict(meta.settings),
        "precision": meta.precision or None,
        "roots": [with_path_bytes({"path": root}) for root in meta.roots],
        "created": meta.created,
        "updated": meta.updated,
        "facesearch": meta.facesearch,
        "photos": index.photo_count,
        "faces": index.face_count,
        "poor_faces": int(poor_faces(index.vectors, card.quality).sum()) if card and card.quality else None,
        "status": counts,
        "forgotten": len(index.forgotten),
        "bytes": index.vectors.nbytes,
    }
    if card and card.library:
        cohort = Cohort.of(index.sample(SIZE), card.library)
        facts["judged_by"] = {
            "own": cohort.speaks,
            "faces": len(cohort.faces),
            "people": round(cohort.people),
        }
    if searched := backend.search_details():
        facts["search"] = searched
    return with_path_bytes(facts, "index")


def _shown(facts: dict[str, Any]) -> str:
    status, poor = facts["status"], _poor(facts["poor_faces"])
    settings = ", ".join(f"{name} {value}" for name, value in sorted(facts["settings"].items()))
    lines = [
        ("index", facts["index"]),
        (
            "photos",
            f"{facts['photos']:,}: {status['ok']:,} with a face, {status['no-face']:,} without, "
            f"{status['unreadable']:,} unreadable",
        ),
        (
            "faces",
            f"{facts['faces']:,}{poor}, {facts['dim']} numbers each, {facts['bytes'] / 1e6:.1f} MB",
        ),
        ("model", f"{facts['model']} ({facts['model_digest'][:19]}...)"),
        ("detector", f"{facts['detector']} ({settings})"),
        *([("precision", facts["precision"])] if facts["precision"] else []),
        *_judged(facts.get("judged_by")),
        *_searched(facts.get("search")),
        *(("root", root["path"]) for root in facts["roots"]),
        ("forgotten", counted(facts["forgotten"], "photo")),
        ("created", facts["created"]),
        ("updated", f"{facts['updated']} by facesearch {facts['facesearch']}"),
    ]
    return "".join(f"{name:10} {escaped(value)}\n" for name, value in lines)


def _poor(count: int | None) -> str:
    return f" ({count:,} poor: blurred, tiny, or no face)" if count else ""


def _judged(judged: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return what probabilities come from."""
    if judged is None:
        return []
    if not judged["own"]:
        return [("judged by", "the model's reference: there are too few faces to judge by")]
    people = "1 person" if judged["people"] == 1 else f"{judged['people']:,} people"
    return [("judged by", f"{counted(judged['faces'], 'face')} of its own, of about {people}")]


def _searched(search: dict[str, Any] | None) -> list[tuple[str, str]]:
    if search is None:
        return []
    return [("search", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in search.items()))]
