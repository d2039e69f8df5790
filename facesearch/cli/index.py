"""`facesearch index`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click
import cloup
from cloup import option_group

from facesearch.answer_json import with_path_bytes
from facesearch.cli.options import (
    RUNTIME_OPTIONS,
    AnyPath,
    LibraryOptions,
    RuntimeOptions,
    index_option,
    json_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import Progress, counted, escaped, escaped_field, write_json
from facesearch.photos.kinds import FRAMES, KINDS, MOST_FRAMES, RATE, missing_extras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facesearch.index.meta import Meta
    from facesearch.model import Model
    from facesearch.pipeline import PhotoProcessor
    from facesearch.plan import Plan
    from facesearch.update import Report


# Of the kinds of other files that were passed over, so many are named.
MOST_KINDS = 6


@dataclass(frozen=True, kw_only=True)
class IndexOptions(LibraryOptions, RuntimeOptions):
    """The options of `facesearch index`, by click's names; None is an option that was not given."""

    detector: str | None
    min_face: int | None
    faces: Literal["all", "largest"] | None
    rotations: bool | None
    exclude: tuple[str, ...]
    keep_excluded: bool
    kinds: tuple[str, ...] | None
    video_rate: float
    frames: int
    live: bool
    default_excludes: bool
    hidden: bool
    follow: bool
    batch: int | None
    rebuild: bool
    prune: bool
    again: bool
    shard: str | None
    on: str | None
    verify: bool
    dry_run: bool
    strict: bool
    errors_file: str | None
    as_json: bool


class KindsType(click.ParamType):  # type: ignore[type-arg]
    """Kinds of files, with commas between them."""

    name = "kinds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the kinds."""
        named = tuple(part.strip() for part in str(value).split(","))
        if unknown := [name for name in named if name not in KINDS]:
            self.fail(f"{unknown[0]!r} is none of {', '.join(KINDS)}.", param, ctx)
        return named


