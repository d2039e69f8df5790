"""What holds for every detector that looks for faces: one body, run over all that are registered."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch.detect import DETECTORS, detector_recipe, gives_landmarks, open_detector
from facesearch.errors import FacesearchError
from facesearch.faces import Box

SAMPLES = Path(__file__).parents[2] / "samples"
# Forehead to chin and ear to ear, by eye.
PORTRAITS = {
    "queries/obama.jpg": Box(355, 90, 270, 320),
    "queries/marie_curie.jpg": Box(79, 87, 115, 130),
}
OBAMA, CURIE = PORTRAITS
SHAPES = [(1, 1), (1, 500), (500, 1), (2, 3), (20, 3000), (3000, 20), (480, 640)]


def read(name):
    image = cv2.imread(str(SAMPLES / name))
    assert image is not None, name
    return image


# One of them looks for nothing: it takes each photo for a face (tests/detect/test_whole.py).
@pytest.fixture(scope="module", params=sorted({*DETECTORS} - {"whole"}))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def opened(name, model_store):
    return lambda **settings: open_detector(name, settings, store=model_store)


@pytest.fixture(scope="module")
def detector(opened):
    return opened()


@pytest.fixture(scope="module")
def crowd(detector):
    return detector.detect(read("library/solvay_1927.jpg"), 1.0)


def noise(shape):
    return np.random.default_rng(7).integers(0, 256, (*shape, 3), dtype=np.uint8)


def mask_of(box, shape):
    mask = np.zeros(shape[:2], np.uint8)
    mask[box.y : box.y + box.height, box.x : box.x + box.width] = 1
    return mask


def assert_inside(box, image):
    height, width = image.shape[:2]
    assert {type(value) for value in (box.x, box.y, box.width, box.height)} == {int}
    assert 0 <= box.x < box.x + box.width <= width
    assert 0 <= box.y < box.y + box.height <= height


def assert_landmarks_of_an_upright_face(face):
    assert len(face.landmarks) == 5
    assert all(type(value) is float for mark in face.landmarks for value in mark)
    assert np.isfinite(face.landmarks).all()
    right_eye, left_eye, nose, right_corner, left_corner = face.landmarks
    # The person's right is the viewer's left.
    assert right_eye[0] < left_eye[0]
    assert right_corner[0] < left_corner[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])
    box = face.box
    for x, y in face.landmarks:
        assert box.x - 0.2 * box.width < x < box.x + 1.2 * box.width
        assert box.y - 0.2 * box.height < y < box.y + 1.2 * box.height


@pytest.mark.parametrize("photo", PORTRAITS)
def test_a_portrait_has_its_one_face(photo, detector):
    (face,) = detector.detect(read(photo), 1.0)

    assert face.box.overlap(PORTRAITS[photo]) > 0.7
    assert_inside(face.box, read(photo))
    assert type(face.score) is float
    assert np.isfinite(face.score)
    assert face.turns == 0


@pytest.mark.parametrize("photo", PORTRAITS)
def test_landmarks_are_given_or_not_as_the_class_says(photo, name, detector):
    (face,) = detector.detect(read(photo), 1.0)

    assert detector.landmarks == gives_landmarks(name)
    if detector.landmarks:
        assert_landmarks_of_an_upright_face(face)
    else:
        assert face.landmarks is None


def test_the_faces_of_a_crowd_come_largest_first_and_none_twice(crowd):
    areas = [face.box.area for face in crowd]

    assert len(crowd) > 25
    assert areas == sorted(areas, reverse=True)
    for number, one in enumerate(crowd):
        assert all(one.box.overlap(other.box) < 0.3 for other in crowd[number + 1 :])


def test_the_faces_of_a_crowd_lie_in_the_photo(crowd, detector):
    image = read("library/solvay_1927.jpg")
    for face in crowd:
        assert_inside(face.box, image)
        assert np.isfinite(face.score)
        if detector.landmarks:
            assert_landmarks_of_an_upright_face(face)


def test_of_a_face_at_the_edge_the_box_stays_in_the_photo(detector):
    box = PORTRAITS[OBAMA]
    # Half of the forehead is outside, and so is some of the cheek.
    cut = np.ascontiguousarray(read(OBAMA)[box.y + 50 :, : box.x + box.width - 20])

    for face in detector.detect(cut, 1.0):
        assert_inside(face.box, cut)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_where_there_is_nothing_to_see_there_is_no_face(shape, detector):
    for value in (0, 127, 255):
        assert detector.detect(np.full((*shape, 3), value, np.uint8), 1.0) == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_noise_there_is_no_face(shape, detector):
    assert detector.detect(noise(shape), 1.0) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3000, 20)], ids=str)
def test_odd_shapes_are_looked_at_from_all_sides(shape, opened):
    assert opened(rotations=True).detect(noise(shape), 1.0) == []


def test_the_photo_is_not_changed(opened):
    detector = opened(rotations=True)
    for image in (read(CURIE), noise((90, 120))):
        before = image.copy()
        detector.detect(image, 1.0)
        np.testing.assert_array_equal(image, before)


@pytest.mark.slow
def test_a_photo_that_does_not_lie_in_one_piece_gives_the_same(detector):
    image = read(OBAMA)
    for view in (image[:, ::-1], image[20:-20, 30:-30], image[..., ::-1], np.rot90(np.rot90(image, 1), -1)):
        found = detector.detect(view, 1.0)
        assert len(found) == 1
        assert found == detector.detect(np.ascontiguousarray(view), 1.0)


def test_the_same_photo_gives_the_same_faces(opened, detector):
    image = read(CURIE)

    first = detector.detect(image, 1.0)
    detector.detect(read(OBAMA), 1.0)

    assert detector.detect(image, 1.0) == first
    assert opened().detect(image, 1.0) == first


@pytest.mark.slow
def test_several_threads_get_their_own_results(opened):
    detector = opened()
    images = [read(CURIE), read(OBAMA), noise((200, 300)), read("library/henry_moseley.jpg")]
    alone = [detector.detect(image, 1.0) for image in images]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.detect, images * 4, repeat(1.0)))

    assert together == alone * 4
    assert [len(faces) for faces in alone] == [1, 1, 0, 1]


@pytest.mark.slow
def test_faces_smaller_than_is_asked_for_are_left_out(opened, detector):
    photo = read(OBAMA)
    half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.full((photo.shape[0], photo.shape[1] + half.shape[1], 3), 127, np.uint8)
    both[:, : photo.shape[1]] = photo
    both[: half.shape[0], photo.shape[1] :] = half
    large, small = (max(face.box.width, face.box.height) for face in detector.detect(both, 1.0))
    assert large > 1.5 * small

    (kept,) = opened(min_face=round(0.8 * large)).detect(both, 1.0)

    assert kept.box.overlap(PORTRAITS[OBAMA]) > 0.7
    assert len(opened(min_face=round(0.7 * small)).detect(both, 1.0)) == 2
    assert opened(min_face=round(1.3 * large)).detect(both, 1.0) == []
    # It is in pixels of the photo, of which this is a smaller copy.
    assert len(opened(min_face=round(2.6 * large)).detect(both, 3.0)) == 1
    assert opened(min_face=round(2.6 * large)).detect(both, 2.0) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("photo", [pytest.param(OBAMA, marks=pytest.mark.slow), CURIE])
def test_in_a_turned_photo_the_face_is_found_and_its_turn(turns, photo, opened):
    upright = read(photo)
    turned = np.ascontiguousarray(np.rot90(upright, -turns))

    (face,) = opened(rotations=True).detect(turned, 1.0)

    assert face.turns == turns
    assert_inside(face.box, turned)
    mask = np.ascontiguousarray(np.rot90(mask_of(face.box, turned.shape), face.turns))
    assert Box(*cv2.boundingRect(mask)).overlap(PORTRAITS[photo]) > 0.7


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("photo", [pytest.param(OBAMA, marks=pytest.mark.slow), CURIE])
def test_landmarks_in_a_turned_photo_are_those_of_the_upright_one(turns, photo, opened):
    upright = read(photo)
    (wanted,) = opened().detect(upright, 1.0)
    (face,) = opened(rotations=True).detect(np.ascontiguousarray(np.rot90(upright, -turns)), 1.0)
    if wanted.landmarks is None:
        assert face.landmarks is None
        return

    marks, height, width = wanted.landmarks, *upright.shape[:2]
    for _ in range(turns):
        # A quarter turn clockwise brings the pixel (x, y) to (height - 1 - y, x).
        marks = [(height - 1 - y, x) for x, y in marks]
        height, width = width, height

    # Nothing but the seams of the network's own scaling differ.
    np.testing.assert_allclose(face.landmarks, marks, atol=0.02 * wanted.box.height)


def test_an_upright_photo_is_not_turned(opened):
    (face,) = opened(rotations=True).detect(read(OBAMA), 1.0)

    assert face.turns == 0
    assert face.box.overlap(PORTRAITS[OBAMA]) > 0.7


@pytest.mark.slow
def test_a_large_photo_is_searched_as_one_of_the_working_side(detector):
    image = read(OBAMA)
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)

    (face,) = detector.detect(large, 1.0)

    assert max(large.shape) > 3 * detector.working_side(*large.shape[1::-1])
    assert face.box.overlap(PORTRAITS[OBAMA].scaled(4)) > 0.7


def test_a_detector_with_a_network_has_it_in_the_store(name, model_store):
    if recipe := detector_recipe(name):
        assert model_store.detector_card(name).digest == recipe.card.digest
        assert recipe.card.name == name
        assert recipe.card.licence


def test_settings_that_it_does_not_have_are_refused_with_a_sentence(opened):
    with pytest.raises(FacesearchError):
        opened(colour="blue")
    with pytest.raises(FacesearchError):
        opened(min_face=-1)


@pytest.mark.parametrize("ask", [open_detector, gives_landmarks], ids=lambda ask: ask.__name__)
def test_a_name_that_no_detector_has_is_refused_with_those_that_there_are(ask):
    with pytest.raises(FacesearchError, match=r"There is no detector named 'eyes'\.") as raised:
        ask("eyes")

    for known in DETECTORS:
        assert known in raised.value.hint
    assert detector_recipe("eyes") is None
