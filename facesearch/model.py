"""A model in use: its name, its card, and the pipelines that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from facesearch.detect import Detector, detector_names, detector_recipe, gives_landmarks, open_detector
from facesearch.embed import BackgroundEmbedder, Embedder, card_of, fetch_model, model_names, open_embedder
from facesearch.errors import FacesearchError, ModelError
from facesearch.index.meta import JsonScalar, Meta
from facesearch.machine import processor_limit, processors
from facesearch.models.card import Card, StoredCard
from facesearch.models.store import ModelStore, Notify, silent
from facesearch.photos.kinds import FRAMES, RATE
from facesearch.pipeline import DEFAULT_BATCH, Choice, Pipeline, all_faces, largest_face

if TYPE_CHECKING:
    from facesearch.models.card import Card


# Settings of an index that are the pipeline's own.
_OF_PIPELINE = frozenset({"faces", "margin"})

FacesWanted = Literal["all", "largest"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the network is run.

    Attributes:
        runtime: "openvino", or "tensorflow" for the Keras model itself.
        precision: "auto" (the index's, or the fastest), "f32", "bf16" or "f16".
        device: The OpenVINO device.
        jobs: Threads that decode and detect; 0 for one per core.
        video_rate: How many frames a second of a clip are looked at, at most.
        frames: How many frames of an animation, or pages of a file; 0 for all.
        batch: Faces in one call of the network.
    """

    runtime: str = "openvino"
    precision: str = "auto"
    device: str = "CPU"
    jobs: int = 0
    video_rate: float = RATE
    frames: int = FRAMES
    batch: int = DEFAULT_BATCH

    @property
    def looking(self) -> str:
        """How films and animations are looked at; see `Meta.looking`."""
        return f"{self.video_rate:g} frames a second of films, {self.frames or 'all'} of animations"


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """How faces are detected; None keeps the index's own setting, or takes the default for a new index.

    Attributes:
        detector: The detector's name; by default the one in the model's card.
        min_face: The smallest face to detect, in pixels of the photo.
        faces: Which faces of a photo are indexed.
        rotations: Whether faces in the other three orientations are searched for; see the detector.
        own: Further settings of the detector, by name.
    """

    detector: str | None = None
    min_face: int | None = None
    faces: FacesWanted | None = None
    rotations: bool | None = None
    own: Mapping[str, JsonScalar] = field(default_factory=dict)


def make_meta(card: Card, detection: DetectionSettings, held: Meta | None) -> Meta:
    """Return the settings that make an index: those asked for, else its own, else the defaults.

    Args:
        card: The model's card.
        detection: What is asked for.
        held: The index's own settings; None for a new index.
    """
    # min_face 0 leaves it to the detector.
    settings = {"min_face": 0, "faces": "all", "rotations": False, **(held.settings if held else {})}
    asked = {"min_face": detection.min_face, "faces": detection.faces, "rotations": detection.rotations}
    settings.update({name: value for name, value in asked.items() if value is not None})
    settings.update(detection.own)
    settings["margin"] = card.margin
    detector = detection.detector or (held.detector if held else card.detector)
    precision = held.precision if held else ""
    return Meta(card.name, card.digest, card.dim, detector, settings, precision=precision)


def make_pipeline(
    meta: Meta,
    embedder: Embedder,
    runtime: Runtime,
    *,
    store: ModelStore | None = None,
    notify: Notify = silent,
    whole: bool = False,
) -> Pipeline:
    """Build the pipeline that makes an index, or that processes references for it.

    Args:
        meta: The settings that made the index.
        embedder: The model.
        runtime: How the model is run.
        store: The networks of this machine.
        notify: Called with a sentence about a network that is fetched.
        whole: Whether each photo as a whole is a face.

    Raises:
        FacesearchError: There is no such detector.
        ModelError: The model needs aligned faces, and the detector gives no landmarks.
        FetchFailed: The detector's network is missing and could not be fetched.
    """
    detector: Detector | None = None
    if not whole:
        _check_landmarks(embedder.card, meta.detector)
        # All settings but the pipeline's own are the detector's; min_face 0 is left to it.
        settings = {name: value for name, value in meta.settings.items() if name not in _OF_PIPELINE}
        if not settings.get("min_face"):
            settings.pop("min_face", None)
        detector = open_detector(meta.detector, settings, store=store, notify=notify)
    choose: Choice = largest_face if meta.settings.get("faces") == "largest" else all_faces
    # A reference is cropped as the index's faces were, also where a newer card says otherwise.
    margin = meta.settings.get("margin")
    return Pipeline(
        detector,
        embedder,
        choose,
        jobs=runtime.jobs,
        video_rate=runtime.video_rate,
        frames=runtime.frames,
        batch=runtime.batch,
        margin=float(margin) if isinstance(margin, int | float) else None,
    )


def _check_landmarks(card: Card, detector: str) -> None:
    if card.landmarks and not gives_landmarks(detector):
        raise ModelError(
            f"The model {card.name} wants faces aligned by landmarks; the detector {detector} gives none.",
            f"Leave out --detector, for {card.detector}.",
        )


