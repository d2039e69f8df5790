import dataclasses
import os

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.fakes import (
    BLUE,
    CARD,
    GREEN,
    RED,
    ColourEmbedder,
    coloured,
    looked_at,
    photo,
    pipeline,
    write_index,
)

from facesearch.errors import FacesearchError, ModelError
from facesearch.faces import Box, Reference
from facesearch.index.npz.store import open_index
from facesearch.judge import Judge
from facesearch.library import Library
from facesearch.model import Model
from facesearch.models.calibration import Calibration, LibraryScale
from facesearch.ranking import unit_vectors
from facesearch.search import Question, find_references, search


def holding(path, *vectors, digest=None):
    """Return a photo whose faces have these vectors."""
    photo = looked_at(path, len(vectors), digest=digest)
    return dataclasses.replace(photo, vectors=np.float32(vectors).reshape(-1, 3) if vectors else None)


def reference(*vector, path="/elsewhere/ref.jpg", face=1):
    return Reference(path, face, Box(1, 2, 3, 4), np.float32(vector))


def on_circle(degrees):
    angle = np.deg2rad(degrees)
    return (np.cos(angle), np.sin(angle), 0.0)


EAST = on_circle(0)


@pytest.fixture
def make(tmp_path):
    def make(*photos):
        return open_index(write_index(tmp_path / "i.npz", photos))

    return make


def names(answer):
    return [os.path.basename(match.path).removesuffix(".jpg") for match in answer.matches]


def test_photos_come_nearest_first(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (90, 10, 50, 30, 70)))
    (answer,) = search(index, [reference(*EAST)], Question(top=3))
    assert names(answer) == ["10", "30", "50"]
    assert [match.rank for match in answer.matches] == [1, 2, 3]
    wanted = [1 - np.cos(np.deg2rad(degrees)) for degrees in (10, 30, 50)]
    np.testing.assert_allclose([match.distance for match in answer.matches], wanted, atol=1e-6)
    assert answer.references[0].path == "/elsewhere/ref.jpg"


@pytest.mark.parametrize("by", ["photo", "face"])
def test_of_copies_one_whose_file_is_there_stands_for_all(make, tmp_path, by):
    there = tmp_path / "z.jpg"
    there.touch()
    faces = [on_circle(70), on_circle(10)]
    copies = [holding(path, *faces, digest=b"d" * 16) for path in ("/gone/a.jpg", str(there), "/gone/zz.jpg")]
    index = make(*copies, holding("/gone/other.jpg", on_circle(50)))
    answer = search(index, [reference(*EAST)], Question(top=2, unique=True, by=by))[0]
    assert [(one.path, one.face) for one in answer.matches] == [(str(there), 2), ("/gone/other.jpg", 1)]


class Rounding(ColourEmbedder):
    """An embedder whose last digits depend on the batch, as a network's do in bf16."""

    def embed(self, crops):
        return super().embed(crops) + np.float32(0.01 * len(crops)) * np.float32([1, 0, 0])


def test_a_picture_is_at_distance_0_from_itself(tmp_path):
    photos = [str(coloured(tmp_path / f"{number}.png", 100 * number)) for number in range(4)]
    pair = photo(tmp_path / "pair.png", (10, 12, 30, RED), (60, 12, 20, GREEN))
    made = list(pipeline(Rounding(), batch=64).run([*photos, str(pair)]))
    index = open_index(write_index(tmp_path / "i.npz", made))
    (tmp_path / "elsewhere.png").write_bytes(pair.read_bytes())

    def distances(path, face, known):
        asked, _ = find_references(pipeline(Rounding()), [str(path)], face, lambda photo: None, known)
        answers = search(index, asked, Question(top=1, by="face"))
        return [one.matches[0].distance for one in answers]

    assert distances(tmp_path / "elsewhere.png", "all", index) == pytest.approx([0, 0], abs=1e-12)
    assert distances(tmp_path / "elsewhere.png", 2, index) == pytest.approx([0], abs=1e-12)
    assert min(distances(tmp_path / "elsewhere.png", "all", None)) > 1e-6
    other = photo(tmp_path / "other.png", (10, 12, 30, RED), (60, 12, 20, BLUE))
    assert distances(other, 2, index)[0] > 1e-6


