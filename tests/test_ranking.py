import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from facesearch import ranking
from facesearch.ranking import about, distances, nearest, norms_of, unit_vectors

METRICS = ("cosine", "euclidean")
EXAMPLES = settings(max_examples=120, deadline=None)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    """Make blocks so small that a few rows are several of them."""
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 256)


@st.composite
def arrays(draw):
    """Return rows and queries, with duplicates, zeros and all magnitudes among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, dim, q = draw(st.integers(0, 90)), draw(st.integers(1, 19)), draw(st.integers(1, 4))
    scale = 10.0 ** draw(st.sampled_from([-30, -21, -18, -6, 0, 0, 0, 3, 15]))
    rows = rng.normal(size=(n, dim)) * scale
    if n and draw(st.booleans()):
        rows *= 10.0 ** rng.uniform(-3, 3, (n, 1))
    if n and draw(st.booleans()):
        rows = rows[rng.integers(0, n, n) // draw(st.integers(1, 4))]
    if n and draw(st.booleans()):
        rows[rng.integers(0, n, max(1, n // 5))] = 0
    queries = rng.normal(size=(q, dim)) * scale
    if n and draw(st.booleans()):
        queries[0] = rows[rng.integers(0, n)]
    return np.float32(rows), np.float32(queries)


def expected(rows, queries, metric):
    """Return scipy's distances; to or from a vector without length the cosine distance is 1."""
    if not len(rows):
        return np.empty((len(queries), 0))
    with np.errstate(all="ignore"):
        found = cdist(queries.astype(np.float64), rows.astype(np.float64), metric)
    if metric == "cosine":
        found[~np.any(queries, axis=1)] = 1.0
        found[:, ~np.any(rows, axis=1)] = 1.0
    return found


def tolerance(rows, queries, metric):
    if metric == "cosine":
        return 1e-12
    return 1e-12 * float(np.abs(rows).max(initial=0.0) + np.abs(queries).max(initial=0.0)) * rows.shape[1]


def assert_order(found, wanted, k, small):
    """See that neighbours are the k smallest of all distances, nearest first, ties by row."""
    assert len(found.rows) == min(k, len(wanted)) == len(found.distances)
    assert len(set(found.rows.tolist())) == len(found.rows)
    np.testing.assert_allclose(found.distances, wanted[found.rows], rtol=1e-9, atol=small)
    np.testing.assert_allclose(found.distances, np.sort(wanted)[:k], rtol=1e-9, atol=small)
    pairs = list(zip(found.distances.tolist(), found.rows.tolist(), strict=True))
    assert pairs == sorted(pairs)


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(data=arrays(), k=st.integers(1, 120))
def test_nearest_is_what_scipy_says(metric, data, k):
    rows, queries = data
    wanted = expected(rows, queries, metric)
    found = nearest(rows, norms_of(rows), queries, k, metric)
    assert len(found) == len(queries)
    for one, distance in zip(found, wanted, strict=True):
        assert_order(one, distance, k, tolerance(rows, queries, metric))


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(data=arrays(), k=st.integers(1, 20), every=st.integers(1, 5), block=st.sampled_from([64, 1 << 20]))
def test_of_wanted_rows_the_nearest_are_found(metric, data, k, every, block):
    rows, queries = data
    wanted = np.arange(len(rows)) % every == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", block)
        found = nearest(rows, norms_of(rows), queries, k, metric, wanted=wanted)
        among = nearest(rows[wanted], norms_of(rows)[wanted], queries, k, metric)
    for one, other in zip(found, among, strict=True):
        np.testing.assert_array_equal(one.rows, np.flatnonzero(wanted)[other.rows])
        np.testing.assert_array_equal(one.distances, other.distances)


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(data=arrays(), k=st.integers(1, 20), groups=st.integers(1, 12))
def test_of_a_group_only_the_nearest_counts(metric, data, k, groups):
    rows, queries = data
    member = (np.arange(len(rows)) * 7 % groups).astype(np.int32)
    wanted = expected(rows, queries, metric)
    for one, distance in zip(
        nearest(rows, norms_of(rows), queries, k, metric, groups=member), wanted, strict=True
    ):
        best = sorted(distance[member == group].min() for group in set(member.tolist()))[:k]
        small = tolerance(rows, queries, metric)
        np.testing.assert_allclose(one.distances, best, rtol=1e-9, atol=small)
        np.testing.assert_allclose(one.distances, distance[one.rows], rtol=1e-9, atol=small)
        assert len(set(member[one.rows].tolist())) == len(one.rows)


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(data=arrays(), part=st.floats(0, 1), k=st.integers(1, 100))
def test_what_is_farther_than_the_threshold_is_left_out(metric, data, part, k):
    rows, queries = data
    wanted = expected(rows, queries, metric)
    threshold = float(np.quantile(wanted, part)) if wanted.size else 1.0
    small = tolerance(rows, queries, metric) + 1e-9 * threshold
    for one, distance in zip(
        nearest(rows, norms_of(rows), queries, k, metric, threshold=threshold), wanted, strict=True
    ):
        assert np.all(one.distances <= threshold)
        surely, maybe = (distance < threshold - small).sum(), (distance <= threshold + small).sum()
        assert min(k, surely) <= len(one.rows) <= min(k, maybe)


