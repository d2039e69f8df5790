"""A folder a person: nothing is overwritten, and no two people share one."""

import os

import pytest
from support.fakes import photo as drawn
from support.known_people import grouped, shows

from facesearch.errors import StorageError, UnreadablePhoto
from facesearch.people.photos import albums, export

ADA, BEA, CLEO = range(3)
WHO = {"a.png": (ADA,), "b.png": (ADA, BEA), "c.png": (BEA,), "d.png": (CLEO,), "e.png": (CLEO, BEA)}


@pytest.fixture
def people(tmp_path):
    paths = [drawn(tmp_path / "photos" / name, (at, 5, 30, (9, 200, at))) for at, name in enumerate(WHO)]
    photos = [shows(str(path), *who) for path, who in zip(paths, WHO.values(), strict=True)]
    return grouped(tmp_path / "i.npz", photos)


def named(people, **names):
    for number, name in names.items():
        people.name(people.person(number.removeprefix("p")), name)
    return people


def plan(people, *who):
    persons = [people.person(one) for one in who] if who else people.everyone()
    return {
        os.path.basename(one.folder): [os.path.basename(path) for path in one.photos]
        for one in albums(people, persons, "/to")
    }


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_has_a_folder_with_all_photos(people):
    assert plan(named(people, p1="Ada", p3="Cleo")) == {
        "Ada": ["a.png", "b.png"],
        "Person 2": ["b.png", "c.png", "e.png"],
        "Cleo": ["d.png", "e.png"],
    }
    assert plan(people, "cleo", 1, "Cleo") == {"Cleo": ["d.png", "e.png"], "Ada": ["a.png", "b.png"]}


def test_a_photo_that_shows_a_person_twice_is_there_once(people):
    people.assign(people.person(2).faces, people.person(1))
    assert plan(people, 1) == {"Person 1": ["a.png", "b.png", "c.png", "e.png"]}


def test_who_has_no_photo_has_no_folder(people):
    named(people, p3="Cleo")
    people.release(people.person(3).faces)
    assert people.person("Cleo").faces == ()
    assert set(plan(people)) == {"Person 1", "Person 2"}
    assert plan(people, "Cleo") == {}


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("A/B", "A:B", "Ada"), ["A_B-1", "A_B-2", "Ada"]),
        (("A/B", "A:B", "A_B-1"), ["A_B-1_", "A_B-2", "A_B-1"]),
        (("A/B", "a:b", "A_b-2"), ["A_B-1", "a_b-2_", "A_b-2"]),
        (("x" * 100, "x" * 99, "x" * 98 + "y"), [f"{'x' * 80}-{number}" for number in (1, 2, 3)]),
        (("CON", "Person B", "..."), ["_CON", "Person B", "person-3"]),
    ],
)
def test_names_that_are_one_folders_get_their_numbers(people, names, folders):
    for number, name in enumerate(names, 1):
        people.name(people.person(number), name)
    found = albums(people, [people.person(number) for number in (1, 2, 3)], "/to")
    assert [one.folder for one in found] == [f"/to/{folder}" for folder in folders]


@pytest.mark.parametrize("link", [True, False])
def test_copies_or_links_beside_originals_that_stay(people, tmp_path, link):
    before = tree(tmp_path / "photos")
    wanted = albums(people, people.everyone(), str(tmp_path / "to"))
    assert export(wanted, link=link) == 7
    made = tree(tmp_path / "to")
    assert sorted(made) == sorted(
        f"{os.path.basename(one.folder)}/{os.path.basename(path)}" for one in wanted for path in one.photos
    )
    assert all(data == before[name.rpartition("/")[2]] for name, data in made.items())
    assert {path.is_symlink() for path in (tmp_path / "to").glob("*/*")} == {link}
    assert export(wanted, link=link) == 7  # again: nothing more, nothing else
    assert tree(tmp_path / "to") == made
    assert tree(tmp_path / "photos") == before


def test_what_is_there_is_not_overwritten(people, tmp_path):
    own = tmp_path / "to" / "Person 1" / "a.png"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    export(albums(people, [people.person(1)], str(tmp_path / "to")), link=False)
    assert own.read_text() == "mine"
    assert sorted(path.name for path in own.parent.iterdir()) == ["a (2).png", "a.png", "b.png"]


def test_photos_that_are_gone_are_told_and_all_others_are_there(people, tmp_path):
    (tmp_path / "photos" / "b.png").unlink()
    with pytest.raises(UnreadablePhoto, match=r"b\.png.*\(1 more folders lack some\.\)"):
        export(albums(people, people.everyone(), str(tmp_path / "to")), link=False)
    assert sorted(tree(tmp_path / "to")) == [
        "Person 1/a.png",
        "Person 2/c.png",
        "Person 2/e.png",
        "Person 3/d.png",
        "Person 3/e.png",
    ]


def test_a_folder_that_cannot_be_made(people, tmp_path):
    (tmp_path / "to").write_text("a file")
    with pytest.raises(StorageError):
        export(albums(people, people.everyone(), str(tmp_path / "to")), link=True)
    assert (tmp_path / "to").read_text() == "a file"
