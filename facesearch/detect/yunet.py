"""The YuNet detector: a small network that finds faces of all sizes and poses, with five landmarks each."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facesearch.detect import WORKING_SIDE, Detector
from facesearch.detect.yunet_network import YuNetNetwork
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
WHOLE_SIDE, FINE_SIDE = 320, WORKING_SIDE
# Up to this side one look does for both.
SINGLE_SIDE = 480
# A tile of a panorama or of a very large photo: its longest side in pixels of the photo, and how many times
# as long as high it may be. Tiles share a quarter with their neighbours, so that a face on a border is whole
# in one of them.
TILE_SPAN, TILE_SHAPE, TILE_SHARED = 6144, 3.0, 0.25
# What scores so much may be a face, and is looked at closely; what scores the second number then is one.
CANDIDATE, CONFIRMED = 0.6, 0.84
# What scores so much in an upright view is one at once. All faces of LFW, AT&T, UTKFace and the Solvay
# photograph do (in the latter 0.88 at least), and in 137 pictures without a face two places do, at 0.87.
ACCEPTED = 0.8
# Of a turned face the network sees, if anything, an upright one in the wrong place; of 300 turned portraits
# one scored 0.903.
SURE = 0.905
# In a photo that is not small, large faces in any turn are looked for at this size.
TURNED_SIDE = 160
# The closer look at a candidate: a square of so many of its longer sides, as so many pixels.
CLOSE_REGION, CLOSE_SIDE = 2.2, 112
UPRIGHT, ALL_TURNS = (0,), (0, 1, 2, 3)
# The search for a face that fills the photo or is cut off by its edge: a border of so much of its longer
# side, and the smallest face in sides of the photo. A small photo may be cut out around a face, so less is
# accepted: of CFP's 1,000 profiles in small photos 31 were missed without the search.
BORDER, LARGE, LARGE_ACCEPTED = 0.25, 0.3, 0.65
# Two boxes that share so much are one face.
SAME_FACE = 0.3
MOST_FACES = 5000


def build(file: Path, folder: Path) -> DetectorCard:
    """Store the network as it is; see `facesearch.models.sources.Build`."""
    check_digest(file, CARD.digest)
    shutil.copyfile(file, folder / ONNX)
    return CARD


RECIPE = Recipe(
    CARD, (_PUBLISHER, _MIRROR), build, origin=ONNX, by_hand=f"the file {_FILE} from {_PUBLISHER.url}"
)


@dataclass(frozen=True, slots=True)
class _View:
    """A part of a photo, in its pixels; it may reach beyond the photo."""

    x: int
    y: int
    width: int
    height: int

    @property
    def longer(self) -> int:
        """The longer side."""
        return max(self.width, self.height)


class YuNetDetector(Detector):
    """Finds faces with YuNet, and looks closer at those that it is not sure of.

    Args:
        min_face: The smallest face to return, in pixels of the photo.
        rotations: Whether small faces that lie on a side or are upside down are looked for, too. Large ones
            are found without it.

    Raises:
        ModelBroken: The network's file does not have the pinned digest.
    """

    landmarks = True
    recipe = RECIPE

    def __init__(self, folder: Path, *, min_face: int = 0, rotations: bool = False) -> None:
        if min_face < 0:
            raise FacesearchError("The smallest face cannot be below 0 pixels.")
        self.min_face = min_face
        self.rotations = rotations
        self._run = YuNetNetwork(
            _checked_network(folder),
            f"yunet-{_SHA256[:16]}",
            least_score=CANDIDATE,
            same=SAME_FACE,
            most=MOST_FACES,
        )

    def working_side(self, width: int, height: int) -> int:
        """Return the longer side at which a photo is searched; see `Detector.working_side`."""
        longer, shorter = max(width, height), min(width, height)
        tile = min(longer, TILE_SPAN, round(TILE_SHAPE * shorter))
        return min(longer, round(FINE_SIDE * longer / tile))

    def detect(self, image: NDArray[np.uint8], scale: float) -> list[Face]:
        """Find all faces of an upright photo; see `Detector.detect`."""
        height, width = image.shape[:2]
        side = self.working_side(round(width * scale), round(height * scale))
        tiles = _tiles(_whole(image), side)
        # All looks at the whole photo are scaled down from this, which is cheaper than from the photo.
        reduced = _scaled_down(image, side) if len(tiles) == 1 else image
        found = self._search(image, reduced, tiles, side)
        if not _has_sure(found):
            found = _without_duplicates(
                [*found, *self._search_turned(image, reduced), *self._search_border(image, reduced)]
            )
        faces = [face for face in found if max(face.box.width, face.box.height) * scale >= self.min_face]
        return sorted(faces, key=lambda face: (-face.box.area, face.box.x, face.box.y))

    def _search(
        self, image: NDArray[np.uint8], reduced: NDArray[np.uint8], tiles: Sequence[_View], side: int
    ) -> list[Face]:
        """Search a photo as a whole and, if it is larger, in detail and for large faces that are turned."""
        turns, whole = ALL_TURNS if self.rotations else UPRIGHT, _whole(image)
        if whole.longer <= SINGLE_SIDE:
            return self._faces(image, self._see(image, whole, turns, image.shape))
        small = _scaled_down(reduced, WHOLE_SIDE)
        seen = self._see(small, whole, turns, image.shape)
        shown = _shown(small, _View(0, 0, WHOLE_SIDE, WHOLE_SIDE), TURNED_SIDE)
        seen += self._see_all_turns(shown, _View(0, 0, whole.longer, whole.longer), image.shape)
        for tile in tiles:
            shown = reduced
            if len(tiles) > 1:
                shown = _shown(image, tile, round(tile.longer * side / whole.longer))
            seen += self._see(shown, tile, turns, image.shape)
        return self._faces(image, seen)

    def _search_turned(self, image: NDArray[np.uint8], reduced: NDArray[np.uint8]) -> list[Face]:
        """Search a photo that may lie on a side or be upside down."""
        if self.rotations:
            return []  # it was done at once
        small = _scaled_down(reduced, WHOLE_SIDE)
        return self._faces(image, self._see(small, _whole(image), ALL_TURNS[1:], image.shape))

    def _search_border(self, image: NDArray[np.uint8], reduced: NDArray[np.uint8]) -> list[Face]:
        """Search for a face that fills a photo or is cut off by its edge, with some room around the photo."""
        whole = _whole(image)
        small = whole.longer <= SINGLE_SIDE
        accepted, sides = (LARGE_ACCEPTED, (WHOLE_SIDE, SINGLE_SIDE)) if small else (CONFIRMED, (WHOLE_SIDE,))
        view, shown = _with_border(whole), _with_border(_whole(reduced))
        seen = [
            face
            for side in sides
            for face in self._see(_shown(reduced, shown, side), view, UPRIGHT, image.shape)
        ]
        least = LARGE * min(whole.width, whole.height)
        return [
            face for face in seen if face.score >= accepted and max(face.box.width, face.box.height) >= least
        ]

    def _faces(self, image: NDArray[np.uint8], seen: Sequence[Face]) -> list[Face]:
        """Return the faces among what was seen, each once and as it is seen best."""
        pairs = [(face, self._closer(image, face)) for face in _without_duplicates(seen)]
        return _without_duplicates(
            [
                closer
                for face, closer in pairs
                if closer.score >= CONFIRMED or (face.score >= ACCEPTED and not face.turns)
            ]
        )

    def _closer(self, image: NDArray[np.uint8], face: Face) -> Face:
        """Return a face as it is seen best: the network may not be sure of it because it is turned."""
        if face.score >= SURE:
            return face
        side = round(CLOSE_REGION * max(face.box.width, face.box.height))
        x, y = (round(middle - side / 2) for middle in face.box.centre)
        view = _View(x, y, side, side)
        seen = self._see_all_turns(_shown(image, view, CLOSE_SIDE), view, image.shape)
        near = [one for one in seen if one.box.overlap(face.box) >= SAME_FACE]
        return max([face, *near], key=lambda one: one.score)

    def _see_all_turns(self, shown: NDArray[np.uint8], view: _View, photo: tuple[int, ...]) -> list[Face]:
        """Return what the network sees in a square view in all turns, all in one picture to save time.

        Args:
            shown: The pixels of the view, at any scale.
            view: Where they are in the photo.
            photo: The photo's shape.
        """
        side = shown.shape[0]
        turned = [np.rot90(shown, turns) for turns in ALL_TURNS]
        faces = []
        for row in self._run(np.vstack([np.hstack(turned[:2]), np.hstack(turned[2:])])):
            right, down = (int(middle >= side) for middle in row[:2] + row[2:4] / 2)
            corner = np.array([right, down], np.float32) * side
            row[:2] -= corner
            row[4:14] -= np.tile(corner, 5)
            faces.append(_face(row, view, right + 2 * down, shown.shape, photo))
        return [face for face in faces if face is not None]

    def _see(
        self, shown: NDArray[np.uint8], view: _View, turns: Sequence[int], photo: tuple[int, ...]
    ) -> list[Face]:
        """Return what the network sees in a view, in pixels of the photo.

        Args:
            shown: The pixels of the view, at any scale.
            view: Where they are in the photo.
            turns: Quarter turns counter-clockwise, as for `numpy.rot90`, in which they are shown.
            photo: The photo's shape.
        """
        faces = []
        for number in turns:
            turned = np.ascontiguousarray(np.rot90(shown, number))
            faces += [_face(row, view, number, turned.shape, photo) for row in self._run(turned)]
        return [face for face in faces if face is not None]


def _checked_network(folder: Path) -> bytes:
    try:
        check_digest(folder / ONNX, CARD.digest)
        return (folder / ONNX).read_bytes()
    except (ModelBroken, OSError) as error:
        raise ModelBroken(
            "The detector yunet is broken: its network has been changed, damaged or removed.",
            "Run 'facesearch models fetch yunet' to fetch it again.",
        ) from error


def _has_sure(faces: Sequence[Face]) -> bool:
    return any(face.score >= SURE for face in faces)


def _whole(image: NDArray[np.uint8]) -> _View:
    return _View(0, 0, image.shape[1], image.shape[0])


def _with_border(whole: _View) -> _View:
    border = round(BORDER * whole.longer)
    return _View(-border, -border, whole.width + 2 * border, whole.height + 2 * border)


def _tiles(whole: _View, side: int) -> list[_View]:
    """Return views that cover a photo, none larger than `FINE_SIDE` pixels when the photo has this side."""
    span = FINE_SIDE * whole.longer / side
    return [
        _View(x, y, right - x, below - y)
        for y, below in _spans(whole.height, span)
        for x, right in _spans(whole.width, span)
    ]


def _spans(length: int, span: float) -> list[tuple[int, int]]:
    """Return the fewest spans that cover a length and share enough with their neighbours."""
    if length <= span + 1:
        return [(0, length)]
    count = math.ceil((length - span) / (span * (1 - TILE_SHARED))) + 1
    starts = np.linspace(0, length - span, count).round().astype(int).tolist()
    return [(start, min(length, start + math.ceil(span))) for start in starts]


def _shown(image: NDArray[np.uint8], view: _View, side: int) -> NDArray[np.uint8]:
    """Return the pixels of a view, its longer side scaled to `side`, black beyond the photo."""
    height, width = image.shape[:2]
    factor = side / view.longer
    top, below, down = _inside(view.y, view.height, height, factor)
    left, right, across = _inside(view.x, view.width, width, factor)
    part = image[max(0, view.y) : view.y + view.height, max(0, view.x) : view.x + view.width]
    if factor != 1.0:
        # The border is added last: it need not be scaled.
        # By less than a half each pixel counts either way, and this takes a quarter of the time.
        how = cv2.INTER_AREA if factor <= 0.5 else cv2.INTER_LINEAR
        part = np.asarray(cv2.resize(part, (across, down), interpolation=how), np.uint8)
    if top or below or left or right:
        part = np.asarray(cv2.copyMakeBorder(part, top, below, left, right, cv2.BORDER_CONSTANT), np.uint8)
    return part


def _inside(start: int, length: int, whole: int, factor: float) -> tuple[int, int, int]:
    """Return how many scaled pixels of a view lie before the photo, behind it, and in it."""
    before = round(max(0, -start) * factor)
    total = max(1, round(length * factor))
    end = min(total, round((min(start + length, whole) - start) * factor))
    return before, total - max(end, before + 1), max(1, end - before)


def _scaled_down(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a picture with a longer side of at most so many pixels."""
    whole = _whole(image)
    return _shown(image, whole, min(side, whole.longer))


