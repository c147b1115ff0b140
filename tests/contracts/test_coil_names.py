"""A coil may have any printable name; what files and URLs are called after it is never ambiguous."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.coil import MAX_COIL_NAME, checked_coil_name, coil_name, file_name

NAMES = ["123/4", "Bänd 7 ß", "鋼卷 12", "#1", "100 %", "?", ".x", "..", "-5", "=1+1", "[red]", "x" * MAX_COIL_NAME]


@pytest.mark.parametrize("name", NAMES)
def test_any_printable_text_is_a_name(name: str) -> None:
    assert checked_coil_name(name) == name
    assert coil_name(name) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty, expected a coil's name of 1 to 200 characters"),
        ("   ", "is empty"),
        ("x" * 201, "has 201 characters, expected a coil's name of 1 to 200"),
        ("a\0b", r"U\+0000, which cannot be printed"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("a\u200bb", r"U\+200B"),
        ("a\ud800", r"U\+D800"),
        ("a\u00a0b", r"U\+00A0"),
    ],
)
def test_what_cannot_be_printed_is_refused_with_its_code(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_coil_name(text)
    assert checked_coil_name(coil_name(text)) == coil_name(text)  # made of it, it is a name


def test_padding_and_ways_to_write_a_letter_make_no_other_coil() -> None:
    decomposed = unicodedata.normalize("NFD", "Bänd")
    assert decomposed != "Bänd"
    assert checked_coil_name(f"  {decomposed}   ") == "Bänd"


@given(st.text())
def test_a_name_made_of_any_text_is_a_name(text: str) -> None:
    made = coil_name(text)
    assert checked_coil_name(made) == made


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_different_names_give_different_files(one: str, other: str) -> None:
    files = [file_name(name) for name in (one, other)]
    assert (one == other) == (files[0].lower() == files[1].lower())
    for name in files:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        assert len(name.encode()) <= 120
        assert not name.startswith(".")
        assert name == Path(name).name


def test_a_name_that_looks_like_the_file_of_another_gets_a_file_of_its_own() -> None:
    first = file_name("C1").lower()
    assert len({file_name(name).lower() for name in ("C1", "c1", first, file_name("C1"))}) == 4
    assert file_name("c1-7.b") == "c1-7.b"
