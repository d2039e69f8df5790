"""What the index makes of photos that are rated, tagged, saved again, copied, renamed, and forgotten."""

import os
import shutil

import cv2
import numpy as np
import pytest
from support.fakes import META, coloured, photo, rate
from test_update import Library, tally

from facesearch import pipeline as pipelines
from facesearch.faces import Box, Face, FileState, PhotoFaces, Status
from facesearch.index.changes import SAME_PLACE, faces_again
from facesearch.index.index import ARRAYS, FORMAT
from facesearch.index.npz.arrays import ArrayWriter, map_arrays
from facesearch.index.npz.store import open_index
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.index.operations import forget, move_root
from facesearch.photos import find
from facesearch.photos.content import fingerprint, picture_digest
from facesearch.plan import make_plan
from facesearch.show.thumbnails import Thumbnails
from facesearch.update import rebuild_index


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path)


def of_first_format(path):
    """Rewrite an index as the first version of facesearch would have written it."""
    arrays = {name: np.array(array) for name, array in map_arrays(path).items()}
    with open(path, "wb") as file, ArrayWriter(file) as writer:
        writer.write("format", np.array(1, np.int64))
        writer.write("meta", arrays["meta"])
        for name in ARRAYS:
            if name not in ("ctime_ns", "file_digest"):
                writer.write(name, arrays["file_digest" if name == "digest" else name])


def test_a_rated_photo_is_not_embedded_again(library):
    library.add(1, 2)
    library.update()
    before = library.contents
    rate(library.root / "001.png")
    assert tally(library.update()) == {"unchanged": 2}
    assert library.looked == []
    after = library.contents
    np.testing.assert_array_equal(after.vectors, before.vectors)
    np.testing.assert_array_equal(after.digest, before.digest)
    assert after.file_digest[0].tobytes() == fingerprint((library.root / "001.png").read_bytes())
    library.check()


def test_a_photo_that_was_rated_and_moved_keeps_its_faces(library):
    library.add(1, 2)
    library.update()
    rate(library.root / "001.png")
    (library.root / "001.png").rename(library.root / "001 best.png")
    assert tally(library.update()) == {"moved": 1, "unchanged": 1}
    assert library.looked == []
    library.check()


def test_a_forgotten_photo_stays_so_when_it_is_rated_copied_and_moved(library):
    library.add(1, 2)
    library.update()
    forget(library.index, [str(library.root / "001.png")])
    rate(library.root / "001.png")
    assert tally(library.update()) == {"forgotten": 1, "unchanged": 1}
    shutil.copy(library.root / "001.png", library.root / "001 copy.png")
    rate(library.root / "001 copy.png", 2)
    (library.root / "001.png").rename(library.root / "sub.png")
    assert tally(library.update()) == {"forgotten": 2, "unchanged": 1}
    assert library.looked == []
    assert tally(library.update(again=True)) == {"indexed": 1, "copied": 1, "unchanged": 1} or library.looked


def test_another_photo_at_the_path_of_a_forgotten_one_is_not_forgotten(library):
    library.add(1, 2)
    library.update()
    forget(library.index, [str(library.root / "001.png")])
    coloured(library.root / "001.png", 901)
    assert tally(library.update()) == {"indexed": 1, "unchanged": 1}


