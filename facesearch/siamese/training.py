"""Training from a folder of people to a stored model: split, train, measure on held-out people, store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_dir

from facesearch.detect import detector_names
from facesearch.embed import card_of, fetch_model, model_names
from facesearch.errors import ModelBroken, ModelError
from facesearch.evaluate.evaluation import METRICS
from facesearch.evaluate.fitting import fit_calibration
from facesearch.models.calibration import Calibration
from facesearch.models.card import SLASH, Card, check_name
from facesearch.models.store import ModelStore, Notify
from facesearch.paths import ESCAPES
from facesearch.siamese.backbone import Build, LinearHead, head_on_backbone, pixel_network
from facesearch.siamese.config import (
    ADJUSTED,
    CNN,
    CNN_CARD,
    HEAD,
    LENGTH,
    SCRATCH,
    UNFROZEN,
    Defaults,
    TrainingConfig,
    with_defaults,
)
from facesearch.siamese.data import LabelledPhotos, Split, photos_of_people, photos_of_singles, split_people
from facesearch.siamese.features import SILENT, Listener
from facesearch.siamese.figures import Figures, draw_curves, measure, pairs_of
from facesearch.siamese.learning import Learner, TrainingFaces
from facesearch.siamese.run import CURVES, MODEL, Run, TrainingState

# The beginning of `source` in a trained model's card.
SOURCE = "facesearch train"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The results of a training run.

    Attributes:
        card: The model's card, as it was stored.
        loss: The loss that was minimised.
        run: The run's folder.
        figures: Figures on the test people: the trained network first, then the baselines.
        projection: Those of the head before its first epoch; None for a network from scratch.
        at_threshold: Share of correct decisions on the test people at the validation people's threshold.
        split: The people of each part.
        photos: The number of photos that were used.
        whole: How many of them show no detected face and were used whole.
        unreadable: Photos that cannot be read.
        epochs: The number of epochs.
        best: The epoch whose weights were kept, 0 for the network before training.
        remarks: What is unusual about the photos, in sentences.
    """

    card: Card
    loss: str
    run: str
    figures: tuple[Figures, ...]
    projection: Figures | None
    at_threshold: float
    split: Split
    photos: int
    whole: int
    unreadable: tuple[str, ...]
    epochs: int
    best: int
    remarks: tuple[str, ...]


def default_run(name: str) -> Path:
    """Return the folder of a model's run, where the user names no other."""
    return Path(user_data_dir("facesearch", appauthor=False), "runs", name.replace("/", SLASH))


def train(
    config: TrainingConfig,
    run: Run,
    *,
    store: ModelStore,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    listener: Listener = SILENT,
    on_epoch: Callable[[TrainingState], None] = lambda state: None,
) -> TrainingResult:
    """Train a network on a folder of people and put it into the model store.

    Args:
        config: What the user asks for.
        run: The run's folder.
        store: The model store.
        resume: Whether to resume an interrupted run in that folder.
        force: Whether to replace a model of this name. A model that the resumed run produced is always
            replaced.
        device: "auto", "cpu" or "gpu".
        listener: Callbacks for progress and for messages about unusual events.
        on_epoch: Called with the state before training, and after each epoch.

    Raises:
        FacesearchError: The photos, the base model, the run or the disk cannot be used.
        KeyboardInterrupt: Ctrl-C before the training itself; during it, Ctrl-C ends the training.

    Example:
        >>> config = TrainingConfig("/photos/people", "family")
        >>> result = train(config, Run(default_run("family")), store=ModelStore())
        >>> result.figures[0].verification.accuracy
        0.958
    """
    _check_name(config.name)
    replace_it = force or (resume and _produced(run, config.name, store))
    if store.installed(config.name) and not replace_it:
        raise ModelError(
            f"There is already a model named {config.name}.",
            "Use another --name, or replace it with --force.",
        )
    _check_unfreeze(config)
    photos = (photos_of_singles if config.single else photos_of_people)(config.folder)
    base = _base_card(config, store, listener.notify)
    config = with_defaults(config, _defaults(config, base))
    faces = TrainingFaces.extract(photos, config, base, store, listener)
    split = split_people(
        faces.person, validation=config.validation, test=config.test, seed=config.seed, single=config.single
    )
    as_json = _as_json(config, base, photos)
    state = run.resume(as_json) if resume else None
    if state is None:
        run.start(as_json)
    # TensorFlow is loaded here.
    from facesearch.siamese.keras_training import on_device

    with on_device(device):
        learner = Learner(config, base, faces, split, store, listener)
        state = learner.run(run, state, on_epoch)
        return _measure_and_store(learner, base, photos, state, run, store, replace_it=replace_it)


def _check_name(name: str) -> None:
    check_name(name)
    if name in (*model_names(), *detector_names(), CNN) or name.startswith("keras/"):
        raise ModelError(
            f"The name {name} is taken by a model that comes with facesearch.", "Use another --name."
        )


def _check_unfreeze(config: TrainingConfig) -> None:
    if config.unfreeze and config.base != "resnet50":
        raise ModelError(
            f"Only blocks of resnet50 can be unfrozen, not those of {config.base}.",
            "Leave out --unfreeze, or use --base resnet50.",
        )


def _produced(run: Run, name: str, store: ModelStore) -> bool:
    """Return whether a run produced the stored model of this name, which resuming it then replaces."""
    try:
        return store.installed(name) and run.produced(store.card(name))
    except ModelBroken:
        return False