@EXAMPLES
@given(
    data=arrays(), k=st.integers(1, 95), away=st.sampled_from([0.0, 0.3, 0.9, 1.0]), threshold=st.floats(0, 2)
)
def test_nearest_about_a_centre_is_what_scipy_says_of_the_directions(data, k, away, threshold):
    rows, queries = data
    # A centre of length 1 is the direction of a row, about which that row has no direction.
    first = unit_vectors(rows[:1])[0] if len(rows) else np.zeros(queries.shape[1], np.float32)
    centre = first * np.float32(away)
    asked = np.float32(about(queries, centre))
    found = nearest(rows, norms_of(rows), asked, k, centre=centre, threshold=threshold)
    directions = about(rows, centre)
    for one, query in zip(found, asked, strict=True):
        wanted = distances(query, directions, "cosine")
        order = np.lexsort((np.arange(len(wanted)), wanted))
        order = order[wanted[order] <= threshold][:k]
        np.testing.assert_array_equal(one.rows, order)
        np.testing.assert_array_equal(one.distances, wanted[order])


def test_directions_about_a_centre():
    centre = np.float32([0.5, 0.0])
    vectors = np.float32([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0], [np.nan, 1.0]])
    np.testing.assert_allclose(about(vectors, centre)[:3], [[0.5, 0.0], [-0.5, 1.0], [0.0, 0.0]])
    assert np.isnan(about(vectors, centre)[3]).any()


