"""Names of other programs reach the right faces, and never those of somebody else."""

import json

import pytest
from PIL import Image
from support.known_people import WITHIN, grouped, opened, shows, whose

from facesearch.faces import Box
from facesearch.people.imports import folders_of_people, import_folders, import_regions, import_takeout
from facesearch.people.sidecars import cleaned_sidecars, sidecars, write_sidecar
from facesearch.photos.xmp import Area, Region, Wanted, edited, read_people

ADA, BEA, CLEO, DORA = range(4)
SIZE = (400, 200)
WHO = {"a": (ADA, BEA), "b": (ADA,), "c": (BEA, ADA), "d": (CLEO,), "e": (), "f": (DORA, CLEO)}


@pytest.fixture
def photos(tmp_path):
    """Pictures, in which the n-th face is at 100 n, 5."""
    (tmp_path / "p").mkdir()
    for at, name in enumerate(WHO):
        Image.new("RGB", SIZE, (at, at, at)).save(tmp_path / "p" / f"{name}.png")
    return [shows(str(tmp_path / "p" / f"{name}.png"), *who) for name, who in WHO.items()]


@pytest.fixture
def people(tmp_path, photos):
    return grouped(tmp_path / "i.npz", photos)


def place(at, grow=0):
    """Return where the n-th face of a photo is, in parts; other programs draw larger boxes."""
    side = 80 - at
    return Area(
        (100 * at + side / 2) / SIZE[0],
        (5 + side / 2) / SIZE[1],
        (side + grow) / SIZE[0],
        (side + grow) / SIZE[1],
    )


def say(tmp_path, name, *who, names=()):
    regions = tuple(Region(one, area) for one, area in who)
    data = edited(None, Wanted(regions, tuple(names) or tuple(one for one, _ in who), SIZE)).data
    (tmp_path / "p" / f"{name}.png.xmp").write_bytes(data)


def names(people):
    """Return what each face is called, by the photo's name and its number."""
    return {
        (path.rpartition("/")[2][0], number): people.facts.names.get(person, person)
        for (path, number), person in whose(people).items()
    }


def test_a_group_is_named_as_a_whole_by_regions_on_its_faces(tmp_path, people):
    say(tmp_path, "a", ("Ada", place(0, 30)), ("Bea", place(1, 30)))
    say(tmp_path, "d", ("Cleo", place(0)))
    done = import_regions(people)
    assert names(people)["a", 1] == names(people)["b", 1] == names(people)["c", 2] == "Ada"
    assert names(people)["a", 2] == names(people)["c", 1] == "Bea"
    assert names(people)["d", 1] == names(people)["f", 2] == "Cleo"
    assert sorted(done.people) == ["Ada", "Bea", "Cleo"]
    assert (done.faces, done.tagged, done.conflicts, done.doubtful, done.unmatched) == (3, 0, [], [], [])
    again = import_regions(people)
    assert (again.faces, again.already, again.conflicts) == (0, 3, [])


def test_a_face_of_nobody_becomes_the_person(tmp_path, people):
    say(tmp_path, "f", ("Dora", place(0)))
    assert names(people)["f", 1] == -1
    assert import_regions(people).people == {"Dora": 4}
    assert names(people)["f", 1] == "Dora"


def test_who_has_another_name_keeps_it(tmp_path, people):
    people.name(people.person(1), "Ada Lovelace")
    say(tmp_path, "a", ("Ada", place(0)), ("Bea", place(1)))
    done = import_regions(people)
    assert done.conflicts == [(str(tmp_path / "p" / "a.png"), "Ada", "Ada Lovelace")]
    assert names(people)["a", 1] == "Ada Lovelace"
    assert names(people)["a", 2] == "Bea"


def test_a_place_without_a_face_and_a_name_without_a_place_are_tags(tmp_path, people):
    say(tmp_path, "a", ("Ada", place(0)))
    say(tmp_path, "e", ("Ada", Area(0.5, 0.5, 0.1, 0.2)))
    say(tmp_path, "d", names=["Ada", "Nobody Known"])
    done = import_regions(people)
    assert done.tagged == 2
    assert done.unmatched == ["Nobody Known"]
    tagged = people.tagged_photos(people.person("Ada"))
    assert {people.index.path(photo)[-5]: box for photo, box in tagged.items()} == {
        "d": None,
        "e": Box(180, 80, 40, 40),
    }


