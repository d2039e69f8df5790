"""The page of a measurement: figures, pictures, settings, and nothing but text from names."""

import pytest
from PIL import Image
from support.html_pages import Page

from facesearch.show.page import Table, read_plot, report_page


@pytest.fixture
def plot(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    return read_plot(tmp_path / "a.png", "How red it is.")


def page_of(plots, word="word"):
    table = Table(f"caption {word}", (word,), [("group",), (f"label {word}", f"1.0 {word}")])
    pairs = [(f"name {word}", f"value {word}")]
    return Page(report_page(f"Title {word}", table, plots, facts=pairs, remarks=[word], settings=pairs))


def test_all_of_it_stands_there(plot):
    page = page_of([plot])
    assert page.text.startswith("Title word name word value word word Figures caption word word group ")
    assert "group label word 1.0 word Pictures How red it is. Settings name word value word" in page.text
    assert page.of("th", scope="rowgroup") == [{"scope": "rowgroup", "colspan": "2"}]
    (image,) = page.of("img")
    assert image["alt"] == "How red it is."
    assert image["src"].startswith("data:image/png;base64,iVBOR")


def test_without_pictures_there_is_no_heading_for_them():
    assert "Pictures" not in page_of([]).text


@pytest.mark.parametrize("word", ["<script>x</script>", "\"'><img src=x>", "a\x1b[31m\n\x00", "caf\udce9"])
def test_names_are_data(plot, word):
    page = page_of([plot], word)
    assert len(page.of("img")) == 1
    assert "Title" in page.text