@dataclass(frozen=True)
class Model:
    """A model by its name, opened when it is first needed, and fetched if it is missing.

    Attributes:
        name: One of `embed.MODELS`, or any model of the store.
        store: The networks of this machine.
        runtime: How the network is run.
        notify: Called with a sentence about anything that takes a while, such as a fetch.
    """

    name: str
    store: ModelStore = field(default_factory=ModelStore)
    runtime: Runtime = field(default_factory=Runtime)
    notify: Callable[[str], None] = silent
    _embedders: dict[tuple[int, str], Embedder] = field(default_factory=dict)

    @cached_property
    def card(self) -> Card:
        """The model's card.

        Raises:
            UnknownModel: There is no such model.
            ModelBroken: Its card or files are not in order.
        """
        return card_of(self.name, self.store)

    def pipeline(self, meta: Meta | None = None, *, few: bool = False, whole: bool = False) -> Pipeline:
        """Build a pipeline.

        Args:
            meta: The settings of the index that it is for; None for the model's defaults.
            few: Whether it is for a few photos: one inference at a time then answers soonest.
            whole: Whether each photo as a whole is a face.

        Raises:
            ModelError: The model needs aligned faces, and the detector gives no landmarks.
        """
        meta = meta or make_meta(self.card, DetectionSettings(), None)
        streams = 1 if few else self.runtime.jobs or processors()
        return make_pipeline(
            meta,
            self._embedder(streams, meta.precision),
            self.runtime,
            store=self.store,
            notify=self.notify,
            whole=whole,
        )

    def _embedder(self, streams: int, usual: str) -> Embedder:
        if (streams, usual) not in self._embedders:

            def opening() -> Embedder:
                return open_embedder(
                    self.name,
                    store=self.store,
                    runtime=self.runtime.runtime,
                    precision=self.runtime.precision,
                    usual=usual,
                    device=self.runtime.device,
                    streams=streams,
                    threads=self.runtime.jobs or processor_limit(),
                    notify=self.notify,
                )

            # A model that has to be fetched is opened here and now: its messages come before the work.
            here = self.store.installed(self.name)
            opened = BackgroundEmbedder(self.card, opening) if here else opening()
            self._embedders[streams, usual] = opened
        return self._embedders[streams, usual]


@dataclass(frozen=True, slots=True)
class Listed:
    """A network in a list.

    Attributes:
        name: Its name.
        state: "here", "to fetch", or "broken".
        facts: A few words about it; for a broken one, what is wrong.
        card: Its card; None for a broken one.
        seconds: What a face takes on this machine in each precision, as far as that was measured.
    """

    name: str
    state: str
    facts: str
    card: StoredCard | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a form for JSON, without the card's list of files."""
        known = {"kind": self.card.kind, **asdict(self.card)} if self.card else {}
        known.pop("files", None)
        told = {"name": self.name, "state": self.state, "facts": self.facts, "card": known or None}
        return told | ({"seconds_a_face": dict(self.seconds)} if self.seconds else {})


def list_all(store: ModelStore) -> list[Listed]:
    """List the networks of the store and those that can be fetched by a plain name, sorted by name.

    A plug-in that cannot be loaded is listed as broken.
    """
    listed = {name: _listed(name, store) for name in {*model_names(), *store.names()}}
    for name in detector_names():
        try:
            if detector_recipe(name):
                listed[name] = _listed(name, store)
        except FacesearchError as error:
            listed[name] = Listed(name, "broken", error.message, None)
    return [listed[name] for name in sorted(listed)]


def fetch(name: str, store: ModelStore, *, notify: Callable[[str], None] = silent) -> None:
    """Fetch a network by its name; for a model, fetch the detector that it was measured with too.

    Raises:
        UnknownModel: No network of this name can be fetched.
        FetchFailed: No source delivered it.
    """
    if recipe := detector_recipe(name):
        store.fetch(recipe, notify=notify)
        return
    card = fetch_model(name, store, notify=notify)
    if recipe := detector_recipe(card.detector):
        store.fetch(recipe, notify=notify)


def _listed(name: str, store: ModelStore) -> Listed:
    try:
        state = "here" if store.installed(name) else "to fetch"
        if recipe := detector_recipe(name):
            card = store.detector_card(name) if state == "here" else recipe.card
            return Listed(name, state, "detector, gives boxes and landmarks", card)
        model = card_of(name, store)
        seconds = _seconds(model) if state == "here" else {}
        return Listed(name, state, _facts(model) + _speed(seconds), model, seconds)
    except FacesearchError as error:
        return Listed(name, "broken", error.message, None)


def _seconds(card: Card) -> Mapping[str, float]:
    from facesearch.embed.openvino_runtime import timings_of

    return timings_of(card).seconds


def _speed(seconds: Mapping[str, float]) -> str:
    fastest_first = sorted(seconds.items(), key=lambda item: item[1])
    told = ", ".join(f"{name} {1000 * value:.1f} ms a face" for name, value in fastest_first)
    return f"; here {told}" if told else ""


def _facts(card: Card) -> str:
    height, width = card.size
    measures = "who it is" if card.identity else "how alike faces look"
    return f"{measures}: {card.dim} numbers of {height}x{width} pixels, faces by {card.detector}"
