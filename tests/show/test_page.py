"""How pages are filled in and written: what comes from files is text, and nothing else."""

import errno
import os
from urllib.parse import unquote_to_bytes

import pytest
from markupsafe import Markup
from PIL import Image
from support.html_pages import Page

from facesearch.errors import StorageError
from facesearch.show.page import (
    Table,
    data_uri,
    environment,
    file_uri,
    read_plot,
    render,
    report_page,
    write_page,
)


def filled(text, **values):
    return environment().from_string(text).render(values)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("\" onerror='x'", "&#34; onerror=&#39;x&#39;"),
        ("a\x1b[31m\x00\n", "a\\x1b[31m\\x00\\n"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\u202egpj", "\\u202egpj"),
        ("Żółć 写真 😀", "Żółć 写真 😀"),
        (Markup("<b>"), "<b>"),
        (3, "3"),
    ],
)
def test_what_is_written_into_a_page_is_text(value, written):
    assert filled("{{ value }}", value=value) == written


def test_every_variable_of_a_template_has_to_be_given():
    with pytest.raises(Exception, match="undefined"):
        filled("{{ nothing }}")
    with pytest.raises(Exception, match="undefined"):
        render("answers.html")


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/p/a.jpg", "file:///p/a.jpg"),
        ("/p/a b#?%\"'<&.jpg", "file:///p/a%20b%23%3F%25%22%27%3C%26.jpg"),
        ("/p/caf\udce9.jpg", "file:///p/caf%E9.jpg"),
        ("/p/写\n.jpg", "file:///p/%E5%86%99%0A.jpg"),
        ("/javascript:alert(1)", "file:///javascript%3Aalert%281%29"),
    ],
)
def test_the_address_of_a_file(path, address):
    written = filled("{{ value }}", value=file_uri(path))
    assert unquote_to_bytes(written) == b"file://" + os.fsencode(path)
    assert written == address


def test_the_address_of_a_path_that_is_not_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_uri("p/a.jpg") == f"file://{tmp_path}/p/a.jpg"


def test_a_data_uri_contains_the_bytes():
    assert filled("{{ value }}", value=data_uri(b"\xff\xd8>", "image/png")) == "data:image/png;base64,/9g+"


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    place = tmp_path / "a.html"
    write_page("<p>é", place)
    assert place.read_bytes() == "<p>é".encode()
    assert os.listdir(tmp_path) == ["a.html"]

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match="full"):
        write_page("new", place)
    assert place.read_bytes() == "<p>é".encode()
    assert os.listdir(tmp_path) == ["a.html"]
    with pytest.raises(StorageError, match="folder that is there"):
        write_page("new", tmp_path / "nowhere" / "a.html")


@pytest.fixture
def plot(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    return read_plot(tmp_path / "a.png", "How red it is.")


def page_of(plots, word="word"):
    table = Table(f"caption {word}", (word,), [("group",), (f"label {word}", f"1.0 {word}")])
    pairs = [(f"name {word}", f"value {word}")]
    return Page(report_page(f"Title {word}", table, plots, facts=pairs, remarks=[word], settings=pairs))


def test_everything_is_on_the_page(plot):
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
