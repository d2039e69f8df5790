"""Options that several commands have: click's decorators, and the dataclasses that carry their values.

A command makes one object of its own dataclass from what click parsed; all code behind it sees typed fields.
What the shell offers when Tab is pressed (indexes, models, people) never prints an error: where the names
cannot be read, nothing is offered.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from cloup import option_group

from facesearch.cli.output.text import escaped
from facesearch.errors import FacesearchError, UnreadablePhoto
from facesearch.machine import JOBS

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.model import Runtime


Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Verbosity:
    """How much a command says on stderr."""

    quiet: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class LibraryOptions(Verbosity):
    """Which index and model a command works on."""

    index_file: str | None
    model: str | None

    def open_library(self, runtime: Runtime | None = None, *, new: bool = False) -> Library:
        """Open the library that the command works on; see `open_library`."""
        return open_library(self.index_file, self.model, quiet=self.quiet, runtime=runtime, new=new)


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How the network is run."""

    runtime: str
    precision: str
    device: str
    jobs: int

    def make_runtime(self, batch: int | None = None) -> Runtime:
        """Return the settings of the network's runtime."""
        from facesearch.model import Runtime

        chosen: dict[str, Any] = {"runtime": self.runtime, "precision": self.precision}
        if batch is not None:
            chosen["batch"] = batch
        return Runtime(**chosen, device=self.device, jobs=self.jobs)


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Lists of photos that are read from files."""

    files_from: str | None
    files0_from: str | None

    def photos(self, named: Sequence[str]) -> list[str]:
        """Return the photos named on the command line, followed by those of the lists.

        Raises:
            UnreadablePhoto: A list cannot be read.
        """
        photos = list(named)
        for name, end in ((self.files_from, b"\n"), (self.files0_from, b"\0")):
            if name:
                photos += read_list(name, end)
        return photos


class AnyPath(click.Path):
    """A path with whatever bytes it has; whether it exists is the command's business."""

    def __init__(self) -> None:
        super().__init__(path_type=str)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the path as text, surrogate-escaped."""
        # "$UNSET" in a script must not stand for the present folder, least of all for `forget`.
        if not os.fsencode(value):
            self.fail("An empty name names no file.", param, ctx)
        return os.fsdecode(value)


def index_option(command: Command) -> Command:
    """Add --index."""
    return click.option(
        "--index",
        "index_file",
        metavar="FILE",
        envvar="FACESEARCH_INDEX",
        type=AnyPath(),
        shell_complete=complete_index,
        help="The index file, or milvus://HOST:PORT/COLLECTION.  [env: FACESEARCH_INDEX; default: the "
        "model's file in your data folder]",
    )(command)


def model_option(command: Command) -> Command:
    """Add --model."""
    return click.option(
        "--model",
        metavar="NAME",
        shell_complete=complete_model,
        help="The model.  [env: FACESEARCH_MODEL; default: the index's own, resnet50 for a new one]",
    )(command)


def metric_option(*metrics: str) -> Callable[[Command], Command]:
    """Return a decorator that adds --metric."""
    return click.option("--metric", type=click.Choice(metrics), help="The distance.  [default: the model's]")


def a_number(_context: click.Context, _option: click.Parameter, number: float | None) -> float | None:
    """Refuse "nan", which compares with nothing."""
    if number is not None and number != number:
        raise click.BadParameter("'nan' is not a distance.")
    return number


def default_model() -> str:
    """Return the model of a command that works without an index."""
    from facesearch.library import chosen_model

    return chosen_model()


def quiet_option(command: Command) -> Command:
    """Add -q and -v."""
    command = click.option("-v", "--verbose", is_flag=True, help="Print more on stderr.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")(command)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(command)


def list_options(command: Command) -> Command:
    """Add --files-from and --files0-from."""
    command = click.option(
        "--files0-from", metavar="FILE", type=AnyPath(), help="The same, each path ended by a zero byte."
    )(command)
    return click.option(
        "--files-from",
        metavar="FILE",
        type=AnyPath(),
        help="Read the photos' paths from a file, one a line; - is stdin.",
    )(command)


def _limit_processors(_context: click.Context, _option: click.Parameter, jobs: int) -> int:
    """Let all of this process, and the processes that it starts, use so many processors."""
    if jobs:
        os.environ[JOBS] = str(jobs)
    return jobs


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(0, 256),
    default=0,
    callback=_limit_processors,
    help="Processors to use.  [env: FACESEARCH_JOBS; default: all that this process may use]",
)

# Added as a whole: --runtime, --precision, --device and --jobs.
RUNTIME_OPTIONS = (
    click.option(
        "--runtime",
        type=click.Choice(["openvino", "tensorflow"]),
        default="openvino",
        show_default=True,
        help="What runs the network; tensorflow uses a CUDA GPU if it finds one.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "bf16", "f16"]),
        default="auto",
        show_default=True,
        help="auto: the index's own, else what this machine runs fastest; f32: exact figures.",
    ),
    click.option("--device", default="CPU", show_default=True, help="The OpenVINO device."),
    jobs_option,
)


def machine_options(command: Command) -> Command:
    """Add --runtime, --precision, --device and --jobs as a group."""
    return option_group("Machine", *RUNTIME_OPTIONS)(command)


# They change nothing of what comes out.
_NO_SETTINGS = {"quiet", "verbose", "as_json"}


def asked(context: click.Context) -> list[tuple[str, str]]:
    """Return what a command was asked for, defaults included: each option's name with its value."""
    settings = []
    for parameter in context.command.params:
        value = context.params[str(parameter.name)]
        if parameter.name in _NO_SETTINGS or value in (None, (), False):
            continue
        name = (
            parameter.make_metavar(context) if isinstance(parameter, click.Argument) else parameter.opts[-1]
        )
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        settings.append((name.strip("[]"), "yes" if value is True else text))
    return settings


