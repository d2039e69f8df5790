"""What `query` and `info` write to stdout, and how names of any bytes come through it."""

import base64
import csv
import io
import json
import os
import shutil

import pytest
from support.command import CURIE, LIBRARY, OBAMA

COLUMNS = ["query", "rank", "distance", "probability", "path", "x", "y", "w", "h", "frame", "time"]
# Every kind of name that has broken some tool: not UTF-8, white space, quotes, escapes, options, formulas.
NAMES = [
    b'two words\ta tab\nand a line\'s "end".jpg',
    b"back\\slash, comma;semicolon.jpg",
    b"-top.jpg",
    b"caf\xe9 \xff\xfe.jpg",
    "日本 Ä — ﬁ.jpg".encode(),
    b"\x1b[31mred\x07\r.jpg",
    b"=cmd|' calc'!A0.jpg",
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory, model_store):
    """A folder of one photo under all these names, and its index."""
    from support.command import Tool

    folder = tmp_path_factory.mktemp("odd")
    photos = os.fsencode(folder / "photos")
    os.mkdir(photos)
    for name in NAMES:
        shutil.copy(os.fsencode(LIBRARY / "henry_moseley.jpg"), os.path.join(photos, name))
    done = Tool(folder, model_store.root).run("index", "photos", "--index", "odd.npz", "--model", "sface")
    assert done.status == 0, done
    return folder / "odd.npz"


@pytest.fixture
def expected(odd):
    folder = os.path.join(os.fsencode(odd.parent), b"photos")
    return sorted(os.path.join(folder, name) for name in NAMES)


@pytest.fixture
def query(ask, odd):
    return lambda *args: ask("query", OBAMA, "--index", odd, "--top", 50, *args)


def unescaped(field):
    """Undo what TSV does to a field, in one pass."""
    pieces = iter(field)
    plain = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
    out = b""
    for number in pieces:
        piece = bytes([number])
        out += plain[bytes([next(pieces)])] if piece == b"\\" else piece
    return out


def test_tsv_is_the_default_without_a_terminal(query):
    assert query().out == query("--format", "tsv").out


def test_tsv_is_one_line_a_match_and_can_be_undone(query, expected):
    lines = query().out.split(b"\n")
    assert lines.pop() == b""
    rows = [line.split(b"\t") for line in lines]
    assert [len(row) for row in rows] == [len(COLUMNS)] * len(NAMES)
    assert [unescaped(row[4]) for row in rows] == expected  # ties go by path
    assert [row[1] for row in rows] == [b"%d" % (rank + 1) for rank in range(len(NAMES))]
    assert {row[0] for row in rows} == {os.fsencode(OBAMA)}
    assert all(0 < float(row[3]) < 1 for row in rows)
    for row in rows:
        assert 0 < float(row[2]) < 1
        assert all(int(number) >= 0 for number in row[5:9])
        assert row[9:] == [b"", b""]


def test_csv_is_read_back_by_the_csv_module(query, expected):
    done = query("--format", "csv")
    heading, *rows = csv.reader(io.StringIO(done.text, newline=""))
    assert heading == COLUMNS
    assert [os.fsencode(row[4]) for row in rows] == expected
    tsv = [row[:4] + row[5:] for row in query().rows]
    assert [row[:4] + row[5:] for row in rows] == tsv


def test_json(query, expected):
    done = query("--json")
    assert done.out == query("--format", "json").out
    assert done.out.isascii()
    answer = json.loads(done.out)
    assert answer["schema"] == 2
    (result,) = answer["results"]
    assert result["query"] == str(OBAMA)
    (reference,) = result["references"]
    assert (reference["path"], reference["face"]) == (str(OBAMA), 1)
    assert set(reference["box"]) == {"x", "y", "w", "h"}
    matches = result["matches"]
    assert [os.fsencode(match["path"]) for match in matches] == expected
    for match, raw in zip(matches, expected, strict=True):
        assert 0 < match["probability"] < 1
        assert match["same_person"] is (match["probability"] >= 0.5)
        assert 0 < match["expected_strangers"] < len(NAMES)
        assert isinstance(match["distance"], float)
        if raw.endswith(NAMES[3]):
            assert base64.b64decode(match["path_bytes"]) == raw
        else:
            assert "path_bytes" not in match