def test_no_metric_is_cosine(make):
    index = make(holding("/p/far.jpg", (9.0, 0.0, 0.0)), holding("/p/near.jpg", (1.0, 0.5, 0.0)))
    assert Question().metric is None
    asked = [reference(*EAST)]
    assert search(index, asked, Question()) == search(index, asked, Question(metric="cosine"))
    assert names(search(index, asked, Question())[0]) == ["far", "near"]
    assert names(search(index, asked, Question(metric="euclidean"))[0]) == ["near", "far"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("chosen", [None, "euclidean", "cosine"])
def test_a_library_asks_by_the_models_own_metric_unless_another_is_chosen(
    make, monkeypatch, tmp_path, metric, chosen
):
    make(holding("/p/a.jpg", EAST))
    asked = []
    monkeypatch.setattr("facesearch.model.card_of", lambda *_: dataclasses.replace(CARD, metric=metric))
    monkeypatch.setattr("facesearch.library.find_references", lambda *_: ([], []))
    monkeypatch.setattr(
        "facesearch.library.search", lambda _, found, question, judge: asked.append(question) or []
    )
    monkeypatch.setattr(Model, "pipeline", lambda *_, **__: None)

    Library(tmp_path / "i.npz").query([], Question(top=7, metric=chosen))
    Library(tmp_path / "i.npz").query([])

    assert asked == [Question(top=7, metric=chosen or metric), Question(metric=metric)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_both_metrics_are_scipys(make, metric):
    rng = np.random.default_rng(2)
    vectors = np.float32(rng.normal(size=(40, 3)))
    index = make(*(holding(f"/p/{number:02}.jpg", vector) for number, vector in enumerate(vectors)))
    queries = np.float32(rng.normal(size=(3, 3)))
    answers = search(index, [reference(*query) for query in queries], Question(top=40, metric=metric))
    for answer, far in zip(answers, cdist(queries, vectors, metric), strict=True):
        assert names(answer) == [f"{number:02}" for number in np.argsort(far)]
        np.testing.assert_allclose([match.distance for match in answer.matches], np.sort(far), rtol=1e-5)


def test_a_photo_counts_once_with_its_best_face(make):
    index = make(
        holding("/p/group.jpg", on_circle(80), on_circle(20), on_circle(40)),
        holding("/p/alone.jpg", on_circle(30)),
        holding("/p/nobody.jpg"),
    )
    (answer,) = search(index, [reference(*EAST)], Question())
    assert [(os.path.basename(match.path), match.face) for match in answer.matches] == [
        ("group.jpg", 2),
        ("alone.jpg", 1),
    ]
    assert answer.matches[0].box == Box(1, 2, 29, 40)


def test_each_face_counts_by_itself(make):
    index = make(
        holding("/p/group.jpg", on_circle(80), on_circle(20), on_circle(40)),
        holding("/p/alone.jpg", on_circle(30)),
    )
    (answer,) = search(index, [reference(*EAST)], Question(by="face"))
    assert [(name, match.face) for name, match in zip(names(answer), answer.matches, strict=True)] == [
        ("group", 2),
        ("alone", 1),
        ("group", 3),
        ("group", 1),
    ]
    (answer,) = search(index, [reference(*EAST)], Question(by="face", top=2))
    assert names(answer) == ["group", "alone"]


def test_what_is_beyond_the_threshold_is_left_out(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (10, 60, 61, 120)))
    near = Question(threshold=1 - np.cos(np.deg2rad(60.5)), top=9)
    assert names(search(index, [reference(*EAST)], near)[0]) == ["10", "60"]
    none = Question(threshold=0.001, top=9)
    assert search(index, [reference(*EAST)], none)[0].matches == ()


def test_ties_are_in_the_order_of_paths_and_faces(make):
    # Names whose order as text differs from that of their bytes, too.
    order = ["/p/B.jpg", "/p/a.jpg", "/p/b.jpg", "/p/é.jpg", "/p/\udcff.jpg"]
    index = make(*(holding(path, EAST, EAST) for path in reversed(order)))
    (answer,) = search(index, [reference(*EAST)], Question(top=9))
    assert [match.path for match in answer.matches] == order
    assert [match.face for match in answer.matches] == [1] * 5
    (answer,) = search(index, [reference(*EAST)], Question(top=9, by="face"))
    assert [(match.path, match.face) for match in answer.matches] == [
        (path, face) for path in order for face in (1, 2)
    ][:9]


def test_the_references_own_file_is_left_out(make):
    index = make(
        *(holding(f"/p/{degrees}.jpg", on_circle(degrees), on_circle(degrees)) for degrees in (0, 5, 9))
    )
    own = reference(*EAST, path="/p/0.jpg")
    assert names(search(index, [own], Question(top=2))[0]) == ["5", "9"]
    assert names(search(index, [own], Question(top=3, by="face"))[0]) == ["5", "5", "9"]
    kept = search(index, [own], Question(top=2, include_self=True))[0]
    assert names(kept) == ["0", "5"]
    assert kept.matches[0].distance == pytest.approx(0, abs=1e-7)


def test_a_link_to_the_own_file_is_the_own_file(make, tmp_path):
    real = tmp_path / "real.jpg"
    real.write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(real)
    index = make(holding(str(real), EAST), holding("/p/5.jpg", on_circle(5)))
    own = reference(*EAST, path=str(tmp_path / "link.jpg"))
    assert names(search(index, [own], Question())[0]) == ["5"]


def test_copies_count_once_when_that_is_wanted(make):
    same = b"s" * 16
    index = make(
        holding("/p/b copy.jpg", on_circle(5), on_circle(50), digest=same),
        holding("/p/a original.jpg", on_circle(5), on_circle(50), digest=same),
        holding("/p/other.jpg", on_circle(9)),
    )
    asked = [reference(*EAST)]
    assert names(search(index, asked, Question())[0]) == ["a original", "b copy", "other"]
    assert names(search(index, asked, Question(unique=True))[0]) == ["a original", "other"]
    by_face = search(index, asked, Question(unique=True, by="face"))[0]
    assert [(name, match.face) for name, match in zip(names(by_face), by_face.matches, strict=True)] == [
        ("a original", 1),
        ("other", 1),
        ("a original", 2),
    ]


@pytest.mark.parametrize("path", ["/p/a.jpg", "/p/z.jpg"])
@pytest.mark.parametrize("by", ["photo", "face"])
def test_copies_of_the_reference_are_the_reference_when_copies_count_once(make, path, by):
    same = b"s" * 16
    index = make(
        holding("/p/a.jpg", EAST, on_circle(3), digest=same),
        holding("/p/z.jpg", EAST, on_circle(3), digest=same),
        holding("/p/other.jpg", on_circle(9)),
    )
    own = [reference(*EAST, path=path)]
    assert names(search(index, own, Question(unique=True, by=by, top=1))[0]) == ["other"]
    copy = "a" if path.startswith("/p/z") else "z"
    assert names(search(index, own, Question(top=1, by=by))[0]) == [copy]


def test_references_are_answered_one_by_one(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (0, 90, 180)))
    asked = [reference(*on_circle(degrees), path=f"/p/{degrees}.jpg") for degrees in (0, 90, 180)]
    answers = search(index, asked, Question(top=1, include_self=True))
    assert [names(answer) for answer in answers] == [["0"], ["90"], ["180"]]
    assert [answer.references for answer in answers] == [(one,) for one in asked]
    without = search(index, asked, Question(top=1))
    assert [names(answer) for answer in without] == [["90"], ["0"], ["90"]]


