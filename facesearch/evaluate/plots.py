"""The pictures of an evaluation, as PNG files: ROC curves, distances, hits by rank, reliability, mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from facesearch.evaluate.fitting import ENOUGH
from facesearch.evaluate.verification import Pairs, Retrieval, Verification
from facesearch.files import replaced, storage_error
from facesearch.models.card import SLASH

# Okabe and Ito's, which also the colour-blind tell apart; black and yellow are left out. A second round of
# models is told from the first by its lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D", "v", "P")
SAME, DIFFERENT = COLOURS[0], COLOURS[1]
INK, GREY, FAINT = "#222222", "#666666", "#E3E3E3"
DPI = 150
WIDTH, HEIGHT = 8.0, 5.6
# A panel of its own for each model; from here on they stand side by side.
SINGLE_COLUMN = 2
HISTOGRAM_BINS = 80
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}%")
# Of all pairs: what fewer of them show of a probability is chance.
FEWEST = 0.005
LONGEST_NAME = 22
# Inches: a line of names, and what stands below them.
LEGEND_ROW = 0.24
FOOT = 0.48

_Data = TypeVar("_Data")
Style = tuple[str, str, str]

if TYPE_CHECKING:
    from facesearch.evaluate.dataset import Dataset
    from facesearch.evaluate.evaluation import Evaluation, Mistake
    from facesearch.show.pair_sheet import Pair


def draw_roc(models: Mapping[str, Verification], path: Path) -> None:
    """Draw true against false accepts of each model, with a dot at its threshold.

    Raises:
        StorageError: The file cannot be written.
    """
    figure = _figure("ROC: how many are recognised, how many confused", _counts(models), len(models) // 2 + 1)
    axes = _axes(figure)
    lowest, dots = 0.1, []
    for name, model, (colour, line, mark) in _styled(models):
        far, tar = model.figures.curve.T
        if model.figures.auc is None:
            continue
        lowest = min(lowest, ENOUGH / model.different)
        label = f"{_short(name)} (AUC {model.figures.auc:.3f})"
        axes.plot(far, tar, color=colour, linestyle=line, linewidth=2, drawstyle="steps-post", label=label)
        if model.accepted is not None:
            dots.append((*model.accepted, mark, colour))
    for at, accepted, mark, colour in dots:
        place = max(at, lowest), accepted
        axes.plot(*place, mark, color=colour, markersize=9, markeredgecolor="white", clip_on=False, zorder=5)
    chance = np.geomspace(lowest, 1.0, 200)
    axes.plot(chance, chance, color=GREY, linestyle=(0, (2, 3)), linewidth=1.2, label="chance")
    axes.set(xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.02))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    _label(axes, "different people taken for the same", "photos of one person recognised")
    _legend(figure, axes)
    _note(
        figure,
        "Mark: at the best threshold (left edge: too few confusions). Missed faces are never accepted.",
    )
    save_figure(figure, path)


def draw_histograms(models: Mapping[str, tuple[Pairs, Verification]], path: Path) -> None:
    """Draw the distances of same and of different pairs, and the threshold: one panel per model.

    Raises:
        StorageError: The file cannot be written.
    """
    columns = 1 if len(models) <= SINGLE_COLUMN else 2
    rows = -(-len(models) // columns)
    figure = _figure(
        "Distances of photos of one person and of two",
        _counts({name: model for name, (_, model) in models.items()}),
        1,
        0.8 + (3.0 if columns == 1 else 2.3) * rows,
    )
    for place, (name, (pairs, model)) in enumerate(models.items()):
        axes = _axes(figure, (rows, columns, place + 1))
        _draw_distances(axes, pairs, model.threshold)
        axes.set_title(
            f"{_short(name, 40 if columns == 1 else 20)}: {model.missed:,} pairs missed",
            loc="left",
            fontsize=10,
            color=INK,
        )
        _label(axes, "distance" if place >= len(models) - columns else "", "density")
        if place == 0:
            _legend(figure, axes, 3)
    _note(figure, "Missed: no face was found in one of the two photos; left out here.")
    save_figure(figure, path)


def _draw_distances(axes: Axes, pairs: Pairs, threshold: float | None) -> None:
    found = pairs.found
    axes.set_yticks([])
    if not found.any():
        return
    edges = np.histogram_bin_edges(pairs.distance[found], HISTOGRAM_BINS)
    for kind, colour, label in (
        (pairs.same, SAME, "same person"),
        (~pairs.same, DIFFERENT, "different people"),
    ):
        counts, _ = np.histogram(pairs.distance[found & kind], edges)
        density = counts / max(counts.sum(), 1) / np.diff(edges)
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(density, edges, color=colour, linewidth=1.4, label=label)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label="threshold")
    axes.set_ylim(bottom=0.0)


def draw_cmc(models: Mapping[str, Retrieval], path: Path) -> None:
    """Draw for each model how often the right person is among the nearest photos.

    Raises:
        StorageError: The file cannot be written.
    """
    queries = max((model.queries for model in models.values()), default=0)
    people = max((len(np.unique(model.person)) for model in models.values()), default=0)
    counts = f"{queries:,} photos of {people:,} people, each looked for among all others"
    figure = _figure("CMC: how often the right person is among the nearest", counts, -(-len(models) // 2))
    axes = _axes(figure)
    lowest = 1.0
    for name, model, (colour, line, mark) in _styled(models):
        ranks = np.arange(1, len(model.cmc) + 1)
        label = f"{_short(name)} (first {model.rank1:.1%}, mAP {model.map:.3f})"
        axes.plot(
            ranks, model.cmc, mark, linestyle=line, color=colour, linewidth=2, markersize=5, label=label
        )
        lowest = min(lowest, model.rank1)
    # What good models differ in is small, so the axis starts not far below the lowest.
    bottom = max(0.0, 1.2 * lowest - 0.22)
    axes.set(xlim=(0.5, 20.5), ylim=(bottom, 1.0 + 0.03 * (1.0 - bottom)), xticks=(1, 5, 10, 15, 20))
    axes.yaxis.set_major_formatter(PERCENT)
    _label(axes, "nearest photos looked at", "with a right one among them")
    _legend(figure, axes)
    _note(figure, "A photo in which no face was found counts as a miss.")
    save_figure(figure, path)


def draw_reliability(models: Mapping[str, Verification], path: Path) -> None:
    """Draw for each model how often pairs of a given probability are the same person.

    Raises:
        StorageError: The file cannot be written.
    """
    figure = _figure(
        "Reliability: how far probabilities can be believed", _counts(models), len(models) // 2 + 1
    )
    axes = _axes(figure)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=1.2, label="as told")
    for name, model, (colour, line, mark) in _styled(models):
        if model.bins is None or model.ece is None:
            continue
        full = model.bins.weight >= FEWEST
        told, same, weight = model.bins.probability[full], model.bins.same[full], model.bins.weight[full]
        label = f"{_short(name)} (error {model.ece:.1%})"
        axes.plot(told, same, linestyle=line, color=colour, linewidth=1.6, label=label)
        axes.scatter(
            told,
            same,
            15 + 400 * weight,
            color=colour,
            marker=mark,
            edgecolors="white",
            clip_on=False,
            zorder=4,
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    _label(axes, "probability told that it is one person", "pairs that are one person's")
    _legend(figure, axes)
    _note(
        figure,
        f"A mark's size is the share of pairs; under {FEWEST:.1%}, none. Both kinds of pairs weigh the same.",
    )
    save_figure(figure, path)


def _styled(models: Mapping[str, _Data]) -> Iterator[tuple[str, _Data, Style]]:
    """Yield each model with its name and its colour, line and mark."""
    for place, (name, model) in enumerate(models.items()):
        line = LINES[place // len(COLOURS) % len(LINES)]
        yield name, model, (COLOURS[place % len(COLOURS)], line, MARKS[place % len(MARKS)])


def _counts(models: Mapping[str, Verification]) -> str:
    model = next(iter(models.values()), None)
    if model is None:
        return "no model"
    return f"{model.same:,} pairs of one person, {model.different:,} of two; {model.people:,} people"


def _short(name: str, length: int = LONGEST_NAME) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _figure(title: str, counts: str, names: int, height: float = HEIGHT) -> Figure:
    """Make a page with a title and the numbers behind it; `height` in inches, without the rows of names."""
    below = FOOT + LEGEND_ROW * names
    height += below
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", rect=(0.01, below / height, 0.97, 1.0 - (below + 0.72) / height))
    figure.text(0.02, 1.0 - 0.36 / height, title, fontsize=14, fontweight="bold", color=INK)
    figure.text(0.02, 1.0 - 0.62 / height, counts, fontsize=10, color=GREY)
    return figure


def _axes(figure: Figure, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    axes = figure.add_subplot(*place)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=10, length=3, color=GREY)
    return axes


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=11, color=INK)
    axes.set_ylabel(up, fontsize=11, color=INK)


def _legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Name the lines below the axes, where no curve can run."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        foot = (0.012, (FOOT - 0.12) / figure.get_figheight())
        legend = figure.legend(handles, labels, loc="lower left", bbox_to_anchor=foot, ncols=columns)
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_fontsize(9)


def _note(figure: Figure, text: str) -> None:
    figure.text(0.02, 0.12 / figure.get_figheight(), text, fontsize=9, color=GREY)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG.

    Raises:
        StorageError: The file cannot be written.
    """
    FigureCanvasAgg(figure)  # no window system, and none of pyplot's figures that live on
    try:
        with replaced(path) as file:
            figure.savefig(file, format="png")
    except OSError as error:
        raise storage_error(path, error) from error


