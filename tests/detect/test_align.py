"""Bringing faces upright and to their place by their landmarks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from facesearch.detect import open_detector
from facesearch.detect.crop import TEMPLATE, align_face, similarity
from facesearch.models.card import ONNX

SAMPLES = Path(__file__).parents[2] / "samples"
SIZE = (112, 112)
CANVAS = 700


def moved(scale=1.0, degrees=0.0, shift=(0.0, 0.0), squeeze=1.0):
    """Return a face's landmarks: the template squeezed sideways, turned, scaled and shifted."""
    points = (np.array(TEMPLATE) - 56) * (squeeze, 1)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + CANVAS / 2 + shift


def plain(points):
    return tuple((float(x), float(y)) for x, y in points)


def dotted(points, radius):
    """Draw white dots on black, exact to a sixteenth of a pixel."""
    image = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    for x, y in points:
        centre = round(16 * x), round(16 * y)
        cv2.circle(image, centre, round(16 * radius), (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


def dot_near(crop, place, reach):
    """Return the middle of the light around a place, as (x, y)."""
    left, top = (max(0, round(value) - reach) for value in place)
    part = crop[top : top + 2 * reach + 1, left : left + 2 * reach + 1, 0].astype(float)
    assert part.sum() > 200
    ys, xs = np.mgrid[: part.shape[0], : part.shape[1]]
    return left + (xs * part).sum() / part.sum(), top + (ys * part).sum() / part.sum()


def found_dots(points, places, scale, *, size=SIZE, margin=0.0):
    crop = align_face(dotted(points, 2.5 * scale), plain(points), size=size, margin=margin)
    assert (crop.shape, crop.dtype) == ((*size, 3), np.uint8)
    return [dot_near(crop, place, round(7 / (1 + 2 * margin))) for place in places]


def least_squares(points, targets):
    """Solve for turn, scale and shift as four unknowns (a, b, c, d): x' = ax - by + c, y' = bx + ay + d."""
    rows, values = [], []
    for (x, y), target in zip(points, targets, strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        values += list(target)
    (a, b, c, d), *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    return np.array([[a, -b, c], [b, a, d]])


FACES = {
    "scale": st.floats(0.6, 4.5),
    "degrees": st.floats(-180, 180),
    "shift": st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
}


@settings(max_examples=60, deadline=None)
@given(**FACES)
def test_landmarks_come_to_lie_on_the_template(scale, degrees, shift):
    points = moved(scale, degrees, shift)

    np.testing.assert_allclose(found_dots(points, TEMPLATE, scale), TEMPLATE, atol=1)


@settings(max_examples=40, deadline=None)
@given(**FACES, squeeze=st.floats(0.6, 1))
def test_those_of_a_face_that_looks_aside_come_as_near_as_a_turn_and_a_scale_can_bring_them(
    scale, degrees, shift, squeeze
):
    points = moved(scale, degrees, shift, squeeze)
    wanted = np.column_stack([points, np.ones(5)]) @ least_squares(points, TEMPLATE).T

    np.testing.assert_allclose(found_dots(points, wanted, scale), wanted, atol=1)
    np.testing.assert_allclose(wanted.mean(axis=0), np.mean(TEMPLATE, axis=0), atol=1e-6)


@pytest.mark.parametrize("scale", [0.7, 2.0, 3.7])
@pytest.mark.parametrize("margin", [0.25, 1.0])
def test_the_margin_shows_more_on_each_side(margin, scale):
    places = (np.array(TEMPLATE) - 56) / (1 + 2 * margin) + 56

    found = found_dots(moved(scale, 20), places, scale, margin=margin)

    np.testing.assert_allclose(found, places, atol=1)


@pytest.mark.parametrize("size", [(224, 224), (160, 96), (96, 160)], ids=str)
@pytest.mark.parametrize("scale", [0.7, 4.0])
def test_a_crop_of_another_size_shows_the_face_in_its_middle(size, scale):
    places = (np.array(TEMPLATE) - 56) * min(size) / 112 + (size[1] / 2, size[0] / 2)

    found = found_dots(moved(scale, -15), places, scale * 112 / min(size), size=size)

    np.testing.assert_allclose(found, places, atol=1)


def read(name):
    image = cv2.imread(str(SAMPLES / name))
    assert image is not None, name
    return image


@pytest.fixture(scope="module")
def detector(model_store):
    return open_detector("yunet", store=model_store)


@pytest.fixture(scope="module")
def recogniser(model_store):
    return cv2.FaceRecognizerSF.create(str(model_store.path("sface") / ONNX), "")


PHOTOS = ["library/solvay_1927.jpg", "queries/marie_curie.jpg", "queries/obama.jpg", "library/biden.jpg"]


@pytest.mark.parametrize("turned", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", PHOTOS)
def test_a_face_up_to_twice_its_crop_is_aligned_as_cv2_does_it(name, turned, detector, recogniser):
    image = read(name)
    if (largest := detector.detect(image, 1.0)[0].box.height) > 180:
        image = cv2.resize(image, None, fx=180 / largest, fy=180 / largest, interpolation=cv2.INTER_AREA)
    if turned:
        middle = image.shape[1] / 2, image.shape[0] / 2
        image = cv2.warpAffine(image, cv2.getRotationMatrix2D(middle, 15, 1), image.shape[1::-1])
    faces = detector.detect(image, 1.0)
    assert faces

    for face in faces:
        box = face.box.x, face.box.y, face.box.width, face.box.height
        row = np.array([*box, *np.ravel(face.landmarks), face.score], np.float32)
        wanted = recogniser.alignCrop(image, row).astype(int)
        crop = align_face(image, face.landmarks, size=SIZE, margin=0.0)
        # Both calculate in other precisions; a place rounded to the next 32nd of a pixel is a few greys.
        assert np.abs(crop - wanted).max() <= 8
        assert np.abs(crop - wanted).mean() < 0.1


@pytest.mark.parametrize("degrees", [0, 30])
@pytest.mark.parametrize("scale", [3, 4.5, 5.9])
def test_a_large_face_is_averaged_and_not_sampled(scale, degrees):
    # Single pixels of black and white, as fine as a photo can hold.
    board = np.indices((CANVAS, CANVAS)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)

    crop = align_face(image, plain(moved(scale, degrees)), size=SIZE, margin=0.0)

    seen = crop[20:-20, 20:-20].astype(int)
    assert np.abs(seen - 127.5).max() < 30
    assert seen.std() < 12


def test_a_large_face_gives_the_crop_of_the_same_face_made_small(detector):
    image = read("library/biden.jpg")
    (face,) = detector.detect(image, 1.0)
    marks = np.array(face.landmarks)
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)

    one = align_face(image, plain(marks), size=SIZE, margin=0.0).astype(int)
    two = align_face(large, plain(2 * marks + 0.5), size=SIZE, margin=0.0).astype(int)

    assert np.abs(one - two).mean() < 2


@pytest.mark.parametrize("scale", [0.8, 1.5, 4.0])
def test_what_lies_outside_the_photo_is_black(scale):
    image = np.full((CANVAS, CANVAS, 3), 200, np.uint8)
    # The nose is on the left edge: the left half of the crop is outside.
    points = moved(scale)
    points[:, 0] -= points[2, 0]

    crop = align_face(image, plain(points), size=SIZE, margin=0.0)

    assert np.all(crop[:, :53] == 0)
    assert np.all(crop[:, 59:] == 200)


@pytest.mark.parametrize("scale", [0.8, 4.0])
@pytest.mark.parametrize("shift", [(5000, 0), (0, -5000), (-5000, 5000)])
def test_a_face_that_is_wholly_outside_gives_a_black_crop(shift, scale):
    image = np.full((CANVAS, CANVAS, 3), 200, np.uint8)

    assert not align_face(image, plain(moved(scale, 10, shift)), size=SIZE, margin=0.0).any()


COORDINATE = st.floats(-1e5, 1e5) | st.integers(-3, 60).map(float)


# So near to one place that the inverse of the scale is no number any more.
@pytest.mark.slow
@example(points=((2.3e-144, 2.3e-144),) * 5, width=1, height=1, margin=0.0)
@settings(max_examples=300, deadline=None)
@given(
    points=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=5, max_size=5).map(tuple)
    | st.tuples(COORDINATE, COORDINATE).map(lambda point: (point,) * 5),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    margin=st.floats(0, 3),
)
def test_any_landmarks_in_any_photo_give_a_crop(points, width, height, margin):
    image = np.full((height, width, 3), 77, np.uint8)

    crop = align_face(image, points, size=(24, 16), margin=margin)

    assert (crop.shape, crop.dtype) == ((24, 16, 3), np.uint8)
    # Nothing but the photo and the black around it, and what is between them at the seam.
    assert crop.max() <= 77


def test_the_photo_is_not_changed_and_need_not_lie_in_one_piece():
    image = np.random.default_rng(2).integers(0, 256, (CANVAS, CANVAS, 3), dtype=np.uint8)
    before = image.copy()
    for scale in (0.8, 4.0):
        points = plain(moved(scale, 40))
        view = image[:, ::-1]
        crop = align_face(view, points, size=SIZE, margin=0.0)
        np.testing.assert_array_equal(
            crop, align_face(np.ascontiguousarray(view), points, size=SIZE, margin=0.0)
        )
    np.testing.assert_array_equal(image, before)


POINT = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@given(points=st.lists(POINT, min_size=5, max_size=5), targets=st.lists(POINT, min_size=5, max_size=5))
def test_a_similarity_is_the_least_squares_solution(points, targets):
    points, targets = np.array(points), np.array(targets)
    assume(np.ptp(points, axis=0).max() > 1)

    wanted = least_squares(points, targets)
    np.testing.assert_allclose(similarity(points, targets), wanted, rtol=1e-6, atol=1e-5)


@given(
    points=st.lists(POINT, min_size=2, max_size=6, unique=True),
    angle=st.floats(-np.pi, np.pi),
    scale=st.floats(0.01, 100),
    shift=POINT,
)
def test_a_similarity_that_fits_is_found(points, angle, scale, shift):
    points = np.array(points)
    assume(np.ptp(points, axis=0).max() > 1)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    found = similarity(points, points @ linear.T + shift)

    np.testing.assert_allclose(found, np.column_stack([linear, shift]), atol=1e-6 * max(scale, 1) * 500)


def test_points_in_one_place_are_brought_to_the_middle_of_their_targets():
    found = similarity(np.full((5, 2), 30.0), np.array(TEMPLATE))

    np.testing.assert_allclose(found, np.column_stack([np.zeros((2, 2)), np.mean(TEMPLATE, axis=0)]))
