"""Libraries that say little of strangers: one face, one person, copies, poor faces, vectors that are none."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.command import LIBRARY, OBAMA
from support.fakes import looked_at, write_index

from facesearch.embed.sface import CARD
from facesearch.index.meta import Meta


@pytest.fixture
def library(ask, tmp_path):
    """Indexes a folder of sample photos by sface, and returns what asks the index."""

    def make(*names, copies=1, blur=0.0):
        folder = tmp_path / "photos"
        folder.mkdir()
        for name in names:
            if blur:
                image = cv2.imread(str(LIBRARY / name))
                image = cv2.resize(image, None, fx=400 / max(image.shape), fy=400 / max(image.shape))
                cv2.imwrite(str(folder / name), cv2.GaussianBlur(image, (0, 0), blur))
            for number in range(0 if blur else copies):
                shutil.copy(LIBRARY / name, folder / f"{number:02d}-{name}")
        assert ask("index", folder, "--model", "sface", "--index", "i.npz").status == 0
        return lambda command, *args: ask(command, *args, "--index", "i.npz")

    return make


def probabilities(done):
    """Return each match's probability by its file's name, after a query with --json."""
    assert done.status == 0, done
    (result,) = json.loads(done.out)["results"]
    return {match["path"].rpartition("/")[2]: match["probability"] for match in result["matches"]}


def test_a_library_of_one_face(library):
    tool = library("henry_moseley.jpg")
    (probability,) = probabilities(tool("query", OBAMA, "--json")).values()
    assert probability < 0.1
    assert "judged by  the model's reference: there are too few faces" in tool("info").text
    assert tool("people").status == 1


@pytest.mark.slow
def test_a_library_of_one_person(library):
    tool = library("obama_2009.jpg", "obama_2010.jpg")
    assert min(probabilities(tool("query", OBAMA, "--json")).values()) > 0.9
    assert [row[3] for row in tool("people").rows] == ["2"]


@pytest.mark.slow
def test_a_library_of_one_photo_copied_many_times_and_a_stranger(library):
    tool = library("obama_2009.jpg", copies=60)
    shutil.copy(LIBRARY / "biden.jpg", "photos/biden.jpg")
    assert tool("index", "photos").status == 0
    told = probabilities(tool("query", OBAMA, "--top", 99, "--json"))
    assert len(told) == 61
    stranger = told.pop("biden.jpg")
    assert stranger < 0.1 < 0.9 < min(told.values())
    assert len(probabilities(tool("query", OBAMA, "--top", 99, "--unique", "--json"))) == 2


@pytest.mark.slow
def test_a_library_of_poor_faces_only(library):
    tool = library("biden.jpg", "obama_2009.jpg", "obama_2010.jpg", blur=8.0)
    assert set(probabilities(tool("query", OBAMA, "--json")).values()) == {None}
    assert tool("query", OBAMA, "--min-probability", 0.01).status == 1
    done = tool("people")
    assert (done.status, done.rows) == (1, [])


@pytest.mark.slow
def test_a_library_with_vectors_that_are_none(ask, model_store, tmp_path):
    rng = np.random.default_rng(8)
    photos = [looked_at(f"/p/{number}.jpg", dim=CARD.dim) for number in range(70)]
    photos = [replace(one, vectors=12 * rng.normal(size=(1, CARD.dim)).astype(np.float32)) for one in photos]
    photos[3].vectors[:] = 0
    photos[5].vectors[0, 7] = np.nan
    photos[7].vectors[0, 9] = np.inf
    card = model_store.card("sface")
    meta = Meta(card.name, card.digest, card.dim, card.detector, {"margin": card.margin})
    write_index(tmp_path / "i.npz", photos, meta)
    for options in ([], ["--min-probability", 0.001], ["--expand"], ["--metric", "centred"]):
        done = ask("query", OBAMA, "--index", "i.npz", "--top", 70, "--json", *options)
        assert done.status in (0, 1), done
        assert done.err == ""
        told = {match["path"]: match for match in json.loads(done.out)["results"][0]["matches"]}
        assert not {"/p/5.jpg", "/p/7.jpg"} & told.keys()
        assert all(np.isfinite(match["distance"]) for match in told.values())
        assert told.get("/p/3.jpg", {"probability": None})["probability"] is None
    assert "of its own" in ask("info", "--index", "i.npz").text
