"""Who is who stays so: whatever becomes of the photos, and whatever is said of the faces."""

import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from support.known_people import WITHIN, grouped, kept, opened, shows, whose, write_people

from facesearch.errors import PeopleError
from facesearch.faces import Box
from facesearch.index.npz.store import people_path
from facesearch.people.facts import Facts
from facesearch.people.grouping import _Groups
from facesearch.people.people import Grouped, People
from facesearch.people.register import Register, _overlaps

ADA, BEA, CLEO, DORA = range(4)
PHOTOS = [
    shows("/p/a.jpg", ADA, BEA),
    shows("/p/b.jpg", BEA),
    shows("/p/c.jpg", BEA, ADA),
    shows("/p/d.jpg", CLEO),
    shows("/p/e.jpg"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "i.npz"


@pytest.fixture
def people(path):
    return grouped(path, PHOTOS)


def faces_of(people, who):
    return [people.index.path(int(people.index.photo[row])) for row in people.person(who).faces]


def test_people_are_numbered_by_their_first_faces_and_listed_by_photos(path):
    write_people(path, PHOTOS)
    people = opened(path)
    assert people.group(WITHIN) == Grouped(new=2, joined=0, alone=1)
    assert faces_of(people, 1) == ["/p/a.jpg", "/p/c.jpg"]
    assert faces_of(people, 2) == ["/p/a.jpg", "/p/b.jpg", "/p/c.jpg"]
    assert whose(people)["/p/d.jpg", 1] == -1
    assert [(one.number, one.photos) for one in people.everyone()] == [(2, 3), (1, 2)]
    assert [one.title for one in people.everyone()] == ["Person 2", "Person 1"]


def test_the_named_come_first_by_name_whatever_its_capitals(people):
    people.name(people.person(1), "bea")
    people.assign([people.face("/p/d.jpg", 1)], None)
    people.name(people.person(3), "Ada")
    assert [one.title for one in people.everyone()] == ["Ada", "bea", "Person 2"]


def test_what_is_new_joins_who_is_known_and_numbers_and_names_stay(path, people):
    people.name(people.person(1), "Ada")
    people = kept(path, people)
    before = whose(people)
    write_people(path, [*PHOTOS, shows("/p/0.jpg", ADA, DORA), shows("/p/z.jpg", CLEO)])
    people = opened(path)
    assert people.group(WITHIN) == Grouped(new=1, joined=1, alone=1)
    after = whose(people)
    assert {face: after[face] for face in before if before[face] > 0} == {
        face: number for face, number in before.items() if number > 0
    }
    assert after["/p/0.jpg", 1] == 1
    assert after["/p/d.jpg", 1] == after["/p/z.jpg", 1] == 3
    assert people.person("Ada").photos == 3


CONTENTS = st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), min_size=1, max_size=8)
FATES = st.lists(
    st.tuples(st.sampled_from(["stays", "moves", "goes", "copied"]), st.integers(-20, 20)),
    min_size=8,
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(contents=CONTENTS, fates=FATES, new=CONTENTS)
def test_whatever_becomes_of_photos_their_faces_stay_who_they_are(contents, fates, new):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i.npz"
        names = [f"/p/{at}.jpg" for at in range(len(contents))]
        first = [shows(name, *persons) for name, persons in zip(names, contents, strict=True)]
        people = grouped(path, first)
        known = {face: number for face, number in whose(people).items() if number > 0}
        for number in sorted(set(known.values())):
            people.name(people.person(number), f"Nora {number}")
        kept(path, people)

        later = [shows(f"/q/{at}.jpg", *persons) for at, persons in enumerate(new)]
        now = {}
        for name, persons, (fate, shift) in zip(names, contents, fates, strict=False):
            places = {"stays": [name], "moves": [f"/r{name}"], "goes": [], "copied": [name, f"/r{name}"]}
            now[name] = places[fate]
            later += [shows(place, *persons, content=name, shift=shift) for place in now[name]]
        people = grouped(path, later)
        after = whose(people)
        for (name, face), number in known.items():
            for place in now[name]:
                assert after[place, face] == number
            assert people.person(number).title == f"Nora {number}"

        people = grouped(path, [*first, *later])  # what was gone is back
        again = whose(people)
        assert {face: again[face] for face in known} == known
        assert {face: again[face] for face in after if after[face] > 0} == {
            face: number for face, number in after.items() if number > 0
        }


def test_who_is_in_no_photo_now_is_kept_with_the_name(path, people):
    people.name(people.person(2), "Bea")
    kept(path, people)
    write_people(path, PHOTOS[3:])
    people = opened(path)
    bea = people.person("bea")
    assert (bea.number, bea.faces, bea.photos) == (2, (), 0)
    assert people.everyone() == [bea]
    assert people.person(1).faces == ()  # without a name too, as long as a face is kept
    people = grouped(path, [shows("/p/x.jpg", DORA), shows("/p/y.jpg", DORA)])
    assert people.everyone()[1].number == 3


def test_copies_of_a_photo_alone_make_no_person(path):
    copies = [shows(f"/p/{at}.jpg", ADA, content="one") for at in range(5)]
    assert grouped(path, copies).everyone() == []
    people = grouped(path, [*copies, shows("/p/other.jpg", ADA)])
    (ada,) = people.everyone()
    assert (len(ada.faces), ada.photos) == (6, 6)
    assert len(people.register.person) == 2


def test_a_face_that_was_alone_is_found_by_a_new_one_and_not_looked_for_again(path, people, monkeypatch):
    searched = []
    monkeypatch.setattr(_Groups, "nearest", _counting(_Groups.nearest, searched))
    people.group(WITHIN)
    assert searched == []
    write_people(path, [*PHOTOS, shows("/p/new.jpg", CLEO, DORA)])
    people = opened(path)
    assert people.group(WITHIN) == Grouped(new=1, joined=0, alone=1)
    assert searched[0] == 2
    assert faces_of(people, 3) == ["/p/d.jpg", "/p/new.jpg"]


def test_by_another_distance_or_model_all_faces_look_again(path):
    photos = [shows("/p/a.jpg", ADA), shows("/p/b.jpg", ADA)]
    write_people(path, photos)
    people = opened(path)
    assert people.group(0.01).alone == 2
    assert kept(path, people).group(0.01).new == 0
    assert kept(path, people).group(WITHIN).new == 1
    other = replace(people.index, meta=replace(people.index.meta, model_digest="sha256:" + 64 * "0"))
    people = kept(path, people)
    assert People(other, people.register).group(0.01).alone == 2


def test_a_person_who_was_changed_by_hand_looks_at_the_faces_that_are_alone(path):
    photos = [*(shows(f"/p/{at}.jpg", ADA) for at in range(3)), shows("/p/bea.jpg", BEA)]
    grouped(path, photos)
    write_people(path, [*photos, shows("/p/other.jpg", BEA)])
    people = opened(path)
    people.assign([people.face("/p/other.jpg", 1)], people.person(1))
    assert people.group(WITHIN) == Grouped(new=0, joined=0, alone=1)
    people = kept(path, people)
    people.ignore(people.person(1).faces[:3])
    people = kept(path, people)
    assert people.register.facts.changed == {1}
    assert people.group(WITHIN).joined == 1
    assert people.register.facts.changed == frozenset()


def test_of_who_is_alone_nothing_is_kept_when_the_photo_is_gone(path, people):
    assert -1 in people.register.person
    write_people(path, PHOTOS[:3])
    assert -1 not in kept(path, opened(path)).register.person


def _counting(nearest, searched):
    def counted(groups, rows, *least):
        searched.append(len(rows))
        return nearest(groups, rows, *least)

    return counted


def test_a_person_twice_in_one_photo_is_in_one_photo(path):
    people = grouped(path, [shows("/p/mirror.jpg", ADA, ADA), shows("/p/b.jpg", ADA)])
    (ada,) = people.everyone()
    assert (len(ada.faces), ada.photos) == (3, 2)
    assert people.person(1) == ada


def test_two_who_were_named_apart_are_not_joined_by_grouping(path):
    people = grouped(path, [shows(f"/p/{at}.jpg", ADA) for at in range(4)])
    twin = people.assign(people.person(1).faces[2:], None)
    people = kept(path, people)
    people.group(WITHIN)
    assert [len(one.faces) for one in people.everyone()] == [2, 2]
    assert people.person(twin.number).faces == twin.faces


def test_the_number_of_one_who_is_gone_is_given_to_nobody(path, people):
    people.remove(people.person(2))
    people.merge(people.assign([people.face("/p/d.jpg", 1)], None), [people.person(1)])
    people = kept(path, people)
    people.group(WITHIN)
    assert sorted(one.number for one in people.everyone()) == [3, 4]
    people = kept(path, people)
    people.merge(people.person(3), [people.person(4)])
    people = kept(path, people)
    assert people.assign([people.face("/p/b.jpg", 1)], None).number == 5


def test_merging_keeps_number_and_name_of_the_first(people):
    people.name(people.person(1), "Ada")
    people.name(people.person(2), "Bea")
    both = people.merge(people.person("Ada"), [people.person("Bea")])
    assert (both.number, both.name, len(both.faces)) == (1, "Ada", 5)
    assert people.everyone() == [both]
    with pytest.raises(PeopleError, match="'Bea'"):
        people.person("Bea")


def test_merging_takes_the_others_name_where_the_first_has_none(people):
    people.name(people.person(2), "Bea")
    assert people.merge(people.person(1), [people.person(1), people.person(2)]).name == "Bea"


def test_merging_with_oneself_changes_nothing(people):
    people.name(people.person(1), "Ada")
    before = people.everyone()
    people.merge(people.person(1), [people.person(1)])
    assert people.everyone() == before


def test_merging_reaches_faces_that_are_not_in_the_index_now(path, people):
    write_people(path, PHOTOS[3:])
    people = opened(path)
    people.merge(people.person(1), [people.person(2)])
    kept(path, people)
    write_people(path, PHOTOS)
    assert len(opened(path).person(1).faces) == 5


def test_faces_are_given_to_a_new_person_or_another_with_the_copies_of_their_photos(path):
    people = grouped(path, [*PHOTOS, shows("/p/copy.jpg", BEA, content="/p/b.jpg")])
    new = people.assign([people.face("/p/b.jpg", 1)], None)
    assert faces_of(people, new.number) == ["/p/b.jpg", "/p/copy.jpg"]
    people = kept(path, people)
    assert people.person(new.number) == new
    assert len(people.assign(new.faces, people.person(1)).faces) == 4
    with pytest.raises(PeopleError, match="no person 3"):
        people.person(new.number)


def test_ignored_faces_are_nobodys_until_they_are_heeded(path, people):
    face = people.face("/p/b.jpg", 1)
    people.ignore([face])
    people = kept(path, people)
    people.group(WITHIN)
    assert people.whose[face] == 0
    assert face not in people.person(2).faces
    people.release([face])
    assert people.whose[face] == -1
    people.group(WITHIN)
    assert people.whose[face] == 2


def test_ignored_faces_do_not_draw_others(path):
    people = grouped(path, [shows(f"/p/{at}.jpg", ADA) for at in range(3)])
    people.ignore(people.person(1).faces[:2])
    people.release(people.person(1).faces)
    assert people.group(WITHIN) == Grouped(new=0, joined=0, alone=1)


@pytest.mark.parametrize(
    "who", ["Ada Lovelace", "ADA LOVELACE", " ada  lovelace ", 1, "1", "01", "Person 1", "person  01"]
)
def test_a_person_is_found_by_number_or_name(people, who):
    people.name(people.person(1), "Ada Lovelace")
    assert people.person(who).number == 1


def test_a_name_is_found_however_its_characters_are_composed(people):
    people.name(people.person(1), unicodedata.normalize("NFD", "Zoë"))
    assert people.person(1).name == unicodedata.normalize("NFC", "Zoë")
    assert people.person(unicodedata.normalize("NFD", "zoë")).number == 1


@pytest.mark.parametrize(
    "who", ["0", 0, "3", "-1", -1, "²", "", "9" * 18, "9" * 19, "9" * 5000, "Bea", "\udcff", "1.0"]
)
def test_who_is_not_there_is_not_found(people, who):
    people.ignore([people.face("/p/d.jpg", 1)])  # 0 is no person for that
    with pytest.raises(PeopleError) as caught:
        people.person(who)
    assert "people list" in caught.value.hint


def test_a_name_that_looks_like_a_number_of_another_person_stays_a_name(people):
    people.facts.names[1] = "Person 2"  # an older facesearch allowed it
    assert people.person("person 2").number == 1
    assert people.person("Person 1").number == 1


def test_accents_may_be_missing_where_one_person_is_meant(people):
    people.name(people.person(1), "Václav Havel")
    for who in ("vaclav", "VACLAV HAVEL", "Vaclav  Havel", "Havel"):
        assert people.person(who, exact=False).number == 1
    with pytest.raises(PeopleError, match="Nobody is called") as caught:
        people.person("Vaclav Havel")
    assert caught.value.hint == "Did you mean 'Václav Havel'?"
    people.name(people.person(2), "Vaclav Havel")
    assert people.person("VACLAV HAVEL", exact=False).number == 2
    assert people.person("václav havel", exact=False).number == 1
    with pytest.raises(PeopleError, match="Several people"):
        people.person("havel", exact=False)


def test_names_are_in_order_whatever_their_accents(people):
    people.name(people.person(1), "Émile")
    people.name(people.person(2), "Fritz")
    people.name(people.assign([people.face("/p/d.jpg", 1)], None), "Ada")
    assert [one.name for one in people.everyone()] == ["Ada", "Émile", "Fritz"]


def test_photos_that_were_tagged_count_once_and_everywhere(path):
    copy = shows("/p/copy.jpg", CLEO, content="/p/d.jpg")
    people = grouped(path, [*PHOTOS, copy])
    people.tag(people.index.find("/p/d.jpg"), people.person(1))
    people.tag(people.index.find("/p/e.jpg"), people.person(1))
    ada = people.person(1)
    assert (ada.photos, ada.tagged, len(ada.faces)) == (5, 3, 2)
    assert ada in people.everyone()
    assert people.everyone()[0] == ada
    people.assign([people.face("/p/d.jpg", 1)], ada)  # a face is found there after all
    ada = people.person(1)
    assert (ada.photos, ada.tagged, len(ada.faces)) == (5, 1, 4)
    assert people.everyone()[0] == ada
    people.tag(people.index.find("/p/e.jpg"), ada, undo=True)
    assert people.person(1).photos == 4
    kept(path, people)
    write_people(path, PHOTOS[:1])
    assert opened(path).person(1).photos == 1


def test_a_photo_with_a_face_of_a_person_takes_no_tag(people):
    with pytest.raises(PeopleError, match="A face of Person 1 was found"):
        people.tag(people.index.find("/p/a.jpg"), people.person(1))
    assert people.facts.tagged == {}


def test_a_name_that_is_nearly_one_is_guessed(people):
    people.name(people.person(1), "Ada")
    with pytest.raises(PeopleError) as caught:
        people.person("Adda")
    assert caught.value.hint == "Did you mean 'Ada'?"


def test_a_part_of_a_name_will_do_where_it_is_one_persons_and_nothing_is_changed(people):
    people.name(people.person(1), "Serena Jameka Williams")
    for part in ("Serena", "williams", "Serena Jameka", "jameka  WILLIAMS"):
        assert people.person(part, exact=False).number == 1
        with pytest.raises(PeopleError, match="Nobody is called"):
            people.person(part)
    for part in ("Seren", "Serena Williams", ""):
        with pytest.raises(PeopleError):
            people.person(part, exact=False)
    people.name(people.person(2), "Venus Williams")
    with pytest.raises(
        PeopleError, match=r"Several people are called 'Williams': 'Serena.*', 'Venus"
    ) as caught:
        people.person("Williams", exact=False)
    assert caught.value.hint == "Give the whole name."


@pytest.mark.parametrize("name", ["Ada", "ADA", " ada"])
def test_a_name_is_one_persons(people, name):
    people.name(people.person(1), "Ada")
    with pytest.raises(PeopleError, match="Person 1 is called 'Ada' already") as caught:
        people.name(people.person(2), name)
    assert "merge 1 2" in caught.value.hint
    assert people.person(2).name == ""
    assert people.name(people.person(1), name).name == name.strip()  # one's own may be written anew


@pytest.mark.parametrize(
    ("photo", "number"), [("/p/none.jpg", 1), ("/p/a.jpg", 0), ("/p/a.jpg", 3), ("/p/e.jpg", 1)]
)
def test_a_face_that_is_not_there(people, photo, number):
    with pytest.raises(PeopleError, match=photo):
        people.face(photo, number)


def test_it_is_known_whether_the_index_changed_since(path, people):
    assert people.up_to_date
    index = people.index
    later = replace(index, meta=replace(index.meta, updated="2100-01-01T00:00:00+00:00"))
    assert not People(later, people.register).up_to_date


def test_the_distance_is_the_mean_one_from_the_others(people):
    rows = list(people.person(2).faces)
    vectors = people.index.vectors[rows].astype(np.float64)
    distances = cdist(vectors, vectors, "cosine").sum(axis=1) / (len(rows) - 1)
    np.testing.assert_allclose(people.mean_distances(rows), distances, atol=1e-6)
    np.testing.assert_allclose(people.mean_distances(rows[:1]), 0, atol=1e-6)
    assert len(people.mean_distances([])) == 0


def portrait_by_hand(people, person):
    """Say in other words which face shows a person best."""
    boxes = people.index.boxes
    areas = {row: int(boxes[row, 2]) * int(boxes[row, 3]) for row in person.faces}
    large = [row for row in person.faces if areas[row] >= np.median(list(areas.values()))]
    vectors = people.index.vectors[large].astype(np.float64)
    far = cdist(vectors, vectors, "cosine").mean(axis=1)
    return {row for row, distance in zip(large, far, strict=True) if distance <= far.min() + 1e-6}


@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(st.integers(-1, 5), min_size=12, max_size=12), names=st.sets(st.integers(1, 7)))
def test_everyone_and_their_portraits_are_what_a_plain_count_gives(many, numbers, names):
    many.whose[:] = numbers
    many.facts.names = {number: f"N{number}" for number in names}
    photo = many.index.photo
    everyone = many.everyone()
    assert {one.number for one in everyone} == {number for number in numbers if number > 0} | names
    for one in everyone:
        rows = [row for row, number in enumerate(numbers) if number == one.number]
        assert one.faces == tuple(rows)
        assert one.photos == len({int(photo[row]) for row in rows})
        assert one.name == (f"N{one.number}" if one.number in names else "")
        assert many.person(one.number) == one
    shown = [one for one in everyone if one.faces]
    for one, portrait in zip(shown, many.portraits(shown), strict=True):
        assert portrait in portrait_by_hand(many, one)
        assert many.portrait(one) == portrait


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "i.npz"
    photos = [shows(f"/p/{at}.jpg", *range(at % 4), spread=2) for at in range(9)]
    return opened(write_people(path, photos))


