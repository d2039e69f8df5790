"""A model's card: everything that has to be known of a network in order to use it; digests of its files."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from facesearch.errors import ModelBroken
from facesearch.models.calibration import Calibration, LibraryScale, QualityScale

Metric = Literal["cosine", "euclidean"]
Color = Literal["bgr", "rgb"]
Channels = tuple[float, float, float]

NETWORK = "network.xml"
WEIGHTS = "network.bin"
TENSORS = "tensors.npz"
ONNX = "network.onnx"

# A name is also a folder's, so it can hold neither "..", nor a backslash, nor start with a dot.
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,62}(/[A-Za-z0-9][\w.+-]{0,62})?", re.ASCII)

# Stands for the slash in the name of a folder or a file; no name holds it, so no two meet.
SLASH = "="

_FORMAT = 1

_AnyCard = TypeVar("_AnyCard", bound="StoredCard")


# A card comes from anyone: each of these readers returns a value of its type, or raises ValueError.


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of integers from `low` to `high`."""

    def read(value: Any) -> int:  # noqa: ANN401 - JSON
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return read


def number(low: float, high: float) -> Callable[[Any], float]:
    """Return a reader of finite numbers from `low` to `high`."""

    def read(value: Any) -> float:  # noqa: ANN401 - JSON
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def text(pattern: str) -> Callable[[Any], str]:
    """Return a reader of text that matches a whole pattern."""

    def read(value: Any) -> str:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return value

    return read


def prose(value: Any) -> str:  # noqa: ANN401 - JSON
    """Read printable text."""
    if not isinstance(value, str) or len(value) > 4000 or not value.isprintable():
        raise ValueError
    return value


