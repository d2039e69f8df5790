"""One face of each labelled photo, what is kept of them, and their distances."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.distance import cdist
from support.fakes import BLUE, CARD, GREEN, RED, YELLOW, coloured, encoded, photo, picture

from facesearch import ranking
from facesearch.errors import IndexBusy
from facesearch.evaluate.dataset import read_pairs, read_people
from facesearch.evaluate.labelled_faces import cache_path, find_faces
from facesearch.faces import Box
from facesearch.index.meta import Meta
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.model import Runtime
from facesearch.ranking import pair_distances


@pytest.fixture
def people(tmp_path):
    """Two people of two photos each, every one of another colour."""
    for number, name in enumerate(["anna/1", "anna/2", "bo/1", "bo/2"]):
        coloured(tmp_path / "people" / f"{name}.png", 7 * number)
    return tmp_path / "people"


def found_in(folder, model, *, face="largest", **more):
    return find_faces(replace(read_people(str(folder)), face=face), model, **more)


def position(folder, name):
    """Return the number of a photo of a data set."""
    return read_people(str(folder)).paths.index(str(folder / name))


def colour(values):
    return np.array(values, np.float32) / 255


def test_each_photo_has_the_vector_and_the_box_of_its_face(people, drawn_model):
    model = drawn_model()
    found = found_in(people, model)
    assert (found.no_face, found.unreadable, found.remarks) == (0, (), ())
    assert found.boxes == (Box(10, 12, 30, 30),) * 4
    np.testing.assert_allclose(
        found.vectors, [colour((130 + 7 * n % 10, 130 + 7 * n // 10, 130)) for n in range(4)], atol=1e-6
    )
    assert found.vectors.dtype == np.float32
    assert model.embedded == 4


@pytest.mark.parametrize("size", [{"width": 300, "height": 100}, {"width": 3000, "height": 1000}])
@pytest.mark.parametrize(("face", "color"), [("largest", RED), ("central", GREEN)])
def test_of_several_faces_the_data_set_says_which_one_counts(people, drawn_model, size, face, color):
    """The central one is not the largest, and is found in the photo's own pixels, however it is searched."""
    unit = size["height"] // 100
    squares = [(5, 5, 60, RED), (140, 40, 20, GREEN), (240, 30, 50, BLUE)]
    squares = [(*(unit * value for value in square[:3]), square[3]) for square in squares]
    photo(people / "anna" / "3.png", *squares, **size)
    found = found_in(people, drawn_model(), face=face)
    place = position(people, "anna/3.png")
    x, y = {"largest": (35, 35), "central": (150, 50)}[face]
    box = found.boxes[place]
    assert np.hypot(box.centre[0] - x * unit, box.centre[1] - y * unit) < 3 * unit
    np.testing.assert_allclose(found.vectors[place], colour(color), atol=0.1)


def test_the_middle_is_that_of_the_upright_photo(people, drawn_model):
    upright = picture((5, 140, 40, GREEN), (15, 5, 50, RED), width=60, height=300)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    lying = Image.fromarray(upright[:, :, ::-1]).rotate(90, expand=True)
    lying.save(people / "anna" / "3.jpg", quality=100, subsampling=0, exif=exif)
    found = found_in(people, drawn_model(), face="central")
    np.testing.assert_allclose(found.vectors[position(people, "anna/3.jpg")], colour(GREEN), atol=0.05)


def test_a_folder_of_people_means_the_largest_face_and_a_list_of_pairs_the_central_one(people):
    listed = people.parent / "pairs.txt"
    listed.write_text("1\nanna\t1\t2\nanna\t1\tbo\t1\n")
    for name in ("anna", "bo"):
        for number in (1, 2):
            (people / name / f"{number}.png").rename(people / name / f"{name}_{number:04d}.png")
    assert read_people(str(people)).face == "largest"
    assert read_pairs(str(listed), str(people)).face == "central"


def test_a_photo_without_a_face_has_no_numbers(people, drawn_model):
    photo(people / "anna" / "3.png")
    found = found_in(people, drawn_model())
    place = position(people, "anna/3.png")
    assert np.isnan(found.vectors[place]).all()
    assert np.isfinite(np.delete(found.vectors, place, axis=0)).all()
    assert found.boxes[place] is None
    assert (found.no_face, found.unreadable) == (1, ())


