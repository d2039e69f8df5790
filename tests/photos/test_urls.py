import os
from datetime import datetime, timezone

import fsspec
import pytest
from support.fakes import coloured, encoded, picture

from facesearch.errors import FacesearchError
from facesearch.photos import urls
from facesearch.photos.content import read_content
from facesearch.photos.find import Scan, find_photos
from facesearch.photos.urls import absolute_path, is_folder, is_photo_url, is_there


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True) if system.store else None
    for name in ("a.jpg", "deep/b.PNG", "deep/notes.txt", ".hidden/c.jpg", "@eaDir/d.jpg", "deep/.e.jpg"):
        system.pipe_file(f"/pics/{name}", encoded(picture()))
    yield system
    system.rm("/", recursive=True)


def found(*roots, **options):
    scan = Scan()
    for root in roots:
        find_photos(root, scan, **options)
    return scan


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("s3://bucket/a", True),
        ("gs://b", True),
        ("memory://a", True),
        ("file:///a/b", False),
        ("FILE:///a/b", False),
        ("/a/b", False),
        ("C://x", False),
        ("C:\\x", False),
        ("a/s3://b", False),
        ("", False),
        ("://a", False),
    ],
)
def test_what_is_a_url(path, is_one):
    assert is_photo_url(path) is is_one


def test_paths_become_absolute_and_urls_one_way_of_writing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_path("a/../b") == str(tmp_path / "b")
    assert absolute_path("file:///a/b") == "/a/b"
    assert absolute_path("memory://pics/") == absolute_path("memory:///pics") == "memory:///pics"


def test_a_folder_by_url_is_walked_as_one_on_disk_is(memory, tmp_path):
    for name in memory.find("/pics"):
        file = tmp_path / name.strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(memory.cat_file(name))
    here, root = tmp_path / "pics", absolute_path("memory://pics")
    for options in ({}, {"hidden": True}, {"exclude": ["deep"]}, {"exclude": ["deep/b*", "a.*"]}):
        on_disk = {os.path.relpath(path, here) for path in found(str(here), **options).photos}
        by_url = {path[len(root) + 1 :] for path in found(root, **options).photos}
        assert by_url == on_disk, options
    assert found(root).photos[f"{root}/a.jpg"].size == len(encoded(picture()))


def test_a_file_that_is_named_outright_is_taken_whatever_its_suffix(memory):
    name = absolute_path("memory://pics/deep/notes.txt")
    assert list(found(name).photos) == [name]


def test_what_is_read_is_what_was_listed(memory):
    scan = found(absolute_path("memory://pics"))
    for photo in scan.photos.values():
        content = read_content(photo.path)
        assert (content.file.size, content.file.mtime_ns) == (photo.size, photo.mtime_ns)
        assert content.data == encoded(picture())


def test_what_is_there_and_what_is_a_folder(memory):
    assert is_there("memory://pics/a.jpg")
    assert not is_there("memory://pics/no.jpg")
    assert is_folder("memory://pics/deep")
    assert not is_folder("memory://pics/a.jpg")
    assert not is_folder("memory://no")
    with pytest.raises(FileNotFoundError, match="No such file"):
        found("memory://no")


class Failing:
    """A file system that fails so many times before it answers."""

    def __init__(self, system, error, times):
        self.system, self.error, self.left = system, error, times

    def __getattr__(self, name):
        def ask(*args, **options):
            if name in ("info", "cat_file", "find") and self.left:
                self.left -= 1
                raise self.error
            return getattr(self.system, name)(*args, **options)

        return ask


@pytest.fixture
def failing(memory, monkeypatch):
    def fail(error, times):
        system = Failing(memory, error, times)
        monkeypatch.setattr(urls, "_open_system", lambda scheme: system)
        monkeypatch.setattr(urls, "_FIRST_WAIT", 0.0)
        return system

    return fail


class Odd(Exception):
    """What a package raises that knows no OSError."""


@pytest.mark.parametrize("error", [Odd("500"), TimeoutError("slow"), ConnectionResetError("gone"), Odd()])
def test_a_failure_that_passes_is_not_seen(failing, error):
    system = failing(error, 2)
    assert read_content("memory://pics/a.jpg").data == encoded(picture())
    assert system.left == 0


@pytest.mark.parametrize("error", [Odd("500: no\nmore"), Odd()])
def test_a_failure_that_stays_is_an_error_of_reading(failing, error):
    system = failing(error, 100)
    with pytest.raises(OSError, match=r"500: no$|Odd$"):
        read_content("memory://pics/a.jpg")
    assert system.left == 100 - urls.TRIES
    assert is_there("memory://pics/a.jpg")  # who knows
    assert not is_folder("memory://pics")


@pytest.mark.parametrize(
    ("error", "said"),
    [(PermissionError("403"), "Permission denied"), (FileNotFoundError("x"), "No such file")],
)
def test_a_no_is_not_asked_for_again(failing, error, said):
    system = failing(error, 100)
    with pytest.raises(type(error), match=said):
        read_content("memory://pics/a.jpg")
    assert system.left == 99


def test_a_file_that_is_being_written_is_not_taken_half(memory, monkeypatch):
    class Growing(Failing):
        def __getattr__(self, name):
            if name == "cat_file":
                return lambda path: b"half"
            return getattr(self.system, name)

    monkeypatch.setattr(urls, "_open_system", lambda scheme: Growing(memory, None, 0))
    with pytest.raises(OSError, match="changes while it is read"):
        read_content("memory://pics/a.jpg")


@pytest.mark.parametrize(
    ("info", "differs"),
    [
        ({"LastModified": datetime(2026, 1, 2, 3, 4, 5, 678, timezone.utc)}, {"LastModified": None}),
        ({"mtime": 1.5}, {"mtime": 2.5}),
        ({"ETag": "a"}, {"ETag": "b"}),
        ({"md5Hash": "a"}, {"md5Hash": "b"}),
    ],
)
def test_a_file_that_was_written_anew_has_another_time(info, differs):
    assert urls._written(info) == urls._written(dict(info))
    assert urls._written(info) != urls._written({**info, **differs})
    assert 0 <= urls._written(info) < 1 << 63


def test_a_file_system_that_is_not_known_is_said():
    with pytest.raises(FacesearchError, match="quux:// is not a file system that is known") as raised:
        absolute_path("quux://a")
    assert "memory" in raised.value.hint


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(scheme, **options):
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    urls._open_system.cache_clear()
    with pytest.raises(FacesearchError, match="Install gcsfs"):
        absolute_path("gs://a")


def test_ordinary_paths_need_no_package(tmp_path):
    """fsspec is an extra: without it, all that is no URL works."""
    import subprocess
    import sys

    photo = coloured(tmp_path / "a.png", 1)
    code = (
        "import sys\n"
        "sys.modules['fsspec'] = None\n"
        "from facesearch.photos.content import read_content\n"
        "from facesearch.photos.urls import absolute_path\n"
        f"print(read_content(absolute_path({str(photo)!r})).file.size)\n"
        "try:\n"
        "    absolute_path('s3://a')\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        str(photo.stat().st_size),
        "s3:// needs fsspec, which is not installed. In a checkout of facesearch, run: pip install '.[url]'",
    ]
