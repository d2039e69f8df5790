"""What is asked of a training, and what suits a kind of network where nothing is asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from facesearch.errors import DatasetError
from facesearch.models.card import Card

CNN = "cnn"
# Of the vectors that come out, so that distances lie between 0 and 4.
LENGTH = 2.0
# The small network's own crop: aligned faces where YuNet finds one, the whole photo where it does not.
CNN_CARD = Card(name=CNN, dim=64, size=(48, 48), margin=0.1, detector="yunet", landmarks=True)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What is asked of a training.

    Attributes:
        folder: A folder of people, absolute.
        name: The model's that is to be.
        base: "cnn" for a small network from scratch, else a model whose vectors a head is trained on.
        unfreeze: So many of ResNet-50's blocks before the head learn too.
        single: Whether each photo is a person of its own.
        whole: Whether each photo is nothing but the face.
        warps: How many warps of a photo there are; None for the default. Pixels are warped anew each time,
            so there it is 0 or not that counts while learning.
        loss: One of `keras_losses.LOSSES`; None for the default.
        margin: The loss's; None for its default.
        rate: Learning rate to start with; None for the default.
        epochs: At most; None for the default.
        batch: Faces in a batch; None for the default.
        patience: So many epochs without a better validation end the training; None for the default.
        validation: Share of the people who are not tested.
        test: Share of the people.
        seed: Of the split and of all draws.
    """

    folder: str
    name: str
    base: str = "resnet50"
    unfreeze: int = 0
    single: bool = False
    whole: bool = False
    warps: int | None = None
    loss: str | None = None
    margin: float | None = None
    rate: float | None = None
    epochs: int | None = None
    batch: int | None = None
    patience: int | None = None
    validation: float = 0.2
    test: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Defaults:
    """What suits a kind of network.

    Attributes:
        loss: One of `keras_losses.LOSSES`.
        warps: Of each photo.
        rate: Adam's.
        epochs: At most.
        batch: Faces.
        patience: Epochs.
    """

    loss: str
    warps: int
    rate: float
    epochs: int
    batch: int
    patience: int


# Warped views of photos of known people did harm to heads: a trunk's vectors of them are further apart than
# those of other photos of the same people.
HEAD = Defaults("contrastive", warps=0, rate=3e-4, epochs=30, batch=288, patience=10)
# What knows people already is only to be adjusted.
ADJUSTED = Defaults("contrastive", warps=0, rate=1e-4, epochs=30, batch=288, patience=10)
# Through the whole trunk, so that an epoch takes minutes.
UNFROZEN = Defaults("contrastive", warps=8, rate=1e-5, epochs=6, batch=96, patience=3)
# To the end, as the rate falls: what few validation people say of a network at a high rate is chance's.
SCRATCH = Defaults("supcon", warps=8, rate=2e-3, epochs=20, batch=128, patience=20)
# In an epoch of a network from scratch, whose warps are new each time; validation costs as much as some.
LEAST_BATCHES = 20
# Warps for people of one photo, where none are asked for.
WARPS, LEAST_WARPS = 8, 2
# Whitening and evening out of the head's start, for trunks that measure looks and for those that know people.
LOOKS, IDENTITY = (0.9, 0.75), (0.25, 0.0)


def settled(wish: TrainingConfig, defaults: Defaults) -> TrainingConfig:
    """Put the defaults where nothing was asked."""
    given = {name: value for name in asdict(defaults) if (value := getattr(wish, name)) is not None}
    settled = replace(wish, **{**asdict(defaults), **given})
    if not wish.single:
        return settled
    if wish.warps is not None and wish.warps < LEAST_WARPS:
        raise DatasetError(
            "Of people with one photo each, two warps make a pair of one person.",
            f"Ask for --warps {LEAST_WARPS} or more.",
        )
    return replace(settled, warps=settled.warps or WARPS)
