"""A library: photos on disk, the index that knows their faces, and the model that made it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_data_dir

from facesearch.detect import Detector, open_detector
from facesearch.embed import Embedder, card_of, open_embedder
from facesearch.errors import (
    FacesearchError,
    IndexMissing,
    ModelMismatch,
    NoFace,
    PhotoError,
    StorageError,
    UnreadablePhoto,
    storage_error,
)
from facesearch.faces import Face, PhotoFaces, Status
from facesearch.index.layout import Layout, Meta
from facesearch.index.store import IndexWriter, discard, index_meta, open_index
from facesearch.models.store import ModelStore, silent
from facesearch.pipeline import DEFAULT_BATCH, Choice, Pipeline, all_faces, largest_face
from facesearch.search import Answer, Question, Reference, search
from facesearch.update import Plan, Report, Wanted, make_plan, update_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesearch.models.card import Card

DEFAULT_MODEL = "resnet50"
# What an index holds to when nothing else is said; `min_face` 0 leaves it to the detector.
DEFAULT_FACES = "all"

FacesWanted = Literal["all", "largest"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the network is run.

    Attributes:
        runtime: "openvino", or "tensorflow" for the Keras model itself.
        precision: "auto" (bf16 where the processor has it), "f32" or "bf16".
        device: The OpenVINO device.
        jobs: Threads that decode and detect; 0 takes one for each core.
        batch: Faces in one call of the network.
    """

    runtime: str = "openvino"
    precision: str = "auto"
    device: str = "CPU"
    jobs: int = 0
    batch: int = DEFAULT_BATCH


