"""The command line: one short file a command; each parses, calls and prints.

This is the one place where errors become sentences on stderr and exit statuses:
0 found or done, 1 nothing found, 2 any error, 130 interrupted.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn, cast

import click

from facesearch.cli.output.text import escaped
from facesearch.errors import FacesearchError
from facesearch.paths import ESCAPES
from facesearch.version import __version__

# name -> "module:command" and the first line of its help, so that `--help` need not import any of them.
COMMANDS = {
    "index": (
        "facesearch.cli.index:command",
        "Index the photos in folders, or bring the index up to date.",
    ),
    "query": ("facesearch.cli.query:command", "Find the photos whose faces are nearest to a reference."),
    "people": ("facesearch.cli.people:people", "Group the faces of an index into people."),
    "faces": ("facesearch.cli.faces:command", "List the faces of photos, with their numbers."),
    "compare": (
        "facesearch.cli.compare:command",
        "Show how similar faces are, and whether they show one person.",
    ),
    "evaluate": (
        "facesearch.cli.evaluate:command",
        "Measure models on photos of known people.",
    ),
    "serve": ("facesearch.cli.serve:command", "Look at an index in a browser."),
    "train": ("facesearch.cli.train:command", "Train a Siamese network on your own people."),
    "info": ("facesearch.cli.info:command", "Show what an index holds."),
    "forget": ("facesearch.cli.forget:command", "Remove photos from an index for good."),
    "copy": ("facesearch.cli.whole_indexes:copy", "Copy an index to another place: a file, or Milvus."),
    "merge": ("facesearch.cli.whole_indexes:merge_files", "Merge several indexes into one."),
    "move-root": ("facesearch.cli.whole_indexes:move_root", "Update an index after its photos were moved."),
    "use": ("facesearch.cli.models:use", "Choose the model of new indexes, or show it."),
    "models": ("facesearch.cli.models:models", "Fetch, check, import and export the networks."),
}

INTERRUPTED = 130

# Python's own machinery for imports and threads. An interrupt that is raised just after it took a lock leaves
# that locked: every import, or every thread of a pool, then waits for ever, and the command with it.
_MACHINERY = (
    "<frozen importlib._bootstrap>",
    f"{os.sep}threading.py",
    os.path.join("concurrent", "futures", "thread.py"),
    os.path.join("concurrent", "futures", "_base.py"),
)
# Where the main thread waits for others, for as long as they take.
_WAITING = frozenset({"wait", "join", "_wait_for_tstate_lock"})
_SOON = 0.005  # seconds


@contextmanager
def _ended_by_a_closed_pipe() -> Iterator[None]:
    """End with 0 when the reader has what it wants; click would end with 1, which here is "nothing found"."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(0) from None


class LazyGroup(click.Group):
    """Imports a command when it is asked for."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:  # noqa: ANN401 (click's own)
        """Parse the command line, and write `--help`."""
        with _ended_by_a_closed_pipe():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (what the command returns)
        """Run the command."""
        with _ended_by_a_closed_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        return cast("click.Command", getattr(import_module(module), name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; suggest the nearest name for a mistyped one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.format_message()} Did you mean {near[0]!r}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="facesearch")
def main() -> None:
    """Find the photographs that show a face, on your own machine; nothing leaves it.

    \b
    Examples:
      facesearch index ~/Pictures
      facesearch query reference.jpg --top 4
      facesearch query reference.jpg --sheet result.jpg

    Exit status: 0 found or done, 1 nothing found, 2 any error, 130 interrupted.
    """  # noqa: D301 (click's own mark for a block that is not rewrapped)


def run() -> NoReturn:
    """Run the command line and exit."""
    take_interrupts()
    _prepare_streams()
    with _muted_c_libraries():
        status = _status()
    _end(status if isinstance(status, int) else 0)


def console() -> NoReturn:
    """Run the command line and end the process: the console script.

    Python would free all memory piece by piece, an eighth of the time of a query with a network; the system
    frees it at once. What is registered to be done at the end is done.
    """
    try:
        run()
    except SystemExit as end:
        if end.code not in (0, 1):
            raise
        atexit._run_exitfuncs()
        os._exit(end.code)


def _status() -> object:
    """Run the command line, print what went wrong, and return the exit status."""
    try:
        # In standalone mode click itself would end both an interrupt and a closed pipe with 1.
        status = main.main(prog_name="facesearch", standalone_mode=False)
        sys.stdout.flush()
        return status
    except FacesearchError as error:
        return _complain(error.message, error.hint)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _complain(_about(error), "Fix that, then run the same command again.")
    except Exception as error:  # by itself Python would end with 1, which here means "nothing found"
        return _confess(error)


def _complain(message: str, hint: str) -> int:
    lines = [f"facesearch: {message}", *([hint] if hint else [])]
    for line in "\n".join(lines).split("\n"):
        click.echo(escaped(line), err=True)
    return 2


def _about(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"The output cannot be written: {reason}."
    return f"{os.fsdecode(error.filename)!r}: {reason}."


def _confess(error: Exception) -> int:
    """Report a fault of the tool itself."""
    import traceback

    if os.environ.get("FACESEARCH_TRACEBACK"):
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return _complain(
        f"A fault in facesearch itself: {type(error).__name__}: {error} "
        f"({os.path.basename(place.filename)}, line {place.lineno}).",
        "Please report it, with what the same command prints when FACESEARCH_TRACEBACK=1 is set.",
    )


def _prepare_streams() -> None:
    """Let paths that are not UTF-8 pass as the bytes they are; keep libraries' chatter off stderr."""
    _fill_closed_streams()
    # A pipe on Windows has the code page, which lacks most of the world's letters.
    encoding = "utf-8" if os.name == "nt" else None
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=encoding, errors=ESCAPES)
    if not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # The ranking gives each core blocks of its own; OpenBLAS' threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def _muted_c_libraries() -> Iterator[None]:
    """Keep what libjpeg and libtiff print of damaged photos off the terminal.

    They write to file descriptor 2 itself. Our own messages, which name the photo, go through a duplicate.
    """
    before = sys.stderr
    before.flush()
    with open(
        os.dup(2), "w", buffering=1, encoding=before.encoding, errors=ESCAPES
    ) as copy, open(os.devnull, "wb") as null:  # fmt: skip
        sys.stderr = copy
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(copy.fileno(), 2)
            sys.stderr = before


def _fill_closed_streams() -> None:
    """Open /dev/null for a closed stdin, stdout or stderr: the next file opened would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            sink = os.open(os.devnull, os.O_RDWR)
            if sink != number:
                os.dup2(sink, number)
                os.close(sink)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _end(status: int) -> NoReturn:
    """Exit without a second message about a stream that is closed or cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def take_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt as soon as that is safe; one that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if frame is not None and _holds_a_lock(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    raise KeyboardInterrupt


def _holds_a_lock(frame: FrameType) -> bool:
    """Return whether a frame may have taken a lock that an interrupt here would leave locked."""
    code = frame.f_code
    return code.co_filename.endswith(_MACHINERY) and code.co_name not in _WAITING
