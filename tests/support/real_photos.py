"""Small real photos to index, and the comparison of two indexes bit by bit."""

import io
import random

import numpy as np
from PIL import Image, ImageEnhance

from support.command import LIBRARY

# Everything of an index that says something about photos and faces; times of writing differ of course.
ARRAYS = (
    *("vectors", "norms", "boxes", "scores", "landmarks", "photo", "paths", "path_ends", "root"),
    *("size", "mtime_ns", "digest", "file_digest", "status", "forgotten", "format"),
    *("erased", "erased_boxes"),
)
PEOPLE = ("grace_hopper.jpg", "biden.jpg", "obama_2009.jpg", "obama_2010.jpg", "astronaut.png")


def altered(path, number):
    """Return a photo as a JPEG with another pixel in its corner: another picture of the same faces."""
    image, file = Image.open(path).convert("RGB"), io.BytesIO()
    image.paste((number % 256, 128, 255 - number % 256), (0, 0, 8, 8))
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def make_photos(folder, count):
    """Write small photos: the samples in other sizes and brightness, some without a face, some broken."""
    folder.mkdir()
    rng = random.Random(1)
    samples = [Image.open(LIBRARY / name).convert("RGB") for name in (*PEOPLE, "coffee.png")]
    for sample in samples:
        sample.thumbnail((420, 420))
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        if number % 20 == 7:
            path.write_bytes(b"broken %d" % number)
            continue
        image = samples[number % len(samples)]
        scale = rng.uniform(0.7, 1.0)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2)).save(path, quality=92)
    return folder


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ARRAYS}


def assert_same(index, undisturbed):
    """Compare two indexes bit by bit.

    The vectors too: no tolerance, since how faces are put into batches was seen to change no bit of a face's
    vector (batches of 1, 2, 3, 5, 8, 16, 17 and 32 compared, in bf16 and in f32).
    """
    one, other = arrays_of(index), arrays_of(undisturbed)
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