def test_a_region_on_the_wrong_face_is_left_out(tmp_path, people):
    say(tmp_path, "a", ("Ada", place(0)), ("Bea", place(1)))
    say(tmp_path, "b", ("Bea", place(0)))
    say(tmp_path, "c", ("Bea", place(0)), ("Ada", place(1)))
    done = import_regions(people)
    assert done.doubtful == [(str(tmp_path / "p" / "b.png"), "Bea")]
    assert names(people)["b", 1] == "Ada"


def test_two_names_in_one_group_leave_the_group_alone(tmp_path, people):
    say(tmp_path, "a", ("Ada", place(0)))
    say(tmp_path, "c", ("Not Ada", place(1)))
    import_regions(people)
    assert names(people)["a", 1] == "Ada"
    assert names(people)["c", 2] == "Not Ada"
    assert names(people)["b", 1] == 1


def test_names_that_are_none_and_photos_that_are_gone_end_nothing(tmp_path, people):
    say(tmp_path, "a", ("12", place(0)), ("Bea", place(1)))
    (tmp_path / "p" / "d.png").unlink()
    (tmp_path / "p" / "f.png.xmp").write_bytes(b"<!DOCTYPE x><x/>")
    done = import_regions(people)
    assert done.people == {"Bea": 2}
    assert sorted(path.rpartition("/")[2] for path, _ in done.problems) == ["12", "d.png", "f.png.xmp"]


def test_takeout_names_who_can_only_be_one(tmp_path, people):
    for name, who in {"a": ["Ada", "Bea"], "b": ["Ada"], "c": ["Ada", "Bea"], "d": ["Cleo"]}.items():
        (tmp_path / "p" / f"{name}.png.json").write_text(
            json.dumps({"people": [{"name": one} for one in who]})
        )
    done = import_takeout(people)
    assert sorted(done.people) == ["Ada", "Bea", "Cleo"]
    assert names(people)["c", 2] == "Ada"
    assert names(people)["c", 1] == "Bea"
    assert names(people)["f", 2] == "Cleo"


def test_takeout_names_nobody_who_could_be_two(tmp_path, people):
    for name in "ac":
        people_there = {"people": [{"name": "Ada"}, {"name": "Bea"}]}
        (tmp_path / "p" / f"{name}.png.json").write_text(json.dumps(people_there))
    (tmp_path / "p" / "f.png.json").write_text(json.dumps({"people": [{"name": "Dora"}]}))
    done = import_takeout(people)
    assert done.people == {}
    assert done.unmatched == ["Ada", "Bea", "Dora"]


def takeout(tmp_path, name, *who):
    told = {"people": [{"name": one} for one in who]}
    (tmp_path / "p" / f"{name}.png.json").write_text(json.dumps(told))


def test_takeout_names_nobody_where_two_on_the_same_photos_could_have_the_name(tmp_path, people):
    """Google knows Ada and not Bea, who is with her on two photos."""
    takeout(tmp_path, "a", "Ada")
    takeout(tmp_path, "c", "Ada")
    done = import_takeout(people)
    assert done.people == {}
    assert done.unmatched == ["Ada"]
    assert names(people)["a", 2] == 2


def test_takeout_names_nobody_of_whose_photos_it_knows_few(tmp_path):
    """Ada was left out on two photos that show her and Bea; Bea's face was not found there."""
    paths = [str(tmp_path / f"{at}.png") for at in range(9)]
    people = grouped(tmp_path / "i.npz", [shows(path, ADA) for path in paths])
    for path in paths[:2]:
        with open(f"{path}.json", "w") as file:
            json.dump({"people": [{"name": "Bea"}]}, file)
    assert import_takeout(people).people == {}
    for path in paths[:5]:
        with open(f"{path}.json", "w") as file:
            json.dump({"people": [{"name": "Ada"}]}, file)
    assert import_takeout(people).people == {"Ada": 1}


def test_groups_on_one_photo_are_not_made_one_by_an_import(tmp_path, people):
    """The region is on Bea's face by mistake: Bea's other faces stay hers."""
    say(tmp_path, "a", ("Ada", place(0)))
    say(tmp_path, "c", ("Ada", place(0)))
    import_regions(people)
    assert names(people)["b", 1] == "Ada"
    assert names(people)["a", 2] == 2


