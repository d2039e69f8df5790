"""Options that more than one command has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from facesearch.errors import UnreadablePhoto

if TYPE_CHECKING:
    from facesearch.library import Library
    from facesearch.model import Runtime


Command = TypeVar("Command", bound=Callable[..., Any])


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
        help="The index file, or milvus://HOST:PORT/COLLECTION; by default the model's own in your data "
        "folder.  [env: FACESEARCH_INDEX]",
    )(command)


def model_option(command: Command) -> Command:
    """Add --model."""
    return click.option(
        "--model",
        metavar="NAME",
        help="The model; an index remembers its own.  [env: FACESEARCH_MODEL; default: resnet50]",
    )(command)


def a_number(_context: click.Context, _option: click.Parameter, number: float | None) -> float | None:
    """Refuse "nan", to which nothing compares."""
    if number is not None and number != number:
        raise click.BadParameter("'nan' is no distance.")
    return number


def default_model() -> str:
    """Return the model of a command that no index tells it."""
    from facesearch.library import DEFAULT_MODEL

    return os.environ.get("FACESEARCH_MODEL") or DEFAULT_MODEL


def quiet_option(command: Command) -> Command:
    """Add -q and -v."""
    command = click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on stderr.")(command)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(command)


def runtime_options(command: Command) -> Command:
    """Add --runtime, --precision, --device and --jobs."""
    options = (
        click.option(
            "--runtime",
            type=click.Choice(["openvino", "tensorflow"]),
            default="openvino",
            show_default=True,
            help="What runs the network; tensorflow takes a CUDA GPU where it sees one.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "f32", "bf16"]),
            default="auto",
            show_default=True,
            help="auto: bf16 where the processor has it; f32: exact figures.",
        ),
        click.option("--device", default="CPU", show_default=True, help="The OpenVINO device."),
        click.option(
            "--jobs",
            type=click.IntRange(0, 256),
            default=0,
            help="Threads that decode and detect.  [default: one a core]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


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


def make_runtime(options: dict[str, Any], batch: int | None = None) -> Runtime:
    """Take the runtime's settings out of a command's options."""
    from facesearch.model import Runtime

    names = ("runtime", "precision", "device", "jobs")
    chosen = {name: options.pop(name) for name in names}
    return Runtime(**chosen) if batch is None else Runtime(**chosen, batch=batch)


def open_library(
    index_file: str | None, model: str | None, *, quiet: bool = False, runtime: Runtime | None = None
) -> Library:
    """Open the library that a command is about."""
    from facesearch.library import Library

    def notify(message: str) -> None:
        click.echo(message, err=True)

    if quiet:
        return Library(index_file, model, runtime=runtime)
    return Library(index_file, model, runtime=runtime, notify=notify)


def read_list(name: str, end: bytes) -> list[str]:
    """Read paths of whatever bytes; empty ones are passed over.

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
    paths = data.split(end)
    if end == b"\n":
        paths = [path.removesuffix(b"\r") for path in paths]
    return [os.fsdecode(path) for path in paths if path]


def with_lists(named: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the photos that are named and those of --files-from and --files0-from.

    Raises:
        UnreadablePhoto: A list cannot be read.
    """
    photos = list(named)
    for name, end in (("files_from", b"\n"), ("files0_from", b"\0")):
        if options[name]:
            photos += read_list(options[name], end)
    return photos
