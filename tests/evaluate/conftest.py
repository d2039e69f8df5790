from dataclasses import replace

import pytest
from support.fakes import CARD, ColourEmbedder, pipeline

from facesearch.model import Runtime
from facesearch.models.store import silent


class DrawnModel:
    """Stands in for a Model: the detector of squares and the embedder of colours."""

    def __init__(self, **card):
        self.card = replace(CARD, **card)
        self.name, self.store, self.runtime, self.notify = self.card.name, None, Runtime(), silent
        self.embedder = ColourEmbedder(self.card)

    def pipeline(self, meta=None):
        return pipeline(self.embedder, batch=2)

    @property
    def embedded(self):
        """How many faces were embedded since this was last asked."""
        count = sum(self.embedder.calls)
        self.embedder.calls.clear()
        return count


@pytest.fixture
def drawn_model(monkeypatch, tmp_path):
    """Makes models of drawn squares, by what differs in their cards; their caches lie in tmp_path/cache."""
    made = {}

    def make(**card):
        model = DrawnModel(**card)
        made[model.name] = model
        return model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("facesearch.library.Model", lambda name, *more: made[name])
    return make
