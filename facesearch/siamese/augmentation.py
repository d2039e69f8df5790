"""Image augmentation: the same face in another pose, in another light, taken by another camera."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Strength:
    """The largest change that augmentation makes, in either direction.

    Attributes:
        turn: Rotation in degrees.
        zoom: Change of size, as a fraction of it.
        shift: In widths of the picture.
        shear: In widths of the picture.
        tilt: How far each corner moves on its own, in widths of the picture.
        light: Change of brightness, as a fraction of it; the channels differ by a third of that.
        gamma: Change of the exponent, as a fraction of it.
        shade: How much darker one side is than the other, as a fraction.
        blur: Standard deviation, in hundredths of the width.
        grain: Standard deviation of the noise, in levels of 255.
        mirrored: The probability that the picture is mirrored.
    """

    turn: float
    zoom: float
    shift: float
    shear: float
    tilt: float
    light: float
    gamma: float
    shade: float
    blur: float
    grain: float
    mirrored: float = 0.5


# A photograph of the same moment: for the features of a pretrained backbone.
SLIGHT = Strength(8.0, 0.08, 0.04, 0.03, 0.03, 0.2, 0.2, 0.2, 0.8, 3.0)
# Another moment, another light: so strong that a plain 16x16 pixel distance, which is part of every report,
# gets about two of three pairs of UTKFace right. Not mirrored: a pixel distance could undo that.
STRONG = Strength(32.0, 0.25, 0.13, 0.13, 0.11, 0.3, 0.35, 0.3, 2.0, 4.0, mirrored=0.0)


def augment(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture with random changes of pose, light and sharpness.

    Args:
        crop: (height, width, 3) BGR uint8.
        strength: The largest change.
        rng: The source of the random numbers.

    Returns:
        A picture of the same shape. Areas from outside the crop are filled with its reflection.
    """
    return _relight(_move(crop, strength, rng), strength, rng)


def rng_of(crop: NDArray[np.uint8], number: int) -> np.random.Generator:
    """Return a generator that is always the same for the same pixels and number."""
    digest = hashlib.blake2b(
        np.ascontiguousarray(crop).data, digest_size=8, salt=number.to_bytes(8, "little")
    )
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


def augmented_views(crop: NDArray[np.uint8], count: int, strength: Strength) -> NDArray[np.uint8]:
    """Return a picture, followed by `count` augmented copies of it: (1 + count, height, width, 3)."""
    numbers = range(1, count + 1)
    return np.stack([crop, *(augment(crop, strength, rng_of(crop, number)) for number in numbers)])


def _move(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    angle = np.deg2rad(rng.uniform(-strength.turn, strength.turn))
    scale = np.exp(rng.uniform(-strength.zoom, strength.zoom))
    shear = rng.uniform(-strength.shear, strength.shear)
    mirror = -1.0 if rng.random() < strength.mirrored else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([mirror, 1.0])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    moved = corners @ linear.T + rng.uniform(-strength.shift, strength.shift, 2)
    moved += rng.uniform(-strength.tilt, strength.tilt, (4, 2)) / 2
    size = np.array([width - 1, height - 1])
    transform = cv2.getPerspectiveTransform(
        ((corners + 0.5) * size).astype(np.float32), ((moved + 0.5) * size).astype(np.float32)
    )
    return np.asarray(
        cv2.warpPerspective(crop, transform, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _relight(crop: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    channels = 1.0 + rng.uniform(-strength.light, strength.light, 3) / 3
    gain = channels * (1.0 + rng.uniform(-strength.light, strength.light))
    gamma = np.exp(rng.uniform(-strength.gamma, strength.gamma)) * channels
    levels = np.arange(256)[:, None] / 255.0
    curve = np.clip(255.0 * gain * levels**gamma, 0, 255).astype(np.uint8)
    lit = cv2.LUT(crop, curve[None]).astype(np.float32)
    towards = rng.uniform(0, 2 * np.pi)
    across = np.cos(towards) * np.linspace(-1, 1, width, dtype=np.float32)
    down = np.sin(towards) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    lit *= (1.0 + rng.uniform(0, strength.shade) * (across + down)).astype(np.float32)[..., None]
    blur = rng.uniform(0, strength.blur) * width / 100
    if blur > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), blur)
    lit += np.float32(rng.uniform(0, strength.grain)) * rng.standard_normal(lit.shape, np.float32)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