def test_references_of_one_person_are_fused(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (0, 45, 90)))
    # Of very different lengths: by cosine each counts the same.
    asked = [reference(100, 0, 0, path="/r/1.jpg"), reference(0, 1, 0, path="/r/2.jpg")]
    (answer,) = search(index, asked, Question(together=True))
    assert answer.references == tuple(asked)
    assert names(answer) == ["45", "0", "90"]
    (answer,) = search(index, asked, Question(together=True, metric="euclidean"))
    assert names(answer)[0] == "0"  # the mean is (50, 0.5, 0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", range(5))
def test_the_distance_to_fused_references_is_the_mean_of_the_distances_to_each(make, metric, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(20, 3)).astype(np.float32)
    index = make(*(holding(f"/p/{number:02}.jpg", vector) for number, vector in enumerate(vectors)))
    asked = [
        reference(*vector, path=f"/r/{number}.jpg") for number, vector in enumerate(rng.normal(size=(4, 3)))
    ]

    single = cdist(np.stack([one.vector for one in asked]), vectors, metric)
    mean = np.sqrt((single**2).mean(axis=0)) if metric == "euclidean" else single.mean(axis=0)
    (answer,) = search(index, asked, Question(top=20, together=True, metric=metric))
    assert names(answer) == [f"{number:02}" for number in np.argsort(mean)]
    np.testing.assert_allclose([match.distance for match in answer.matches], np.sort(mean), atol=1e-5)

    limit = float(np.sort(mean)[7:9].mean())
    (answer,) = search(index, asked, Question(top=20, together=True, metric=metric, threshold=limit))
    assert len(answer.matches) == 8
    (answer,) = search(index, asked, Question(together=True, metric=metric, threshold=mean.min() / 2))
    assert answer.matches == ()


