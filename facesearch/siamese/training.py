"""From a folder of people to a model: split, learn, measure on who was held out, store."""

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
from facesearch.evaluate.fitting import fit_calibration
from facesearch.models.card import SLASH, Card, check_name
from facesearch.models.store import ModelStore, Notify
from facesearch.siamese.backbone import Build, Head, head_on_trunk, network_on_pixels
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
    settled,
)
from facesearch.siamese.data import People, Split, people_in, singles_in, split_people
from facesearch.siamese.features import NOBODY, Listener
from facesearch.siamese.figures import Figures, baselines, draw_curves, measure, pairs_of, start_figures
from facesearch.siamese.learning import Faces, Learned
from facesearch.siamese.run import CURVES, MODEL, Run, State

# How the source of a trained model's card begins.
SOURCE = "facesearch train"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a training.

    Attributes:
        card: The model's, as it was stored.
        loss: What was learned by.
        run: The run's folder.
        figures: On the test people: the trained network first, then what it has to beat.
        start: On the same, of the head before its first epoch: a closed form of the same features and people;
            None for a network from scratch.
        at_threshold: Share of right decisions on the test people with the threshold of the validation people.
        split: Who was in which part.
        photos: How many photos were used.
        whole: How many of them show no face that was found.
        unreadable: Photos that cannot be read.
        epochs: How many were run.
        best: The one whose weights were kept, 0 for the start.
        remarks: What is odd about the photos.
    """

    card: Card
    loss: str
    run: str
    figures: tuple[Figures, ...]
    start: Figures | None
    at_threshold: float
    split: Split
    photos: int
    whole: int
    unreadable: tuple[str, ...]
    epochs: int
    best: int
    remarks: tuple[str, ...]


def default_run(name: str) -> Path:
    """Return where a run's folder lies when no other is named."""
    return Path(user_data_dir("facesearch", appauthor=False), "runs", name.replace("/", SLASH))


def train(
    wish: TrainingConfig,
    run: Run,
    *,
    store: ModelStore,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    listener: Listener = NOBODY,
    on_epoch: Callable[[State], None] = lambda state: None,
) -> Result:
    """Train a network on a folder of people and put it into the store.

    Args:
        wish: What is asked.
        run: Its folder.
        store: Where the models lie.
        resume: Whether an interrupted run in that folder goes on.
        force: Whether a model of this name is replaced; one that came out of the run to go on with always is.
        device: "auto", "cpu" or "gpu".
        listener: Who is told of the looking at photos, and of what is out of the ordinary.
        on_epoch: Told of the network before training, and of each epoch.

    Raises:
        FacesearchError: The photos, the base, the run or the disk are not as they have to be.
        KeyboardInterrupt: Ctrl-C before the training itself; during it, it ends the training.
    """
    _check_name(wish.name)
    replaced = force or (resume and _came_of(run, wish.name, store))
    if store.installed(wish.name) and not replaced:
        raise ModelError(
            f"There is a model {wish.name} already.", "Take another --name, or replace it with --force."
        )
    _check_unfreeze(wish)
    people = (singles_in if wish.single else people_in)(wish.folder)
    base = CNN_CARD if wish.base == CNN else _base_card(wish.base, store, listener.notify)
    if wish.whole:
        base = replace(base, detector="whole", margin=0.0, landmarks=False)
    if base.source.startswith(SOURCE):
        listener.notify(
            f"The base {base.name} was trained on people itself: if some of them are held out here, the "
            "figures are too good."
        )
    wish = settled(wish, _defaults(wish, base))
    faces = Faces.found(people, wish, base, store, listener)
    split = split_people(
        faces.person, validation=wish.validation, test=wish.test, seed=wish.seed, single=wish.single
    )
    config = _config(wish, base, people)
    state = run.resume(config) if resume else None
    if state is None:
        run.start(config)
    # TensorFlow is loaded here.
    from facesearch.siamese.keras_training import on_device

    with on_device(device):
        learned = Learned(wish, base, faces, split, store, listener)
        state = learned.run(run, state, on_epoch)
        return _finish(wish, base, people, faces, split, learned, state, run, store, replaced)


def _defaults(wish: TrainingConfig, base: Card) -> Defaults:
    if wish.base == CNN:
        return SCRATCH
    if wish.unfreeze:
        return UNFROZEN
    return ADJUSTED if base.identity else HEAD


def _check_unfreeze(wish: TrainingConfig) -> None:
    if wish.unfreeze and wish.base != "resnet50":
        raise ModelError(
            f"Only the blocks of resnet50 can be unfrozen, not those of {wish.base}.",
            "Leave out --unfreeze, or take --base resnet50.",
        )


def _check_name(name: str) -> None:
    check_name(name)
    if name in (*model_names(), *detector_names(), CNN) or name.startswith("keras/"):
        raise ModelError(
            f"The name {name} is taken by a model that comes with facesearch.", "Take another --name."
        )


