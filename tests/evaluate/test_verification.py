import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from facesearch.evaluate.verification import FALSE_ACCEPT_RATES, Pairs, reliability, roc_figures, verify
from facesearch.models.calibration import Calibration

EXAMPLES = settings(max_examples=12, deadline=None)


def pairs_of(distance, same, fold, people=None, balanced=False):
    """Return pairs with one fold for both sides, or a pair of folds for each."""
    fold = np.array(fold, np.int16)
    fold = np.stack([fold, fold], axis=1) if fold.ndim == 1 else fold
    people = np.arange(2 * len(distance)).reshape(-1, 2) if people is None else people
    return Pairs(np.float64(distance), np.array(same, bool), np.int32(people), fold, balanced)


@st.composite
def random_pairs(draw):
    """Return pairs with ties, missed faces, and folds of pairs or of people."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, folds = draw(st.integers(8, 60)), draw(st.integers(2, 5))
    same = rng.random(n) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    # Sixteenths: ties, and exact also after a shift and a scale.
    distance = np.clip(rng.integers(8, 40, n) - 6 * same, 0, None) / 16.0
    distance[rng.random(n) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    people = rng.integers(0, 20, (n, 2)).astype(np.int32)
    people[same, 1] = people[same, 0]
    fold = people % folds if draw(st.booleans()) else np.repeat(rng.integers(0, folds, (n, 1)), 2, axis=1)
    return Pairs(distance, same, people, fold.astype(np.int16), draw(st.booleans()))


def slow_accuracy(pairs):
    """Return each pair's share of right decisions by plain loops; None without pairs to train on."""
    n = len(pairs.distance)
    right = [0.0] * n
    for fold in sorted({*pairs.fold.ravel().tolist()}):
        train = [
            i for i in range(n) if fold not in pairs.fold[i].tolist() and not np.isnan(pairs.distance[i])
        ]
        if len({bool(pairs.same[i]) for i in train}) < 2:
            return None
        count = sum(bool(pairs.same[i]) for i in train)
        worth = (len(train) - count, count) if pairs.balanced else (1, 1)
        seen = sorted({float(pairs.distance[i]) for i in train})
        halfway = [(low + high) / 2 for low, high in pairwise(seen)]
        best, most = 0.0, -1
        for threshold in [seen[0] - 1e-9, *halfway, seen[-1]]:
            gained = sum(
                worth[0] if pairs.same[i] else worth[1]
                for i in train
                if (pairs.distance[i] <= threshold) == pairs.same[i]
            )
            if gained > most:
                best, most = threshold, gained
        for i in range(n):
            part = pairs.fold[i].tolist().count(fold) / 2
            if not np.isnan(pairs.distance[i]) and (pairs.distance[i] <= best) == pairs.same[i]:
                right[i] += part
    return right


def test_three_folds_by_hand():
    # Without fold 0: 0.2 0.5 | 0.6 0.8 part at 0.55, and both its pairs are right. Without fold 1:
    # 0.1 0.5 | 0.8 0.9 part at 0.65, where 0.6 is wrong. Without fold 2: 0.1 0.2 | 0.6 0.9 part at 0.4,
    # where 0.5 is wrong.
    distance = [0.1, 0.9, 0.2, 0.6, 0.5, 0.8]
    same = [1, 0, 1, 0, 1, 0]
    found = verify(pairs_of(distance, same, [0, 0, 1, 1, 2, 2]))
    assert found.folds == (1.0, 0.5, 0.5)
    assert found.accuracy == found.accuracy_found == pytest.approx(4 / 6)
    assert found.threshold == pytest.approx(0.55)
    assert found.right.tolist() == [1, 1, 1, 0, 0, 1]
    assert found.accepted == (0.0, 1.0)
    assert (found.same, found.different, found.missed, found.people) == (3, 3, 0, 12)


def test_a_missed_face_is_a_wrong_decision_or_left_out():
    distance = [0.1, 0.9, 0.2, 0.8, np.nan, 0.7]
    found = verify(pairs_of(distance, [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2]))
    assert found.accuracy == pytest.approx(5 / 6)
    assert found.accuracy_found == 1.0
    assert found.missed == 1
    assert found.folds == (1.0, 1.0, 0.5)


