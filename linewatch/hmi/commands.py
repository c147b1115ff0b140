"""Commands to the service in a person's name, each carried out once, over lost answers and restarts of the service."""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from linewatch.client import ClientKeys, Commander
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.contracts.errors import WireError
from linewatch.hmi.page import PageError
from linewatch.hmi.texts import N_
from linewatch.plant.settings import CommandSettings

ANSWER_TIMEOUT_S: Final = 1.0  # of one attempt; the next one has the same token
AT_ONCE: Final = 4

R = TypeVar("R")


class PersonCommands:
    """`send` is for the event loop; what it sends runs in threads, so that a silent service holds nobody up."""

    def __init__(self, settings: CommandSettings | None, keys: ClientKeys | None) -> None:
        """settings: None: the page has no commands. keys: of an operator or engineer, where there are any."""
        self._settings, self._keys = settings, keys
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="commands")
        self._closed = False

    @property
    def possible(self) -> bool:
        """Whether the configuration says where commands go."""
        return self._settings is not None

    def close(self) -> None:
        """Return when every command has ended. Commands not sent yet are dropped."""
        self._closed = True
        self._threads.shutdown(cancel_futures=True)

    async def send(self, command: Callable[[Commander, str], R]) -> R:
        """Return the reply of `command(commander, token)`, which names the person by `by=` and hands the token on.

        For example `lambda to, token: to.acknowledge(alarm, token=token, by=asked.person)`. Raises PageError: 403 or
        409 where the service refuses, 504 where no answer came in `give_up_s` and the command may or may not have been
        carried out.
        """
        if self._settings is None:
            raise PageError(409, N_("This page has no connection for commands: add [commands] to its configuration."))
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, self._settings, command)

    def _send(self, settings: CommandSettings, command: Callable[[Commander, str], R]) -> R:
        token, give_up_s = secrets.token_hex(16), time.monotonic() + settings.give_up_s
        try:
            with Commander(settings.commands, ANSWER_TIMEOUT_S, keys=self._keys) as commander:
                while not self._closed:
                    try:
                        return command(commander, token)
                    except RefusedError as error:
                        raise PageError(409, N_("The service refused: {why}"), why=error) from error
                    except NoAnswerError:
                        if time.monotonic() >= give_up_s:
                            break
        except WireError as error:
            raise PageError(409, N_("The command cannot be sent: {why}"), why=error) from error
        raise PageError(504, N_("The service did not answer; the command may or may not have been carried out."))