def test_an_erased_face_stays_so_when_the_photo_is_rated(library):
    library.add(1, 2)
    library.update()
    with NpzIndexWriter(library.index) as writer:
        index = writer.index
        writer.changes.erase([(index.file(0).digest, index.box(0))])
        writer.commit()
    rate(library.root / "001.png")
    assert tally(library.update()) == {"unchanged": 2}
    rebuild_index(library.index, META, library.request(), library.pipeline)
    assert library.contents.face_count == 1


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_index_of_the_first_format_is_read_and_renewed_without_embedding(library, interrupted):
    library.add(*range(6))
    photo(library.root / "none.png")
    library.update()
    now = library.contents
    forget(library.index, [str(library.root / "005.png")])
    with NpzIndexWriter(library.index) as writer:
        writer.changes.erase([(writer.index.file(3).file_digest, writer.index.box(3))])
        writer.commit()
    of_first_format(library.index)
    old = library.contents
    assert not old.file_digest.any()
    assert old.digest[0].tobytes() == fingerprint((library.root / "000.png").read_bytes())
    if interrupted:  # Ctrl-C after some photos: what was read is kept

        def stop(one):
            if one.path.endswith("002.png"):
                raise KeyboardInterrupt

        library.update(on_photo=stop)
        assert 0 < library.contents.file_digest.any(axis=1).sum() < 6
    report = library.update()
    assert tally(report) == {"unchanged": 6, "forgotten": 1}
    assert library.looked == []
    renewed = library.contents
    assert int(map_arrays(library.index)["format"]) == FORMAT
    assert renewed.digest.tolist() == np.delete(now.digest, 5, axis=0).tolist()
    np.testing.assert_array_equal(renewed.vectors, np.delete(old.vectors, [], axis=0))
    assert tally(library.update()) == {"unchanged": 6, "forgotten": 1}
    # What was forgotten and erased under the file's digest is known by the picture's now.
    rate(library.root / "005.png")
    rate(library.root / "003.png")
    assert tally(library.update()) == {"unchanged": 6, "forgotten": 1}
    rebuild_index(library.index, META, library.request(), library.pipeline)
    assert library.names == ["000.png", "001.png", "002.png", "003.png", "004.png", "none.png"]
    assert library.contents.face_count == 4


def test_a_changed_picture_of_the_same_size_and_time_is_seen(library):
    library.add(1, 2)
    library.update()
    path = library.root / "001.png"
    about, small = path.stat(), path.read_bytes()
    path.write_bytes(bytes(len(small)))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    report = library.update()
    assert tally(report) == {
        "unchanged": 1,
        "unreadable": {str(path): "It is not a picture in a format that is known here."},
    }


def test_where_the_file_system_does_not_tell_all_photos_can_be_compared(library, monkeypatch):
    monkeypatch.setattr(find, "_TELLS_CHANGES", False)  # as on Windows
    library.add(1, 2, 3)
    library.update()
    before = library.index.stat()
    assert tally(library.update(verify=True)) == {"unchanged": 3}
    assert library.index.stat().st_ino == before.st_ino  # nothing to write
    path = library.root / "001.png"
    about, size = path.stat(), path.stat().st_size
    coloured(path, 4)
    path.write_bytes(path.read_bytes().ljust(size, b"\0")[: max(size, path.stat().st_size)])
    os.truncate(path, max(size, path.stat().st_size))
    if path.stat().st_size == size:
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        assert tally(library.update()) == {"unchanged": 3}
        assert tally(library.update(verify=True)) == {"indexed": 1, "altered": 1, "unchanged": 2}


def test_thumbnails_of_what_left_the_index_leave_the_cache(library):
    library.add(1, 2, 3)
    library.update()
    thumbnails = Thumbnails()

    def pictures():
        return sorted({path.name[:32] for path in thumbnails.folder.rglob("*.jpg")})

    for name in ("001.png", "002.png", "003.png"):
        path = library.root / name
        thumbnails.photo(str(path), picture_digest(path.read_bytes()), 64)
    kept = picture_digest((library.root / "003.png").read_bytes())
    coloured(library.root / "001.png", 901)  # edited
    (library.root / "002.png").unlink()
    rate(library.root / "003.png")
    library.update()
    assert pictures() == [kept.hex()]
    thumbnails.photo(str(library.root / "003.png"), kept, 64)  # of the rated file, a second one
    forget(library.index, [str(library.root / "003.png")])
    thumbnails.forget([kept])
    assert pictures() == []