def _without_duplicates(faces: Sequence[Face]) -> list[Face]:
    """Return each face once, where it scored highest: there its landmarks are more exact, too."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(face.box.overlap(other.box) < SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _face(
    row: NDArray[np.float32], view: _View, turns: int, shown: tuple[int, ...], photo: tuple[int, ...]
) -> Face | None:
    """Return a row as a face in the pixels of the photo, its box inside it; None for a face outside.

    Args:
        row: Box, landmarks and score in pixels of what the network was shown.
        view: What it was shown.
        turns: How it was turned.
        shown: Its shape, turned and scaled.
        photo: The photo's shape.
    """
    if not np.isfinite(row).all():
        return None
    # First in pixels of the view as it was turned, then turned back.
    width, height = (view.height, view.width) if turns % 2 else (view.width, view.height)
    ratio = np.array([width / shown[1], height / shown[0]])
    corners = np.stack([row[:2], row[:2] + row[2:4]])
    # A landmark is the middle of a pixel, a box's edge lies between two.
    points = np.concatenate([corners * ratio, row[4:14].reshape(5, 2) * ratio + 0.5])
    x, y = points.T
    x, y = {0: (x, y), 1: (height - y, x), 2: (width - x, height - y), 3: (y, width - x)}[turns]
    points = np.stack([x + view.x, y + view.y], axis=1)
    left, top = (max(0, round(float(value))) for value in points[:2].min(axis=0))
    right, bottom = (round(float(value)) for value in points[:2].max(axis=0))
    right, bottom = min(right, photo[1]), min(bottom, photo[0])
    if right <= left or bottom <= top:
        return None
    marks = tuple((float(x), float(y)) for x, y in points[2:] - 0.5)
    return Face(Box(left, top, right - left, bottom - top), float(row[14]), marks, turns)
