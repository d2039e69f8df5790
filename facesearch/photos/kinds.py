"""The kinds of files that are photos, told by their suffixes; and what some of them need to be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

KINDS = ("photos", "videos", "raw")
RATE = 2.0  # frames a second of a film that are looked at, at most
FRAMES = 3  # of an animation, or a file of several pages: the first, the middle and the last
MOST_FRAMES = 5000  # that are looked at if all are; an animation has hundreds, a scanned album dozens

PHOTOS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib",
     ".pbm", ".pgm", ".ppm", ".pnm", ".gif", ".heic", ".heif", ".hif", ".avif", ".psd", ".jp2", ".j2k",
     ".j2c", ".jpx", ".jpf"]
)  # fmt: skip
JXL = frozenset([".jxl"])
RAW = frozenset(
    [".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos",
     ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"]
)  # fmt: skip

VIDEOS = frozenset(
    [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".3gp", ".3g2",
     ".wmv", ".flv"]
)  # fmt: skip
FRAMED = frozenset([".gif", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff"])

# What a phone takes a film of a few seconds with; such a film is smaller than this, in bytes.
STILLS = frozenset([".jpg", ".jpeg", ".heic", ".heif"])
LARGEST_LIVE = 12 << 20

JXL_HINT = "To read JPEG XL, in a checkout of facesearch: pip install '.[formats]'"
VIDEO_HINT = "To read films, in a checkout of facesearch: pip install '.[video]'"
RAW_HINT = "To read RAW photos, in a checkout of facesearch: pip install '.[raw]'"


@cache
def can_read_jxl() -> bool:
    """Return whether JPEG XL can be read here."""
    return find_spec("pillow_jxl") is not None


@cache
def can_read_raw() -> bool:
    """Return whether RAW photos can be read here."""
    return find_spec("rawpy") is not None


@cache
def can_read_videos() -> bool:
    """Return whether films can be read here."""
    return find_spec("av") is not None


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def is_raw_name(path: str) -> bool:
    """Return whether a file looks like a RAW photo by its suffix."""
    return _suffix(path) in RAW


def may_have_frames(path: str) -> bool:
    """Return whether a file may have several frames, by its suffix: a film, an animation, or pages."""
    return _suffix(path) in FRAMED | VIDEOS


def is_clip_name(path: str) -> bool:
    """Return whether a file looks like a film by its suffix."""
    return _suffix(path) in VIDEOS


@cache
def suffixes(kinds: tuple[str, ...] = KINDS) -> frozenset[str]:
    """Return the suffixes of the files of some kinds that can be read here, in lower case."""
    photos = PHOTOS | (JXL if can_read_jxl() else frozenset()) if "photos" in kinds else frozenset()
    if "videos" in kinds and can_read_videos():
        photos |= VIDEOS
    return photos | RAW if "raw" in kinds and can_read_raw() else photos


def missing_extras(names: Iterable[str]) -> list[str]:
    """Return what to do so that files of some suffixes, in upper case without the dot, can be read."""
    found = {f".{name.lower()}" for name in names}
    extras = (
        (VIDEOS, can_read_videos(), VIDEO_HINT),
        (RAW, can_read_raw(), RAW_HINT),
        (JXL, can_read_jxl(), JXL_HINT),
    )
    return [hint for own, here, hint in extras if own & found and not here]


def jpegs_beside(path: str) -> list[str]:
    """Return where the JPEG may be that a camera wrote together with a RAW photo."""
    stem = os.path.splitext(path)[0]
    return [stem + ending for ending in (".jpg", ".JPG", ".jpeg", ".JPEG", ".Jpg")]


def raws_beside(path: str) -> list[str]:
    """Return where the RAW photo may be that a camera wrote together with a JPEG; nothing for other files."""
    stem, suffix = os.path.splitext(path)
    if suffix.lower() not in (".jpg", ".jpeg"):
        return []
    return [stem + ending for suffix in sorted(RAW) for ending in (suffix, suffix.upper())]