@dataclass(frozen=True, slots=True)
class Looking:
    """How faces are looked for; None takes what the index holds to, or the default for a new one.

    Attributes:
        detector: The detector's name; by default the one that the model's card names.
        min_face: The smallest face, in pixels of the photo's longer side at most the detector's.
        faces: Which faces of a photo are taken.
        rotations: Whether a photo without an upright face is looked at in the other three orientations.
    """

    detector: str | None = None
    min_face: int | None = None
    faces: FacesWanted | None = None
    rotations: bool | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a query.

    Attributes:
        answers: One for each face that was looked for, in the order of the references.
        problems: References that gave no face to look for, with the reason.
    """

    answers: tuple[Answer, ...]
    problems: tuple[tuple[str, PhotoError], ...]


class Library:
    """An index and what goes with it.

    Args:
        index: The index file; else the environment's FACESEARCH_INDEX, else the model's own in the user's
            data folder.
        model: The model's name. An index remembers its model; where there is none yet, the environment's
            FACESEARCH_MODEL, else resnet50.
        store: Where the models lie.
        runtime: How the network is run.
        notify: Is told, in sentences, of what takes a while (a model that is fetched).

    Raises:
        ModelMismatch: The index was made with another model than the one asked for.
        IndexFileError: There is a file, and it cannot be used.
    """

    def __init__(
        self,
        index: str | os.PathLike[str] | None = None,
        model: str | None = None,
        *,
        store: ModelStore | None = None,
        runtime: Runtime | None = None,
        notify: Callable[[str], None] = silent,
    ) -> None:
        self._store = store or ModelStore()
        self._runtime = runtime or Runtime()
        self._notify = notify
        named = os.fspath(index) if index else os.environ.get("FACESEARCH_INDEX")
        fallback = model or os.environ.get("FACESEARCH_MODEL") or DEFAULT_MODEL
        self.index_path = Path(os.path.abspath(named)) if named else default_index(fallback)
        self._asked, self._fallback = model, fallback

    @cached_property
    def model(self) -> str:
        """Give the model's name.

        Raises:
            ModelMismatch: The index was made with another model than the one asked for.
        """
        meta = index_meta(self.index_path)
        if meta is not None and self._asked and meta.model != self._asked:
            raise ModelMismatch(
                f"The index {os.fspath(self.index_path)!r} was made with the model {meta.model!r}, "
                f"and {self._asked!r} is asked for.",
                "Leave out --model, or give each model an index of its own.",
            )
        return meta.model if meta is not None else self._fallback

    @cached_property
    def card(self) -> Card:
        """Give the model's card."""
        return card_of(self.model, self._store)

    @cached_property
    def layout(self) -> Layout:
        """Give the index, mapped from its file.

        Raises:
            IndexFileError: There is none, or it cannot be used.
            ModelMismatch: It was made with other weights than those that are here.
        """
        layout = self.opened()
        card = self.card
        if (layout.meta.model_digest, layout.meta.dim) != (card.digest, card.dim):
            raise ModelMismatch(
                f"The index {os.fspath(self.index_path)!r} was made with other weights of {self.model!r} "
                "than those that are here.",
                f"Run `facesearch models fetch {self.model}`, or embed everything anew with --rebuild.",
            )
        return layout

    def opened(self) -> Layout:
        """Give the index as it lies there, whatever model is here.

        Raises:
            IndexFileError: There is none, or it cannot be used.
        """
        self.model  # noqa: B018 (another model than the one asked for is an error)
        return open_index(self.index_path)

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]] | Wanted,
        looking: Looking | None = None,
        *,
        rebuild: bool = False,
        on_plan: Callable[[Plan], None] = lambda plan: None,
        on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
    ) -> Report:
        """Bring the index up to date with folders and files; it is made when there is none.

        Args:
            paths: What to take in.
            looking: How faces are looked for.
            rebuild: Embed everything anew, all roots of the present index included; it serves queries
                until the new one is whole, and an interrupted rebuild goes on where it was.
            on_plan: Told what there is to do.
            on_photo: Told of each photo that was looked at.

        Raises:
            IndexConflict: The index was made with other settings.
            FacesearchError: The index, the model or the disk is not as it has to be.
        """
        wanted = paths if isinstance(paths, Wanted) else Wanted(absolute(paths))
        looking = looking or Looking()
        target = self.index_path
        if rebuild:
            wanted, target = self._begin_rebuild(wanted, looking)
        meta = self._meta(looking, None if rebuild else index_meta(target))
        report = update_index(
            target, meta, wanted, lambda: self._pipeline(meta), on_plan=on_plan, on_photo=on_photo
        )
        if rebuild and not report.interrupted:
            self._end_rebuild(target)
        self.__dict__.pop("layout", None)
        return report

    def plan(self, paths: Iterable[str | os.PathLike[str]] | Wanted, looking: Looking | None = None) -> Plan:
        """Say what `index` would do; opens no photo and writes nothing."""
        wanted = paths if isinstance(paths, Wanted) else Wanted(absolute(paths))
        meta = self._meta(looking or Looking(), index_meta(self.index_path))
        try:
            layout = open_index(self.index_path)
        except IndexMissing:
            from facesearch.index.layout import empty_layout

            layout = empty_layout(meta)
        return make_plan(layout, wanted)[1]

    def query(
        self,
        references: Sequence[str | os.PathLike[str]],
        question: Question | None = None,
        *,
        face: int | Literal["largest", "all"] = "largest",
        whole: bool = False,
        rotations: bool | None = None,
        on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
    ) -> Answers:
        """Find the faces of the index that are nearest to those of some photos.

        Args:
            references: Photos that show whom to look for.
            question: What is asked; by default the four nearest photos by the model's own metric.
            face: Which face of each reference: a number (1 for the largest), "largest" or "all".
            whole: Whether each reference as a whole is the face, cut out already.
            rotations: Whether references are looked at in all four orientations; None as the index holds.
            on_photo: Told of each reference that was looked at.

        Raises:
            FacesearchError: The index or the model is not as it has to be.
        """
        layout = self.layout
        question = question or Question(metric=self.card.metric)
        meta = layout.meta
        if rotations is not None:
            meta = replace(meta, settings={**meta.settings, "rotations": rotations})
        pipeline = replace(self._pipeline(meta, whole=whole), choose=_chosen(face))
        found: list[Reference] = []
        problems: list[tuple[str, PhotoError]] = []
        for photo in pipeline.run(absolute(references)):
            on_photo(photo)
            if photo.status is Status.OK and photo.vectors is not None:
                first = face if isinstance(face, int) else 1
                found.extend(
                    Reference(photo.path, first + number, one.box, photo.vectors[number])
                    for number, one in enumerate(photo.faces)
                )
            else:
                problems.append((photo.path, _problem(photo, face)))
        return Answers(tuple(search(layout, found, question)), tuple(problems))

    def forget(self, paths: Iterable[str | os.PathLike[str]]) -> list[str]:
        """Remove photos for good, their copies too, and keep only digests, so as not to take them in again.

        Args:
            paths: Photos, or folders for all below them; they need not exist any more.

        Returns:
            The paths that were removed.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            StorageError: The file cannot be rewritten.
        """
        from facesearch.index.roots import is_within

        with IndexWriter(self.index_path) as writer:
            layout = writer.layout
            folders = [os.fsencode(path) for path in absolute(paths)]
            named = [
                row
                for row in range(layout.photo_count)
                if any(is_within(layout.path_bytes(row), folder) for folder in folders)
            ]
            digests = {layout.digest[row].tobytes() for row in named} - {bytes(16)}
            gone = [
                row
                for row in range(layout.photo_count)
                if row in set(named) or layout.digest[row].tobytes() in digests
            ]
            for row in gone:
                writer.drop(layout.path(row))
            writer.forget(digests)
            writer.commit()
        discard(_rebuild_path(self.index_path))
        self.__dict__.pop("layout", None)
        return [layout.path(row) for row in gone]

    def move_root(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Let what lay below one folder lie below another; no face is embedded again.

        Returns:
            How many photos the index now has there.

        Raises:
            IndexFileError: There is no index, it cannot be used, or holds nothing below `old`.
            StorageError: The file cannot be rewritten.
        """
        from facesearch.index.roots import is_within

        before, after = absolute([old])[0], absolute([new])[0]
        with IndexWriter(self.index_path) as writer:
            folder = os.fsencode(before)
            layout = writer.layout
            count = sum(is_within(layout.path_bytes(row), folder) for row in range(layout.photo_count))
            if not count:
                raise FacesearchError(
                    f"The index holds no photo below {before!r}.",
                    "`facesearch info` lists its roots.",
                )
            writer.move_root(before, after)
            writer.commit()
        self.__dict__.pop("layout", None)
        return count

    def _meta(self, looking: Looking, held: Meta | None) -> Meta:
        """Give what makes the index: what is asked for, else what it holds to, else the default."""
        card = self.card
        settings = dict(held.settings) if held is not None else {}
        settings.setdefault("min_face", 0)
        settings.setdefault("faces", DEFAULT_FACES)
        settings.setdefault("rotations", False)
        settings["margin"] = card.margin
        asked = {
            "min_face": looking.min_face,
            "faces": looking.faces,
            "rotations": looking.rotations,
        }
        settings.update({name: value for name, value in asked.items() if value is not None})
        detector = looking.detector or (held.detector if held is not None else card.detector)
        return Meta(card.name, card.digest, card.dim, detector, settings)

    def _pipeline(self, meta: Meta, *, whole: bool = False) -> Pipeline:
        embedder = self._embedder
        detector: Detector | None = None
        if not whole:
            settings: dict[str, object] = {"rotations": meta.settings.get("rotations", False)}
            if meta.settings.get("min_face"):
                settings["min_face"] = meta.settings["min_face"]
            detector = open_detector(meta.detector, **settings)
        choose: Choice = largest_face if meta.settings.get("faces") == "largest" else all_faces
        return Pipeline(detector, embedder, choose, jobs=self._runtime.jobs, batch=self._runtime.batch)

    @cached_property
    def _embedder(self) -> Embedder:
        if not self._store.installed(self.model):
            # Fetched here and now, so that its progress and its errors are not lost in a thread.
            return self._open_embedder()
        return _OpeningEmbedder(self.card, self._open_embedder)

    def _open_embedder(self) -> Embedder:
        how = self._runtime
        return open_embedder(
            self.model,
            store=self._store,
            runtime=how.runtime,
            precision=how.precision,
            device=how.device,
            notify=self._notify,
        )

    def _begin_rebuild(self, wanted: Wanted, looking: Looking) -> tuple[Wanted, Path]:
        """Give what a rebuild takes in, the present index's roots too, and the file that it is made in."""
        target = _rebuild_path(self.index_path)
        try:
            held = open_index(self.index_path).meta.roots
        except (IndexMissing, FacesearchError):
            held = ()  # there is none, or it is what the rebuild is to replace
        missing = [root for root in held if not os.path.isdir(root)]
        if missing and not wanted.prune:
            raise FacesearchError(
                f"{missing[0]!r}, which the index covers, is not there, and a rebuild would lose its photos.",
                "Bring it back, tell its new place with `facesearch move-root`, or add --prune.",
            )
        begun = index_meta(target)
        if begun is not None and begun.settings != self._meta(looking, None).settings:
            discard(target)
        there = tuple(root for root in held if root not in missing)
        return replace(wanted, paths=tuple(dict.fromkeys((*there, *wanted.paths)))), target

    def _end_rebuild(self, target: Path) -> None:
        try:
            forgotten = {digest.tobytes() for digest in open_index(self.index_path).forgotten}
        except FacesearchError:
            forgotten = set()
        with IndexWriter(target) as writer:
            writer.forget(forgotten)
            writer.commit()
        try:
            os.replace(target, self.index_path)
            target.with_name(target.name + ".lock").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.index_path, error) from error


