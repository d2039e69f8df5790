"""One model on one data set: its figures, its worst mistakes, and what it is calibrated to."""

import dataclasses
import os
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.fakes import CARD, photo

from facesearch.errors import FacesearchError, NoFaceFound
from facesearch.evaluate.dataset import Dataset, Trials, read_pairs, read_people
from facesearch.evaluate.evaluation import (
    Evaluation,
    calibrations,
    evaluate,
    library_scale,
    worst_mistakes,
)
from facesearch.evaluate.plots import draw_all
from facesearch.evaluate.verification import Pairs, verify
from facesearch.models.calibration import Calibration
from facesearch.models.card import Card

# Each person's photos are of one colour, and so nearer to each other than to anybody else's.
PEOPLE = {"anna": (250, 20, 20), "bo": (20, 250, 20), "cy": (20, 20, 250)}


def shade(path, colour, number):
    """Write a photo of a person: one square, a little other in each."""
    colour = tuple(int(value) - 8 * number * (value > 100) + 3 * number * (value < 100) for value in colour)
    return photo(path, (10 + number, 12, 30, colour), width=80, height=60)


@pytest.fixture
def folder(tmp_path):
    """Three people of three photos each, whom their colours part without an error."""
    for name, colour in PEOPLE.items():
        for number in (1, 2, 3):
            shade(tmp_path / "people" / name / f"{name}_{number:04d}.png", colour, number)
    return tmp_path / "people"


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_people_whom_a_model_parts_without_an_error(folder, drawn_model, metric):
    model = drawn_model()
    told = evaluate(read_people(str(folder)), model, metric)
    assert told.metric == metric
    assert told.card == model.card
    verification, retrieval = told.verification, told.retrieval
    assert (verification.accuracy, verification.accuracy_found) == (1.0, 1.0)
    assert verification.folds == pytest.approx((1.0,) * 3)
    assert (verification.figures.auc, verification.figures.eer) == (1.0, 0.0)
    assert (verification.same, verification.different, verification.missed) == (9, 27, 0)
    assert (retrieval.rank1, retrieval.map, retrieval.queries) == (1.0, 1.0, 9)
    assert told.intervals.accuracy == (1.0, 1.0)
    own, strangers = told.pairs.distance[told.pairs.same], told.pairs.distance[~told.pairs.same]
    assert own.max() < verification.threshold < strangers.min()


@pytest.mark.parametrize("own", ["cosine", "euclidean"])
def test_no_metric_is_the_models_own(folder, drawn_model, own):
    assert evaluate(read_people(str(folder)), drawn_model(metric=own)).metric == own


def test_a_missed_face_makes_its_pairs_wrong(folder, drawn_model):
    photo(folder / "anna" / "anna_0004.png")
    told = evaluate(read_people(str(folder)), drawn_model())
    verification, retrieval = told.verification, told.retrieval
    # Of 12 pairs of one person 3 are missed, of 33 pairs of strangers 6.
    assert (verification.same, verification.different, verification.missed) == (12, 33, 9)
    assert verification.accuracy == pytest.approx((9 / 12 + 27 / 33) / 2)
    assert verification.accuracy_found == 1.0
    assert told.faces.no_face == 1
    assert retrieval.rank1 == pytest.approx(9 / 10)
    assert retrieval.found.rank1 == 1.0


def test_the_cards_calibration_is_measured_too(folder, drawn_model):
    card = Calibration(0.2, 40.0, 8.0, ((0.1, 0.2), (1.0, 0.9)), "drawn", "2026-11-22")
    dataset = read_people(str(folder))
    assert evaluate(dataset, drawn_model()).verification.ece_card is None
    error = evaluate(dataset, drawn_model(calibration={"cosine": card})).verification.ece_card
    assert 0 <= error < 0.1
    model = drawn_model(calibration={"euclidean": card})
    assert evaluate(dataset, model).verification.ece_card is None


def test_pairs_of_a_file_are_measured_by_its_folds(folder, drawn_model, tmp_path):
    lines = [
        "2 2",
        *["anna 1 2", "anna 2 3", "anna 1 bo 1", "anna 2 bo 3"],
        *["cy 1 2", "bo 1 3", "cy 1 bo 1", "cy 3 bo 2"],
    ]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    told = evaluate(read_pairs(str(tmp_path / "pairs.txt"), str(folder)), drawn_model())
    assert told.verification.folds == (1.0, 1.0)
    assert (told.verification.same, told.verification.different) == (4, 4)
    assert not told.pairs.balanced


