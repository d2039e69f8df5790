"""What made an index: the model, the detector, their settings; and the folders that it covers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from facesearch.errors import IndexConflict
from facesearch.models.openvino import PRECISIONS
from facesearch.version import __version__

JsonScalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Meta:
    """What made an index.

    Attributes:
        model: The model's name.
        model_digest: Of its weights.
        dim: Numbers in a vector.
        detector: The detector's name.
        settings: The detector's and the pipeline's, as JSON scalars.
        roots: The folders that the index covers, absolute; not UTF-8 is surrogate-escaped.
        created: ISO 8601, UTC.
        updated: ISO 8601, UTC.
        facesearch: The version that wrote the file.
        mounts: Folders below the roots that were other file systems when they were last looked into.
        precision: What the network calculates in for this index; empty where that is not known.
        looking: How films and animations were looked at when the index was begun; empty where that is not
            known.
    """

    model: str
    model_digest: str
    dim: int
    detector: str
    settings: dict[str, JsonScalar] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    created: str = ""
    updated: str = ""
    facesearch: str = ""
    mounts: tuple[str, ...] = ()
    precision: str = ""
    looking: str = ""

    def written(self, roots: Iterable[str], mounts: Iterable[str], precision: str) -> Meta:
        """Return the meta data of an index that is written now."""
        # What is said of people is of one commit: two in one second are told apart.
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        created = self.created or now
        return replace(
            self,
            roots=tuple(roots),
            created=created,
            updated=now,
            facesearch=__version__,
            mounts=tuple(mounts),
            precision=precision,
        )

    def making(self) -> Meta:
        """Return the meta data of a new index that is made as this one was."""
        return replace(self, roots=(), created="", updated="", facesearch="", mounts=(), precision="")

    def to_json(self) -> str:
        """Return the meta data as JSON in ASCII."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, data: str) -> Meta:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is not that.
        """
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise ValueError("the meta data are not an object")
        for name, kind in _META_TYPES.items():
            if not isinstance(raw.get(name), kind) or isinstance(raw[name], bool):
                raise ValueError(f"{name!r} is missing from the meta data or of the wrong type")
        mounts = raw.get("mounts", [])  # not written by the first versions
        if not isinstance(mounts, list) or not all(map(_is_path, [*raw["roots"], *mounts])):
            raise ValueError("a root is not a path")
        if raw["dim"] < 1:
            raise ValueError("it has no dimensions")
        for name, value in raw["settings"].items():
            if not _SETTINGS.get(name, _is_scalar)(value):
                raise ValueError(f"the setting {name!r} is out of range")
        known = {name: raw[name] for name in _META_TYPES}
        known |= {"roots": tuple(raw["roots"]), "mounts": tuple(mounts)}
        looking = raw.get("looking")
        return cls(
            **known,
            precision=_known_precision(raw.get("precision")),
            looking=looking if isinstance(looking, str) else "",
        )


def _known_precision(value: object) -> str:
    """Return a precision; empty for one that this version does not know, for which any other can stand in."""
    return value if isinstance(value, str) and value in PRECISIONS else ""


_META_TYPES: Mapping[str, type] = {
    "model": str,
    "model_digest": str,
    "dim": int,
    "detector": str,
    "settings": dict,
    "roots": list,
    "created": str,
    "updated": str,
    "facesearch": str,
}


def _is_path(value: object) -> bool:
    return isinstance(value, str) and b"\0" not in os.fsencode(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


# What facesearch's own detectors and the pipeline take; an absent setting is left to them. A setting of a
# plug-in is checked by the detector when it is built.
_SETTINGS: Mapping[str, Callable[[Any], bool]] = {
    "min_face": lambda value: type(value) is int and 0 <= value < 2**31,
    "faces": lambda value: value in ("all", "largest"),
    "rotations": lambda value: type(value) is bool,
    "margin": lambda value: type(value) in (int, float) and 0 <= value <= 10,  # NaN is not
}


def check_same_making(meta: Meta, other: Meta, *, what: str) -> None:
    """Raise unless the vectors of two indexes can be mixed.

    Args:
        meta: The index that there is.
        other: What is to fit it.
        what: The name of the other in the message.

    Raises:
        IndexConflict: The models or the detectors' settings differ.
    """
    pairs = (
        ("model", meta.model, other.model),
        ("weights of the model", meta.model_digest, other.model_digest),
        ("numbers in a vector", meta.dim, other.dim),
        ("detector", meta.detector, other.detector),
        ("settings", _differing(meta, other), _differing(other, meta)),
    )
    for name, mine, theirs in pairs:
        if mine != theirs:
            raise IndexConflict(
                f"{what} does not fit the index: {name} {theirs!r}, and the index has {mine!r}.",
                "Use the index's own, another --index, or embed everything anew with --rebuild.",
            )


def _differing(meta: Meta, other: Meta) -> str:
    """Return the settings of one that the other lacks or has with another value."""
    return ", ".join(
        f"{name}={value}"
        for name, value in sorted(meta.settings.items())
        if name not in other.settings or other.settings[name] != value
    )
