"""A training run's folder: its configuration, the results of each epoch, and the state to resume from."""

from __future__ import annotations

import csv
import io
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
from facesearch.files import replaced, storage_error
from facesearch.models.card import Card
from facesearch.models.store import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What numpy, zipfile and json raise on files that are truncated, damaged or of another kind.
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
# The files that belong to one run alone.
_RESULTS = (STATE, *HISTORY, CURVES, REPORT, PAGE)
# The keys that every run's configuration holds.
_CONFIG_KEYS = {"format", "base_digest", "photos"}


@dataclass(frozen=True, slots=True)
class Epoch:
    """The results of an epoch; the names are those in the run's history files.

    Attributes:
        number: From 1; 0 is the network before training.
        loss: Mean over the batches; None before training.
        accuracy: Share of correct decisions on the pairs of the validation people, balanced.
        auc: AUC on the same pairs; the best epoch is the one where it is largest.
        seconds: Duration of the epoch.
    """

    number: int
    loss: float | None
    accuracy: float
    auc: float
    seconds: float


@dataclass(slots=True)
class TrainingState:
    """Everything that is needed to resume a run.

    Attributes:
        weights: The network's current weights.
        best: The network's weights in its best epoch.
        optimizer: The optimizer's variables.
        history: The completed epochs, preceded by the network before training.
    """

    weights: list[NDArray[np.float32]]
    best: list[NDArray[np.float32]]
    optimizer: list[NDArray[Any]]
    history: list[Epoch]

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights are `best`: the last of several that are equally good."""
        return max(self.history, key=lambda epoch: (epoch.auc, epoch.accuracy, epoch.number))

    @property
    def epochs(self) -> int:
        """The number of completed epochs."""
        return len(self.history) - 1


class Run:
    """The folder of a run.

    Args:
        folder: The folder, which is made when it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, config: Mapping[str, Any]) -> None:
        """Write the configuration of a new run, and remove the files of an earlier run in the folder.

        Raises:
            TrainingError: The folder holds files of these names that do not belong to a run.
            StorageError: The folder cannot be written.
        """
        with self._writing():
            self._check_own()
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in _RESULTS:
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / MODEL, ignore_errors=True)
            self._write(CONFIG, json.dumps(config, indent=2) + "\n")

    def resume(self, config: Mapping[str, Any]) -> TrainingState:
        """Read the state of a run that has the same configuration.

        Raises:
            TrainingError: There is no such run, it is damaged, or its configuration differs.
        """
        try:
            held = json.loads((self.folder / CONFIG).read_bytes())
            state = _read_state(self.folder / STATE)
        except FileNotFoundError as error:
            raise TrainingError(
                f"There is no run to resume in {os.fspath(self.folder)!r}.", "Leave out --resume."
            ) from error
        except _DAMAGE as error:
            raise TrainingError(
                f"The run in {os.fspath(self.folder)!r} is damaged, or not a run: {error}.",
                "Leave out --resume to start again.",
            ) from error
        asked = json.loads(json.dumps(config))
        differing = (
            sorted(key for key in {*held, *asked} if held.get(key) != asked.get(key))
            if isinstance(held, dict)
            else ["everything"]
        )
        if differing:
            raise TrainingError(
                f"The run in {os.fspath(self.folder)!r} was started with other settings: "
                f"{', '.join(differing)}.",
                "Use the same settings as before, or leave out --resume to start again.",
            )
        return state

    def save(self, state: TrainingState) -> None:
        """Write the state and the history.

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
            with replaced(self.folder / STATE) as file:
                np.savez(file, allow_pickle=False, history=json.dumps(rows), **arrays)
            self._write(HISTORY[0], _as_csv(rows))
            self._write(HISTORY[1], json.dumps(rows, indent=2) + "\n")

    def produced(self, card: Card) -> bool:
        """Return whether a model of the store came out of this run."""
        try:
            kept = Card.from_json((self.folder / MODEL / CARD).read_bytes())
        except (OSError, ModelBroken):
            return False
        # The user may have calibrated the model since, so calibrations are not compared.
        return (kept.name, kept.digest) == (card.name, card.digest)

    def write_report(self, figures: Mapping[str, Any], page: str) -> None:
        """Write the figures on held-out people as JSON and as a page of HTML.

        Raises:
            StorageError: The folder cannot be written.
        """
        with self._writing():
            self._write(REPORT, json.dumps(figures, indent=2) + "\n")
            self._write(PAGE, page)

    def _check_own(self) -> None:
        """Raise an error where files that are not a run's would be removed."""
        if not any((self.folder / name).exists() for name in (CONFIG, *_RESULTS, MODEL)):
            return
        try:
            held = json.loads((self.folder / CONFIG).read_bytes())
        except (OSError, ValueError):
            held = None
        if not isinstance(held, dict) or not held.keys() >= _CONFIG_KEYS:
            raise TrainingError(
                f"The folder {os.fspath(self.folder)!r} holds files that are not a run's and would be lost.",
                "Name an empty or a new folder with --run.",
            )

    def _write(self, name: str, text: str) -> None:
        with replaced(self.folder / name) as file:
            file.write(text.encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(self.folder, error) from error


def _read_state(path: Path) -> TrainingState:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        lists = {
            name: [archive[f"{name}_{place}"] for place in range(_count(archive.files, name))]
            for name in ("weights", "best", "optimizer")
        }
        history = [Epoch(**row) for row in json.loads(str(archive["history"]))]
    if not history:
        raise ValueError("it has no history")
    return TrainingState(**lists, history=history)


def _count(names: Sequence[str], kind: str) -> int:
    return sum(name.startswith(f"{kind}_") for name in names)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