def open_library(
    index_file: str | None,
    model: str | None,
    *,
    quiet: bool = False,
    runtime: Runtime | None = None,
    new: bool = False,
) -> Library:
    """Open the library of an index and a model; what takes a while is said on stderr unless `quiet`.

    Args:
        index_file: The index; None for the model's own in the data folder.
        model: The model; None for the index's own. Where neither is named and the default model has no
            index, the only one that there is in the data folder is taken.
        quiet: Whether nothing is said.
        runtime: How the network is run.
        new: Whether the command makes an index, so that no other one is taken.

    Raises:
        IndexMissing: There are several to choose from.
    """
    from facesearch.embed import check_known
    from facesearch.library import Library, only_index

    def notify(message: str) -> None:
        click.echo(message, err=True)

    if model and not index_file:
        check_known(model)
    if not (new or index_file or model) and (only := only_index()):
        index_file = str(only)
        if not quiet:
            notify(f"The default model has no index; {only.stem}'s is used: {escaped(str(only))}")
    if quiet:
        return Library(index_file, model, runtime=runtime)
    return Library(index_file, model, runtime=runtime, notify=notify)


def read_list(name: str, end: bytes) -> list[str]:
    """Read paths of whatever bytes; empty ones are passed over.

    Windows' programs begin a list with a byte order mark and may write it in UTF-16; they are read too.

    Args:
        name: The file, "-" for stdin.
        end: What ends a path: a newline or a zero byte.

    Raises:
        UnreadablePhoto: The list itself cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UnreadablePhoto(f"The list {name!r} cannot be read: {error.strerror or error}.") from error
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = os.fsencode(data.decode("utf-16", "surrogatepass"))
    except UnicodeError as error:
        raise UnreadablePhoto(
            f"The list {name!r} begins as UTF-16, and is not.", "Save it as UTF-8."
        ) from error
    paths = data.removeprefix(codecs.BOM_UTF8).split(end)
    if end == b"\n":
        paths = [path.removesuffix(b"\r") for path in paths]
        if any(b"\0" in path for path in paths):
            raise UnreadablePhoto(
                f"The list {name!r} holds zero bytes, and no path does.",
                "If they end the paths, give it with --files0-from.",
            )
    return [os.fsdecode(path) for path in paths if path]


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
