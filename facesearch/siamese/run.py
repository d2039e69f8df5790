"""A training run as a folder: what was asked, what came of each epoch, and the state to go on from."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelBroken, TrainingError
from facesearch.files import storage_error
from facesearch.models.card import Card
from facesearch.models.store import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What numpy, zipfile and json raise on what is cut off, damaged or something else.
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, AttributeError, IndexError),
    *(zipfile.BadZipFile, zlib.error, OverflowError, MemoryError, struct.error),
)

CONFIG = "config.json"
HISTORY = ("history.csv", "history.json")
STATE = "state.npz"
CURVES = "curves.png"
REPORT, PAGE = "report.json", "report.html"
MODEL = "model"
# What is of one run alone.
_LEFT = (STATE, *HISTORY, CURVES, REPORT, PAGE)
# What every run's configuration holds.
_OWN = {"format", "base_digest", "photos"}


@dataclass(frozen=True, slots=True)
class Epoch:
    """What came of an epoch.

    Attributes:
        number: From 1; 0 is the network before it learned anything.
        loss: The mean over its batches; None where nothing was learned.
        accuracy: Share of right decisions on the pairs of the validation people; both kinds weigh the same.
        auc: On the same pairs; the best epoch is where it is largest.
        seconds: How long it took.
    """

    number: int
    loss: float | None
    accuracy: float
    auc: float
    seconds: float


@dataclass(slots=True)
class State:
    """All that it takes to go on.

    Attributes:
        weights: The network's now.
        best: The network's where it was best.
        optimizer: The optimizer's variables.
        history: The epochs that are done, and what there was before them.
    """

    weights: list[NDArray[np.float32]]
    best: list[NDArray[np.float32]]
    optimizer: list[NDArray[Any]]
    history: list[Epoch]

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights are `best`: of several that are as good, the last."""
        return max(self.history, key=lambda epoch: (epoch.auc, epoch.accuracy, epoch.number))

    @property
    def epochs(self) -> int:
        """How many epochs were learned in."""
        return len(self.history) - 1


class Run:
    """The folder of a run.

    Args:
        folder: It is made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, config: Mapping[str, Any]) -> None:
        """Write down what was asked; what a run of the same folder left is removed.

        Raises:
            TrainingError: The folder holds files of these names that no run left.
            StorageError: The folder cannot be written.
        """
        with self._writing():
            self._check_own()
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in _LEFT:
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / MODEL, ignore_errors=True)
            self._write(CONFIG, json.dumps(config, indent=2) + "\n")

    def resume(self, config: Mapping[str, Any]) -> State:
        """Read the state of a run that was asked for the same.

        Raises:
            TrainingError: There is none, it is damaged, or other things were asked.
        """
        try:
            held = json.loads((self.folder / CONFIG).read_bytes())
            state = _read_state(self.folder / STATE)
        except FileNotFoundError as error:
            raise TrainingError(
                f"There is no run to go on with in {os.fspath(self.folder)!r}.", "Leave out --resume."
            ) from error
        except _DAMAGE as error:
            raise TrainingError(
                f"The run in {os.fspath(self.folder)!r} is damaged or no run: {error}.",
                "Leave out --resume to begin anew.",
            ) from error
        wanted = json.loads(json.dumps(config))
        other = (
            sorted(key for key in {*held, *wanted} if held.get(key) != wanted.get(key))
            if isinstance(held, dict)
            else ["everything"]
        )
        if other:
            raise TrainingError(
                f"The run in {os.fspath(self.folder)!r} was asked for another {', '.join(other)}.",
                "Ask for the same as before, or leave out --resume to begin anew.",
            )
        return state

    def keep(self, state: State) -> None:
        """Write state and history, each beside its place and moved there.

        Raises:
            StorageError: The disk is full.
        """
        arrays = {
            f"{name}_{place}": array
            for name in ("weights", "best", "optimizer")
            for place, array in enumerate(getattr(state, name))
        }
        rows = [asdict(epoch) for epoch in state.history]
        with self._writing():
            beside = self.folder / f"{STATE}.new"
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, history=json.dumps(rows), **arrays)
            beside.replace(self.folder / STATE)
            self._write(HISTORY[1], json.dumps(rows, indent=2) + "\n")
            with (self.folder / HISTORY[0]).open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, [field.name for field in fields(Epoch)], lineterminator="\n")
                table.writeheader()
                table.writerows(rows)

    def made(self, card: Card) -> bool:
        """Tell whether a model of the store came out of this run."""
        try:
            kept = Card.from_json((self.folder / MODEL / CARD).read_bytes())
        except (OSError, ModelBroken):
            return False
        # The user may have calibrated it since.
        return (kept.name, kept.digest) == (card.name, card.digest)

    def report(self, figures: Mapping[str, Any], page: str) -> None:
        """Write the figures on held-out people, for scripts and as a page of HTML."""
        with self._writing():
            self._write(REPORT, json.dumps(figures, indent=2) + "\n")
            self._write(PAGE, page)

    def _check_own(self) -> None:
        """See that what would be removed is a run's."""
        if not any((self.folder / name).exists() for name in (CONFIG, *_LEFT, MODEL)):
            return
        try:
            held = json.loads((self.folder / CONFIG).read_bytes())
        except (OSError, ValueError):
            held = None
        if not isinstance(held, dict) or not held.keys() >= _OWN:
            raise TrainingError(
                f"The folder {os.fspath(self.folder)!r} holds files that are not a run's and would be lost.",
                "Name an empty or a new folder with --run.",
            )

    def _write(self, name: str, text: str) -> None:
        beside = self.folder / f"{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.folder / name)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(self.folder, error) from error


def _read_state(path: Path) -> State:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        lists = {
            name: [archive[f"{name}_{place}"] for place in range(_count(archive.files, name))]
            for name in ("weights", "best", "optimizer")
        }
        history = [Epoch(**row) for row in json.loads(str(archive["history"]))]
    if not history:
        raise ValueError("it has no history")
    return State(**lists, history=history)


def _count(names: Sequence[str], kind: str) -> int:
    return sum(name.startswith(f"{kind}_") for name in names)
