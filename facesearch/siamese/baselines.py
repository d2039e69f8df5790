"""What a trained network is measured beside, on the same faces of the people who were held out."""

from __future__ import annotations

import numpy as np

from facesearch.models.card import Card
from facesearch.siamese.figures import Figures, discriminant, measure, pixel_vectors
from facesearch.siamese.learning import Learned
from facesearch.siamese.start import unit


def baselines(base: Card, learned: Learned) -> list[Figures]:
    """Measure what training has to beat, on the same faces."""
    photo, view, person = learned.items(learned.split.test)
    if learned.start is None or learned.faces.features is None:
        crops = learned.material.inputs(photo, view).astype(np.uint8)
        return [measure("16x16 grey pixels", pixel_vectors(crops), person, "cosine")]
    features = learned.faces.features
    plain = features.plain.inputs(photo, view)
    found = [measure(f"{base.name} alone", plain, person, base.metric)]
    learned_from = np.flatnonzero(np.isin(learned.faces.person, learned.split.train))
    vectors = features.plain.views[learned_from, 0]
    discriminated = discriminant(vectors, learned.faces.person[learned_from], plain)
    if discriminated is not None:
        found.append(measure("linear discriminant", discriminated, person, "cosine"))
    return found


def start_figures(learned: Learned) -> Figures | None:
    """Measure what a head begins with on the test people; None for a network from scratch."""
    if learned.start is None or learned.faces.features is None:
        return None
    photo, view, person = learned.items(learned.split.test)
    started = unit(learned.start.apply(learned.faces.features.head.inputs(photo, view)))
    return measure("its start (closed form)", started, person, "euclidean")
