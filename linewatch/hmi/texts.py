"""The page's texts in English, which they are written in, and in the languages of the catalogues.

A text is looked up by its English words: `_("Coverage")` in a template, `t("Coverage")` in a script, N_("Live") where
it is only named. `python -m tools.hmi_texts` brings catalogues/*.po up to date; a test asks that they are complete.
"""

from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
CATALOGUES: Final = Path(__file__).parent / "catalogues"


def N_(text: str) -> str:
    """Return a text as it is; it is translated where it is shown."""
    return text


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return the translations by their English text; none for English."""
    if language == "en":
        return {}
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        found = read_po(file, locale=language)
    return {str(message.id): str(message.string) for message in found if message.id and message.string}


def translate(language: str, text: str, **values: object) -> str:
    """Return a text in a language, with its {names} filled in; the English text where the catalogue lacks it."""
    translated = catalogue(language).get(text, text)
    return translated.format(**values) if values else translated


def language_of(chosen: str, accepted: str, default: str) -> str:
    """Return the language to use. chosen: by the person. accepted: the header Accept-Language."""
    if chosen in LANGUAGES:
        return chosen
    for part in accepted[:200].split(","):
        name = part.partition(";")[0].strip().lower()[:2]
        if name in LANGUAGES:
            return name
    return default
