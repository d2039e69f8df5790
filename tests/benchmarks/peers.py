"""Photos/s of facesearch, deepface and face_recognition over one folder: whole processes, side by side.

    python tests/benchmarks/peers.py PHOTOS --limit 130 --environments ~/.cache/facesearch-peers

Each peer has an environment of its own, which is made where it is missing (deepface takes 2 GB). deepface
runs YuNet and SFace, with the weights that facesearch has; face_recognition runs dlib's HOG detector and its
ResNet of 128 numbers, from the wheels of dlib-bin. Each program finds all faces of all photos and computes a
vector for each, in a new process; facesearch writes its index as well. The rounds take turns, and medians are
shown.

With --megapixels LOW HIGH the photos are set into backgrounds of sizes between these first, as press
photographs have them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from index_speed import choose_photos, enlarge
from measuring import FACESEARCH, run, show

from facesearch.detect import yunet
from facesearch.embed import sface
from facesearch.errors import FetchFailed

_DEEPFACE = """
import sys
from deepface import DeepFace
from deepface.modules.exceptions import FaceNotDetected
faces = 0
for path in sys.argv[1:]:
    try:
        found = DeepFace.represent(path, model_name="SFace", detector_backend="yunet", align=True)
    except (FaceNotDetected, ValueError):
        continue
    faces += len(found)
print(faces)
"""
_DEEPFACE_NOTHING = """
from deepface import DeepFace
print(0)
"""
_FACE_RECOGNITION = """
import sys
import face_recognition
faces = 0
for path in sys.argv[1:]:
    image = face_recognition.load_image_file(path)
    faces += len(face_recognition.face_encodings(image))
print(faces)
"""
_FACE_RECOGNITION_NOTHING = """
import face_recognition
print(0)
"""


@dataclass(frozen=True)
class Peer:
    """Another program: what it needs, and scripts that process photos, and that only start."""

    name: str
    packages: tuple[tuple[str, ...], ...]
    script: str
    nothing: str


PEERS = (
    Peer("deepface", (("deepface", "flask", "tf-keras"),), _DEEPFACE, _DEEPFACE_NOTHING),
    Peer(
        "face_recognition",
        # Its wheel asks for dlib, which would be compiled; dlib-bin is the same, compiled.
        (
            ("dlib-bin", "numpy", "pillow", "click", "face_recognition_models", "setuptools<81"),
            ("--no-deps", "face_recognition"),
        ),
        _FACE_RECOGNITION,
        _FACE_RECOGNITION_NOTHING,
    ),
)


def environment(peer: Peer, folder: Path) -> Path:
    """Return the Python of a peer's environment, which is made where it is missing."""
    place = folder / peer.name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (place / "complete").exists():
        print(f"making {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        for packages in peer.packages:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (place / "complete").touch()
    return python


def give_weights(home: Path) -> None:
    """Put YuNet's and SFace's weights where deepface looks for them; it would fetch the same files itself."""
    weights = home / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    wanted = {
        "face_detection_yunet_2023mar.onnx": yunet.RECIPE,
        "face_recognition_sface_2021dec.onnx": sface.RECIPE,
    }
    for name, recipe in wanted.items():
        if (weights / name).exists():
            continue
        for source in recipe.sources:
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    (weights / name).write_bytes(source.fetch(Path(scratch), progress=False).read_bytes())
                    break
                except FetchFailed:
                    continue


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=130)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megapixels", type=float, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument("--environments", type=Path, required=True, help="where they are, and are made")
    options = parser.parse_args()
    give_weights(options.environments)
    os.environ |= {"DEEPFACE_HOME": str(options.environments), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pythons = {peer.name: str(environment(peer, options.environments)) for peer in PEERS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photos")
        folder.mkdir()
        chosen = choose_photos(options.photos, options.limit)
        if options.megapixels:
            sizes = random.Random(0)
            for number, photo in enumerate(chosen):
                into = folder / f"{number:05}"
                into.mkdir()
                # A portrait of 250 pixels then takes 0.4 to 0.9 of the height.
                size = sizes.uniform(*options.megapixels)
                times = sizes.uniform(0.4, 0.9) * (size * 1e6 * 3 / 4) ** 0.5 / 250
                enlarge([photo], size, into, times=times)
        else:
            for number, photo in enumerate(chosen):
                (folder / f"{number:05}.jpg").write_bytes(photo.read_bytes())
        photos = sorted(str(path) for path in folder.rglob("*.jpg"))
        seconds: dict[str, list[float]] = {}
        faces: dict[str, str] = {}
        for number in range(options.rounds):
            index = f"{scratch}/{number}.npz"
            ours = run([*FACESEARCH, "index", str(folder), "--model", "sface", "--index", index, "--quiet"])
            seconds.setdefault("facesearch", []).append(ours.seconds)
            for peer in PEERS:
                call = [pythons[peer.name], "-c"]
                ran = run([*call, peer.script, *photos])
                started = run([*call, peer.nothing])
                seconds.setdefault(peer.name, []).append(ran.seconds)
                seconds.setdefault(f"{peer.name}, start alone", []).append(started.seconds)
                faces[peer.name] = ran.stdout.split()[-1]
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    figures: dict[str, object] = {"photos": len(photos)}
    for name, value in middle.items():
        figures[f"{name}, s"] = value
    for peer in PEERS:
        figures[f"{peer.name}: times as long"] = middle[peer.name] / middle["facesearch"]
        started = middle[f"{peer.name}, start alone"]
        figures[f"{peer.name} without its start: times as long"] = (middle[peer.name] - started) / middle[
            "facesearch"
        ]
        figures[f"{peer.name}, faces"] = int(faces[peer.name])
    show("peers", figures)


if __name__ == "__main__":
    main()
