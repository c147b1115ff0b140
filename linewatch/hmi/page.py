"""What a page consists of. `linewatch.hmi.registry` lists the pages; docs/extending.md shows how to add one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from linewatch.contracts.access import Role

if TYPE_CHECKING:
    from linewatch.hmi.hmi import Hmi


class PageError(Exception):
    """A request that cannot be answered: `text` is shown to the person, and is translated where a catalogue has it."""

    def __init__(self, status: int, text: str, **values: object) -> None:
        super().__init__(text.format(**values) if values else text)
        self.status, self.text, self.values = status, text, values


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose sender's role is checked. person: the name that commands are sent in; "": nobody logged in.

    body: of an action, the JSON object that the page sent; otherwise empty.
    """

    hmi: "Hmi"
    request: Request
    person: str
    role: Role
    language: str
    csrf: str
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Mapping[str, Any]:
        """The values of the {names} in the route's path."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        """The values behind the question mark."""
        return self.request.query_params

    def text(self, text: str, **values: object) -> str:
        """Return a text in the person's language."""
        from linewatch.hmi.texts import translate

        return translate(self.language, text, **values)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number of the query. Raises PageError for anything else."""
        text = self.query.get(name, str(default))
        if not text.removeprefix("-").isdecimal() or len(text) > 18 or not least <= int(text) <= most:
            raise PageError(400, f"{name}: expected a whole number of {least} to {most}")
        return int(text)


Answer = Response | Mapping[str, Any] | list[Any]
"""A response as it is, or what becomes JSON."""


@dataclass(frozen=True, slots=True)
class Data:
    """What a page's script asks for by GET. role: the page's where None."""

    path: str
    answer: Callable[[Asked], Awaitable[Answer]]
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What a page's script does by POST: it must have a session, its CSRF token, and the role."""

    path: str
    carry_out: Callable[[Asked], Awaitable[Answer]]
    role: Role = Role.OPERATOR


@dataclass(frozen=True, slots=True)
class Page:
    """One page: templates/NAME.html, static/NAME.js, static/NAME.css where there is one.

    path: of the page itself, with {names} where it needs some. title: English, a text of the catalogues. context: what
    its template gets, beside what layout.html takes. listed: in the navigation; so is a path without names only.
    """

    name: str
    path: str
    title: str
    role: Role = Role.OBSERVER
    context: Callable[[Asked], Awaitable[Mapping[str, Any]]] | None = None
    data: tuple[Data, ...] = ()
    actions: tuple[Action, ...] = ()
    listed: bool = True
