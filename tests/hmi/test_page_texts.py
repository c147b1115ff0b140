"""The catalogues are complete: every text of the page is in each, with the same {names} in it."""

import re

import pytest

from linewatch.hmi.texts import LANGUAGES, catalogue, language_of, translate
from tools.hmi_texts import texts

OTHERS = [language for language in LANGUAGES if language != "en"]


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    told = {text for text, _ in texts()}
    assert len(told) > 80, "texts were found"
    lacking = sorted(told - catalogue(language).keys())
    assert not lacking, f"run `python -m tools.hmi_texts`, and translate in {language}.po: {lacking}"


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_names_of_its_text(language: str) -> None:
    for text, translated in catalogue(language).items():
        assert sorted(re.findall(r"\{\w*\}", text)) == sorted(re.findall(r"\{\w*\}", translated)), text


def test_the_language_is_the_persons_then_the_browsers_then_the_plants() -> None:
    assert language_of("de", "en", "en") == "de"
    assert language_of("xx", "fr;q=0.9, DE-at;q=0.8", "en") == "de"
    assert language_of("", "fr", "de") == "de"
    assert translate("de", "This needs the role {role}.", role="x") == "Dafür ist die Rolle x nötig."
