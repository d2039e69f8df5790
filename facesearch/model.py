"""A model in use: its name, its card, and the pipelines that it runs in."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from facesearch.embed import Embedder, card_of, open_embedder
from facesearch.embed.background import BackgroundEmbedder
from facesearch.models.store import ModelStore, silent
from facesearch.settings import Looking, Runtime, make_meta, make_pipeline

if TYPE_CHECKING:
    from facesearch.index.meta import Meta
    from facesearch.models.card import Card
    from facesearch.pipeline import Pipeline


@dataclass(frozen=True)
class Model:
    """A model by its name, opened when it is first needed and fetched when it is missing.

    Attributes:
        name: One of `embed.MODELS`, or any model of the store.
        store: Where the networks lie.
        runtime: How the network is run.
        notify: Is told, in sentences, of what takes a while (a network that is fetched).
    """

    name: str
    store: ModelStore = field(default_factory=ModelStore)
    runtime: Runtime = field(default_factory=Runtime)
    notify: Callable[[str], None] = silent
    _embedders: dict[int, Embedder] = field(default_factory=dict)

    @cached_property
    def card(self) -> Card:
        """Give the model's card.

        Raises:
            UnknownModel: There is no such model.
            ModelBroken: Its card or files are not in order.
        """
        return card_of(self.name, self.store)

    def pipeline(self, meta: Meta | None = None, *, few: bool = False, whole: bool = False) -> Pipeline:
        """Build a pipeline; for a few photos a single inference answers soonest, else several do most.

        Args:
            meta: What makes the index that it is for; None for what the card says.
            few: Whether it is for a few photos.
            whole: Whether each photo as a whole is a face.

        Raises:
            ModelError: The detector gives no landmarks, and the model wants aligned faces.
        """
        meta = meta or make_meta(self.card, Looking(), None)
        streams = 1 if few else self.runtime.jobs or os.cpu_count() or 1
        return make_pipeline(
            meta,
            self._embedder(streams),
            self.runtime,
            store=self.store,
            notify=self.notify,
            whole=whole,
        )

    def _embedder(self, streams: int) -> Embedder:
        if streams not in self._embedders:

            def opening() -> Embedder:
                return open_embedder(
                    self.name,
                    store=self.store,
                    runtime=self.runtime.runtime,
                    precision=self.runtime.precision,
                    device=self.runtime.device,
                    streams=streams,
                    threads=self.runtime.jobs,
                    notify=self.notify,
                )

            # A model that has to be fetched is opened here and now: its messages come before the work.
            here = self.store.installed(self.name)
            self._embedders[streams] = BackgroundEmbedder(self.card, opening) if here else opening()
        return self._embedders[streams]
