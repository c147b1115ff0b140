"""Commands to a running service: engines, alarms, coils, rules."""

import getpass
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linewatch.client.connection import Connection
from linewatch.client.keys import ClientKeys
from linewatch.client.requests import NoAnswerError, RefusedError
from linewatch.contracts.alarm import AlarmAction
from linewatch.wire.schema import (
    AlarmReply,
    CoilAction,
    CoilDataBody,
    CoilReply,
    DisagreementsReply,
    EngineAction,
    EngineReply,
    RulesReply,
)


class Commander(Connection):
    """Connected to a service's command socket; opened, used and closed by one thread."""

    def __init__(self, endpoint: str, answer_timeout_s: float = 5.0, *, keys: ClientKeys | None = None) -> None:
        """endpoint: the service's [wire] commands. Raises WireError for an invalid endpoint or key."""
        super().__init__(endpoint, "commands", answer_timeout_s, keys)

    def engine(
        self, action: EngineAction, name: str = "", *, shadow: bool = False, by: str | None = None
    ) -> EngineReply:
        """Load an engine beside the running ones, promote or drop it, go back from it, or show the engines.

        The reply means that the command was accepted, not that it is done. Raises RefusedError or NoAnswerError.
        """
        return self._requester.engine(action, name, shadow=shadow, by=_whoami() if by is None else by)

    def disagreements(self) -> tuple[DisagreementsReply, list[bytes]]:
        """Return the newest tiles on which the engine on trial and the running one disagree, with a PNG of each.

        Raises RefusedError, or NoAnswerError.
        """
        return self._requester.disagreements()

    def acknowledge(
        self, alarm: str | None = None, *, token: str | None = None, by: str | None = None, comment: str = ""
    ) -> AlarmReply:
        """Acknowledge an alarm, by its id or its rule's name; None: all standing alarms. See `_alarm`."""
        return self._alarm(AlarmAction.ACKNOWLEDGE, alarm, None, token, by, comment)

    def shelve(
        self,
        alarm: str,
        minutes: float | None = None,
        *,
        token: str | None = None,
        by: str | None = None,
        comment: str = "",
    ) -> AlarmReply:
        """Shelve a rule's alarms for `minutes`; None: until the alarm becomes inactive. See `_alarm`."""
        return self._alarm(AlarmAction.SHELVE, alarm, minutes, token, by, comment)

    def unshelve(self, alarm: str, *, token: str | None = None, by: str | None = None, comment: str = "") -> AlarmReply:
        """End the shelving of a rule's alarms. See `_alarm`."""
        return self._alarm(AlarmAction.UNSHELVE, alarm, None, token, by, comment)

    def start_coil(
        self, coil: str, at_mm: float | None = None, *, token: str | None = None, by: str | None = None
    ) -> CoilReply:
        """Start a coil when the coil under the camera reaches `at_mm`, or with the next line. See `_coil`."""
        return self._coil(CoilAction.START, coil, at_mm=at_mm, token=token, by=by)

    def end_coil(
        self, coil: str | None = None, at_mm: float | None = None, *, token: str | None = None, by: str | None = None
    ) -> CoilReply:
        """End the coil under the camera; strip after it belongs to no coil until one starts. See `_coil`."""
        return self._coil(CoilAction.END, coil, at_mm=at_mm, token=token, by=by)

    def tell_coil(self, data: CoilDataBody, *, token: str | None = None, by: str | None = None) -> CoilReply:
        """Supply the data of a coil, before or while it passes. See `_coil`."""
        return self._coil(CoilAction.DATA, data=data, token=token, by=by)

    def show_coil(self) -> CoilReply:
        """Return the coil under the camera with its data and recipe. Raises NoAnswerError."""
        return self._requester.coil(CoilAction.SHOW)

    def reload_rules(self, *, by: str | None = None) -> RulesReply:
        """Have grading rules, sensitivity and recipes read again. On a RefusedError the old ones stay in force."""
        return self._requester.reload_rules(_whoami() if by is None else by)

    def _coil(
        self, action: CoilAction, coil: str | None = None, *, token: str | None, by: str | None, **more: Any
    ) -> CoilReply:
        """Send the command; the reply means that it is on disk. Raises and may be repeated as `_alarm`."""
        token = token or secrets.token_hex(16)
        by = _whoami() if by is None else by
        with _naming(token):
            return self._requester.coil(action, coil, token=token, by=by, **more)

    def _alarm(
        self,
        action: AlarmAction,
        alarm: str | None,
        minutes: float | None,
        token: str | None,
        by: str | None,
        comment: str,
    ) -> AlarmReply:
        """Send the command; the reply means that its transitions are on disk.

        by: who asks, for the record; default: this user and host. comment: why, for the record.

        Raises RefusedError, or NoAnswerError when the command may or may not have been carried out. Then send it again
        with the same `token`, which the error names: it is carried out once, however often it is sent.
        """
        token = token or secrets.token_hex(16)
        by = _whoami() if by is None else by
        with _naming(token):
            return self._requester.alarm(action, alarm, token=token, minutes=minutes, by=by, comment=comment)


@contextmanager
def _naming(token: str) -> Iterator[None]:
    """Name the token in the error of a missing answer."""
    try:
        yield
    except RefusedError:
        raise
    except NoAnswerError as error:
        raise NoAnswerError(f"{error}; it may have been carried out: send it again with token {token}") from error


def _whoami() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:64]
