from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.siamese.data import Sampler

EXAMPLES = settings(max_examples=60, deadline=None)


def sampler(counts, strangers=0, views=4, batch=24, faces=3, seed=0):
    """Return a sampler of people with so many photos each, and of so many strangers."""
    ends = np.cumsum([0, *counts])
    photos = tuple(np.arange(low, high) for low, high in pairwise(ends))
    return Sampler(photos, ends[-1] + np.arange(strangers), views, batch, faces, seed)


def owner_of(one):
    """Return , for each photo, its person; a stranger's is a number of its own."""
    counts = [len(photos) for photos in one.photos]
    owner = np.repeat(np.arange(len(counts)), counts)
    return np.concatenate([owner, len(counts) + np.arange(len(one.strangers))])


@st.composite
def samplers(draw):
    faces = draw(st.sampled_from([2, 3]))
    return sampler(
        draw(st.lists(st.integers(1, 6), min_size=2, max_size=30)),
        strangers=draw(st.sampled_from([0, 1, 5, 60])),
        views=draw(st.sampled_from([faces, 9, 1 << 31])),
        batch=draw(st.integers(8, 70)),
        faces=faces,
        seed=draw(st.integers(0, 100)),
    )


@EXAMPLES
@given(one=samplers(), number=st.integers(1, 50))
def test_every_batch_has_both_kinds_of_pairs_and_is_no_larger_than_was_asked(one, number):
    batches = list(one.epoch(number))
    assert batches
    for batch in batches:
        assert len(batch.photo) == len(batch.view) == len(batch.person) <= one.batch
        assert {part.dtype for part in (batch.photo, batch.view, batch.person)} == {np.dtype(np.int64)}
        assert ((batch.view >= 0) & (batch.view < one.views)).all()
        people, faces = np.unique(batch.person, return_counts=True)
        assert (faces > 1).any()  # pairs of one person
        assert len(people) > 1  # and of two
        assert faces.max() <= one.faces


@EXAMPLES
@given(one=samplers())
def test_two_faces_are_of_one_person_where_their_photos_are(one):
    owner = owner_of(one)
    for batch in one.epoch(1):
        np.testing.assert_array_equal(
            batch.person[:, None] == batch.person[None],
            owner[batch.photo][:, None] == owner[batch.photo][None],
        )


@EXAMPLES
@given(one=samplers())
def test_no_face_is_twice_in_a_batch(one):
    for batch in one.epoch(1):
        faces = list(zip(batch.photo.tolist(), batch.view.tolist(), strict=True))
        assert len(faces) == len(set(faces))


def test_strangers_fill_batches_up_and_are_in_no_pair_of_one_person():
    one = sampler([3] * 40, strangers=100, batch=60)
    for batch in one.epoch(1):
        strange = batch.photo >= 120
        assert strange.sum() >= 60 // 4
        assert len(batch.photo) == 60
        for person in batch.person[strange]:
            assert (batch.person == person).sum() == 1


def test_a_photo_that_stands_for_a_person_is_shown_in_different_views():
    one = sampler([1] * 20, views=9, batch=16, faces=2)
    for batch in one.epoch(3):
        for person in np.unique(batch.person):
            views = batch.view[batch.person == person]
            assert len(views) == 2
            assert len(set(views.tolist())) == 2


def test_photos_of_a_person_are_different_ones():
    one = sampler([2, 3, 5, 8] * 5, views=1)
    for batch in one.epoch(1):
        for person in np.unique(batch.person):
            photos = batch.photo[batch.person == person].tolist()
            assert len(set(photos)) == len(photos) == min(3, len(one.photos[person]))


def test_everyone_comes_up_in_the_end():
    one = sampler([4] * 30, strangers=25, batch=24)
    seen = set()
    for number in range(1, 31):
        for batch in one.epoch(number):
            seen |= set(batch.photo.tolist())
    assert seen == set(range(30 * 4 + 25))


def drawn(one, number):
    return [(batch.photo.tolist(), batch.view.tolist(), batch.person.tolist()) for batch in one.epoch(number)]


def test_the_same_seed_and_epoch_draw_the_same_batches():
    one = sampler([4] * 30, strangers=5)
    ahead = drawn(one, 7)
    drawn(one, 1)  # what was drawn before does not matter
    assert drawn(sampler([4] * 30, strangers=5), 7) == ahead
    assert drawn(one, 8) != ahead
    assert drawn(sampler([4] * 30, strangers=5, seed=1), 7) != ahead


@pytest.mark.parametrize(
    ("counts", "strangers", "batch"),
    [([10] * 30, 0, 30), ([2] * 8, 60, 30), ([10] * 30, 0, 288)],
)
def test_an_epoch_has_as_many_faces_as_there_are_photos(counts, strangers, batch):
    one = sampler(counts, strangers, batch=batch)
    faces = sum(len(each.photo) for each in one.epoch(1))
    assert faces >= 0.9 * (sum(counts) + strangers)
