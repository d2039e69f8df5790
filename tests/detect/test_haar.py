"""The Haar detector on real photographs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch.detect import WORKING_SIDE, cascades, open_detector
from facesearch.detect.cascades import Cascade, cluster, find_cascade, load_cascade
from facesearch.detect.haar import HaarDetector, Sighting, without_duplicates
from facesearch.errors import FacesearchError
from facesearch.faces import Box

SAMPLES = Path(__file__).parents[2] / "samples"
# Where a person would draw the face, forehead to chin, by eye.
PORTRAITS = {
    "library/astronaut.png": Box(172, 62, 104, 104),
    "library/grace_hopper.jpg": Box(143, 96, 244, 244),
    "queries/obama.jpg": Box(343, 92, 300, 300),
}
# Left, top and side of a square in the Solvay photograph around the one man who looks away.
PAULI = (1399, 494, 230)
NO_FACE = ["library/coffee.png", "library/chelsea.png", "library/rocket.jpg"]


def read(name):
    image = cv2.imread(str(SAMPLES / name))
    assert image is not None, name
    return image


@pytest.fixture(scope="module")
def detector():
    return HaarDetector()


@pytest.fixture(scope="module")
def solvay(detector):
    return detector.detect(read("library/solvay_1927.jpg"), 1.0)


def assert_inside(box, image):
    height, width = image.shape[:2]
    assert box.x >= 0
    assert box.y >= 0
    assert box.width > 0
    assert box.height > 0
    assert box.x + box.width <= width
    assert box.y + box.height <= height


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_portrait_has_its_one_face(detector, name):
    (face,) = detector.detect(read(name), 1.0)
    assert face.box.overlap(PORTRAITS[name]) > 0.7
    assert 0.99 < face.score <= 1
    assert face.turns == 0
    assert face.landmarks is None


@pytest.mark.parametrize("name", NO_FACE)
def test_a_photo_without_people_has_none(detector, name):
    assert detector.detect(read(name), 1.0) == []


def test_a_group_photo_has_nearly_all_of_its_faces(solvay):
    # 29 people, one of them (Pauli) from the side.
    assert 26 <= len(solvay) <= 29


def test_faces_come_largest_first_and_none_covers_another(solvay):
    areas = [face.box.area for face in solvay]
    assert areas == sorted(areas, reverse=True)
    for index, one in enumerate(solvay):
        assert all(one.box.overlap(other.box) < 0.3 for other in solvay[index + 1 :])


def test_boxes_are_whole_pixels_inside_the_photo(solvay):
    image = read("library/solvay_1927.jpg")
    for face in solvay:
        assert_inside(face.box, image)
        assert {type(value) for value in (face.box.x, face.box.y, face.box.width, face.box.height)} == {int}


def test_smaller_faces_than_asked_for_are_left_out(solvay):
    image = read("library/solvay_1927.jpg")
    sides = sorted(face.box.width for face in solvay)
    limit = sides[len(sides) // 2]
    found = HaarDetector(min_face=limit).detect(image, 1.0)
    assert 3 <= len(found) < len(solvay)
    assert all(face.box.width >= limit for face in found)
    assert HaarDetector(min_face=400).detect(image, 1.0) == []


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_tight_crop_is_found_thanks_to_the_border(detector, monkeypatch, name):
    box, cut = PORTRAITS[name], round(0.14 * PORTRAITS[name].width)
    image = read(name)[box.y + cut : box.y + box.height - cut, box.x + cut : box.x + box.width - cut]
    chip = np.ascontiguousarray(image)
    (face,) = detector.detect(chip, 1.0)
    assert_inside(face.box, chip)
    assert face.box.area > 0.8 * chip.shape[0] * chip.shape[1]
    monkeypatch.setattr("facesearch.detect.haar.BORDER", 0.0)
    assert detector.detect(chip, 1.0) == []


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_face_from_the_side_is_found_by_the_profile_cascade(detector, monkeypatch, mirrored):
    left, top, side = PAULI
    crop = read("library/solvay_1927.jpg")[top : top + side, left : left + side]
    image = np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)
    (face,) = detector.detect(image, 1.0)
    x, y = face.box.centre
    assert abs(x - side / 2) < 0.15 * side
    assert abs(y - side / 2) < 0.15 * side
    monkeypatch.setattr(HaarDetector, "_profiles", lambda *_: [])
    assert detector.detect(image, 1.0) == []


@pytest.mark.parametrize("turns", [1, *(pytest.param(turns, marks=pytest.mark.slow) for turns in (2, 3))])
def test_a_turned_portrait_is_found_only_when_asked_for(detector, turns):
    upright = read("queries/obama.jpg")
    turned = np.ascontiguousarray(np.rot90(upright, -turns))
    assert detector.detect(turned, 1.0) == []
    (face,) = HaarDetector(rotations=True).detect(turned, 1.0)
    assert face.turns == turns
    assert_inside(face.box, turned)
    # The crop of the turned photo, turned back, shows what the crop of the upright one shows.
    box, expected = face.box, PORTRAITS["queries/obama.jpg"]
    mask = np.zeros(turned.shape[:2], np.uint8)
    mask[box.y : box.y + box.height, box.x : box.x + box.width] = 1
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(np.rot90(mask, face.turns)))
    assert Box(x, y, width, height).overlap(expected) > 0.7


def test_an_upright_portrait_is_not_turned():
    (face,) = HaarDetector(rotations=True).detect(read("library/grace_hopper.jpg"), 1.0)
    assert face.turns == 0


def test_a_large_photo_is_searched_at_the_working_size(detector, monkeypatch):
    searched = []
    scan = Cascade.scan

    def spy(self, grey, smallest, step):
        searched.append(grey.shape)
        return scan(self, grey, smallest, step)

    monkeypatch.setattr(Cascade, "scan", spy)
    image = read("library/grace_hopper.jpg")
    large = cv2.resize(image, None, fx=12, fy=12, interpolation=cv2.INTER_LINEAR)
    assert large.shape[0] * large.shape[1] > 44_000_000
    (face,) = detector.detect(large, 1.0)
    assert face.box.overlap(PORTRAITS["library/grace_hopper.jpg"].scaled(12)) > 0.7
    assert searched
    assert all(max(shape) <= WORKING_SIDE for shape in searched)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 40), (24, 24), (8000, 6250)])
@pytest.mark.parametrize("rotations", [False, True])
def test_a_blank_photo_of_any_shape_has_none(shape, rotations):
    image = np.full((*shape, 3), 127, np.uint8)
    assert HaarDetector(rotations=rotations).detect(image, 1.0) == []


def test_a_face_at_the_edge_keeps_its_box_inside(detector):
    box = PORTRAITS["library/grace_hopper.jpg"]
    cut = np.ascontiguousarray(read("library/grace_hopper.jpg")[box.y + 30 :])
    faces = detector.detect(cut, 1.0)
    assert len(faces) == 1
    assert_inside(faces[0].box, cut)


@pytest.mark.slow
def test_threads_share_one_detector(detector):
    names = [*PORTRAITS, *NO_FACE]
    images = [read(name) for name in names]
    alone = [detector.detect(image, 1.0) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.detect, images * 4, repeat(1.0)))
    assert together == alone * 4


def test_the_table_knows_the_detector():
    assert isinstance(open_detector("haar", {"min_face": 50}), HaarDetector)


def test_a_min_face_of_nothing_is_refused():
    with pytest.raises(FacesearchError, match="cannot be 0 pixels"):
        HaarDetector(min_face=0)


def test_a_missing_cascade_is_a_sentence_and_a_next_step(monkeypatch, tmp_path):
    monkeypatch.setattr(cascades, "FOLDERS", (tmp_path,))
    with pytest.raises(FacesearchError, match="is missing from") as caught:
        HaarDetector()
    assert caught.value.hint


def test_a_file_that_is_no_cascade_is_refused(tmp_path):
    path = tmp_path / "broken.xml"
    path.write_text("<opencv_storage></opencv_storage>")
    with pytest.raises(FacesearchError, match="is not a cascade"):
        load_cascade(path)


def test_cascades_are_found_in_the_package_before_the_checkout(monkeypatch, tmp_path):
    folders = (tmp_path / "package", tmp_path / "checkout")
    monkeypatch.setattr(cascades, "FOLDERS", folders)
    for folder in reversed(folders):
        folder.mkdir()
        (folder / "one.xml").touch()
        assert find_cascade("one.xml") == folder / "one.xml"


def test_clusters_are_the_means_of_windows_on_one_another():
    windows = np.array([[10, 10, 40], [100, 100, 30], [14, 14, 44], [12, 12, 36]], dtype=np.float64)
    first, second = cluster(windows)
    assert (first.x, first.y, first.side, first.count) == (12, 12, 40, 3)
    assert (second.x, second.y, second.side, second.count) == (100, 100, 30, 1)


def test_of_nested_sightings_the_surest_stays():
    outer, inner = Sighting(0, 0, 100, 0.96), Sighting(30, 30, 20, 0.99)
    beside = Sighting(90, 0, 100, 0.97)
    assert without_duplicates([outer, inner, beside]) == [inner, beside]
