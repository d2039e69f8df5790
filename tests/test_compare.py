import dataclasses
import os

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.fakes import BLUE, CARD, GREEN, RED, YELLOW, ColourEmbedder, photo, pipeline

from facesearch.compare import compare
from facesearch.errors import NoFace, UnreadablePhoto
from facesearch.model import Runtime
from facesearch.models.calibration import Calibration

MEASURED = Calibration(0.3, 20.0, 6.0, ((0.01, 0.2), (0.1, 0.5)), "drawn squares", "2026-11-22")


class StillModel:
    """Stands in for a Model: the colours' pipeline, and a note of how it was asked for."""

    def __init__(self, embedder=None, **card):
        self.name, self.runtime, self.asked = CARD.name, Runtime(batch=3), []
        self.card = dataclasses.replace(CARD, **card)
        self.embedder = embedder or ColourEmbedder(self.card)

    def pipeline(self, meta=None, *, few=False, whole=False):
        self.asked.append((meta, few, whole))
        made = pipeline(self.embedder)
        return dataclasses.replace(made, detector=None) if whole else made


@pytest.fixture
def squares(tmp_path):
    """Four photos of one square each, in colours that are more or less alike."""
    colours = {"red": RED, "rose": (90, 60, 250), "green": GREEN, "blue": BLUE}
    return [photo(tmp_path / f"{name}.png", (10, 10, 30, colour)) for name, colour in colours.items()]


def names(comparison):
    return [os.path.basename(one.path).removesuffix(".png") for one in comparison.references]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_scipys_and_the_same_both_ways(squares, metric):
    found = compare(squares, StillModel(), metric=metric)
    assert names(found) == ["red", "rose", "green", "blue"]
    assert found.problems == ()
    vectors = np.stack([one.vector for one in found.references]).astype(np.float64)
    assert found.distances.dtype == np.float64
    np.testing.assert_allclose(found.distances, cdist(vectors, vectors, metric), atol=1e-12)
    np.testing.assert_array_equal(found.distances, found.distances.T)
    np.testing.assert_array_equal(np.diag(found.distances), 0.0)
    assert found.distances[0, 1] < min(found.distances[0, 2], found.distances[0, 3])


def test_similarity_is_one_less_the_cosine_distance_whatever_the_metric(squares):
    found = compare(squares, StillModel(), metric="cosine")
    np.testing.assert_array_equal(found.similarities, 1 - found.distances)
    assert found.pair(0, 1).similarity == 1 - found.distances[0, 1]
    euclidean = compare(squares, StillModel(), metric="euclidean")
    np.testing.assert_array_equal(euclidean.similarities, found.similarities)
    assert euclidean.pair(0, 1).similarity == found.pair(0, 1).similarity


@pytest.mark.parametrize("own", ["cosine", "euclidean"])
def test_no_metric_is_the_models_own(squares, own):
    assert compare(squares, StillModel(metric=own)).metric == own
    assert compare(squares, StillModel(metric=own), metric="cosine").metric == "cosine"


def test_a_photo_that_is_named_twice_is_two_faces(squares):
    found = compare([squares[0], squares[2], squares[0]], StillModel())
    assert names(found) == ["red", "green", "red"]
    assert found.distances[0, 2] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found.distances[0, 1], found.distances[2, 1], atol=1e-12)


