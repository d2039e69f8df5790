from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.errors import FacesearchError
from facesearch.evaluate import fitting
from facesearch.evaluate.fitting import best_threshold, fit_calibration, fit_logistic
from facesearch.evaluate.verification import Pairs

EXAMPLES = settings(max_examples=40, deadline=None)


def calibrate(distance, same):
    n = len(distance)
    people = np.zeros((n, 2), np.int32)
    pairs = Pairs(np.float64(distance), np.array(same, bool), people, people.astype(np.int16), False)
    return fit_calibration(pairs, data="a test", date="2026-01-02", own=True)


def logistic(n, slope, middle, seed):
    """Return rising distances, and pairs that are the same with the probability that a logistic map tells."""
    rng = np.random.default_rng(seed)
    distance = np.sort(rng.uniform(0, 2, n))
    return distance, rng.random(n) < 1 / (1 + np.exp(slope * (distance - middle)))


@EXAMPLES
@given(values=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1), worth=st.integers(1, 4))
def test_no_threshold_gets_more_pairs_right(values, worth):
    values.sort()
    distance, same = np.array([far / 8 for far, _ in values]), np.array([is_same for _, is_same in values])
    weight = np.where(same, worth, 1)

    def right(threshold):
        return int(weight @ ((distance <= threshold) == same))

    threshold = best_threshold(distance, same, (worth, 1))
    assert right(threshold) == max(map(right, [-1.0, *distance]))
    lower = [
        far
        for far in [-1.0, *distance]
        if far < threshold and (distance <= far).sum() < (distance <= threshold).sum()
    ]
    assert all(right(far) < right(threshold) for far in lower)


@pytest.mark.parametrize(
    ("distance", "same", "threshold"),
    [
        ([0.25, 0.75], [1, 0], 0.5),
        ([0.25, 0.75, 0.75, 1.0], [1, 1, 0, 0], 0.5),  # equal distances are not split
        ([0.25, 0.75], [1, 1], 0.75),
        ([0.25, 0.75], [0, 0], np.nextafter(0.25, 0)),
        ([0.25, 0.5, 0.75], [0, 0, 1], np.nextafter(0.25, 0)),
        ([1.0, np.nextafter(1.0, 2.0)], [1, 0], 1.0),  # no number lies between
    ],
)
def test_the_threshold_lies_halfway_between_two_distances(distance, same, threshold):
    assert best_threshold(np.array(distance), np.array(same, bool)) == threshold


def test_a_known_logistic_is_recovered():
    slope, intercept = fit_logistic(*logistic(60_000, 5.0, 1.0, seed=1))
    assert slope == pytest.approx(5.0, rel=0.04)
    assert intercept / slope == pytest.approx(1.0, rel=0.02)


def test_how_many_pairs_there_are_of_a_kind_changes_nothing():
    distance, same = logistic(60_000, 5.0, 1.0, seed=2)
    few = np.flatnonzero(~same | (np.arange(60_000) % 10 == 0))  # a tenth of the same pairs
    slope, intercept = fit_logistic(distance[few], same[few])
    assert slope == pytest.approx(5.0, rel=0.06)
    assert intercept / slope == pytest.approx(1.0, rel=0.03)


def test_a_part_of_very_many_different_pairs_is_enough(monkeypatch):
    distance, same = logistic(60_000, 5.0, 1.2, seed=3)
    whole = fit_logistic(distance, same)
    monkeypatch.setattr(fitting, "FITTED", 5_000)
    assert fit_logistic(distance, same) == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("gap", [1e-6, 0.01, 1.0, 1e6])
def test_pairs_that_a_threshold_parts_give_a_finite_slope(gap):
    distance = np.concatenate([np.linspace(0, 1, 40), np.linspace(1 + gap, 2 + gap, 40)])
    found = calibrate(distance, np.arange(80) < 40)
    assert 0 < found.slope < 200
    assert found.probability(float(distance[0])) > 0.99
    assert found.probability(float(distance[-1])) < 0.01
    assert 0.01 < found.probability(1 + gap / 2) < 0.99
    assert found.threshold == pytest.approx(1 + gap / 2)


def test_the_unit_of_distance_changes_no_probability():
    distance, same = logistic(5_000, 5.0, 1.0, seed=4)
    one, other = calibrate(distance, same), calibrate(distance * 1000, same)
    assert other.probability(1234.0) == pytest.approx(one.probability(1.234), rel=1e-6)
    assert other.threshold == pytest.approx(one.threshold * 1000)


def test_rates_among_strangers_rise_to_one():
    n = 10_000
    found = calibrate([*np.linspace(1, 2, n), *np.linspace(0, 1.2, 500)], [0] * n + [1] * 500)
    rates = [rate for rate, _ in found.strangers]
    assert rates == pytest.approx([0.001, 0.0032, 0.01, 0.0317, 0.1, 0.3163, 0.5, 1.0], abs=1e-9)
    far = [limit for _, limit in found.strangers]
    assert far == sorted(set(far))
    assert far[-1] == 2.0
    for rate, limit in found.strangers:
        assert found.stranger_rate(limit) == pytest.approx(rate)


@EXAMPLES
@given(seed=st.integers(0, 2**32), n=st.integers(2, 400), places=st.sampled_from([0, 1, 2, 12]))
def test_the_table_of_strangers_tells_true_shares(seed, n, places):
    rng = np.random.default_rng(seed)
    distance = np.sort(np.round(rng.normal(5, 1, n), places))
    if distance[0] == distance[-1]:
        distance[0] -= 1
    found = calibrate([*distance, *distance[:1] - 3, *distance[:1] - 4], [0] * n + [1, 1]).strangers
    assert len(found) >= 2
    assert found[-1] == (1.0, distance[-1])
    for rate, limit in found:
        assert rate == pytest.approx((distance <= limit).mean())
    assert all(low[0] < high[0] and low[1] < high[1] for low, high in pairwise(found))
    if n >= 20:
        assert found[0][0] * n >= 10 or len(found) == 2


def test_missed_faces_are_left_out():
    distance, same = logistic(2_000, 5.0, 1.0, seed=5)
    with_missed = calibrate([*distance, np.nan, np.nan], [*same, True, False])
    assert with_missed == calibrate(distance, same)
    assert (with_missed.data, with_missed.date, with_missed.own) == ("a test", "2026-01-02", True)


@pytest.mark.parametrize(
    ("distance", "same", "words"),
    [
        ([0.5, 0.6, 0.1, 0.2], [1, 1, 0, 0], "tell nothing"),
        ([0.5] * 8, [1, 0] * 4, "tell nothing"),
        ([0.1, 0.5, 0.5], [1, 0, 0], "tell nothing"),
        ([0.1, 0.2], [1, 1], "two different people"),
        ([0.1, np.nan], [0, 1], "the same person"),
        ([], [], "the same person"),
    ],
)
def test_pairs_that_tell_nothing_are_refused(distance, same, words):
    with pytest.raises(FacesearchError, match=words) as caught:
        calibrate(distance, same)
    assert caught.value.hint