# Of each kind of mistake.
MOST_MISTAKES = 12


def draw_all(dataset: Dataset, evaluations: Sequence[Evaluation], folder: str) -> list[str]:
    """Draw all pictures of some models on a data set.

    Args:
        dataset: The labelled photos.
        evaluations: One or more models on it.
        folder: An existing folder for the files.

    Returns:
        The files' names.

    Raises:
        StorageError: A file cannot be written.
    """
    names = []

    def place(name: str) -> Path:
        names.append(name)
        return Path(folder, name)

    verifications = {one.card.name: one.verification for one in evaluations}
    draw_roc(verifications, place("roc.png"))
    pairs = {one.card.name: (one.pairs, one.verification) for one in evaluations}
    draw_histograms(pairs, place("distances.png"))
    retrievals = {one.card.name: one.retrieval for one in evaluations if one.retrieval is not None}
    if retrievals:
        draw_cmc(retrievals, place("cmc.png"))
    if any(one.bins is not None for one in verifications.values()):
        draw_reliability(verifications, place("reliability.png"))
    for one in evaluations:
        _draw_mistakes(dataset, one, place(f"mistakes-{one.card.name.replace('/', SLASH)}.png"))
    return names


def _draw_mistakes(dataset: Dataset, one: Evaluation, path: Path) -> None:
    """Draw the nearest strangers and the farthest pairs of one person."""
    from facesearch.evaluate.evaluation import worst_mistakes
    from facesearch.show.pair_sheet import draw_pairs
    from facesearch.show.sheet import save_sheet

    strangers = worst_mistakes(dataset, one, "different", MOST_MISTAKES)
    alike = worst_mistakes(dataset, one, "same", MOST_MISTAKES)
    heading = f"{one.card.name}: the nearest strangers and the farthest pairs of one person"
    if not strangers and not alike:
        heading = f"{one.card.name}: no pair is on the wrong side of the threshold"
    drawn = [_pair(dataset, one, mistake) for mistake in (*strangers, *alike)]
    save_sheet(draw_pairs(drawn, heading=heading), path)


def _pair(dataset: Dataset, one: Evaluation, mistake: Mistake) -> Pair:
    from facesearch.show.pair_sheet import WRONG, Pair, Side

    first, second = (
        Side(dataset.paths[photo], one.faces.boxes[photo]) for photo in (mistake.first, mistake.second)
    )
    what = "one person" if mistake.same else "two people"
    return Pair(first, second, (f"{what} at {mistake.distance:.3f}",), WRONG)
