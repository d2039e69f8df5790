"""Whatever is changed of people can be taken back exactly, whatever becomes of the photos meanwhile."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.known_people import WITHIN, grouped, kept, opened, shows, write_people

from facesearch.errors import PeopleError
from facesearch.faces import Box
from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import people_path
from facesearch.people import log
from facesearch.people.people import People
from facesearch.people.register import write_register

ADA, BEA, CLEO, DORA = range(4)
PHOTOS = [
    shows("/p/a.jpg", ADA, BEA),
    shows("/p/b.jpg", BEA),
    shows("/p/c.jpg", BEA, ADA),
    shows("/p/copy.jpg", BEA, ADA, content="/p/c.jpg"),
    shows("/p/d.jpg", CLEO),
    shows("/p/e.jpg", DORA, CLEO),
    shows("/p/f.jpg"),
]

which, who = st.integers(0, 20), st.integers(0, 6)
CHANGES = st.one_of(
    st.tuples(st.just("group")),
    st.tuples(st.just("name"), who, st.sampled_from(["Ada", "Bea", "Cleo"])),
    st.tuples(st.just("merge"), who, who),
    st.tuples(st.just("assign"), which, st.none() | who),
    st.tuples(st.just("ignore"), which),
    st.tuples(st.just("release"), which),
    st.tuples(st.just("reject"), which, who),
    st.tuples(st.just("hide"), who, st.booleans()),
    st.tuples(st.just("tag"), which, who, st.booleans()),
    st.tuples(st.just("cover"), who, which),
    st.tuples(st.just("tell_apart"), who, who),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "i.npz"


def state(people):
    """Return all that is known of the people, but not which faces were looked at by grouping, and when."""
    register = people.register.of_people()
    order = np.argsort(register.keys)
    tables = {name: table for name, table in register.facts.tables().items() if name != "grouping"}
    return register.keys[order].tolist(), register.person[order].tolist(), tables


class Changing:
    """Changes people by numbers, as far as there is something to change."""

    def __init__(self, people):
        self.people = people
        self.everyone = sorted(people.everyone(), key=lambda one: one.number)

    def person(self, number):
        return self.everyone[number % len(self.everyone)] if self.everyone else self.people.assign([0], None)

    def row(self, number):
        return number % self.people.index.face_count

    def group(self):
        self.people.group(WITHIN)

    def name(self, who, name):
        person = self.person(who)
        taken = {one.name for one in self.everyone if one.number != person.number}
        self.people.name(person, name if name not in taken else f"{name} {person.number}")

    def merge(self, who, other):
        self.people.merge(self.person(who), [self.person(other)])

    def assign(self, which, who):
        self.people.assign([self.row(which)], None if who is None else self.person(who))

    def ignore(self, which):
        self.people.ignore([self.row(which)])

    def release(self, which):
        self.people.release([self.row(which)])

    def reject(self, which, who):
        self.people.reject([self.row(which)], self.person(who))

    def hide(self, who, undo):
        self.people.hide([self.person(who)], undo=undo)

    def tag(self, which, who, undo):
        photo, person = which % self.people.index.photo_count, self.person(who)
        rows = self.people.index.faces_of(photo)
        there = person.number in self.people.whose[rows.start : rows.stop]
        if photo in self.people.tagged_photos(person) if undo else not there:
            self.people.tag(photo, person, Box(1, 2, 3, 4), undo=undo)

    def cover(self, who, which):
        self.people.cover(self.person(who), self.row(which))

    def tell_apart(self, who, other):
        one, other = self.person(who), self.person(other)
        if one.number != other.number:
            self.people.tell_apart(one.number, other.number, "two")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(CHANGES, min_size=1, max_size=10), away=st.sets(st.integers(0, 6), max_size=4))
def test_any_changes_are_undone_one_by_one_and_all_at_once(tmp_path_factory, changes, away):
    path = tmp_path_factory.mktemp("log") / "i.npz"
    write_people(path, PHOTOS)
    people = opened(path)
    states = [state(people)]
    for at, one in enumerate(changes):
        if at == len(changes) // 2:  # photos go and come back, others come for good
            write_people(path, [photo for number, photo in enumerate(PHOTOS) if number not in away])
            opened(path)
            write_people(path, [*PHOTOS, shows("/p/new.jpg", ADA, DORA)])
            people = opened(path)
        logged = len(people.log)
        getattr(Changing(people), one[0])(*one[1:])
        people = kept(path, people)
        assert len(people.log) - logged in (0, 1)
        if len(people.log) > logged:
            states.append(state(people))
        assert state(people) == states[-1]  # what is not logged changes nothing for anybody
    assert len(people.log) == len(states) - 1
    once = People(people.index, people.register)
    if once.log:
        once.undo(len(once.log))
        assert state(kept(path, once)) == states[0]
    for wanted in reversed(states[:-1]):
        people.undo()
        people = kept(path, people)
        assert state(people) == wanted
    assert people.log == ()


def test_what_was_done_is_said(path):
    people = grouped(path, PHOTOS)
    people.name(people.person(1), "Ada")
    people = kept(path, people)
    people.merge(people.person("Ada"), [people.person(2)])
    people = kept(path, people)
    people.assign([people.face("/p/d.jpg", 1)], None)
    people = kept(path, people)
    did = [entry.did for entry in people.log]
    assert did[0].startswith("grouped faces: 3 new people")
    assert did[1:] == [
        'named person 1 "Ada"',
        "merged Person 2 into Ada",
        "made Person 4 of d.jpg#1",
    ]
    assert [entry.did for entry in people.undo(2)] == did[:1:-1]
    assert len(people.person(2).faces) == 4


def test_there_is_no_more_to_undo_than_there_is(path):
    people = grouped(path, PHOTOS)
    with pytest.raises(PeopleError, match="Only 1 change can be taken back"):
        people.undo(2)
    people.undo()
    with pytest.raises(PeopleError, match="There is no change to undo") as caught:
        people.undo()
    assert caught.value.hint == ""


def test_who_forgot_something_is_told_why_there_is_nothing_to_undo(path):
    people = grouped(path, PHOTOS)
    index = replace(people.index, forgotten=np.ones((1, 16), np.uint8))
    people = People(index, people.register.without({PHOTOS[0].file.digest}))
    with pytest.raises(PeopleError, match="There is no change to undo") as caught:
        people.undo()
    assert "before `forget`" in caught.value.hint


def test_the_log_says_with_which_face_and_which_photo_something_was_done(path):
    people = grouped(path, PHOTOS)
    bea, face = people.person(1), people.face("/p/b.jpg", 1)
    bea = people.person(int(people.whose[face]))
    other = people.face("/p/d.jpg", 1)
    told = [
        (lambda: people.reject([face], bea), f"took b.jpg#1 out of {bea.title}"),
        (lambda: people.reject([other], bea), f"kept d.jpg#1 out of {bea.title}"),
        (lambda: people.assign([face], bea), f"gave b.jpg#1 to {bea.title}"),
        (lambda: people.assign([face, other], None), "made Person 4 of 2 faces"),
        (lambda: people.ignore([other]), "ignored d.jpg#1"),
        (lambda: people.release([other]), "stopped ignoring d.jpg#1"),
        (lambda: people.name(bea, "{Bea}"), f'named person {bea.number} "{{Bea}}"'),
        (
            lambda: people.name(people.person("{Bea}"), "Bea"),
            f'renamed person {bea.number} from "{{Bea}}" to "Bea"',
        ),
        (lambda: people.tag(6, people.person("Bea")), "tagged Bea on f.jpg"),
        (lambda: people.tag(6, people.person("Bea"), undo=True), "took the tag Bea off f.jpg"),
        (
            lambda: people.cover(people.person("Bea"), people.person("Bea").faces[0]),
            "chose a.jpg#2 as the picture of Bea",
        ),
    ]
    for change, did in told:
        change()
        assert people._entry().did.endswith(did)
    people = grouped(path, [shows("/p/\udcff\n.jpg", ADA), *PHOTOS])
    people.ignore([people.index.face_count - 1])
    assert people._entry().did == "ignored \\xff\\n.jpg#1"


def test_grouping_that_finds_nobody_is_no_change(path):
    people = grouped(path, PHOTOS)
    write_people(path, [*PHOTOS, shows("/p/other.jpg", 4)])
    people = opened(path)
    assert not people.up_to_date
    people.group(WITHIN)
    people = kept(path, people)
    assert (len(people.log), people.up_to_date) == (1, True)
    write_people(
        path, [*PHOTOS, shows("/p/other.jpg", 4), shows("/p/another.jpg", 4), shows("/p/g.jpg", ADA)]
    )
    people = opened(path)
    people.group(WITHIN)
    assert kept(path, people).log[-1].did == "grouped faces: 1 new person, 1 face joined known people"


def test_the_name_of_a_photo_that_was_forgotten_is_not_left_in_the_log(path):
    people = grouped(path, PHOTOS)
    people.ignore([people.face("/p/copy.jpg", 1)])
    register = kept(path, people).register
    assert register.without((), {"x.jpg"}) is register
    assert register.without((), {"copy.jpg"}).log == ()


def test_faces_of_photos_that_went_meanwhile_are_taken_back_when_they_come_again(path):
    people = grouped(path, PHOTOS)
    before = state(people)
    people.merge(people.person(1), [people.person(2)])
    kept(path, people)
    write_people(path, PHOTOS[4:])
    people = opened(path)
    people.undo()
    kept(path, people)
    write_people(path, PHOTOS)
    assert state(opened(path))[:2] == before[:2]


def test_faces_that_were_found_again_in_other_boxes_are_taken_back(path):
    people = grouped(path, PHOTOS)
    number = people.whose[people.face("/p/b.jpg", 1)]
    people.ignore([people.face("/p/b.jpg", 1)])
    kept(path, people)
    write_people(path, [shows("/p/b.jpg", BEA, shift=3), *PHOTOS[2:]])
    people = opened(path)
    people = kept(path, people)
    assert people.whose[people.face("/p/b.jpg", 1)] == 0
    people.undo()
    assert people.whose[people.face("/p/b.jpg", 1)] == number


def test_a_number_is_not_given_again_after_undo(path):
    people = grouped(path, PHOTOS)
    number = people.assign([people.face("/p/d.jpg", 1)], None).number
    people = kept(path, people)
    people.undo()
    people = kept(path, people)
    assert people.assign([people.face("/p/d.jpg", 1)], None).number == number + 1


def test_the_oldest_changes_are_no_longer_kept(path, monkeypatch):
    people = grouped(path, PHOTOS)
    monkeypatch.setattr(log, "MOST_ENTRIES", 3)
    for name in ("Ada", "Bea", "Cleo", "Dora"):
        people.name(people.person(1), name)
        people = kept(path, people)
    assert [entry.did.split()[-1] for entry in people.log] == ['"Bea"', '"Cleo"', '"Dora"']
    monkeypatch.setattr(log, "MOST_FACES", 1)
    people.ignore([0])
    people = kept(path, people)
    people.merge(people.person(1), [people.person(2)])
    assert [entry.did for entry in kept(path, people).log] == ["merged Person 2 into Dora"]


def test_nothing_is_logged_where_nothing_changed(path):
    people = grouped(path, PHOTOS)
    people.name(people.person(1), "Ada")
    people = kept(path, people)
    people.name(people.person(1), "Ada")
    assert len(kept(path, people).log) == 2


def again(path, people, was, now):
    """Index one photo in place of another, as if it had been saved again; return the people."""
    before = people.register
    faces = zip(was.faces, now.faces, strict=True)
    pairs = [((was.file.digest, one.box), (now.file.digest, other.box)) for one, other in faces]
    write_people(path, [now, *(photo for photo in PHOTOS if photo.path != now.path)])
    index = opened(path).index
    write_register(CompanionFile(people_path(path)), before.brought_up(index, pairs))
    return opened(path)


def test_what_was_said_of_a_photo_is_taken_back_once_it_was_saved_again(path):
    people = grouped(path, PHOTOS)
    whose, facts = people.whose[people.face("/p/b.jpg", 1)], people.facts.tables()
    person = people.person(int(whose))
    people.cover(person, people.face("/p/b.jpg", 1))
    people = kept(path, people)
    people.cover(person, people.face("/p/a.jpg", 2))
    people.reject([people.face("/p/b.jpg", 1)], person)
    people.tag(people.index.find("/p/b.jpg"), person)
    people = kept(path, people)
    people = again(path, people, PHOTOS[1], shows("/p/b.jpg", BEA, content="edited", shift=2))
    assert people.index.find("/p/b.jpg") in people.tagged_photos(person)
    people.undo()
    people = kept(path, people)
    row = people.face("/p/b.jpg", 1)
    assert people.facts.covers == {person.number: people.face_id(row)}
    assert people.portrait(people.person(person.number)) == row
    people.undo()
    people = kept(path, people)
    assert people.whose[people.face("/p/b.jpg", 1)] == whose
    assert people.facts.tables() == facts


def test_nothing_is_left_of_a_photo_as_it_was_before_it_was_saved_again(path):
    people = grouped(path, PHOTOS)
    edited = shows("/p/b.jpg", BEA, content="edited")
    people = again(path, people, PHOTOS[1], edited)
    assert PHOTOS[1].file.digest not in map(bytes, people.register.digest)
    register = people.register.without({edited.file.digest})
    assert not {PHOTOS[1].file.digest, edited.file.digest} & set(map(bytes, register.digest))


def test_of_a_copy_that_is_as_it_was_all_stays_true(path):
    people = grouped(path, PHOTOS)
    person = people.person(int(people.whose[people.face("/p/c.jpg", 1)]))
    people.reject([people.face("/p/c.jpg", 1)], person)
    people = kept(path, people)
    people = again(path, people, PHOTOS[2], shows("/p/c.jpg", BEA, ADA, content="edited"))
    people.facts.changed.add(person.number)
    people.group(WITHIN)
    assert people.whose[people.face("/p/c.jpg", 1)] != person.number
    assert people.whose[people.face("/p/copy.jpg", 1)] != person.number


def test_a_no_outlasts_that_faces_are_found_in_other_boxes(path):
    people = grouped(path, PHOTOS)
    person = people.person(int(people.whose[people.face("/p/b.jpg", 1)]))
    people.reject([people.face("/p/b.jpg", 1)], person)
    people.cover(person, people.face("/p/a.jpg", 2))
    kept(path, people)
    write_people(path, [shows("/p/a.jpg", ADA, BEA, shift=3), shows("/p/b.jpg", BEA, shift=3), *PHOTOS[2:]])
    people = opened(path)
    people.facts.changed.add(person.number)
    people.group(WITHIN)
    assert people.whose[people.face("/p/b.jpg", 1)] != person.number
    assert people.portrait(people.person(person.number)) == people.face("/p/a.jpg", 2)


def test_nobody_is_told_apart_from_themselves(path):
    people = grouped(path, PHOTOS)
    with pytest.raises(PeopleError, match="apart from themselves"):
        people.tell_apart(1, 1, "Ada")
    assert people.facts.apart == set()
