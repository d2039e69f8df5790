"""What people can be called, and what their folders are called on every system."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.errors import PeopleError
from facesearch.people.facts import LONGEST, Facts, folded, folder_name, good_name, plain


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ada", "Ada"),
        ("  Ada \t Lovelace\n", "Ada Lovelace"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("<b>Ada</b> & co.", "<b>Ada</b> & co."),
        ("../../etc/passwd", "../../etc/passwd"),
        ("\u05d3\u05d5\u05d3", "\u05d3\u05d5\u05d3"),
        ("7 of 9", "7 of 9"),
        ("x" * LONGEST, "x" * LONGEST),
        ("-rf", "-rf"),
        ("Person", "Person"),
        ("Person 15 b", "Person 15 b"),
        ("#1 fan", "#1 fan"),
        ("Grandma \U0001f600", "Grandma \U0001f600"),
        ("\u0646\u06cc\u200c\u0645\u0627", "\u0646\u06cc\u200c\u0645\u0627"),
    ],
)
def test_a_name_is_kept_as_text(text, name):
    assert good_name(text) == name
    assert good_name(name) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" \t\u3000", "empty"),
        ("x" * (LONGEST + 1), "101 characters"),
        ("7", "number"),
        ("\u0663", "number"),
        ("\u00b2", "number"),
        ("Person 15", "stands for a person's number"),
        ("PERSON  015", "stands for a person's number"),
        ("Ada#2", "stands for a face"),
        ("Baby #2", "stands for a face"),
        ("Ada\x1b[31m", "cannot be shown"),
        ("Ada\x00", "cannot be shown"),
        ("\u202eadA", "cannot be shown"),
        ("Ada\u200b", "cannot be shown"),
        ("Ada\ud800", "cannot be shown"),
        ("\udcffAda", "cannot be shown"),
    ],
)
def test_a_text_that_is_no_name(text, said):
    with pytest.raises(PeopleError, match=said) as caught:
        good_name(text)
    assert caught.value.hint


def test_ways_to_write_one_name():
    assert folded("  ADA  zoe\u0308 ") == folded("Ada Zo\u00eb")
    assert folded("Stra\u00dfe") == folded("STRASSE")
    assert folded("Ada") != folded("Ida")


def test_names_without_accents():
    assert plain("VÁCLAV  Havel") == plain("Vaclav havel") == "vaclav havel"
    assert plain("Łukasz Ørsted") == "lukasz orsted"
    assert plain("\u05d3\u05d5\u05d3") == "\u05d3\u05d5\u05d3"


def test_names_of_an_older_facesearch_are_kept():
    names = {"1": "Person 15", "2": "Ada#2"}
    assert Facts.read({"names": names}, 2).names == {1: "Person 15", 2: "Ada#2"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("\u05d3\u05d5\u05d3", "\u05d3\u05d5\u05d3"),
        ("a/b\\c", "a_b_c"),
        ("../../etc", "_.._etc"),
        ('<a href="x">?*|:', "_a href=_x______"),
        (".hidden", "hidden"),
        ("Ada Jr.", "Ada Jr"),
        ("...", "person-3"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("Com1", "_Com1"),
        ("COM\u00b9", "_COM\u00b9"),
        ("conin$", "_conin$"),
        ("console", "console"),
        ("x" * 100, "x" * 80),
        ("x" * 79 + ". y", "x" * 79),
        ("\u00e9" * 100, "\u00e9" * 40),
        ("\u4e2d" * 100, "\u4e2d" * 26),
    ],
)
def test_the_folder_of_a_name(name, folder):
    assert folder_name(name, 3) == folder


RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"}
RESERVED |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"}


@given(
    st.text(max_size=LONGEST)
    | st.sampled_from(sorted(RESERVED)).flatmap(
        lambda text: st.sampled_from([text, text.upper(), f"{text}.", f"{text}.x", f"{text} .x"])
    )
)
def test_every_folder_is_one_on_every_system(text):
    try:
        name = good_name(text)
    except PeopleError:
        name = "Person 3"
    folder = folder_name(name, 3)
    assert 1 <= len(folder.encode()) <= 80 + len("_")
    assert not set(folder) & set('<>:"/\\|?*')
    assert all(unicodedata.category(character) != "Cc" for character in folder)
    assert folder[0] not in ". "
    assert folder[-1] not in ". "
    assert folder.partition(".")[0].rstrip().casefold() not in RESERVED
    assert os.path.basename(folder) == folder