def test_photos_that_cannot_be_read_are_named(people, drawn_model):
    (people / "anna" / "text.jpg").write_text("no picture")
    (people / "bo" / "half.png").write_bytes(encoded(picture((10, 10, 30, RED)))[:60])
    gone = people / "bo" / "gone.png"
    coloured(gone, 999)
    dataset = read_people(str(people))
    gone.unlink()
    found = find_faces(dataset, drawn_model())
    assert set(found.unreadable) == {
        str(people / name) for name in ("anna/text.jpg", "bo/half.png", "bo/gone.png")
    }
    assert found.no_face == 0
    assert np.isnan(found.vectors).all(axis=1).sum() == 3


def test_a_second_run_embeds_what_is_new_or_changed_alone(people, drawn_model):
    model, planned, seen = drawn_model(), [], []
    first = found_in(people, model)
    assert model.embedded == 4

    again = found_in(people, model, on_plan=lambda plan: planned.append(len(plan.new)))
    assert model.embedded == 0
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert again.boxes == first.boxes

    coloured(people / "cy" / "1.png", 555)
    photo(people / "anna" / "1.png", (20, 20, 41, YELLOW))
    changed = found_in(
        people,
        model,
        on_plan=lambda plan: planned.append(len(plan.new)),
        on_photo=lambda one: seen.append(os.path.relpath(one.path, people)),
    )
    assert model.embedded == 2
    assert planned == [0, 2]
    assert sorted(seen) == ["anna/1.png", "cy/1.png"]
    np.testing.assert_allclose(changed.vectors[0], colour(YELLOW), atol=1e-6)
    np.testing.assert_array_equal(changed.vectors[1:4], first.vectors[1:])


def test_a_photo_that_is_gone_is_not_there_any_more(people, drawn_model):
    model = drawn_model()
    found_in(people, model)
    (people / "anna" / "1.png").unlink()
    assert len(found_in(people, model).vectors) == 3
    assert model.embedded == 4


def test_the_folder_by_a_link_has_the_same_cache(people, drawn_model, tmp_path):
    model = drawn_model()
    found_in(people, model)
    (tmp_path / "link").symlink_to(people)
    found = found_in(tmp_path / "link", model)
    assert model.embedded == 4
    assert np.isfinite(found.vectors).all()


@pytest.mark.parametrize(
    "breaking",
    [
        lambda file: file.write_bytes(b"no index"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-300]),
        lambda file: np.savez(file, format=99),
    ],
)
def test_a_broken_cache_is_made_anew(people, drawn_model, breaking):
    model = drawn_model()
    first = found_in(people, model)
    assert model.embedded == 4
    breaking(cache_path(str(people), model))
    again = found_in(people, model)
    assert model.embedded == 4
    np.testing.assert_array_equal(again.vectors, first.vectors)
    found_in(people, model)
    assert model.embedded == 0


def test_a_cache_that_another_process_writes_is_left_alone(people, drawn_model):
    model = drawn_model()
    found_in(people, model)
    cache = cache_path(str(people), model)
    before = cache.read_bytes()
    meta = Meta(CARD.name, CARD.digest, CARD.dim, CARD.detector, {"margin": CARD.margin})
    with NpzIndexWriter(cache, meta), pytest.raises(IndexBusy):
        found_in(people, model)
    assert cache.read_bytes() == before


def test_models_have_caches_of_their_own(people, drawn_model, tmp_path):
    plain, other = drawn_model(), drawn_model(name="other", digest="fake:fedcba9876543210")
    found_in(people, plain)
    found_in(people, other)
    assert (plain.embedded, other.embedded) == (4, 4)
    found_in(people, plain)
    assert (plain.embedded, other.embedded) == (0, 0)
    assert len(list((tmp_path / "cache" / "facesearch" / "evaluate").glob("*.npz"))) == 2


def test_what_makes_other_vectors_has_a_cache_of_its_own(people, drawn_model, tmp_path):
    models = [
        drawn_model(**card)
        for card in (
            {},
            {"name": "other"},
            {"digest": "fake:00000000"},
            {"detector": "haar"},
            {"margin": 0.5},
        )
    ]
    exact = drawn_model()
    exact.runtime = Runtime(precision="f32")
    keras = drawn_model()
    keras.runtime = Runtime(runtime="tensorflow")
    paths = {cache_path(str(people), model) for model in (*models, exact, keras)}
    assert len({*paths, cache_path(str(tmp_path), models[0])}) == 8
    faster = drawn_model()
    faster.runtime = Runtime(jobs=3, batch=1)
    assert cache_path(str(people), faster) == cache_path(str(people), models[0])
    assert {path.parent for path in paths} == {tmp_path / "cache" / "facesearch" / "evaluate"}


