import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.errors import FacesearchError
from facesearch.photos.find import Shard

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, ord("/")})


@given(names=st.lists(NAMES, max_size=30), of=st.integers(1, 7))
def test_each_photo_is_in_just_one_part_wherever_its_folder_lies(names, of):
    parts = [Shard(number, of) for number in range(1, of + 1)]
    for name in names:
        here, there = (os.fsdecode(folder + b"/" + name) for folder in (b"/a/b", b"/mnt/c"))
        held = [part.holds(here, ["/a/b"]) for part in parts]
        assert sum(held) == 1
        assert held == [part.holds(there, ["/elsewhere", "/mnt/c/"]) for part in parts]


def test_parts_are_of_about_one_size():
    names = [f"/p/{number}.jpg" for number in range(4000)]
    sizes = [sum(Shard(part, 4).holds(name, ["/p"]) for name in names) for part in (1, 2, 3, 4)]
    assert sum(sizes) == 4000
    assert all(900 < size < 1100 for size in sizes)


def test_the_nearest_folder_that_was_named_counts():
    part = Shard(1, 2)
    assert part.holds("/a/b/c.jpg", ["/a", "/a/b"]) == part.holds("/x/c.jpg", ["/x"])
    assert part.holds("/a/c.jpg", []) == part.holds("/x/c.jpg", ["/x"])


def test_a_part_is_the_same_on_windows():
    for part in (Shard(number, 5) for number in range(1, 6)):
        on_windows = part.holds("D:\\photos\\2019\\a.jpg", ["D:\\photos"])
        assert on_windows == part.holds("/mnt/2019/a.jpg", ["/mnt"])


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 /2", "²/3", "1/9999999"]
)
def test_what_is_no_part_is_said(text):
    with pytest.raises(FacesearchError, match="is not a part I/N"):
        Shard.parse(text)
    assert Shard.parse("2/4") == Shard(2, 4)