def test_nobody_has_no_portrait_to_choose(many):
    assert many.portraits([]) == []


BOXES = st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 99), st.integers(1, 99))


@given(BOXES, BOXES)
def test_boxes_overlap_by_the_array_as_one_by_one(one, other):
    (found,) = _overlaps(np.array([one], np.int32), np.array([other], np.int32))
    assert found == pytest.approx(Box(*one).overlap(Box(*other)))


def test_boxes_that_reach_to_the_end_of_their_numbers():
    far = np.array([[2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1]], np.int32)
    assert _overlaps(far, far).tolist() == [1.0]


def test_faces_in_other_boxes_are_known_by_half_an_overlap_and_not_by_less(path):
    people = grouped(path, [shows(f"/p/{at}.jpg", ADA) for at in range(2)])
    number = people.everyone()[0].number
    for shift, known in ((26, True), (27, False)):  # of a box of 80 x 80
        write_people(path, [shows(f"/p/{at}.jpg", ADA, shift=shift) for at in range(2)])
        assert set(whose(opened(path)).values()) == {number if known else -1}
        assert len(opened(path).register.person) == 2


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_faces_that_overlap_the_nearest_is_the_same(people, order):
    """Which comes first in the list does not decide."""
    index = people.index
    known = np.array([[0, 0, 100, 100], [30, 0, 100, 100]], np.int32)
    register = Register(index.digest[[0, 0]], known[order], np.array([7, 8], np.int32)[order], Facts(), 8)
    found = index.boxes.copy()
    found[list(index.faces_of(0))] = [[29, 0, 100, 100], [2, 0, 100, 100]]
    again = People(replace(index, boxes=found), register)
    assert again.whose[list(index.faces_of(0))].tolist() == [8, 7]
    assert set(again.whose[2:].tolist()) == {-1}


def test_one_known_face_is_one_face_of_a_photo(people):
    index = people.index
    known = np.array([[10, 0, 100, 100]], np.int32)
    found = index.boxes.copy()
    found[list(index.faces_of(0))] = [
        [0, 0, 100, 100],
        [15, 0, 100, 100],
    ]  # both overlap it by more than half
    register = Register(index.digest[[0]], known, np.array([7], np.int32), Facts(), 7)
    again = People(replace(index, boxes=found), register)
    assert again.whose[list(index.faces_of(0))].tolist() == [-1, 7]


def test_nothing_is_written_by_looking(path):
    write_people(path, PHOTOS)
    people = opened(path)
    people.group(WITHIN)
    assert not people_path(path).exists()
