"""Pairs files in the format of Labeled Faces in the Wild, as they are and as they should not be."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesearch.errors import DatasetError
from facesearch.evaluate import dataset as dataset_module
from facesearch.evaluate.dataset import read_pairs

# Two folds of a pair of each kind.
LINES = ["2 1", "anna 1 2", "anna 1 bo 3", "cy 1 12", "cy 12 dee 4"]
PHOTOS = {("anna", 1), ("anna", 2), ("bo", 3), ("cy", 1), ("cy", 12), ("dee", 4)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "people"


@pytest.fixture
def photos(folder):
    """Makes photos of people by their numbers."""

    def make(wanted=PHOTOS, suffix=".jpg"):
        for name, number in wanted:
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{name}_{number:04d}{suffix}").write_bytes(b"x")
        return str(folder)

    return make


@pytest.fixture
def written(tmp_path):
    """Writes a pairs file; gives its path."""

    def write(lines, end="\n", before=b""):
        path = tmp_path / "pairs.txt"
        text = end.join(lines) + end if not isinstance(lines, str) else lines
        path.write_bytes(before + os.fsencode(text))
        return str(path)

    return write


def pairs(dataset):
    """Return the pairs as they were written: two photos, whether they show one person, and the fold."""
    named = []
    for path in dataset.paths:
        name, _, number = os.path.splitext(os.path.basename(path))[0].rpartition("_")
        named.append((name, int(number)))
    trials = dataset.trials
    np.testing.assert_array_equal(trials.fold[:, 0], trials.fold[:, 1])
    for photo, person in zip(named, dataset.person, strict=True):
        assert dataset.names[person] == photo[0]
    return [
        (named[first], named[second], bool(same), int(fold))
        for first, second, same, (fold, _) in zip(
            trials.first, trials.second, trials.same, trials.fold, strict=True
        )
    ]


EXPECTED = [
    (("anna", 1), ("anna", 2), True, 0),
    (("anna", 1), ("bo", 3), False, 0),
    (("cy", 1), ("cy", 12), True, 1),
    (("cy", 12), ("dee", 4), False, 1),
]


def error_of(file, folder):
    with pytest.raises(DatasetError) as caught:
        read_pairs(file, folder)
    assert caught.value.hint
    return caught.value.message


def tabbed(lines):
    return [line.replace(" ", "\t") for line in lines]


@pytest.mark.parametrize(
    ("lines", "end", "before"),
    [
        (tabbed(LINES), "\n", b""),
        (LINES, "\n", b""),
        ([line.replace(" ", "   ") for line in LINES], "\n", b""),
        (tabbed(LINES), "\r\n", b""),
        (LINES, "\r\n", b"\xef\xbb\xbf"),
        (tabbed(LINES), "\n", b"\xef\xbb\xbf"),
        (["", *LINES[:3], "  ", "", *LINES[3:], "", "\t"], "\n", b""),
        ([f"{line}\t" for line in tabbed(LINES)], "\n", b""),
        ("\n".join(LINES), "\n", b""),
    ],
)
def test_pairs_by_tabs_or_blanks_and_by_any_line_ends(photos, written, lines, end, before):
    found = read_pairs(written(lines, end, before), photos())
    assert pairs(found) == EXPECTED
    assert (found.missing, found.remarks) == ((), ())
    assert not found.trials.balanced
    assert found.protocol == "4 pairs of pairs.txt, 2 folds"
    assert len(set(found.paths)) == len(found.paths) == len(PHOTOS)


def test_the_people_of_a_single_fold_are_dealt_into_some(photos, written):
    found = read_pairs(written(["2", LINES[1], LINES[3], LINES[2], LINES[4]]), photos())
    assert found.trials.same.tolist() == [True, True, False, False]
    assert len(np.unique(found.trials.fold)) > 1
    folds = {}
    for side, photo in ((0, found.trials.first), (1, found.trials.second)):
        for person, fold in zip(found.person[photo], found.trials.fold[:, side], strict=True):
            assert folds.setdefault(int(person), int(fold)) == fold


def test_a_photo_paired_with_itself_is_said(photos, written):
    found = read_pairs(written(["1", "anna 1 anna 1", "anna 1 bo 3"]), photos())
    assert "Pairs of a photo with itself: 1. They make the figures too good." in found.remarks


def test_more_folds_than_can_be_used_are_refused(photos, written):
    with pytest.raises(DatasetError, match="says 40,000 folds; 1,000 is the most"):
        read_pairs(written(["40000 1"]), photos())


@pytest.mark.parametrize("name", ["C:anna", "..\\anna"])
def test_names_that_lead_away_on_some_system_are_refused(photos, written, name):
    with pytest.raises(DatasetError, match="Line 2 of"):
        read_pairs(written(["1", f"{name} 1 2", "anna 1 bo 3"]), photos())


def test_by_tabs_a_name_may_hold_blanks(photos, written):
    lines = ["1\t1", "anna of ghent\t1\t2", "anna of ghent\t1\tbo\t1"]
    found = read_pairs(written(lines), photos({("anna of ghent", 1), ("anna of ghent", 2), ("bo", 1)}))
    assert found.names == ("anna of ghent", "bo")


def test_two_names_that_are_the_same_are_one_person(photos, written):
    found = read_pairs(written(["1", "anna 1 anna 2", "anna 1 bo 3"]), photos())
    assert [pair[2] for pair in pairs(found)] == [True, False]


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".pgm"])
def test_photos_of_other_suffixes(photos, written, suffix):
    assert pairs(read_pairs(written(LINES), photos(suffix=suffix))) == EXPECTED


def test_a_file_of_that_name_that_is_no_photo_is_not_taken(photos, written, folder):
    photos(PHOTOS - {("bo", 3)})
    photos({("bo", 3)}, ".txt")
    assert read_pairs(written(LINES), str(folder)).missing == (f"{folder}/bo/bo_0003.jpg",)


def test_missing_photos_are_left_out_and_said(photos, written, folder):
    found = read_pairs(written(LINES), photos(PHOTOS - {("bo", 3), ("cy", 12)}))
    assert found.missing == (f"{folder}/bo/bo_0003.jpg", f"{folder}/cy/cy_0012.jpg")
    assert pairs(found) == EXPECTED[:1]
    assert found.remarks == (
        f"Photos that are not there: 2, the first '{folder}/bo/bo_0003.jpg'. "
        "Pairs that were left out for that: 3 of 4.",
    )
    assert found.protocol == "1 pairs of pairs.txt, 1 fold"


@pytest.mark.parametrize("made", [set(), {("anna", 1), ("dee", 4)}])
def test_no_pair_that_is_whole(photos, written, folder, made):
    photos(made)
    message = error_of(written(LINES), str(folder))
    assert "none is there, such as" in message
    assert f"{folder}/anna/anna_000" in message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["3 1", *LINES[1:]], "says 3 folds of 1 pairs of each kind, that is 6 lines, and holds 4"),
        (LINES[:-1], "that is 4 lines, and holds 3"),
        (["1", *LINES[1:]], "and holds 4"),
        (LINES[:1], "and holds 0"),
        (["2 1", LINES[1], LINES[3], LINES[2], LINES[4]], "has 2 pairs of one person in fold 1"),
        (["2 1", *LINES[1:4], "cy 1 12"], "has 2 pairs of one person in fold 2"),
    ],
)
def test_counts_that_do_not_fit_the_header(photos, written, lines, said):
    assert said in error_of(written(lines), photos())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "ten 300",
        "10 300 2",
        "0",
        "10 0",
        "-1 5",
        "1.5",
        "9" * 5000,
        f"{'9' * 3000} {'9' * 3000}",
        "\x00\xff",
        "²",
    ],
)
def test_a_first_line_that_is_no_header(photos, written, header):
    message = error_of(written([header]), photos())
    assert "is not a pairs file" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "line",
    [
        "cy 1",
        "cy",
        "cy 1 x",
        "cy 1 -2",
        "cy 1 bo x",
        "cy 1 12 bo 3",
        "cy\t1\t\tbo",
        "cy 1 1.0",
        f"cy 1 {'9' * 5000}",
        ".. 1 2",
        ". 1 2",
        "../cy 1 2",
        "/etc/cy 1 2",
        "cy 1 ../bo 3",
        "cy 1 a/b 3",
        "cy\0 1 2",
    ],
)
def test_a_line_that_is_no_pair_is_named_by_its_number(photos, written, line):
    message = error_of(written(["2 1", "", LINES[1], LINES[2], line, LINES[4]]), photos())
    assert message.startswith("Line 5 of ")
    assert "is not a pair" in message
    assert len(message) < 300


def test_no_name_leads_out_of_the_folder(photos, written, tmp_path):
    """Even though the file that it would lead to is there."""
    photos()
    (tmp_path / "secret").mkdir()
    for number in (1, 2):
        (tmp_path / "secret" / f"secret_000{number}.jpg").write_bytes(b"x")
    for name in ("../secret", f"{tmp_path}/secret"):
        assert "Line 2" in error_of(written(["1", f"{name} 1 2", LINES[2]]), str(tmp_path / "people"))


def test_names_that_are_not_utf8(photos, written):
    name = os.fsdecode(b"\xe9ric")
    found = read_pairs(
        written(["1", f"{name} 1 2", f"{name} 1 bo 3"]), photos({(name, 1), (name, 2), ("bo", 3)})
    )
    assert found.names == (name, "bo")


@pytest.mark.parametrize("where", ["", "people"])
def test_the_folder_beside_the_file_is_found(photos, written, folder, tmp_path, where):
    (tmp_path / "another").mkdir()
    photos()
    file = written(LINES)
    if not where:
        file = os.rename(file, folder / "pairs.txt") or str(folder / "pairs.txt")
    found = read_pairs(file, None)
    assert found.folder == str(folder)
    assert pairs(found) == EXPECTED


def test_the_folder_beside_is_found_though_the_first_photos_are_missing(photos, written, folder):
    photos(PHOTOS - {("anna", 1)})
    found = read_pairs(written(LINES), None)
    assert found.folder == str(folder)
    assert pairs(found) == EXPECTED[2:]


def test_a_relative_file_has_its_folder_beside_it_too(photos, written, folder, tmp_path, monkeypatch):
    photos()
    written(LINES)
    monkeypatch.chdir(tmp_path)
    assert read_pairs("pairs.txt", None).folder == str(folder)


def test_no_folder_beside_the_file(written):
    assert "do not lie beside it" in error_of(written(LINES), None)


def test_a_file_that_cannot_be_read(tmp_path):
    assert "No such file" in error_of(str(tmp_path / "nowhere.txt"), None)
    assert "directory" in error_of(str(tmp_path), None)


def test_people_in_two_folds_are_said(photos, written):
    lines = ["2 1", "anna 1 2", "anna 1 bo 3", "cy 1 12", "cy 12 bo 3"]
    found = read_pairs(written(lines), photos())
    assert found.remarks == (
        "People who stand in more than one fold: 1. The thresholds have seen them, "
        "so the accuracy may be too good.",
    )


names = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters="/\\:"), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))
numbers = st.integers(0, 10**6)


@st.composite
def lists(draw):
    """Return folds of pairs as (first, second, same, fold), and what parts their fields."""
    known = draw(st.lists(names, min_size=2, max_size=5, unique=True))
    folds, each = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    written = []
    for fold in range(folds):
        for _ in range(each):
            name = draw(st.sampled_from(known))
            written.append(((name, draw(numbers)), (name, draw(numbers)), True, fold))
        for _ in range(each):
            one, other = draw(st.permutations(known))[:2]
            written.append(((one, draw(numbers)), (other, draw(numbers)), False, fold))
    return written, folds, each, draw(st.sampled_from(["\t", " "])), draw(st.sampled_from(["\n", "\r\n"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lists())
def test_what_is_written_is_what_is_read(tmp_path, monkeypatch, example):
    wanted, folds, each, between, end = example
    lines = [(folds, each)]
    lines += [(one[0], one[1], other[1]) if same else (*one, *other) for one, other, same, _ in wanted]
    file = tmp_path / "pairs.txt"
    file.write_bytes(end.join(between.join(map(str, line)) for line in lines).encode())
    # Every photo is there: that files are found other tests see.
    monkeypatch.setattr(
        dataset_module, "_find", lambda folder, photo: os.path.join(folder, dataset_module._relative(photo))
    )
    assert pairs(read_pairs(str(file), "/people")) == wanted
