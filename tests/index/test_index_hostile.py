"""An index can come from someone else: whatever it holds, it is refused with a sentence or safe to use."""

import dataclasses
import io
import json
import os
import zipfile

import numpy as np
import pytest
from support.fakes import META, looked_at, write_index

from facesearch.errors import IndexBroken, IndexFormat
from facesearch.index.npz.store import journal_path, open_index
from facesearch.index.npz.writer import NpzIndexWriter
from facesearch.ranking import nearest

PHOTOS = [looked_at("/p/a.jpg", 2), looked_at("/p/b.jpg", 0), looked_at("/p/\udcff.jpg", 3)]


@pytest.fixture
def path(tmp_path):
    return write_index(tmp_path / "i.npz", PHOTOS, roots=["/p"])


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def assert_refused(path, kind=IndexBroken):
    """See that reader and writer refuse a file with a sentence, and leave it as it is."""
    before = path.read_bytes()
    for use in (lambda: open_index(path), lambda: NpzIndexWriter(path, META).__enter__()):
        with pytest.raises(kind) as caught:
            use()
        assert type(caught.value) is kind
        assert caught.value.message.endswith(".")
        assert caught.value.hint
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock") == [path.name]
    return caught.value.message


def use(index):
    """Do with an index all that a reader does; it must not raise."""
    for photo in range(index.photo_count):
        assert isinstance(index.path(photo), str)
    assert len(index.first_face) == index.photo_count + 1
    for face in range(index.face_count):
        assert index.box(face).area >= 1
        assert 0 <= index.photo[face] < index.photo_count
    for metric in ("cosine", "euclidean"):
        query = np.ones((1, index.meta.dim), np.float32)
        (found,) = nearest(index.vectors, index.norms, query, 3, metric, groups=index.photo)
        assert len(found.rows) <= 3
    index.find("/p/b.jpg")
    assert len(index.meta.roots) >= 0


def test_what_numpy_wrote_is_used_as_well(path):
    vectors = open_index(path).vectors.copy()
    np.savez(path, **arrays_of(path))
    index = open_index(path)
    use(index)
    np.testing.assert_array_equal(index.vectors, vectors)


@pytest.mark.parametrize("part", [0, 1, 20, 100, 0.1, 0.5, 0.9, -1, -22, -60])
def test_a_truncated_file(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part) if isinstance(part, float) else part])
    assert_refused(path)


def test_a_file_that_was_cut_in_front(path):
    path.write_bytes(path.read_bytes()[4096:])
    with pytest.raises(IndexBroken):
        open_index(path)


@pytest.mark.parametrize("data", [b"hello", b"PK\3\4" + bytes(100), b"PK\5\6" + bytes(18), bytes(10_000)])
def test_a_file_of_something_else(path, data):
    path.write_bytes(data)
    assert_refused(path)


def test_a_zip_of_something_else(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<x/>" * 1000)
    assert_refused(path)


def test_an_npz_of_something_else(path):
    np.savez(path, weights=np.eye(3))
    assert "format" in assert_refused(path)


def test_a_compressed_npz(path):
    np.savez_compressed(path, **arrays_of(path))
    assert "compressed" in assert_refused(path)


def test_pickled_objects_are_not_loaded(path, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "loaded"),)

    np.savez(path, **{**arrays_of(path), "paths": np.array([Bomb()], dtype=object)}, allow_pickle=True)
    assert "never loaded" in assert_refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_waited_for(path):
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(IndexBroken, match="not an ordinary file"):
        open_index(path)
    path.unlink()
    os.mkfifo(journal_path(path))
    with pytest.raises(IndexBroken, match="not an ordinary file"):
        NpzIndexWriter(path, META).__enter__()


def test_a_zip_of_very_many_members_is_refused_before_they_are_looked_at(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(201):
            archive.writestr(f"{number}.npy", b"")
    assert "it holds 201 members" in assert_refused(path)


@pytest.mark.parametrize("name", ["p/a.jpg", "./p/a.jpg", "~/a.jpg"])
def test_paths_that_are_not_absolute_are_refused(path, name):
    arrays = arrays_of(path)
    names = sorted([os.fsencode(name), b"/p/b.jpg", b"/p/\xff.jpg"])
    arrays["paths"] = np.frombuffer(b"".join(names), np.uint8)
    arrays["path_ends"] = np.cumsum([len(one) for one in names]).astype(np.int64)
    np.savez(path, **arrays)
    assert "a path is not absolute" in assert_refused(path)


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "i.npz").mkdir()
    with pytest.raises(IndexBroken, match="directory"):
        open_index(tmp_path / "i.npz")


