"""The JSON API returns what the commands return, and sees what changes on disk."""

import base64
import json
import os
from urllib.parse import urlencode

import pytest
from support.command import CURIE, LIBRARY, OBAMA
from support.serving import BYTES_NAME, HTML_NAME, check_refusal, serving


def by_command(ask, index, *args):
    done = ask(*args, "--index", index, "--json")
    assert done.status == 0, done
    return json.loads(done.out)


def named(path):
    """Return a photo's path as a client sends it to the API."""
    return base64.urlsafe_b64encode(os.fsencode(path)).decode()


def people_of(server):
    return {one["number"]: one["name"] for one in server.ask("/1/api/people").json["people"]}


@pytest.mark.parametrize(
    ("photo", "args", "values"),
    [
        (OBAMA, [], {}),
        (LIBRARY / "solvay_1927.jpg", ["--face", 5, "--by", "face"], {"face": 5, "by": "face"}),
        (OBAMA, ["--min-probability", 0.9, "--unique"], {"min_probability": 0.9, "unique": 1}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (CURIE, ["--top", 2], {"top": 2}),
                (LIBRARY / "solvay_1927.jpg", ["--all-faces", "--top", 3], {"face": "all", "top": 3}),
                (OBAMA, ["--metric", "euclidean", "--top", 100], {"metric": "euclidean", "top": 100}),
                (OBAMA, ["--threshold", 0.3, "--include-self"], {"threshold": 0.3, "include_self": 1}),
            )
        ),
    ],
)
def test_a_query_has_the_same_answer_as_the_command(server, ask, album, photo, args, values):
    told = server.ask(
        f"/1/api/query?{urlencode({**values, 'path': named(photo)})}", "POST", photo.read_bytes()
    )
    assert told.status == 200
    wanted = by_command(ask, album / "album.npz", "query", photo, *args)
    assert told.json["schema"] == wanted["schema"]
    assert len(told.json["results"]) == len(wanted["results"]) > 0
    for result, expected in zip(told.json["results"], wanted["results"], strict=True):
        assert {**result, "matches": None} == {**expected, "matches": None}
        assert len(result["matches"]) == len(expected["matches"]) > 0
        for match, other in zip(result["matches"], expected["matches"], strict=True):
            assert match.keys() == other.keys()
            for name, value in other.items():
                assert match[name] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)


def test_a_photo_leaves_itself_out_by_the_path_that_the_client_has(server, album):
    photo = album / "album" / "obama.jpg"
    first = server.ask("/1/api/query", "POST", photo.read_bytes()).json["results"][0]["matches"][0]
    assert first["path"] == str(photo)
    path = f"/1/api/query?path={named(photo)}"
    first = server.ask(path, "POST", photo.read_bytes()).json["results"][0]["matches"][0]
    assert first["path"] == str(album / "album" / HTML_NAME)


def test_names_that_are_not_text(server):
    result = server.ask("/1/api/query?top=2", "POST", CURIE.read_bytes()).json["results"][0]
    (match,) = [one for one in result["matches"] if "path_bytes" in one]
    assert base64.b64decode(match["path_bytes"]).endswith(b"/" + BYTES_NAME)


def test_matches_of_a_face_of_the_index(server):
    face = server.ask("/1/api/people/1").json["faces"][0]
    path = f"/1/api/faces/{face['photo']}/{face['face']}/matches"
    told = server.ask(path + "?top=2").json
    assert told["metric"] == "cosine"
    (result,) = told["results"]
    assert result["references"][0]["path"] == face["path"]
    known = {one["path"] for one in server.ask("/1/api/people/1").json["faces"]} - {face["path"]}
    assert {one["path"] for one in result["matches"]} == known
    check_refusal(server.ask(path.replace(face["photo"], "0" * 32)), 404)


def test_what_is_served(server, album):
    (one,) = server.ask("/api").json["indexes"]
    assert one == {
        "number": 1,
        "index": str(album / "album.npz"),
        "model": "sface",
        "metric": "cosine",
        "knows_persons": True,
        "photos": 14,
        "faces": 39,
    }
    alone = server.ask("/1/api").json
    assert {"number": 1, **alone} == {**one, "schema": 2}


def test_people_as_the_command_lists_them(server, ask, album):
    listed = by_command(ask, album / "album.npz", "people", "list")["people"]
    told = server.ask("/1/api/people").json["people"]
    assert told == [{name: one[name] for name in ("number", "name", "photos", "faces")} for one in listed]
    assert len(told) == 2
    faces = server.ask(f"/1/api/people/{told[0]['number']}").json["faces"]
    assert len(faces) == told[0]["faces"] == 3
    assert HTML_NAME in {os.path.basename(face["path"]) for face in faces}


