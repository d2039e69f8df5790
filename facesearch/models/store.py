"""The models on this machine: one folder for each, with its card and the files that the card names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_dir

from facesearch.errors import FetchFailed, ModelBroken, ModelError, UnknownModel
from facesearch.models.calibration import Calibration, LibraryScale
from facesearch.models.card import (
    NAME,
    NETWORK,
    ONNX,
    SLASH,
    TENSORS,
    WEIGHTS,
    Card,
    DetectorCard,
    StoredCard,
    StoredFile,
    check_name,
    file_digest,
    with_own_calibration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facesearch.models.sources import Recipe

Notify = Callable[[str], None]

CARD = "card.json"
CARD_LIMIT = 1 << 20


def silent(message: str) -> None:
    """Ignore a message; for callers that want neither messages nor a progress bar."""


class ModelStore:
    """The folder that holds the models.

    Several processes may use one store at once: a process that changes a model holds that model's lock, and
    the files of a model are complete at any moment.

    Args:
        root: The folder; else the environment's FACESEARCH_MODELS, else the user's data folder. It need
            not exist.
    """

    def __init__(self, root: Path | None = None) -> None:
        named = os.environ.get("FACESEARCH_MODELS")
        default = Path(named) if named else Path(user_data_dir("facesearch", False), "models")
        self.root = Path(os.path.abspath(root or default))

    def names(self) -> list[str]:
        """Return the names of the models in the store, sorted."""
        names = (card.parent.name.replace(SLASH, "/") for card in self.root.glob(f"[!.]*/{CARD}"))
        return sorted(name for name in names if NAME.fullmatch(name))

    def path(self, name: str) -> Path:
        """Return the folder of a model, whether or not it exists."""
        return self.root / check_name(name).replace("/", SLASH)

    def installed(self, name: str) -> bool:
        """Return whether a model is in the store; `verify` checks whether it is intact."""
        return (self.path(name) / CARD).is_file()

    def card(self, name: str) -> Card:
        """Read the card of a network that gives vectors; see `stored_card`.

        Raises:
            ModelError: The network is a detector.
        """
        card = self.stored_card(name)
        if not isinstance(card, Card):
            raise ModelError(f"{name} is a detector, and gives no vectors.", f"Use it as --detector {name}.")
        return card

    def detector_card(self, name: str) -> DetectorCard:
        """Read the card of a detector's network; see `stored_card`.

        Raises:
            ModelError: The network is not a detector.
        """
        card = self.stored_card(name)
        if not isinstance(card, DetectorCard):
            raise ModelError(f"{name} is a model, and finds no faces.", f"Use it as --model {name}.")
        return card

    def stored_card(self, name: str) -> StoredCard:
        """Read a card, and check that the files that it names exist and have the right size.

        Raises:
            UnknownModel: The model is not in the store.
            ModelBroken: The card is not a card, or a file is missing or truncated.
        """
        folder = self.path(name)
        try:
            with (folder / CARD).open("rb") as stream:
                text = stream.read(CARD_LIMIT)
        except FileNotFoundError:
            hint = f"Run 'facesearch models fetch {name}'."
            raise UnknownModel(f"The model {name} is not in {self.root}.", hint) from None
        except OSError as error:
            raise _broken(name, f"{CARD} cannot be read ({error.strerror})") from error
        try:
            card = StoredCard.from_json(text)
        except ModelBroken as error:
            raise _broken(name, error.message.rstrip(".")) from error
        if card.name != name or any(file not in card.files for file in card.needs):
            raise _broken(name, "its card is another model's")
        for file, stored in card.files.items():
            self._check_size(name, folder / file, stored)
        return card

    def verify(self, name: str) -> StoredCard:
        """Compare every file of a model with its card, by digest, and return the card.

        Raises:
            UnknownModel: The model is not in the store.
            ModelBroken: A file is not what the card says.
        """
        card = self.stored_card(name)
        for file, stored in card.files.items():
            if file_digest(self.path(name) / file, "sha256") != stored.sha256:
                raise _broken(name, f"{file} has been changed or damaged")
        return card

    def fetch(self, recipe: Recipe, *, notify: Notify = silent) -> StoredCard:
        """Fetch a model from the first of its sources that has it, unless it is in the store and intact.

        Args:
            recipe: The model.
            notify: Called with a sentence at each step.

        Returns:
            The card of the model that is now in the store.

        Raises:
            FetchFailed: No source had the weights; the message names each source and its reason.
            StorageError: The disk is full or the folder cannot be written.
        """
        with self._changing(recipe.card.name, notify) as work:
            before: StoredCard | None = None
            try:
                return self.verify(recipe.card.name)
            except UnknownModel:
                pass
            except ModelBroken as error:
                notify(f"{error.message} It is fetched again.")
                before = self._readable_card(recipe.card.name)
            reasons: list[str] = []
            for number, source in enumerate(recipe.sources):
                again = " It has to have the same digest." if reasons else ""
                notify(f"Fetching the model {recipe.card.name} from {source}.{again}")
                folder = work / str(number)
                folder.mkdir()
                try:
                    file = source.fetch(folder, progress=notify is not silent)
                    return self._install(recipe.card.name, partial(recipe.build, file), work, before)
                except (FetchFailed, ModelBroken) as error:
                    reasons.append(f"\n  {source}: {error.message}")
                    notify(f"That failed: {error.message}")
                shutil.rmtree(folder)
        raise FetchFailed(
            f"The model {recipe.card.name} could not be fetched from any of its sources:{''.join(reasons)}",
            f"Get {recipe.by_hand} by other means and run "
            f"'facesearch models import FILE --name {recipe.card.name}'.",
        )

    def install(
        self,
        name: str,
        build: Callable[[Path], StoredCard],
        *,
        replace_it: bool = False,
        notify: Notify = silent,
    ) -> StoredCard:
        """Add a model that is built by a function.

        Args:
            name: Its name.
            build: Writes the network's files into the folder that it is called with, and returns the card.
            replace_it: Whether the model replaces one of the same name, once it is built.
            notify: Called with a sentence at each step.

        Raises:
            ModelError: There is a model of this name already.
            StorageError: The disk is full or the folder cannot be written.
        """
        with self._changing(name, notify) as work:
            if self.installed(name) and not replace_it:
                raise ModelError(
                    f"There is a model {name} already.",
                    f"Take another --name, or run 'facesearch models remove {name}' first.",
                )
            return self._install(name, build, work)

    def calibrate(
        self, name: str, calibration: dict[str, Calibration], library: LibraryScale | None = None
    ) -> Card:
        """Write a calibration into a model's card, where it replaces that of the same metrics.

        Args:
            name: The model's name.
            calibration: For each metric, what a distance means for two persons.
            library: What nearness in a library means; None leaves what was shipped.

        Raises:
            UnknownModel: The model is not in the store.
            ModelBroken: The figures are out of the range of a card; the card is unchanged.
            StorageError: The disk is full or the folder cannot be written.
        """
        from facesearch.files import replaced

        with self._changing(name, silent) as work:
            card = self.card(name)
            calibration = {**card.calibration, **calibration}
            if library is None and card.library is not None and not card.library.own:
                library = card.library
            text = replace(card, calibration=calibration, library=library).to_json()
            # What could not be read again would make the model unusable: it is not written.
            card = Card.from_json(text)
            with replaced(self.path(name) / CARD, beside=work / CARD) as file:
                file.write(text.encode())
        return card

    def remove(self, name: str) -> None:
        """Remove a model and its files.

        Raises:
            UnknownModel: The model is not in the store.
        """
        if not self.installed(name):
            raise UnknownModel(f"The model {name} is not in {self.root}.", "Run 'facesearch models list'.")
        with self._changing(name, silent) as work:
            self.path(name).rename(work / "removed")

    @contextmanager
    def _changing(self, name: str, notify: Notify) -> Iterator[Path]:
        # Here, since a model that is only used needs no locks.
        from facesearch.models.archive import locked, storage_errors, work_folder

        check_name(name)
        with locked(self.root, name, notify), storage_errors(self.root), work_folder(self.root, name) as work:
            yield work

    def _readable_card(self, name: str) -> StoredCard | None:
        """Return the card of a broken model; None if the card itself is broken."""
        try:
            return StoredCard.from_json((self.path(name) / CARD).read_bytes()[:CARD_LIMIT])
        except (OSError, ModelBroken):
            return None

    def _install(
        self, name: str, build: Callable[[Path], StoredCard], work: Path, before: StoredCard | None = None
    ) -> StoredCard:
        from facesearch.models.archive import land

        built = work / "built"
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir()
        card = build(built)
        present = [file for file in (NETWORK, WEIGHTS, TENSORS, ONNX) if (built / file).is_file()]
        files = {f: StoredFile((built / f).stat().st_size, file_digest(built / f, "sha256")) for f in present}
        card = replace(card, name=name, files=files)
        card = card if before is None else with_own_calibration(card, before)
        (built / CARD).write_text(card.to_json(), encoding="utf-8")
        land(built, self.path(name), work)
        return card

    def _check_size(self, name: str, path: Path, stored: StoredFile) -> None:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise _broken(name, f"{path.name} is missing") from error
        if size != stored.size:
            raise _broken(name, f"{path.name} has {size} bytes where its card says {stored.size}")


def _broken(name: str, what: str) -> ModelBroken:
    return ModelBroken(
        f"The model {name} is broken: {what}.",
        f"Run 'facesearch models fetch {name}' to fetch it again, or import it again.",
    )