def flag(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def rows(read: Callable[[Any], Any], least: int, most: int) -> Callable[[Any], tuple[Any, ...]]:
    """Return a reader of lists with `least` to `most` items, each read by `read`."""

    def read_rows(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError
        return tuple(read(item) for item in value)

    return read_rows


def row(read: Callable[[Any], Any], length: int) -> Callable[[Any], tuple[Any, ...]]:
    """Return a reader of lists with exactly `length` items, each read by `read`."""
    return rows(read, length, length)


def table(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Return a reader of objects whose keys and values are read by these readers."""

    def read_table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {read_key(key): read(item) for key, item in value.items()}

    return read_table


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The size in bytes and the SHA-256 in hex that a model's file must have."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCard:
    """What the cards of all networks have in common.

    Attributes:
        name: The network's name.
        measured_on: The data and date of the measurements behind the card, except calibration.
        licence: The weights' licence.
        source: Where the weights come from.
        digest: Of the weights, "algorithm:hex"; an index remembers that of its model.
        files: The network's stored files; empty for a card that is only in the code.
    """

    kind: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    name: str
    measured_on: str = ""
    licence: str = ""
    source: str = ""
    digest: str = ""
    files: dict[str, StoredFile] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the card as indented JSON."""
        return json.dumps({"format": _FORMAT, "kind": self.kind, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls: type[_AnyCard], text: str | bytes) -> _AnyCard:
        """Read a card, which may come from a stranger; called on `StoredCard`, a card of any kind.

        A key that this version does not know is refused: it may change what the network expects.

        Raises:
            ModelBroken: The text is not such a card; the message names the key.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelBroken(f"The model's card is not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise ModelBroken("The model's card is not a JSON object.")
        if data.pop("format", None) != _FORMAT:
            raise ModelBroken(
                "The model's card was written in a format that this version does not know.",
                "Install a newer facesearch, or fetch the model again.",
            )
        kind = data.pop("kind", Card.kind)
        kinds: tuple[type[StoredCard], ...] = (Card, DetectorCard)
        found = next((one for one in kinds if one.kind == kind), None)
        if found is None or not issubclass(found, cls):
            raise ModelBroken(f"The card is of another kind than is wanted: {str(kind)[:80]!r}.")
        _check_keys(found, data)
        card = found(**{key: _checked(key, value) for key, value in data.items()})
        _check_lengths(card)
        return card


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(StoredCard):
    """The card of an embedder: what the network expects, what it returns, and what its distances mean.

    Attributes:
        dim: Numbers in a vector.
        size: Height and width of a crop in pixels.
        margin: The part of the face's box that is added on each side before cropping (0.4 = 40 %).
        detector: The detector that the model was measured with.
        landmarks: Whether crops are aligned by landmarks, which the detector must then return.
        identity: Whether the network was trained to tell people apart; otherwise it compares looks.
        metric: The distance that suits the model.
        calibration: For each metric, what a distance means for two persons.
        library: What nearness in a library means for two persons; None if it was not measured.
        quality: What tells good faces from poor ones; None if it was not measured.
        color: The order of channels that the network was trained on; crops are BGR whatever it is.
        mean: Subtracted from each channel, in the network's order; crops hold 0 to 255.
        scale: What each channel is then divided by.
    """

    kind: ClassVar[str] = "embedder"
    needs: ClassVar[tuple[str, ...]] = (NETWORK, WEIGHTS)

    dim: int
    size: tuple[int, int]
    margin: float
    detector: str
    landmarks: bool = False
    identity: bool = False
    metric: Metric = "cosine"
    calibration: dict[str, Calibration] = field(default_factory=dict)
    library: LibraryScale | None = None
    quality: QualityScale | None = None
    color: Color = "bgr"
    mean: Channels = (0.0, 0.0, 0.0)
    scale: Channels = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCard(StoredCard):
    """The card of a detector's network; its code knows the rest."""

    kind: ClassVar[str] = "detector"
    needs: ClassVar[tuple[str, ...]] = (ONNX,)


def with_own_calibration(card: _AnyCard, other: StoredCard) -> _AnyCard:
    """Return a card with the user's own calibration from another card of the same weights."""
    if not isinstance(card, Card) or not isinstance(other, Card) or card.digest != other.digest:
        return card
    own = {metric: one for metric, one in other.calibration.items() if one.own}
    library = other.library if other.library and other.library.own else card.library
    return replace(card, calibration={**card.calibration, **own}, library=library)


def check_name(name: str) -> str:
    """Return a name if it can be a model's.

    Raises:
        ModelBroken: It cannot.
    """
    if not NAME.fullmatch(name):
        raise ModelBroken(
            f"{name!r} cannot be a model's name.",
            "Use letters, digits and _ . + -, and at most one /.",
        )
    return name


def file_digest(path: Path, algorithm: str) -> str:
    """Return a file's digest in hex."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def check_digest(path: Path, wanted: str) -> None:
    """Check a file against a digest, "algorithm:hex".

    Raises:
        ModelBroken: The file has another digest.
    """
    algorithm, _, value = wanted.partition(":")
    if (found := file_digest(path, algorithm)) != value:
        raise ModelBroken(f"{path.name} has the {algorithm} {found[:12]}... where {value[:12]}... is pinned.")


def _check_keys(kind: type[StoredCard], data: Mapping[str, Any]) -> None:
    known = {item.name: item for item in fields(kind)}
    for key in data:
        if key not in known:
            raise ModelBroken(f"The model's card has a key that this version does not know: {key!r}.")
    for key, item in known.items():
        if key not in data and item.default is MISSING and item.default_factory is MISSING:
            raise ModelBroken(f"The model's card does not say its {key}.")


def _check_lengths(card: StoredCard) -> None:
    """Refuse a card whose directions are not of the model's space."""
    if not isinstance(card, Card):
        return
    directions = {
        "library": card.library and card.library.centre,
        "quality": card.quality and card.quality.direction,
    }
    for key, numbers in directions.items():
        if numbers and len(numbers) != card.dim:
            raise ModelBroken(
                f"The model's card holds no usable {key}: {len(numbers)} numbers for {card.dim}."
            )


def _checked(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a card's value in its own type."""
    try:
        return _READERS[key](value)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ModelBroken(f"The model's card holds no usable {key}: {str(value)[:80]!r}.") from error


def _stored_file(value: Any) -> StoredFile:  # noqa: ANN401 - JSON
    size, sha256 = value["size"], value["sha256"]
    return StoredFile(whole(0, 1 << 40)(size), text("[0-9a-f]{64}")(sha256))


def _rising(value: Any) -> tuple[tuple[float, float], ...]:  # noqa: ANN401 - JSON
    """Read pairs of numbers of which both rise from each to the next."""
    table: tuple[tuple[float, float], ...] = rows(row(number(-_LARGE, _LARGE), 2), 2, 100)(value)
    if any(low >= high for before, after in pairwise(table) for low, high in zip(before, after, strict=True)):
        raise ValueError
    if not 0 < table[0][0] < table[-1][0] <= 1:
        raise ValueError
    return table


def _calibration(value: Any) -> Calibration:  # noqa: ANN401 - JSON
    if set(value) != set(_CALIBRATION):
        raise ValueError
    found = Calibration(**{key: read(value[key]) for key, read in _CALIBRATION.items()})
    if found.strangers[0][1] < 0:
        raise ValueError
    return found


def _optional(kind: Callable[..., Any], readers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return what reads a record of exactly these keys, or null."""

    def read(value: Any) -> Any:  # noqa: ANN401 - JSON
        if value is None:
            return None
        if set(value) != set(readers):
            raise ValueError
        return kind(**{key: reader(value[key]) for key, reader in readers.items()})

    return read


_METRIC = text("cosine|euclidean")
_LARGE = 1e9

_CALIBRATION: Mapping[str, Callable[[Any], Any]] = {
    "threshold": number(0, _LARGE),
    "slope": number(1e-9, _LARGE),
    "intercept": number(-_LARGE, _LARGE),
    "strangers": _rising,
    "data": prose,
    "date": text(r"\d{4}-\d\d-\d\d"),
    "own": flag,
}

_LIBRARY: Mapping[str, Callable[[Any], Any]] = {
    "centre": rows(number(-1, 1), 1, 1 << 20),
    "location": number(-1, 1),
    "spread": number(1e-6, 2),
    "near": number(-1, 1),
    **{key: _CALIBRATION[key] for key in ("strangers", "data", "date", "own")},
}

_QUALITY: Mapping[str, Callable[[Any], Any]] = {
    "direction": rows(number(-_LARGE, _LARGE), 1, 1 << 20),
    "length": number(-_LARGE, _LARGE),
    "offset": number(-_LARGE, _LARGE),
    **{key: _CALIBRATION[key] for key in ("data", "date")},
}

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": text(NAME.pattern),
    "dim": whole(1, 1 << 20),
    "size": row(whole(8, 4096), 2),
    "margin": number(0, 10),
    "detector": text(r"[a-z][\w-]{0,40}"),
    "landmarks": flag,
    "identity": flag,
    "metric": _METRIC,
    "calibration": table(_METRIC, _calibration),
    "library": _optional(LibraryScale, _LIBRARY),
    "quality": _optional(QualityScale, _QUALITY),
    "measured_on": prose,
    "licence": prose,
    "source": prose,
    "digest": text(r"[a-z0-9-]{1,40}:[0-9a-f]{8,128}|"),
    "color": text("bgr|rgb"),
    "mean": row(number(-_LARGE, _LARGE), 3),
    "scale": row(number(1e-9, _LARGE), 3),
    "files": table(text(r"network\.(xml|bin|onnx)|tensors\.npz"), _stored_file),
}