def test_where_no_face_is_found_nothing_is_measured(tmp_path, drawn_model):
    for name in ("anna/1", "anna/2", "bo/1"):
        photo(tmp_path / "people" / f"{name}.png")
    with pytest.raises(NoFaceFound, match="in any of the 3 photos of") as caught:
        evaluate(read_people(str(tmp_path / "people")), drawn_model())
    assert caught.value.hint


def test_two_people_are_too_few_for_an_accuracy_but_not_for_the_rest(folder, drawn_model):
    (folder / "cy").rename(folder.parent / "cy")
    told = evaluate(read_people(str(folder)), drawn_model())
    assert told.verification.accuracy is None
    assert told.verification.figures.auc == 1.0
    assert told.retrieval.rank1 == 1.0


def test_calibrations_are_of_both_metrics_and_ones_own(folder, drawn_model):
    model, dataset = drawn_model(), read_people(str(folder))
    told = evaluate(dataset, model)
    fitted = calibrations(dataset, told.faces)
    assert list(fitted) == ["cosine", "euclidean"]
    for metric, calibration in fitted.items():
        assert calibration.own
        assert calibration.date == date.today().isoformat()
        assert calibration.data == "3 people in people: all pairs, balanced, 3 folds of people"
        measured = evaluate(dataset, model, metric)
        assert calibration.threshold == measured.verification.threshold
        own = calibration.probability(measured.pairs.distance[measured.pairs.same].max())
        strangers = calibration.probability(measured.pairs.distance[~measured.pairs.same].min())
        assert own > 0.8
        assert strangers < 0.2


@pytest.mark.parametrize(("people", "photos", "enough"), [(60, 9, True), (60, 8, False), (45, 12, False)])
def test_what_nearness_means_is_fitted_where_there_are_many_faces_of_many_people(people, photos, enough):
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(people, dtype=np.int32), photos)
    vectors = rng.normal(size=(people, 32))[person] + 0.7 * rng.normal(size=(len(person), 32))
    vectors = np.float32(np.concatenate([vectors, np.full((1, 32), np.nan)]))  # the last has no face
    person = np.append(person, np.int32(0))
    cosine = Calibration(
        0.5, 10.0, 5.0, ((1e-4, 0.4), (1.0, 1.3)), "60 people in people", "2026-11-29", own=True
    )
    scale = library_scale(SimpleNamespace(person=person), SimpleNamespace(vectors=vectors), cosine)
    assert (scale is not None) == enough
    if scale is not None:
        assert (scale.own, scale.data, scale.near) == (True, cosine.data, pytest.approx(0.6))
        # Among these people nobody is as near as one's own photos are.
        assert scale.strangers_within(8.0, len(person)) < 1 < scale.strangers_within(0.0, len(person))


def test_a_calibration_can_be_kept_in_a_card_whatever_the_folders_name(folder, drawn_model):
    odd = folder.parent / os.fsdecode(b"\x1b[31m\xff\n" + b"a" * 200)
    folder.rename(odd)
    dataset, model = read_people(str(odd)), drawn_model()
    fitted = calibrations(dataset, evaluate(dataset, model).faces)
    assert fitted["cosine"].data.isprintable()
    card = dataclasses.replace(model.card, calibration=fitted)
    assert Card.from_json(card.to_json()) == card


def test_faces_that_tell_nothing_calibrate_nothing(tmp_path, drawn_model):
    """Each person's photos are of the others' colours."""
    for place, name in enumerate(PEOPLE):
        for number, colour in enumerate(PEOPLE.values()):
            photo(
                tmp_path / "people" / name / f"{number}.png",
                (10 + place, 12, 30, colour),
                width=80,
                height=60,
            )
    dataset = read_people(str(tmp_path / "people"))
    told = evaluate(dataset, drawn_model())
    with pytest.raises(FacesearchError, match="tell nothing") as caught:
        calibrations(dataset, told.faces)
    assert caught.value.hint


