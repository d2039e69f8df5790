"""`facesearch info`."""

from __future__ import annotations

import os
from collections import Counter
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
@click.option("--kind", metavar="SUFFIX", help="With --list: only files of this kind, such as cr2.")
@click.option("-0", "--null", is_flag=True, help="End each listed path with a zero byte.")
@json_option
def command(
    index_file: str | None, model: str | None, status: str | None, kind: str | None, null: bool, as_json: bool
) -> None:
    """Show what an index holds: photos, faces, model, settings, roots; or list its photos.

    \b
    Examples:
      facesearch info
      facesearch info --index family.npz --json
      facesearch info --list no-face
      facesearch info --list unreadable -0 | xargs -0 ls -l
      facesearch info --list unreadable --kind heic --json   # with the reasons

    Exit status: 0 done, 2 when there is no index or it cannot be used.
    """  # noqa: D301
    if null and (status is None or as_json):
        raise click.UsageError("-0 goes with --list, and not with --json.")
    if kind is not None and status is None:
        raise click.UsageError("--kind goes with --list.")
    library = open_library(index_file, model)
    index = library.opened()
    if status is not None:
        _write_list(index, status, kind, end="\0" if null else "\n", as_json=as_json)
        return
    facts = _facts(index, library.backend, library.card_of_index)
    if as_json:
        write_json(facts)
    else:
        write(_shown(facts))


def _write_list(index: Index, status: str, kind: str | None, *, end: str, as_json: bool) -> None:
    paths = [index.path(row) for row in (index.status == STATUSES.index(status)).nonzero()[0].tolist()]
    if kind is not None:
        paths = [path for path in paths if _kind(path) == kind.lower().lstrip(".")]
    if as_json:
        reasons = [{"reason": _reason(path)} if status == "unreadable" else {} for path in paths]
        photos = [
            with_path_bytes({"path": path, **reason}) for path, reason in zip(paths, reasons, strict=True)
        ]
        write_json({"status": status, "photos": photos})
    else:
        # A zero byte ends paths that a program reads.
        write("".join((path if end == "\0" else shown(path)) + end for path in paths))


def _reason(path: str) -> str:
    """Return why a photo cannot be read now; empty if it can."""
    from facesearch.errors import UnreadablePhoto
    from facesearch.photos.content import read_content
    from facesearch.photos.decode import decode

    try:
        decode(read_content(path).picture)
    except UnreadablePhoto as error:
        return str(error)
    except OSError as error:
        return f"It cannot be read ({error.strerror or error})."
    return ""


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
        "kinds": _kinds(index),
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
        *_mixed(facts["kinds"]),
        *([("precision", facts["precision"])] if facts["precision"] else []),
        *_judged(facts.get("judged_by")),
        *_searched(facts.get("search")),
        *(("root", root["path"]) for root in facts["roots"]),
        ("forgotten", _forgotten(facts["forgotten"])),
        ("created", facts["created"]),
        ("updated", f"{facts['updated']} by facesearch {facts['facesearch']}"),
    ]
    return "".join(f"{name:10} {escaped(value)}\n" for name, value in lines)


def _forgotten(digests: int) -> str:
    """Return what is kept of forgotten photos: one digest or several of each."""
    return f"{counted(digests, 'digest')} of photos, one or more for each" if digests else "no photo"


def _kinds(index: Index) -> dict[str, int]:
    """Return how many photos have each suffix, the most frequent first."""
    endings = Counter(name[name.rfind(".") + 1 :] for name in index.names)  # in the fastest way: of a million
    found: Counter[str] = Counter()
    for ending, count in endings.items():
        found[_kind(f"x.{ending}")] += count
    return dict(found.most_common())


def _kind(path: str) -> str:
    """Return a file's suffix in lower case without the dot; empty for none."""
    return os.path.splitext(os.path.basename(path))[1].lower().lstrip(".")


def _mixed(kinds: dict[str, int]) -> list[tuple[str, str]]:
    """Return which kinds of files there are, where they are several."""
    parts = [f"{count:,} {kind or 'without a suffix'}" for kind, count in kinds.items()]
    return [("kinds", ", ".join(parts))] if len(parts) > 1 else []


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
