import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.models.calibration import Calibration

STRANGERS = ((1e-4, 0.3), (1e-2, 0.5), (0.5, 0.8), (1.0, 1.6))
CALIBRATION = Calibration(0.45, 20.0, 9.0, STRANGERS, "pairs of somebody", "2026-11-22")

# What a card may hold.
CALIBRATIONS = st.builds(
    Calibration,
    threshold=st.floats(0, 1e9),
    slope=st.floats(1e-9, 1e9),
    intercept=st.floats(-1e9, 1e9),
    strangers=st.lists(
        st.tuples(st.floats(1e-12, 1), st.floats(0, 1e9)), min_size=2, max_size=6, unique_by=lambda row: row
    )
    .map(lambda rows: list(zip(*map(sorted, zip(*rows, strict=True)), strict=True)))
    .filter(lambda rows: all(a < c and b < d for (a, b), (c, d) in pairwise(rows)))
    .map(tuple),
    data=st.just(""),
    date=st.just("2026-11-22"),
)
DISTANCE = st.floats(0, 1e9)


def log(rate):
    return math.log(rate)


def test_the_probability_is_the_logistic_of_the_distance():
    assert CALIBRATION.probability(9.0 / 20.0) == pytest.approx(0.5)
    assert CALIBRATION.probability(0.0) == pytest.approx(1 / (1 + math.exp(-9)))
    assert CALIBRATION.probability(0.6) == pytest.approx(1 / (1 + math.exp(3)))


def test_the_distance_of_a_probability_has_that_probability():
    for probability in (1e-9, 0.01, 0.5, 0.9, 1 - 1e-9):
        assert CALIBRATION.probability(CALIBRATION.distance(probability)) == pytest.approx(probability)


@given(distance=st.floats(0, 1.5))
def test_the_probability_of_a_distance_leads_back_to_it(distance):
    assert CALIBRATION.distance(CALIBRATION.probability(distance)) == pytest.approx(distance, abs=1e-6)


def test_certainty_has_no_distance():
    assert CALIBRATION.distance(1.0) == -math.inf
    assert CALIBRATION.distance(0.0) == math.inf


@given(calibration=CALIBRATIONS, one=DISTANCE, other=DISTANCE)
def test_a_larger_distance_never_makes_one_person_likelier(calibration, one, other):
    near, far = sorted((one, other))

    assert calibration.probability(near) >= calibration.probability(far)
    assert calibration.distance(0.9) <= calibration.distance(0.5) <= calibration.distance(0.1)


@given(calibration=CALIBRATIONS, distance=DISTANCE | st.sampled_from([0.0, 1e9, 1e300, math.inf]))
def test_no_distance_is_too_much(calibration, distance):
    assert 0.0 <= calibration.probability(distance) <= 1.0
    assert 0.0 <= calibration.stranger_rate(distance) <= 1.0


@pytest.mark.parametrize("probability", [5e-324, 1e-300, 1 - 2**-53])
def test_no_probability_is_too_much(probability):
    assert math.isfinite(CALIBRATION.distance(probability))


@pytest.mark.parametrize(("rate", "distance"), STRANGERS)
def test_what_was_measured_of_strangers_is_given_as_it_was(rate, distance):
    assert CALIBRATION.stranger_rate(distance) == pytest.approx(rate)


def test_between_two_rows_the_rates_logarithm_is_interpolated():
    assert log(CALIBRATION.stranger_rate(0.4)) == pytest.approx((log(1e-4) + log(1e-2)) / 2)
    assert log(CALIBRATION.stranger_rate(0.6)) == pytest.approx(log(1e-2) + (log(0.5) - log(1e-2)) / 3)


def test_below_the_first_row_the_rate_keeps_falling_as_steeply():
    # A factor of 100 in 0.2.
    assert CALIBRATION.stranger_rate(0.2) == pytest.approx(1e-5)
    assert CALIBRATION.stranger_rate(0.1) == pytest.approx(1e-6)
    assert 0 < CALIBRATION.stranger_rate(0.0) == pytest.approx(1e-7)


def test_beyond_the_last_row_the_rate_stays():
    for distance in (1.6, 1.7, 1e9, math.inf):
        assert CALIBRATION.stranger_rate(distance) == 1.0
    some = replace(CALIBRATION, strangers=STRANGERS[:2])
    assert some.stranger_rate(0.6) == 1e-2


@given(calibration=CALIBRATIONS, one=DISTANCE, other=DISTANCE)
def test_a_larger_distance_never_has_fewer_strangers(calibration, one, other):
    near, far = sorted((one, other))

    assert calibration.stranger_rate(near) <= calibration.stranger_rate(far) * (1 + 1e-9)


def test_a_table_that_falls_too_steeply_for_a_float_ends_near_nothing():
    steep = replace(CALIBRATION, strangers=((1e-12, 1.0), (1.0, 1.0 + 1e-12)))

    assert steep.stranger_rate(0.0) == pytest.approx(math.exp(-700))
