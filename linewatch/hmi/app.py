"""The web application: every page of the registry behind the guard, the stream, and the files that pages need."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from linewatch.contracts.errors import LinewatchError
from linewatch.hmi.access.guard import Access, Guard
from linewatch.hmi.access.login import Login
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.layout import STATIC, show_page
from linewatch.hmi.page import Asked, Page, PageError
from linewatch.hmi.registry import PAGES
from linewatch.hmi.texts import LANGUAGES, N_, catalogue

SEND_S = 10.0
"""A browser that takes nothing for so long is disconnected."""
SOCKETS_OF_A_SESSION = 32
CHECK_AGAIN_S = 5.0
"""How often a socket's session and role are looked at again."""
LOG_IN_AGAIN, CLOSED_TO_YOU, TRY_LATER = 4401, 4403, 1013
"""Codes of the stream's end: feed.js loads the page again after the first, and connects again after the others."""

log = structlog.get_logger()


def web_application(hmi: Hmi) -> tuple[ASGIApp, Login]:
    """Return the application, and what checks passwords, which is to be closed."""
    access = Access(hmi)
    login = Login(hmi, access)
    routes: list[BaseRoute] = [*login.routes]
    for page in PAGES:
        routes += _routes(page, access)
    routes += [
        WebSocketRoute("/feed", _feed(hmi, access)),
        Route("/catalogue/{language}.json", _catalogue),
        Mount("/static", _Static(directory=STATIC)),
    ]

    async def not_found(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return access.refused(request, PageError(status, N_("There is no such page.")))

    async def unusable(request: Request, error: Exception) -> Response:
        return access.refused(request, PageError(503, str(error)))

    async def failed(request: Request, error: Exception) -> Response:
        log.error("page_failed", path=request.url.path[:200], exc_info=error)
        return access.refused(request, PageError(500, N_("This page failed; the log of linewatch hmi says why.")))

    app = Starlette(
        routes=routes, exception_handlers={HTTPException: not_found, LinewatchError: unusable, Exception: failed}
    )
    return Guard(app, secure=hmi.settings.tls is not None), login  # around the answers to failures too


def _routes(page: Page, access: Access) -> list[Route]:
    async def shown(asked: Asked) -> Response:
        return show_page(page, PAGES, asked, await page.context(asked) if page.context else {})

    routes = [Route(page.path, access.endpoint(shown, page.role), methods=["GET"])]
    for data in page.data:
        routes.append(Route(data.path, access.endpoint(data.answer, data.role or page.role), methods=["GET"]))
    for action in page.actions:
        routes.append(Route(action.path, access.endpoint(action.carry_out, action.role, acts=True), methods=["POST"]))
    return routes


def _feed(hmi: Hmi, access: Access) -> Callable[[WebSocket], Awaitable[None]]:
    async def feed(socket: WebSocket) -> None:
        try:
            access.check_origin(socket)
            asked = access.asked(socket, PAGES[0].role)
        except PageError as error:
            if error.status == 401:
                await socket.accept()  # a browser learns a code only of a stream that was open
            await socket.close(LOG_IN_AGAIN if error.status == 401 else CLOSED_TO_YOU)
            return
        except LinewatchError as error:  # the file of people cannot be read
            log.error("stream_refused", why=str(error))
            await socket.close(TRY_LATER)
            return
        session = access.session(socket)
        if session is not None and session.sockets >= SOCKETS_OF_A_SESSION:
            await socket.close(TRY_LATER)
            return
        try:
            with hmi.hub.listening(socket.query_params.get("topics", "pulse").split(",")) as listener:
                if session is not None:
                    session.sockets += 1
                await socket.accept()
                closed = asyncio.create_task(_until_closed(socket))
                checked = asyncio.create_task(_until_refused(access, socket, asked))
                sent = asyncio.create_task(_send_all(socket, listener.messages()))
                try:
                    done, _ = await asyncio.wait((closed, checked, sent), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (closed, checked, sent):
                        task.cancel()
                    await asyncio.gather(closed, checked, sent, return_exceptions=True)
                    if session is not None:
                        session.sockets -= 1
                if closed not in done:
                    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                        async with asyncio.timeout(1.0):
                            await socket.close(LOG_IN_AGAIN if checked in done else TRY_LATER)
        except (ValueError, OverflowError):
            await socket.close(TRY_LATER)

    return feed


async def _send_all(socket: WebSocket, messages: object) -> None:
    async for message in messages:  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(SEND_S):
                await socket.send_text(message.decode())
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return


async def _until_closed(socket: WebSocket) -> None:
    """Return when the browser closes, or says anything: it has nothing to say."""
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.receive()


async def _until_refused(access: Access, socket: WebSocket, asked: Asked) -> None:
    """Return when the person is logged out, removed or given another role."""
    while True:
        await asyncio.sleep(CHECK_AGAIN_S)
        try:
            if access.asked(socket, PAGES[0].role).role is not asked.role:
                return
        except PageError:
            return


async def _catalogue(request: Request) -> Response:
    language = request.path_params["language"]
    if language not in LANGUAGES:
        return JSONResponse({}, 404)
    return JSONResponse(catalogue(language), headers={"Cache-Control": "no-cache"})


class _Static(StaticFiles):
    """Our own scripts and styles: a browser asks whether they changed, and gets 304 where they did not."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response
