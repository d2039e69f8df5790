"""Cut a face out of its photo, as the model wants it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.faces import Box, Face


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
        margin: How much of the box is added on each side; 0.4 makes it 1.8 times as wide.

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


def widened(box: Box, margin: float) -> Box:
    """Give the box with `margin` of its width and height added on each side; it may leave the photo."""
    extra_x, extra_y = round(box.width * margin), round(box.height * margin)
    return Box(box.x - extra_x, box.y - extra_y, box.width + 2 * extra_x, box.height + 2 * extra_y)