def test_opposite_references_are_as_far_from_all(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (0, 90)))
    asked = [reference(1, 0, 0, path="/r/1.jpg"), reference(-1, 0, 0, path="/r/2.jpg")]
    (answer,) = search(index, asked, Question(together=True))
    assert [match.distance for match in answer.matches] == pytest.approx([1.0, 1.0])
    assert search(index, asked, Question(together=True, threshold=0.9))[0].matches == ()


CALIBRATION = Calibration(0.3, 10.0, 3.0, ((0.01, 0.1), (0.1, 0.3), (1.0, 2.0)), "drawn", "2026-11-22")


def test_without_a_calibration_nothing_is_said_of_persons(make):
    (answer,) = search(make(holding("/p/a.jpg", EAST)), [reference(*EAST)], Question())
    (match,) = answer.matches
    assert (match.probability, match.same, match.strangers) == (None, None, None)


def test_a_calibration_judges_each_match(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (0, 60, 90)))
    (answer,) = search(index, [reference(*EAST)], Question(), Judge(3, CALIBRATION))
    near, far, farther = answer.matches
    assert (near.same, far.same, farther.same) == (True, False, False)
    assert near.probability == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert far.probability == pytest.approx(1 / (1 + np.exp(2.0)))
    assert near.strangers < far.strangers < farther.strangers < 3
    # Rates rise in proportion between the measured distances: 0.2 lies halfway between 0.1 and 0.3.
    assert CALIBRATION.stranger_rate(0.2) == pytest.approx(np.sqrt(0.01 * 0.1))


def test_matches_below_a_probability_are_left_out(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in range(0, 180, 5)))
    judge = Judge(index.face_count, CALIBRATION)
    (answer,) = search(index, [reference(*EAST)], Question(top=99, min_probability=0.9), judge)
    assert answer.matches
    assert all(match.probability >= 0.9 for match in answer.matches)
    (all_of_them,) = search(index, [reference(*EAST)], Question(top=99), judge)
    assert all(match.probability < 0.9 for match in all_of_them.matches[len(answer.matches) :])
    tight = Question(top=99, min_probability=0.9, threshold=0.01)
    assert len(search(index, [reference(*EAST)], tight, judge)[0].matches) == 2


