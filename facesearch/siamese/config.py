"""The settings of a training run, and the defaults for each kind of network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from facesearch.errors import DatasetError
from facesearch.models.card import Card

CNN = "cnn"
# The length of the vectors that a trained network returns, so that distances lie between 0 and 4.
LENGTH = 2.0
# The small network's own crop: aligned faces where YuNet finds one, the whole photo where it does not.
CNN_CARD = Card(name=CNN, dim=64, size=(48, 48), margin=0.1, detector="yunet", landmarks=True)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What the user asks of a training run; the names are those in the run's `config.json`.

    Attributes:
        folder: A folder of people, as an absolute path.
        name: The name of the model to train.
        base: "cnn" for a small network from scratch, otherwise the model whose vectors a head is trained on.
        unfreeze: How many of ResNet-50's blocks before the head are fine-tuned too.
        single: Whether each photo is a person of its own.
        whole: Whether each photo shows nothing but the face.
        warps: How many augmented views of each photo are made; None for the default. Pixels are augmented
            anew each time they are drawn, so for them it only matters whether this is 0.
        loss: One of `keras_networks.LOSSES`; None for the default.
        margin: The margin of the loss; None for its default.
        rate: Initial learning rate; None for the default.
        epochs: Maximum number of epochs; None for the default.
        batch: Faces in a batch; None for the default.
        patience: Training stops after this many epochs without a better validation; None for the default.
        validation: Share of the people outside the test set who are used for validation.
        test: Share of the people who are held out for the test.
        seed: Seed of the split and of all random draws.

    Example:
        >>> TrainingConfig("/photos/people", "family", epochs=10).base
        'resnet50'
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
    """The defaults for one kind of network.

    Attributes:
        loss: One of `keras_networks.LOSSES`.
        warps: Augmented views of each photo.
        rate: Adam's initial learning rate.
        epochs: Maximum number of epochs.
        batch: Faces in a batch.
        patience: Epochs without a better validation.
    """

    loss: str
    warps: int
    rate: float
    epochs: int
    batch: int
    patience: int


# Augmented views of photos of known people made heads worse: a backbone's vectors of such views are further
# apart than those of other photos of the same people.
HEAD = Defaults("contrastive", warps=0, rate=3e-4, epochs=30, batch=288, patience=10)
# A backbone that already tells people apart is only adjusted.
ADJUSTED = Defaults("contrastive", warps=0, rate=1e-4, epochs=30, batch=288, patience=10)
# Each step goes through the whole backbone, so an epoch takes minutes.
UNFROZEN = Defaults("contrastive", warps=8, rate=1e-5, epochs=6, batch=96, patience=3)
# Trained to the end, as the rate falls: at a high rate, the figures of a few validation people are noise.
SCRATCH = Defaults("supcon", warps=8, rate=2e-3, epochs=20, batch=128, patience=20)
# In an epoch of a network from scratch, whose views are new each time; validation costs as much as some.
LEAST_BATCHES = 20
# Augmented views of people with one photo: the default, and the fewest that can be asked for.
WARPS, LEAST_WARPS = 8, 2
# The arguments `whitening` and `within` of `fit_projection`, for backbones that were trained to recognise
# objects and for those that were trained to recognise people.
OBJECT_BACKBONE, IDENTITY_BACKBONE = (0.9, 0.75), (0.25, 0.0)


def with_defaults(config: TrainingConfig, defaults: Defaults) -> TrainingConfig:
    """Return a configuration in which every setting that was left open has its default.

    Raises:
        DatasetError: There are too few augmented views for people with one photo each.
    """
    given = {name: value for name in asdict(defaults) if (value := getattr(config, name)) is not None}
    filled = replace(config, **{**asdict(defaults), **given})
    if not config.single:
        return filled
    if config.warps is not None and config.warps < LEAST_WARPS:
        raise DatasetError(
            "Each person has only one photo, so at least two warps are needed to make a pair.",
            f"Use --warps {LEAST_WARPS} or more.",
        )
    return replace(filled, warps=filled.warps or WARPS)
