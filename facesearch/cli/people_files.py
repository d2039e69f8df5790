"""The subcommands of `facesearch people` that bring names to other programs, and from them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.cli.options import (
    AnyPath,
    complete_person,
    index_option,
    json_option,
    model_option,
    quiet_option,
)
from facesearch.cli.output.text import Progress, counted, escaped, tsv_line, write, write_json
from facesearch.cli.people_changes import PeopleOptions, of_subcommand

if TYPE_CHECKING:
    from facesearch.people.imports import Imported
    from facesearch.people.people import People, Person
    from facesearch.people.sidecars import Sidecar

# So many conflicts and problems are said one by one.
_SAID = 10


@dataclass(frozen=True, kw_only=True)
class ExportOptions(PeopleOptions):
    """The options of `facesearch people export`."""

    to: str | None
    link: bool | None
    xmp: bool
    tags: bool | None
    stem: bool
    diff: bool
    dry_run: bool


@cloup.command(short_help="Write names for other programs: sidecars, or a folder for each person.")
@cloup.argument("whom", metavar="[P...]", nargs=-1, shell_complete=complete_person)
@option_group(
    "Folders",
    cloup.option("--to", metavar="DIR", type=AnyPath(), help="Where a folder for each person is made."),
    cloup.option("--link/--copy", default=None, help="Make symbolic links, or copies."),
)
@option_group(
    "Sidecars",
    cloup.option("--xmp", is_flag=True, help="Write the names to XMP sidecars beside the photos."),
    cloup.option(
        "--tags/--no-tags",
        default=None,
        help="Write them as keywords, too: People/Ada (digiKam, Lightroom); as before if not given.",
    ),
    cloup.option("--stem", is_flag=True, help="Name the sidecars photo.xmp instead of photo.jpg.xmp."),
    cloup.option("--diff", is_flag=True, help="With --dry-run: show what would change."),
)
@option_group(
    "All",
    cloup.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
    index_option,
    model_option,
    quiet_option,
)
@click.pass_context
def export(context: click.Context, /, whom: Sequence[str], **given: Any) -> None:  # noqa: ANN401 (by name)
    """Write people's names for other programs; originals are neither moved nor changed.

    --to makes a folder for each person, with copies of the photos or links to them. Nothing in a folder is
    overwritten.

    --xmp writes sidecars: face regions (mwg-rs) and Iptc4xmpExt:PersonInImage, as digiKam, Lightroom, Immich
    and others read them. A sidecar that is there is edited, and what other programs wrote into it stays. Run
    it again after changes: names that facesearch wrote for this index and that hold no longer are taken out.
    With P, only photos that show these people.

    \b
    Examples:
      facesearch people export --xmp
      facesearch people export --xmp --dry-run --diff
      facesearch people export Ada Grace --to /media/stick --copy
      facesearch people export --to ~/by-person --link --dry-run

    Exit status: 0 done, 1 when there is nobody, 2 any error; a sidecar that cannot be read is one.
    """  # noqa: D301
    options = of_subcommand(context, ExportOptions(**given))
    _check(options)
    found = options.open_library().people()
    if options.xmp:
        named = [found.person(who, exact=False) for who in whom]
        sys.exit(_write_sidecars(found, named, options))
    from facesearch.people.photos import albums
    from facesearch.people.photos import export as fill

    wanted = albums(found, _persons(found, whom), os.path.abspath(options.to or ""))
    if options.dry_run:
        write("".join(tsv_line((path, album.folder)) for album in wanted for path in album.photos))
    else:
        count = fill(wanted, link=bool(options.link))
        if not options.quiet:
            done = "linked" if options.link else "copied"
            said = f"{counted(count, 'photo')} {done} to {counted(len(wanted), 'folder')} in {options.to}"
            click.echo(escaped(said), err=True)
    sys.exit(0 if wanted else 1)


def _check(options: ExportOptions) -> None:
    """Refuse, before the work starts, what cannot be done."""
    if bool(options.to) == options.xmp:
        raise click.UsageError("--to DIR or --xmp: choose one.")
    if options.to and options.link is None and not options.dry_run:
        raise click.UsageError("--link or --copy: choose one.")
    if options.to and (options.tags is not None or options.stem or options.diff):
        raise click.UsageError("--tags, --stem and --diff go with --xmp.")
    if options.diff and not options.dry_run:
        raise click.UsageError("--diff goes with --dry-run.")


def _persons(found: People, whom: Sequence[str]) -> list[Person]:
    if whom:
        return [found.person(who, exact=False) for who in whom]
    return [person for person in found.everyone() if not person.hidden]


def _write_sidecars(found: People, persons: Sequence[Person], options: ExportOptions) -> int:
    """Write the sidecars, and say what was done; return the exit status."""
    from facesearch.errors import StorageError
    from facesearch.people.sidecars import sidecars, write_sidecar

    done: Counter[str] = Counter()
    conflicts: list[str] = []
    problems: list[str] = []
    for one in sidecars(found, persons, tags=options.tags, stem=options.stem):
        conflicts += [
            f"{one.photo}: {name} is {other!r} there, and stays so" for name, other in one.conflicts
        ]
        problem = one.problem
        if not problem and not options.dry_run:
            try:
                write_sidecar(one)
            except StorageError as error:
                problem = error.message
        if problem:
            problems.append(f"{one.path}: {problem}")
            continue
        done[_kind(one)] += 1
        if options.dry_run and one.after is not None:
            write(_difference(one) if options.diff else tsv_line((one.path, ", ".join(one.names))))
    _say_each(conflicts, "faces have other names in sidecars", quiet=options.quiet)
    _say_each(problems, "sidecars were left as they are", quiet=False)
    if not options.quiet:
        would = "would be " if options.dry_run else ""
        parts = [f"{counted(done['new'], 'sidecar')} {would}written", f"{done['changed']:,} {would}changed"]
        parts += [f"{done['gone']:,} {would}removed"] if done["gone"] else []
        parts += [f"{done['same']:,} up to date"]
        parts += [f"{len(problems):,} left as they are"] if problems else []
        click.echo(", ".join(parts), err=True)
    return 2 if problems else 0 if done.total() else 1


def _kind(sidecar: Sidecar) -> str:
    if sidecar.after is None:
        return "same"
    return "gone" if sidecar.gone else "new" if sidecar.before is None else "changed"


def _difference(sidecar: Sidecar) -> str:
    before, after = (
        (data or b"").decode("utf-8", "replace").splitlines(keepends=True)
        for data in (sidecar.before, sidecar.after)
    )
    name = "/dev/null" if sidecar.before is None else sidecar.path
    lines = unified_diff(before, after, name, sidecar.path)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _say_each(lines: Sequence[str], what: str, *, quiet: bool) -> None:
    if quiet:
        return
    for line in lines[:_SAID]:
        click.echo(escaped(line), err=True)
    if lines[_SAID:]:
        click.echo(f"... {len(lines):,} {what}", err=True)


@cloup.command("import", short_help="Take names from other programs.")
@cloup.argument("folder", metavar="[DIR]", required=False, type=AnyPath())
@option_group(
    "What to read",
    cloup.option(
        "--metadata",
        is_flag=True,
        help="Face regions in the photos and their sidecars (digiKam, Lightroom, Windows), and Picasa's.",
    ),
    cloup.option(
        "--takeout", is_flag=True, help="The JSON files that Google Takeout puts beside the photos."
    ),
)
@option_group(
    "All",
    cloup.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing."),
    index_option,
    model_option,
    json_option,
    quiet_option,
)
@click.pass_context
def import_names(
    context: click.Context,
    /,
    folder: str | None,
    metadata: bool,
    takeout: bool,
    dry_run: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Take names from other programs. DIR has a folder of photos for each person, which is named like them.

    Run `facesearch people` first: a group of faces is named as a whole. Who has a name keeps it. A face is
    found by its place in the photo, and left out if it is not like the others of that name. Where a name has
    a place without a face, the person is tagged there. Google Takeout says who is on a photo, and not where:
    faces are named where only one name can be theirs.

    \b
    Examples:
      facesearch people import --metadata
      facesearch people import --takeout --dry-run
      facesearch people import ~/by-person

    Exit status: 0 done, 1 when nobody was found, 2 any error.
    """  # noqa: D301
    if bool(folder) + metadata + takeout != 1:
        raise click.UsageError("DIR, --metadata or --takeout: choose one.")
    options = of_subcommand(context, PeopleOptions(**given))
    done = _import(options, folder, metadata, dry_run)
    if options.as_json:
        write_json(_report(done))
    if not options.quiet:
        _say(done, dry_run=dry_run)
    sys.exit(0 if done.people or done.tagged else 1)


