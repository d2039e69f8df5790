"""Photographic warps: the same face under another pose, in another light, by another camera."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Strength:
    """How far a warp may go at most, in either direction.

    Attributes:
        turn: Degrees.
        zoom: Of the size, in parts of it.
        shift: In widths of the picture.
        shear: In widths of the picture.
        tilt: How far each corner moves for itself, in widths of the picture.
        light: Of the brightness, in parts of it; each channel differs by a third of that.
        gamma: Of the exponent, in parts of it.
        shade: How much darker one side is than the other, in parts.
        blur: Standard deviation, in hundredths of the width.
        grain: Standard deviation of the noise, of 255.
        mirrored: How often the picture is mirrored.
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


# A photograph of the same moment: for features of a trunk that knows the world already.
SLIGHT = Strength(8.0, 0.08, 0.04, 0.03, 0.03, 0.2, 0.2, 0.2, 0.8, 3.0)
# Another moment, another light: so strong that a plain 16x16 pixel distance, which stands in every report,
# gets about two of three pairs of UTKFace right. Not mirrored: a pixel distance that may mirror undoes that.
STRONG = Strength(32.0, 0.25, 0.13, 0.13, 0.11, 0.3, 0.35, 0.3, 2.0, 4.0, mirrored=0.0)


def warped(crop: NDArray[np.uint8], strength: Strength, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Warp a picture at random.

    Args:
        crop: (height, width, 3) BGR uint8.
        strength: How far.
        chance: Where the random numbers come from.

    Returns:
        A picture of the same shape; what comes from outside repeats the picture as in a mirror.
    """
    return _lit(_moved(crop, strength, chance), strength, chance)


def chance_of(crop: NDArray[np.uint8], number: int) -> np.random.Generator:
    """Return a picture's random numbers: the same for the same pixels and number, in any order."""
    digest = hashlib.blake2b(
        np.ascontiguousarray(crop).data, digest_size=8, salt=number.to_bytes(8, "little")
    )
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


def views(crop: NDArray[np.uint8], count: int, strength: Strength) -> NDArray[np.uint8]:
    """Return a picture and so many warps of it: (1 + count, height, width, 3)."""
    numbers = range(1, count + 1)
    return np.stack([crop, *(warped(crop, strength, chance_of(crop, number)) for number in numbers)])


def _moved(crop: NDArray[np.uint8], strength: Strength, chance: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    angle = np.deg2rad(chance.uniform(-strength.turn, strength.turn))
    scale = np.exp(chance.uniform(-strength.zoom, strength.zoom))
    shear = chance.uniform(-strength.shear, strength.shear)
    mirror = -1.0 if chance.random() < strength.mirrored else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([mirror, 1.0])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    moved = corners @ linear.T + chance.uniform(-strength.shift, strength.shift, 2)
    moved += chance.uniform(-strength.tilt, strength.tilt, (4, 2)) / 2
    size = np.array([width - 1, height - 1])
    transform = cv2.getPerspectiveTransform(
        ((corners + 0.5) * size).astype(np.float32), ((moved + 0.5) * size).astype(np.float32)
    )
    return np.asarray(
        cv2.warpPerspective(crop, transform, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _lit(crop: NDArray[np.uint8], strength: Strength, chance: np.random.Generator) -> NDArray[np.uint8]:
    height, width = crop.shape[:2]
    channels = 1.0 + chance.uniform(-strength.light, strength.light, 3) / 3
    gain = channels * (1.0 + chance.uniform(-strength.light, strength.light))
    gamma = np.exp(chance.uniform(-strength.gamma, strength.gamma)) * channels
    levels = np.arange(256)[:, None] / 255.0
    curve = np.clip(255.0 * gain * levels**gamma, 0, 255).astype(np.uint8)
    lit = cv2.LUT(crop, curve[None]).astype(np.float32)
    towards = chance.uniform(0, 2 * np.pi)
    across = np.cos(towards) * np.linspace(-1, 1, width, dtype=np.float32)
    down = np.sin(towards) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    lit *= (1.0 + chance.uniform(0, strength.shade) * (across + down)).astype(np.float32)[..., None]
    blur = chance.uniform(0, strength.blur) * width / 100
    if blur > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), blur)
    lit += np.float32(chance.uniform(0, strength.grain)) * chance.standard_normal(lit.shape, np.float32)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