class FramesType(click.ParamType):  # type: ignore[type-arg]
    """How many frames of a picture: a number, or "all", which is 0."""

    name = "frames"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return how many."""
        if value == "all":
            return 0
        if not (text := str(value)).isdecimal() or not 0 < int(text) <= MOST_FRAMES:
            self.fail(f"{text!r} is neither a number from 1 to {MOST_FRAMES} nor all.", param, ctx)
        return int(text)


@cloup.command("index", short_help="Index the photos in folders, or bring the index up to date.")
@cloup.argument("paths", nargs=-1, required=True, type=AnyPath(), metavar="PATH...")
@option_group(
    "Which photos",
    click.option(
        "--exclude",
        multiple=True,
        metavar="PATTERN",
        help="Leave out what matches, as in .gitignore; may be repeated. A .facesearchignore file in a "
        "folder holds such patterns.",
    ),
    click.option(
        "--keep-excluded", is_flag=True, help="Keep photos in the index that a pattern leaves out now."
    ),
    click.option(
        "--no-default-excludes",
        "default_excludes",
        is_flag=True,
        default=True,
        flag_value=False,
        help="Look into bins, snapshots and thumbnails of systems and programs, too.",
    ),
    click.option(
        "--kinds",
        type=KindsType(),
        metavar="KINDS",
        help="Look only for these: photos, videos, raw. What the index has of others stays.  [default: all]",
    ),
    click.option(
        "--video-rate",
        type=click.FloatRange(0.1, 25),
        default=RATE,
        show_default=True,
        metavar="N",
        help="Look at up to N frames a second of films.",
    ),
    click.option(
        "--frames",
        type=FramesType(),
        default=FRAMES,
        show_default=True,
        metavar="N|all",
        help="Look at N frames of animations and pages of TIFFs, spread evenly, or at all.",
    ),
    click.option("--live", is_flag=True, help="Include the films of Live Photos."),
    click.option("--hidden", is_flag=True, help="Include names that begin with a dot."),
    click.option("--follow", is_flag=True, help="Follow links to folders and files."),
    click.option("--again", is_flag=True, help="Index photos again that were forgotten."),
    click.option(
        "--shard", metavar="I/N", help="Index only part I of N, so that several machines share the work."
    ),
)
@option_group(
    "Which faces",
    click.option("--detector", metavar="NAME", help="The face detector.  [default: the model's]"),
    click.option(
        "--min-face", type=click.IntRange(0, 65_535), metavar="PX", help="The smallest face to look for."
    ),
    click.option(
        "--faces", type=click.Choice(["all", "largest"]), help="Which faces of a photo.  [default: all]"
    ),
    click.option(
        "--rotations/--no-rotations",
        default=None,
        help="Look for faces in all four orientations; YuNet finds large ones anyway.",
    ),
)
@option_group(
    "The index",
    index_option,
    model_option,
    click.option("--rebuild", is_flag=True, help="Embed all photos again; the old index serves until then."),
    click.option("--prune", is_flag=True, help="Remove photos that are gone, even most of a folder."),
    click.option("--verify", is_flag=True, help="Read all photos, and compare them with the index."),
    click.option("--dry-run", is_flag=True, help="Only say what there is to do."),
)
@option_group(
    "Output",
    click.option(
        "--strict",
        is_flag=True,
        help="Exit with 2 if this run could not read a photo, or found most of a folder gone.",
    ),
    click.option(
        "--errors",
        "errors_file",
        metavar="FILE",
        type=AnyPath(),
        help="Write the photos that this run could not read to a file: path, tab, reason.",
    ),
    json_option,
    quiet_option,
)
@option_group(
    "Machine",
    *RUNTIME_OPTIONS,
    click.option(
        "--batch", type=click.IntRange(1, 1024), metavar="N", help="Faces in one call of the network."
    ),
    click.option(
        "--on",
        metavar="ray|ADDRESS",
        help="Process photos with Ray: on this machine, or on the cluster at ray://HEAD:10001.",
    ),
)
def command(paths: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 (click's options by name)
    """Index the photos and films in folders, or bring the index up to date.

    Photos that are known and unchanged are not opened, and moved ones keep their faces. Ctrl-C keeps what was
    done. Photos that cannot be read are counted and listed; they never end a run.

    \b
    Examples:
      facesearch index ~/Pictures
      facesearch index ~/Pictures /mnt/archive --exclude '*.gif' --exclude screenshots/
      facesearch index ~/Pictures --index family.npz --dry-run
      facesearch index ~/Pictures --rebuild --min-face 60
      facesearch index /archive --shard 2/4 --index part2.npz
      facesearch index /archive --on ray://head:10001

    Exit status: 0 done, 2 when a PATH is missing or anything failed, 130 interrupted.
    """  # noqa: D301
    from facesearch.library import absolute
    from facesearch.model import DetectionSettings
    from facesearch.photos.find import Shard
    from facesearch.plan import IndexRequest

    options = IndexOptions(**given)
    if options.shard and options.rebuild:
        raise click.UsageError("--rebuild embeds all photos of the index: leave out --shard.")
    if options.verify and (options.rebuild or options.dry_run):
        raise click.UsageError("--verify reads the photos: leave out --rebuild and --dry-run.")
    request = IndexRequest(
        absolute(paths),
        exclude=options.exclude,
        default_excludes=options.default_excludes,
        keep_excluded=options.keep_excluded,
        kinds=options.kinds or KINDS,
        live=options.live,
        hidden=options.hidden,
        follow=options.follow,
        prune=options.prune,
        again=options.again,
        verify=options.verify,
        shard=Shard.parse(options.shard) if options.shard else None,
    )
    detection = DetectionSettings(options.detector, options.min_face, options.faces, options.rotations)
    runtime = replace(
        options.make_runtime(options.batch), video_rate=options.video_rate, frames=options.frames
    )
    library = options.open_library(runtime, new=True)
    if options.dry_run:
        plan = library.plan(request, detection, rebuild=options.rebuild)
        _say_plan(plan, options)
        sys.exit(2 if plan.problems else 0)
    with Progress(quiet=options.quiet) as progress:
        report = library.index(
            request,
            detection,
            rebuild=options.rebuild,
            on=_on(options.on),
            on_plan=lambda plan: _start(plan, progress, options),
            on_photo=progress.photo,
            on_part=progress.part,
        )
    if options.errors_file:
        _write_errors(options.errors_file, report)
    _say(report, library.backend.name, options)
    sys.exit(_status(report, strict=options.strict))


def _start(plan: Plan, progress: Progress, options: IndexOptions) -> None:
    if plan.renewed and not options.quiet:
        known = counted(plan.renewed, "photo")
        click.echo(f"Reading {known} once, to tell pictures from their metadata from now on.", err=True)
    progress.start(len(plan.new))


def _on(address: str | None) -> Callable[[Model, Meta], PhotoProcessor] | None:
    """Return what processes photos on other machines; None for this process."""
    if address is None:
        return None
    if address != "ray" and not address.startswith("ray://"):
        raise click.UsageError("--on takes `ray`, or an address like ray://HEAD:10001.")
    from facesearch.distribute import RayPipeline

    return lambda model, meta: RayPipeline(model, meta, address)


def _status(report: Report, *, strict: bool) -> int:
    if report.interrupted:
        return 130
    return 2 if report.problems or (strict and (report.unreadable or report.kept)) else 0


def _say_plan(plan: Plan, options: IndexOptions) -> None:
    _say_problems(plan.problems)
    _say_unmatched(plan.unmatched)
    _say_aliases(plan.aliases)
    if options.as_json:
        new = [with_path_bytes({"path": photo.path}) for photo in plan.new]
        gone, excluded = (
            [with_path_bytes({"path": path}) for path in paths] for paths in (plan.gone, plan.excluded)
        )
        write_json(
            {
                "new": new,
                "unchanged": plan.unchanged,
                "gone": gone,
                "excluded": excluded,
                "problems": _listed(plan.problems),
                "passed_over": plan.passed_over,
                "live": plan.live,
                "links": plan.links,
                "unmatched": plan.unmatched,
                "aliases": _moves(plan.aliases),
            }
        )
        return
    if options.verbose:
        paths = [photo.path for photo in plan.new]
        for word, some in (("new", paths), ("gone", plan.gone), ("excluded", plan.excluded)):
            for path in some:
                click.echo(f"{word:<8}  {escaped(path)}", err=True)
    left_out = f", {len(plan.excluded):,} to leave out" if plan.excluded else ""
    click.echo(
        f"{len(plan.new):,} new or changed, {plan.unchanged:,} unchanged, {len(plan.gone):,} gone{left_out}"
    )
    _say_passed_over(plan, options)


def _say_unmatched(patterns: Sequence[str]) -> None:
    for pattern in patterns:
        click.echo(f"facesearch: --exclude {escaped(pattern)} matched nothing.", err=True)


def _say_aliases(aliases: Mapping[str, str]) -> None:
    for path, name in aliases.items():
        click.echo(
            f"facesearch: {escaped(path)} is in the index as {escaped(name)}, which a link leads to or from.",
            err=True,
        )


def _moves(paths: Mapping[str, str]) -> list[dict[str, Any]]:
    return [with_path_bytes({"path": path, "to": to}) for path, to in paths.items()]


def _say_passed_over(found: Plan | Report, options: IndexOptions) -> None:
    """Say in one line what was found besides photos."""
    kinds = list(found.passed_over.items())
    shown = kinds if options.verbose else kinds[:MOST_KINDS]
    parts = [f"{count:,} {escaped(kind)}" for kind, count in shown]
    if others := sum(count for _, count in kinds[len(shown) :]):
        parts.append(f"{others:,} of other kinds")
    if found.live:
        parts.append(f"{counted(found.live, 'film')} of Live Photos (--live)")
    if found.links:
        parts.append(f"{counted(found.links, 'link')} (--follow)")
    if parts:
        click.echo(f"Passed over: {', '.join(parts)}", err=True)
    for hint in missing_extras(found.passed_over):
        click.echo(hint, err=True)


def _say_problems(problems: Mapping[str, str]) -> None:
    for path, reason in problems.items():
        click.echo(
            f"facesearch: {escaped(path)} cannot be read: {reason}. What the index has of it was kept.",
            err=True,
        )


def _listed(reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    return [with_path_bytes({"path": path, "reason": reason}) for path, reason in reasons.items()]


def _write_errors(path: str, report: Report) -> None:
    from facesearch.files import storage_error
    from facesearch.paths import ESCAPES

    try:
        with open(path, "w", encoding="utf-8", errors=ESCAPES) as file:
            for photo, reason in sorted(report.unreadable.items()):
                file.write(f"{escaped_field(photo)}\t{escaped_field(reason)}\n")
    except OSError as error:
        raise storage_error(path, error) from error


def _say(report: Report, index_file: str, options: IndexOptions) -> None:
    _say_problems(report.problems)
    _say_unmatched(report.unmatched)
    _say_aliases(report.aliases)
    for path, count in report.kept.items():
        click.echo(
            f"facesearch: {counted(count, 'photo')} below {escaped(path)} cannot be found any more, most of "
            "it or all; the index keeps them. If they are gone for good, run this again with --prune.",
            err=True,
        )
    for old, new in report.renamed.items():
        click.echo(
            f"facesearch: {escaped(old)} is gone, and its photos are in {escaped(new)}. If it was renamed: "
            f"facesearch move-root {shlex.quote(escaped(old))} {shlex.quote(escaped(new))}",
            err=True,
        )
    shown = sorted(report.unreadable.items())
    for path, reason in shown if options.verbose else shown[:10]:
        click.echo(f"{escaped(path)}: {reason}", err=True)
    if len(shown) > 10 and not options.verbose:
        click.echo(f"... and {len(shown) - 10} more: `facesearch info --list unreadable`.", err=True)
    for path in sorted(report.truncated) if options.verbose else ():
        click.echo(f"{escaped(path)}: {escaped(report.truncated[path])}", err=True)
    if options.as_json:
        write_json(_as_json(report, index_file))
    elif not options.quiet:
        click.echo(_tally(report, index_file), err=True)
        _say_passed_over(report, options)


def _as_json(report: Report, index_file: str) -> dict[str, Any]:
    kept = [with_path_bytes({"path": path, "photos": count}) for path, count in report.kept.items()]
    return with_path_bytes(
        {
            **asdict(report),
            "unreadable": _listed(report.unreadable),
            "truncated": [
                with_path_bytes({"path": path, "reason": reason})
                for path, reason in sorted(report.truncated.items())
            ],
            "kept": kept,
            "renamed": _moves(report.renamed),
            "aliases": _moves(report.aliases),
            "problems": _listed(report.problems),
            "index": index_file,
        },
        "index",
    )


def _tally(report: Report, index_file: str) -> str:
    looked = report.indexed + report.no_face + len(report.unreadable)
    parts = [
        (report.indexed, "indexed"),
        (report.unchanged, "unchanged"),
        (report.moved, "moved"),
        (report.copied, "copied from known photos"),
        (report.forgotten, "forgotten"),
        (report.removed, "removed"),
        (report.excluded, "left out now"),
        (report.no_face, "without a face"),
        (len(report.unreadable), "unreadable"),
    ]
    numbers = [f"{count:,} {name}" for count, name in parts if count]
    speed = f" in {report.seconds:.1f} s ({looked / report.seconds:.1f} photos/s)" if looked else ""
    recovered = f"; {report.recovered:,} recovered from an interrupted run" if report.recovered else ""
    if report.truncated:
        recovered += f"; {len(report.truncated):,} damaged, and taken as far as they go"
    if report.altered:
        recovered += f"; {report.altered:,} changed though size and time did not"
    if report.torn:
        recovered += "; a photo that it was writing when it died was dropped, and looked at again"
    nothing = "nothing could be looked at" if report.problems else "nothing to do"
    tally = f"{', '.join(numbers) or nothing}{recovered}{speed}"
    if report.interrupted:
        done = f"{tally}; all of it is kept" if looked else "before the first photos were done"
        tally = f"Interrupted: {done}. The same command again goes on from there."
    faces, photos = counted(report.faces, "face"), counted(report.readable, "photo")
    others = f" (and {report.photos - report.readable:,} unreadable)" * (report.readable < report.photos)
    return f"{tally}\n{faces} of {photos}{others} in {escaped(index_file)}"
