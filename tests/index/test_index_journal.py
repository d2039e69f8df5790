import dataclasses
import os
import struct
import zlib

import numpy as np
import pytest
from support.fakes import META, looked_at, write_index

from facesearch.errors import IndexBroken, IndexConflict
from facesearch.faces import NOT_ASKED, FileState, Moment
from facesearch.index.meta import Meta
from facesearch.index.npz.journal import MAGIC, Journal, _pack, read_journal
from facesearch.index.npz.store import index_meta, journal_path, open_index
from facesearch.index.npz.writer import NpzIndexWriter

META_ROOTED = dataclasses.replace(META, roots=("/p",))
PHOTOS = [looked_at("/p/a.jpg", 2), looked_at("/p/b\udcff.jpg", 0), looked_at("/p/c.jpg", 1)]


def write_journal(path, photos=PHOTOS, meta=META_ROOTED):
    """Write a journal, and give where its records end, the first with the meta data."""
    ends = []
    with Journal(path, meta) as journal:
        ends.append(path.stat().st_size)
        for photo in photos:
            journal.add(photo)
            ends.append(path.stat().st_size)
    return ends


def record(payload):
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def hand_made(*payloads, meta=META_ROOTED):
    return MAGIC + record(meta.to_json().encode()) + b"".join(map(record, payloads))


def entry(*, path=b"/p/x.jpg", count=0, width=0, status=1, body=b"", length=None, size=1, captured=7 * 4096):
    about = (size, 2, 3, captured, b"d" * 16, b"f" * 16, status, count, width)
    head = struct.pack("<qqqq16s16sBIII", *about, len(path) if length is None else length)
    return head + body + path


def test_what_is_added_is_read(tmp_path):
    path = tmp_path / "j"
    write_journal(path)
    read = read_journal(path)
    assert read.meta == META_ROOTED
    assert read.torn == 0
    assert [entry.path for entry in read.entries] == [b"/p/a.jpg", b"/p/b\xff.jpg", b"/p/c.jpg"]
    for found, photo in zip(read.entries, PHOTOS, strict=True):
        assert found.file == photo.file
        assert found.status == photo.status
        assert len(found.vectors) == len(found.boxes) == len(photo.faces)
        if photo.vectors is not None:
            np.testing.assert_array_equal(found.vectors, photo.vectors)


