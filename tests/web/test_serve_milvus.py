"""`facesearch serve` does the same for an index in Milvus as for that index in a file."""

import json
from urllib.parse import urlencode

import pytest
from support.command import CURIE, LIBRARY, OBAMA
from support.serving import serving

pytestmark = pytest.mark.slow


@pytest.fixture
def both(home, model_store, milvus):
    """Two servers: one over the file, one over a copy of it in Milvus."""
    url = milvus.url("album")
    done = home.run("copy", "--from", "album.npz", "--to", url)
    assert done.status == 0, done
    (home.folder / "there").mkdir()
    with (
        serving(home.folder, model_store.root, home.folder / "album.npz") as on_file,
        serving(home.folder / "there", model_store.root, url) as there,
    ):
        yield on_file, there


def test_pages_answers_and_forms(both, home, milvus):
    on_file, there = both

    def ask(path, *args, **headers):
        """Ask both servers, and check that they answer the same."""
        one, other = (server.ask(path, *args, **headers) for server in both)
        assert other.status == one.status, (one, other)
        assert plain(other, there, milvus.url("album")) == plain(one, on_file, home.folder / "album.npz")
        return one

    people = ask("/1/api/people").json["people"]
    assert len(people) == 2
    faces = ask("/1/api/people/1").json["faces"]
    for path in (
        "/1/",
        "/1/person/1",
        f"/1/photo/{faces[0]['photo']}",
        f"/1/photo/{faces[0]['photo']}.jpg",
    ):
        assert ask(path).status == 200
    for photo in (OBAMA, CURIE, LIBRARY / "solvay_1927.jpg"):
        for values in ({}, {"by": "face", "top": 9}, {"metric": "euclidean"}, {"unique": 1, "face": "all"}):
            ask(f"/1/api/query?{urlencode({'face': 1, **values})}", "POST", photo.read_bytes())
    assert ask("/1/api/people/1/name", "POST", '{"name": "Barack Obama"}').status == 200
    assert ask("/1/api/people/2/merge", "POST", '{"others": [1]}').status == 200
    assert len(ask("/1/api/people").json["people"]) == 1
    assert ask("/1/api/people/2/name", "POST", "{}").status == 400

    # What the command line changes meanwhile is seen by both.
    for index in ("album.npz", milvus.url("album")):
        assert home.run("forget", faces[0]["path"], "--index", index).status == 0
    assert ask(f"/1/photo/{faces[0]['photo']}").status == 404
    assert ask("/1/api").json["photos"] == 13


def plain(reply, server, index):
    """Return the content of a reply without the names in which the two servers differ."""
    text = reply.body.decode("utf-8", "backslashreplace").replace(server.token, "TOKEN")
    text = text.replace(str(index), "INDEX")
    if reply.headers.get("content-type") != "application/json":
        return text
    return rounded(json.loads(text))


def rounded(value):
    """Round the numbers: they are sums in another order."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value