def default_index(model: str) -> Path:
    """Give where a model's index lies when no other file is named."""
    return Path(user_data_dir("facesearch", appauthor=False)) / f"{model.replace('/', '_')}.npz"


def absolute(paths: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Give paths absolute, links kept, each once and in order."""
    return tuple(dict.fromkeys(os.path.abspath(path) for path in paths))


def _rebuild_path(index: Path) -> Path:
    return index.with_name(f"{index.stem}.rebuild{index.suffix}")


def _chosen(face: int | Literal["largest", "all"]) -> Choice:
    if face == "all":
        return all_faces
    if face == "largest":
        return largest_face
    number = face

    def numbered(faces: Sequence[Face]) -> Sequence[Face]:
        return faces[number - 1 : number]

    return numbered


def _problem(photo: PhotoFaces, face: int | Literal["largest", "all"]) -> PhotoError:
    if photo.status is Status.UNREADABLE:
        return UnreadablePhoto(f"{photo.path}: {photo.reason}")
    if isinstance(face, int) and face > 1:
        return NoFace(f"{photo.path}: There is no face number {face}.", "Leave out --face for the largest.")
    return NoFace(
        f"{photo.path}: No face was found.",
        "Try --rotations, or --whole when the photo is nothing but the face.",
    )


class _OpeningEmbedder(Embedder):
    """A model that is opened in the background while the first photos are read."""

    def __init__(self, card: Card, opening: Callable[[], Embedder]) -> None:
        self.card = card
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open-model")
        self._opened: Future[Embedder] = self._thread.submit(opening)
        self._thread.shutdown(wait=False)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._opened.result().embed(crops)


__all__ = ["Answers", "Library", "Looking", "Runtime", "StorageError", "absolute", "default_index"]