# Method, path, body and status.
REFUSED = [
    ("POST", "/1/api/query", b"", 422),
    ("POST", "/1/api/query", (LIBRARY / "coffee.png").read_bytes(), 422),
    ("POST", "/1/api/query?face=2", OBAMA.read_bytes(), 422),
    *[
        ("POST", f"/1/api/query?{wrong}", OBAMA.read_bytes(), 400)
        for wrong in (
            *("top=0", "top=1001", "top=x", "top=1e3", "metric=manhattan", "metric=", "threshold=nan"),
            *("threshold=x", "min_probability=1", "min_probability=-1", "by=person", "include_self=yes"),
            *("unique=2", "face=0", "face=-1", "face=x", "path=%25", "path=a", "path=AGEA"),
            *("top=1_0", "threshold=0_1", "top=%D9%A3", "tpo=2", "since=19", "until=x"),
        )
    ],
    ("GET", "/1/api/query", None, 405),
    ("GET", "/2/api", None, 404),
    ("GET", "/0/api", None, 404),
    ("GET", "/1/api/people/99", None, 404),
    ("GET", "/1/api/nothing", None, 404),
    ("POST", "/1/api/people/99/name", b'{"name": "Ada"}', 404),
    ("POST", "/1/api/people/99/merge", b'{"others": [1]}', 404),
    ("POST", "/1/api/people/1/merge", b'{"others": [99]}', 409),
    ("POST", "/1/api/people/1/merge", b'{"others": ["Nobody"]}', 409),
    ("POST", "/1/api/people/1/merge", b'{"others": 2}', 400),
    ("POST", "/1/api/people/1/merge", b'{"others": [[2]]}', 400),
    ("POST", "/1/api/people/1/name", b"{}", 400),
    ("POST", "/1/uploads", b"x", 422),
]


def test_errors_are_json_with_a_status_and_a_kind(server):
    for method, path, body, status in REFUSED:
        reply = server.ask(path, method, body)
        check_refusal(reply, status)
        assert set(reply.json) == {"schema", "error", "hint", "kind"}
        assert reply.json["error"].endswith(".")
        kinds = {"no-face", "unreadable"} if status == 422 else {"other"}
        assert reply.json["kind"] in kinds, path


def test_an_error_says_whether_the_photo_or_the_face_is_missing(server):
    for body, kind in ((b"words", "unreadable"), ((LIBRARY / "coffee.png").read_bytes(), "no-face")):
        assert server.ask("/1/api/query", "POST", body).json["kind"] == kind
        assert server.ask("/1/uploads", "POST", body).json["kind"] == kind


@pytest.mark.slow
def test_people_are_named_and_merged(changed, ask):
    reply = changed.ask("/1/api/people/1/name", "POST", '{"name": "  Barack   Obama "}')
    assert reply.json == {"schema": 2, "number": 1, "name": "Barack Obama", "photos": 3, "faces": 3}
    assert (
        by_command(ask, changed.tool.folder / "album.npz", "people", "list")["people"][0]["name"]
        == "Barack Obama"
    )
    check_refusal(changed.ask("/1/api/people/2/name", "POST", '{"name": "barack obama"}'), 409)
    changed.ask("/1/api/people/2/name", "POST", '{"name": "Marie Curie"}')
    refused = changed.ask("/1/api/people/2/merge", "POST", '{"others": ["Barack Obama"]}')
    check_refusal(refused, 409)
    assert refused.json["hint"] == 'Send "yes": true, too.'
    merged = changed.ask("/1/api/people/1/merge", "POST", '{"others": ["Marie Curie"], "yes": true}')
    assert merged.json["name"] == "Barack Obama"
    assert ask("people", "undo", 2, "--index", changed.tool.folder / "album.npz").status == 0
    merged = changed.ask("/1/api/people/2/merge", "POST", '{"others": ["Barack Obama", 2]}')
    assert merged.json == {"schema": 2, "number": 2, "name": "Barack Obama", "photos": 5, "faces": 5}
    assert people_of(changed) == {2: "Barack Obama"}
    check_refusal(changed.ask("/1/api/people/1"), 404)


def test_changes_by_the_command_line_are_seen(changed, ask, album):
    assert people_of(changed) == {1: "", 2: ""}
    assert ask("people", "name", 2, "Marie Curie", "--index", changed.tool.folder / "album.npz").status == 0
    assert people_of(changed)[2] == "Marie Curie"
    photo = album / "more" / "again.jpg"
    photo.parent.mkdir(exist_ok=True)
    photo.write_bytes(OBAMA.read_bytes() + b"another content")
    assert ask("index", photo.parent, "--index", changed.tool.folder / "album.npz").status == 0
    assert changed.ask("/1/api").json["photos"] == 15
    matches = changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json["results"][0]["matches"]
    assert str(photo) in {match["path"] for match in matches}


