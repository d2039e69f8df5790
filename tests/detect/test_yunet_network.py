"""YuNet's network, against OpenCV's own way to run it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch.detect.yunet_network import LARGE_STEP, SQUARES, YuNetNetwork
from facesearch.models.card import ONNX

SAMPLES = Path(__file__).parents[2] / "samples"
LEAST, SAME, MOST = 0.6, 0.3, 5000


@pytest.fixture(scope="module")
def file(model_store):
    return model_store.path("yunet") / ONNX


@pytest.fixture(scope="module")
def network(file):
    return YuNetNetwork(file.read_bytes(), "yunet-of-the-tests", least_score=LEAST, same=SAME, most=MOST)


@pytest.fixture(scope="module")
def opencv(file):
    def look(image):
        size = image.shape[1::-1]
        _, rows = cv2.FaceDetectorYN.create(str(file), "", size, LEAST, SAME, MOST).detect(image)
        return np.empty((0, 15), np.float32) if rows is None else rows

    return look


def filled_up(image, below, right):
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)


def cropped(height, width, name="library/solvay_1927.jpg"):
    """Return the middle of a photo in this size, scaled up if it has to be."""
    image = cv2.imread(str(SAMPLES / name))
    factor = max(height / image.shape[0], width / image.shape[1])
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for row in wanted:
        nearest = found[np.abs(found[:, :2] - row[:2]).sum(axis=1).argmin()]
        np.testing.assert_allclose(nearest[:14], row[:14], atol=0.05)
        assert nearest[14] == pytest.approx(row[14], abs=1e-3)


@pytest.mark.parametrize("square", SQUARES)
def test_a_small_picture_gives_what_opencv_gives_for_the_square_that_it_is_filled_up_to(
    square, network, opencv
):
    for height, width in ((square, square), (square, square - 20), (square - 40, square - 5)):
        image = cropped(height, width, "queries/obama.jpg")
        found = network(image)
        assert_same(found, opencv(filled_up(image, square - height, square - width)))
        assert len(found) == 1


@pytest.mark.parametrize("size", [(640, 832), (512, 1280), (1000, 701), (481, 33), (1280, 1280)], ids=str)
def test_a_large_picture_gives_what_opencv_gives_for_the_rectangle(size, network, opencv):
    image = cropped(*size)
    found = network(image)
    assert_same(found, opencv(filled_up(image, *(-side % LARGE_STEP for side in size))))
    assert (found[1:, 14] <= found[:-1, 14]).all()


def test_the_faces_of_a_crowd_are_found(network, opencv):
    image = cropped(925, 1280)
    assert len(network(image)) >= 29
    assert len(opencv(image)) == len(network(image))


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (600, 1), (32, 32), (33, 31)], ids=str)
def test_a_picture_in_which_no_face_has_room_gives_none(size, network):
    for value in (0, 127, 255):
        rows = network(np.full((*size, 3), value, np.uint8))
        assert (rows.shape, rows.dtype) == ((0, 15), np.float32)


def test_one_picture_on_all_cores_gives_what_several_at_once_give(network):
    image = cropped(480, 480)
    threads = cv2.getNumThreads()
    found = {}
    try:
        for each in (1, 2):
            cv2.setNumThreads(each)
            found[each] = network(image)
    finally:
        cv2.setNumThreads(threads)
    assert_same(found[1], found[2])


def test_many_threads_may_use_it_at_once(network):
    images = [cropped(side, side, "queries/obama.jpg") for side in (128, 200, 320, 500, 700)]
    wanted = [network(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for found, other in zip(pool.map(network, images * 8), wanted * 8, strict=True):
            np.testing.assert_array_equal(found, other)


def test_the_picture_is_left_as_it_is_and_need_not_lie_in_one_piece(network):
    image = cropped(320, 320, "queries/obama.jpg")
    view = image[::-1]
    before = view.copy()
    rows = network(view)
    np.testing.assert_array_equal(view, before)
    np.testing.assert_array_equal(rows, network(before))