def test_centred_takes_off_what_all_faces_have_in_common(make):
    rng = np.random.default_rng(7)
    people, common = rng.normal(size=(60, 3)), np.array([9.0, 0.0, 0.0])
    photos = [holding(f"/p/{number:02d}.jpg", np.float32(one + common)) for number, one in enumerate(people)]
    index = make(*photos)
    centre = np.mean([unit_vectors(np.float64(one + common)) for one in people], axis=0)

    def directions(vectors):
        return unit_vectors(unit_vectors(vectors) - centre)

    asked = np.float32(people[5] * 3 + common * 3)
    (answer,) = search(index, [reference(*asked)], Question(top=60, metric="centred"))

    similar = directions(np.float64(people + common)) @ directions(np.float64(asked))
    assert names(answer) == [f"{number:02d}" for number in np.argsort(-similar)]
    assert [match.distance for match in answer.matches] == pytest.approx(sorted(1 - similar), abs=1e-5)
    assert names(answer) != names(*search(index, [reference(*asked)], Question(top=60)))


def test_what_few_faces_have_in_common_tells_nothing(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in range(49)))
    with pytest.raises(FacesearchError, match="49 faces are too few to tell: it needs 50") as raised:
        search(index, [reference(*EAST)], Question(metric="centred"))
    assert "--metric cosine" in raised.value.hint


def test_a_probability_cannot_be_asked_of_distances_that_are_not_calibrated(make):
    index = make(holding("/p/a.jpg", EAST))
    with pytest.raises(ModelError, match="do not say how likely") as raised:
        search(index, [reference(*EAST)], Question(min_probability=0.5))
    assert "--threshold" in raised.value.hint


def test_a_calibration_on_people_of_your_own_comes_first(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in range(0, 180, 2)))
    scale = LibraryScale((0.0, 0.0, 0.0), 0.0, 0.3, 0.9, ((0.01, -2.0), (1.0, 2.0)), "drawn", "2026-11-29")
    card = dataclasses.replace(CARD, calibration={"cosine": CALIBRATION}, library=scale)
    assert Judge.of(card, index, "cosine").cohort is not None
    own = dataclasses.replace(CALIBRATION, own=True)
    assert Judge.of(dataclasses.replace(card, calibration={"cosine": own}), index, "cosine").cohort is None
    both = dataclasses.replace(
        card, calibration={"cosine": own}, library=dataclasses.replace(scale, own=True)
    )
    assert Judge.of(both, index, "cosine").cohort is not None


@pytest.mark.slow
@pytest.mark.parametrize("least", [0.0, 0.5, 0.9])
def test_as_many_probable_matches_are_found_as_there_are(make, least):
    """A farther face can be the more probable match, so that looking at the nearest ones is not enough."""
    rng = np.random.default_rng(4)
    common = np.array([2.0, 0.0, 0.0])
    vectors = np.float32(rng.normal(size=(400, 3)) + common * rng.uniform(0, 1, (400, 1)))
    index = make(*(holding(f"/p/{number:03}.jpg", vector) for number, vector in enumerate(vectors)))
    rates = ((1e-6, -1.5), (0.01, -0.8), (1.0, 3.0))
    scale = LibraryScale((0.5, 0.0, 0.0), 0.0, 0.3, 0.99, rates, "drawn", "2026-11-29")
    judge = Judge.of(dataclasses.replace(CARD, library=scale), index, "cosine")
    asked = [reference(*vector) for vector in vectors[:5]]
    for top in (1, 5, 400):
        told = search(index, asked, Question(top=top, min_probability=least, include_self=True), judge)
        whole = search(index, asked, Question(top=400, include_self=True), judge)
        for answer, every in zip(told, whole, strict=True):
            wanted = [match for match in every.matches if match.probability >= least][:top]
            assert [match.path for match in answer.matches] == [match.path for match in wanted]
            assert [match.rank for match in answer.matches] == list(range(1, len(wanted) + 1))


def test_fused_references_leave_out_all_their_files(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (0, 10, 20, 30)))
    asked = [reference(*on_circle(degrees), path=f"/p/{degrees}.jpg") for degrees in (0, 10, 20)]
    (answer,) = search(index, asked, Question(together=True, top=1))
    assert names(answer) == ["30"]