def test_jsonl_is_one_object_a_match(query, expected):
    lines = query("--format", "jsonl").out.splitlines()
    matches = [json.loads(line) for line in lines]
    assert [os.fsencode(match["path"]) for match in matches] == expected
    assert {match["schema"] for match in matches} == {2}
    assert {match["query"] for match in matches} == {str(OBAMA)}
    whole = json.loads(query("--json").out)["results"][0]["matches"]
    assert [{name: match[name] for name in whole[0]} for match in matches[:1]] == whole[:1]


@pytest.mark.slow
def test_paths_are_their_bytes(query, expected):
    assert query("--format", "paths").out == b"".join(path + b"\n" for path in expected)
    assert query("-0").out == b"".join(path + b"\0" for path in expected)
    assert query("-0", "--format", "paths").out == query("--null").out


def test_the_table_shows_names_and_no_control_character(query):
    done = query("--format", "table")
    lines = done.text.splitlines()
    assert lines[0] == "rank  distance  probability  strangers    photo"
    assert lines[1] == str(OBAMA)
    assert lines[2 + len(NAMES) :] == ["", "x more likely another person"]
    assert "\x1b" not in done.text
    assert "\x07" not in done.text
    assert "\\x1b[31mred\\x07\\r.jpg" in done.text
    assert "日本 Ä — ﬁ.jpg" in done.text
    assert "caf\\xe9 \\xff\\xfe.jpg" in done.text
    for line in lines[2 : 2 + len(NAMES)]:
        rank, distance, probability, unit, strangers, rest = line.split(maxsplit=5)
        assert int(rank) > 0
        assert 0 < float(distance) < 1
        assert 0 < float(probability) < 100
        assert unit == "%"
        assert float(strangers) > 0
        assert rest.startswith("x /")


def test_the_table_has_a_block_for_each_ref_and_names_the_face(ask, people_index):
    done = ask("query", "--index", people_index, OBAMA, CURIE, "--top", 9, "--format", "table")
    *blocks, note = done.text.partition("\n")[2].split("\n\n")
    assert note == "x more likely another person\n"
    assert [block.splitlines()[0] for block in blocks] == [str(OBAMA), str(CURIE)]
    assert all(len(line) <= 80 for line in done.text.splitlines() if str(LIBRARY) not in line)
    (solvay,) = (line for line in blocks[1].splitlines() if "solvay_1927" in line)
    assert solvay.endswith(")")
    assert " (face " in solvay
    nothing = ask("query", "--index", people_index, OBAMA, "--threshold", 0.01, "--format", "table")
    assert nothing.text.endswith(f"{OBAMA}\n   no match\n")


@pytest.mark.slow
def test_names_of_any_bytes_as_refs(ask, odd, expected):
    for raw in expected:
        done = ask("query", "--index", odd, "--top", 50, "-0", "--", raw)
        assert done.status == 0
        assert done.out.split(b"\0")[:-1] == [path for path in expected if path != raw]


@pytest.mark.slow
def test_names_of_any_bytes_in_a_list(tool, odd, expected):
    done = tool.run(
        "query",
        "--index",
        odd,
        "--files0-from",
        "-",
        "--top",
        1,
        "--include-self",
        input=b"\0".join(expected),
    )
    assert done.status == 0
    assert [unescaped(line.split(b"\t")[0]) for line in done.out.split(b"\n")[:-1]] == expected


def test_a_message_shows_no_control_character(ask, odd):
    done = ask("query", "--index", odd, b"\x1b[2Jgone\xff.jpg")
    assert done.status == 2
    assert "\\x1b[2Jgone\\xff.jpg: It cannot be read" in done.err
    assert "\x1b" not in done.err
    done = ask("info", "--index", b"\x1b[2J\xff.npz")
    assert done.status == 2
    assert "\x1b" not in done.err