def test_a_pair_over_two_folds_is_tested_in_both_by_half():
    # The last pair is of folds 0 and 1. Without fold 0 the threshold is (0.3 + 0.7) / 2, without fold 1
    # (0.2 + 0.4) / 2: at 0.35 it is called the same in the first, rightly different in the second.
    distance = [0.1, 0.4, 0.3, 0.7, 0.2, 0.8, 0.35]
    same = [1, 0, 1, 0, 1, 0, 0]
    fold = [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [2, 2], [0, 1]]
    found = verify(pairs_of(distance, same, fold))
    assert found.right.tolist()[-1] == 0.5
    # Fold 0: 0.1 is right and 0.4 wrong under 0.5, and half of the last pair is wrong.
    assert found.folds[0] == pytest.approx(1 / 2.5)


def test_balanced_pairs_weigh_equally_in_sum():
    distance = [0.1, 0.2, *[0.9] * 18]
    balanced = pairs_of(distance, [1, 1, *[0] * 18], np.arange(20) % 2, balanced=True)
    assert balanced.weight[:2].sum() == pytest.approx(0.5)
    assert balanced.weight.sum() == pytest.approx(1.0)
    unbalanced = pairs_of(distance, [1, 1, *[0] * 18], np.arange(20) % 2)
    assert unbalanced.weight == pytest.approx(1 / 20)
    one_missed = pairs_of([np.nan, *distance, 0.3], [1, 1, 1, *[0] * 18, 1], np.arange(22) % 2, balanced=True)
    assert verify(one_missed).accuracy == pytest.approx(1 - 0.5 / 4)
    assert verify(one_missed).accuracy_found == 1.0


@EXAMPLES
@given(pairs=random_pairs())
def test_accuracy_is_what_plain_loops_say(pairs):
    found, wanted = verify(pairs), slow_accuracy(pairs)
    if wanted is None:
        assert found.accuracy is None
        assert found.accuracy_found is None
        assert found.right is None
        assert found.folds == ()
        return
    np.testing.assert_allclose(found.right, wanted)
    assert found.accuracy == pytest.approx(float(pairs.weight @ wanted))
    assert len(found.folds) == len(np.unique(pairs.fold))
    assert all(0 <= share <= 1 for share in found.folds)
    if (pairs.fold[:, 0] == pairs.fold[:, 1]).all():
        for fold, share in zip(np.unique(pairs.fold), found.folds, strict=True):
            inside = pairs.fold[:, 0] == fold
            kinds = [pairs.same, ~pairs.same] if pairs.balanced else [np.ones(len(inside), bool)]
            right = [np.mean(found.right[inside & kind]) for kind in kinds if (inside & kind).any()]
            assert share == pytest.approx(np.mean(right))


@EXAMPLES
@given(pairs=random_pairs())
def test_which_side_is_which_changes_nothing(pairs):
    swapped = Pairs(pairs.distance, pairs.same, pairs.people[:, ::-1], pairs.fold[:, ::-1], pairs.balanced)
    assert verify(swapped) == verify(pairs)


@EXAMPLES
@given(pairs=random_pairs(), seed=st.integers(0, 1000))
def test_the_order_of_the_pairs_changes_nothing(pairs, seed):
    order = np.random.default_rng(seed).permutation(len(pairs.same))
    one, other = verify(pairs), verify(pairs.take(order))
    assert one.threshold == other.threshold
    assert one.figures == other.figures
    if one.right is None:
        assert other.right is None
    else:
        assert one.right[order].tolist() == other.right.tolist()


@EXAMPLES
@given(pairs=random_pairs(), scale=st.sampled_from([0.25, 1.0, 8.0]), shift=st.sampled_from([0.0, 0.5, 4.0]))
def test_another_unit_of_distance_changes_no_figure(pairs, scale, shift):
    other = verify(
        Pairs(pairs.distance * scale + shift, pairs.same, pairs.people, pairs.fold, pairs.balanced)
    )
    one = verify(pairs)
    assert (one.accuracy, one.folds, one.figures) == (other.accuracy, other.folds, other.figures)


