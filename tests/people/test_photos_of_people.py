"""Photos that show a person, several at once, or nobody else."""

import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.known_people import grouped, kept, opened, shows, write_people

from facesearch.embed.sface import CARD
from facesearch.errors import PeopleError
from facesearch.faces import NOWHERE, UNDATED, Box, Captured
from facesearch.judge import Judge
from facesearch.people.photos import PeopleQuery, photos_with

ADA, BEA, CLEO, DORA = range(4)
PHOTOS = [
    shows("/p/1-ada.jpg", ADA),
    shows("/p/2-ada-bea.jpg", ADA, BEA),
    shows("/p/3-all.jpg", CLEO, BEA, ADA),
    shows("/p/4-bea.jpg", BEA),
    shows("/p/5-ada-stranger.jpg", DORA, ADA),
    shows("/p/6-cleo.jpg", CLEO),
    shows("/p/7-mirror.jpg", ADA, ADA),
    shows("/p/8-copy.jpg", ADA, BEA, content="/p/2-ada-bea.jpg"),
    shows("/p/9-nobody.jpg"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "i.npz"
    people = grouped(path, PHOTOS)
    for row, name in zip([(1, 1), (2, 2), (3, 1)], ["Ada", "Bea", "Cleo"], strict=True):
        people.name(people.person(int(people.whose[face(people, *row)])), name)
    kept(path, people)
    return path


def face(people, photo, number):
    return people.face(people.index.path(photo - 1), number)


@pytest.fixture
def people(index):
    return opened(index)


def ask(people, *names, judge=None, **wish):
    answer = photos_with(people, [people.person(name) for name in names], PeopleQuery(**wish), judge)
    assert [match.rank for match in answer.matches] == list(range(1, len(answer.matches) + 1))
    return answer.matches


def numbers(matches):
    """Return the numbers of the photos as the file names tell them, in order."""
    return [int(match.path[3]) for match in matches]


def test_all_photos_of_a_person_each_once(people):
    assert sorted(numbers(ask(people, "Ada"))) == [1, 2, 3, 5, 7, 8]
    assert sorted(numbers(ask(people, "Cleo"))) == [3, 6]


def test_photos_that_show_both_and_all_three(people):
    assert sorted(numbers(ask(people, "Ada", "Bea"))) == [2, 3, 8]
    assert numbers(ask(people, "Ada", "Bea", "Cleo")) == [3]
    assert sorted(numbers(ask(people, "Bea", "Ada"))) == [2, 3, 8]


def test_one_face_is_never_two_people(people):
    """A photo with one face, or with the first person twice, does not show both."""
    both = ask(people, "Ada", "Bea", by="face")
    assert {(match.path, match.face) for match in both} == {
        (f"/p/{name}.jpg", number)
        for name, faces in (("2-ada-bea", (1, 2)), ("3-all", (2, 3)), ("8-copy", (1, 2)))
        for number in faces
    }
    assert len(both) == 6
    with pytest.raises(PeopleError, match="twice"):
        ask(people, "Ada", "ada")


def test_only_leaves_out_photos_with_anybody_else_even_a_stranger(people):
    assert sorted(numbers(ask(people, "Ada", only=True))) == [1, 7]
    assert sorted(numbers(ask(people, "Ada", "Bea", only=True))) == [2, 8]
    assert numbers(ask(people, "Cleo", only=True)) == [6]


def test_an_ignored_face_is_nobody(people):
    people.ignore([face(people, 5, 1), face(people, 3, 1)])
    assert sorted(numbers(ask(people, "Ada", only=True))) == [1, 5, 7]
    assert sorted(numbers(ask(people, "Ada", "Bea", only=True))) == [2, 3, 8]
    people.release([face(people, 5, 1)])
    assert 5 not in numbers(ask(people, "Ada", only=True))


def test_an_ignored_face_shows_nobody(people):
    people.ignore([face(people, 1, 1)])
    assert 1 not in numbers(ask(people, "Ada"))


def test_copies_of_a_photo_count_once_where_that_is_wanted(people):
    assert sorted(numbers(ask(people, "Ada", "Bea", unique=True))) == [2, 3]
    assert sorted(numbers(ask(people, "Ada", "Bea", unique=True, only=True))) == [2]


def test_each_photo_by_its_best_face_or_every_face(people):
    photo = [match for match in ask(people, "Ada") if match.path == "/p/7-mirror.jpg"]
    every = [match for match in ask(people, "Ada", by="face") if match.path == "/p/7-mirror.jpg"]
    assert [match.face for match in photo] == [every[0].face]
    assert {match.face for match in every} == {1, 2}
    assert every[0].distance <= every[1].distance
    assert len(ask(people, "Ada", by="face")) == 7


def test_the_distance_is_the_mean_one_from_the_persons_other_faces_and_orders_photos(people):
    rows = list(people.person("Ada").faces)
    vectors = people.index.vectors[rows].astype(np.float64)
    mean = cdist(vectors, vectors, "cosine").sum(axis=1) / (len(rows) - 1)
    matches = ask(people, "Ada", by="face")
    expected = {people.index.box(row): distance for row, distance in zip(rows, mean, strict=True)}
    assert [match.distance for match in ask(people, "Ada")] == sorted(m.distance for m in ask(people, "Ada"))
    for match in matches:
        row = people.face(match.path, match.face)
        assert match.distance == pytest.approx(mean[rows.index(row)], abs=1e-6)
        assert match.box in expected


def test_with_two_the_one_who_is_less_sure_decides_the_order(tmp_path):
    photos = [shows(f"/p/{at}.jpg", ADA, BEA, spread=0) for at in range(1, 6)]
    aside = {0: (0.0, 1.0), 1: (0.3, 0.0)}
    for at, (ada, bea) in aside.items():
        vectors = photos[at].vectors.copy()
        vectors[0, 100], vectors[1, 101] = ada, bea
        photos[at] = replace(photos[at], vectors=vectors)
    people = grouped(tmp_path / "i.npz", photos)
    assert numbers(ask(people, 1)) == [1, 3, 4, 5, 2]
    assert numbers(ask(people, 2))[-1] == 1
    both = ask(people, 1, 2)
    assert numbers(both) == [2, 3, 4, 5, 1]  # in the first photo the other one is far
    own = {match.path: match.distance for match in ask(people, 1)}
    assert {match.path: match.distance for match in both} == own


def test_ties_are_in_the_order_of_the_index(people):
    found = numbers(ask(people, "Ada", "Bea"))
    assert found.index(2) + 1 == found.index(8)  # copies: equal vectors, equal distances


@pytest.mark.parametrize("top", [1, 2, 6, 50])
def test_so_many_at_most(people, top):
    assert ask(people, "Ada", top=top) == ask(people, "Ada")[:top]


def test_a_threshold_leaves_out_what_is_farther(people):
    matches = ask(people, "Ada")
    limit = (matches[2].distance + matches[3].distance) / 2
    assert ask(people, "Ada", threshold=limit) == matches[:3]
    assert ask(people, "Ada", threshold=-1.0) == ()


def test_a_threshold_holds_for_each_of_several(people):
    matches = ask(people, "Ada", "Bea")
    bea = {match.path: match.distance for match in ask(people, "Bea")}
    limit = (bea[matches[0].path] + max(bea[match.path] for match in matches)) / 2
    left = ask(people, "Ada", "Bea", threshold=limit)
    assert {match.path for match in left} < {match.path for match in matches}
    assert all(bea[match.path] <= limit and match.distance <= limit for match in left)


@pytest.mark.parametrize("by", ["distance", "nearness in the library"])
def test_probabilities_come_with_a_calibration_and_limit(people, by):
    card = CARD if by == "nearness in the library" else replace(CARD, library=None)
    judge = Judge.of(card, people.index, "cosine")
    assert all(match.probability is None for match in ask(people, "Ada"))
    matches = ask(people, "Ada", judge=judge)
    assert all(match.probability > 0.9 and match.same for match in matches)
    told = sorted({match.probability for match in matches})
    limit = sum(told[-2:]) / 2
    left = ask(people, "Ada", judge=judge, min_probability=limit)
    assert numbers(left) == [
        number for number, match in zip(numbers(matches), matches, strict=True) if match.probability >= limit
    ]
    assert 0 < len(left) < len(matches)


def test_the_reference_is_the_portrait_under_the_persons_name(people):
    ada = people.person("Ada")
    answer = photos_with(people, [ada, people.person("Bea")], PeopleQuery())
    assert [reference.person for reference in answer.references] == ["Ada", "Bea"]
    first = answer.references[0]
    row = people.portrait(ada)
    assert people.face(first.path, first.face) == row
    assert first.box == people.index.box(row)
    np.testing.assert_array_equal(first.vector, people.index.vectors[row])


def test_one_who_is_in_no_photo_now_is_an_error_that_says_so(index, tmp_path):
    people = opened(index)
    path = tmp_path / "i.npz"
    write_people(path, PHOTOS[5:6])
    kept(path, people)
    with pytest.raises(PeopleError, match="Ada is in no photo of this index now"):
        ask(opened(path), "Ada")


def test_nobody_together_is_an_empty_answer(people):
    lone = people.assign([face(people, 5, 1)], None)
    assert ask(people, "Cleo", lone.number) == ()
    assert ask(people, lone.number)[0].distance == pytest.approx(0, abs=1e-6)
    assert PeopleQuery().threshold == math.inf


def test_photos_on_which_somebody_was_tagged_come_last_and_without_a_distance(people):
    ada, bea = people.person("Ada"), people.person("Bea")
    people.tag(8, ada)  # 9-nobody
    people.tag(3, ada, Box(1, 2, 3, 4))
    people.facts.tagged[people.index.digest[0].tobytes(), ada.number] = None  # her face was found later
    matches = ask(people, "Ada")
    assert sorted(numbers(matches[:-2])) == [1, 2, 3, 5, 7, 8]
    assert [(one.path[3], one.face, one.box, one.by_hand) for one in matches[-2:]] == [
        ("4", 0, Box(1, 2, 3, 4), True),
        ("9", 0, NOWHERE, True),
    ]
    assert all(math.isnan(one.distance) for one in matches[-2:])
    assert numbers(ask(people, "Ada", top=7))[6:] == [4]
    assert sorted(numbers(ask(people, "Ada", "Bea"))) == [2, 3, 4, 8]
    assert sorted(numbers(ask(people, "Ada", threshold=1))) == [1, 2, 3, 5, 7, 8]
    assert 9 in numbers(ask(people, "Ada", only=True))
    people.release(ada.faces)
    people.release(bea.faces)
    answer = photos_with(people, [people.person("Ada")], PeopleQuery())
    assert [one.path[3] for one in answer.matches] == ["1", "4", "9"]
    assert answer.references[0].person == "Ada"


def test_photos_of_a_time_and_in_its_order(tmp_path):
    dates = {"1": datetime(2019, 5, 5), "2": datetime(2021, 1, 1), "3": datetime(2018, 12, 31, 23, 59)}
    photos = [
        shows(f"/p/{name}.jpg", ADA, captured=Captured.at(date).code) for name, date in sorted(dates.items())
    ]
    photos += [shows("/p/4.jpg", ADA, captured=UNDATED), shows("/p/5.jpg", ADA)]
    people = grouped(tmp_path / "dated.npz", photos)
    people.name(people.person(1), "Ada")
    matches = photos_with(people, [people.person("Ada")], PeopleQuery(sort="date")).matches
    assert numbers(matches)[:3] == [3, 1, 2]
    assert sorted(numbers(matches[3:])) == [4, 5]
    assert sorted(numbers(ask(people, "Ada", since=datetime(2019, 1, 1)))) == [1, 2]
    assert numbers(ask(people, "Ada", until=datetime(2019, 1, 1))) == [3]
    assert numbers(ask(people, "Ada", since=datetime(2019, 1, 1), until=datetime(2020, 1, 1))) == [1]
    assert people.years(people.everyone()) == [(2018, 2021)]
    people.tag(0, people.assign([people.face("/p/4.jpg", 1)], None))
    assert people.years(people.everyone())[1] is None
