"""All pictures of an evaluation: the plots of its figures, and the pairs that each model got most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facesearch.evaluate.dataset import Dataset
from facesearch.evaluate.evaluation import Evaluation, Mistake, worst_mistakes
from facesearch.evaluate.plots import draw_cmc, draw_histograms, draw_reliability, draw_roc
from facesearch.models.card import SLASH
from facesearch.show.pairs import WRONG, Pair, Side, draw_pairs
from facesearch.show.sheet import save_sheet

# Of each kind of mistake.
MOST_MISTAKES = 12


def draw_all(dataset: Dataset, evaluations: Sequence[Evaluation], folder: str) -> list[str]:
    """Draw what there is to draw of some models on a data set.

    Args:
        dataset: The labelled photos.
        evaluations: One or more models on it.
        folder: Where the files go; it is there.

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
    strangers = worst_mistakes(dataset, one, "different", MOST_MISTAKES)
    alike = worst_mistakes(dataset, one, "same", MOST_MISTAKES)
    heading = f"{one.card.name}: the nearest strangers and the farthest pairs of one person"
    if not strangers and not alike:
        heading = f"{one.card.name}: no pair is on the wrong side of the threshold"
    drawn = [_pair(dataset, one, mistake) for mistake in (*strangers, *alike)]
    save_sheet(draw_pairs(drawn, heading=heading), path)


def _pair(dataset: Dataset, one: Evaluation, mistake: Mistake) -> Pair:
    first, second = (
        Side(dataset.paths[photo], one.faces.boxes[photo]) for photo in (mistake.first, mistake.second)
    )
    what = "one person" if mistake.same else "two people"
    return Pair(first, second, (f"{what} at {mistake.distance:.3f}",), WRONG)
