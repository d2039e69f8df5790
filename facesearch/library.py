"""A library: photos on disk, the index that knows their faces, and the model that made it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from platformdirs import user_config_dir, user_data_dir

from facesearch.embed import card_of, check_known
from facesearch.errors import FacesearchError, IndexFileError, IndexMissing, ModelMismatch
from facesearch.faces import Answers, PhotoFaces
from facesearch.files import replaced, storage_error
from facesearch.index import operations
from facesearch.index.backend import IndexBackend, SearchableIndex, is_server, open_backend
from facesearch.index.index import ARRAYS, Index, empty_index
from facesearch.index.meta import Meta, check_same_making
from facesearch.index.npz.store import journal_path
from facesearch.index.operations import Copied, copy_index
from facesearch.judge import Judge
from facesearch.model import DetectionSettings, Model, Runtime, make_meta
from facesearch.models.store import ModelStore, silent
from facesearch.people.forgetting import forget_person, look_for_traces
from facesearch.people.grouping import MAKE_ONE, check_tells_persons
from facesearch.people.people import People
from facesearch.people.register import KeptPeople, only_editor, read_register, write_register
from facesearch.photos.kinds import may_have_frames
from facesearch.photos.urls import absolute_path
from facesearch.pipeline import OnPart, PhotoProcessor
from facesearch.plan import IndexRequest, Plan, make_plan
from facesearch.search import FaceWanted, Question, find_references, search
from facesearch.show.thumbnails import Thumbnails
from facesearch.show.wording import escaped
from facesearch.update import Report, rebuild_index, update_index, with_known

if TYPE_CHECKING:
    from facesearch.models.card import Card

DEFAULT_MODEL = "resnet50"
HELD = 2 << 30  # bytes of an index that a server keeps in memory

Searched = TypeVar("Searched", bound=SearchableIndex)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of forgetting a person.

    Attributes:
        faces: Number of faces that the index had.
        photos: Number of photos with these faces.
        scanned: Bytes of the files that were searched afterwards and hold no trace.
    """

    faces: int
    photos: int
    scanned: int


