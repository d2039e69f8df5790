"""The thing to beat: look-alike search as a notebook does it, one photo after the other.

    python tests/benchmarks/seed_baseline.py index FOLDER OUT.npz --limit 100 --weights WEIGHTS.npz
    python tests/benchmarks/seed_baseline.py query REF OUT.npz --top 4 --metric cosine --weights WEIGHTS.npz

index: `cv2.imread`, Haar's frontal cascade, the largest face cut out, 224 x 224, Keras' ResNet-50 by
`model.predict` on that one face, all vectors into an .npz. query: the same for the reference in a new
process, then scipy's distances to all vectors. Nothing is made slower than a notebook has it: OpenCV and
TensorFlow use their own default threads, a photo is made grey once. The cascade runs with scaleFactor 1.1
and minNeighbors 5: the factor is OpenCV's own default, and the pair is what most tutorials write.

Figures go to stdout as JSON, all else to stderr. The photos/s of `index` leave out importing TensorFlow,
building the model and its first prediction (which traces the graph); the time of `query` that counts is
the wall time of the whole process, which the caller takes.

--weights names an .npz of tensors, `layer/variable` -> float32. Without it the network keeps random weights:
as fast, but its answers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from scipy.spatial.distance import cdist

SIZE = 224
SCALE_FACTOR, MIN_NEIGHBOURS = 1.1, 5
CASCADE = "haarcascade_frontalface_default.xml"
SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".bmp", ".webp", ".tif", ".tiff")


def load_cascade():
    """The cascade of the repository, or else the one that comes with OpenCV."""
    repository = os.path.join(os.path.dirname(__file__), "..", "..", "haarcascades", CASCADE)
    path = repository if os.path.exists(repository) else os.path.join(cv2.data.haarcascades, CASCADE)
    cascade = cv2.CascadeClassifier(path)
    if cascade.empty():
        sys.exit(f"{path} is not a cascade.")
    return cascade


def load_model(weights):
    """ResNet-50 without its head, with its tensors from an .npz."""
    from tensorflow.keras.applications import ResNet50

    model = ResNet50(include_top=False, pooling="avg", weights=None, input_shape=(SIZE, SIZE, 3))
    if weights is None:
        print(
            "No --weights: the network has random ones. Speed is the same, answers mean nothing.",
            file=sys.stderr,
        )
    else:
        with np.load(weights, allow_pickle=False) as tensors:
            assign(model, tensors)
    model.predict(np.zeros((1, SIZE, SIZE, 3), np.float32), verbose=0)
    return model


def assign(model, tensors):
    """Return every variable of the model its tensor, by name; stop if one is missing."""
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}/{variable.name.split('/')[-1].removesuffix(':0')}"
            if name not in tensors:
                sys.exit(f"The weights hold no {name}.")
            variable.assign(tensors[name])


def largest_face(path, cascade):
    """The largest face of a photo as a BGR crop; None without a photo or a face."""
    image = cv2.imread(path)
    if image is None:
        return None
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    faces = cascade.detectMultiScale(gray, SCALE_FACTOR, MIN_NEIGHBOURS)
    if len(faces) == 0:
        return None
    x, y, width, height = max(faces, key=lambda face: face[2] * face[3])
    return image[y : y + height, x : x + width]


def embed(crop, model):
    """One face through the network: (2048,) float32."""
    from tensorflow.keras.applications.resnet50 import preprocess_input

    rgb = cv2.cvtColor(cv2.resize(crop, (SIZE, SIZE)), cv2.COLOR_BGR2RGB)
    batch = preprocess_input(rgb.astype(np.float32)[None])
    return model.predict(batch, verbose=0)[0]


def find_photos(folder, limit):
    """The photos of a folder and those below it, in order of their names."""
    found = []
    for root, folders, files in os.walk(folder):
        folders.sort()
        found += [os.path.join(root, name) for name in sorted(files) if name.lower().endswith(SUFFIXES)]
    return found[:limit]


def index(arguments):
    cascade, model = load_cascade(), load_model(arguments.weights)
    photos = find_photos(arguments.folder, arguments.limit)
    if not photos:
        sys.exit(f"There is no photo in {arguments.folder}.")
    began = time.perf_counter()
    paths, vectors = [], []
    for path in photos:
        crop = largest_face(path, cascade)
        if crop is not None:
            paths.append(path)
            vectors.append(embed(crop, model))
    np.savez(arguments.out, paths=np.array(paths, dtype=np.str_), vectors=np.array(vectors, np.float32))
    seconds = time.perf_counter() - began
    return {
        "photos": len(photos),
        "faces": len(paths),
        "seconds": round(seconds, 3),
        "photos_per_second": round(len(photos) / seconds, 3),
        "excluded": "imports, building the model, its first prediction",
        "weights": "random" if arguments.weights is None else "given",
        "detect": {"scaleFactor": SCALE_FACTOR, "minNeighbors": MIN_NEIGHBOURS},
    }


def query(arguments):
    with np.load(arguments.index, allow_pickle=False) as stored:
        paths, vectors = stored["paths"], stored["vectors"]
    cascade, model = load_cascade(), load_model(arguments.weights)
    crop = largest_face(arguments.reference, cascade)
    if crop is None:
        sys.exit(f"No face was found in {arguments.reference}.")
    distances = cdist(embed(crop, model)[None], vectors, arguments.metric)[0]
    order = np.argsort(distances)[: arguments.top]
    return {
        "metric": arguments.metric,
        "matches": [{"path": str(paths[row]), "distance": float(distances[row])} for row in order],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)

    indexing = commands.add_parser("index")
    indexing.add_argument("folder")
    indexing.add_argument("out")
    indexing.add_argument("--limit", type=int)
    indexing.set_defaults(run=index)

    querying = commands.add_parser("query")
    querying.add_argument("reference")
    querying.add_argument("index")
    querying.add_argument("--top", type=int, default=4)
    querying.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine")
    querying.set_defaults(run=query)

    for command in (indexing, querying):
        command.add_argument("--weights", metavar="FILE.npz")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse_arguments()
    print(json.dumps(chosen.run(chosen), indent=2))