def test_a_forgotten_photo_is_no_longer_served(changed, ask, monkeypatch):
    photo = next(one for one in changed.ask("/1/api/people/1").json["faces"] if HTML_NAME in one["path"])
    pages = [
        f"/1/photo/{photo['photo']}",
        f"/1/photo/{photo['photo']}.jpg",
        f"/1/face/{photo['photo']}/1.jpg",
        f"/1/face/{photo['photo']}/1",
        f"/1/api/faces/{photo['photo']}/1/matches",
    ]
    assert {changed.ask(page).status for page in pages} == {200}
    kept = {name for _, _, names in os.walk(changed.cache) for name in names}
    assert any(name.startswith(photo["photo"]) for name in kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(changed.cache))
    assert ask("forget", photo["path"], "--index", changed.tool.folder / "album.npz").status == 0
    for page in pages:
        check_refusal(changed.ask(page), 404)
    assert len(changed.ask("/1/api/people/1").json["faces"]) == 2
    assert os.path.exists(photo["path"])
    kept = {name for _, _, names in os.walk(changed.cache) for name in names}
    assert not any(name.startswith(photo["photo"]) for name in kept)


@pytest.mark.slow
def test_an_index_that_goes_or_is_replaced_by_something_bad_stays_as_it_was(changed):
    folder = changed.tool.folder
    index, kept = folder / "album.npz", folder / "kept.npz"
    before = changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json

    def removed():
        index.rename(kept)

    def broken():
        index.rename(kept)
        index.write_bytes(b"PK\x03\x04 broken")

    def a_folder():
        index.rename(kept)
        index.mkdir()

    for happens in (removed, broken, a_folder):
        happens()
        assert changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json == before
        assert changed.ask("/1/").status == 200
        check_refusal(changed.ask("/1/api/people/1/name", "POST", '{"name": "Ada"}'), 409)
        if index.is_dir():
            index.rmdir()
        os.replace(kept, index)
        assert changed.ask("/1/api/people/1/name", "POST", '{"name": "Ada"}').status == 200


@pytest.mark.slow
def test_an_index_that_is_replaced_by_another_models_stays_as_it_was(changed):
    home = changed.tool
    before = changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json
    assert home.run("index", LIBRARY, "--index", "other.npz", "--model", "resnet50").status == 0
    os.replace(home.folder / "other.npz", home.folder / "album.npz")
    assert changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json == before
    assert changed.ask("/1/").status == 200
    check_refusal(changed.ask("/1/api/people/1/name", "POST", '{"name": "Ada"}'), 409)


def test_an_index_that_is_written_over_in_place_is_served_from_memory(changed):
    index = changed.tool.folder / "album.npz"
    whole = index.read_bytes()
    for bad in (b"", whole[: len(whole) // 2], b"\0" * len(whole)):
        index.write_bytes(bad)
        for path in ("/1/", "/1/api", "/1/person/1"):
            assert changed.ask(path).status == 200
        assert len(changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).json["results"]) == 1
        check_refusal(changed.ask("/1/api/people/1/name", "POST", '{"name": "Ada"}'), 409)
        index.write_bytes(whole)
        assert changed.ask("/1/api").json["photos"] == 14


def test_people_that_cannot_be_read_are_reported(changed):
    folder = changed.tool.folder
    for name in os.listdir(folder):
        if "people" in name and not name.endswith(".lock"):
            (folder / name).write_bytes(b"broken")
    check_refusal(changed.ask("/1/api/people/1"), 409)
    assert changed.ask("/1/api/people").json["people"] == []
    assert 'class="remark"' in changed.ask("/1/").text
    assert changed.ask("/1/api/query", "POST", OBAMA.read_bytes()).status == 200


@pytest.mark.slow
def test_several_indexes(home, model_store):
    assert home.run("index", LIBRARY, "--index", "other.npz", "--model", "resnet50").status == 0
    args = ("--index", home.folder / "other.npz", "--index", home.folder / "album.npz")
    with serving(home.folder, model_store.root, home.folder / "album.npz", *args) as server:
        listed = server.ask("/api").json["indexes"]
        assert [(one["number"], one["model"]) for one in listed] == [(1, "sface"), (2, "resnet50")]
        first, second = (server.ask(f"/{number}/api/query", "POST", OBAMA.read_bytes()) for number in (1, 2))
        assert first.json["results"] != second.json["results"]
        assert server.ask("/2/api/people").json["people"] == []
        check_refusal(server.ask("/2/api/people/1"), 409)
        check_refusal(server.ask("/2/group", "POST", b""), 409)
        page = server.ask("/")
        assert page.status == 200
        assert f'href="{server.root}/1/"' in page.text
        assert f'href="{server.root}/2/"' in page.text
        # A photo of one is not another's.
        new = next(one for one in server.ask("/1/api/people/2").json["faces"] if "path_bytes" in one)["photo"]
        assert server.ask(f"/1/photo/{new}.jpg").status == 200
        check_refusal(server.ask(f"/2/photo/{new}.jpg"), 404)
