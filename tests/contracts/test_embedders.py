"""What holds for every embedder: one body, run over all that are registered and over one from elsewhere."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.embed import MODELS, card_of, open_embedder, recipe_of
from facesearch.errors import ModelError
from facesearch.models.openvino import openvino_core, precisions

KINDS = [
    *((name, "openvino", "f32") for name in MODELS),
    *(("sface", "openvino", precision) for precision in ("auto", *precisions(openvino_core())[1:])),
    *(
        pytest.param(("resnet50", "openvino", precision), marks=pytest.mark.slow)
        for precision in ("auto", *precisions(openvino_core())[1:])
    ),
    *(
        pytest.param((name, "tensorflow", "f32"), marks=pytest.mark.slow)
        for name in MODELS
        if recipe_of(name).keras
    ),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(kind))
def embedder(request, model_store):
    name, runtime, precision = request.param
    return open_embedder(name, store=model_store, runtime=runtime, precision=precision)


@pytest.fixture
def faces(embedder, crops):
    import cv2

    height, width = embedder.card.size
    return np.stack([cv2.resize(crop, (width, height)) for crop in crops])


@pytest.fixture
def tolerance(embedder, request):
    # Batches of other lengths are summed in another order: f32 agrees to rounding, bf16 to its eight bits.
    return 1e-4 if embedder.precision == "f32" else 3e-2


def assert_near(found, wanted, tolerance):
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def test_each_crop_gives_one_vector(embedder, faces):
    vectors = embedder.embed(faces)

    assert vectors.shape == (len(faces), embedder.card.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_no_crops_give_no_vectors(embedder, faces):
    vectors = embedder.embed(faces[:0])

    assert (vectors.shape, vectors.dtype) == ((0, embedder.card.dim), np.float32)


@pytest.mark.slow
def test_a_batch_gives_what_its_crops_give_one_by_one(embedder, faces, tolerance):
    many = np.concatenate([faces] * 6)[:41]

    together = embedder.embed(many)
    alone = np.concatenate([embedder.embed(face[None]) for face in faces])

    assert_near(together[: len(faces)], alone, tolerance)
    assert_near(together[len(faces) : 2 * len(faces)], alone, tolerance)


def test_different_faces_give_different_vectors(embedder, faces):
    vectors = embedder.embed(faces)

    distances = np.abs(vectors[:, None] - vectors[None]).max(axis=2)
    assert (distances + np.eye(len(faces)) > 0.05 * np.abs(vectors).max()).all()


@pytest.mark.slow
def test_the_same_crops_give_the_same_vectors(embedder, faces):
    np.testing.assert_array_equal(embedder.embed(faces), embedder.embed(faces))


@pytest.mark.slow
def test_crops_that_do_not_lie_in_one_piece_give_the_same(embedder, faces):
    flipped = faces[:, :, ::-1]

    np.testing.assert_array_equal(embedder.embed(flipped), embedder.embed(np.ascontiguousarray(flipped)))


def test_the_result_is_the_callers_own(embedder, faces):
    first = embedder.embed(faces[:1])
    kept = first.copy()
    embedder.embed(faces[1:2])

    np.testing.assert_array_equal(first, kept)


@pytest.mark.slow
def test_several_threads_get_their_own_results(embedder, faces, tolerance):
    wanted = embedder.embed(faces)
    with ThreadPoolExecutor(4) as pool:
        turns = [number % len(faces) for number in range(24)]
        found = list(pool.map(lambda turn: embedder.embed(faces[turn : turn + 1]), turns))

    assert_near(np.concatenate(found), wanted[turns], tolerance)


@pytest.mark.parametrize("change", ["size", "channels", "type", "rank"])
def test_crops_of_another_shape_are_refused_with_a_sentence(change, embedder, faces):
    wrong = {
        "size": faces[:, 1:],
        "channels": faces[..., :1],
        "type": faces.astype(np.float32),
        "rank": faces[0],
    }[change]

    with pytest.raises(ModelError, match=f"The model {embedder.card.name} takes crops of shape"):
        embedder.embed(wrong)


def test_the_card_is_that_of_the_store(embedder, model_store):
    assert embedder.card == card_of(embedder.card.name, model_store)
    assert embedder.card.digest
