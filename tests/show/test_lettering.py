import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facesearch.show import drawing as lettering
from facesearch.show.drawing import BUILT_IN, choose_font, load_font, plain, shorten, write


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b.jpg", "a b.jpg"),
        ("line\nbreak\t\x1b[31m.jpg", "line?break??[31m.jpg"),
        ("bytes\udcff.jpg", "bytes?.jpg"),
        ("right\u202eto left.jpg", "right?to left.jpg"),
        ("e\u0301.jpg", "é.jpg"),
        ("x" * 300, "x" * 255),
    ],
)
def test_plain(name, written):
    assert plain(name) == written


def test_shorten_takes_from_the_middle():
    font = load_font(BUILT_IN, 14)
    name = "holiday_in_the_mountains_with_everyone_12_0341.jpg"
    short = shorten(name, 150, font)
    assert font.getlength(short) <= 150 < font.getlength(short.replace("…", "…mm"))
    start, end = short.split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert abs(len(start) - len(end)) <= 1
    assert shorten(name, 1000, font) == name
    assert shorten(name, 1, font) == "…"


@pytest.fixture
def without_system_fonts(monkeypatch):
    monkeypatch.setattr(lettering, "SYSTEM_FONTS", ("there-is-no-such-font.ttf",))
    caches = lettering._installed, choose_font
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("without_system_fonts")
def test_letters_that_no_font_has_become_plainer():
    assert choose_font("Zoë Müller.jpg") == (BUILT_IN, "Zoe Muller.jpg")
    assert choose_font("日本.jpg") == (BUILT_IN, "??.jpg")


def test_ascii_is_written_in_the_built_in_font():
    ascii_letters = "".join(chr(code) for code in range(32, 127)) + lettering.ELLIPSIS
    assert choose_font(ascii_letters) == (BUILT_IN, ascii_letters)


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_name_stays_in_its_width(name):
    canvas = Image.new("RGB", (300, 60), "white")
    write(canvas, (50, 30), name, size=14, colour=(0, 0, 0), width=150)
    # A stroke may reach a few pixels over the advance width.
    assert (np.asarray(canvas)[:, 210:] == 255).all()
