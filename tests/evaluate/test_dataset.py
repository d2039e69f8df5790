"""A folder of people: who is in it, which photos are compared, and what is said of what is odd."""

import os
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.errors import DatasetError
from facesearch.evaluate import dataset as module
from facesearch.evaluate.dataset import FOLDS, all_pairs, fold_people, folds_in_words, read_people

EXAMPLES = settings(max_examples=50, deadline=None)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "people"


@pytest.fixture
def people(folder):
    """Makes photos below the folder, such as "anna/1.jpg"; what is in them does not matter here."""

    def make(*names):
        for name in names:
            path = os.path.join(os.fsencode(folder), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(os.fsencode(name))
        return str(folder)

    return make


def owners(dataset):
    """Return each photo's person, by its path below the folder."""
    below = [os.path.relpath(path, dataset.folder) for path in dataset.paths]
    return dict(zip(below, (dataset.names[number] for number in dataset.person), strict=True))


def error_of(folder):
    with pytest.raises(DatasetError) as caught:
        read_people(str(folder))
    assert caught.value.hint
    return caught.value.message


def test_each_folder_is_a_person_with_all_that_lies_in_it(people):
    found = read_people(
        people("anna/1.jpg", "anna/2.png", "anna/2019/june/3.JPG", "bo/1.jpg", "bo/more/1.jpg")
    )
    assert owners(found) == {
        "anna/1.jpg": "anna",
        "anna/2.png": "anna",
        "anna/2019/june/3.JPG": "anna",
        "bo/1.jpg": "bo",
        "bo/more/1.jpg": "bo",
    }
    assert all(os.path.isabs(path) for path in found.paths)
    assert (found.remarks, found.missing) == ((), ())
    assert found.protocol == "all pairs, balanced, 2 folds of people"
    assert (found.person.dtype, found.trials.first.dtype, found.trials.fold.dtype) == (
        np.int32,
        np.int32,
        np.int16,
    )


def test_what_is_no_photo_or_hidden_is_nobodys(people):
    found = read_people(
        people("anna/1.jpg", "anna/2.jpg", "anna/notes.txt", "anna/.3.jpg", ".cache/1.jpg", "bo/1.jpg")
    )
    assert found.names == ("anna", "bo")
    assert len(found.paths) == 3


def test_the_same_folder_gives_the_same_again(people):
    folder = people(*(f"{name}/{number}.jpg" for name in "dacb" for number in (10, 9, 1)))
    once, again = read_people(folder), read_people(folder)
    assert once.paths == again.paths == tuple(sorted(once.paths))
    np.testing.assert_array_equal(once.trials.fold, again.trials.fold)


def test_links_to_the_folders_of_people_and_to_photos_are_followed(people, folder, tmp_path):
    people("bo/1.jpg")
    (tmp_path / "elsewhere").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "elsewhere" / name).write_bytes(b"x")
    (folder / "anna").symlink_to(tmp_path / "elsewhere")
    (folder / "bo" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "2.jpg")
    (folder / "bo" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (folder / "bo" / "loop").symlink_to(folder)
    found = read_people(str(folder))
    assert owners(found) == {"anna/1.jpg": "anna", "anna/2.jpg": "anna", "bo/1.jpg": "bo", "bo/2.jpg": "bo"}


def test_loose_photos_are_left_out_and_that_is_said(people):
    found = read_people(people("anna/1.jpg", "anna/2.jpg", "bo/1.jpg", "bo/2.jpg", "a.jpg", "b.jpg"))
    assert set(owners(found).values()) == {"anna", "bo"}
    assert found.remarks == (
        "Photos that lie in no person's folder and were left out: 2, the first 'a.jpg'.",
    )


def test_people_with_one_photo_are_strangers_to_the_others_and_that_is_said(people):
    found = read_people(people("anna/1.jpg", "anna/2.jpg", "bo/1.jpg", "cy/1.jpg"))
    assert found.remarks == ("People with one photo, who are only strangers to the others: 2 of 3.",)
    assert int(found.trials.same.sum()) == 1
    assert len(found.trials.same) == 6
    assert found.protocol.endswith(", 1 fold of people")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["anna/1.jpg", "anna/2.jpg"], "of one person only: 'anna'"),
        (["anna/1.jpg", "anna/2.jpg", "loose.jpg"], "of one person only: 'anna'"),
        (["anna/1.jpg", "bo/1.jpg"], "one photo of each person"),
        (["1.jpg", "2.jpg"], "holds photos and no folder of a person"),
        (["anna/notes.txt"], "holds no photos"),
    ],
)
def test_too_few_people_or_photos_to_compare(people, names, said):
    assert said in error_of(people(*names))


def test_an_empty_folder_a_missing_one_and_a_file(tmp_path):
    assert "holds no photos" in error_of(tmp_path)
    assert "No such file" in error_of(tmp_path / "nowhere")
    (tmp_path / "list.txt").write_text("anna")
    assert "list.txt' is no folder" in error_of(tmp_path / "list.txt")