class Library:
    """An index, the photos it covers, the model that made it, and the people in it.

    Args:
        index: A file, or a URL such as milvus://HOST:PORT/COLLECTION. By default the value of
            FACESEARCH_INDEX, or else the model's own file in the user's data folder.
        model: The model's name. By default the index's own model; for a new index see `chosen_model`.
        store: The models of this machine.
        runtime: How the network is run.
        notify: Called with a sentence about anything that takes a while, such as fetching a model.

    Raises:
        ModelMismatch: The index was made with another model than `model`; raised where the model is needed.
        IndexFileError: The index cannot be used; raised where it is needed.

    Example:
        >>> library = Library("family.npz", "sface")
        >>> report = library.index(["~/Pictures"])
        >>> answers = library.query(["friend.jpg"])
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
        self._required_model = model
        self._default_model = model or chosen_model()
        self.backend = _backend(named or default_index(self._default_model))
        self._model: Model | None = None
        self._contents: Index | None = None
        self._searched: SearchableIndex | None = None

    @property
    def model(self) -> Model:
        """The model in use: the one that made the index, or that will make it.

        Raises:
            ModelMismatch: The index was made with another model than the one that was asked for.
            IndexFileError: The index cannot be used.
        """
        if self._model is None:
            self._model = self._open_model(self.backend.meta())
        return self._model

    def _open_model(self, meta: Meta | None) -> Model:
        required = self._required_model
        if meta is not None and required and meta.model != required:
            raise ModelMismatch(
                f"The index {self.backend.name!r} was made with the model {meta.model!r}, "
                f"and {required!r} is asked for.",
                "Leave out --model, or give each model an index of its own.",
            )
        name = meta.model if meta is not None else self._default_model
        return Model(name, self._store, self._runtime, self._notify)

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def card(self) -> Card:
        """The model's card."""
        return self.model.card

    @property
    def card_of_index(self) -> Card | None:
        """The card of the index's model; None if that is not known here, or has other weights."""
        meta = self.backend.meta()
        try:
            card = card_of(meta.model, self._store) if meta else None
        except FacesearchError:
            return None
        return card if card and meta and card.digest == meta.model_digest else None

    @property
    def contents(self) -> Index:
        """The whole index; one in a file is mapped, not read.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            ModelMismatch: It was made with other weights than those on this machine.
        """
        if self._contents is None:
            model = self.model
            self._contents = self._checked(self.backend.read(), model)
        return self._contents

    @property
    def searched(self) -> SearchableIndex:
        """What queries search: the whole index, or a server that searches for it.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            ModelMismatch: It was made with other weights than those on this machine.
        """
        if self._searched is None:
            model = self.model
            self._searched = self._contents or self._checked(self.backend.searchable(), model)
            if isinstance(self._searched, Index):
                self._contents = self._searched
        return self._searched

    def _checked(self, index: Searched, model: Model) -> Searched:
        card = model.card
        if (index.meta.model_digest, index.meta.dim) != (card.digest, card.dim):
            raise ModelMismatch(
                f"The index {self.backend.name!r} was made with other weights of {model.name!r} "
                "than those on this machine.",
                f"Run `facesearch models fetch {model.name}`, or embed all photos again with --rebuild.",
            )
        return index

    def hold(self) -> Index:
        """Read the index again, into memory where it takes no more than `HELD`; a larger one stays mapped.

        A program that writes over a mapped file would end this process when it reads on.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            ModelMismatch: It was made with other weights than those on this machine.
        """
        before = self._contents, self._searched
        self.refresh()
        try:
            arrays = {name: getattr(self.contents, name) for name in ARRAYS}
        except FacesearchError:
            self._contents, self._searched = before
            raise
        if sum(array.nbytes for array in arrays.values()) <= HELD:
            copies: dict[str, Any] = {name: np.array(array) for name, array in arrays.items()}
            self._contents = self._searched = replace(self.contents, **copies)
        return self.contents

    def refresh(self) -> None:
        """Read the index again when it is used next, because it has been written."""
        self._contents = self._searched = None

    def opened(self) -> Index:
        """Return the photos of the index, whichever weights are on this machine.

        Raises:
            ModelMismatch: The index was made with another model than the one that was asked for.
            IndexFileError: There is no index, or it cannot be used.
        """
        self._open_model(self.backend.meta())
        return self.backend.read(faces=False)

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]] | IndexRequest,
        detection: DetectionSettings | None = None,
        *,
        rebuild: bool = False,
        on: Callable[[Model, Meta], PhotoProcessor] | None = None,
        on_plan: Callable[[Plan], None] = lambda plan: None,
        on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
        on_part: OnPart = lambda path, done, parts: None,
    ) -> Report:
        """Bring the index up to date with folders and files; a missing index is created.

        Args:
            paths: Folders and photos.
            detection: How faces are detected.
            rebuild: Whether to embed all photos again, those of all roots of the present index too. The old
                index serves queries until the new one is complete; an interrupted rebuild continues.
            on: Makes what processes the photos, from the model and the index's settings; None for this
                process.
            on_plan: Called with the plan before the work.
            on_photo: Called with each processed photo.
            on_part: Called after each part of a film with its path, how many of its parts were looked at, and
                how many it has; not if `on` is given.

        Raises:
            IndexConflict: The index was made with other settings.
            FacesearchError: The index, the model or the disk cannot be used.
        """
        request = paths if isinstance(paths, IndexRequest) else IndexRequest(absolute(paths))
        detection = detection or DetectionSettings()
        held = self._meta_if_usable() if rebuild else self.backend.meta()
        meta = make_meta(self.card, detection, held)
        asked = self._runtime.precision
        if rebuild or asked != "auto":  # what is fastest here may be another one than it was
            meta = replace(meta, precision="" if asked == "auto" else asked)
        self.backend.metric = self.card.metric
        people = KeptPeople(self.backend.people, self.card)
        bring = rebuild_index if rebuild else update_index
        report = bring(
            self.backend,
            replace(meta, looking=self._runtime.looking),
            request,
            lambda: on(self.model, meta) if on else replace(self.model.pipeline(meta), on_part=on_part),
            carry=people,
            on_plan=on_plan,
            on_photo=on_photo,
        )
        self.refresh()
        if held is None or report.unchanged < report.photos:
            people.over(self.backend.read(faces=False))
        return report

    def _meta_if_usable(self) -> Meta | None:
        """Return what made the index; None for a broken one, which a rebuild is to replace."""
        try:
            meta = self.backend.meta()
        except IndexFileError:
            meta = None
        self._model = self._open_model(meta)
        return meta

    def plan(
        self,
        paths: Iterable[str | os.PathLike[str]] | IndexRequest,
        detection: DetectionSettings | None = None,
        *,
        rebuild: bool = False,
    ) -> Plan:
        """Return what `index` would do; opens no photo and writes nothing.

        Raises:
            FacesearchError: As `index` would raise for the index and the settings.
        """
        request = paths if isinstance(paths, IndexRequest) else IndexRequest(absolute(paths))
        held = self._meta_if_usable() if rebuild else self.backend.meta()
        meta = make_meta(self.card, detection or DetectionSettings(), held)
        try:
            index = self.backend.read(faces=False) if held is not None else empty_index(meta)
        except IndexMissing:
            index = empty_index(meta)
        if rebuild:
            return make_plan(empty_index(meta), with_known(index, request))[1]
        check_same_making(index.meta, meta, what="What is asked for")
        return make_plan(index, request)[1]

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
        """Find the faces of the index that are nearest to the faces of some photos.

        Args:
            references: Photos of the face to search for.
            question: What to find; by default the four nearest photos by the model's own metric.
            face: Which face of each reference: a number (1 for the largest), "largest" or "all".
            whole: Whether each reference is nothing but the face. A model that needs aligned faces then gives
                no probabilities.
            rotations: Whether references are searched in all four orientations; None for the index's setting.
            on_photo: Called with each processed reference.

        Raises:
            FacesearchError: The index or the model cannot be used.
        """
        index = self.searched
        question = question or Question()
        if question.metric is None:
            question = replace(question, metric=self.card.metric)
        meta = index.meta
        if rotations is not None:
            meta = replace(meta, settings={**meta.settings, "rotations": rotations})
        pipeline = self.model.pipeline(meta, few=len(references) <= self._runtime.batch, whole=whole)
        paths = absolute(references)
        known = {} if whole or rotations else self._followed(index, paths)
        found, problems = find_references(pipeline, paths, face, on_photo, index, known)
        # Where the model wants aligned faces, a picture taken whole is not what was measured.
        untold = whole and self.card.landmarks
        judge = None if untold else Judge.of(self.card, index, question.metric or "cosine")
        return Answers(tuple(search(index, found, question, judge)), tuple(problems))

    def faces(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[PhotoFaces]:
        """Yield the faces of some photos, those of the index where it holds a photo as it is now.

        Other photos are looked at as the index's were, or as a new index's would be. They come last.

        Raises:
            FacesearchError: The index or the model cannot be used.
        """
        try:
            index = self.contents
        except IndexMissing:
            index = empty_index(make_meta(self.card, DetectionSettings(), None))
        known, places = set[str](), list(dict.fromkeys(absolute(paths)))
        for photo in self._as_they_are(index, places):
            known.add(photo.path)
            yield photo
        if others := [path for path in places if path not in known]:
            yield from self.model.pipeline(index.meta, few=True).run(others)

    def _followed(self, index: SearchableIndex, paths: Iterable[str]) -> dict[str, PhotoFaces]:
        """Return those films and animations whose faces an index holds as they are now, all of them."""
        if not isinstance(index, Index) or index.meta.settings.get("faces", "all") != "all":
            return {}
        framed = [path for path in paths if may_have_frames(path) and os.path.exists(path)]
        return {
            photo.path: photo
            for photo in self._as_they_are(index, framed)
            if any(face.moment is not None for face in photo.faces)
        }

    def _as_they_are(self, index: Index, paths: Iterable[str]) -> Iterator[PhotoFaces]:
        """Yield those photos that an index holds as they are now."""
        rows = [row for path in paths if (row := index.find(path)) is not None and _is_as(index, row)]
        yield from self.backend.photos(index, rows) if rows else ()

    def forget(
        self, paths: Iterable[str | os.PathLike[str]], *, copies: bool = False, dry_run: bool = False
    ) -> operations.ForgottenPhotos:
        """Remove photos for good: from the index, from its people, and their small pictures.

        Only digests are kept, so that they are not indexed again. Where copies of a photo stay, it is
        left out at its own path only.

        Args:
            paths: Photos, or folders for all photos below them; they need not exist any more.
            copies: Whether to remove all copies too, wherever they are.
            dry_run: Whether to change nothing, and only say what would be done.

        Raises:
            IndexFileError: There is no index, it cannot be used, or another process writes it.
            PeopleBroken: The people cannot be read; nothing was removed.
            StorageError: A file cannot be written, or a small picture cannot be removed.
        """
        if dry_run:
            return operations.forget(self.backend, absolute(paths), copies=copies, dry_run=True)
        companion = self.backend.people
        with companion.editing() if companion.there() else nullcontext():
            register = read_register(companion) if companion.there() else None
            done = operations.forget(self.backend, absolute(paths), copies=copies)
            self.refresh()
            # All that was ever forgotten: this completes an earlier call that was interrupted.
            forgotten = {key.tobytes() for key in self.backend.read(faces=False).forgotten}
            if register is not None:
                names = {escaped(os.path.basename(path)) for path in done.removed}
                write_register(companion, register.without(forgotten, names))
        Thumbnails().forget(forgotten)
        return done

    def move_root(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Record that the photos below one folder are below another one now; no face is embedded again.

        Returns:
            The number of photos that the index has there now.

        Raises:
            IndexFileError: There is no index, it cannot be used, or holds nothing below `old`.
            StorageError: The file cannot be rewritten.
        """
        count = operations.move_root(self.backend, absolute([old])[0], absolute([new])[0])
        self.refresh()
        return count

    def people(self) -> People:
        """Return the people of the index as they are stored.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            ModelError: The model does not tell people apart.
            PeopleBroken: The stored people cannot be used.
        """
        try:
            index = self.contents
        except IndexMissing as error:
            if self.card.identity:
                raise
            raise IndexMissing(error.message, MAKE_ONE) from error
        check_tells_persons(self.card)
        return People(index, read_register(self.backend.people))

    @contextmanager
    def changing_people(self) -> Iterator[People]:
        """Open the people for changes, which are written when the context ends without an error.

        Raises:
            IndexFileError: There is no index, or it cannot be used.
            ModelError: The model does not tell people apart.
            PeopleBroken: The stored people cannot be used.
            IndexBusy: Another process changes them.
            StorageError: They cannot be written, and are as they were.
        """
        self.people()  # fails before anything is written, even a lock or a folder for it
        with self.backend.people.editing():
            self.refresh()  # photos may have been forgotten since the index was read
            people = self.people()
            yield people
            write_register(self.backend.people, people.register)

    def forget_person(self, who: str) -> Forgotten:
        """Remove all faces of a person, and the name; the photos and the other people in them stay.

        The faces are not indexed again from these photos. All files are then searched for what was removed.

        Args:
            who: The person's name or number.

        Raises:
            PeopleError: No person has that number or name.
            IndexBusy: Another process writes the index or the people.
            StorageError: A file cannot be written, or something is left in one.
        """
        with self.changing_people() as people:
            gone = forget_person(self.backend, people, who)
        self.refresh()
        searched = look_for_traces(self.backend, gone)
        return Forgotten(len(gone.person.faces), gone.person.photos - gone.person.tagged, searched)


def _is_as(index: Index, row: int) -> bool:
    """Return whether a photo's file is as the index has it, by its size and time."""
    try:
        about = os.stat(index.path(row))
    except (OSError, ValueError):
        return True  # it cannot be looked at
    return (about.st_size, about.st_mtime_ns) == (int(index.size[row]), int(index.mtime_ns[row]))


def default_index(model: str) -> Path:
    """Return the default index file of a model."""
    return Path(user_data_dir("facesearch", appauthor=False)) / f"{model.replace('/', '_')}.npz"


def chosen_model() -> str:
    """Return the model of new indexes: FACESEARCH_MODEL, or what `choose_model` wrote, or resnet50."""
    return os.environ.get("FACESEARCH_MODEL") or _read_choice() or DEFAULT_MODEL


def choose_model(name: str) -> Path:
    """Let a model be that of new indexes, and of commands that need none.

    Returns:
        The file that says so, in the user's folder of settings.

    Raises:
        UnknownModel: There is no such model.
        StorageError: The file cannot be written.
    """
    check_known(name)
    place = _choice()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replaced(place) as file:
            file.write(f"{name}\n".encode())
    except OSError as error:
        raise storage_error(place, error) from error
    return place


def _choice() -> Path:
    return Path(user_config_dir("facesearch", appauthor=False), "model")


def _read_choice() -> str:
    try:
        return _choice().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def only_index() -> Path | None:
    """Return the only index of the data folder, where none is named and the default model has none.

    Returns:
        None where an index or a model is named by the environment, or there is none.

    Raises:
        IndexMissing: There are several.
    """
    default = default_index(DEFAULT_MODEL)
    named = os.environ.get("FACESEARCH_INDEX") or os.environ.get("FACESEARCH_MODEL") or _read_choice()
    if named or default.exists() or journal_path(default).exists():
        return None
    found = sorted(path for path in default.parent.glob("*.npz") if not path.stem.endswith(".rebuild"))
    if len(found) > 1:
        raise IndexMissing(
            f"The default model, {DEFAULT_MODEL}, has no index; there are those of "
            f"{', '.join(path.stem for path in found)}.",
            "Choose one with --model, or for good with `facesearch use NAME`.",
        )
    return found[0] if found else None


def _backend(index: str | Path) -> IndexBackend:
    return open_backend(index if is_server(index) else Path(os.path.realpath(index)))


def absolute(paths: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return absolute paths, links kept, and URLs unchanged; each once, in order."""
    return tuple(dict.fromkeys(absolute_path(os.fspath(path)) for path in paths))


def copy_library(
    source: IndexBackend,
    target: IndexBackend,
    *,
    on_start: Callable[[int], None] = lambda count: None,
    on_photo: Callable[[PhotoFaces], None] = lambda photo: None,
) -> Copied:
    """Copy an index and its people to another place; see `copy_index`.

    Raises:
        FacesearchError: One of the two cannot be used or written.
        PeopleBroken: The stored people cannot be used.
    """
    register = read_register(source.people) if source.people.there() else None
    before = source.meta()
    done = copy_index(source, target, on_start=on_start, on_photo=on_photo)
    if register is not None:
        after = target.meta()
        if before is not None and after is not None and register.facts.grouped == before.updated:
            register.facts.grouped = after.updated
        with only_editor(target.people):
            write_register(target.people, register)
    return done
