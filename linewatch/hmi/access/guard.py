"""What stands before every request: its size and rate, the sender's session and role, and the answer's headers."""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linewatch.contracts.access import Role
from linewatch.contracts.errors import LinewatchError
from linewatch.hmi.access.rate_limit import RateLimit
from linewatch.hmi.access.sessions import Session
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.page import Answer, Asked, PageError
from linewatch.hmi.texts import N_, language_of, translate

MOST_BODY_BYTES: Final = 64 << 10
REQUEST_S: Final = 30.0
BODY_S: Final = 10.0
REQUESTS_PER_S: Final = 240.0
"""Of one address: twenty panels behind it that watch a camera's picture ask 160 times a second."""
REQUESTS_AT_ONCE: Final = 1200  # they load the page together

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

log = structlog.get_logger()


class Guard:
    """An ASGI layer: a bound on each sender's rate and on each request's time, and headers for every answer."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        """secure: the page is served over TLS."""
        self._app = app
        self._headers = HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if secure else {})
        self._rate = RateLimit(REQUESTS_PER_S, REQUESTS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if not self._rate.takes(scope["client"][0] if scope["client"] else ""):
            refused = PlainTextResponse("too many requests; wait a moment", 429, {"Retry-After": "1"})
            await refused(scope, receive, send_with_headers)
            return
        try:
            async with asyncio.timeout(REQUEST_S):
                await self._app(scope, receive, send_with_headers)
        except TimeoutError:
            log.warning("request_cut", path=scope["path"][:200], after_s=REQUEST_S)
            if not answered:
                await PlainTextResponse("this took too long; try again", 504)(scope, receive, send_with_headers)


class Access:
    """Tells who sends a request, and lets only those through who may."""

    def __init__(self, hmi: Hmi) -> None:
        self._hmi = hmi
        self.cookie = "__Host-linewatch" if hmi.settings.tls else "linewatch"

    def asked(self, connection: HTTPConnection, least: Role) -> Asked:
        """Return who asks. Raises PageError: 401 for nobody, 403 for too low a role, 400 for a name of another host.

        While nobody has a password, whoever is on this host may look. Nobody may act: no name would stand for it.
        """
        language = self.language(connection)
        if not len(self._hmi.people):
            if not (self._hmi.settings.listen.is_loopback and _names_this_host(connection)):
                raise PageError(400, N_("Open this page by the address of this host, until a password is set."))
            if not Role.OBSERVER.covers(least):
                raise PageError(403, N_("Set a password first: linewatch hmi-password NAME --role operator CONFIG"))
            return Asked(self._hmi, _request(connection), "", Role.OBSERVER, language, "")
        session = self.session(connection)
        person = self._hmi.people.find(session.person) if session is not None else None
        if session is None or person is None:
            raise PageError(401, N_("Log in first."))
        if not person.role.covers(least):
            raise PageError(403, N_("This needs the role {role}."), role=least.value)
        return Asked(self._hmi, _request(connection), person.name, person.role, language, session.csrf)

    def session(self, connection: HTTPConnection) -> Session | None:
        """Return the sender's session; None where it has ended, or the person is gone or has another password since."""
        session = self._hmi.sessions.find(connection.cookies.get(self.cookie, "")[:64])
        person = self._hmi.people.find(session.person) if session is not None else None
        return session if session and person and person.password_hash == session.password_hash else None

    def language(self, connection: HTTPConnection) -> str:
        """Return the language in which the sender is answered."""
        chosen = connection.cookies.get("language", "")
        return language_of(chosen, connection.headers.get("accept-language", ""), self._hmi.settings.language)

    def check_origin(self, connection: HTTPConnection) -> None:
        """Raise PageError 403 for a request that another site's page sent."""
        origin, host = connection.headers.get("origin"), connection.headers.get("host", "")
        site = connection.headers.get("sec-fetch-site", "same-origin")
        schemes = ("https",) if self._hmi.settings.tls else ("http", "https")  # https: behind a proxy
        own = {f"{scheme}://{host}" for scheme in schemes}
        if not host or origin not in own or site not in ("same-origin", "none"):
            raise PageError(403, N_("This request came from another site's page."))

    def endpoint(
        self, answer: Callable[[Asked], Awaitable[Answer]], least: Role, *, acts: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a route's endpoint that checks the sender, then answers."""

        async def respond(request: Request) -> Response:
            try:
                if acts:
                    self.check_origin(request)
                asked = self.asked(request, least)
                if acts:
                    asked = await self._with_body(request, asked)
                found = await answer(asked)
                return found if isinstance(found, Response) else JSONResponse(found)
            except PageError as error:
                return self.refused(request, error)
            except LinewatchError as error:
                return self.refused(request, PageError(503, str(error)))

        return respond

    def refused(self, request: Request, error: PageError) -> Response:
        """Return the answer to a request that is refused: for a page where to log in, for a script a text."""
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if error.status == 401 and wants_page:
            return RedirectResponse(f"/login?next={_quoted(request.url.path)}", 303)
        text = translate(self.language(request), error.text)
        text = text.format(**error.values) if error.values else text
        if wants_page:
            from linewatch.hmi.layout import error_page

            return error_page(self._hmi, self.language(request), error.status, text)
        return JSONResponse({"error": text}, error.status)

    async def _with_body(self, request: Request, asked: Asked) -> Asked:
        session = self.session(request)
        if session is None or not session.proves(request.headers.get("x-csrf-token", "")):
            raise PageError(403, N_("This page is out of date: load it again."))
        body = await read_body(request)
        try:
            found: Any = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise PageError(400, N_("The request is no JSON object.")) from error
        if not isinstance(found, Mapping):
            raise PageError(400, N_("The request is no JSON object."))
        return Asked(asked.hmi, asked.request, asked.person, asked.role, asked.language, asked.csrf, found)


async def read_body(request: Request) -> bytes:
    """Return a request's body. Raises PageError for one that is too large or does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY_BYTES:
                    raise PageError(413, N_("The request is too large."))
    except TimeoutError as error:
        raise PageError(408, N_("The request did not come in time.")) from error
    return bytes(body)


def _request(connection: HTTPConnection) -> Request:
    return connection if isinstance(connection, Request) else Request(dict(connection.scope) | {"type": "http"})


def _names_this_host(connection: HTTPConnection) -> bool:
    """Return whether the address that the browser opened is this host's own, not a name that was pointed at it."""
    try:
        name = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/") if path.startswith("/") and not path.startswith("//") else "/"