def test_forget_and_move_root_take_names_of_any_bytes(ask, odd, expected, tmp_path):
    copy = tmp_path / "copy.npz"
    shutil.copy(odd, copy)
    moved = ask("move-root", odd.parent / "photos", b"/new \xff\n", "--index", copy)
    assert moved.status == 0
    assert moved.err == "7 photos lie below /new \\xff\\n now\n"
    again = ask("move-root", b"/new \xff\n", b"/new \xff\n", "--index", copy, "-v")
    assert again.err == f"index {copy}\n{moved.err}"
    listed = ask("info", "--index", copy, "--list", "ok", "-0")
    assert listed.out == b"".join(b"/new \xff\n/%s\0" % name for name in sorted(NAMES))
    done = ask("forget", b"/new \xff\n/" + NAMES[3], "--index", copy, "-v")
    assert done.status == 0
    # All are copies of one photo, so all are forgotten.
    assert "7 photos forgotten" in done.err
    assert ask("info", "--index", copy, "--list", "ok").out == b""


def test_info_in_words(ask, sample_index):
    done = ask("info", "--index", sample_index)
    assert done.status == 0
    assert done.err == ""
    facts = dict(line.split(maxsplit=1) for line in done.text.splitlines())
    assert facts["index"] == str(sample_index)
    assert facts["photos"] == "12: 9 with a face, 3 without, 0 unreadable"
    assert facts["root"] == str(LIBRARY)
    assert facts["model"].startswith("resnet50 (")
    assert facts["faces"].startswith(
        str(json.loads(ask("info", "--index", sample_index, "--json").out)["faces"])
    )
    assert facts["kinds"] == "9 jpg, 3 png"
    assert list(facts) == [
        *("index", "photos", "faces", "model", "detector", "kinds", "precision", "root"),
        *("forgotten", "created", "updated"),
    ]


def test_info_as_json(ask, odd):
    facts = json.loads(ask("info", "--index", odd, "--json").out)
    assert facts["schema"] == 2
    assert (facts["photos"], facts["faces"], facts["dim"]) == (7, 7, 128)
    assert facts["status"] == {"ok": 7, "no-face": 0, "unreadable": 0}
    assert facts["roots"] == [{"path": str(odd.parent / "photos")}]
    assert facts["model"] == "sface"


def test_info_lists_photos(ask, sample_index, odd, expected):
    none = ask("info", "--index", sample_index, "--list", "no-face")
    assert [os.path.basename(path) for path in none.text.splitlines()] == [
        "chelsea.png",
        "coffee.png",
        "rocket.jpg",
    ]
    assert len(ask("info", "--index", sample_index, "--list", "ok").text.splitlines()) == 9
    assert ask("info", "--index", sample_index, "--list", "unreadable").out == b""
    assert ask("info", "--index", odd, "--list", "ok", "-0").out == b"".join(
        path + b"\0" for path in expected
    )
    listed = json.loads(ask("info", "--index", odd, "--list", "ok", "--json").out)
    assert [os.fsencode(photo["path"]) for photo in listed["photos"]] == expected
    assert [base64.b64decode(p["path_bytes"]) for p in listed["photos"] if "path_bytes" in p] == [
        path for path in expected if NAMES[3] in path
    ]
    assert ask("info", "--index", odd, "-0").status == 2
    assert ask("info", "--index", odd, "--kind", "jpg").status == 2
    pngs = ask("info", "--index", sample_index, "--list", "no-face", "--kind", "PNG")
    assert [os.path.basename(path) for path in pngs.text.splitlines()] == ["chelsea.png", "coffee.png"]


def test_info_says_why_photos_cannot_be_read(ask, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    (tmp_path / "b.png").write_bytes(b"hello")
    index = tmp_path / "i.npz"
    assert ask("index", tmp_path, "--index", index, "--model", "sface").status == 0
    listed = ask("info", "--index", index, "--list", "unreadable", "--kind", "jpg", "--json").out
    reason = "It is not a picture in a format that is known here."
    assert json.loads(listed)["photos"] == [{"path": str(tmp_path / "a.jpg"), "reason": reason}]
