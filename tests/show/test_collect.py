import os

import pytest
from PIL import Image

from facesearch.errors import UnreadablePhoto
from facesearch.show.collect import collect


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", ["id_rsa", "notes.txt", "pipe.jpg", "pipe", "folder.jpg"])
def test_a_file_that_is_not_a_photo_is_not_collected(tmp_path, photo, name, link):
    """An index may come from someone else, and name any file."""
    other = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(other)
    elif name.startswith("folder"):
        other.mkdir()
    else:
        other.write_text("secret")
    found = tmp_path / "found"
    with pytest.raises(UnreadablePhoto) as caught:
        collect([str(other), str(photo)], str(found), link=link)
    assert repr(str(other)) in caught.value.message
    assert "the other 1 of 2 photos" in caught.value.message
    assert os.listdir(found) == ["a.png"]


@pytest.mark.parametrize("link", [False, True])
def test_a_picture_without_a_suffix_is_a_photo(tmp_path, photo, link):
    named_outright = photo.rename(tmp_path / "portrait")
    assert collect([str(named_outright)], str(tmp_path / "found"), link=link) == 1
    assert (tmp_path / "found" / "portrait").read_bytes() == named_outright.read_bytes()


def test_a_photo_is_known_by_its_name_alone(tmp_path):
    """Photos in the index were decoded before; decoding thousands again would take minutes."""
    (tmp_path / "a.heic").write_bytes(b"not looked into")
    assert collect([str(tmp_path / "a.heic")], str(tmp_path / "found"), link=False) == 1


@pytest.mark.parametrize("letter", ["a", "é", "日"])
@pytest.mark.parametrize("link", [False, True])
def test_long_names_that_meet_are_shortened(tmp_path, photo, link, letter):
    stem = letter * (251 // len(letter.encode()))
    paths = []
    for number in range(12):
        paths.append(tmp_path / str(number) / f"{stem}.png")
        paths[-1].parent.mkdir()
        Image.new("RGB", (80, 60), (number, 0, 0)).save(paths[-1])
    found = tmp_path / "found"
    assert collect(map(str, paths), str(found), link=link) == 12
    names = sorted(os.listdir(found))
    assert len(names) == 12
    assert all(name.startswith(stem[:80]) and name.endswith(".png") for name in names)
    assert {(found / name).read_bytes() for name in names} == {path.read_bytes() for path in paths}
    assert collect(map(str, paths), str(found), link=link) == 12
    assert sorted(os.listdir(found)) == names
