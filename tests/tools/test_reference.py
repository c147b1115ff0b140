"""The reference pages hold every setting and every message, and are up to date."""

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from linewatch.wire.schema import DefectBody
from tools.log_events import log_page
from tools.reference import FILES, FOLDER, settings_page, wire_page

PLAIN = {
    *(
        "at_m",
        "backend",
        "classify",
        "coil",
        "defects_per_m",
        "engines_dir",
        "from_grab",
        "ladder",
        "length_m",
        "level",
    ),
    *("path", "pitch_mm", "plan_dir", "screen", "seed", "segment", "type"),
}
"""Keys whose name and table say everything."""


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for argument in get_args(annotation):
        yield from models_in(argument)


@pytest.mark.parametrize("title", FILES)
def test_every_setting_has_a_row_or_a_table(title: str) -> None:
    text = settings_page().split(f"\n## {title}\n")[1].split("\n## ")[0]
    for model in models_in(FILES[title][1]):
        for key in model.model_fields:
            assert f"| `{key}` |" in text or f"{key}]" in text, (model, key)


@pytest.mark.parametrize("title", FILES)
def test_every_setting_says_what_it_means(title: str) -> None:
    for model in models_in(FILES[title][1]):
        assert model.__doc__, model
        silent = [
            key
            for key, field in model.model_fields.items()
            if not field.description and not list(models_in(field.annotation)) and key not in PLAIN
        ]
        assert not silent, model


def test_every_field_of_a_defect_is_on_the_wire_page() -> None:
    section = wire_page().split("\n### DefectBody\n")[1].split("\n### ")[0]
    assert all(f"| `{field.alias or key}` |" in section for key, field in DefectBody.model_fields.items())


@pytest.mark.parametrize(
    ("name", "made"), [("settings.md", settings_page), ("wire.md", wire_page), ("log-events.md", log_page)]
)
def test_the_pages_are_up_to_date(name: str, made) -> None:
    assert made() == (FOLDER / name).read_text(), "run make reference"