def test_cut_off_anywhere_it_holds_the_whole_records(tmp_path):
    ends = write_journal(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    assert ends[-1] == len(data)
    path = tmp_path / "cut"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        read = read_journal(path)
        whole = sum(end <= length for end in ends)
        assert (read.meta is not None) == (whole > 0), length
        assert len(read.entries) == max(0, whole - 1), length
        kept = max([end for end in ends if end <= length], default=len(MAGIC) if length >= len(MAGIC) else 0)
        assert read.torn == length - kept


def test_a_flipped_byte_ends_it_there(tmp_path):
    ends = write_journal(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "flipped"
    for place in range(len(MAGIC), len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 0x41
        path.write_bytes(flipped)
        read = read_journal(path)
        assert len(read.entries) == max(0, sum(end <= place for end in ends) - 1), place
        assert read.torn


def test_zeros_after_any_part_of_it_end_it_there(tmp_path):
    """As a power cut leaves them."""
    ends = write_journal(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "zeros"
    for length in range(len(data) + 1):
        for zeros in (1, 8, 4096):
            path.write_bytes(data[:length] + bytes(zeros))
            read = read_journal(path)
            # A zero may have been there before.
            as_they_were = sum(
                end <= length or (data[length:end] == bytes(end - length)[:zeros]) for end in ends
            )
            assert len(read.entries) == max(0, as_they_were - 1), (length, zeros)
            assert read.torn or length + zeros < len(MAGIC)
    path.write_bytes(bytes(5000))
    assert read_journal(path).entries == []


@pytest.mark.parametrize("length", [0, 8, 300, None])
def test_a_writer_takes_in_what_stands_before_the_zeros(tmp_path, length):
    path = tmp_path / "i.npz"
    left = journal_path(path)
    ends = write_journal(left)
    data = left.read_bytes()
    length = len(data) if length is None else length
    left.write_bytes(data[:length] + bytes(4096))
    with NpzIndexWriter(path, META) as writer:
        assert writer.recovered == max(0, sum(end <= length for end in ends) - 1)
        assert writer.torn
    assert not left.exists()


def test_a_journal_of_another_index_is_refused_and_left(tmp_path):
    path = write_index(tmp_path / "i.npz", PHOTOS, roots=["/p"])
    begun = dataclasses.replace(open_index(path).meta, created="2026-01-01T00:00:00.000+00:00")
    write_journal(journal_path(path), [looked_at("/p/new.jpg")], begun)
    before, left = path.read_bytes(), journal_path(path).read_bytes()
    with pytest.raises(IndexConflict, match="another index, which was begun 2026-01-01") as caught:
        NpzIndexWriter(path).__enter__()
    assert caught.value.hint
    assert (path.read_bytes(), journal_path(path).read_bytes()) == (before, left)


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_the_next_writer_takes_in_what_was_left(tmp_path, cut):
    path = tmp_path / "i.npz"
    left = journal_path(path)
    write_journal(left)
    left.write_bytes(left.read_bytes()[: left.stat().st_size - cut])
    with NpzIndexWriter(path, META) as writer:
        assert (writer.recovered, bool(writer.torn)) == ((3, False) if not cut else (2, True))
        assert writer.index.photo_count == writer.recovered
    assert not left.exists()
    assert open_index(path).meta.roots == ("/p",)


def test_a_journal_on_top_of_an_index_replaces_what_it_knows_better(tmp_path):
    path = write_index(tmp_path / "i.npz", [looked_at("/p/a.jpg", 1), looked_at("/p/z.jpg", 1)], roots=["/p"])
    write_journal(journal_path(path), [looked_at("/p/a.jpg", 3, seed=1), looked_at("/q/n.jpg")],
                  dataclasses.replace(META, roots=("/p", "/q")))  # fmt: skip
    with NpzIndexWriter(path) as writer:
        assert writer.recovered == 2
    layout = open_index(path)
    assert [layout.path(photo) for photo in range(layout.photo_count)] == ["/p/a.jpg", "/p/z.jpg", "/q/n.jpg"]
    assert layout.photo.tolist() == [0, 0, 0, 1, 2]
    np.testing.assert_array_equal(layout.vectors[:3], looked_at("/p/a.jpg", 3, seed=1).vectors)


def test_the_making_is_known_before_the_first_index_is_written(tmp_path):
    path = tmp_path / "i.npz"
    write_journal(journal_path(path))
    assert index_meta(path) == META_ROOTED
    with NpzIndexWriter(path) as writer:  # no meta given: the journal's
        assert writer.index.meta.model == META.model


def test_a_journal_cut_in_its_first_record_says_nothing(tmp_path):
    path = tmp_path / "i.npz"
    write_journal(journal_path(path))
    journal_path(path).write_bytes(journal_path(path).read_bytes()[:40])
    assert index_meta(path) is None
    with NpzIndexWriter(path, META) as writer:
        assert writer.torn
    assert open_index(path).photo_count == 0


def test_a_journal_of_another_making_is_refused_and_left(tmp_path):
    path = write_index(tmp_path / "i.npz", PHOTOS, roots=["/p"])
    before = path.read_bytes()
    write_journal(journal_path(path), meta=dataclasses.replace(META_ROOTED, model="other"))
    left = journal_path(path).read_bytes()
    with pytest.raises(IndexConflict, match="'other'"), NpzIndexWriter(path):
        pass
    assert path.read_bytes() == before
    assert journal_path(path).read_bytes() == left


FOREIGN = {
    "another file": b"Dear diary, this is no journal at all.",
    "meta is not JSON": MAGIC + record(b"{"),
    "meta is not text": MAGIC + record(b"\xff\xfe"),
    "meta is deep": MAGIC + record(b"[" * 100_000),
    "meta is a list": MAGIC + record(b"[]"),
    "no dimensions": MAGIC + record(dataclasses.replace(META, dim=0).to_json().encode()),
    "a short record": hand_made(b"x" * 20),
    "a path past the end": hand_made(entry(length=4_000_000_000)),
    "more faces than bytes": hand_made(entry(count=4_000_000_000, width=3)),
    "vectors of another width": hand_made(entry(count=1, width=2, body=bytes(8 + 60), status=0)),
    "an unknown status": hand_made(entry(status=9)),
    "no path": hand_made(entry(path=b"")),
    "a zero in the path": hand_made(entry(path=b"/p/\0.jpg")),
    "an empty box": hand_made(entry(count=1, width=3, body=bytes(12 + 60), status=0)),
    "a negative size": hand_made(entry(size=-1)),
    "a date that is none": hand_made(entry(captured=2**62)),
    "a photo under no root": hand_made(entry(path=b"/elsewhere/x.jpg")),
}


def test_the_records_above_can_be_told_from_good_ones(tmp_path):
    """Else they might be refused for something else."""
    path = tmp_path / "j"
    path.write_bytes(hand_made(entry()))
    (found,) = read_journal(path).entries
    assert (found.path, found.file.captured) == (b"/p/x.jpg", 7 * 4096)


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_journal_is_refused_and_nothing_is_changed(tmp_path, data):
    path = write_index(tmp_path / "i.npz", PHOTOS, roots=["/p"])
    before = path.read_bytes()
    journal_path(path).write_bytes(data)
    with pytest.raises(IndexBroken) as caught, NpzIndexWriter(path):
        pass
    assert str(journal_path(path)) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before
    assert journal_path(path).read_bytes() == data
    # Without an index it is no better.
    path.unlink()
    with pytest.raises(IndexBroken), NpzIndexWriter(path, META):
        pass
    assert not path.exists()
    assert journal_path(path).read_bytes() == data


def test_an_empty_journal_is_as_good_as_none(tmp_path):
    path = write_index(tmp_path / "i.npz", PHOTOS, roots=["/p"])
    journal_path(path).touch()
    with NpzIndexWriter(path) as writer:
        assert (writer.recovered, writer.torn) == (0, 0)
    assert open_index(path).photo_count == 3
    assert not journal_path(path).exists()


def test_meta_refuses_roots_that_are_no_paths():
    for root in ("a\0b", "\ud800"):
        with pytest.raises(ValueError):  # noqa: PT011 (its subclasses too)
            Meta.from_json(dataclasses.replace(META, roots=(root,)).to_json())


def without_moments(photo, payload):
    """Return a record as it was before faces had moments."""
    path = len(os.fsencode(photo.path))
    return payload[: -path - 12 * len(photo.faces)] + payload[-path:]


def test_a_journal_of_the_third_format_is_read(tmp_path):
    """Its faces have no moments."""
    photo = PHOTOS[0]
    path = tmp_path / "j"
    third = without_moments(photo, _pack(photo))
    path.write_bytes(hand_made(third).replace(b"journal 4\n", b"journal 3\n", 1))
    (found,) = read_journal(path).entries
    assert found.file == photo.file
    np.testing.assert_array_equal(found.vectors, photo.vectors)
    np.testing.assert_array_equal(found.moments, -1)


@pytest.mark.parametrize("moment", [Moment(1, 9, 5), Moment.of_frame(2)])
def test_moments_come_back(tmp_path, moment):
    faces = tuple(dataclasses.replace(face, moment=moment) for face in PHOTOS[0].faces)
    path = tmp_path / "j"
    path.write_bytes(hand_made(_pack(dataclasses.replace(PHOTOS[0], faces=faces))))
    (found,) = read_journal(path).entries
    np.testing.assert_array_equal(found.moments, [moment] * len(faces))
    index = write_index(tmp_path / "i.npz", [dataclasses.replace(PHOTOS[0], faces=faces)], roots=["/p"])
    opened = open_index(index)
    assert [opened.moment(row) for row in range(opened.face_count)] == [moment] * len(faces)


def test_faces_at_one_place_of_two_frames_have_vectors_of_their_own(tmp_path):
    face = PHOTOS[0].faces[0]
    faces = (face, dataclasses.replace(face, moment=Moment.of_frame(2)))
    vectors = np.array([[1.0] * PHOTOS[0].vectors.shape[1], [2.0] * PHOTOS[0].vectors.shape[1]], np.float32)
    photo = dataclasses.replace(PHOTOS[0], faces=faces, vectors=vectors)
    opened = open_index(write_index(tmp_path / "i.npz", [photo], roots=["/p"]))
    known = opened.vectors_of(photo.file.digest)
    assert {place: float(vector[0]) for place, vector in known.items()} == {
        faces[0].place: 1.0, faces[1].place: 2.0,
    }  # fmt: skip


def test_a_journal_of_the_first_format_is_read(tmp_path):
    """Its photos have one digest, the file's, so that the next run renews them."""
    photo = PHOTOS[0]
    payload = _pack(photo)
    now = struct.Struct("<qqqq16s16s")
    size, mtime_ns, _, _, digest, _ = now.unpack_from(payload)
    first = struct.pack("<qq16s", size, mtime_ns, digest) + without_moments(photo, payload[now.size :])
    path = tmp_path / "j"
    path.write_bytes(hand_made(first).replace(b"journal 4\n", b"journal 1\n", 1))
    (found,) = read_journal(path).entries
    assert found.file == FileState(size, mtime_ns, -1, digest, b"")
    assert (found.path, found.status) == (photo.path.encode(), photo.status)
    np.testing.assert_array_equal(found.vectors, photo.vectors)


def test_a_journal_of_the_second_format_is_read(tmp_path):
    """Its photos have no date."""
    photo = PHOTOS[0]
    payload = _pack(photo)
    now = struct.Struct("<qqqq16s16s")
    size, mtime_ns, ctime_ns, _, *digests = now.unpack_from(payload)
    about = struct.pack("<qqq16s16s", size, mtime_ns, ctime_ns, *digests)
    second = about + without_moments(photo, payload[now.size :])
    path = tmp_path / "j"
    path.write_bytes(hand_made(second).replace(b"journal 4\n", b"journal 2\n", 1))
    (found,) = read_journal(path).entries
    assert found.file == dataclasses.replace(photo.file, captured=NOT_ASKED)
    np.testing.assert_array_equal(found.vectors, photo.vectors)