def _came_of(run: Run, name: str, store: ModelStore) -> bool:
    """Tell whether the model of a name came out of a run: to go on with it replaces its own."""
    try:
        return store.installed(name) and run.made(store.card(name))
    except ModelBroken:
        return False


def _base_card(name: str, store: ModelStore, notify: Notify) -> Card:
    if not store.installed(name):
        fetch_model(name, store, notify=notify)
    return card_of(name, store)


def _finish(
    wish: TrainingConfig, base: Card, people: People, faces: Faces, split: Split, learned: Learned,
    state: State, run: Run, store: ModelStore, force: bool,
) -> Result:  # fmt: skip
    """Measure on the test people, store the model, and write all down."""
    validated, person = learned.vectors(split.validation)
    about = f"{len(split.validation)} validation people of {os.path.basename(wish.folder)}"
    about = "".join(one if one.isprintable() else "?" for one in about)
    calibration = {
        metric: fit_calibration(
            pairs_of(validated, person, metric), data=about, date=date.today().isoformat(), own=True
        )
        for metric in ("cosine", "euclidean")
    }
    tested, person = learned.vectors(split.test)
    figures = (measure(wish.name, tested, person, "euclidean"), *baselines(base, learned))
    pairs = pairs_of(tested, person, "euclidean")
    right = (pairs.distance <= calibration["euclidean"].threshold) == pairs.same
    at_threshold = float(pairs.weight @ right)
    card = replace(
        base,
        name=wish.name,
        dim=tested.shape[1],
        identity=True,
        metric="euclidean",
        calibration=calibration,
        color="bgr",
        mean=(0.0, 0.0, 0.0),
        scale=(1.0, 1.0, 1.0),
        measured_on=_measured_on(wish, people, faces, split, figures[0]),
        source=f"{SOURCE} --base {wish.base} --loss {wish.loss} --seed {wish.seed}",
        licence="yours" if wish.base == CNN else f"yours; the base's: {base.licence}",
        digest=_digest(base, learned),
        files={},
    )
    stored = store.install(wish.name, _builder(wish, base, card, learned, store), replace_it=force)
    shutil.rmtree(run.folder / MODEL, ignore_errors=True)
    shutil.copytree(store.path(wish.name), run.folder / MODEL)
    draw_curves(state.history, state.best_epoch.number, run.folder / CURVES)
    return Result(
        stored if isinstance(stored, Card) else card,
        str(wish.loss),
        os.fspath(run.folder),
        figures,
        start_figures(learned),
        at_threshold,
        split,
        len(faces.person),
        faces.whole,
        faces.unreadable,
        state.epochs,
        state.best_epoch.number,
        people.remarks,
    )


def _builder(wish: TrainingConfig, base: Card, card: Card, learned: Learned, store: ModelStore) -> Build:
    if learned.start is None or wish.unfreeze:
        return network_on_pixels(learned.network, card)
    return head_on_trunk(store.path(wish.base), base, Head(*_head(learned), LENGTH), card)


def _head(learned: Learned) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights and bias of start and matrix in one."""
    assert learned.start is not None
    (matrix,) = learned.network.get_layer("matrix").get_weights()
    weights = learned.start.projection @ matrix
    return weights, -(learned.start.mean @ weights)


def _config(wish: TrainingConfig, base: Card, people: People) -> dict[str, Any]:
    """Return what makes a run what it is; the name of the model is not part of that."""
    asked = {key: value for key, value in asdict(wish).items() if key not in ("name", "folder")}
    return {"format": 1, **asked, "base_digest": base.digest, "photos": _list_digest(people)}


def _list_digest(people: People) -> str:
    """Return SHA-256 over the photos' names below the folder, with their sizes."""
    state = hashlib.sha256()
    for path in people.paths:
        size = os.path.getsize(path) if os.path.exists(path) else -1
        line = f"{os.path.relpath(path, people.folder)}\0{size}\n"
        state.update(line.encode("utf-8", "surrogateescape"))
    return f"sha256:{state.hexdigest()}"


def _measured_on(wish: TrainingConfig, people: People, faces: Faces, split: Split, figures: Figures) -> str:
    verification = figures.verification
    accuracy = "unknown" if verification.accuracy is None else f"{verification.accuracy:.4f}"
    return (
        f"trained on {len(split.train)} people, {len(faces.person)} photos in all "
        f"({_list_digest(people)[:23]}), seed {wish.seed}; on {len(split.test)} people who were held out: "
        f"accuracy {accuracy}, AUC {verification.figures.auc or 0:.4f}; {date.today().isoformat()}"
    )


def _digest(base: Card, learned: Learned) -> str:
    """Return a digest of all that makes vectors: an index and the kept vectors of photos go by it."""
    made_by = [base.name, base.digest, base.size, base.margin, base.detector, base.landmarks]
    state = hashlib.sha256(json.dumps(made_by).encode())
    in_head_alone = learned.start is not None and learned.faces.pixels is None
    for array in _head(learned) if in_head_alone else learned.network.get_weights():
        state.update(np.ascontiguousarray(array, "<f4").data)
    return f"trained-sha256:{state.hexdigest()}"
