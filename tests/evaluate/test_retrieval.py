import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from facesearch.evaluate import verification
from facesearch.evaluate.verification import retrieve
from facesearch.ranking import distances

METRICS = ("cosine", "euclidean")
EXAMPLES = settings(max_examples=30, deadline=None)


@st.composite
def libraries(draw):
    """Return vectors with missed and equal rows, and whose they are."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, people = draw(st.integers(0, 40)), draw(st.integers(1, 8))
    person = rng.integers(0, people, m).astype(np.int32)
    vectors = (rng.normal(size=(people, 5))[person] + rng.normal(size=(m, 5))).astype(np.float32)
    if m and draw(st.booleans()):
        vectors = vectors[rng.integers(0, m, m) // draw(st.integers(1, 4))]
    if m and draw(st.booleans()):
        vectors[rng.integers(0, m, max(1, m // 6))] = 0
    vectors[rng.random(m) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    return vectors, person


def slow_ranks(vectors, person, metric):
    """Return rank of the first right photo and average precision of each query by plain loops."""
    found = {}
    for query in range(len(person)):
        right = [i for i in range(len(person)) if i != query and person[i] == person[query]]
        if not right:
            continue
        far = distances(vectors[query], vectors, metric)
        # Wrong photos first among what is equally near.
        listed = sorted(
            (round(float(far[i]), 9), bool(person[i] == person[query]))
            for i in range(len(person))
            if i != query and np.isfinite(vectors[i]).all() and np.isfinite(vectors[query]).all()
        )
        ranks = [rank for rank, (_, is_right) in enumerate(listed, 1) if is_right]
        precision = sum(place / rank for place, rank in enumerate(ranks, 1)) / len(right)
        found[query] = (ranks[0] if ranks else np.inf, precision)
    return found


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(library=libraries())
def test_ranks_are_what_plain_loops_say(metric, library):
    vectors, person = library
    wanted, found = slow_ranks(vectors, person, metric), retrieve(vectors, person, metric)
    if not wanted:
        assert found is None
        return
    assert found.queries == len(wanted)
    assert found.rank.tolist() == [rank for rank, _ in wanted.values()]
    np.testing.assert_allclose(found.precision, [precision for _, precision in wanted.values()])
    assert found.person.tolist() == [person[query] for query in wanted]
    assert found.rank1 == pytest.approx(np.mean([rank == 1 for rank, _ in wanted.values()]))
    assert found.rank5 == found.cmc[4] == pytest.approx(np.mean([rank <= 5 for rank, _ in wanted.values()]))
    assert found.map == pytest.approx(np.mean([precision for _, precision in wanted.values()]))
    assert list(found.cmc) == sorted(found.cmc)
    assert len(found.cmc) == 20


@pytest.mark.parametrize("metric", METRICS)
@EXAMPLES
@given(library=libraries())
def test_missed_photos_left_out_are_as_if_they_were_not_there(metric, library):
    vectors, person = library
    seen = np.isfinite(vectors).all(axis=1)
    found, without = retrieve(vectors, person, metric), retrieve(vectors[seen], person[seen], metric)
    if found is None or found.found is None:
        assert without is None
        return
    left = found.found
    assert left.found is None
    assert (left.queries, left.rank.tolist(), left.person.tolist()) == (
        without.queries,
        without.rank.tolist(),
        without.person.tolist(),
    )
    np.testing.assert_allclose(left.precision, without.precision)


@pytest.mark.parametrize("metric", METRICS)
def test_average_precision_is_scikit_learns(metric):
    rng = np.random.default_rng(1)
    person = rng.integers(0, 6, 80).astype(np.int32)
    vectors = (rng.normal(size=(6, 8))[person] + rng.normal(size=(80, 8))).astype(np.float32)
    wanted = []
    for query in range(80):
        others = np.arange(80) != query
        score = -distances(vectors[query], vectors[others], metric)
        wanted.append(average_precision_score(person[others] == person[query], score))
    np.testing.assert_allclose(retrieve(vectors, person, metric).precision, wanted)


def test_five_photos_by_hand():
    # On a line: A at 0 and 1, B at 3 and 7, C at 6. C is alone and asks nothing.
    vectors = np.float32([[0], [1], [3], [7], [6]])
    found = retrieve(vectors, np.int32([0, 0, 1, 1, 2]), "euclidean")
    # From 0 and 1 the other A is first; from 3: 1, 0 and 6 are nearer than 7; from 7: 6 is nearer than 3.
    assert found.rank.tolist() == [1, 1, 4, 2]
    assert found.precision.tolist() == [1, 1, 0.25, 0.5]
    assert found.rank1 == 0.5
    assert found.rank5 == 1.0
    assert found.cmc[:4] == (0.5, 0.75, 0.75, 1.0)
    assert found.map == pytest.approx(2.75 / 4)
    assert found.found.rank.tolist() == found.rank.tolist()


def test_a_missed_photo_finds_nothing_and_is_not_found():
    vectors = np.float32([[0], [1], [np.nan], [5]])
    found = retrieve(vectors, np.int32([0, 0, 0, 1]), "euclidean")
    assert found.rank.tolist() == [1, 1, np.inf]
    assert found.precision.tolist() == [0.5, 0.5, 0]
    assert found.found.precision.tolist() == [1, 1]
    assert found.found.map == 1.0


def test_all_missed_is_all_wrong():
    found = retrieve(np.full((4, 3), np.nan, np.float32), np.int32([0, 0, 1, 1]))
    assert (found.rank1, found.map, found.queries, found.found) == (0.0, 0.0, 4, None)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 7, 2048])
def test_a_network_that_gives_all_the_same_vector_is_not_lucky(metric, dim):
    vectors = np.tile(np.random.default_rng(2).normal(size=dim).astype(np.float32), (30, 1))
    found = retrieve(vectors, np.arange(30, dtype=np.int32) // 3, metric)
    assert found.rank.tolist() == [28.0] * 30  # behind all 27 wrong ones


@pytest.mark.parametrize("metric", METRICS)
def test_the_size_of_blocks_changes_nothing(monkeypatch, metric):
    rng = np.random.default_rng(3)
    vectors, person = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 9, 50).astype(np.int32)
    whole = retrieve(vectors, person, metric)
    monkeypatch.setattr(verification, "BLOCK", 7)
    assert retrieve(vectors, person, metric) == whole


def test_where_nobody_has_two_photos_there_is_nothing_to_retrieve():
    assert retrieve(np.eye(3, dtype=np.float32), np.int32([0, 1, 2])) is None
    assert retrieve(np.empty((0, 3), np.float32), np.empty(0, np.int32)) is None


def test_the_length_of_vectors_matters_to_one_metric_alone():
    rng = np.random.default_rng(4)
    vectors, person = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 7, 40).astype(np.int32)
    longer = vectors * np.float32(2.0) ** rng.integers(-3, 4, (40, 1)).astype(np.float32)
    assert retrieve(longer, person, "cosine") == retrieve(vectors, person, "cosine")
    assert retrieve(longer, person, "euclidean") != retrieve(vectors, person, "euclidean")
