"""People who are drawn: each is a soft pattern of their own, and their photos differ as photographs do."""

from pathlib import Path

import cv2
import numpy as np

SIDE = 64


def drawn_photo(person, number, *, seed=0, shadow=0.0):
    """Return a photo of a person, (64, 64, 3) BGR uint8: moved, lit otherwise, with noise.

    A shadow is as soft as the light of a room, and has nothing to do with the person.
    """
    pattern = np.random.default_rng([seed, person]).uniform(0, 255, (5, 5, 3))
    rng = np.random.default_rng([seed, person, number])
    face = cv2.resize(pattern, (SIDE + 8, SIDE + 8), interpolation=cv2.INTER_CUBIC)
    x, y = rng.integers(0, 9, 2)
    face = face[y : y + SIDE, x : x + SIDE] * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20)
    face = face + rng.normal(0, 6, face.shape)
    if shadow:
        corners = rng.uniform(-127 * shadow, 127 * shadow, (2, 2, 3))
        face += cv2.resize(corners, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return np.clip(face, 0, 255).astype(np.uint8)


def draw_people(folder, people=16, photos=5, *, seed=0, shadow=0.0):
    """Write a folder for each person with so many photos; give the folder's path as text."""
    for person in range(people):
        own = Path(folder) / f"person{person:02}"
        own.mkdir(parents=True)
        for number in range(photos):
            cv2.imwrite(str(own / f"{number}.png"), drawn_photo(person, number, seed=seed, shadow=shadow))
    return str(folder)


def draw_singles(folder, people=24, *, seed=0):
    """Write one photo of each person into one folder; give its path as text."""
    Path(folder).mkdir(parents=True)
    for person in range(people):
        cv2.imwrite(str(Path(folder) / f"{person:02}.png"), drawn_photo(person, 0, seed=seed))
    return str(folder)
