import os
import subprocess
import sys
import unicodedata

import pytest
from support.command import without_roots_privileges

from facesearch.errors import FacesearchError
from facesearch.photos.find import ExpectedPhotos, Scan, find_photos, is_photo_name


def write(folder, *names):
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"photo")


def found(folder, **options):
    """Return the photos below a folder, relative to it."""
    scan = Scan()
    find_photos(str(folder), scan, **options)
    assert scan.unreadable == {}
    return {os.path.relpath(path, folder) for path in scan.photos}


def test_photos_are_told_by_their_suffix(tmp_path):
    photos = {"a.jpg", "b.JPEG", "c.Png", "d.webp", "e.tiff", "f.bmp", "g.pgm", "h.gif", "i.HEIC", "j.avif"}
    write(tmp_path, *photos, "notes.txt", "film.doc", "jpg", "photo.jpg.xmp", "raw.jpg~")
    assert found(tmp_path) == photos
    assert is_photo_name("x.PPM")
    assert not is_photo_name("x.pdf")


def test_size_and_time_are_those_of_the_file(tmp_path):
    write(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_700_000_000_123_456_789))
    scan = Scan()
    find_photos(str(tmp_path), scan)
    photo = scan.photos[str(tmp_path / "a.jpg")]
    assert (photo.size, photo.mtime_ns) == (5, 1_700_000_000_123_456_789)


def expecting(scan):
    """Return a scan that expects what another one found."""
    photos = sorted(scan.photos.values())
    return Scan(expected=ExpectedPhotos(*zip(*photos, strict=True))), [photo.path for photo in photos]


@pytest.mark.skipif(os.name == "nt", reason="a listing there does not tell when a file was changed")
def test_photos_that_are_as_expected_are_only_marked(tmp_path):
    write(tmp_path, *(f"{name}.jpg" for name in "abcdefg"), "x/h.jpg", ".hidden/i.jpg")
    first = Scan()
    find_photos(str(tmp_path), first, hidden=True)
    write(tmp_path, "new.jpg", "notes.txt")
    (tmp_path / "a.jpg").write_bytes(b"other")  # the size is the same
    (tmp_path / "b.jpg").write_bytes(b"longer than before")
    (tmp_path / "c.jpg").unlink()
    (tmp_path / "d.jpg").unlink()
    (tmp_path / "d.jpg").symlink_to("e.jpg")
    (tmp_path / "f.jpg").unlink()
    (tmp_path / "f.jpg").mkdir()
    scan, paths = expecting(first)
    find_photos(str(tmp_path), scan)
    as_expected = {
        os.path.relpath(path, tmp_path) for path, one in zip(paths, scan.expected.found, strict=True) if one
    }
    assert as_expected == {"e.jpg", "g.jpg", "x/h.jpg"}
    assert {os.path.relpath(path, tmp_path) for path in scan.photos} == {"a.jpg", "b.jpg", "new.jpg"}
    assert (scan.links, dict(scan.passed_over)) == (1, {"TXT": 1})


def test_what_a_pattern_leaves_out_is_not_as_expected(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg", "x/a.jpg", "x/c.jpg")
    first = Scan()
    find_photos(str(tmp_path), first)
    for pattern, left in (("a.jpg", ["b.jpg", "x/c.jpg"]), ("x/", ["a.jpg", "b.jpg"])):
        scan, paths = expecting(first)
        find_photos(str(tmp_path), scan, exclude=[pattern])
        met = [
            path for path, one in zip(paths, scan.expected.found, strict=True) if one or path in scan.photos
        ]
        assert met == [str(tmp_path / name) for name in left]


def test_folders_are_searched_to_the_bottom(tmp_path):
    write(tmp_path, "a.jpg", "x/b.jpg", "x/y/z/c.jpg", "folder.jpg/d.jpg")
    assert found(tmp_path) == {"a.jpg", "x/b.jpg", "x/y/z/c.jpg", "folder.jpg/d.jpg"}


def test_thumbnails_of_network_storage_are_left_alone(tmp_path):
    write(tmp_path, "a.jpg", "@eaDir/a.jpg", "x/node_modules/b.png", "$RECYCLE.BIN/c.jpg")
    assert found(tmp_path) == {"a.jpg"}


def test_hidden_names_are_left_alone_unless_wanted(tmp_path):
    write(tmp_path, "a.jpg", ".b.jpg", ".trash/c.jpg")
    assert found(tmp_path) == {"a.jpg"}
    assert found(tmp_path, hidden=True) == {"a.jpg", ".b.jpg", ".trash/c.jpg"}


def test_a_hidden_folder_that_is_named_is_searched(tmp_path):
    write(tmp_path, ".photos/a.jpg")
    assert found(tmp_path / ".photos") == {"a.jpg"}


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("*_small.jpg", {"a_small.jpg", "x/b_small.jpg"}),
        ("x", {"x/b.jpg", "x/b_small.jpg", "x/x/c.jpg"}),
        ("x/", {"x/b.jpg", "x/b_small.jpg", "x/x/c.jpg"}),
        ("x/x", {"x/x/c.jpg"}),
        ("x/*.jpg", {"x/b.jpg", "x/b_small.jpg"}),
        ("x/**", {"x/b.jpg", "x/b_small.jpg", "x/x/c.jpg"}),
        ("./x", {"x/b.jpg", "x/b_small.jpg", "x/x/c.jpg"}),
        ("/x", {"x/b.jpg", "x/b_small.jpg", "x/x/c.jpg"}),
        ("./y", {"y/d.jpg"}),
        ("**/y/**", {"y/d.jpg", "z/y/e.jpg"}),
        ("**/y", {"y/d.jpg", "z/y/e.jpg"}),
        ("{root}/y", {"y/d.jpg"}),
        ("{root}/z/y/", {"z/y/e.jpg"}),
        ("x/b*", {"x/b.jpg", "x/b_small.jpg"}),
        ("y/", {"y/d.jpg", "z/y/e.jpg"}),
        ("z/y", {"z/y/e.jpg"}),
        ("[ab]*.jpg", {"a.jpg", "a_small.jpg", "x/b.jpg", "x/b_small.jpg"}),
        ("nothing", set()),
    ],
)
def test_patterns_leave_out_names_paths_and_folders(tmp_path, pattern, gone):
    every = {"a.jpg", "a_small.jpg", "x/b.jpg", "x/b_small.jpg", "x/x/c.jpg", "y/d.jpg", "z/y/e.jpg"}
    write(tmp_path, *every)
    pattern = pattern.format(root=tmp_path)
    assert found(tmp_path, exclude=[pattern]) == every - gone
    scan = Scan()
    find_photos(str(tmp_path), scan, exclude=[pattern, "no such thing"])
    assert scan.unmatched([pattern, "no such thing"]) == [pattern] * (not gone) + ["no such thing"]
    # What was found before is told by the same rules.
    assert {name for name in every if scan.excludes(str(tmp_path / name))} == gone