def test_ctrl_c_ends_it_and_keeps_what_was_done(people, drawn_model):
    model, seen = drawn_model(), []

    def interrupt(one):
        seen.append(one)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found_in(people, model, on_photo=interrupt)
    model.embedder.calls.clear()
    assert np.isfinite(found_in(people, model).vectors).all()
    assert model.embedded == 2


def test_one_picture_in_two_peoples_folders_is_said(people, drawn_model):
    model = drawn_model()
    copy = (people / "anna" / "1.png").read_bytes()
    (people / "anna" / "twice.png").write_bytes(copy)
    assert found_in(people, model).remarks == ()
    (people / "bo" / "3.png").write_bytes(copy)
    (remark,) = found_in(people, model).remarks
    assert remark.startswith("Pictures that lie with two people or more")
    assert "show one picture: 1;" in remark
    assert remark.endswith("the first is '1.png' of 'anna' and '3.png' of 'bo'.")


METRICS = pytest.mark.parametrize("metric", ["cosine", "euclidean"])


def everything(m):
    first, second = np.triu_indices(m, 1)
    return first.astype(np.int32), second.astype(np.int32)


@METRICS
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_distances_are_scipys_for_few_pairs_and_for_all(metric, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    m, dim = data.draw(st.integers(2, 30)), data.draw(st.sampled_from([1, 3, 128]))
    vectors = (rng.normal(size=(m, dim)) * 10.0 ** rng.integers(-3, 4)).astype(np.float32)
    first, second = everything(m)
    wanted = cdist(vectors.astype(np.float64), vectors.astype(np.float64), metric)[first, second]
    if metric == "cosine":
        wanted = np.clip(wanted, 0, 2)
    few = rng.integers(0, len(first), max(1, min(len(first), m * m // 5)))
    scale = max(float(np.abs(vectors).max()), 1.0) if metric == "euclidean" else 1.0
    close = {"rtol": 1e-7, "atol": 1e-6 * scale}
    np.testing.assert_allclose(pair_distances(vectors, first, second, metric), wanted, **close)
    np.testing.assert_allclose(pair_distances(vectors, first[few], second[few], metric), wanted[few], **close)


@METRICS
def test_many_pairs_are_gathered_in_parts(metric, monkeypatch):
    monkeypatch.setattr(ranking, "PAIRS_AT_ONCE", 7)
    vectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    first, second = (side[:100] for side in everything(50))
    wanted = cdist(vectors.astype(np.float64), vectors.astype(np.float64), metric)[first, second]
    np.testing.assert_allclose(pair_distances(vectors, first, second, metric), wanted, rtol=1e-9)


@METRICS
@pytest.mark.parametrize("pairs", [1, 300])
def test_equal_vectors_are_at_no_distance(metric, pairs):
    """Also long ones of many numbers, where a float32 product would be off by hundredths."""
    vector = np.random.default_rng(2).uniform(0, 5, 2048).astype(np.float32)
    vectors = np.stack([vector] * 20)
    first = np.arange(pairs, dtype=np.int32) % 20
    distance = pair_distances(vectors, first, (first + 1) % 20, metric)
    assert distance.shape == (pairs,)
    np.testing.assert_allclose(distance, 0, atol=1e-5)
    assert (distance >= 0).all()


@METRICS
@pytest.mark.parametrize("pairs", [1, 10])
def test_a_missed_face_is_at_no_distance_that_could_be_told(metric, pairs):
    vectors = np.float32([[1, 0], [0, 1], [np.nan, np.nan]])
    first, second = np.int32([0, 1, 2, 0, 0] * 2)[:pairs], np.int32([2, 2, 2, 2, 1] * 2)[:pairs]
    missed = (first == 2) | (second == 2)
    np.testing.assert_array_equal(np.isnan(pair_distances(vectors, first, second, metric)), missed)


@pytest.mark.parametrize("pairs", [1, 8])
def test_a_vector_of_no_length_is_like_none(pairs):
    vectors = np.float32([[0, 0], [3, 4]])
    first, second = np.zeros(pairs, np.int32), np.ones(pairs, np.int32)
    np.testing.assert_array_equal(pair_distances(vectors, first, second, "cosine"), 1.0)
    np.testing.assert_array_equal(pair_distances(vectors, first, second, "euclidean"), 5.0)


@METRICS
def test_no_pairs_have_no_distances(metric):
    none = np.zeros(0, np.int32)
    assert pair_distances(np.ones((3, 2), np.float32), none, none, metric).shape == (0,)