def test_relative_paths_become_absolute(squares, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = compare(["red.png", "-odd.png", "./blue.png"], StillModel())
    assert [one.path for one in found.references] == [str(squares[0]), str(squares[3])]
    assert found.problems[0][0] == str(tmp_path / "-odd.png")


def test_what_shows_no_face_leaves_the_others(squares, tmp_path):
    empty = photo(tmp_path / "empty.png")
    seen = []
    found = compare(
        [squares[0], empty, tmp_path / "gone.png", squares[1]], StillModel(), on_photo=seen.append
    )
    assert names(found) == ["red", "rose"]
    assert found.distances.shape == (2, 2)
    assert [(os.path.basename(path), type(error)) for path, error in found.problems] == [
        ("empty.png", NoFace),
        ("gone.png", UnreadablePhoto),
    ]
    assert [os.path.basename(one.path) for one in seen] == ["red.png", "empty.png", "gone.png", "rose.png"]


def test_the_face_that_is_meant(tmp_path):
    both = photo(tmp_path / "both.png", (5, 5, 40, RED), (60, 5, 20, GREEN))
    other = photo(tmp_path / "other.png", (5, 5, 40, YELLOW), (60, 5, 20, GREEN))
    largest = compare([both, other], StillModel())
    assert [one.face for one in largest.references] == [1, 1]
    second = compare([both, other], StillModel(), face=2)
    assert [one.face for one in second.references] == [2, 2]
    assert second.distances[0, 1] < 1e-6 < largest.distances[0, 1]
    every = compare([both, other], StillModel(), face="all")
    assert [one.face for one in every.references] == [1, 2, 1, 2]
    none = compare([both, other], StillModel(), face=3)
    assert [str(error).partition(": ")[2][:26] for _, error in none.problems] == [
        "There is no face number 3."
    ] * 2


def test_how_photos_are_looked_at_is_handed_on(squares):
    model = StillModel()
    whole = compare(squares, model, whole=True, rotations=True)
    assert whole.references[0].box.width == 120
    compare(squares[:3], model)
    (turned, few, as_whole), (plain, few_too, as_whole_too) = model.asked
    assert (turned.settings["rotations"], few, as_whole) == (True, False, True)
    assert (plain.settings["rotations"], few_too, as_whole_too) == (False, True, False)
    assert (turned.model, turned.detector) == (CARD.name, CARD.detector)


def test_a_calibrated_metric_has_probabilities_and_verdicts(squares):
    found = compare(squares, StillModel(calibration={"cosine": MEASURED}))
    assert found.threshold == 0.3
    for (a, b), distance in np.ndenumerate(found.distances):
        assert found.probabilities[a, b] == MEASURED.probability(distance)
    assert found.distances[0, 1] <= 0.3 < found.distances[0, 2]
    assert [found.pair(0, b).verdict for b in (1, 2)] == ["same person", "different people"]
    assert found.pair(0, 1).probability == found.probabilities[0, 1] > found.pair(0, 2).probability


def test_a_distance_at_the_threshold_is_within_it(squares):
    distance = float(compare(squares, StillModel()).distances[0, 1])
    for threshold, verdict in ((distance, "same person"), (np.nextafter(distance, 0), "different people")):
        measured = dataclasses.replace(MEASURED, threshold=threshold)
        found = compare(squares, StillModel(calibration={"cosine": measured}, identity=True))
        assert found.pair(0, 1).verdict == verdict


def test_another_metric_than_the_calibrated_one_has_neither(squares):
    found = compare(squares, StillModel(calibration={"cosine": MEASURED}, identity=True), metric="euclidean")
    assert (found.calibration, found.threshold, found.probabilities) == (None, None, None)
    assert {(pair.probability, pair.verdict) for pair in found.pairs()} == {(None, None)}


def test_pairs_in_order_and_the_nearest_first(squares):
    found = compare(squares, StillModel())
    pairs = list(found.pairs())
    assert [(pair.a, pair.b) for pair in pairs] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert found.pair_count == 6
    assert found.nearest_pairs(9) == sorted(pairs, key=lambda pair: pair.distance)
    assert found.nearest_pairs(2) == found.nearest_pairs(9)[:2]
    ties = compare([squares[2], squares[0], squares[0], squares[0]], StillModel(), metric="euclidean")
    assert [(pair.a, pair.b) for pair in ties.nearest_pairs(3)] == [(1, 2), (1, 3), (2, 3)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_faces_are_an_empty_answer(squares, count):
    found = compare(squares[:count], StillModel(calibration={"cosine": MEASURED}))
    assert found.distances.shape == found.probabilities.shape == (count, count)
    assert (found.pair_count, list(found.pairs()), found.nearest_pairs(5)) == (0, [], [])


def test_vectors_that_are_not_finite_are_far_from_all(squares):
    class Broken(ColourEmbedder):
        def embed(self, crops):
            return super().embed(crops) * np.float32(np.nan)

    found = compare(squares[:2], StillModel(Broken(), calibration={"cosine": MEASURED}, identity=True))
    assert found.pair(0, 1).distance == np.inf
    assert found.pair(0, 1).probability == pytest.approx(0)
    assert found.pair(0, 1).verdict == "different people"
