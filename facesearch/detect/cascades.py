"""Haar cascade files: where they are, and running one from any thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesearch.errors import FacesearchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In a wheel the cascades lie inside the package, in a checkout beside it.
FOLDERS = tuple(parent / "haarcascades" for parent in Path(__file__).resolve().parents[1:3])
# Windows that share this much of their union are one face seen twice.
SAME_FACE = 0.3


@dataclass(frozen=True, slots=True)
class Cluster:
    """Overlapping windows of one cascade.

    Attributes:
        x: Left edge of their mean, in pixels.
        y: Upper edge.
        side: Width and height; the windows of these cascades are square.
        count: How many windows there are.
    """

    x: float
    y: float
    side: float
    count: int


class Cascade:
    """One cascade file.

    OpenCV's classifier keeps the picture at hand in itself, so each thread gets a classifier of its own.
    """

    def __init__(self, name: str) -> None:
        self.path = find_cascade(name)
        self._of_thread = threading.local()

    @cached_property
    def window(self) -> int:
        """Side of the smallest window in pixels; read from the file at the first access."""
        return int(self._classifier().getOriginalWindowSize()[0])

    def _classifier(self) -> cv2.CascadeClassifier:
        if not hasattr(self._of_thread, "classifier"):
            self._of_thread.classifier = load_cascade(self.path)
        classifier: cv2.CascadeClassifier = self._of_thread.classifier
        return classifier

    def windows(
        self, grey: NDArray[np.uint8], step: float, smallest: int = 0, largest: int = 0
    ) -> NDArray[np.float64]:
        """Find every window that passes, not grouped.

        Args:
            grey: (height, width) uint8.
            step: Factor from one window size to the next.
            smallest: Side of the smallest window in pixels; 0 is the cascade's own.
            largest: Side of the largest window in pixels; 0 is the picture's.

        Returns:
            (n, 3) float64: x, y, side.
        """
        if min(grey.shape) <= self.window:
            return np.zeros((0, 3))
        rows = self._classifier().detectMultiScale(
            grey,
            scaleFactor=step,
            minNeighbors=0,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
        )
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)[:, :3]

    def scan(self, grey: NDArray[np.uint8], smallest: float, step: float) -> list[Cluster]:
        """Search a whole picture for faces of `smallest` pixels and more."""
        # OpenCV looks at every pixel instead of every second one from twice the cascade's window on, so a
        # picture shrunk beforehand costs a third less than a `minSize`, and finds the same faces.
        shrink = min(1.0, self.window / smallest)
        found = cluster(self.windows(shrunk(grey, shrink), step))
        return [Cluster(one.x / shrink, one.y / shrink, one.side / shrink, one.count) for one in found]


def shrunk(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale a picture down by `factor`; at 1 and above it is returned unchanged."""
    if factor >= 1:
        return picture
    height, width = picture.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def cluster(windows: NDArray[np.float64]) -> list[Cluster]:
    """Group overlapping windows, the largest first."""
    groups: list[list[NDArray[np.float64]]] = []
    for window in windows[np.argsort(-windows[:, 2], kind="stable")]:
        for group in groups:
            if _overlap(np.mean(group, axis=0), window) > SAME_FACE:
                group.append(window)
                break
        else:
            groups.append([window])
    means = ((np.mean(group, axis=0), len(group)) for group in groups)
    return [Cluster(float(mean[0]), float(mean[1]), float(mean[2]), count) for mean, count in means]


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    edges = np.minimum(one[:2] + one[2], other[:2] + other[2]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(edges, 0)))
    return shared / (float(one[2] ** 2 + other[2] ** 2) - shared)


def find_cascade(name: str) -> Path:
    """Return the path of a cascade file.

    Raises:
        FacesearchError: The file is neither in the package nor beside it.
    """
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise FacesearchError(
        f"The cascade file {name} is missing from {FOLDERS[0]}.", "Install facesearch again to restore it."
    )


def load_cascade(path: Path) -> cv2.CascadeClassifier:
    """Load a cascade file.

    Raises:
        FacesearchError: The file is not a cascade.
    """
    classifier = cv2.CascadeClassifier()
    try:
        loaded = classifier.load(str(path))
    except cv2.error:
        loaded = False
    if not loaded:
        raise FacesearchError(f"{path} is not a cascade file.", "Install facesearch again to restore it.")
    return classifier
