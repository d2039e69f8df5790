"""Groups are those of scipy's average linkage where that is asked for, and known people stay who they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from facesearch.people import grouping
from facesearch.people.grouping import ALONE, group_faces

EXAMPLES = settings(max_examples=40, deadline=None)


def faces_of(people, each, *, spread=0.5, dim=32, seed=0):
    """Return vectors of people, mixed and of any length, around one direction each, and whose they are."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(people, dim)) / np.sqrt(dim)
    person = rng.permutation(np.repeat(np.arange(people), each))
    vectors = middles[person] + spread * rng.normal(size=(len(person), dim)) / np.sqrt(dim)
    return (vectors * rng.uniform(0.5, 20, (len(person), 1))).astype(np.float32), person


def same_partition(one, other):
    return len(np.unique(np.stack([one, other]), axis=1).T) == len(np.unique(one)) == len(np.unique(other))


@EXAMPLES
@given(
    people=st.integers(1, 12),
    each=st.integers(1, 6),
    spread=st.sampled_from([0.3, 0.8, 1.5]),
    within=st.sampled_from([0.2, 0.5, 0.8]),
    seed=st.integers(0, 10_000),
)
def test_without_centring_it_is_average_linkage(people, each, spread, within, seed):
    vectors, _ = faces_of(people, each, spread=spread, seed=seed)
    found = group_faces(vectors, within=within, centring=0.0)
    if len(vectors) == 1:
        assert found.tolist() == [0]
        return
    flat = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    tree = linkage(pdist(flat.astype(np.float64), "cosine"), "average")
    # A join at the very limit may fall on either side of it.
    if np.abs(tree[:, 2] - within).min() > 1e-5:
        assert same_partition(found, fcluster(tree, within, "distance"))


@pytest.mark.parametrize("centring", [0.0, 0.85, 1.0])
def test_people_who_are_far_apart_are_found_and_numbered_by_their_first_faces(centring):
    vectors, person = faces_of(20, 7, spread=0.4, dim=64)
    found = group_faces(vectors, within=0.5, centring=centring)
    assert same_partition(found, person)
    firsts = [int(np.flatnonzero(found == number)[0]) for number in range(20)]
    assert firsts == sorted(firsts)


def test_a_block_at_a_time_gives_the_same(monkeypatch):
    vectors, _ = faces_of(30, 5, spread=0.8)
    at_once = group_faces(vectors, within=0.6)
    monkeypatch.setattr(grouping, "BLOCK", 7)
    monkeypatch.setattr(grouping, "TILE", 11)
    np.testing.assert_array_equal(group_faces(vectors, within=0.6), at_once)


def test_grainy_copies_of_faces_fall_apart_by_average_linkage_and_stay_together_here():
    vectors, person = faces_of(10, 4, spread=0.75, dim=256)
    rng = np.random.default_rng(1)
    flat = np.repeat(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 12, axis=0)
    grainy = (flat + 0.5 * rng.normal(size=flat.shape) / 16).astype(np.float32)
    person = np.repeat(person, 12)
    assert same_partition(group_faces(grainy, within=0.45), person)
    assert len(np.unique(group_faces(grainy, within=0.45, centring=0.0))) > 10


def test_new_faces_join_the_people_they_belong_to_and_known_ones_keep_their_numbers():
    vectors, person = faces_of(12, 6, spread=0.4, dim=64)
    known = np.where((np.arange(len(person)) % 3 > 0) & (person < 8), 100 + person, ALONE)
    found = group_faces(vectors, within=0.5, known=known)
    for one in range(8):
        assert set(found[person == one]) == {100 + one}
    assert set(found[person >= 8]) == {108, 109, 110, 111}
    assert same_partition(found, person)


def test_known_people_are_never_joined_however_near_and_never_taken_apart_however_far():
    one, other = np.eye(2, 8, dtype=np.float32)
    vectors = np.stack([one, one, one, other, -one])
    known = np.array([3, 5, ALONE, 3, 5])
    found = group_faces(vectors, within=0.5, known=known)
    assert found[[0, 1, 3, 4]].tolist() == [3, 5, 3, 5]


def test_the_same_faces_again_change_nothing():
    vectors, _ = faces_of(15, 4, spread=0.9)
    found = group_faces(vectors, within=0.6)
    np.testing.assert_array_equal(group_faces(vectors, within=0.6, known=found), found)