def test_the_last_pattern_that_matches_decides(tmp_path):
    write(tmp_path, "a.gif", "keep.gif", "b.jpg")
    assert found(tmp_path, exclude=["*.gif", "!keep.gif"]) == {"keep.gif", "b.jpg"}
    assert found(tmp_path, exclude=["!keep.gif", "*.gif"]) == {"b.jpg"}


@pytest.mark.parametrize(("typed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_pattern_matches_however_its_letters_are_composed(tmp_path, typed, stored):
    write(tmp_path, f"{unicodedata.normalize(stored, 'Été')}/a.jpg", "b.jpg")
    assert found(tmp_path, exclude=[unicodedata.normalize(typed, "Été")]) == {"b.jpg"}


def test_a_folder_says_itself_what_is_left_out(tmp_path):
    write(tmp_path, "a.jpg", "a.gif", "x/b.gif", "x/c.jpg", "x/deep/d.gif", "x/deep/e.jpg", "y/f.jpg")
    (tmp_path / ".facesearchignore").write_text("# no animations\n*.gif\n", encoding="utf-8-sig")
    (tmp_path / "x" / ".facesearchignore").write_text("!b.gif\n/deep/e.jpg\n")
    (tmp_path / "y" / ".nomedia").touch()
    assert found(tmp_path) == {"a.jpg", "x/b.gif", "x/c.jpg"}
    assert found(tmp_path / "y") == {"f.jpg"}  # it was named
    assert found(tmp_path, exclude=["!*.gif"]) == {"a.jpg", "a.gif", "x/b.gif", "x/c.jpg", "x/deep/d.gif"}
    (tmp_path / "x" / ".facesearchignore").write_text("!\n")
    scan = Scan()
    find_photos(str(tmp_path), scan)
    assert scan.unreadable.keys() == {str(tmp_path / "x" / ".facesearchignore")}


BINS = [
    *("$Recycle.Bin", "#Recycle", "@Recycle", "#snapshot", "@Recently-Snapshot", "RECYCLER", "LOST.DIR"),
    *("lost+found", "__MACOSX", "deep/A.photoslibrary/resources/derivatives", "Catalog.lrdata"),
    *("iPod Photo Cache", "@eaDir", "System Volume Information", "node_modules", "ReCycler"),
]


@pytest.mark.parametrize("folder", BINS)
def test_bins_snapshots_and_thumbnails_are_left_out(tmp_path, folder):
    write(tmp_path, "a.jpg", f"{folder}/b.jpg", f"x/{folder}/c.jpg")
    assert found(tmp_path) == {"a.jpg"}
    assert len(found(tmp_path, defaults=False)) == 3
    assert len(found(tmp_path, exclude=[f"!{folder.rpartition('/')[2]}"])) == 3


def test_what_is_passed_over_is_counted(tmp_path):
    write(tmp_path, "a.jpg", "b.pdf", "c.PDF", "d.mp3", "x/README", "x/.hidden.mov")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    scan = Scan()
    find_photos(str(tmp_path), scan)
    assert scan.passed_over == {"PDF": 2, "MP3": 1, "no suffix": 1}
    assert scan.links == 1


@pytest.mark.parametrize("pattern", ["!", "\\"])
def test_what_is_no_pattern_is_said(tmp_path, pattern):
    with pytest.raises(FacesearchError, match="is no pattern") as raised:
        find_photos(str(tmp_path), Scan(), exclude=[pattern])
    assert ".gitignore" in raised.value.hint


def test_several_patterns_add_up(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    assert found(tmp_path, exclude=["a*", "b*"]) == {"c.jpg"}


def test_the_folders_above_are_not_matched(tmp_path):
    write(tmp_path, "private/a.jpg")
    assert found(tmp_path / "private", exclude=["private"]) == {"a.jpg"}


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path):
    write(tmp_path, ".scan0001")
    path = str(tmp_path / ".scan0001")
    scan = Scan()
    find_photos(path, scan, exclude=["*scan*"])
    assert list(scan.photos) == [path]


def test_links_are_followed_only_when_wanted(tmp_path):
    write(tmp_path, "real/a.jpg", "real/sub/b.jpg", "library/c.jpg")
    library = tmp_path / "library"
    (library / "folder").symlink_to(tmp_path / "real")
    (library / "one.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (library / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert found(library) == {"c.jpg"}
    assert found(library, follow=True) == {"c.jpg", "one.jpg", "folder/a.jpg", "folder/sub/b.jpg"}


def test_a_root_that_is_a_link_is_searched(tmp_path):
    write(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == {"a.jpg"}


def test_loops_of_links_end(tmp_path):
    write(tmp_path, "a.jpg", "x/b.jpg")
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    (tmp_path / "x" / "self").symlink_to(tmp_path / "x")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    # Each folder once, by whichever of its names was met first.
    assert len(found(tmp_path, follow=True)) == 2


def test_a_folder_that_is_there_itself_keeps_its_name_where_a_link_leads_to_it_too(tmp_path):
    write(tmp_path, "real/a.jpg")
    for name in ("early", "sooner"):  # one before it in the alphabet, and one behind
        (tmp_path / name).symlink_to(tmp_path / "real")
    assert found(tmp_path, follow=True) == {"real/a.jpg"}


def test_a_link_to_itself_is_reported_and_no_more(tmp_path):
    write(tmp_path, "a.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    scan = Scan()
    find_photos(str(tmp_path), scan, follow=True)
    assert list(scan.photos) == [str(tmp_path / "a.jpg")]
    assert list(scan.unreadable) == [str(tmp_path / "loop.jpg")]


@pytest.mark.parametrize(
    "name",
    [
        "with space.jpg",
        "new\nline.jpg",
        "quote'\".jpg",
        "tab\t.jpg",
        "näme 日本.jpg",
        b"\xff\xfe\x80.jpg",
        "-q.jpg",
    ],
)
def test_every_name_a_file_can_have(tmp_path, name):
    write(tmp_path, name)
    scan = Scan()
    find_photos(str(tmp_path), scan, exclude=["other*"])
    assert [os.fsencode(os.path.basename(path)) for path in scan.photos] == [os.fsencode(name)]


def test_two_roots_that_overlap_give_each_photo_once(tmp_path):
    write(tmp_path, "a.jpg", "x/b.jpg")
    scan = Scan()
    find_photos(str(tmp_path), scan)
    find_photos(str(tmp_path / "x"), scan)
    assert set(scan.photos) == {str(tmp_path / "a.jpg"), str(tmp_path / "x" / "b.jpg")}


def test_a_root_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_photos(str(tmp_path / "nowhere"), Scan())


def test_pipes_in_a_folder_are_no_photos(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert found(tmp_path) == set()


def test_a_folder_that_cannot_be_read_is_reported_and_the_rest_found(tmp_path):
    write(tmp_path, "a.jpg", "locked/b.jpg", "open/c.jpg")
    (tmp_path / "locked").chmod(0)
    code = (
        "import os, sys\n"
        "from facesearch.photos.find import Scan, find_photos\n"
        "scan = Scan()\n"
        "find_photos(sys.argv[1], scan)\n"
        "print(sorted(map(os.path.basename, scan.photos)), sorted(scan.unreadable.items()))\n"
        "try:\n    find_photos(sys.argv[1] + '/locked', scan)\n"
        "except PermissionError:\n    print('refused')\n"
    )
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=without_roots_privileges,
        )
    finally:
        (tmp_path / "locked").chmod(0o700)
    expected = [(str(tmp_path / "locked"), "Permission denied")]
    assert ran.stdout == f"['a.jpg', 'c.jpg'] {expected}\nrefused\n", ran.stderr


def test_a_folder_that_vanishes_on_the_way_is_reported(tmp_path, monkeypatch):
    write(tmp_path, "a.jpg", "x/b.jpg")
    real = os.scandir

    def scandir(folder):
        if os.fspath(folder) == str(tmp_path / "x"):
            os.rename(folder, f"{folder} gone")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    scan = Scan()
    find_photos(str(tmp_path), scan)
    assert list(scan.photos) == [str(tmp_path / "a.jpg")]
    assert list(scan.unreadable) == [str(tmp_path / "x")]
