"""Logging in and out. Wrong passwords cost their sender time, and a name cannot be tried from many places."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import parse_qs

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from linewatch.hmi.access.guard import Access, read_body
from linewatch.hmi.access.people import LONGEST_PASSWORD
from linewatch.hmi.access.rate_limit import RateLimit
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.layout import login_page
from linewatch.hmi.page import PageError
from linewatch.hmi.texts import N_

TRIES_PER_S: Final = 1 / 20
TRIES_AT_ONCE: Final = 5
WAITING: Final = 8
"""Passwords that wait to be checked, one at a time: each takes 64 MiB and 0.1 s of a core."""

log = structlog.get_logger()


class Login:
    """The routes of logging in and out."""

    def __init__(self, hmi: Hmi, access: Access) -> None:
        self._hmi, self._access = hmi, access
        self._by_address = RateLimit(TRIES_PER_S, TRIES_AT_ONCE)
        self._by_name = RateLimit(TRIES_PER_S, 4 * TRIES_AT_ONCE)
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting = 0

    @property
    def routes(self) -> list[Route]:
        """The routes, for the application."""
        return [
            Route("/login", self._show, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
        ]

    def close(self) -> None:
        """Return when the last password is checked."""
        self._checker.shutdown(cancel_futures=True)

    async def _show(self, request: Request) -> Response:
        if self._access.session(request) is not None:
            return RedirectResponse(_inside(request.query_params.get("next", "/")), 303)
        return login_page(self._hmi, self._access.language(request), _inside(request.query_params.get("next", "/")))

    async def _log_in(self, request: Request) -> Response:
        language = self._access.language(request)
        try:
            self._access.check_origin(request)
            form = parse_qs((await read_body(request)).decode("utf-8", "replace"), max_num_fields=8)
        except (PageError, ValueError) as error:
            return login_page(self._hmi, language, "/", str(error), 400)
        name = form.get("name", [""])[0][:64]
        password, to = form.get("password", [""])[0], _inside(form.get("next", ["/"])[0])
        address = request.client.host if request.client else ""
        # Each try is counted before its password is checked: many at once are no way around the bound.
        if self._waiting >= WAITING or not (self._by_address.takes(address) and self._by_name.takes(name)):
            log.warning("login_refused", peer=address, why="too many tries")
            return login_page(self._hmi, language, to, N_("Too many tries. Wait a minute."), 429, name)
        self._waiting += 1
        try:
            tried = password[: LONGEST_PASSWORD + 1]
            loop = asyncio.get_running_loop()
            person = await loop.run_in_executor(self._checker, self._hmi.people.check, name, tried)
        finally:
            self._waiting -= 1
        if person is None:
            log.warning("login_refused", peer=address, why="wrong name or password")
            return login_page(self._hmi, language, to, N_("Wrong name or password."), 403, name)
        self._by_address.gives_back(address)
        self._by_name.gives_back(name)
        log.info("logged_in", person=person.name, peer=address)
        response = RedirectResponse(to, 303)
        response.set_cookie(
            self._access.cookie,
            self._hmi.sessions.begin(person.name, person.password_hash),
            path="/",
            httponly=True,
            secure=self._hmi.settings.tls is not None,
            samesite="strict",
        )
        return response

    async def _log_out(self, request: Request) -> Response:
        try:
            self._access.check_origin(request)
        except PageError as error:
            return self._access.refused(request, error)
        self._hmi.sessions.end(request.cookies.get(self._access.cookie, "")[:64])
        response = RedirectResponse("/login", 303)
        response.delete_cookie(self._access.cookie, path="/", secure=self._hmi.settings.tls is not None, httponly=True)
        return response


def _inside(path: str) -> str:
    """Return where to go after logging in: a path of this page, whatever was asked for."""
    safe = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path[:500] if safe else "/"
