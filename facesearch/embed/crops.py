"""What every embedder asks of the crops that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facesearch.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facesearch.models.card import Card


def check_crops(crops: NDArray[np.uint8], card: Card) -> None:
    """See that crops are (n, height, width, 3) uint8 of the card's size.

    Raises:
        ModelError: They are not.
    """
    if crops.dtype != np.uint8 or crops.shape[1:] != (*card.size, 3):
        height, width = card.size
        raise ModelError(
            f"The model {card.name} takes crops of shape (n, {height}, {width}, 3) in uint8, "
            f"not {crops.shape} in {crops.dtype}."
        )
