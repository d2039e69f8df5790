"""The picture of a training: loss and validation, epoch by epoch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from facesearch.errors import storage_error
from facesearch.siamese.run import Epoch

LOSS, ACCURACY, AREA = "#D55E00", "#0072B2", "#009E73"
GREY, FAINT = "#666666", "#E3E3E3"


def draw_curves(history: Sequence[Epoch], best: int, path: Path) -> None:
    """Draw the loss at the left, accuracy and AUC on the validation people at the right.

    Args:
        history: The epochs.
        best: The one that is kept.
        path: The PNG.

    Raises:
        StorageError: It cannot be written.
    """
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    numbers = [epoch.number for epoch in history]
    left, right = figure.subplots(1, 2)
    left.plot(
        numbers[1:], [epoch.loss for epoch in history if epoch.loss is not None], color=LOSS, linewidth=2
    )
    left.set_ylabel("loss")
    right.plot(numbers, [100 * epoch.accuracy for epoch in history], color=ACCURACY, label="accuracy, %")
    right.plot(numbers, [100 * epoch.auc for epoch in history], color=AREA, label="AUC, hundredths")
    right.set_ylabel("on the validation people")
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.5)
        axes.set_xlabel("epoch (0: before training; dotted: the one that is kept)")
        axes.grid(color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        figure.savefig(beside, format="png")
        beside.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        beside.unlink(missing_ok=True)