@pytest.mark.parametrize("number", [0, 5, 999, -1, 2**62])
def test_another_format(path, number):
    np.savez(path, **{**arrays_of(path), "format": np.array(number)})
    message = assert_refused(path, IndexFormat)
    assert f"format {number}" in message
    assert "knows format 4" in message


def test_a_newer_format_is_told_before_anything_else_of_it_is_read(path):
    np.savez(path, format=np.array(5), meta=np.array("not JSON"))
    assert_refused(path, IndexFormat)


def changed(name, change):
    """Make a test case that changes one array."""
    return pytest.param(lambda arrays: {**arrays, name: change(arrays[name])}, id=f"{name}-{change.__name__}")


def wrong(name, make):
    def change(array):
        return np.asarray(make(array))

    change.__name__ = make.__name__ if make.__name__ != "<lambda>" else "values"
    return changed(name, change)


def put(at, value):
    def put(array):
        array = array.copy()
        array[at] = value
        return array

    put.__name__ = f"{at}={value}"
    return put


def as_float64(array):
    return array.astype(np.float64)


def one_short(array):
    return array[:-1]


def flat(array):
    return array.reshape(-1)


def scalar(array):
    return array.reshape(-1)[0]


def as_text(array):
    return array.astype("U8")


def big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


FACES = ("vectors", "norms", "boxes", "scores", "landmarks", "photo")
EACH = (*FACES, "paths", "path_ends", "root", "size", "mtime_ns", "digest", "status")


@pytest.mark.parametrize(
    "change",
    [
        *(wrong(name, as_text) for name in EACH),
        *(wrong(name, one_short) for name in EACH),
        *(wrong(name, scalar) for name in EACH),
        *(wrong(name, as_float64) for name in EACH),
        *(wrong(name, flat) for name in ("vectors", "boxes", "landmarks", "digest")),
        *(wrong(name, big_endian) for name in ("vectors", "photo", "path_ends")),
        changed("path_ends", put(0, 0)),
        changed("path_ends", put(0, -5)),
        changed("path_ends", put(1, 2**62)),
        changed("path_ends", put(2, 10**6)),
        changed("path_ends", put(1, 3)),
        changed("photo", put(0, -1)),
        changed("photo", put(-1, 3)),
        changed("photo", put(0, 2)),
        changed("photo", put(0, -(2**31))),
        changed("root", put(0, 1)),
        changed("root", put(0, -1)),
        changed("status", put(0, 3)),
        changed("size", put(0, -1)),
        changed("captured", put(0, 2**62)),
        changed("captured", put(0, 40961)),
        changed("boxes", put((0, 2), 0)),
        changed("boxes", put((0, 3), -7)),
        changed("norms", put(0, np.nan)),
        changed("norms", put(0, np.inf)),
        changed("norms", put(0, -1)),
        changed("paths", put(2, 0)),
    ],
)
def test_an_array_that_is_not_what_it_has_to_be(path, change):
    np.savez(path, **change(arrays_of(path)))
    assert_refused(path)


@pytest.mark.parametrize("name", ["format", "meta", "vectors", "path_ends", "forgotten"])
def test_an_array_that_is_missing(path, name):
    arrays = arrays_of(path)
    del arrays[name]
    np.savez(path, **arrays)
    assert_refused(path)