def _base_card(config: TrainingConfig, store: ModelStore, notify: Notify) -> Card:
    """Return the base model's card, fetching the model where it is missing."""
    if config.base == CNN:
        base = CNN_CARD
    else:
        if not store.installed(config.base):
            fetch_model(config.base, store, notify=notify)
        base = card_of(config.base, store)
    if base.source.startswith(SOURCE):
        notify(
            f"The base {base.name} was itself trained on people: if some of them are held out here, the "
            "figures are too good."
        )
    return replace(base, detector="whole", margin=0.0, landmarks=False) if config.whole else base


def _defaults(config: TrainingConfig, base: Card) -> Defaults:
    if config.base == CNN:
        return SCRATCH
    if config.unfreeze:
        return UNFROZEN
    return ADJUSTED if base.identity else HEAD


def _measure_and_store(
    learner: Learner, base: Card, photos: LabelledPhotos, state: TrainingState, run: Run, store: ModelStore,
    *, replace_it: bool,
) -> TrainingResult:  # fmt: skip
    """Measure the network on the test people, store the model, and copy it into the run's folder."""
    config, split = learner.config, learner.split
    calibration = _calibration(learner)
    tested, person = learner.vectors(split.test)
    figures = (measure(config.name, tested, person, "euclidean"), *learner.baselines(base))
    pairs = pairs_of(tested, person, "euclidean")
    correct = (pairs.distance <= calibration["euclidean"].threshold) == pairs.same
    card = replace(
        base,
        name=config.name,
        dim=tested.shape[1],
        identity=True,
        metric="euclidean",
        calibration=calibration,
        color="bgr",
        mean=(0.0, 0.0, 0.0),
        scale=(1.0, 1.0, 1.0),
        measured_on=_measured_on(learner, photos, figures[0]),
        source=f"{SOURCE} --base {config.base} --loss {config.loss} --seed {config.seed}",
        licence="yours" if config.base == CNN else f"yours; the base's: {base.licence}",
        digest=_model_digest(base, learner),
        files={},
    )
    stored = store.install(config.name, _builder(base, card, learner, store), replace_it=replace_it)
    shutil.rmtree(run.folder / MODEL, ignore_errors=True)
    shutil.copytree(store.path(config.name), run.folder / MODEL)
    draw_curves(state.history, state.best_epoch.number, run.folder / CURVES)
    return TrainingResult(
        card=stored if isinstance(stored, Card) else card,
        loss=str(config.loss),
        run=os.fspath(run.folder),
        figures=figures,
        projection=learner.projection_figures(),
        at_threshold=float(pairs.weight @ correct),
        split=split,
        photos=len(learner.faces.person),
        whole=learner.faces.whole,
        unreadable=learner.faces.unreadable,
        epochs=state.epochs,
        best=state.best_epoch.number,
        remarks=photos.remarks,
    )


def _calibration(learner: Learner) -> dict[str, Calibration]:
    """Fit thresholds and probabilities to the validation people, for each metric."""
    vectors, person = learner.vectors(learner.split.validation)
    people = f"{len(learner.split.validation)} validation people of {os.path.basename(learner.config.folder)}"
    data = "".join(one if one.isprintable() else "?" for one in people)
    today = date.today().isoformat()
    return {
        metric: fit_calibration(pairs_of(vectors, person, metric), data=data, date=today, own=True)
        for metric in METRICS
    }


def _builder(base: Card, card: Card, learner: Learner, store: ModelStore) -> Build:
    if learner.projection is None or learner.config.unfreeze:
        return pixel_network(learner.network, card)
    head = LinearHead(*_head(learner), LENGTH)
    return head_on_backbone(store.path(learner.config.base), base, head, card)


def _head(learner: Learner) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights and the bias of projection and trained matrix combined."""
    assert learner.projection is not None
    (matrix,) = learner.network.get_layer("matrix").get_weights()
    weights = learner.projection.matrix @ matrix
    return weights, -(learner.projection.mean @ weights)


def _as_json(config: TrainingConfig, base: Card, photos: LabelledPhotos) -> dict[str, Any]:
    """Return what has to be equal for a run to be resumed; the name of the model is not part of it."""
    asked = {key: value for key, value in asdict(config).items() if key not in ("name", "folder")}
    return {"format": 1, **asked, "base_digest": base.digest, "photos": _photos_digest(photos)}


def _photos_digest(photos: LabelledPhotos) -> str:
    """Return SHA-256 over the photos' relative paths and sizes."""
    state = hashlib.sha256()
    for path in photos.paths:
        size = os.path.getsize(path) if os.path.exists(path) else -1
        line = f"{os.path.relpath(path, photos.folder)}\0{size}\n"
        state.update(line.encode("utf-8", ESCAPES))
    return f"sha256:{state.hexdigest()}"


def _measured_on(learner: Learner, photos: LabelledPhotos, figures: Figures) -> str:
    verification, split = figures.verification, learner.split
    accuracy = "unknown" if verification.accuracy is None else f"{verification.accuracy:.4f}"
    return (
        f"trained on {len(split.train)} people, {len(learner.faces.person)} photos in all "
        f"({_photos_digest(photos)[:23]}), seed {learner.config.seed}; on {len(split.test)} people who were "
        f"held out: accuracy {accuracy}, AUC {verification.figures.auc or 0:.4f}; {date.today().isoformat()}"
    )


def _model_digest(base: Card, learner: Learner) -> str:
    """Return a digest of everything that determines the vectors; indexes and caches are matched by it."""
    made_by = [base.name, base.digest, base.size, base.margin, base.detector, base.landmarks]
    state = hashlib.sha256(json.dumps(made_by).encode())
    head_alone = learner.projection is not None and learner.faces.pixels is None
    for array in _head(learner) if head_alone else learner.network.get_weights():
        state.update(np.ascontiguousarray(array, "<f4").data)
    return f"trained-sha256:{state.hexdigest()}"
