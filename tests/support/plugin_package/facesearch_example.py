"""A package that adds one plug-in of each kind to facesearch; the tests put its folder on sys.path."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from facesearch.detect import Detector
from facesearch.embed.conversion import store_network
from facesearch.faces import Box, Face
from facesearch.index.npz.backend import NpzBackend
from facesearch.models.card import Card
from facesearch.models.sources import Recipe

SIDE = 16


class HalfDetector(Detector):
    """Takes one half of each photo for a face; `side` is a setting of its own."""

    def __init__(self, *, side="left", min_face=0, rotations=False):
        self.side = side
        self.min_face = min_face

    def detect(self, image, scale):
        height, width = image.shape[:2]
        half = max(1, width // 2)
        left = 0 if self.side == "left" else width - half
        return [Face(Box(left, 0, half, height), 1.0)] if max(height, width) >= self.min_face else []


class PlainDetector:
    """Takes each photo for a face; it derives from nothing and has no settings."""

    def detect(self, image, scale):
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height), 1.0)]


class RaisingDetector(PlainDetector):
    def __init__(self):
        raise KeyError("weights")


class MadeHere:
    """A source of weights that needs no network: it makes them."""

    def __str__(self):
        return "this package"

    def fetch(self, folder, *, progress):
        from facesearch.models.openvino import load_openvino

        openvino = load_openvino()
        ops = openvino.opset13
        picture = ops.parameter([-1, 3, SIDE, SIDE], np.float32, name="picture")
        means = ops.reduce_mean(picture, [2, 3], keep_dims=False)
        file = folder / "means.xml"
        openvino.save_model(openvino.Model([means], [picture], "means"), file, compress_to_fp16=False)
        return file


def build(file, folder):
    (folder / "means.xml").write_bytes(file.read_bytes())
    (folder / "means.bin").write_bytes(file.with_suffix(".bin").read_bytes())
    return replace(CARD, dim=store_network(folder / "means.xml", CARD, folder))


CARD = Card(
    name="example-colour",
    dim=3,
    size=(SIDE, SIDE),
    margin=0.0,
    detector="example-half",
    licence="MIT",
    source="facesearch_example",
    digest="sha256:" + "0" * 64,
)
RECIPE = Recipe(CARD, (MadeHere(),), build, origin="means.xml", by_hand="nothing")


def open_index(url):
    """Open example:///FOLDER/NAME: an index in a file with another ending."""
    return NpzBackend(Path(urlsplit(url).path + ".npz"))
