"""A model's card: all that has to be known of a network in order to use it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from facesearch.errors import ModelBroken

Metric = Literal["cosine", "euclidean"]
Color = Literal["bgr", "rgb"]
Channels = tuple[float, float, float]

NETWORK = "network.xml"
WEIGHTS = "network.bin"
TENSORS = "tensors.npz"

# A name is also a folder's, so it can hold neither "..", nor a backslash, nor start with a dot.
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,62}(/[A-Za-z0-9][\w.+-]{0,62})?", re.ASCII)

# Stands for the slash in the name of a folder or a file; no name holds it, so no two meet.
SLASH = "="

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What one of a model's files has to be: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a network expects, what it gives, and where it comes from.

    Attributes:
        name: The model's name, as `--model` takes it.
        dim: Numbers in a vector.
        size: Height and width of a crop in pixels.
        margin: How much of the face's box is added on each side before cropping (0.4 = 40 %).
        detector: The detector that the model was measured with.
        landmarks: Whether crops are aligned by landmarks; the detector has to give them then.
        metric: The distance that suits the model.
        thresholds: For each metric, the distance under which two faces are called the same.
        calibration: For each metric, slope and intercept of the logistic map from distance to probability.
        measured_on: The data and the date of margin, thresholds and calibration.
        licence: The weights' licence.
        source: Where the weights come from.
        digest: Of the weights, "algorithm:hex"; an index remembers it.
        color: The order of channels that the network was trained on; crops are BGR whatever it is.
        mean: Taken from each channel, in the network's order; crops hold 0 to 255.
        scale: What each channel is divided by then.
        files: The model's files as they were stored; empty for a card that only stands in the code.
    """

    name: str
    dim: int
    size: tuple[int, int]
    margin: float
    detector: str
    landmarks: bool = False
    metric: Metric = "cosine"
    thresholds: dict[str, float] = field(default_factory=dict)
    calibration: dict[str, tuple[float, float]] = field(default_factory=dict)
    measured_on: str = ""
    licence: str = ""
    source: str = ""
    digest: str = ""
    color: Color = "bgr"
    mean: Channels = (0.0, 0.0, 0.0)
    scale: Channels = (1.0, 1.0, 1.0)
    files: dict[str, StoredFile] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the card as indented JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """Read a card that may come from anyone.

        A key that this version does not know is refused: it may change what the network wants.

        Raises:
            ModelBroken: What is written is not a card; the sentence names the key.
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
        _check_keys(data)
        return cls(**{key: _checked(key, value) for key, value in data.items()})


def check_name(name: str) -> str:
    """Give the name back when it can be a model's.

    Raises:
        ModelBroken: It cannot.
    """
    if not NAME.fullmatch(name):
        raise ModelBroken(
            f"{name!r} cannot be a model's name.",
            "Use letters, digits and _ . + -, and at most one /.",
        )
    return name


def _check_keys(data: Mapping[str, Any]) -> None:
    known = {item.name for item in fields(Card)}
    for key in data:
        if key not in known:
            raise ModelBroken(f"The model's card has a key that this version does not know: {key!r}.")
    for key in ("name", "dim", "size", "margin", "detector"):
        if key not in data:
            raise ModelBroken(f"The model's card does not say its {key}.")


def _checked(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Give a card's value in its own type."""
    try:
        return _READERS[key](value)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelBroken(f"The model's card holds no usable {key}: {str(value)[:80]!r}.") from error


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:  # noqa: ANN401 - JSON
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return read


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:  # noqa: ANN401 - JSON
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def _text(pattern: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:  # noqa: ANN401 - JSON
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return value

    return read


def _prose(value: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(value, str) or len(value) > 4000 or not value.isprintable():
        raise ValueError
    return value


def _flag(value: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(value, bool):
        raise ValueError
    return value


def _row(read: Callable[[Any], Any], length: int) -> Callable[[Any], tuple[Any, ...]]:
    def read_row(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or len(value) != length:
            raise ValueError
        return tuple(read(item) for item in value)

    return read_row


def _table(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def read_table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {read_key(key): read(item) for key, item in value.items()}

    return read_table


def _stored_file(value: Any) -> StoredFile:  # noqa: ANN401 - JSON
    size, sha256 = value["size"], value["sha256"]
    return StoredFile(_whole(0, 1 << 40)(size), _text("[0-9a-f]{64}")(sha256))


_METRIC = _text("cosine|euclidean")
_LARGE = 1e9

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text(NAME.pattern),
    "dim": _whole(1, 1 << 20),
    "size": _row(_whole(8, 4096), 2),
    "margin": _number(0, 10),
    "detector": _text(r"[a-z][\w-]{0,40}"),
    "landmarks": _flag,
    "metric": _METRIC,
    "thresholds": _table(_METRIC, _number(0, _LARGE)),
    "calibration": _table(_METRIC, _row(_number(-_LARGE, _LARGE), 2)),
    "measured_on": _prose,
    "licence": _prose,
    "source": _prose,
    "digest": _text(r"[a-z0-9-]{1,40}:[0-9a-f]{8,128}|"),
    "color": _text("bgr|rgb"),
    "mean": _row(_number(-_LARGE, _LARGE), 3),
    "scale": _row(_number(1e-9, _LARGE), 3),
    "files": _table(_text(r"network\.xml|network\.bin|tensors\.npz"), _stored_file),
}
