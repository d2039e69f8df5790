"""What is kept of people comes back whole or is refused with a sentence, and is never half written."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import SPY

from facesearch.errors import IndexBusy, PeopleBroken, StorageError
from facesearch.faces import Box
from facesearch.index.npz.backend import CompanionFile
from facesearch.index.npz.store import people_path
from facesearch.people.facts import Facts, folded
from facesearch.people.log import Entry, KnownFaces, log_json
from facesearch.people.register import (
    Register,
    empty_register,
    only_editor,
    read_register,
    write_register,
)

REGISTER = Register(
    np.arange(48, dtype=np.uint8).reshape(3, 16),
    np.array([[1, 2, 30, 40], [-5, 0, 1, 1], [2**31 - 1, 0, 2**31 - 1, 7]], np.int32),
    np.array([1, 0, 4], np.int32),
    Facts(
        names={1: "Ada", 4: 'Bea "B." O\u2019Hara \\ \U0001f600'},
        hidden={4},
        apart={frozenset({1, 4}), frozenset({4, (bytes(16), Box(1, -2, 3, 4))})},
        tagged={(bytes(range(16)), 1): None, (bytes(16), 4): Box(1, 2, 3, 4)},
        covers={1: (bytes(16), Box(5, 6, 7, 8))},
        grouped="2026-11-26T09:00:00+00:00",
        alike="sface sha256:ab 0.485",
        changed={4},
    ),
    5,
    (
        Entry(
            "2026-11-26T09:00:00+00:00",
            "named person 1 'Ada'",
            KnownFaces(
                np.full((2, 16), 7, np.uint8),
                np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32),
                np.array([-2, 5], np.int32),
            ),
            {"names": {"1": [], "4": ["Bea"]}},
        ),
        Entry("2026-11-27T09:00:00+00:00", "hid Bea", KnownFaces.none(), {"hidden": {"4": []}}),
    ),
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "i.npz.people"
    write_register(CompanionFile(path), REGISTER)
    return path


def same_faces(one, other):
    arrays = ((getattr(one, name), getattr(other, name)) for name in ("digest", "boxes", "person"))
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in arrays)


def same(one, other):
    logs = zip(one.log, other.log, strict=True)
    return (
        (one.facts, one.last) == (other.facts, other.last)
        and same_faces(one, other)
        and all(
            (a.time, a.did, a.facts) == (b.time, b.did, b.facts) and same_faces(a.faces, b.faces)
            for a, b in logs
        )
    )


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def refused(path):
    """See that a register is refused with a sentence and left as it is; give the sentence."""
    before = path.read_bytes()
    with pytest.raises(PeopleBroken) as caught:
        read_register(CompanionFile(path))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert caught.value.message.startswith(f"{str(path)!r} cannot be used as a list of people: ")
    assert caught.value.message.endswith(".")
    assert "It was left as it is." in caught.value.hint
    return caught.value.message


def test_it_lies_beside_the_index(tmp_path):
    assert people_path(tmp_path / "i.npz") == tmp_path / "i.npz.people"


def test_where_there_is_none_it_is_that_of_nobody(tmp_path):
    assert same(read_register(CompanionFile(tmp_path / "none")), empty_register())


LETTERS = st.text("aZéß中אع", min_size=1, max_size=3)
NAMES = st.lists(LETTERS, min_size=1, max_size=3).map(" ".join)
SIDES = st.integers(1, 2**31 - 1)
PLACES = st.integers(-(2**31), 2**31 - 1)
FACES = st.tuples(
    st.binary(min_size=16, max_size=16), st.tuples(PLACES, PLACES, SIDES, SIDES), st.integers(0, 99)
)


@settings(max_examples=60, deadline=None)
@given(
    faces=st.lists(FACES, max_size=5),
    names=st.lists(
        st.tuples(st.integers(1, 99), NAMES),
        max_size=5,
        unique_by=(lambda one: one[0], lambda one: folded(one[1])),
    ),
    grouped=st.text(st.characters(exclude_characters="\0"), max_size=5),
)
def test_what_was_written_is_read(tmp_path_factory, faces, names, grouped):
    register = Register(
        np.array([list(digest) for digest, _, _ in faces], np.uint8).reshape(-1, 16),
        np.array([box for _, box, _ in faces], np.int32).reshape(-1, 4),
        np.array([number for _, _, number in faces], np.int32),
        Facts(dict(names), grouped=grouped, alike=grouped, changed=set(dict(names))),
        99,
    )
    path = tmp_path_factory.getbasetemp() / "round-trip.people"
    write_register(CompanionFile(path), register)
    assert same(read_register(CompanionFile(path)), register)


def test_it_is_readable_for_its_owner_alone_and_keeps_the_mode_that_it_was_given(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write_register(CompanionFile(path), REGISTER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_without_some_photos(path):
    left = read_register(CompanionFile(path)).without({REGISTER.digest[1].tobytes(), bytes(16)})
    assert left.person.tolist() == [1, 4]
    assert left.boxes.tolist() == REGISTER.boxes[[0, 2]].tolist()
    assert left.facts.names == REGISTER.facts.names


@pytest.mark.parametrize("part", [0, 1, 20, 100, 0.1, 0.5, 0.9, -1, -22, -60])
def test_a_truncated_file(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part) if isinstance(part, float) else part])
    refused(path)


@pytest.mark.parametrize("data", [b"hello", b"PK\5\6" + bytes(18), bytes(10_000)])
def test_a_file_of_something_else(path, data):
    path.write_bytes(data)
    refused(path)


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / "people").mkdir()
    with pytest.raises(PeopleBroken, match=r"it cannot be read \(Is a directory\)"):
        read_register(CompanionFile(tmp_path / "people"))


def test_who_may_not_read_it_is_not_told_to_move_it_away(path, monkeypatch):
    def refuse(_companion):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(CompanionFile, "read", refuse)
    with pytest.raises(PeopleBroken, match=r"it cannot be read \(Permission denied\)") as caught:
        read_register(CompanionFile(path))
    assert caught.value.hint == "It was left as it is. Check the rights of the file and of its folder."


def test_the_first_format(path):
    names = {"1": "Ada", "4": REGISTER.facts.names[4]}
    meta = {"names": names, "last": 5, "grouped": REGISTER.facts.grouped}
    logs = dict.fromkeys(name for name in arrays_of(path) if name.startswith("log_"))
    rewritten(path, format=np.array(1), meta=np.array(json.dumps(meta)), **logs)
    facts = Facts(REGISTER.facts.names, grouped=REGISTER.facts.grouped)
    assert same(read_register(CompanionFile(path)), Register.of(REGISTER, facts, 5))


@pytest.mark.parametrize("number", [3, 99, -1, 2**62])
def test_another_format(path, number):
    rewritten(path, format=np.array(number))
    assert f"it has format {number}, and this facesearch knows 2" in refused(path)
    with pytest.raises(PeopleBroken) as caught:
        read_register(CompanionFile(path))
    assert "Use the facesearch that wrote it" in caught.value.hint


def test_a_compressed_one(path):
    arrays = arrays_of(path)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    assert "compressed" in refused(path)


def rewritten(path, **changes):
    arrays = {**arrays_of(path), **changes}
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("name", ["format", "meta", "digest", "boxes", "person"])
def test_an_array_that_is_missing(path, name):
    rewritten(path, **{name: None})
    refused(path)


@pytest.mark.parametrize("name", ["digest", "boxes", "person"])
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-1],
        lambda array: array.astype(np.float64),
        lambda array: (
            array.astype(array.dtype.newbyteorder(">")) if array.itemsize > 1 else array.astype(">i2")
        ),
        lambda array: array.reshape(-1)[0],
        lambda array: array[..., None],
        lambda array: array.astype("U8"),
        lambda array: array.reshape(1, -1),
    ],
)
def test_an_array_that_is_not_what_it_has_to_be(path, name, change):
    rewritten(path, **{name: np.asarray(change(arrays_of(path)[name]))})
    refused(path)


@pytest.mark.parametrize(
    ("name", "at", "value", "said"),
    [
        ("log_person", 0, 6, "a number that was never given"),
        ("log_person", 0, -3, "a number that was never given"),
        ("log_boxes", (0, 2), 0, "a box is empty"),
        ("log_entry", 1, 2, "belong to no entry"),
        ("log_entry", 0, -1, "belong to no entry"),
        ("log_entry", 0, 1, "not in order"),
        ("person", 0, 6, "a number that was never given"),
        ("person", 0, -2, "a number that was never given"),
        ("boxes", (1, 2), 0, "a box is empty"),
        ("boxes", (1, 3), -4, "a box is empty"),
    ],
)
def test_a_value_out_of_range(path, name, at, value, said):
    array = arrays_of(path)[name]
    array[at] = value
    rewritten(path, **{name: array})
    assert said in refused(path)


GOOD = {"names": {"1": "Ada"}, "last": 5, "log": log_json(REGISTER.log)}
FACE = f"{bytes(16).hex()} 1 2 3 4"
NOW = "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "meta",
    [
        "",
        "null",
        "[]",
        "{}",
        "{" * 100_000,
        "[" * 100_000,
        '{"a":' * 50_000,
        "9" * 5000,
        *(
            json.dumps({**GOOD, **changes})
            for changes in (
                {"last": "5"},
                {"grouping": 5},
                {"grouping": {"grouped": None}},
                {"grouping": {"alike": 5}},
                {"grouping": {"changed": 5}},
                {"grouping": {"changed": ["5"]}},
                {"grouping": {"changed": [True]}},
                {"grouping": {"changed": [[]]}},
                {"hidden": []},
                {"hidden": {"6": True}},
                {"apart": {"1": True}},
                {"apart": {"1 | 1": True}},
                {"apart": {"1 | 6": True}},
                {"apart": {"1 | 2 | 3": True}},
                {"apart": {f"1 | {FACE} 5": True}},
                {"apart": {f"1 | {FACE[2:]}": True}},
                {"tagged": {"1": None}},
                {"tagged": {f"{FACE[:32]} 6": None}},
                {"tagged": {f"{FACE[:32]} 1": [1, 2, 3]}},
                {"tagged": {f"{FACE[:32]} 1": [1, 2, 3, "4"]}},
                {"tagged": {f"{FACE[:32]} 1": [1, 2, 0, 4]}},
                {"covers": {"1": 5}},
                {"covers": {"1": "here"}},
                {"covers": {"6": FACE}},
                {"log": None},
                {"log": []},
                {"log": [5, 6]},
                {"log": [{"time": "", "did": 5, "facts": {}}] * 2},
                {"log": [{"time": "", "did": "", "facts": []}] * 2},
                {"log": [{"time": "", "did": "", "facts": {"names": 5}}] * 2},
                {"log": [{"time": "", "did": "", "facts": {"names": {"1": "Ada"}}}] * 2},
                {"log": [{"time": "", "did": "", "facts": {}}] * 2},
                {"log": [{"time": "2026", "did": "", "facts": {}}] * 2},
                {"log": [{"time": NOW, "did": "", "facts": {"more": {}}}] * 2},
                {"last": True},
                {"last": 5.0},
                {"last": -1},
                {"last": 3},
                {"last": 2**30},
                {"last": 10**30},
                {"names": []},
                {"names": {"0": "Ada"}},
                {"names": {"6": "Ada"}},
                {"names": {"-1": "Ada"}},
                {"names": {"01": "Ada"}},
                {"names": {"\u0661": "Ada"}},
                {"names": {"\u00b2": "Ada"}},
                {"names": {"": "Ada"}},
                {"names": {"10000000001": "Ada"}},
                {"names": {"1" * 5000: "Ada"}},
                {"names": {"1": 1}},
                {"names": {"1": ""}},
                {"names": {"1": "7"}},
                {"names": {"1": " Ada"}},
                {"names": {"1": "A\u202eda"}},
                {"names": {"1": "A\x1bda"}},
                {"names": {"1": "A\ud800"}},
                {"names": {"1": "Zoe\u0308"}},
                {"names": {"1": "A" * 101}},
                {"names": {"1": "Ada", "2": "ada"}},
            )
        ),
    ],
)
def test_names_that_are_none(path, meta):
    rewritten(path, meta=np.array(meta))
    refused(path)


def test_the_names_above_can_be_told_from_good_ones(path):
    """Else they might be refused for something else."""
    names, apart = {"1": "Ada", "5": "Zo\u00eb"}, {f"1 | {FACE}": True}
    good = {**GOOD, "names": names, "apart": apart, "tagged": {f"{FACE[:32]} 1": [1, 2, 3, 4]}, "more": 1}
    rewritten(path, meta=np.array(json.dumps(good)))
    facts = read_register(CompanionFile(path)).facts
    assert facts.names == {1: "Ada", 5: "Zo\u00eb"}
    assert facts.apart == {frozenset({1, (bytes(16), Box(1, 2, 3, 4))})}
    assert facts.tagged == {(bytes(16), 1): Box(1, 2, 3, 4)}


def test_names_of_another_type(path):
    for array in (np.array(["{}"]), np.array(b"{}"), np.array(3)):
        rewritten(path, meta=array)
        refused(path)


@pytest.mark.slow
def test_random_damage_is_refused_or_harmless(path):
    rng = np.random.default_rng(0)
    whole = path.read_bytes()
    refusals = 0
    for _ in range(150):
        data = bytearray(whole)
        # Where something is decided: headers lie before each page, the directory at the end.
        spots = [at for at in range(len(data)) if at % 4096 >= 4096 - 200 or at > len(data) - 400]
        for place in rng.choice(spots, rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            register = read_register(CompanionFile(path))
        except PeopleBroken:
            refusals += 1
            continue
        assert len(register.digest) == len(register.boxes) == len(register.person)
        assert all(0 < number <= register.last for number in register.facts.names)
    assert refusals > 3


def test_two_editors_at_once(path):
    with only_editor(CompanionFile(path)):
        with pytest.raises(IndexBusy, match="people"), only_editor(CompanionFile(path)):
            pass
        assert same(read_register(CompanionFile(path)), REGISTER)  # readers need not wait
    with only_editor(CompanionFile(path)):
        write_register(CompanionFile(path), empty_register())
    assert same(read_register(CompanionFile(path)), empty_register())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(path, monkeypatch, number):
    def full(_handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        write_register(CompanionFile(path), empty_register())
    assert "Free some space" in caught.value.hint
    assert same(read_register(CompanionFile(path)), REGISTER)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


WRITE = """
import sys
from pathlib import Path
from facesearch.index.npz.backend import CompanionFile
from facesearch.people.register import empty_register, only_editor, write_register
path = Path(sys.argv[1])
with only_editor(CompanionFile(path)):
    write_register(CompanionFile(path), empty_register())
"""


@pytest.mark.parametrize(
    ("at", "written"),
    [("open i.npz.people.new", False), ("os.rename i.npz.people.new", False), ("none at all", True)],
)
def test_killed_while_it_is_written(path, at, written):
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SPY), *sys.path]),
        "SPY_AT": at,
        "SPY_SIGNAL": str(int(signal.SIGKILL)),
    }
    done = subprocess.run([sys.executable, "-c", WRITE, path], env=env, check=False)
    assert done.returncode == (0 if written else -signal.SIGKILL)
    assert same(read_register(CompanionFile(path)), empty_register() if written else REGISTER)
    with only_editor(CompanionFile(path)):  # the lock went with the process, and what it left goes now
        assert {file.name for file in path.parent.iterdir()} == {"i.npz.people", "i.npz.people.lock"}
