import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from facesearch.evaluate import resampling
from facesearch.evaluate.resampling import Intervals, intervals
from facesearch.evaluate.verification import Pairs, equal_error_rate, retrieve, verify


def people_of(seed, people=30, photos=4, spread=1.0, dim=6):
    """Return vectors of some people's photos, and whose they are."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people, dtype=np.int32), photos)
    vectors = rng.normal(size=(people, dim))[person] + spread * rng.normal(size=(len(person), dim))
    return vectors.astype(np.float32), person


def pairs_among(vectors, person, missed=0.0, balanced=True, seed=0):
    """Return all pairs of photos, in five folds of people; some missed."""
    first, second = np.triu_indices(len(person), 1)
    distance = np.linalg.norm(vectors[first] - vectors[second], axis=1).astype(np.float64)
    distance[np.random.default_rng(seed).random(len(distance)) < missed] = np.nan
    people = np.stack([person[first], person[second]], axis=1)
    return Pairs(distance, person[first] == person[second], people, (people % 5).astype(np.int16), balanced)


def measured(pairs, retrieval=None, **settings):
    return intervals(pairs, verify(pairs), retrieval, **settings)


@pytest.fixture
def drawn(monkeypatch):
    """Return a function that gives each replicate's figures and how often each person was drawn in it."""

    def columns(pairs, retrieval, replicates):
        times, real = [], resampling._draw
        monkeypatch.setattr(resampling, "_draw", lambda *given: times.append(real(*given)) or times[0])
        monkeypatch.setattr(resampling, "_interval", lambda values: values)
        return measured(pairs, retrieval, replicates=replicates), times[0]

    return columns


@pytest.mark.parametrize("balanced", [True, False])
def test_each_replicate_is_what_plain_weights_and_scikit_learn_say(drawn, balanced):
    vectors, person = people_of(1)
    pairs, retrieval = pairs_among(vectors, person, 0.05, balanced), retrieve(vectors, person, "euclidean")
    found, times = drawn(pairs, retrieval, 6)
    right, same = verify(pairs).right, pairs.same
    far = np.where(pairs.found, pairs.distance, 1000.0)
    share = 0.5 if balanced else same.mean()
    for replicate, often in enumerate(times.T):
        one, other = often[pairs.people[:, 0]], often[pairs.people[:, 1]]
        weight = np.where(same, one, one * other)
        accuracy = share * np.average(right[same], weights=weight[same])
        accuracy += (1 - share) * np.average(right[~same], weights=weight[~same])
        assert found.accuracy[replicate] == pytest.approx(accuracy)
        assert found.auc[replicate] == pytest.approx(roc_auc_score(same, -far, sample_weight=weight))
        false, true, _ = roc_curve(same, -far, sample_weight=weight, drop_intermediate=False)
        assert found.eer[replicate] == pytest.approx(equal_error_rate(false, true))
        assert found.tar[0.01][replicate] == pytest.approx(true[false <= 0.01].max())
        asked = often[retrieval.person]
        assert found.rank1[replicate] == pytest.approx(np.average(retrieval.rank <= 1, weights=asked))
        assert found.rank5[replicate] == pytest.approx(np.average(retrieval.rank <= 5, weights=asked))
        assert found.map[replicate] == pytest.approx(np.average(retrieval.precision, weights=asked))


def test_people_are_drawn_as_often_as_there_are_people(drawn):
    vectors, person = people_of(2)
    _, times = drawn(pairs_among(vectors, person), None, 50)
    assert (times.sum(axis=0) == 30).all()
    assert len(np.unique(times, axis=1).T) == 50


def test_a_part_of_very_many_different_pairs_is_enough(monkeypatch, drawn):
    vectors, person = people_of(3)
    pairs = pairs_among(vectors, person)
    whole, _ = drawn(pairs, None, 20)
    monkeypatch.setattr(resampling, "DIFFERENT", 5_000)
    part, _ = drawn(pairs, None, 20)
    np.testing.assert_allclose(part.tar[0.01], whole.tar[0.01], atol=0.03)
    np.testing.assert_allclose(part.auc, whole.auc, atol=0.02)
    np.testing.assert_allclose(part.eer, whole.eer, atol=0.02)


def test_intervals_hold_the_figures_and_shrink_with_more_people():
    widths = []
    for people in (15, 60):
        vectors, person = people_of(4, people=people, photos=3)
        pairs, retrieval = pairs_among(vectors, person), retrieve(vectors, person, "euclidean")
        verification = verify(pairs)
        found = intervals(pairs, verification, retrieval)
        for (low, high), figure in (
            (found.accuracy, verification.accuracy),
            (found.auc, verification.figures.auc),
            (found.eer, verification.figures.eer),
            (found.tar[0.1], verification.figures.tar[0.1]),
            (found.rank1, retrieval.rank1),
            (found.rank5, retrieval.rank5),
            (found.map, retrieval.map),
        ):
            assert 0 <= low <= figure <= high <= 1
        widths.append(found.map[1] - found.map[0])
    assert widths[1] < widths[0]


@pytest.mark.slow
def test_intervals_mostly_hold_what_many_more_people_would_give():
    vectors, person = people_of(5, people=150, photos=2)
    truth = verify(pairs_among(vectors, person)).figures.auc
    held = 0
    for seed in range(15):
        pairs = pairs_among(*people_of(100 + seed, people=40, photos=2))
        low, high = measured(pairs, replicates=60).auc
        held += low <= truth <= high
    assert held >= 12


def test_the_same_seed_gives_the_same_intervals():
    pairs = pairs_among(*people_of(6), missed=0.1)
    assert measured(pairs, seed=1) == measured(pairs, seed=1)
    assert measured(pairs, seed=1) != measured(pairs, seed=2)


def test_where_there_is_no_figure_there_is_no_interval():
    vectors, person = people_of(7, people=3, photos=2)
    pairs = pairs_among(vectors, person)
    found = measured(pairs.take(pairs.same))
    assert found == Intervals(None, None, None, dict.fromkeys((0.1, 0.01, 0.001, 0.0001)), None, None, None)
    assert measured(pairs).tar == dict.fromkeys((0.1, 0.01, 0.001, 0.0001))  # 12 different pairs
    nothing = pairs.take(np.zeros(len(pairs.same), bool))
    assert measured(nothing).auc is None
