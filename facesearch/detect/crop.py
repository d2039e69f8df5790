"""Cuts faces out of photos as a model expects them: a widened box, or aligned by landmarks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Face, Landmarks

# Where right eye, left eye, nose and the corners of the mouth lie in an aligned crop of 112x112 pixels. The
# networks that want aligned crops were trained with these, which came with InsightFace's ArcFace; SFace too.
TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
TEMPLATE_SIDE = 112


def crop_face(
    image: NDArray[np.uint8], face: Face, *, size: tuple[int, int], margin: float
) -> NDArray[np.uint8]:
    """Cut out a face with some of its surroundings.

    Where the widened box leaves the photo, the photo's edge is repeated, so that the face keeps its
    place and its proportions.

    Args:
        image: (height, width, 3) BGR uint8.
        face: A face in the pixels of `image`.
        size: Height and width of the result.
        margin: The part of the box that is added on each side; 0.4 makes it 1.8 times as wide.

    Returns:
        (height, width, 3) BGR uint8, the face upright.
    """
    box = widened(face.box, margin)
    height, width = image.shape[:2]
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    crop = image[top:bottom, left:right]
    outside = (top - box.y, box.y + box.height - bottom, left - box.x, box.x + box.width - right)
    if any(outside):
        crop = cv2.copyMakeBorder(crop, *outside, cv2.BORDER_REPLICATE)
    if face.turns:
        crop = np.ascontiguousarray(np.rot90(crop, face.turns))
    shrinks = crop.shape[0] > size[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(crop, (size[1], size[0]), interpolation=interpolation)  # type: ignore[no-any-return]


def align_face(
    image: NDArray[np.uint8], landmarks: Landmarks, *, size: tuple[int, int], margin: float
) -> NDArray[np.uint8]:
    """Turn, scale and shift a face so that its landmarks are where the model was trained to expect them.

    Where the crop goes beyond the photo it is black, as it was when those models were trained.

    Args:
        image: (height, width, 3) BGR uint8.
        landmarks: Five points in the pixels of `image`, as `Face` has them.
        size: Height and width of the result.
        margin: The part of the template's square that is added on each side.

    Returns:
        (height, width, 3) BGR uint8.
    """
    transform = similarity(np.array(landmarks), _template(size, margin))
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    # Landmarks in one place have no scale, and no photo holds a face a million times its crop.
    if scale < 1e-6:
        return np.zeros((*size, 3), np.uint8)
    # Where the face is more than twice as large as its crop, single pixels would stand for many.
    if (shrink := 0.5 / scale) > 1.0:
        image, transform = _region(image, transform, size, shrink)
    return cv2.warpAffine(image, transform, (size[1], size[0]), flags=cv2.INTER_LINEAR)  # type: ignore[no-any-return]


def widened(box: Box, margin: float) -> Box:
    """Return the box with `margin` of its width and height added on each side; it may leave the photo."""
    extra_x, extra_y = round(box.width * margin), round(box.height * margin)
    return Box(box.x - extra_x, box.y - extra_y, box.width + 2 * extra_x, box.height + 2 * extra_y)


def similarity(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the turn, scale and shift that map points nearest to their targets, by least squares.

    In the plane the best turn and scale are one complex number: the targets' components along the points.

    Args:
        points: (n, 2), not all in one place.
        targets: (n, 2).

    Returns:
        (2, 3), to be multiplied with (x, y, 1).
    """
    centre, goal = points.mean(axis=0), targets.mean(axis=0)
    one, other = (points - centre) @ (1, 1j), (targets - goal) @ (1, 1j)
    turn = np.vdot(one, other) / max(float(np.vdot(one, one).real), 1e-12)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, goal - linear @ centre])


def _template(size: tuple[int, int], margin: float) -> NDArray[np.float64]:
    """Return the template in a crop of this size: scaled by the shorter side, in the middle."""
    middle = TEMPLATE_SIDE / 2
    scale = min(size) / TEMPLATE_SIDE / (1 + 2 * margin)
    return (np.array(TEMPLATE) - middle) * scale + (size[1] / 2, size[0] / 2)


def _region(
    image: NDArray[np.uint8], transform: NDArray[np.float64], size: tuple[int, int], shrink: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return what a crop shows, made smaller by averaging, with the transform of its pixels."""
    inverse = cv2.invertAffineTransform(transform)
    corners = np.array([(0, 0, 1), (size[1], 0, 1), (0, size[0], 1), (size[1], size[0], 1)]) @ inverse.T
    height, width = image.shape[:2]
    left, top = (int(max(0, value)) for value in np.floor(corners.min(axis=0)) - 2)
    right, bottom = (int(value) for value in np.ceil(corners.max(axis=0)) + 2)
    right, bottom = min(max(right, left + 1), width), min(max(bottom, top + 1), height)
    part = image[top:bottom, left:right]
    if not part.size:
        return image, transform
    new = max(1, round(part.shape[1] / shrink)), max(1, round(part.shape[0] / shrink))
    small = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
    ratio = np.array([part.shape[1] / new[0], part.shape[0] / new[1]])
    # A pixel's middle lies at its whole number: that of a small one, at the middle of those it stands for.
    offset = (ratio - 1) / 2 + (left, top)
    linear = transform[:, :2]
    return small, np.column_stack([linear * ratio, transform[:, 2] + linear @ offset])
