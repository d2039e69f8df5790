"""Which people a network learns from, which ones stop it in time, and which ones tell how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatasetError

# An accuracy on fewer people than this is chance's.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Split:
    """People's numbers, each in one part only, so that nobody is tested on whom it learned from.

    Attributes:
        train: The network learns from their photos.
        validation: Stop the training, and give threshold and probabilities.
        test: Looked at once, at the end.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_people(
    person: NDArray[np.int32], *, validation: float, test: float, seed: int, single: bool = False
) -> Split:
    """Deal people into three parts.

    Where some have several photos, those with one all go to training, as strangers to the others.

    Args:
        person: (m,) the person of each photo, numbered from 0.
        validation: The share of people for validation, of those who are not for the test.
        test: The share of people for the test.
        seed: Of the order in which they are dealt.
        single: Whether all have one photo, whose warps stand for others.

    Raises:
        DatasetError: There are too few people for that.
    """
    photos = np.bincount(person)
    several = np.flatnonzero(photos > (0 if single else 1))
    order = np.random.default_rng(seed).permutation(several)
    tested = round(test * len(order))
    validated = round(validation * (len(order) - tested))
    learned = len(order) - tested - validated
    if min(tested, validated, learned) < FEWEST:
        raise DatasetError(
            f"Of {len(several)} people, {learned} to learn from, {validated} for validation and {tested} for "
            "the test are too few.",
            f"Each part takes {FEWEST} people at least: add people, or change --validation and --test.",
        )
    alone = np.flatnonzero(photos == 1) if not single else several[:0]
    return Split(
        np.sort(np.concatenate([order[tested + validated :], alone])),
        np.sort(order[tested : tested + validated]),
        np.sort(order[:tested]),
    )