@pytest.mark.slow
@given(each=st.integers(1, 5), came=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_who_was_grouped_before_need_not_look_again(each, came, seed):
    vectors, _ = faces_of(8, each + 1, spread=0.5, seed=seed)
    new = np.isin(np.arange(len(vectors)), np.random.default_rng(seed).permutation(len(vectors))[:came])
    groups = group_faces(vectors[~new], within=0.5)
    counts = np.bincount(groups)
    known = np.full(len(vectors), ALONE)
    known[~new] = np.where(counts[groups] > 1, groups, ALONE)
    all_look = group_faces(vectors, within=0.5, known=known)
    np.testing.assert_array_equal(group_faces(vectors, within=0.5, known=known, settled=~new), all_look)


def test_copies_that_are_equally_near_end_in_one_group():
    vectors = np.tile(np.arange(1, 9, dtype=np.float32), (50, 1))
    np.testing.assert_array_equal(group_faces(vectors, within=0.1), np.zeros(50))


@pytest.mark.parametrize("count", [0, 1])
def test_no_face_and_one_face(count):
    assert group_faces(np.ones((count, 8), np.float32), within=0.5).tolist() == [0] * count


def test_a_vector_without_length_is_in_a_group_of_its_own():
    vectors = np.stack([np.zeros(4), np.ones(4), np.ones(4)]).astype(np.float32)
    assert group_faces(vectors, within=0.5).tolist() == [0, 1, 1]


@pytest.fixture
def in_cells(monkeypatch):
    """Let so few faces be divided among cells as a test can wait for."""
    monkeypatch.setattr(grouping, "EXACT", 100)
    monkeypatch.setattr(grouping, "IN_CELL", 25)
    monkeypatch.setattr(grouping, "TOGETHER", 64)
    monkeypatch.setattr(grouping, "LOOKED_INTO", 0.5)


def test_in_cells_people_are_found_as_without_them(in_cells, monkeypatch):
    vectors, _ = faces_of(300, 7, spread=0.4, dim=64)
    found = group_faces(vectors, within=0.5)
    monkeypatch.setattr(grouping, "EXACT", 10_000)
    exact = group_faces(vectors, within=0.5)
    pieces = np.unique(np.stack([found, exact]), axis=1).shape[1]
    assert pieces <= 1.02 * len(np.unique(exact))
    assert pieces <= 1.02 * len(np.unique(found))


def test_in_cells_nearly_all_faces_find_the_nearest_that_there_is(in_cells, monkeypatch):
    vectors, _ = faces_of(400, 6, spread=0.7, dim=64)
    rows = np.arange(len(vectors))
    groups = grouping._Groups.of(vectors, rows, 500, 0.85)
    monkeypatch.setattr(grouping, "LOOKED_INTO", 1 / 8)
    found = groups.nearest(rows)
    near, similarity = found.near, found.similarity
    assert (near != rows).all()
    assert (near[:500] >= 500).all()  # the known ones do not look at each other
    monkeypatch.setattr(grouping, "EXACT", 10_000)
    exact = groups.nearest(rows)
    assert (similarity <= exact.similarity + 1e-6).all()
    assert (near == exact.near)[exact.similarity > 0.5].mean() > 0.9
    # All cells together hold all groups.
    monkeypatch.setattr(grouping, "EXACT", 100)
    monkeypatch.setattr(grouping, "LOOKED_INTO", 1.0)
    np.testing.assert_array_equal(groups.nearest(rows).near, exact.near)


@pytest.mark.slow
def test_in_cells_that_hide_much_known_people_are_not_joined(monkeypatch):
    for name, value in (("EXACT", 20), ("IN_CELL", 20), ("LOOKED_INTO", 1 / 8)):
        monkeypatch.setattr(grouping, name, value)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        middles = rng.normal(size=(66, 16))
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        person = rng.integers(0, 66, 400)
        blurred = rng.normal(size=(400, 16)) * rng.uniform(0.5, 2, (400, 1))
        vectors = (middles[person] + 0.3 * blurred).astype(np.float32)
        known = np.where(rng.random(400) < 0.3, person, ALONE)
        found = group_faces(vectors, within=0.45, known=known)
        np.testing.assert_array_equal(found[known != ALONE], known[known != ALONE])


def test_in_cells_new_faces_join_the_people_they_belong_to(in_cells):
    vectors, person = faces_of(200, 6, spread=0.4, dim=64)
    known = np.where((np.arange(len(person)) % 3 > 0) & (person < 150), 100 + person, ALONE)
    found = group_faces(vectors, within=0.5, known=known)
    assert (found[person < 150] == 100 + person[person < 150]).mean() > 0.97
    assert set(found[known != ALONE]) == set(known[known != ALONE])


@pytest.mark.parametrize("each", [50, 200])
def test_the_faces_of_one_person_are_searched_for_a_few_times_however_many_they_are(each, monkeypatch):
    vectors, person = faces_of(20, each, spread=0.6, dim=64)
    looked, nearest = [], grouping._Groups.nearest

    def counting(groups, rows, *least):
        looked.append(len(rows))
        return nearest(groups, rows, *least)

    monkeypatch.setattr(grouping._Groups, "nearest", counting)
    assert same_partition(group_faces(vectors, within=0.5), person)
    assert sum(looked) < 10 * len(vectors)
