"""The page of answers: every photo, its face in a frame, and names that are only text."""

import base64
import os
import re
from dataclasses import replace
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from support.fakes import GREEN, RED, photo
from support.html_pages import Page

from facesearch.faces import Box
from facesearch.show.answer_page import Block, Hit, Shown, answers_page, view


def pixels(address):
    data = np.frombuffer(base64.b64decode(address.removeprefix("data:image/jpeg;base64,")), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def hit(shown, rank=1, probability="97.3 %", strangers="0.2", beyond=False, doubt=""):
    return Hit(shown, rank, "0.3846", probability, strangers, beyond, doubt)


@pytest.fixture
def red(tmp_path):
    path = photo(tmp_path / "red.png", (500, 200, 200, RED), width=800, height=600)
    return Shown(str(path), Box(500, 200, 200, 200))


def test_each_match_has_its_words_and_its_face_in_a_frame(red, tmp_path):
    other = Shown(
        str(photo(tmp_path / "green.png", (100, 100, 90, GREEN), width=400, height=200)),
        Box(100, 100, 90, 90),
        "face 2",
    )
    blocks = [
        Block([red], [hit(other), hit(red, 2, "0.4 %", "12", True)]),
        Block([red, other], []),
    ]
    page = Page(
        answers_page(
            blocks,
            facts=[("Model", "sface")],
            remarks=["sface & more"],
            problems=[("/p/rocket.jpg", "No face was found.")],
        )
    )
    assert "Results for 2 references Model sface sface & more red.png" in page.text
    assert (
        f"1 97.3 % green.png (face 2) {tmp_path} distance 0.3846 strangers 0.2 2 0.4 % red.png" in page.text
    )
    assert "strangers 12 beyond the threshold" in page.text
    assert page.text.count("beyond the threshold") == page.classes.count("beyond") == 1
    assert "red.png + green.png (face 2) Reference 1 of 2" in page.text
    assert "No match was found." in page.text
    assert "rocket.jpg : No face was found." in page.text
    assert page.classes.count("frame") == 5
    assert f"file://{tmp_path}/green.png" in [attrs["href"] for attrs in page.of("a")]
    alts = [attrs["alt"] for attrs in page.of("img")]
    assert alts[0] == "red.png, the reference face framed"
    assert alts[1] == "green.png, the matching face framed"
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {attrs["aria-labelledby"] for attrs in page.of("section")} == set(ids)


def test_the_frame_is_on_the_face(red):
    seen = view(red)
    assert seen.frame == pytest.approx((62.5, 100 / 3, 25.0, 100 / 3))
    assert seen.inset is None
    image = pixels(seen.image)
    assert image.shape == (240, 320, 3)
    left, top, width, height = np.round(np.multiply(seen.frame, (3.2, 2.4, 3.2, 2.4))).astype(int)
    inside = image[top + 3 : top + height - 3, left + 3 : left + width - 3]
    assert np.abs(inside.astype(int) - RED).max() < 40


@pytest.mark.parametrize(
    ("x", "y", "corner"),
    [
        (10, 10, "bottom right"),
        (1900, 10, "bottom left"),
        (10, 900, "top right"),
        (1900, 900, "top left"),
    ],
)
def test_a_small_face_is_enlarged_in_the_corner_that_is_farthest(tmp_path, x, y, corner):
    path = photo(tmp_path / "a.png", (x, y, 60, GREEN), width=2000, height=1000)
    seen = view(Shown(str(path), Box(x, y, 60, 60)))
    assert seen.corner == corner
    enlarged = pixels(seen.inset)
    assert enlarged.shape == (120, 120, 3)
    assert (np.abs(enlarged.astype(int) - GREEN).max(axis=2) < 40).mean() > 0.3


@pytest.mark.parametrize("box", [Box(5000, 5000, 20, 20), Box(0, 0, 0, 0)])
def test_a_face_outside_the_photo_has_no_frame(red, box):
    page = Page(answers_page([Block([Shown(red.path, box)], [])]))
    assert "frame" not in page.classes
    assert len(page.of("img")) == 1


def test_a_tile_says_that_a_photo_is_gone_or_unreadable(red, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    gone = [Shown(str(tmp_path / name), red.box) for name in ("text.jpg", "folder.jpg", "nowhere.jpg")]
    page = Page(answers_page([Block([red], [hit(one) for one in gone])]))
    assert page.text.count("Photo gone or unreadable") == 3
    assert len(page.of("img")) == 1


HOSTILE = [
    b"<script>alert(1)<",
    b'"><img src=x onerror=alert(1)>.jpg',
    b"' onload='x.jpg",
    b"\x1b[31mred\x07\n.jpg",
    b"caf\xe9\xff.jpg",
    "‮gpj.exe.jpg".encode(),
    b"{{ 7*7 }}{% raw %}.jpg",
    b"--><style>.jpg",
    b"&amp;#0;.jpg",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_data(tmp_path, name):
    path = photo(tmp_path / "a.png", (20, 20, 30, RED))
    odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    os.rename(path, odd)
    shown = Shown(odd, Box(20, 20, 30, 30), "<b>")
    html = answers_page(
        [Block([shown], [hit(shown)])], facts=[(odd, odd)], remarks=[odd], problems=[(odd, odd)]
    )
    page = Page(html)
    assert len(page.of("img")) == 2
    assert [attrs["href"] for attrs in page.of("a")] == [f"file://{tmp_path}/{quote(name)}"] * 3
    assert not page.of("b")
    assert "49" not in page.text


def test_a_photo_that_is_shown_twice_is_read_once(red, monkeypatch):
    from facesearch.show import answer_page as answers

    read = []
    real = answers.picture_at

    def reading(path, *at, **size):
        read.append(path)
        return real(path, *at, **size)

    monkeypatch.setattr(answers, "picture_at", reading)
    answers_page([Block([red], [hit(red)]), Block([red], [])])
    assert read == [red.path]


def test_a_thousand_matches_stay_usable(red):
    html = answers_page([Block([red], [hit(red, rank) for rank in range(1, 1001)])])
    page = Page(html)
    assert len(page.of("img", loading="lazy", decoding="async")) == 1001
    assert re.search(r"content-visibility: auto", html)
    assert len(html) < 10_000_000


def test_a_person_is_called_by_name(red):
    page = Page(answers_page([Block([replace(red, title="Ada <L>")], [hit(red)])]))
    assert page.text.startswith("Faces like Ada <L> Ada <L> Reference red.png ")


def test_no_answer_at_all():
    page = Page(answers_page([], problems=[("/p/a.jpg", "No face was found.")]))
    assert "Not searched for" in page.text


def test_a_poor_face_and_a_poor_reference_are_said(red):
    hits = [hit(red, 1), hit(red, 2, "", "", doubt="poor face"), hit(red, 3, "", "", doubt="poor reference")]
    page = Page(answers_page([Block([red], hits)]))
    assert page.text.count("poor face") == page.text.count("poor reference") == 1
    assert page.classes.count("badge") == 2
