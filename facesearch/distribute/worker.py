"""What each worker does; it runs wherever Ray starts it, and knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from facesearch.faces import PhotoFaces
from facesearch.index.meta import Meta
from facesearch.model import Model
from facesearch.models.store import ModelStore
from facesearch.settings import Runtime


class Worker:
    """Looks at photos with a model that it opens once, and fetches where it is missing.

    Args:
        model: The model's name.
        models: The folder of the model store; None for the worker's own.
        runtime: How the network is run.
        meta: What makes the index.
    """

    def __init__(self, model: str, models: str | None, runtime: Runtime, meta: Meta) -> None:
        store = ModelStore(Path(models)) if models is not None else ModelStore()
        self._pipeline = Model(model, store, runtime).pipeline(meta, few=runtime.jobs == 1)

    def look(self, paths: Sequence[str], known: Collection[bytes]) -> list[PhotoFaces]:
        """Look at some photos; see `Pipeline.run`."""
        # Beside another worker on each other core, threads would only wait for each other.
        run = self._pipeline.run_in_turn if self._pipeline.jobs == 1 else self._pipeline.run
        return list(run(paths, known=known))
