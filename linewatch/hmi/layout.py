"""Pages from templates: the navigation, the language, the theme, and what every script needs to know."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.responses import HTMLResponse

from linewatch import __version__
from linewatch.contracts.access import Role
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.page import Asked, Page
from linewatch.hmi.texts import LANGUAGES, catalogue, translate

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"


@cache
def _environment(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["_"] = lambda text, **values: translate(language, text, **values)
    return environment


def show_page(page: Page, pages: tuple[Page, ...], asked: Asked, context: Mapping[str, Any]) -> HTMLResponse:
    """Return a page as its reader gets it, with the navigation to the pages that the reader may open."""
    listed = [one for one in pages if one.listed and "{" not in one.path and asked.role.covers(one.role)]
    body = _environment(asked.language).get_template(f"{page.name}.html")
    about = {
        "page": page,
        "pages": listed,
        "person": asked.person,
        "role": asked.role,
        "csrf": asked.csrf,
        "may_act": asked.role.covers(Role.OPERATOR) and asked.hmi.commands.possible,
        "has_history": asked.hmi.records.there,
        "theme": asked.request.cookies.get("theme", "auto"),
        "has_script": (STATIC / f"{page.name}.js").is_file(),
        "has_style": (STATIC / f"{page.name}.css").is_file(),
    }
    return HTMLResponse(body.render(**common(asked.hmi, asked.language), **about, **context))


def login_page(hmi: Hmi, language: str, to: str, trouble: str = "", status: int = 200, name: str = "") -> HTMLResponse:
    """Return the page on which people log in."""
    body = _environment(language).get_template("login.html")
    shown = catalogue(language).get(trouble, trouble)
    return HTMLResponse(body.render(**common(hmi, language), to=to, trouble=shown, name=name), status)


def error_page(hmi: Hmi, language: str, status: int, text: str) -> HTMLResponse:
    """Return a page that says what is wrong."""
    body = _environment(language).get_template("error.html")
    return HTMLResponse(body.render(**common(hmi, language), status=status, text=text), status)


def common(hmi: Hmi, language: str) -> dict[str, Any]:
    """Return what every template gets."""
    now = datetime.now(hmi.zone)
    return {
        "language": language,
        "languages": LANGUAGES,
        "line_name": hmi.settings.line_name,
        "classes": hmi.classes,
        "zone": hmi.settings.time_zone,
        "zone_offset": now.strftime("%:z") if now.utcoffset() else "+00:00",
        "version": __version__,
    }
