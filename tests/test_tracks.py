"""Faces are followed through a clip: one appearance from when a face comes until it goes."""

import numpy as np
import pytest

from facesearch.embed.sface import CARD
from facesearch.faces import Box, Face, Moment
from facesearch.tracks import Look, Tracks

ADA, BEA, CLEO = range(3)


def look(moment, *who, alike=False, cut=False, score=0.9, turned=0.0, length=16.0):
    """Return a look at people, each as (person, x); a turned face is less like itself."""
    faces = tuple(Face(Box(x, 20, 80, 90), score) for _, x in who)
    vectors = np.zeros((len(who), CARD.dim), np.float32)
    for at, (person, _) in enumerate(who):
        vectors[at, person] = 1.0
        vectors[at, 50 + moment // 1000 % 20] = turned
        vectors[at] *= length / np.linalg.norm(vectors[at])
    return Look(moment, faces, vectors, alike=alike, cut=cut)


def followed(*looks):
    tracks = Tracks(CARD)
    for one in looks:
        tracks.add(one)
    faces, vectors = tracks.finish()
    return [(int(np.argmax(np.abs(vectors[at][:50]))), *face.moment) for at, face in enumerate(faces)]


def test_one_appearance_is_one_row_with_its_times():
    found = followed(
        look(0),
        look(1000),
        look(2000, (ADA, 100)),
        look(3000, (ADA, 140)),
        look(4000, (ADA, 200)),
        look(5000),
    )
    assert found == [(ADA, 1500, 4500, 2000)]


def test_who_is_there_from_the_beginning_to_the_end():
    assert followed(look(0, (ADA, 100)), look(1000, (ADA, 120))) == [(ADA, 0, 1000, 0)]


def test_two_people_cross():
    """Where they are does not decide, but who they are."""
    found = followed(
        look(0, (ADA, 0), (BEA, 300)),
        look(1000, (ADA, 140), (BEA, 160)),
        look(2000, (BEA, 20), (ADA, 280)),
        look(3000, (BEA, 20)),
    )
    assert sorted(found) == [(ADA, 0, 2500, 0), (BEA, 0, 3000, 0)]


def test_who_comes_back_after_long_is_seen_a_second_time():
    found = followed(
        look(0, (ADA, 0)), look(1000), look(2000, (ADA, 0)), look(9000, (ADA, 0)), look(9500, (ADA, 0))
    )
    assert sorted(found) == [(ADA, 0, 5500, 0), (ADA, 5500, 9500, 9000)]


def test_a_scene_begins_with_its_cut():
    found = followed(
        look(0, (ADA, 0)), look(1000, (ADA, 0)), look(1700, (BEA, 0), cut=True), look(2700, (BEA, 0))
    )
    assert found == [(ADA, 0, 1699, 0), (BEA, 1700, 2700, 1700)]


def test_what_is_alike_goes_on():
    found = followed(look(0, (ADA, 0)), look(1000, alike=True), look(8000, alike=True), look(9000))
    assert found == [(ADA, 0, 8500, 0)]


def test_a_face_that_is_turned_is_kept_beside_the_best():
    found = followed(look(0, (ADA, 0)), look(1000, (ADA, 10), turned=1.2, length=14.0), look(2000, (ADA, 20)))
    assert [row[3] for row in found] == [0, 1000]
    assert {row[1:3] for row in found} == {(0, 2000)}
    poor = followed(look(0, (ADA, 0)), look(1000, (ADA, 10), turned=1.2, length=5.0), look(2000, (ADA, 20)))
    assert [row[3] for row in poor] == [0]


def test_the_best_look_is_kept():
    assert followed(look(0, (ADA, 0), length=8.0), look(1000, (ADA, 9), length=18.0))[0][3] == 1000


def test_what_is_seen_once_and_unsurely_is_none():
    assert followed(look(0), look(1000, (ADA, 0), score=0.6), look(2000)) == []
    assert len(followed(look(0), look(1000, (ADA, 0), score=0.9), look(2000))) == 1


def test_boxes_of_a_clip_are_never_the_same():
    tracks = Tracks(CARD)
    for second in range(0, 50, 10):
        tracks.add(look(1000 * second, (second // 10, 0)))
    faces, _ = tracks.finish()
    assert len({face.box for face in faces}) == len(faces) == 5


def test_boxes_of_many_appearances_stay_where_the_faces_are():
    tracks = Tracks(CARD)
    for number in range(400):
        tracks.add(look(10_000 * number, (number % 2, 0)))
    faces, _ = tracks.finish()
    assert len({face.box for face in faces}) == len(faces) == 400
    first = look(0, (0, 0)).faces[0].box
    assert min(first.overlap(face.box) for face in faces) > 0.5


def test_nothing_is_followed_where_nothing_is_seen():
    faces, vectors = Tracks(CARD).finish()
    assert faces == ()
    assert len(vectors) == 0


@pytest.mark.parametrize("moment", [Moment(0, 5, 9), Moment(5, 9, 0), Moment(-1, 2, 3), Moment(-2, -3, -2)])
def test_moments_that_are_none_are_refused_by_an_index(moment):
    from facesearch.index.index import are_moments

    assert not are_moments(np.array([moment], np.int32))