class TestRenamedLibrary:
    def renamed(self, library):
        library.add(*range(6))
        library.update()
        other = library.root.with_name("renamed")
        library.root.rename(other)
        return library.update(other), other

    def test_it_is_seen(self, library):
        report, other = self.renamed(library)
        assert tally(report) == {"copied": 6, "renamed": {str(library.root): str(other)}}
        assert library.looked == []

    def test_the_move_can_still_be_told(self, library):
        _, other = self.renamed(library)
        assert move_root(library.index, str(library.root), str(other)) == 6
        assert library.contents.photo_count == 6
        assert library.contents.meta.roots == (str(other),)
        assert tally(library.update(other)) == {"unchanged": 6}

    def test_forgetting_the_old_name_keeps_the_photos(self, library):
        _, other = self.renamed(library)
        done = forget(library.index, [str(library.root)])
        assert len(done.removed) == len(done.copies) == 6
        assert all(path.startswith(str(other)) for path in done.copies)
        assert tally(library.update(other)) == {"unchanged": 6}

    def test_forgetting_the_new_name_forgets_what_has_the_old_one_too(self, library):
        _, other = self.renamed(library)
        done = forget(library.index, [str(other)])
        assert (len(done.removed), done.copies) == (12, ())
        assert library.contents.photo_count == 0
        assert tally(library.update(other)) == {"forgotten": 6}


def test_a_photo_that_is_forgotten_stays_out_while_its_copy_stays_in(library):
    library.add(1, 2)
    shutil.copy(library.root / "001.png", library.root / "001 copy.png")
    library.update()
    done = forget(library.index, [str(library.root / "001.png")])
    assert (done.removed, done.copies) == (
        (str(library.root / "001.png"),),
        (str(library.root / "001 copy.png"),),
    )
    assert tally(library.update()) == {"forgotten": 1, "unchanged": 2}
    rate(library.root / "001.png")
    assert tally(library.update()) == {"forgotten": 1, "unchanged": 2}
    (library.root / "001 copy.png").unlink()
    assert tally(library.update()) == {"forgotten": 1, "unchanged": 1, "removed": 1}
    assert library.looked == []


def test_copies_are_forgotten_where_that_is_asked_for(library):
    library.add(1, 2)
    shutil.copy(library.root / "001.png", library.root / "001 copy.png")
    library.update()
    asked = forget(library.index, [str(library.root / "001.png")], copies=True, dry_run=True)
    assert library.contents.photo_count == 3
    assert forget(library.index, [str(library.root / "001.png")], copies=True) == asked
    assert library.names == ["002.png"]
    assert tally(library.update()) == {"forgotten": 2, "unchanged": 1}


# Photos that were saved again.


class Noting:
    """Notes what is carried over."""

    within = 0.05

    def __init__(self):
        self.faces = []

    def over(self, index, faces=()):
        self.faces += faces