def test_a_reference_without_length_is_as_far_from_all(make):
    index = make(holding("/p/a.jpg", EAST), holding("/p/b.jpg", (0, 0, 0)))
    (answer,) = search(index, [reference(0, 0, 0)], Question())
    assert [(name, match.distance) for name, match in zip(names(answer), answer.matches, strict=True)] == [
        ("a", 1.0),
        ("b", 1.0),
    ]


def test_nothing_asked_and_nothing_there(make):
    index = make(holding("/p/nobody.jpg"))
    assert search(index, [], Question()) == []
    assert search(index, [], Question(together=True)) == []
    for question in (Question(), Question(unique=True), Question(unique=True, by="face")):
        assert search(index, [reference(*EAST)], question)[0].matches == ()


@pytest.fixture
def chain(make):
    """A person's photos, each 25 degrees from the last, and a stranger's at the other side."""
    return make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (5, 25, 50, 75, 290)))


# The probability is above 0.99 within 30 degrees, and even at 50.
NARROW = Calibration(0.36, 25.0, 9.0, ((1e-6, 0.2), (1.0, 2.0)), "drawn", "2026-11-29")


def test_the_surest_matches_are_asked_for_too_and_stay_first(chain):
    plain, wider = (
        search(chain, [reference(*EAST)], Question(top=5, expand=expand), Judge(5, NARROW))[0]
        for expand in (False, True)
    )
    assert names(plain) == ["5", "25", "50", "290", "75"]
    assert names(wider) == ["5", "25", "50", "75", "290"]
    assert wider.matches[:2] == plain.matches[:2]
    assert [match.rank for match in wider.matches] == [1, 2, 3, 4, 5]
    # The mean distance to the reference and both matches.
    mean = 1 - np.mean(np.cos(np.deg2rad([50, 45, 25])))
    assert wider.matches[2].distance == pytest.approx(mean, abs=1e-6)
    assert [one.path for one in wider.references] == ["/elsewhere/ref.jpg"]


def test_where_nothing_is_sure_it_changes_nothing(make):
    index = make(*(holding(f"/p/{degrees}.jpg", on_circle(degrees)) for degrees in (60, 70, 100)))
    judge = Judge(3, NARROW)
    plain, wider = (
        search(index, [reference(*EAST)], Question(expand=one), judge)[0] for one in (False, True)
    )
    assert plain.matches == wider.matches


def test_no_photo_comes_twice_and_the_references_own_never(chain):
    asked = [reference(*EAST, path="/p/5.jpg")]
    for by in ("photo", "face"):
        (answer,) = search(chain, asked, Question(top=9, expand=True, by=by), Judge(5, NARROW))
        assert names(answer) == ["25", "50", "75", "290"]
    (answer,) = search(chain, asked, Question(top=1, expand=True), Judge(5, NARROW))
    assert names(answer) == ["25"]


def test_without_probabilities_nothing_is_sure_and_that_is_said(chain):
    with pytest.raises(ModelError, match="do not say how likely"):
        search(chain, [reference(*EAST)], Question(expand=True))


@pytest.mark.parametrize("top", [1, 2, 4])
@pytest.mark.parametrize("by", ["photo", "face"])
def test_of_equal_photos_those_that_are_there_come_first(make, tmp_path, top, by):
    """As when a folder was renamed: the index has its photos under both names."""
    there = []
    for number in (1, 2):
        there.append(tmp_path / f"new {number}.jpg")
        there[-1].touch()
    index = make(
        holding("/gone/1.jpg", on_circle(10)),
        holding("/gone/2.jpg", on_circle(20)),
        *(holding(str(path), on_circle(10 * number)) for number, path in enumerate(there, 1)),
    )
    (answer,) = search(index, [reference(*EAST)], Question(top=top, by=by))
    assert names(answer) == ["new 1", "1", "new 2", "2"][:top]
    assert [match.rank for match in answer.matches] == [1, 2, 3, 4][:top]
