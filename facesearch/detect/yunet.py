"""The YuNet detector: a small network that finds faces of all sizes and poses, with five landmarks each."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facesearch.detect import Detector
from facesearch.errors import FacesearchError, ModelBroken
from facesearch.faces import Box, Face
from facesearch.models.card import ONNX, DetectorCard, check_digest
from facesearch.models.sources import PipPackage, Recipe, Url

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE = "face_detection_yunet_2023mar.onnx"
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_PUBLISHER = Url(
    f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{_FILE}", f"sha256:{_SHA256}"
)
_MIRROR = PipPackage("filter-faceblur==1.1.4", f"filter_faceblur/model/weights/{_FILE}", _SHA256, 1 << 20)

CARD = DetectorCard(
    name="yunet",
    measured_on="scales and score: Labeled Faces in the Wild, AT&T, UTKFace, the Solvay photograph and 80 "
    "photographs without a face, November 2026",
    licence="MIT",
    source="OpenCV zoo, face_detection_yunet_2023mar",
    digest=f"sha256:{_SHA256}",
)

# The network knows faces of about 20 to 300 pixels. Chips that a face fills are all found at 100 to 320
# pixels, 4 % are missed at 640; the faces of a crowd are found at 1280. Smaller photos are not enlarged.
WHOLE_SIDE, FINE_SIDE = 320, 1280
# Up to this side one look does for both.
SINGLE_SIDE = 480
# All faces of LFW, AT&T, UTKFace and the Solvay photograph score above it (in the latter 0.88 at least); of
# 80 photographs without a face one does, at 0.86.
ACCEPTED = 0.8
# In a turned photo the network may see a face that it would see better upright: asked for turned photos, the
# detector compares all four turns unless one is as sure as this.
SURE = 0.9
# Two boxes that share so much are one face.
SAME_FACE = 0.3
MOST_FACES = 5000
# On up to 32 pixels in either direction OpenCV gives what happens to lie in memory, with a score of 1.
LEAST_SIDE = 33


def build(file: Path, folder: Path) -> DetectorCard:
    """Store the network as it is; see `facesearch.models.sources.Build`."""
    check_digest(file, CARD.digest)
    shutil.copyfile(file, folder / ONNX)
    return CARD


RECIPE = Recipe(
    CARD, (_PUBLISHER, _MIRROR), build, origin=ONNX, by_hand=f"the file {_FILE} from {_PUBLISHER.url}"
)


class YuNetDetector(Detector):
    """Finds faces with OpenCV's own YuNet, at one or two scales.

    Args:
        folder: The folder of the network in the store.
        min_face: The smallest face to return, in pixels of the photo.
        rotations: Whether photos without a surely upright face are searched in all four turns.

    Raises:
        ModelBroken: The network's file does not have the pinned digest.
    """

    working_side = FINE_SIDE
    landmarks = True
    recipe = RECIPE

    def __init__(self, folder: Path, *, min_face: int = 0, rotations: bool = False) -> None:
        if min_face < 0:
            raise FacesearchError("The smallest face cannot be below 0 pixels.")
        self.min_face = min_face
        self.rotations = rotations
        self._network = np.frombuffer(_checked_network(folder), np.uint8)
        self._own = threading.local()

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find all faces of an upright photo; see `Detector.detect`."""
        height, width = image.shape[:2]
        found = self._look(image)
        if self.rotations and _best_score(found) < SURE:
            turned = [
                [_turned_back(face, turns, (height, width)) for face in self._look(np.rot90(image, turns))]
                for turns in (1, 2, 3)
            ]
            found = max(found, *turned, key=_best_score)
        faces = [face for face in found if max(face.box.width, face.box.height) >= self.min_face]
        return sorted(faces, key=lambda face: (-face.box.area, face.box.x, face.box.y))

    def _look(self, image: NDArray[np.uint8]) -> list[Face]:
        """Search one orientation, as a whole and, in a larger photo, once more for small faces."""
        longer = max(image.shape[:2])
        sides = [longer] if longer <= SINGLE_SIDE else [WHOLE_SIDE, min(longer, FINE_SIDE)]
        found = [face for side in sides for face in self._at_scale(image, side / longer)]
        # The same face at two scales is where it scored higher: there its landmarks are more exact, too.
        found.sort(key=lambda face: -face.score)
        kept: list[Face] = []
        for face in found:
            if all(face.box.overlap(other.box) < SAME_FACE for other in kept):
                kept.append(face)
        return kept

    def _at_scale(self, image: NDArray[np.uint8], factor: float) -> list[Face]:
        small = image
        if factor < 1.0:
            size = tuple(max(1, round(side * factor)) for side in image.shape[1::-1])
            small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        height, width = image.shape[:2]
        ratio = np.array([width / small.shape[1], height / small.shape[0]])
        rows = self._run(np.ascontiguousarray(small))
        faces = [_face(row, ratio, width, height) for row in rows]
        return [face for face in faces if face is not None]

    def _run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a row for each face: box, five landmarks, score, 15 numbers in pixels of `image`."""
        network = self._instance()
        below, right = (max(0, LEAST_SIDE - side) for side in image.shape[:2])
        if below or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = network.detect(image)
        return np.empty((0, 15), np.float32) if rows is None else rows

    def _instance(self) -> Any:  # noqa: ANN401 (cv2 has no types)
        # An instance keeps state between its calls: each thread has its own.
        if not hasattr(self._own, "network"):
            none = np.empty(0, np.uint8)
            self._own.network = cv2.FaceDetectorYN.create(
                "onnx", self._network, none, (WHOLE_SIDE, WHOLE_SIDE), ACCEPTED, SAME_FACE, MOST_FACES
            )
        return self._own.network


def _checked_network(folder: Path) -> bytes:
    try:
        check_digest(folder / ONNX, CARD.digest)
        return (folder / ONNX).read_bytes()
    except (ModelBroken, OSError) as error:
        raise ModelBroken(
            "The detector yunet is broken: its network has been changed, damaged or removed.",
            "Run 'facesearch models fetch yunet' to fetch it again.",
        ) from error


def _face(row: NDArray[np.float32], ratio: NDArray[np.float64], width: int, height: int) -> Face | None:
    """Return a row as a face in the pixels of the photo, its box inside it; None for a face outside."""
    if not np.isfinite(row).all():
        return None
    corner, size = row[:2] * ratio, row[2:4] * ratio
    left, top = (max(0, round(float(value))) for value in corner)
    right, bottom = (round(float(value)) for value in corner + size)
    right, bottom = min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        return None
    marks = tuple((float(x), float(y)) for x, y in row[4:14].reshape(5, 2) * ratio)
    return Face(Box(left, top, right - left, bottom - top), float(row[14]), marks)


def _best_score(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=0.0)


def _turned_back(face: Face, turns: int, shape: tuple[int, int]) -> Face:
    """Convert a face in `numpy.rot90(photo, turns)` to the pixels of the photo, which has this shape."""
    height, width = shape

    def back(x: float, y: float) -> tuple[float, float]:
        return {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turns]

    box = face.box
    corners = [back(box.x, box.y), back(box.x + box.width, box.y + box.height)]
    left, top = (int(min(values)) for values in zip(*corners, strict=True))
    right, bottom = (int(max(values)) for values in zip(*corners, strict=True))
    # A landmark is the middle of a pixel, a box's edge lies between two.
    marks = tuple(back(x + 0.5, y + 0.5) for x, y in face.landmarks or ())
    return replace(
        face,
        box=Box(left, top, right - left, bottom - top),
        landmarks=tuple((x - 0.5, y - 0.5) for x, y in marks),
        turns=turns,
    )
