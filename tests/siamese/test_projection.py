import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facesearch.ranking import unit_vectors
from facesearch.siamese import projection
from facesearch.siamese.projection import COMPONENTS, fit_projection

EXAMPLES = settings(max_examples=25, deadline=None)


def people(n=60, dim=12, each=3, seed=0, far=1.0):
    """Return vectors of unequal spread, `each` photos for one person, and whose they are."""
    rng = np.random.default_rng(seed)
    person = np.arange(n, dtype=np.int32) // each
    middles = rng.normal(size=(person.max() + 1, dim)) * np.linspace(2.0, 0.3, dim)
    spread = rng.normal(size=(n, dim)) * np.linspace(0.1, 0.6, dim)
    vectors = 3.0 + far * middles[person] + spread
    return vectors.astype(np.float32), person


def within_of(projected, person):
    """Return the scatter of photos about their person's middle, by a plain loop."""
    scatter = np.zeros((projected.shape[1],) * 2)
    for one in np.unique(person):
        own = projected[person == one].astype(np.float64)
        scatter += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    return scatter / len(projected)


SHAPES = [(60, 12), (24, 40), (13, 12), (12, 12)]  # more and fewer photos than numbers


@pytest.mark.parametrize(("n", "dim"), SHAPES)
@pytest.mark.parametrize(("whitening", "within"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_projection_centres_and_gives_unit_mean_square(n, dim, whitening, within):
    vectors, person = people(n, dim)
    found = fit_projection(vectors, person, whitening=whitening, within=within)

    projected = found.apply(vectors)

    assert projected.shape == (n, min(n - 1, dim))
    assert {found.mean.dtype, found.matrix.dtype, projected.dtype} == {np.dtype(np.float32)}
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-4)
    assert (projected**2).sum(axis=1).mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_whitening_1_gives_equal_variances_in_all_directions(n, dim):
    vectors, person = people(n, dim)
    projected = fit_projection(vectors, person, whitening=1.0, within=0.0).apply(vectors)
    k = projected.shape[1]
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.eye(k) / k, atol=2e-3 / k)


def test_whitening_0_keeps_distances_of_unit_vectors_but_for_their_size():
    vectors, person = people(24, 40)
    projected = fit_projection(vectors, person, whitening=0.0, within=0.0).apply(vectors)
    flat = unit_vectors(vectors)

    def apart(rows):
        return np.linalg.norm(rows[:, None] - rows[None], axis=2)[np.triu_indices(24, 1)]

    ratio = apart(projected) / apart(flat)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_more_whitening_makes_variances_more_alike():
    vectors, person = people()

    def spread(whitening):
        variances = (
            fit_projection(vectors, person, whitening=whitening, within=0.0).apply(vectors).var(axis=0)
        )
        return float(variances.max() / variances.min())

    assert spread(0.0) > 2 * spread(0.5) > 4 * spread(1.0)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_within_1_makes_differences_within_people_equal_in_all_directions(whitening):
    vectors, person = people(n=120, dim=8)
    projected = fit_projection(vectors, person, whitening=whitening, within=1.0).apply(vectors)
    scatter = within_of(projected, person)
    np.testing.assert_allclose(scatter, np.eye(8) * scatter[0, 0], atol=0.01 * scatter[0, 0])


def test_more_within_makes_differences_within_people_more_alike():
    vectors, person = people(n=120, dim=8)

    def spread(within):
        projected = fit_projection(vectors, person, whitening=0.0, within=within).apply(vectors)
        values = np.linalg.eigvalsh(within_of(projected, person))
        return float(values[-1] / values[0])

    assert spread(0.0) > 2 * spread(0.5) > 4 * spread(1.0)


