"""A model that is opened while the first photos are read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from facesearch.embed import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.models.card import Card


class BackgroundEmbedder(Embedder):
    """Opens a model in a thread and waits for it when it is first asked.

    Args:
        card: The model's.
        opening: Opens it; what it raises is raised by `embed`.
    """

    def __init__(self, card: Card, opening: Callable[[], Embedder]) -> None:
        self.card = card
        thread = ThreadPoolExecutor(1, thread_name_prefix="open-model")
        self._opened: Future[Embedder] = thread.submit(opening)
        thread.shutdown(wait=False)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector of each crop."""
        return self._opened.result().embed(crops)