def evaluated(first, second, same, distance):
    """Return a data set and its evaluation, of pairs of photos that are nowhere."""
    first, second = np.int32(first), np.int32(second)
    same, fold = np.array(same, bool), np.zeros((len(first), 2), np.int16)
    dataset = Dataset(
        "/", tuple(map(str, range(99))), np.zeros(99, np.int32), ("x",),
        Trials(first, second, same, fold, balanced=False), (),
    )  # fmt: skip
    pairs = Pairs(np.float64(distance), same, np.zeros((len(first), 2), np.int32), fold, balanced=False)
    return dataset, Evaluation(CARD, "cosine", verify(pairs), None, None, None, pairs)


@st.composite
def trials(draw):
    """Return pairs with ties, missed faces, and some of them twice, in either order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 40))
    first, second = rng.integers(0, 8, (2, n))
    # Twice the same pair is at the same distance, and of the same people or not.
    low, high = np.minimum(first, second), np.maximum(first, second)
    table, kinds = rng.integers(0, 12, (8, 8)) / 16.0, rng.random((8, 8)) < 0.5
    table[rng.random((8, 8)) < 0.1] = np.nan
    return first, second, kinds[low, high], table[low, high]


@settings(max_examples=80, deadline=None)
@given(trials(), st.integers(1, 12))
def test_the_worst_mistakes_are_those_of_a_plain_search(example, most):
    first, second, same, distance = example
    dataset, told = evaluated(*example)
    threshold = told.verification.threshold
    for kind in ("same", "different"):
        given = worst_mistakes(dataset, told, kind, most)
        wrong = {}
        for one, other, truth, far in zip(first, second, same, distance, strict=True):
            if threshold is None or truth != (kind == "same") or np.isnan(far):
                continue
            if (far > threshold) == truth:
                wrong[(min(one, other), max(one, other))] = far
        worst = sorted(wrong.values(), reverse=kind == "same")[:most]
        assert [mistake.distance for mistake in given] == worst
        shown = [(mistake.first, mistake.second) for mistake in given]
        assert len(set(shown)) == len(shown)
        for mistake in given:
            assert wrong[mistake.first, mistake.second] == mistake.distance
            assert mistake.same == (kind == "same")


def test_a_missed_face_is_no_mistake_that_could_be_shown():
    dataset, told = evaluated([0, 0, 1, 2], [1, 2, 2, 3], [1, 0, 1, 0], [0.1, 0.5, np.nan, np.nan])
    assert worst_mistakes(dataset, told, "same", 9) == worst_mistakes(dataset, told, "different", 9) == []


def test_a_photo_in_a_strangers_folder_is_the_worst_mistake(folder, drawn_model):
    shade(folder / "bo" / "stray.png", PEOPLE["anna"], 4)
    dataset = read_people(str(folder))
    told = evaluate(dataset, drawn_model())
    for kind in ("same", "different"):
        for mistake in worst_mistakes(dataset, told, kind, 12)[:3]:
            assert "stray.png" in {
                os.path.basename(dataset.paths[n]) for n in (mistake.first, mistake.second)
            }


@pytest.mark.slow
def test_pictures_are_drawn_of_all_that_there_is(folder, drawn_model, tmp_path):
    shade(folder / "bo" / "stray.png", PEOPLE["anna"], 4)
    photo(folder / "cy" / "nobody.png")
    dataset = read_people(str(folder))
    told = [evaluate(dataset, drawn_model()), evaluate(dataset, drawn_model(name="some/one"))]
    names = draw_all(dataset, told, str(tmp_path))
    assert names == [
        "roc.png", "distances.png", "cmc.png", "reliability.png",
        "mistakes-colours.png", "mistakes-some=one.png",
    ]  # fmt: skip
    for name in names:
        with Image.open(tmp_path / name) as drawn:
            assert drawn.format == "PNG"
            assert min(drawn.size) > 100


@pytest.mark.slow
def test_what_is_not_there_is_not_drawn(folder, drawn_model, tmp_path):
    """Neither an accuracy nor a mistake of two people."""
    (folder / "cy").rename(tmp_path / "cy")
    dataset = read_people(str(folder))
    names = draw_all(dataset, [evaluate(dataset, drawn_model())], str(tmp_path))
    assert names == ["roc.png", "distances.png", "cmc.png", "mistakes-colours.png"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
