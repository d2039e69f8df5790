"""A library: photos on disk, the index that knows their faces, and the model that made it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from platformdirs import user_data_dir

from facesearch.errors import IndexFileError, IndexMissing, ModelMismatch
from facesearch.faces import Answers, PhotoFaces
from facesearch.index import changes as edit
from facesearch.index.backend import IndexBackend, SearchableIndex, is_url, open_backend
from facesearch.index.index import Index, empty_index
from facesearch.index.meta import Meta
from facesearch.index.npz.backend import NpzBackend
from facesearch.index.npz.writer import check_same_making
from facesearch.model import DetectionSettings, Model, Runtime, make_meta
from facesearch.models.store import ModelStore, silent
from facesearch.photos.urls import absolute_path
from facesearch.pipeline import PhotoProcessor
from facesearch.search import FaceWanted, Question, find_references, search
from facesearch.show.thumbnails import Thumbnails
from facesearch.update import IndexRequest, Plan, Report, make_plan, rebuild_index, update_index, with_known

if TYPE_CHECKING:
    from facesearch.models.card import Card

DEFAULT_MODEL = "resnet50"

Searched = TypeVar("Searched", Index, Index | SearchableIndex)


class Library:
    """An index and what goes with it.

    Args:
        index: The index: a file, or a URL like milvus://HOST:PORT/COLLECTION; else the environment's
            FACESEARCH_INDEX, else the model's own in the user's data folder.
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
        self.backend = _backend(named or default_index(fallback))
        self._asked, self._fallback = model, fallback

    @cached_property
    def model_name(self) -> str:
        """The model's name.

        Raises:
            ModelMismatch: The index was made with another model than the one asked for.
        """
        meta = self.backend.meta()
        if meta is not None and self._asked and meta.model != self._asked:
            raise ModelMismatch(
                f"The index {self.backend.name!r} was made with the model {meta.model!r}, "
                f"and {self._asked!r} is asked for.",
                "Leave out --model, or give each model an index of its own.",
            )
        return meta.model if meta is not None else self._fallback

    @cached_property
    def model(self) -> Model:
        """The model in use."""
        return Model(self.model_name, self._store, self._runtime, self._notify)

    @property
    def card(self) -> Card:
        """The model's card."""
        return self.model.card

    @cached_property
    def contents(self) -> Index:
        """The index, mapped from its file.

        Raises:
            IndexFileError: There is none, or it cannot be used.
            ModelMismatch: It was made with other weights than those that are here.
        """
        self.model_name  # noqa: B018 (another model than the one asked for is an error)
        return self._checked(self.backend.whole())

    @cached_property
    def searched(self) -> Index | SearchableIndex:
        """What a search needs of the index.

        Raises:
            IndexFileError: There is none, or it cannot be used.
            ModelMismatch: It was made with other weights than those that are here.
        """
        if isinstance(self.backend, NpzBackend):
            return self.contents
        self.model_name  # noqa: B018 (another model than the one asked for is an error)
        return self._checked(self.backend.searched())

    def _checked(self, index: Searched) -> Searched:
        card = self.card
        if (index.meta.model_digest, index.meta.dim) != (card.digest, card.dim):
            raise ModelMismatch(
                f"The index {self.backend.name!r} was made with other weights of {self.model_name!r} "
                "than those that are here.",
                f"Run `facesearch models fetch {self.model_name}`, or embed everything anew with --rebuild.",
            )
        return index

    def refresh(self) -> None:
        """Read the index anew when it is used next: it has been written since."""
        self.__dict__.pop("contents", None)
        self.__dict__.pop("searched", None)

    def opened(self) -> Index:
        """Return the photos of the index as it lies there, whatever model is here.

        Raises:
            IndexFileError: There is none, or it cannot be used.
        """
        self.model_name  # noqa: B018 (another model than the one asked for is an error)
        return self.backend.listing()

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]] | IndexRequest,
        looking: DetectionSettings | None = None,
        *,
        rebuild: bool = False,
        on: Callable[[Model, Meta], PhotoProcessor] | None = None,
        on_plan: Callable[[Plan], None] = lambda plan: None,
        on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
    ) -> Report:
        """Bring the index up to date with folders and files; it is made when there is none.

        Args:
            paths: What to take in.
            looking: How faces are looked for.
            rebuild: Embed everything anew, all roots of the present index included; it serves queries
                until the new one is whole, and an interrupted rebuild goes on where it was.
            on: What looks at the photos, made of the model and what makes the index; None for this process.
            on_plan: Told what there is to do.
            on_photo: Told of each photo that was looked at.

        Raises:
            IndexConflict: The index was made with other settings.
            FacesearchError: The index, the model or the disk is not as it has to be.
        """
        wanted = paths if isinstance(paths, IndexRequest) else IndexRequest(absolute(paths))
        looking = looking or DetectionSettings()
        held = self._held_if_whole() if rebuild else self.backend.meta()
        meta = make_meta(self.card, looking, held)
        self.backend.metric = self.card.metric
        bring = rebuild_index if rebuild else update_index
        report = bring(
            self.backend,
            meta,
            wanted,
            lambda: on(self.model, meta) if on is not None else self.model.pipeline(meta),
            on_plan=on_plan,
            on_photo=on_photo,
        )
        self.refresh()
        return report

    def _held_if_whole(self) -> Meta | None:
        """Return what made the index; None for a broken one, which a rebuild is to replace."""
        try:
            self.model_name  # noqa: B018 (another model than the one asked for is an error even so)
            return self.backend.meta()
        except IndexFileError:
            self.__dict__["model_name"] = self._fallback
            return None

    def plan(
        self,
        paths: Iterable[str | os.PathLike[str]] | IndexRequest,
        looking: DetectionSettings | None = None,
        *,
        rebuild: bool = False,
    ) -> Plan:
        """Say what `index` would do; opens no photo and writes nothing.

        Raises:
            FacesearchError: What `index` itself would raise of the index and the settings.
        """
        wanted = paths if isinstance(paths, IndexRequest) else IndexRequest(absolute(paths))
        held = self._held_if_whole() if rebuild else self.backend.meta()
        meta = make_meta(self.card, looking or DetectionSettings(), held)
        try:
            index = self.backend.listing() if held is not None else empty_index(meta)
        except IndexMissing:
            index = empty_index(meta)
        if rebuild:
            return make_plan(empty_index(meta), with_known(index, wanted))[1]
        check_same_making(index.meta, meta, what="What is asked for")
        return make_plan(index, wanted)[1]

    def query(
        self,
        references: Sequence[str | os.PathLike[str]],
        question: Question | None = None,
        *,
        face: FaceWanted = "largest",
        whole: bool = False,
        rotations: bool | None = None,
        on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
    ) -> Answers:
        """Find the faces of the index that are nearest to those of some photos.

        Args:
            references: Photos that show whom to look for.
            question: What is asked; by default the four nearest photos by the model's own metric.
            face: Which face of each reference: a number (1 for the largest), "largest" or "all".
            whole: Whether each reference as a whole is the face, cut out already. A model that wants aligned
                faces then gives no probabilities.
            rotations: Whether references are looked at in all four orientations; None as the index holds.
            on_photo: Told of each reference that was looked at.

        Raises:
            FacesearchError: The index or the model is not as it has to be.
        """
        index = self.searched
        question = question or Question()
        if question.metric is None:
            question = replace(question, metric=self.card.metric)
        meta = index.meta
        if rotations is not None:
            meta = replace(meta, settings={**meta.settings, "rotations": rotations})
        pipeline = self.model.pipeline(meta, few=len(references) <= self._runtime.batch, whole=whole)
        found, problems = find_references(pipeline, absolute(references), face, on_photo)
        # Where the model wants aligned faces, a picture taken whole is not what was measured.
        judged = not (whole and self.card.landmarks)
        calibration = self.card.calibration.get(str(question.metric)) if judged else None
        return Answers(tuple(search(index, found, question, calibration)), tuple(problems))

    def forget(self, paths: Iterable[str | os.PathLike[str]]) -> list[str]:
        """Remove photos for good, their copies too, and keep only digests, so as not to take them in again.

        Small pictures of them in the cache folder go too.

        Args:
            paths: Photos, or folders for all below them; they need not exist any more.

        Returns:
            The paths that were removed.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            StorageError: The file cannot be rewritten, or a small picture cannot be removed.
        """
        removed = edit.forget(self.backend, absolute(paths))
        self.refresh()
        # Of all that was ever forgotten: a call that was cut short here is made good by the next.
        Thumbnails().forget(digest.tobytes() for digest in self.backend.listing().forgotten)
        return removed

    def move_root(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Let what lay below one folder lie below another; no face is embedded again.

        Returns:
            How many photos the index now has there.

        Raises:
            IndexFileError: There is no index, it cannot be used, or holds nothing below `old`.
            StorageError: The file cannot be rewritten.
        """
        count = edit.move_root(self.backend, absolute([old])[0], absolute([new])[0])
        self.refresh()
        return count


def default_index(model: str) -> Path:
    """Return where a model's index lies when no other file is named."""
    return Path(user_data_dir("facesearch", appauthor=False)) / f"{model.replace('/', '_')}.npz"


def _backend(index: str | Path) -> IndexBackend:
    return open_backend(index if is_url(index) else Path(os.path.realpath(index)))


def absolute(paths: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return paths absolute, links kept, and URLs as they are; each once and in order."""
    return tuple(dict.fromkeys(absolute_path(os.fspath(path)) for path in paths))
