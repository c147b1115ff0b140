"""Bring the catalogues of the page up to date: `python -m tools.hmi_texts` adds new texts and drops old ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.access import Role
from linewatch.contracts.alarm import Priority
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import Quality

HMI: Final = Path(__file__).parents[1] / "linewatch" / "hmi"
LANGUAGES: Final = ("de",)
_HEADER: Final = "# Texts of the page; `python -m tools.hmi_texts` brings this file up to date."
_WORDS: Final = {"_": None, "N_": None, "text": None}
_KINDS: Final = {"*.py": "python", "*.html": "jinja2.ext:babel_extract"}
_IN_SCRIPT: Final = re.compile(r'\b(?:t|N_)\("((?:[^"\\]|\\.)+)"')
_NAMED: Final = (Quality, Cause, Role, Priority)
"""Enumerations whose values are shown as words, as are the classes of the taxonomy."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text of the page and the file that it stands in."""
    for pattern, kind in _KINDS.items():
        for path in sorted(HMI.rglob(pattern)):
            with path.open("rb") as file:
                for _, text, _, _ in extract(kind, file, _WORDS):
                    yield (text if isinstance(text, str) else text[0]), str(path.relative_to(HMI))
    for path in sorted(HMI.rglob("*.js")):
        yield from ((text, str(path.relative_to(HMI))) for text in _IN_SCRIPT.findall(path.read_text()))
    for enumeration in _NAMED:
        yield from ((str(one.value).replace("_", " "), enumeration.__name__) for one in enumeration)
    classes = Taxonomy.read(HMI.parents[1] / "configs" / "taxonomy.toml").classes
    yield from ((name.replace("_", " "), "taxonomy") for name in (*classes, "top", "bottom", "both"))


def update(path: Path) -> None:
    """Bring one catalogue up to date; translations of texts that stay are kept."""
    with path.open("rb") as file:
        before = read_po(file, locale=path.stem)
    after = Catalog(
        locale=path.stem,
        fuzzy=False,
        header_comment=_HEADER,
        project="linewatch",
        version="",
        creation_date=before.creation_date,  # same texts, same file
        revision_date=before.revision_date,
    )
    for text, file_name in sorted(set(texts())):
        known = before.get(text)
        after.add(text, string=known.string if known is not None else "", locations=[(file_name, 0)])
    with path.open("wb") as out:
        write_po(out, after, omit_header=False, include_lineno=False, sort_output=True, width=100)


if __name__ == "__main__":
    for language in LANGUAGES:
        update(HMI / "catalogues" / f"{language}.po")
