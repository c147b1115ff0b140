"""What OPC UA clients ask of the service: sent over the wire in the client's name, and waited for without blocking."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final

from asyncua import ua

from linewatch.contracts.access import Role
from linewatch.plant.commands import CommandAnswer, CommandResult, CommandSender, PlantClient
from linewatch.wire.schema import CoilDataBody

CALLER: Final[ContextVar[PlantClient]] = ContextVar("caller")
"""The client whose method runs."""

_STATUS: Final = {
    CommandResult.OK: ua.StatusCodes.Good,
    CommandResult.REFUSED: ua.StatusCodes.BadInvalidState,
    CommandResult.NO_ANSWER: ua.StatusCodes.BadTimeout,
}


class OpcuaCommands:
    """Each call returns when the service has answered, with the status code for the client.

    Only the connection of the client that asked waits for it.
    """

    def __init__(self, sender: CommandSender | None, standing: Callable[[], Iterable[str]]) -> None:
        """sender: None: the server is read-only. `standing` returns the ids of alarms to acknowledge."""
        self._sender = sender
        self._standing = standing
        self._loop = asyncio.get_running_loop()

    async def acknowledge(self, alarm: str) -> ua.StatusCode:
        """Acknowledge an alarm by its id."""
        return await self._ask(lambda sender, client, done: sender.acknowledge([alarm], client, done))

    async def acknowledge_all(self) -> ua.StatusCode:
        """Acknowledge every alarm that is shown as not acknowledged."""
        alarms = list(self._standing())
        if not alarms:
            return self._refusal() or ua.StatusCode()
        return await self._ask(lambda sender, client, done: sender.acknowledge(alarms, client, done))

    async def shelve(self, rule: str, minutes: float | None) -> ua.StatusCode:
        """Shelve a rule's alarms; minutes: None: until the alarm becomes inactive."""
        return await self._ask(lambda sender, client, done: sender.shelve(rule, minutes, client, done))

    async def unshelve(self, rule: str) -> ua.StatusCode:
        """End the shelving of a rule's alarms."""
        return await self._ask(lambda sender, client, done: sender.unshelve(rule, client, done))

    async def start_coil(self, coil: str) -> ua.StatusCode:
        """Start a coil with the next line."""
        return await self._ask(lambda sender, client, done: sender.start_coil(coil, None, client, done))

    async def end_coil(self, coil: str | None) -> ua.StatusCode:
        """End the coil under the camera. coil: the one that is meant."""
        return await self._ask(lambda sender, client, done: sender.end_coil(coil, None, client, done))

    async def tell_coil(self, data: CoilDataBody) -> ua.StatusCode:
        """Supply a coil's data."""
        return await self._ask(lambda sender, client, done: sender.tell_coil(data, client, done))

    def _refusal(self) -> ua.StatusCode | None:
        if self._sender is None or not CALLER.get().role.covers(Role.OPERATOR):
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        return None

    async def _ask(self, send: Callable[[CommandSender, PlantClient, Callable[[CommandAnswer], Any]], Any]) -> Any:
        if (refusal := self._refusal()) is not None:
            return refusal
        assert self._sender is not None
        answered: asyncio.Future[CommandAnswer] = self._loop.create_future()

        def done(answer: CommandAnswer) -> None:  # from the commands' thread
            self._loop.call_soon_threadsafe(answer_once, answer)

        def answer_once(answer: CommandAnswer) -> None:
            if not answered.done():  # the client may be gone
                answered.set_result(answer)

        send(self._sender, CALLER.get(), done)
        return ua.StatusCode(_STATUS[(await answered).result])
