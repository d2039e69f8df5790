"""Measures an index in Milvus against the exact search of the same faces: recall at 10, a warm query's time.

    python tests/benchmarks/milvus_recall.py milvus://127.0.0.1:19530/recall [--faces 100000] [--real INDEX]

Faces are real ones, those of samples/ or of an index file, repeated with noise: each lies at a cosine of 0.6
to 0.95 to a mixture of two of them, and so does each question. The collection is made anew for each model,
and emptied. The number of faces chooses the index type; --as takes another one.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from facesearch.faces import Box, Face, FileState, PhotoFaces, Reference, Status
from facesearch.index.backend import open_backend
from facesearch.index.milvus import face_collection as faces
from facesearch.model import DetectionSettings, Model, Runtime, make_meta
from facesearch.models.store import ModelStore
from facesearch.ranking import nearest, norms_of
from facesearch.search import Question, search

SAMPLES = Path(__file__).parents[2] / "samples"
QUESTIONS = 200


def real_vectors(model):
    """Return the vectors of the faces in samples/."""
    pipeline = model.pipeline(make_meta(model.card, DetectionSettings(), None))
    photos = sorted(str(path) for path in SAMPLES.rglob("*.jpg"))
    found = [photo.vectors for photo in pipeline.run(photos) if photo.vectors is not None]
    return np.concatenate(found)


def noisy(vectors, count, rng):
    """Return copies, each at a cosine of 0.6 to 0.95 to a mixture of two of the vectors."""
    flat = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1).mean()
    out = np.empty((count, vectors.shape[1]), np.float32)
    for start in range(0, count, 4096):
        rows = slice(start, min(count, start + 4096))
        size = rows.stop - rows.start
        one, other = flat[rng.integers(0, len(flat), (2, size))]
        share = rng.uniform(0, 1, (size, 1)).astype(np.float32)
        base = share * one + (1 - share) * other
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        grain = rng.standard_normal(base.shape, np.float32)
        grain -= (grain * base).sum(axis=1, keepdims=True) * base
        grain /= np.linalg.norm(grain, axis=1, keepdims=True)
        cosine = rng.uniform(0.6, 0.95, (size, 1)).astype(np.float32)
        out[rows] = length * (cosine * base + np.sqrt(1 - cosine**2) * grain)
    return out


def timed(act, times):
    seconds = []
    for number in range(times):
        began = time.perf_counter()
        act(number)
        seconds.append(time.perf_counter() - began)
    return np.percentile(seconds, [50, 95]) * 1000


def measure(url, name, count, real):
    model = Model(name, ModelStore(), Runtime())
    rng = np.random.default_rng(0)
    own = np.load(real)["vectors"] if real else real_vectors(model)
    vectors = noisy(own, count + QUESTIONS, rng)
    print(f"{len(own)} real faces")
    questions, vectors = vectors[count:], vectors[:count]
    meta = make_meta(model.card, DetectionSettings(), None)
    place = open_backend(url)
    place.metric = model.card.metric
    began = time.monotonic()
    face = (Face(Box(10, 10, 100, 100), 1.0),)
    with place.writer(meta) as writer:
        writer.changes.cover(["/photos"])
        for number in range(count):
            digest = number.to_bytes(16, "big")
            row = vectors[number : number + 1]
            file = FileState(1, 1, 1, digest, digest)
            writer.add(PhotoFaces(f"/photos/{number:08d}.jpg", file, Status.OK, face, row))
        writer.commit()
    print(
        f"{name}: {count:,} faces of {vectors.shape[1]} numbers written in {time.monotonic() - began:.0f} s"
    )
    print("  ", place.search_details())
    norms = norms_of(vectors)
    searched = place.searchable()
    references = [Reference("", 1, Box(0, 0, 1, 1), question) for question in questions]
    for metric in ("cosine", "euclidean"):
        truth = nearest(vectors, norms, questions, 10, metric)
        question = Question(top=10, metric=metric)
        hits = 0
        for reference, exact in zip(references, truth, strict=True):
            (answer,) = search(searched, [reference], question)
            found = {int(match.path[8:16]) for match in answer.matches}
            hits += len(found & set(exact.rows.tolist()))
        asked = partial(search, searched, question=question)
        median, slow = timed(lambda n, asked=asked: asked(references=[references[n]]), QUESTIONS)
        recall = hits / (10 * QUESTIONS)
        print(f"   {metric}: recall at 10 {recall:.4f}; {median:.1f} ms, 95 % under {slow:.1f} ms")
    exact = Question(top=10, how="exact")
    began = time.monotonic()
    answers = search(searched, references[:8], exact)
    seconds = time.monotonic() - began
    truth = nearest(vectors, norms, questions[:8], 10, "cosine")
    same = all(
        [int(match.path[8:16]) for match in answer.matches] == one.rows.tolist()
        for answer, one in zip(answers, truth, strict=True)
    )
    print(f"   --search exact, 8 questions: {seconds:.1f} s, {'the same' if same else 'NOT the same'} order")
    place.discard()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--model", action="append")
    parser.add_argument("--real", metavar="INDEX")
    parser.add_argument("--as", dest="kind", choices=("FLAT", "HNSW", "IVF_SQ8"))
    asked = parser.parse_args()
    if asked.kind:
        faces.EXACT_UP_TO = asked.faces if asked.kind == "FLAT" else 0
        faces.WHOLE_UP_TO = asked.faces if asked.kind == "HNSW" else 0
    for name in asked.model or ["sface", "resnet50"]:
        measure(f"{asked.url}_{name}", name, asked.faces, asked.real)


if __name__ == "__main__":
    main()