def stored(**members):
    """Return an .npz of members that are bytes already, such as numpy would never write."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def headed(text, body=b"", version=1):
    head = text.encode("latin1")
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(head).to_bytes(2 if version == 1 else 4, "little")
        + head
        + body
    )


PLAIN = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}\n"


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x09\x00\xff\xff",
        headed("__import__('os').system('true')"),
        headed("(" * 5000),
        headed("[" * 9000 + "]" * 9000),
        headed(PLAIN.format("|O8", False, (3,)), bytes(24)),
        headed(PLAIN.format("|O", False, (3,)), bytes(24)),
        headed(PLAIN.format("<f3", False, (3,)), bytes(9)),
        headed(PLAIN.format("<U0", False, ()), b""),
        headed(PLAIN.format("<U999999999", False, ()), b""),
        headed(PLAIN.format("<f4", False, (2**63, 2**63)), bytes(12)),
        headed(PLAIN.format("<f4", False, (0, 10**30))),
        headed(PLAIN.format("<f4", False, (-1, 3)), bytes(12)),
        headed(PLAIN.format("<f4", False, (1,) * 99), bytes(4)),
        headed(PLAIN.format("<f4", False, "(" + "9" * 5000 + ",)"), bytes(12)),
        headed(PLAIN.format("<f4", True, (2, 3)), bytes(24)),
        headed(PLAIN.format("<f4", False, (5, 3)), bytes(24)),
        headed(PLAIN.format("<f4", False, (5, 3)), bytes(64), version=2),
        headed(PLAIN.format("[('a', '<f4')]", False, (5,)), bytes(20)),
    ],
)
def test_a_member_that_numpy_would_never_write(path, member):
    arrays = {name: npy(array) for name, array in arrays_of(path).items()}
    path.write_bytes(stored(**{**arrays, "vectors": member}))
    assert_refused(path)


def meta_with(**changes):
    return json.dumps({**json.loads(dataclasses.replace(META, roots=("/p",)).to_json()), **changes})


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
        meta_with(model=1),
        meta_with(dim="3"),
        meta_with(dim=0),
        meta_with(dim=-3),
        meta_with(dim=True),
        meta_with(dim=3.0),
        meta_with(dim=10**30),
        meta_with(dim=4),
        meta_with(settings=[]),
        meta_with(settings={"margin": {}}),
        *(meta_with(settings={"margin": value}) for value in (True, "0.3", None, -0.1, 11, np.nan, np.inf)),
        *(meta_with(settings={"min_face": value}) for value in (True, "x", None, -1, 2**31, 30.0, [])),
        *(meta_with(settings={"faces": value}) for value in (True, "some", None, ["all"])),
        *(meta_with(settings={"rotations": value}) for value in (0, "no", None, {})),
        meta_with(settings={"margin": 0.3, "unknown": [1]}),
        meta_with(roots="/p"),
        meta_with(roots=[1]),
        meta_with(roots=["\0"]),
        meta_with(roots=["\ud800"]),
        meta_with(roots=[]),
        meta_with(created=None),
    ],
)
def test_meta_data_that_are_none(path, meta):
    np.savez(path, **{**arrays_of(path), "meta": np.array(meta)})
    assert_refused(path)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"margin": 10},
        {"min_face": 0, "faces": "all", "rotations": False, "margin": 0.0},
        {"min_face": 2**31 - 1, "faces": "largest", "rotations": True},
    ],
)
def test_settings_that_can_be_used_are_read(path, settings):
    np.savez(path, **{**arrays_of(path), "meta": np.array(meta_with(settings=settings))})
    assert open_index(path).meta.settings == settings


def test_meta_data_of_another_type(path):
    for array in (np.array(["{}"]), np.array(b"{}"), np.array(3)):
        np.savez(path, **{**arrays_of(path), "meta": array})
        assert_refused(path)


def test_meta_data_with_more_in_it_are_read(path):
    np.savez(path, **{**arrays_of(path), "meta": np.array(meta_with(more={"x": 1}))})
    use(open_index(path))


def test_a_photo_outside_its_root_is_not_written_on(path):
    np.savez(path, **{**arrays_of(path), "meta": np.array(meta_with(roots=["/elsewhere"]))})
    use(open_index(path))
    before = path.read_bytes()
    with pytest.raises(IndexBroken, match="root"), NpzIndexWriter(path, META):
        pass
    assert path.read_bytes() == before


def test_vectors_that_are_not_finite_can_be_searched(path):
    arrays = arrays_of(path)
    arrays["vectors"][0] = np.nan
    arrays["vectors"][1] = np.inf
    np.savez(path, **arrays)
    use(open_index(path))


def test_offsets_past_the_end_and_before_the_beginning(path):
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
    heads = [at for at in range(start, len(whole)) if whole.startswith(b"PK\1\2", at)]
    # Sizes, names' lengths and the local header's offset of every entry of the directory.
    for head in heads[:4]:
        for field, width in ((20, 4), (24, 4), (28, 2), (30, 2), (42, 4), (10, 2), (8, 2)):
            for value in (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
                data = bytearray(whole)
                data[head + field : head + field + width] = (value % 256**width).to_bytes(width, "little")
                path.write_bytes(data)
                try:
                    use(open_index(path))
                except (IndexBroken, IndexFormat):
                    continue


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))])
def test_random_damage_is_refused_or_harmless(path, seed):
    rng = np.random.default_rng(seed)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        # Where something is decided: the headers of members and of arrays, and the directory.
        spots = [member.header_offset + at for member in file.infolist() for at in range(46)]
        spots += [at for at in range(file.start_dir) if at % 4096 >= 4096 - 128]
        spots += list(range(file.start_dir, len(whole)))
    refused = 0
    for _ in range(120):
        data = bytearray(whole)
        for place in rng.choice(spots, rng.integers(1, 4)):
            data[place] = (
                rng.integers(0, 256) if rng.random() < 0.7 else data[place] ^ (1 << rng.integers(0, 8))
            )
        path.write_bytes(data)
        try:
            use(open_index(path))
        except (IndexBroken, IndexFormat):
            refused += 1
    assert refused > 3


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for length in sorted({*rng.integers(0, len(data), 150).tolist(), *range(len(data) - 40, len(data))}):
        path.write_bytes(data[:length])
        with pytest.raises(IndexBroken):
            open_index(path)
