import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.errors import DatasetError
from facesearch.siamese.data import FEWEST_PEOPLE, split_people

EXAMPLES = settings(max_examples=60, deadline=None)


def photos_of(*counts):
    """Return the person of each photo, for people with so many photos each."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def parts(split):
    return [set(part.tolist()) for part in (split.train, split.validation, split.test)]


@EXAMPLES
@given(
    counts=st.lists(st.integers(1, 5), min_size=30, max_size=60),
    validation=st.floats(0.2, 0.5),
    test=st.floats(0.2, 0.5),
    seed=st.integers(0, 1000),
)
def test_each_person_is_in_one_part_only_and_those_with_one_photo_are_learned_from(
    counts, validation, test, seed
):
    counts[:16] = [2] * 16  # enough of them for three parts
    train, validated, tested = parts(
        split_people(photos_of(*counts), validation=validation, test=test, seed=seed)
    )

    assert train | validated | tested == set(range(len(counts)))
    assert len(train) + len(validated) + len(tested) == len(counts)
    assert {one for one, count in enumerate(counts) if count == 1} <= train
    assert min(len(train), len(validated), len(tested)) >= FEWEST_PEOPLE


def test_the_shares_are_of_the_people_with_several_photos():
    split = split_people(photos_of(*[3] * 40, *[1] * 100), validation=0.2, test=0.25, seed=0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [124, 6, 10]


def test_where_all_have_one_photo_they_are_dealt_alike():
    split = split_people(photos_of(*[1] * 40), validation=0.2, test=0.25, seed=0, single=True)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [24, 6, 10]
    assert set.union(*parts(split)) == set(range(40))


def test_the_same_seed_deals_alike_and_another_does_not():
    person = photos_of(*[2] * 40)
    first, again, other = (
        parts(split_people(person, validation=0.2, test=0.25, seed=seed)) for seed in (4, 4, 5)
    )
    assert first == again
    assert first[2] != other[2]


def test_a_part_is_in_rising_order():
    split = split_people(photos_of(*[2] * 40), validation=0.2, test=0.25, seed=0)
    for part in (split.train, split.validation, split.test):
        assert (np.diff(part) > 0).all()


def test_a_person_whose_photos_cannot_be_read_is_in_no_part():
    person = photos_of(*[2] * 20)
    split = split_people(person[person != 7], validation=0.2, test=0.25, seed=0)
    assert set.union(*parts(split)) == set(range(20)) - {7}


@pytest.mark.parametrize(
    ("counts", "single", "said"),
    [
        (
            [3] * 5,
            False,
            "5 people give 3 for training, 1 for validation and 1 for the test, which is too few.",
        ),
        (
            [3] * 2,
            False,
            "2 people give 2 for training, 0 for validation and 0 for the test, which is too few.",
        ),
        ([2] * 3 + [1] * 50, False, "3 people give "),  # with one photo nobody can be tested
        ([1] * 50, False, "0 people give 0 for training, "),
        ([1] * 5, True, "5 people give "),
    ],
)
def test_too_few_people_are_said_with_a_way_out(counts, single, said):
    with pytest.raises(DatasetError) as caught:
        split_people(photos_of(*counts), validation=0.2, test=0.25, seed=0, single=single)
    assert caught.value.message.startswith(said)
    assert caught.value.hint == (
        "Each part needs 2 people or more: add people, or change --validation and --test."
    )


def test_shares_that_leave_nobody_to_learn_from_are_refused():
    with pytest.raises(DatasetError, match="20 people give 0 for training, 2 for validation and 18"):
        split_people(photos_of(*[2] * 20), validation=0.99, test=0.9, seed=0)