def _import(options: PeopleOptions, folder: str | None, metadata: bool, dry_run: bool) -> Imported:
    from facesearch.people.grouping import grouping_distance
    from facesearch.people.imports import folders_of_people, import_folders, import_regions, import_takeout

    library = options.open_library()

    def work(people: People) -> Imported:
        if folder:
            within = grouping_distance(library.card)
            return import_folders(people, folders_of_people(folder), library.faces, within)
        if metadata:
            with Progress(quiet=options.quiet) as progress:
                progress.start(people.index.photo_count)
                return import_regions(people, lambda _path: progress.photo())
        return import_takeout(people)

    if dry_run:
        return work(library.people())
    with library.changing_people() as people:
        return work(people)


def _report(done: Imported) -> dict[str, Any]:
    return {
        "people": [{"number": number, "name": name} for name, number in done.people.items()],
        "faces": done.faces,
        "already": done.already,
        "tagged": done.tagged,
        "conflicts": [{"path": path, "name": name, "person": other} for path, name, other in done.conflicts],
        "doubtful": [{"path": path, "name": name} for path, name in done.doubtful],
        "refused": [{"path": path, "name": name} for path, name in done.refused],
        "unmatched": done.unmatched,
        "problems": [{"path": path, "reason": reason} for path, reason in done.problems],
    }


def _say(done: Imported, *, dry_run: bool) -> None:
    """Say what was found and what was not, and in one line what was done."""
    conflicts = [f"{path}: {name} is {other!r} here, and stays so" for path, name, other in done.conflicts]
    _say_each(conflicts, "faces have another name here", quiet=False)
    doubtful = [f"{path}: not like the other faces of {name}, left out" for path, name in done.doubtful]
    _say_each(doubtful, "faces were left out", quiet=False)
    refused = [
        f"{path}: not {name} or ignored, as was said here, and stays so" for path, name in done.refused
    ]
    _say_each(refused, "faces were said not to be theirs", quiet=False)
    _say_each([f"{path}: {reason}" for path, reason in done.problems], "files cannot be read", quiet=False)
    if done.unmatched:
        few = ", ".join(map(escaped, done.unmatched[:_SAID]))
        click.echo(f"Nobody was found for {few}{' ...' if done.unmatched[_SAID:] else ''}.", err=True)
    would = "would be " if dry_run else ""
    people = "1 person" if len(done.people) == 1 else f"{len(done.people):,} people"
    tagged = f", {done.tagged:,} tagged on photos without a face of theirs" if done.tagged else ""
    already = f", {done.already:,} had their names already" if done.already else ""
    click.echo(f"{counted(done.faces, 'face')} of {people} {would}named{already}{tagged}", err=True)
