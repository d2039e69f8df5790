from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.siamese.data import SLIGHT, STRONG, PixelViews, Strength, augment, augmented_views, rng_of

EXAMPLES = settings(max_examples=25, deadline=None)

NOTHING = Strength(*[0.0] * 10, mirrored=0.0)


def drawn(seed=0, height=40, width=32):
    """Return a picture of soft spots, as photographs have them: no single pixel decides anything."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def difference(one, other):
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@EXAMPLES
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    strength=st.sampled_from([SLIGHT, STRONG]),
)
def test_a_warp_keeps_shape_and_type_and_leaves_its_input_alone(seed, height, width, strength):
    rng = np.random.default_rng(seed)
    crop = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = crop.copy()

    found = augment(crop, strength, rng)

    assert (found.shape, found.dtype) == (crop.shape, np.uint8)
    np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize("strength", [SLIGHT, STRONG])
@pytest.mark.parametrize("level", [0, 255])
def test_light_is_cut_off_at_black_and_white_and_never_wraps_round(level, strength):
    crop = np.full((24, 24, 3), level, np.uint8)
    for number in range(20):
        found = augment(crop, strength, rng_of(crop, number)).astype(int)
        # A quarter as bright at the darkest corner; noise alone makes no black picture bright.
        assert np.abs(found - level).max() < (30 if level == 0 else 230)


def test_the_first_view_is_the_photo_itself():
    crop = drawn()
    found = augmented_views(crop, 3, STRONG)
    assert (found.shape, found.dtype) == ((4, *crop.shape), np.uint8)
    np.testing.assert_array_equal(found[0], crop)
    np.testing.assert_array_equal(augmented_views(crop, 0, STRONG), crop[None])


def test_the_views_of_a_photo_differ_from_each_other():
    found = augmented_views(drawn(), 8, SLIGHT)
    for one in range(9):
        for other in range(one):
            assert difference(found[one], found[other]) > 1


def test_the_same_pixels_and_number_give_the_same_warp_in_any_order_and_beside_any_other():
    crops = [drawn(seed) for seed in range(3)]
    at_once = [augmented_views(crop, 4, STRONG) for crop in crops]
    for place in (2, 0, 1):
        for number in (4, 2, 1, 3):
            alone = augment(crops[place].copy(), STRONG, rng_of(crops[place].copy(), number))
            np.testing.assert_array_equal(alone, at_once[place][number])
    np.testing.assert_array_equal(augmented_views(crops[1], 2, STRONG), at_once[1][:3])


def test_a_picture_that_lies_otherwise_in_memory_is_warped_alike():
    crop = drawn()
    turned = np.asfortranarray(crop)
    part = np.concatenate([crop, crop], axis=1)[:, : crop.shape[1]]
    for other in (turned, part):
        np.testing.assert_array_equal(augmented_views(other, 2, STRONG), augmented_views(crop, 2, STRONG))


def test_another_pixel_or_number_gives_another_warp():
    crop = drawn()
    other = crop.copy()
    other[0, 0, 0] ^= 1
    draws = {float(rng_of(crop, number).random()) for number in (0, 1, 2**31 - 1)}
    assert len(draws) == 3
    assert float(rng_of(other, 0).random()) not in draws


def test_no_strength_is_no_warp():
    crop = drawn()
    np.testing.assert_array_equal(augment(crop, NOTHING, np.random.default_rng(0)), crop)


def test_strong_warps_go_further_than_slight_ones():
    crops = [drawn(seed) for seed in range(6)]

    def apart(strength):
        strength = replace(strength, mirrored=0.0)
        return np.mean(
            [difference(crop, other) for crop in crops for other in augmented_views(crop, 6, strength)[1:]]
        )

    slight, strong = apart(SLIGHT), apart(STRONG)
    assert 3 < slight < 0.7 * strong


@pytest.mark.parametrize("name", [name for name in asdict(STRONG) if name != "mirrored"])
def test_each_part_of_a_warp_changes_the_picture_by_itself(name):
    crop = drawn()
    alone = replace(NOTHING, **{name: getattr(STRONG, name)})
    changed = [difference(crop, other) for other in augmented_views(crop, 8, alone)[1:]]
    assert max(changed) > 0.5


def test_a_mirrored_picture_is_the_picture_in_a_mirror():
    crop = drawn()
    always = replace(NOTHING, mirrored=1.0)
    assert difference(augment(crop, always, np.random.default_rng(0)), crop[:, ::-1]) < 1
    half = replace(NOTHING, mirrored=0.5)
    mirrored = [difference(crop, other) > 1 for other in augmented_views(crop, 60, half)[1:]]
    assert 15 < sum(mirrored) < 45


def test_a_view_of_kept_features_and_of_pixels_is_the_same_warp():
    crop = drawn()
    pixels = PixelViews(crop[None], SLIGHT)
    at_once = augmented_views(crop, 3, SLIGHT)
    for view in range(4):
        one = pixels.inputs(np.array([0]), np.array([view]))[0]
        np.testing.assert_array_equal(one, at_once[view])