def test_the_threshold_itself_still_counts():
    rows = np.float32([[3, 4], [0, 0], [6, 8]])
    (found,) = nearest(rows, norms_of(rows), np.float32([[0, 0]]), 3, "euclidean", threshold=5.0)
    assert found.rows.tolist() == [1, 0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_never_win(metric, spoilt):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(60, 8)).astype(np.float32)
    bad = np.arange(0, 60, 3)
    rows[bad, rng.integers(0, 8, len(bad))] = spoilt
    for norms in (norms_of(rows), np.nan_to_num(norms_of(rows), posinf=0.0)):
        for query in rng.normal(size=(4, 8)).astype(np.float32):
            (found,) = nearest(rows, norms, query[None], 60, metric)
            assert sorted(found.rows.tolist()) == sorted(set(range(60)) - set(bad.tolist()))
            (few,) = nearest(rows, norms, query[None], 5, metric)
            assert few.rows.tolist() == found.rows[:5].tolist()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_query_that_is_not_finite_finds_nothing(metric, spoilt):
    rows = np.eye(4, dtype=np.float32)
    (found,) = nearest(rows, norms_of(rows), np.float32([[1, spoilt, 0, 0]]), 4, metric)
    assert found.rows.tolist() == []


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_that_lie_do_not_crash(metric):
    rows = np.random.default_rng(6).normal(size=(50, 5)).astype(np.float32)
    norms = np.float32(np.random.default_rng(7).choice([0, 1e-30, 1, 3e38], 50))
    (found,) = nearest(rows, norms, rows[:1], 10, metric)
    assert len(found.rows) <= 10


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(seed=st.integers(0, 2**32), dim=st.sampled_from([1, 2, 3, 7, 64, 129, 2048]), n=st.integers(2, 40))
def test_equal_rows_are_equally_far_wherever_they_stand(metric, seed, dim, n):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, dim)).astype(np.float32)
    query = rng.normal(size=dim).astype(np.float32)
    same = rng.integers(0, n, max(2, n // 2))
    rows[same] = rows[0]
    places = sorted({0, *same.tolist()})
    (found,) = nearest(rows, norms_of(rows), query[None], n, metric)
    far = dict(zip(found.rows.tolist(), found.distances.tolist(), strict=True))
    assert len({far[place] for place in places}) == 1
    in_order = [row for row in found.rows.tolist() if row in set(places)]
    assert in_order == places  # ties by row
    assert distances(query, rows[:1], metric)[0] == far[0]  # alone as among many


@pytest.mark.parametrize("metric", METRICS)
def test_ties_over_many_blocks_give_the_first_rows(metric):
    rows = np.tile(np.float32([[1, 2, 3]]), (500, 1))
    rows[77] = [3, 2, 1]
    (found,) = nearest(rows, norms_of(rows), np.float32([[3, 2, 1]]), 4, metric)
    assert found.rows.tolist() == [77, 0, 1, 2]


@EXAMPLES
@given(data=arrays())
def test_unit_vectors_rank_the_same_by_both_metrics(data):
    rows, queries = (array.astype(np.float64) for array in data)
    with np.errstate(all="ignore"):
        rows, queries = (
            np.nan_to_num(array / np.linalg.norm(array, axis=1, keepdims=True)) for array in (rows, queries)
        )
    rows = rows[np.any(rows, axis=1)]
    queries = queries[np.any(queries, axis=1)]
    rows, queries = np.float32(rows), np.float32(queries)
    k = len(rows) + 1
    by_cosine = nearest(rows, norms_of(rows), queries, k, "cosine")
    by_length = nearest(rows, norms_of(rows), queries, k, "euclidean")
    for one, other in zip(by_cosine, by_length, strict=True):
        assert sorted(one.rows.tolist()) == sorted(other.rows.tolist())
        far = dict(zip(one.rows.tolist(), one.distances.tolist(), strict=True))
        # The same order, but for what float32 cannot tell apart.
        order = np.array([far[row] for row in other.rows.tolist()])
        assert np.all(np.diff(order) > -1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [1e-21, 3e-22, 1e-22])
def test_vectors_so_small_that_float32_products_lose_digits(metric, size):
    rng = np.random.default_rng(12)
    rows = (rng.normal(size=(600, 8)) * size).astype(np.float32)
    queries = (rng.normal(size=(4, 8)) * size).astype(np.float32)
    for one, wanted in zip(
        nearest(rows, norms_of(rows), queries, 5, metric), expected(rows, queries, metric), strict=True
    ):
        assert one.rows.tolist() == np.argsort(wanted)[:5].tolist()


def test_queries_do_not_disturb_each_other():
    rng = np.random.default_rng(8)
    rows, queries = (rng.normal(size=(count, 6)).astype(np.float32) for count in (200, 9))
    together = nearest(rows, norms_of(rows), queries, 7)
    for query, found in zip(queries, together, strict=True):
        (alone,) = nearest(rows, norms_of(rows), query[None], 7)
        assert alone.rows.tolist() == found.rows.tolist()
        assert alone.distances.tolist() == found.distances.tolist()


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    rng = np.random.default_rng(9)
    rows, queries = (rng.normal(size=(count, 6)).astype(np.float32) for count in (300, 3))
    answers = []
    for size in (24, 100, 1000, 1 << 26):
        monkeypatch.setattr(ranking, "BLOCK_BYTES", size)
        found = nearest(rows, norms_of(rows), queries, 20, "euclidean")
        answers.append([(one.rows.tolist(), one.distances.tolist()) for one in found])
    assert answers == [answers[0]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_many_queries_take_bounded_memory_and_change_nothing(monkeypatch, metric):
    rng = np.random.default_rng(10)
    rows, queries = (rng.normal(size=(count, 6)).astype(np.float32) for count in (90, 700))
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 1000)
    wanted = [nearest(rows, norms_of(rows), query[None], 5, metric)[0] for query in queries]
    sizes, real = [], ranking._multiply

    def watched(some, block):
        sizes.append(4 * len(some) * len(block))
        return real(some, block)

    monkeypatch.setattr(ranking, "_multiply", watched)
    monkeypatch.setattr(ranking, "PRODUCT_BYTES", 8192)
    found = nearest(rows, norms_of(rows), queries, 5, metric)
    assert max(sizes) <= 8192
    assert [one.rows.tolist() for one in found] == [one.rows.tolist() for one in wanted]
    assert [one.distances.tolist() for one in found] == [one.distances.tolist() for one in wanted]


def test_a_hundred_queries_are_one_pass(monkeypatch):
    """At 2048 dimensions the blocks stay as large as for one query."""
    monkeypatch.undo()
    passes, real = [], ranking._products
    monkeypatch.setattr(ranking, "_products", lambda *arrays: passes.append(1) or real(*arrays))
    rows = np.eye(3, 2048, dtype=np.float32)
    nearest(rows, norms_of(rows), np.ones((100, 2048), np.float32), 1)
    assert len(passes) == 1
    assert ranking.PRODUCT_BYTES // (100 * 4) >= ranking.BLOCK_BYTES // (2048 * 4)


def test_nothing_in_nothing_out():
    rows = np.empty((0, 4), np.float32)
    (found,) = nearest(rows, norms_of(rows), np.ones((1, 4), np.float32), 3)
    assert found.rows.tolist() == []
    assert nearest(np.eye(4, dtype=np.float32), np.ones(4, np.float32), np.empty((0, 4), np.float32), 3) == []


def test_lengths_of_rows():
    rows = np.float32([[3, 4], [0, 0], [1e20, 1e20]])
    np.testing.assert_allclose(norms_of(rows), [5, 0, np.sqrt(2) * 1e20], rtol=1e-6)