def saved_again(path, scale=1.0, quality=90):
    image = cv2.imread(str(path))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    cv2.imwrite(str(path), cv2.resize(image, size), [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_a_photo_that_is_saved_again_hands_on_what_is_known_of_its_faces(library, scale):
    place = library.root / "1.jpg"
    photo(place, (20, 30, 140, (250, 20, 20)), (240, 90, 80, (20, 20, 250)), width=400, height=240)
    noting = Noting()
    library.update(carry=noting)
    before = library.contents
    saved_again(place, scale)
    assert tally(library.update(carry=noting)) == {"indexed": 1}
    after = library.contents
    known = {(before.digest[0].tobytes(), before.box(row)) for row in range(2)}
    found = {(after.digest[0].tobytes(), after.box(row)) for row in range(2)}
    assert ({one for one, _ in noting.faces}, {other for _, other in noting.faces}) == (known, found)
    for (_, was), (_, now) in noting.faces:
        assert was.scaled(scale).overlap(now) > SAME_PLACE


def test_another_photo_under_the_same_path_inherits_nothing(library):
    place = library.root / "1.jpg"
    photo(place, (10, 10, 40, (250, 20, 20)), width=200)
    noting = Noting()
    library.update(carry=noting)
    for other in (
        [(10, 10, 40, (20, 20, 250))],  # somebody else at the same place
        [(120, 30, 40, (250, 20, 20))],  # the same colour elsewhere
    ):
        photo(place, *other, width=200)
        assert tally(library.update(carry=noting)) == {"indexed": 1}
    assert noting.faces == []


def test_an_erased_face_stays_so_when_the_photo_is_saved_again(library):
    place = library.root / "1.jpg"
    photo(place, (10, 10, 40, (250, 20, 20)), (90, 30, 30, (20, 20, 250)), width=200, height=120)
    library.update(carry=Noting())
    with NpzIndexWriter(library.index) as writer:
        writer.changes.erase([(writer.index.file(0).digest, writer.index.box(1))])
        writer.commit()
    saved_again(place, 2.0)
    library.update(carry=Noting())
    assert library.contents.face_count == 1
    photo(place, (120, 10, 40, (20, 250, 20)), (20, 30, 30, (20, 20, 250)), width=200, height=120)
    library.update(carry=Noting())
    assert library.contents.face_count == 2  # another photo


def test_of_two_faces_that_could_be_one_only_the_nearer_is():
    def of(*faces):
        boxes = tuple(Face(Box(x, 0, 40, 40), 1.0) for x, _ in faces)
        vectors = np.float32([[1, y] for _, y in faces])
        return PhotoFaces("/p", FileState(1, 1), Status.OK, boxes, vectors)

    found, _ = faces_again(of((0, 0.0), (3, 0.1)), of((2, 0.1)), 0.5)
    assert [(was.x, now.x) for was, now in found] == [(3, 2)]
    assert faces_again(of((500, 0.0)), of((500, 1.0)), 0.1)[0] == []  # somebody else
    assert faces_again(of((500, 0.0)), of((520, 0.0)), 0.1)[0] == []  # elsewhere
    assert faces_again(PhotoFaces("/p", FileState(1, 1), Status.NO_FACE), of((0, 0.0)), 0.1)[0] == []


def test_faces_far_from_the_corner_are_found_in_boxes_that_differ_a_little():
    def of(*boxes):
        faces = tuple(Face(Box(*box), 1.0) for box in boxes)
        return PhotoFaces("/p", FileState(1, 1), Status.OK, faces, np.eye(len(boxes), dtype=np.float32))

    old, new = of((3000, 2000, 40, 40), (100, 50, 60, 60)), of((1499, 1001, 21, 20), (49, 26, 32, 30))
    found, scale = faces_again(old, new, 0.1)
    assert len(found) == 2
    assert scale == pytest.approx(0.5, abs=0.01)


def test_a_rebuild_takes_thumbnails_of_what_is_gone_out_of_the_cache(library):
    library.add(1, 2)
    library.update()
    path = library.root / "001.png"
    Thumbnails().photo(str(path), picture_digest(path.read_bytes()), 64)
    path.unlink()
    rebuild_index(library.index, META, library.request(), library.pipeline)
    assert not list(Thumbnails().folder.rglob("*.jpg"))
    assert open_index(library.index).photo_count == 1


class TestOnePlaceByTwoNames:
    """A folder that is named by a link and by its real path."""

    @pytest.mark.parametrize("first", ["real", "link"])
    def test_each_photo_is_in_the_index_once(self, library, first):
        library.add(1, 2)
        link = library.root.with_name("link")
        link.symlink_to(library.root)
        names = {"real": library.root, "link": link}
        library.update(names[first])
        for name in names.values():
            report = library.update(name)
            assert report.unchanged == 2
            assert report.aliases == ({} if name == names[first] else {str(name): str(names[first])})
        assert tally(library.update(*names.values()))["unchanged"] == 2
        assert library.contents.meta.roots == (str(names[first]),)
        assert library.contents.photo_count == 2

    def test_both_at_once(self, library):
        library.add(1, 2)
        link = library.root.with_name("link")
        link.symlink_to(library.root)
        assert library.update(link, library.root).indexed == 2
        assert library.contents.meta.roots == (str(link),)

    @pytest.mark.parametrize("name", ["link", "zlink"])  # one before the folder in the alphabet, one behind
    @pytest.mark.parametrize("follow", [False, True])
    def test_a_link_inside_the_folder(self, library, tmp_path, name, follow):
        for number in (1, 2):
            coloured(library.root / "real" / f"{number}.png", number)
        coloured(library.root / "3.png", 3)
        link = library.root / name
        link.symlink_to("real")
        library.update(link)
        report = library.update(follow=follow)
        assert (report.indexed, report.moved, report.kept) == (1, 2, {})
        assert set(library.names) == {"3.png", "real/1.png", "real/2.png"}
        assert library.update(follow=follow).unchanged == 3
        library.check()

    def test_a_link_inside_the_folder_that_is_asked_for_by_its_name(self, library):
        for number in (1, 2):
            coloured(library.root / "real" / f"{number}.png", number)
        (library.root / "deep").mkdir()
        link = library.root / "deep" / "link"
        link.symlink_to("../real")
        library.update()
        report = library.update(link)
        assert report.aliases == {str(link): str(library.root / "real")}
        assert (report.unchanged, report.removed) == (2, 0)
        assert set(library.names) == {"real/1.png", "real/2.png"}

    def test_what_cannot_be_read_by_its_real_name_stays_under_the_other(self, library, monkeypatch):
        for number in (1, 2):
            coloured(library.root / "real" / f"{number}.png", number)
        link = library.root / "link"
        link.symlink_to("real")
        library.update(link)
        read = pipelines.read_content

        def refusing(path, pictures):
            if path.endswith("real/1.png"):
                raise PermissionError(13, "Permission denied", path)
            return read(path, pictures)

        monkeypatch.setattr(pipelines, "read_content", refusing)
        library.update()
        assert "link/1.png" in library.names
        assert "link/2.png" not in library.names
        monkeypatch.undo()
        library.update()
        assert set(library.names) == {"real/1.png", "real/2.png"}
        library.check()

    def test_a_copy_that_became_a_link_is_in_the_index_no_more(self, library):
        for number in (1, 2):
            coloured(library.root / "real" / f"{number}.png", number)
        link = library.root / "link"
        shutil.copytree(library.root / "real", link)
        library.update()
        assert library.contents.photo_count == 4
        third = library.root / "third"
        shutil.copytree(link, third)
        library.update()
        for one in (link, third):
            shutil.rmtree(one)
            one.symlink_to("real")
        assert library.update().removed == 4  # more than half, and yet they are there
        assert set(library.names) == {"real/1.png", "real/2.png"}

    def test_a_folder_above_it(self, library, tmp_path):
        for number in (1, 2):
            coloured(library.root / "family" / f"{number}.png", number)
        coloured(library.root / "3.png", 3)
        link = tmp_path / "link"
        link.symlink_to(library.root / "family")
        library.update(link)
        report = library.update()
        assert (report.indexed, report.unchanged) == (1, 2)
        assert report.aliases == {str(library.root / "family"): str(link)}
        assert library.contents.photo_count == 3
        (library.root / "family" / "1.png").unlink()
        report = library.update()
        assert (report.removed, report.unchanged) == (1, 2)
        assert library.contents.photo_count == 2

    def test_what_cannot_be_looked_into_or_is_left_out_below_it(self, library, tmp_path, monkeypatch):
        for folder in ("family", "family/sub", "family/other"):
            coloured(library.root / folder / "1.png", len(folder))
        link = tmp_path / "link"
        link.symlink_to(library.root / "family")
        library.update(link)
        plan = make_plan(library.contents, library.request(exclude=("sub/",)))[1]
        assert plan.excluded == [str(link / "sub" / "1.png")]
        listed, looked = os.scandir, os.path.exists

        def scandir(folder="."):
            if str(folder).endswith("/sub"):
                raise PermissionError(13, "Permission denied")
            return listed(folder)

        monkeypatch.setattr(os, "scandir", scandir)
        monkeypatch.setattr(os.path, "exists", lambda path: "/sub/" not in str(path) and looked(path))
        plan = make_plan(library.contents, library.request())[1]
        assert list(plan.problems) == [str(library.root / "family" / "sub")]
        assert plan.gone == []

    def test_a_rebuild_of_the_folder_above_it(self, library, tmp_path):
        coloured(library.root / "family" / "1.png", 1)
        link = tmp_path / "link"
        link.symlink_to(library.root / "family")
        library.update(link)
        rebuild_index(library.index, META, library.request(), library.pipeline)
        assert library.contents.photo_count == 1

    def test_a_part_of_it_and_a_photo(self, library):
        library.add(1, 2)
        (library.root / "sub").mkdir()
        coloured(library.root / "sub" / "003.png", 3)
        link = library.root.with_name("link")
        link.symlink_to(library.root)
        library.update(link)
        assert library.update(library.root / "sub").unchanged == 1
        assert library.update(library.root / "001.png").unchanged == 1
        assert library.contents.photo_count == 3
        done = forget(library.index, [str(library.root / "001.png")])
        assert done.removed == (str(link / "001.png"),)
