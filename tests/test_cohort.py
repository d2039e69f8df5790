"""Nearness in a library: what a distance means there, by how near its strangers come."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from facesearch.cohort import LEAST, SIZE, Cohort, Standing, mean_nearness, nearness, nearness_among
from facesearch.embed.sface import CARD
from facesearch.evaluate.fitting import LabelledLibrary, fit_library, nearness_of_pairs
from facesearch.models.calibration import LibraryScale, probability_beside, strangers_beside
from facesearch.models.card import Card

DIM = 128


def drawn(people, photos, *, alike=0.0, spread=0.6, seed=0):
    """Draw the faces of a library: vectors and persons.

    `alike` is how much all people of it have in common, `spread` how much the photos of one person differ.
    """
    rng = np.random.default_rng(seed)
    common = rng.normal(size=DIM)
    middles = rng.normal(size=(people, DIM)) + alike * common
    person = np.repeat(np.arange(people), photos)
    vectors = middles[person] + spread * rng.normal(size=(len(person), DIM))
    return LabelledLibrary(vectors.astype(np.float32), person.astype(np.int32))


@pytest.fixture(scope="module")
def scale():
    libraries = [drawn(150, 4, alike=alike, seed=seed) for seed, alike in enumerate((0.2, 0.5, 0.8))]
    return fit_library(libraries, 0.65, data="drawn", date="2026-11-29", own=False)


def strangers_found(library, scale, expected=1.0):
    """Return how many strangers a face really has where so many are expected, and the matches found there."""
    same, different = nearness_of_pairs(library, scale)
    faces = len(library.person)
    within = [scale.strangers_within(-one, faces) <= expected for one in different]
    found = [scale.strangers_within(-one, faces) <= expected for one in same]
    return 2 * sum(within) / faces, float(np.mean(found))


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_one_expected_stranger_is_about_one_however_alike_the_people_are(scale, alike):
    library = drawn(100, 3, alike=alike, seed=9)
    strangers, found = strangers_found(library, scale)
    assert 0.3 < strangers < 3
    assert found > 0.9


@pytest.mark.parametrize(("people", "photos"), [(1, 80), (2, 60), (6, 30)])
def test_in_a_library_of_few_people_their_photos_are_found(scale, people, photos):
    strangers, found = strangers_found(drawn(people, photos, alike=0.5, seed=5), scale)
    assert found > 0.8
    assert strangers < 3


def test_a_person_and_a_crowd(scale):
    crowd, person = drawn(300, 1, alike=0.5, seed=1), drawn(1, 300, alike=0.5, seed=2)
    both = LabelledLibrary(
        np.concatenate([crowd.vectors, person.vectors]),
        np.concatenate([crowd.person, np.full(300, 300, np.int32)]),
    )
    strangers, found = strangers_found(both, scale)
    assert found > 0.8
    assert strangers < 3


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_a_library_of_few_faces_is_judged_by_the_reference(scale, count):
    library = drawn(30, 2)
    cohort = Cohort.of(library.vectors[:count], scale)
    assert not cohort.speaks
    standing = cohort.standing(library.vectors)
    np.testing.assert_array_equal(standing.location, np.float32(scale.location))
    np.testing.assert_array_equal(standing.spread, np.float32(scale.spread))


def test_a_thousand_copies_of_one_photo(scale):
    one = drawn(1, 1).vectors
    cohort = Cohort.of(np.repeat(one, 1000, axis=0), scale)
    assert cohort.people == pytest.approx(1.0)
    standing = cohort.standing(one)
    near = float(nearness(standing, standing)[0, 0])
    assert scale.strangers_within(near, 1000) < 0.1


def test_vectors_that_point_nowhere_are_near_to_nobody(scale):
    library = drawn(60, 1)
    spoiled = library.vectors.copy()
    spoiled[3], spoiled[5] = 0.0, np.nan
    cohort = Cohort.of(spoiled, scale)
    assert len(cohort.faces) == 58
    assert np.isnan(mean_nearness(cohort.standing(spoiled[[3, 5]]), cohort.standing(spoiled[:1]))).all()
    assert np.isfinite(mean_nearness(cohort.standing(spoiled[:1]), cohort.standing(spoiled[1:2]))).all()


def test_the_length_of_a_vector_does_not_count(scale):
    library = drawn(60, 1)
    lengths = np.random.default_rng(1).uniform(0.1, 20, (60, 1)).astype(np.float32)
    plain, longer = (Cohort.of(some, scale) for some in (library.vectors, library.vectors * lengths))
    one, other = plain.standing(library.vectors), longer.standing(library.vectors)
    np.testing.assert_allclose(nearness(one, one), nearness(other, other), atol=1e-3)


def test_mean_nearness_is_the_mean_of_nearness(scale):
    library = drawn(80, 2)
    standing = Cohort.of(library.vectors, scale).standing(library.vectors)
    some = Standing(standing.vectors[:7], standing.location[:7], standing.spread[:7])
    each = nearness(some, some)
    np.testing.assert_allclose(
        mean_nearness(standing, some), nearness(standing, some).mean(axis=1), atol=1e-4
    )
    without_itself = (each.sum(axis=1) - np.diag(each)) / 6
    np.testing.assert_allclose(nearness_among(some), without_itself, atol=1e-4)


def test_nearness_is_the_same_both_ways(scale):
    library = drawn(70, 2)
    standing = Cohort.of(library.vectors, scale).standing(library.vectors)
    each = nearness(standing, standing)
    np.testing.assert_allclose(each, each.T, atol=1e-4)


def test_a_part_of_the_library_says_what_all_of_it_says(scale):
    library = drawn(700, 3, alike=0.5)
    chosen = np.random.default_rng(0).permutation(len(library.person))[:SIZE]
    whole, part = (Cohort.of(some, scale) for some in (library.vectors, library.vectors[chosen]))
    asked = library.vectors[:200]
    one, other = whole.standing(asked), part.standing(asked)
    others = ~np.eye(200, dtype=bool)
    np.testing.assert_allclose(nearness(one, one)[others], nearness(other, other)[others], atol=1.0)


def test_a_probability_leads_back_to_its_expected_strangers():
    for strangers in (1e-6, 0.01, 0.5, 30.0):
        assert strangers_beside(probability_beside(strangers)) == pytest.approx(strangers)
    assert probability_beside(0.5) == 0.5
    assert strangers_beside(0.0) == float("inf")


def test_expected_strangers_fall_with_nearness(scale):
    expected = [scale.strangers_within(near, 1000) for near in np.linspace(-6, 12, 200)]
    assert all(low >= high for low, high in pairwise(expected))
    assert expected[0] == pytest.approx(1000, rel=0.01)
    assert expected[-1] < 1e-3


def test_a_scale_is_kept_in_a_card():
    assert isinstance(CARD.library, LibraryScale)
    assert len(CARD.library.centre) == CARD.dim
    assert Card.from_json(CARD.to_json()) == CARD
    without = replace(CARD, library=None)
    assert Card.from_json(without.to_json()) == without