@EXAMPLES
@given(pairs=random_pairs())
def test_what_keeps_the_order_of_distances_keeps_the_roc(pairs):
    bent = Pairs(np.exp(pairs.distance), pairs.same, pairs.people, pairs.fold, pairs.balanced)
    assert roc_figures(bent) == roc_figures(pairs)


@EXAMPLES
@given(pairs=random_pairs(), data=st.data())
def test_a_missed_face_never_raises_a_fixed_decision(pairs, data):
    """A fold's own pairs do not choose its threshold, so a missed one costs itself and helps no other."""
    one = verify(pairs)
    missed = data.draw(st.integers(0, len(pairs.same) - 1))
    distance = pairs.distance.copy()
    distance[missed] = np.nan
    other = verify(Pairs(distance, pairs.same, pairs.people, pairs.fold, pairs.balanced))
    if one.right is not None and other.right is not None:
        assert other.right[missed] == 0.0
        own = pairs.fold[missed]
        if own[0] == own[1]:
            there = (pairs.fold == own[0]).all(axis=1)
            assert (other.right[there] <= one.right[there]).all()
    if one.figures.auc is not None and pairs.same[missed]:
        assert other.figures.auc <= one.figures.auc + 1e-12
        for rate, share in other.figures.tar.items():
            assert share is None or share <= one.figures.tar[rate]


@EXAMPLES
@given(pairs=random_pairs())
def test_auc_is_scikit_learns_with_missed_faces_farthest(pairs):
    figures, found = roc_figures(pairs)
    if 0 < pairs.same.sum() < len(pairs.same):
        far = np.where(pairs.found, pairs.distance, 1000.0)
        assert figures.auc == pytest.approx(roc_auc_score(pairs.same, -far))
    left = pairs.take(pairs.found)
    if 0 < left.same.sum() < len(left.same):
        assert found.auc == pytest.approx(roc_auc_score(left.same, -left.distance))
        assert found.eer == pytest.approx(roc_figures(left)[0].eer)
        assert found.tar == pytest.approx(roc_figures(left)[0].tar)


def test_roc_figures_by_hand():
    # 100 different pairs at 1.01, 1.02, ... 2.00; of 10 same pairs 7 are nearer than all of them, one stands
    # behind the 10th, one behind the 30th, one is missed.
    distance = [*np.arange(101, 201) / 100, *[0.5] * 7, 1.105, 1.305, np.nan]
    pairs = pairs_of(distance, [0] * 100 + [1] * 10, [0] * 110)
    figures, found = roc_figures(pairs)
    assert figures.tar == {0.1: 0.8, 0.01: None, 0.001: None, 0.0001: None}
    assert found.tar[0.1] == pytest.approx(8 / 9)
    assert found.auc == pytest.approx((700 + 90 + 70) / 900)
    assert figures.auc == pytest.approx((700 + 90 + 70) / 1000)
    # 8 of 10 accepted up to FAR 0.2 and beyond: at 0.2 as many are false as are rejected.
    assert figures.eer == pytest.approx(0.2)
    assert found.eer == pytest.approx(1 / 9)


def test_the_rate_that_is_reached_exactly_counts():
    # 3 of 3,000 are 0.001 of them, whatever rounding says; at that rate 3 false accepts are too few to tell.
    for different in (1_000, 3_000, 7_000, 10_000):
        allowed = different // 100
        distance = [*range(1, different + 1), allowed + 0.5, allowed + 1.5]
        pairs = pairs_of(distance, [0] * different + [1, 1], [0] * (different + 2))
        figures, _ = roc_figures(pairs)
        assert figures.tar[0.01] == 0.5
        assert (figures.tar[0.001] is not None) == (different >= 10_000)


