"""Random histories of a library: after each step the index and its people are what a plain model says."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fakes import CARD, META, ColourEmbedder, coloured, pipeline, rate

from facesearch.index.npz.backend import NpzBackend
from facesearch.index.npz.store import open_index
from facesearch.index.operations import forget
from facesearch.people.people import People
from facesearch.people.register import KeptPeople, read_register, write_register
from facesearch.plan import IndexRequest
from facesearch.update import update_index

NAMES = [f"{folder}/{number}.png" for folder in ("a", "b", "c") for number in range(2)]
PICTURES = (1, 20, 300)
names, pictures, known = st.sampled_from(NAMES), st.sampled_from(PICTURES), st.integers(0, 5)
# What is done to a photo that there is, `known` says to which: names alone would mostly meet none.
STEPS = st.one_of(
    st.tuples(st.just("save"), names, pictures),
    st.tuples(st.just("save"), names, pictures),
    st.tuples(st.just("rate"), known, st.integers(1, 5)),
    st.tuples(st.just("move"), known, names),
    st.tuples(st.just("copy"), known, names),
    st.tuples(st.just("rename"), st.sampled_from("abc"), st.sampled_from("abc")),
    st.tuples(st.just("delete"), known),
    st.tuples(st.just("name"), known),
    st.tuples(st.just("forget"), known, st.booleans()),
    st.tuples(st.just("exclude"), st.sampled_from(["", "b/", "1.png"])),
)


class History:
    """A library, and beside it what it has to be: where which picture is, who is on it, what is forgotten."""

    def __init__(self, folder):
        self.root, self.index = folder / "photos", folder / "i.npz"
        self.root.mkdir()
        self.backend = NpzBackend(self.index)
        self.files, self.excluded = {}, ""
        self.forgotten, self.left_out = set(), set()  # pictures; and pictures at a path
        self.persons = {}
        self.update()

    def update(self):
        excluded = (self.excluded,) if self.excluded else ()
        request = IndexRequest((str(self.root),), exclude=excluded, prune=True)
        carry = KeptPeople(self.backend.people, CARD)
        return update_index(
            self.index, META, request, lambda: pipeline(ColourEmbedder(), batch=2), carry=carry
        )

    def shown(self):
        """Return which pictures the index has to have, by name."""
        return {
            name: picture
            for name, picture in self.files.items()
            if picture not in self.forgotten
            and (picture, name) not in self.left_out
            and not (self.excluded and (name.startswith(self.excluded) or name.endswith(self.excluded)))
        }

    def people(self):
        return People(open_index(self.index), read_register(self.backend.people))

    def step(self, what, *args):
        if args and isinstance(args[0], int):
            if not self.files:
                return
            args = (sorted(self.files)[args[0] % len(self.files)], *args[1:])
        getattr(self, what)(*args)
        self.update()
        self.check()

    def save(self, name, picture):
        (self.root / name).parent.mkdir(exist_ok=True)
        coloured(self.root / name, picture)
        self.files[name] = picture

    def rate(self, name, stars):
        rate(self.root / name, stars)

    def move(self, name, to):
        if to not in self.files:
            (self.root / to).parent.mkdir(exist_ok=True)
            (self.root / name).rename(self.root / to)
            self.files[to] = self.files.pop(name)

    def copy(self, name, to):
        if name != to:
            (self.root / to).parent.mkdir(exist_ok=True)
            shutil.copy2(self.root / name, self.root / to)
            self.files[to] = self.files[name]

    def rename(self, folder, to):
        if (self.root / folder).exists() and not (self.root / to).exists():
            (self.root / folder).rename(self.root / to)
            self.files = {
                (to + name[1:] if name.startswith(folder) else name): picture
                for name, picture in self.files.items()
            }

    def delete(self, name):
        (self.root / name).unlink()
        del self.files[name]

    def exclude(self, pattern):
        self.excluded = pattern

    def name(self, name):
        if name in self.shown():
            people = self.people()
            row = people.index.find(str(self.root / name))
            person = people.assign(people.index.faces_of(row), None)
            write_register(self.backend.people, people.register)
            self.persons[self.files[name]] = person.number

    def forget(self, name, copies):
        shown = self.shown()
        if name not in shown:
            return
        picture = shown[name]
        forget(self.index, [str(self.root / name)], copies=copies)
        if not copies and any(other == picture for at, other in shown.items() if at != name):
            self.left_out.add((picture, name))
            return
        self.forgotten.add(picture)
        register = read_register(self.backend.people)
        gone = {digest.tobytes() for digest in open_index(self.index).forgotten}
        write_register(self.backend.people, register.without(gone))
        self.persons.pop(picture, None)

    def check(self):
        people, shown = self.people(), self.shown()
        index = people.index
        assert {path.removeprefix(f"{self.root}/") for path in index.rows} == set(shown)
        assert index.face_count == len(shown)
        for name, picture in shown.items():
            row = index.find(str(self.root / name))
            wanted = np.float32([130 + picture % 10, 130 + picture // 10 % 10, 130 + picture // 100]) / 255
            np.testing.assert_allclose(index.vectors[index.faces_of(row)[0]], wanted, atol=1e-6)
            assert people.whose[index.faces_of(row)[0]] == self.persons.get(picture, -1), name


@pytest.mark.parametrize(
    "examples", [pytest.param(6, id="some"), pytest.param(60, id="many", marks=pytest.mark.slow)]
)
def test_after_each_step_the_library_is_what_it_has_to_be(examples, monkeypatch):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=st.lists(STEPS, min_size=6, max_size=20))
    def run(steps):
        with tempfile.TemporaryDirectory() as folder:
            monkeypatch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
            history = History(Path(folder))
            for step in steps:
                history.step(*step)

    run()
