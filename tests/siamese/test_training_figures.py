import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.evaluate.verification import verify
from facesearch.siamese.figures import discriminant, measure, pairs_of, pixel_vectors, validate

EXAMPLES = settings(max_examples=20, deadline=None)


def people(counts, dim=6, noise=0.5, seed=0):
    """Return vectors of people with so many photos each, and whose they are."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    vectors = rng.normal(size=(len(counts), dim))[person] + noise * rng.normal(size=(len(person), dim))
    return vectors.astype(np.float32), person


def validate_slowly(vectors, person):
    """Try each distance as the threshold, in plain loops over all pairs."""
    pairs = [
        (float(np.linalg.norm(vectors[i].astype(float) - vectors[j])), bool(person[i] == person[j]))
        for i in range(len(person))
        for j in range(i)
    ]
    own, strange = (sorted(far for far, same in pairs if same is kind) for kind in (True, False))
    best = 0.5
    for threshold in own:
        kept = sum(far <= threshold for far in own) / len(own)
        refused = sum(far > threshold for far in strange) / len(strange)
        best = max(best, (kept + refused) / 2)
    nearer = sum((a < b) + 0.5 * (a == b) for a in own for b in strange) / (len(own) * len(strange))
    return best, nearer


@EXAMPLES
@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=8),
    noise=st.sampled_from([0.1, 0.7, 3.0]),
    seed=st.integers(0, 1000),
)
def test_validation_is_what_plain_loops_give(counts, noise, seed):
    vectors, person = people([2, *counts], noise=noise, seed=seed)
    assert validate(vectors, person) == pytest.approx(validate_slowly(vectors, person), abs=1e-6)


def test_validation_is_never_below_what_evaluation_gives_on_new_folds():
    """It may choose its threshold on the pairs that it is measured on; an evaluation may not."""
    vectors, person = people([4] * 12, noise=1.0)
    accuracy, auc = validate(vectors, person)
    whole = verify(pairs_of(vectors, person, "euclidean"))
    assert whole.accuracy <= accuracy < whole.accuracy + 0.1
    assert auc == pytest.approx(whole.figures.auc)
    assert whole.threshold is not None


@pytest.mark.slow
def test_people_told_apart_without_an_error_and_people_told_by_chance():
    vectors, person = people([3] * 8, noise=1e-3)
    assert validate(vectors, person) == pytest.approx((1.0, 1.0))
    found = measure("mine", vectors, person, "euclidean")
    assert (found.name, found.verification.accuracy, found.retrieval.rank1) == ("mine", 1.0, 1.0)
    assert found.intervals.accuracy == (1.0, 1.0)

    rng = np.random.default_rng(1)
    noise = rng.normal(size=(200, 6)).astype(np.float32)
    person = np.repeat(np.arange(50, dtype=np.int32), 4)
    assert measure("noise", noise, person, "euclidean").verification.accuracy == pytest.approx(0.5, abs=0.06)


def test_persons_numbers_need_not_follow_on_each_other():
    vectors, person = people([3] * 6)
    numbers = np.array([2, 7, 11, 12, 40, 1000], np.int32)
    assert measure("x", vectors, numbers[person], "cosine") == measure("x", vectors, person, "cosine")


def test_both_kinds_of_pairs_weigh_the_same():
    pairs = pairs_of(*people([4] * 20), "cosine")
    assert pairs.weight[pairs.same].sum() == pytest.approx(0.5)
    assert pairs.same.sum() == 20 * 6
    assert len(pairs.same) == 80 * 79 // 2
    sides = [set(pairs.people[(pairs.fold == fold)].tolist()) for fold in np.unique(pairs.fold)]
    assert sum(map(len, sides)) == 20  # a person is in one fold only


def test_pixels_are_small_grey_and_free_of_their_mean():
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), dtype=np.uint8)
    found = pixel_vectors(crops)
    assert (found.shape, found.dtype) == ((3, 256), np.float32)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-3)


def test_pixels_by_hand():
    crop = np.zeros((32, 32, 3), np.uint8)
    crop[:, 16:] = 200
    (found,) = pixel_vectors(crop[None]).reshape(1, 16, 16)
    np.testing.assert_allclose(found[:, :8], -100)
    np.testing.assert_allclose(found[:, 8:], 100)
    # Green is bright, blue is dark.
    blue, green = np.zeros((2, 32, 32, 3), np.uint8)
    blue[:, :16, 0], green[:, :16, 1] = 255, 255
    low, high = (pixel_vectors(one[None])[0].max() for one in (blue, green))
    assert (low, high) == (pytest.approx(0.114 * 127.5, abs=1), pytest.approx(0.587 * 127.5, abs=1))


def test_another_brightness_is_the_same_picture():
    crop = np.random.default_rng(0).integers(0, 200, (1, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(pixel_vectors(crop), pixel_vectors(crop + 50), atol=1)


def test_a_discriminant_finds_what_differs_between_people_in_what_differs_within():
    """The people differ in one number, the photos of each much more in all the others."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40, dtype=np.int32), 6)
    vectors = rng.normal(size=(240, 12)) * 5
    vectors[:, 3] = rng.normal(size=40)[person] * 2 + 0.1 * rng.normal(size=240)
    learned, tested = (vectors[part].astype(np.float32) for part in (person < 25, person >= 25))

    found = discriminant(learned, person[person < 25], tested)

    assert found.dtype == np.float32
    assert len(found) == len(tested)
    before, after = (validate(one, person[person >= 25])[1] for one in (tested, found))
    assert before < 0.6 < 0.8 < after


def test_people_with_one_photo_do_not_count_for_a_discriminant():
    vectors, person = people([4] * 6 + [1] * 5)
    several = person < 6
    one = discriminant(vectors, person, vectors)
    other = discriminant(vectors[several], person[several], vectors)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("counts", [[1] * 9, [3] + [1] * 9])
def test_without_two_people_of_two_photos_there_is_no_discriminant(counts):
    vectors, person = people(counts)
    assert discriminant(vectors, person, vectors) is None