def test_what_was_said_by_hand_stays_so(tmp_path, people):
    say(tmp_path, "a", ("Ada", place(0)), ("Bea", place(1)))
    say(tmp_path, "b", ("Ada", place(0)))
    import_regions(people)
    row = people.face(str(tmp_path / "p" / "b.png"), 1)
    people.reject([row], people.person("Ada"))
    people.ignore([people.face(str(tmp_path / "p" / "a.png"), 2)])
    done = import_regions(people)
    assert names(people)["b", 1] == -1
    assert names(people)["a", 2] == 0
    assert sorted((path[-5], name) for path, name in done.refused) == [("a", "Bea"), ("b", "Ada")]


def test_takeout_goes_on_from_names_that_are_known(tmp_path, people):
    people.name(people.person(1), "Ada")
    for name in "ac":
        people_there = {"people": [{"name": "Ada"}, {"name": "Bea"}]}
        (tmp_path / "p" / f"{name}.png.json").write_text(json.dumps(people_there))
    assert import_takeout(people).people == {"Bea": 2}


def test_a_folder_for_each_person(tmp_path, people, photos):
    own = tmp_path / "by-person"
    for name, who in {"Ada": ["b"], "Cleo": ["d"], "Eve": [], ".hidden": ["b"]}.items():
        (own / name).mkdir(parents=True)
        for one in who:
            (own / name / f"{one}.png").write_bytes((tmp_path / "p" / f"{one}.png").read_bytes())
    folders = folders_of_people(str(own))
    assert {name: len(paths) for name, paths in folders.items()} == {"Ada": 1, "Cleo": 1}
    # Of Ada, the folder has a photo of the index; of Cleo another one, on which she is known by her face.
    known = {"b": photos[1], "d": shows("/elsewhere/d.png", CLEO)}
    done = import_folders(people, folders, lambda paths: [known[path[-5]] for path in paths], WITHIN)
    assert sorted(done.people) == ["Ada", "Cleo"]
    assert names(people)["a", 1] == "Ada"
    assert names(people)["f", 2] == "Cleo"
    assert done.unmatched == []


def test_what_was_exported_comes_back(tmp_path, people, photos):
    for number, name in enumerate(("Ada", "Bea", 'Cleo "C.", <O\u2019Hara> & Co'), 1):
        people.name(people.person(number), name)
    people.tag(people.index.find(str(tmp_path / "p" / "e.png")), people.person("Bea"), Box(10, 20, 30, 40))
    for sidecar in sidecars(people, people.everyone(), tags=True):
        assert not sidecar.problem
        write_sidecar(sidecar)
    before = names(people), people.facts.tagged
    other = grouped(tmp_path / "other.npz", photos)
    done = import_regions(other)
    assert (done.problems, done.conflicts, done.doubtful, done.tagged) == ([], [], [], 1)
    assert names(other) == before[0]
    assert {other.facts.names[number] for _, number in other.facts.tagged} == {"Bea"}
    assert list(other.facts.tagged.values()) == [Box(10, 20, 30, 40)]
    assert [one.after for one in sidecars(people, people.everyone(), tags=True)] == [None] * 6


def test_a_photo_of_one_person_names_everybody_on_it(tmp_path, people):
    people.name(people.person(1), "Ada")
    people.name(people.person(2), "Bea")
    for one in sidecars(people, tags=True):
        write_sidecar(one)
    assert [one.after for one in sidecars(people, [people.person("Bea")])] == [None] * 2
    people.name(people.person("Bea"), "Beatrix")
    (first, second) = sidecars(people, [people.person("Beatrix")])
    assert read_people(first.after).names == ("Ada", "Beatrix")
    assert b"People/Beatrix<" in first.after
    assert {first.photo[-5], second.photo[-5]} == {"a", "c"}


def test_photos_that_changed_get_no_sidecar(tmp_path, people):
    people.name(people.person(1), "Ada")
    Image.new("RGB", SIZE, (99, 0, 0)).save(tmp_path / "p" / "b.png")
    problems = {one.photo[-5]: one.problem for one in sidecars(people)}
    assert problems == {"a": "", "b": "Another photo is there now: index it again.", "c": ""}
    say(tmp_path, "b", ("Cleo", place(0)))
    assert [path[-5] for path, _ in import_regions(people).problems] == ["b"]
    assert names(people)["b", 1] == "Ada"