def test_people_with_one_photo_say_nothing_of_differences_within():
    vectors, person = people(n=60, dim=8)
    alone = person.copy()
    alone[30:] = 1000 + np.arange(30)
    whole = fit_projection(vectors, alone, whitening=0.0, within=1.0).apply(vectors)
    # Only the first ten people are even.
    scatter = within_of(whole[:30], alone[:30])
    np.testing.assert_allclose(scatter, np.eye(8) * scatter[0, 0], atol=0.01 * scatter[0, 0])


@EXAMPLES
@given(
    n=st.integers(8, 30),
    dim=st.integers(3, 30),
    whitening=st.sampled_from([0.0, 0.25, 0.5]),
    within=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_the_smaller_of_two_matrices_gives_the_same_as_the_larger(n, dim, whitening, within, seed):
    vectors, person = people(n, dim, each=2, seed=seed)
    # What is left of a direction that hardly varies is rounding, which the two ways round otherwise.
    spread = np.linalg.svd(unit_vectors(vectors) - unit_vectors(vectors).mean(axis=0), compute_uv=False)
    assume(spread[min(n - 1, dim) - 1] > 0.01 * spread[0])
    small = fit_projection(vectors, person, whitening=whitening, within=within).apply(vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "_principal_components", principal_plainly)
        large = fit_projection(vectors, person, whitening=whitening, within=within).apply(vectors)
    # Axes may point either way: distances are what counts.
    np.testing.assert_allclose(small @ small.T, large @ large.T, atol=2e-3)


def principal_plainly(centred, count):
    """Return variances and axes by the singular values."""
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    return np.maximum(values[:count] ** 2 / len(centred), 1e-12), axes[:count].T


def test_length_says_nothing():
    vectors, person = people()
    found = fit_projection(vectors, person, whitening=0.5, within=0.5)
    longer = vectors * np.random.default_rng(1).uniform(0.1, 50, (len(vectors), 1)).astype(np.float32)
    np.testing.assert_allclose(found.apply(longer), found.apply(vectors), atol=1e-4)
    again = fit_projection(longer, person, whitening=0.5, within=0.5)
    np.testing.assert_allclose(again.matrix, found.matrix, rtol=1e-3, atol=1e-3)


def test_a_vector_without_length_stays_so_and_is_finite():
    np.testing.assert_array_equal(unit_vectors(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))
    vectors, person = people()
    vectors[0] = 0
    found = fit_projection(vectors, person, whitening=0.5, within=0.5)
    assert np.isfinite(found.apply(vectors)).all()


def test_any_number_of_axes_before_the_last_is_projected():
    vectors, person = people()
    found = fit_projection(vectors, person, whitening=0.5, within=0.5)
    np.testing.assert_allclose(
        found.apply(vectors.reshape(20, 3, -1)).reshape(60, -1), found.apply(vectors), atol=1e-6
    )


@pytest.mark.slow
def test_there_are_never_more_components_than_are_of_use():
    vectors, person = people(n=COMPONENTS + 60, dim=COMPONENTS + 20)
    found = fit_projection(vectors, person, whitening=0.5, within=0.5)
    assert found.matrix.shape == (COMPONENTS + 20, COMPONENTS)


@pytest.mark.parametrize(("n", "dim"), [(40, 60), (80, 24)])
def test_copies_and_dead_numbers_do_not_make_noise_large(n, dim):
    """A copy of each photo adds no direction, and neither does a number that is always the same."""
    vectors, person = people(n // 2, dim)
    vectors[:, -4:] = 0
    new, _ = people(30, dim, seed=9)
    new[:, -4:] = 0
    wiggled = new + np.random.default_rng(2).normal(0, 1e-3, new.shape).astype(np.float32)
    twice = fit_projection(np.tile(vectors, (2, 1)), np.tile(person, 2), whitening=0.5, within=0.5)
    # What changes a vector by a thousandth changes what is made of it by little.
    moved = np.linalg.norm(twice.apply(wiggled) - twice.apply(new), axis=1)
    size = np.linalg.norm(twice.apply(new), axis=1)
    assert (moved < 0.1 * size).all()
