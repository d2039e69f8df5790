"""How good a face is, and what is not said of a poor one."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.command import LIBRARY, SAMPLES
from support.known_people import WITHIN, opened, shows, write_people

from facesearch.detect import open_detector
from facesearch.embed import open_embedder
from facesearch.embed.sface import CARD
from facesearch.errors import ModelBroken, ModelError
from facesearch.faces import Box, Reference
from facesearch.judge import POOR, Judge, doubt, poor_faces, quality_of
from facesearch.models.calibration import QualityScale
from facesearch.models.card import Card
from facesearch.pipeline import Pipeline
from facesearch.search import Question, search

# Good where the vector is longer than 2.
BY_LENGTH = QualityScale((0.0, 0.0, 0.0), 10.0, -20.0, "drawn", "2026-11-29")


def test_it_rises_with_the_length_and_along_the_direction():
    scale = QualityScale((4.0, 0.0, 0.0), 1.0, -3.0, "drawn", "2026-11-29")
    told = quality_of(np.float32([[1, 0, 0], [3, 0, 0], [0, 3, 0], [-3, 0, 0]]), scale)
    odds = [4 + 1 - 3, 4 + 3 - 3, 3 - 3, -4 + 3 - 3]
    np.testing.assert_allclose(told, 1 / (1 + np.exp(-np.array(odds, float))), atol=1e-6)


def test_a_vector_that_points_nowhere_is_poor():
    told = quality_of(np.float32([[0, 0, 0], [np.nan, 1, 1], [np.inf, 0, 0]]), BY_LENGTH)
    assert told.tolist() == [0, 0, 0]
    assert quality_of(np.empty((0, 3), np.float32), BY_LENGTH).shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 16_384, 16_385])
def test_many_are_told_as_each_alone(count):
    vectors = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32) * 2
    np.testing.assert_array_equal(poor_faces(vectors, BY_LENGTH), quality_of(vectors, BY_LENGTH) < POOR)


def test_portraits_are_good_and_what_cannot_be_told_is_poor(tmp_path, model_store):
    paths = []
    for name, out_of_focus in (("library/biden", 4), ("library/grace_hopper", 8), ("queries/obama", 6)):
        image = cv2.imread(str(SAMPLES / f"{name}.jpg"))
        image = cv2.resize(image, None, fx=400 / max(image.shape), fy=400 / max(image.shape))
        for sigma in (0, out_of_focus):
            paths.append(str(tmp_path / f"{len(paths)}.png"))
            cv2.imwrite(paths[-1], cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image)
    made = Pipeline(open_detector("yunet", store=model_store), open_embedder("sface", store=model_store))
    told = [quality_of(one.vectors, CARD.quality)[0] for one in made.run(paths) if one.vectors is not None]
    assert len(told) == 6
    assert all(quality > 0.9 for quality in told[::2])
    assert all(quality < POOR for quality in told[1::2])


def reference(*vector):
    return Reference("/elsewhere/ref.jpg", 1, Box(1, 2, 3, 4), np.float32(vector))


@pytest.fixture
def index(tmp_path):
    """Four photos of the person 0, the second and fourth of them poor."""
    photos = [shows(f"/p/{number}.jpg", 0) for number in range(4)]
    photos[1::2] = [replace(photo, vectors=photo.vectors / 20) for photo in photos[1::2]]
    write_people(tmp_path / "i.npz", photos)
    return opened(tmp_path / "i.npz").index


def scale_of(index):
    """Return a scale by which the short vectors of an index are poor."""
    length = float(np.median(index.norms))
    return QualityScale((0.0,) * index.meta.dim, 50 / length, -25.0, "drawn", "2026-11-29")


def test_of_a_poor_match_no_probability_is_said_and_it_can_be_left_out(index):
    judge = Judge(index.face_count, CARD.calibration["cosine"], quality=scale_of(index))
    asked = [reference(*index.vectors[0])]
    (answer,) = search(index, asked, Question(), judge)
    told = {match.path[-5]: match for match in answer.matches}
    assert len(told) == 4
    for number, match in told.items():
        poor = number in "13"
        assert (match.quality < POOR) == poor
        assert (match.probability is None) == (match.same is None) == (match.strangers is None) == poor
        assert doubt(match) == ("poor face" if poor else "")
    (answer,) = search(index, asked, Question(min_quality=0.5), judge)
    assert sorted(match.path[-5] for match in answer.matches) == ["0", "2"]
    (answer,) = search(index, asked, Question(top=2, min_quality=0.5), judge)
    assert sorted(match.path[-5] for match in answer.matches) == ["0", "2"]


def test_a_poor_reference_tells_nothing(index):
    judge = Judge(index.face_count, CARD.calibration["cosine"], quality=scale_of(index))
    (answer,) = search(index, [reference(*index.vectors[1])], Question(), judge)
    assert [match.probability for match in answer.matches] == [None] * 4
    assert {doubt(match) for match in answer.matches} == {"poor face", "poor reference"}
    assert min(match.distance for match in answer.matches) < 0.01


def test_a_model_that_does_not_tell_cannot_be_asked_by_quality(index):
    with pytest.raises(ModelError, match="how good a face is"):
        search(index, [reference(*index.vectors[0])], Question(min_quality=0.5), Judge(4))


def test_poor_faces_make_no_person_but_stay_with_whom_they_were_given_to(tmp_path):
    photos = [shows(f"/p/{number}.jpg", number // 3) for number in range(6)]
    photos[3:] = [replace(photo, vectors=photo.vectors / 20) for photo in photos[3:]]
    write_people(tmp_path / "i.npz", photos)
    people = opened(tmp_path / "i.npz")
    scale = scale_of(people.index)
    people.group(WITHIN, scale)
    assert people.whose.tolist() == [1, 1, 1, -1, -1, -1]
    assert people.poor_and_alone(scale) == [3, 4, 5]
    people.assign([3], None)
    people.group(WITHIN, scale)
    assert people.whose.tolist() == [1, 1, 1, 2, -1, -1]
    assert people.poor_and_alone(scale) == [4, 5]
    people.group(WITHIN)
    assert people.whose.tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("key", ["quality", "library"])
def test_a_card_with_numbers_for_another_model_is_refused(key):
    card = replace(CARD, dim=64, quality=CARD.quality if key == "quality" else None)
    if key == "quality":
        card = replace(card, library=None)
    with pytest.raises(ModelBroken, match=f"no usable {key}: 128 numbers for 64"):
        Card.from_json(card.to_json())
    assert Card.from_json(CARD.to_json()) == CARD


def test_it_is_counted_listed_and_shown(ask, tmp_path):
    blurred = tmp_path / "photos" / "blurred.jpg"
    blurred.parent.mkdir()
    for name in ("biden.jpg", "obama_2009.jpg", "obama_2010.jpg"):
        image = cv2.imread(str(LIBRARY / name))
        image = cv2.resize(image, None, fx=400 / max(image.shape), fy=400 / max(image.shape))
        cv2.imwrite(str(blurred.parent / name), image)
    cv2.imwrite(str(blurred), cv2.GaussianBlur(image, (0, 0), 5))
    assert ask("index", blurred.parent, "--model", "sface", "--index", "i.npz").status == 0
    assert "4 (1 poor: blurred, tiny, or no face)" in ask("info", "--index", "i.npz").text
    assert '"poor_faces": 1' in ask("info", "--index", "i.npz", "--json").text
    assert "judged by  the model's reference" in ask("info", "--index", "i.npz").text
    done = ask("people", "--all", "--index", "i.npz")
    assert [row[0] for row in done.rows] == ["1", ""]
    assert done.rows[1][4] == str(blurred)
    done = ask("query", LIBRARY / "obama_2009.jpg", "--index", "i.npz", "--format", "table")
    (line,) = [line for line in done.text.splitlines() if "blurred.jpg" in line]
    assert " ? " in line
    assert "%" not in line
    assert "? a poor face" in done.text
    query = ("query", LIBRARY / "obama_2009.jpg", "--index", "i.npz", "--format", "paths")
    assert "blurred.jpg" in ask(*query).text
    assert "blurred.jpg" not in ask(*query, "--min-quality", "0.5").text
    assert ask(*query, "--min-quality", "1.5").status == 2