def test_the_curve_is_thinned_and_true():
    rng = np.random.default_rng(3)
    same = np.arange(20_000) < 5_000
    pairs = pairs_of(rng.normal(1, 0.2, 20_000) - 0.3 * same, same, np.arange(20_000) % 10)
    curve = roc_figures(pairs)[0].curve
    assert len(curve) <= 601
    assert (np.diff(curve, axis=0) >= 0).all()
    assert curve[0].tolist()[0] == 0.0
    assert curve[-1].tolist() == [1.0, 1.0]
    for far, tar in curve[::50]:
        limit = np.sort(pairs.distance[~same])[round(far * 15_000) - 1] if far else -np.inf
        above = np.sort(pairs.distance[~same])[min(round(far * 15_000), 14_999)]
        assert (pairs.distance[same] <= limit).mean() <= tar <= (pairs.distance[same] <= above).mean()


@pytest.mark.parametrize("same", [[], [1, 1, 1], [0, 0, 0]])
def test_without_both_kinds_of_pairs_there_are_no_figures(same):
    found = verify(pairs_of([0.1, 0.2, 0.3][: len(same)], same, [0, 1, 2][: len(same)]))
    assert found.accuracy is found.threshold is found.figures.auc is found.figures.eer is found.ece is None
    assert found.figures.tar == dict.fromkeys(FALSE_ACCEPT_RATES)


def test_where_all_of_a_kind_are_missed_misses_still_count():
    found = verify(pairs_of([np.nan, np.nan, 0.3, 0.4], [1, 1, 0, 0], [0, 1, 0, 1]))
    assert found.accuracy is None
    assert found.figures.auc == 0.0
    assert found.figures_found.auc is None


def test_one_fold_has_nothing_to_train_on():
    found = verify(pairs_of([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], [0] * 4))
    assert found.accuracy is None
    assert found.threshold == pytest.approx(0.5)


def test_honest_probabilities_have_no_calibration_error():
    rng = np.random.default_rng(4)
    probability = rng.random(200_000)
    same = rng.random(200_000) < probability
    error, bins = reliability(probability, same, np.ones(200_000))
    assert error < 0.01
    np.testing.assert_allclose(bins.same, bins.probability, atol=0.02)
    np.testing.assert_allclose(bins.weight, 0.1, atol=0.01)


def test_dishonest_probabilities_have_a_large_one():
    error, bins = reliability(np.full(100, 0.95), np.arange(100) < 55, np.ones(100))
    assert error == pytest.approx(0.4)
    assert bins.weight.tolist() == [0] * 9 + [1]
    assert np.isnan(bins.same[:9]).all()


def test_the_calibration_error_by_hand():
    # Told 0.2 twice, of which the one of weight 3 is the same: 0.75 in truth. Told 1.0 once, rightly.
    error, _ = reliability(
        np.array([0.2, 0.2, 1.0]), np.array([True, False, True]), np.array([3.0, 1.0, 4.0])
    )
    assert error == pytest.approx(0.5 * 0.55)


def test_a_fitted_map_is_honest_and_a_wrong_card_is_not():
    rng = np.random.default_rng(5)
    distance = rng.uniform(0, 2, 8_000)
    same = rng.random(8_000) < 1 / (1 + np.exp(6 * (distance - 1)))
    pairs = pairs_of(distance, same, np.arange(8_000) % 10)
    right = Calibration(1.0, 6.0, 6.0, ((0.1, 0.5), (1.0, 2.0)), "here", "2026-01-01")
    wrong = Calibration(1.0, 6.0, 12.0, ((0.1, 0.5), (1.0, 2.0)), "elsewhere", "2026-01-01")
    found = verify(pairs, right)
    assert found.ece < 0.03
    assert found.ece_card < 0.03
    assert verify(pairs, wrong).ece_card > 0.2
    assert verify(pairs).ece_card is None


@pytest.mark.slow
def test_tensorflow_and_opencv_stay_unloaded():
    code = (
        "import sys; from facesearch.evaluate import fitting, plots, resampling, verification; "
        "print({'tensorflow', 'keras', 'cv2', 'openvino', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "set()"