def test_a_person_whose_folder_cannot_be_looked_into_is_said(people, folder, monkeypatch):
    """By a scandir of our own: a superuser may look into everything."""
    people("anna/1.jpg", "anna/2.jpg", "bo/1.jpg", "cy/1.jpg", "cy/2.jpg")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == refused:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    refused = "bo"
    found = read_people(str(folder))
    assert found.names == ("anna", "cy")
    assert found.remarks == (f"'{folder}/bo' cannot be looked into: Permission denied.",)
    refused = "people"
    assert error_of(folder) == f"'{folder}' cannot be read: Permission denied."


@pytest.mark.slow
def test_names_of_any_bytes(people):
    names = [
        b"new\nline/1.jpg",
        b"new\nline/2.jpg",
        b"\xff\xfe/1\t.jpg",
        b"\xff\xfe/\xe9.jpg",
        b"\x1b[31m.jpg",
    ]
    found = read_people(people(*names))
    assert [os.fsencode(name) for name in found.names] == [b"new\nline", b"\xff\xfe"]
    assert [os.path.relpath(os.fsencode(path), os.fsencode(found.folder)) for path in found.paths] == names[
        :4
    ]
    assert found.remarks[-1].endswith(r"the first '\x1b[31m.jpg'.")


crowds = st.lists(st.integers(1, 4), min_size=2, max_size=30)


@EXAMPLES
@given(crowds)
def test_all_pairs_come_once_each_and_rightly_labelled(photos):
    person = np.repeat(np.arange(len(photos), dtype=np.int32), photos)
    fold = fold_people(person)
    trials = all_pairs(person, fold)
    expected = {
        (one, other): (person[one] == person[other], fold[person[one]], fold[person[other]])
        for one, other in combinations(range(len(person)), 2)
    }
    pairs = list(zip(trials.first.tolist(), trials.second.tolist(), strict=True))
    assert len(pairs) == len(expected)
    assert {
        pair: (same, *folds)
        for pair, same, folds in zip(pairs, trials.same, trials.fold.tolist(), strict=True)
    } == expected
    assert (trials.balanced, trials.drawn) == (True, 0)


@EXAMPLES
@given(crowds)
def test_folds_hold_as_many_people_and_each_has_people_of_several_photos(photos):
    person = np.repeat(np.arange(len(photos), dtype=np.int32), photos)
    fold = fold_people(person)
    several = np.bincount(person) > 1
    folds = max(1, min(FOLDS, int(several.sum())))
    assert set(fold.tolist()) == set(range(folds))
    assert np.ptp(np.bincount(fold)) <= 1
    if several.any():
        with_several = np.bincount(fold[several], minlength=folds)
        assert with_several.min() >= 1
        assert np.ptp(with_several) <= 1
    np.testing.assert_array_equal(fold, fold_people(person))


def test_folds_do_not_follow_the_order_of_names():
    fold = fold_people(np.repeat(np.arange(100, dtype=np.int32), 2))
    assert fold[:10].tolist() != list(range(10))
    assert np.bincount(fold).tolist() == [10] * 10


def test_too_many_pairs_are_drawn_and_always_the_same(monkeypatch):
    person = np.repeat(np.arange(60, dtype=np.int32), 3)
    fold = fold_people(person)
    whole = all_pairs(person, fold)
    monkeypatch.setattr(module, "MOST_PAIRS", 2000)
    drawn, again = all_pairs(person, fold), all_pairs(person, fold)
    for one, other in ((drawn.first, again.first), (drawn.second, again.second), (drawn.fold, again.fold)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(drawn.same, person[drawn.first] == person[drawn.second])
    np.testing.assert_array_equal(
        drawn.fold, np.stack([fold[person[drawn.first]], fold[person[drawn.second]]], 1)
    )
    own = {(i, j) for i, j in zip(whole.first[whole.same], whole.second[whole.same], strict=True)}
    kept = [(i, j) for i, j in zip(drawn.first[drawn.same], drawn.second[drawn.same], strict=True)]
    assert len(kept) == len(own)
    assert set(kept) == own
    assert drawn.drawn == int((~whole.same).sum())
    assert 1500 < int((~drawn.same).sum()) <= 2000
    # Photos and folds are met about equally often.
    assert np.bincount(drawn.first[~drawn.same], minlength=180).min() > 0


def test_a_draw_is_said(people, monkeypatch):
    folder = people(*(f"{name}/{number}.jpg" for name in range(12) for number in range(4)))
    monkeypatch.setattr(module, "MOST_PAIRS", 200)
    found = read_people(folder)
    (remark,) = found.remarks
    strangers = int((~found.trials.same).sum())
    assert remark == f"Of 1,056 pairs of strangers {strangers:,} were drawn, always the same."


def test_folds_are_those_that_have_pairs():
    trials = all_pairs(np.array([0, 0, 1, 1], np.int32), np.array([0, 7], np.int16))
    assert folds_in_words(trials) == "2 folds"