def test_photos_that_would_share_a_sidecar_get_none(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        Image.new("RGB", SIZE).save(tmp_path / name, quality=len(name))
    people = grouped(
        tmp_path / "i.npz", [shows(str(tmp_path / name), ADA) for name in ("a.png", "a.jpg", "b.png")]
    )
    people.name(people.person(1), "Ada")
    problems = {one.photo[-5:]: one.problem for one in sidecars(people, stem=True)}
    assert problems["b.png"] == ""
    assert "leave out --stem" in problems["a.png"]
    assert "leave out --stem" in problems["a.jpg"]


def test_sidecars_follow_what_changes_and_say_what_they_cannot(tmp_path, people):
    people.name(people.person(1), "Ada")
    for one in sidecars(people, people.everyone()):
        write_sidecar(one)
    assert sorted(path.name for path in (tmp_path / "p").glob("*.xmp")) == [
        "a.png.xmp",
        "b.png.xmp",
        "c.png.xmp",
    ]
    people.ignore([people.face(str(tmp_path / "p" / "b.png"), 1)])
    (tmp_path / "p" / "c.png").unlink()
    changed = {one.photo[-5]: one for one in sidecars(people, people.everyone())}
    assert changed["a"].after is None
    assert b"Ada" not in changed["b"].after
    assert changed["c"].problem
    assert opened(tmp_path / "i.npz").facts.names == {}


def test_what_another_index_wrote_stays(tmp_path, people, photos):
    people.name(people.person(1), "Ada")
    for one in sidecars(people, tags=True):
        write_sidecar(one)
    other = grouped(tmp_path / "other.npz", photos)
    assert list(sidecars(other)) == []
    other.name(other.person(2), "Bea")
    for one in sidecars(other):
        write_sidecar(one)
    both = read_people((tmp_path / "p" / "a.png.xmp").read_bytes())
    assert sorted(both.names) == ["Ada", "Bea"]
    other.name(other.person(2), "Beatrix")
    for one in sidecars(other):
        write_sidecar(one)
    both = read_people((tmp_path / "p" / "a.png.xmp").read_bytes())
    assert sorted(both.names) == ["Ada", "Beatrix"]
    assert [one.after for one in sidecars(people, tags=True)] == [None] * 3


def test_both_kinds_of_sidecars_are_kept_in_step(tmp_path, people):
    people.name(people.person(1), "Ada")
    for one in [*sidecars(people, stem=True), *sidecars(people)]:
        write_sidecar(one)
    people.name(people.person(1), "Ada Lovelace")
    for one in sidecars(people):
        write_sidecar(one)
    for name in ("a.png.xmp", "a.xmp"):
        assert read_people((tmp_path / "p" / name).read_bytes()).names == ("Ada Lovelace",)


def test_a_sidecar_that_facesearch_made_goes_when_nothing_is_left_in_it(tmp_path, people):
    people.name(people.person(1), "Ada")
    (tmp_path / "p" / "a.png.xmp").write_bytes(edited(None, Wanted((), ("Eve",), SIZE)).data)
    for one in sidecars(people, tags=True):
        write_sidecar(one)
    assert (tmp_path / "p" / "b.png.xmp").exists()
    people.hide([people.person(1)])
    gone = [one for one in sidecars(people) if one.gone]
    for one in sidecars(people):
        write_sidecar(one)
    assert {one.photo[-5] for one in gone} == {"b", "c"}
    assert not (tmp_path / "p" / "b.png.xmp").exists()
    assert read_people((tmp_path / "p" / "a.png.xmp").read_bytes()).names == ("Eve",)


def test_names_are_taken_out_of_sidecars_whoever_wrote_them(tmp_path, people):
    people.name(people.person(1), "Ada")
    people.name(people.person(2), "Bea")
    for one in sidecars(people, tags=True):
        write_sidecar(one)
    paths = [str(tmp_path / "p" / f"{name}.png") for name in "abcd"]
    for one in cleaned_sidecars(paths, ["Ada"]):
        write_sidecar(one)
    assert read_people((tmp_path / "p" / "a.png.xmp").read_bytes()).names == ("Bea",)
    assert b"Ada" not in (tmp_path / "p" / "a.png.xmp").read_bytes()
    assert not (tmp_path / "p" / "b.png.xmp").exists()
    for one in cleaned_sidecars(paths):
        write_sidecar(one)
    assert not list((tmp_path / "p").glob("*.xmp"))
