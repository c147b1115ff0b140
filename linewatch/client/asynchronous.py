"""The client for programs that run in an asyncio event loop: the same subscriber and commander, never waited for.

Each has a thread of its own, which owns its sockets, so that gaps, losses, positions and tokens are those of the
blocking client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from linewatch.client.commander import Commander
from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Lost, Position, Subscriber
from linewatch.wire.schema import (
    DECIDED_TOPICS,
    AlarmReply,
    AnyMessage,
    CoilDataBody,
    CoilReply,
    EngineAction,
    EngineReply,
    RulesReply,
    Snapshot,
    Topic,
)

_POLL_S = 0.1  # a request for a snapshot waits so long for its turn

C = TypeVar("C", Subscriber, Commander)
T = TypeVar("T")


class _OwnThread(Generic[C]):
    """A client that one thread opens, uses and closes."""

    def __init__(self, name: str, open_it: Callable[[], C]) -> None:
        self._open: Callable[[], C] = open_it
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._client: C | None = None

    async def __aenter__(self) -> Self:
        """Raises WireError for an endpoint or a key that cannot be used."""
        try:
            self._client = await asyncio.wrap_future(self._thread.submit(self._open))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closed = self._thread.submit(self._opened.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closed))

    @property
    def _opened(self) -> C:
        if self._client is None:
            raise RuntimeError("this client is not open; use it by `async with`")
        return self._client

    async def _call(self, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        return await asyncio.wrap_future(self._thread.submit(function, *arguments, **more))


class AsyncSubscriber(_OwnThread[Subscriber]):
    """A `Subscriber` for one event loop. A consumer that is slow holds up itself alone: what it misses is fetched.

    No message is lost when the task that waits for it is cancelled: the next call returns it.
    """

    def __init__(
        self,
        publish: str,
        serve: str,
        topics: Iterable[Topic | str] = DECIDED_TOPICS,
        *,
        keys: ClientKeys | None = None,
        since: Literal["live", "epoch", "journal"] = "live",
        positions: Mapping[str, Position] | None = None,
        journal: str | None = None,
        answer_timeout_s: float = 5.0,
        receive_high_water: int = 10_000,
    ) -> None:
        """Takes what `Subscriber` takes; `async with` connects."""

        def open_it() -> Subscriber:
            return Subscriber(
                publish,
                serve,
                topics,
                keys=keys,
                since=since,
                positions=positions,
                journal=journal,
                answer_timeout_s=answer_timeout_s,
                receive_high_water=receive_high_water,
            )

        super().__init__("subscriber", open_it)
        self._coming: Future[AnyMessage | Lost | None] | None = None  # of a poll that nobody has taken the result of

    async def __aiter__(self) -> AsyncIterator[AnyMessage | Lost]:
        """Yield every message from now on."""
        while True:
            message = await self.poll(_POLL_S)
            if message is not None:
                yield message

    async def poll(self, timeout_s: float) -> AnyMessage | Lost | None:
        """Return the next message, or None after `timeout_s`. Filling a gap may take up to `answer_timeout_s` longer.

        Raises WireError when the service speaks another schema version.
        """
        if self._coming is None:
            self._coming = self._thread.submit(self._opened.poll, timeout_s)
        coming = self._coming
        message = await asyncio.shield(asyncio.wrap_future(coming))
        self._coming = None
        return message

    async def snapshot(self) -> Snapshot:
        """Return the service's state. Raises WireError when no answer comes."""
        return await self._call(self._opened.snapshot)

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since `poll` saw the heartbeat advance; infinite before the first. Old: nothing is inspected."""
        return self._opened.heartbeat_age_s

    @property
    def positions(self) -> dict[str, Position]:
        """The positions after the messages that `poll` returned. Store them to resume with another subscriber."""
        return self._opened.positions

    @property
    def journal(self) -> str | None:
        """UUID of the service's journal, in which `positions` are; None: not known yet."""
        return self._opened.journal


class AsyncCommander(_OwnThread[Commander]):
    """A `Commander` for one event loop; commands are sent one after the other.

    A command whose task is cancelled may have been carried out: send it again with the same `token`.
    """

    def __init__(self, endpoint: str, answer_timeout_s: float = 5.0, *, keys: ClientKeys | None = None) -> None:
        """endpoint: the service's [wire] commands; `async with` connects."""
        super().__init__("commander", lambda: Commander(endpoint, answer_timeout_s, keys=keys))

    async def engine(self, action: EngineAction, name: str = "", *, shadow: bool = False) -> EngineReply:
        """See `Commander.engine`."""
        return await self._call(self._opened.engine, action, name, shadow=shadow)

    async def acknowledge(
        self, alarm: str | None = None, *, token: str | None = None, by: str | None = None
    ) -> AlarmReply:
        """See `Commander.acknowledge`."""
        return await self._call(self._opened.acknowledge, alarm, token=token, by=by)

    async def shelve(
        self, alarm: str, minutes: float | None = None, *, token: str | None = None, by: str | None = None
    ) -> AlarmReply:
        """See `Commander.shelve`."""
        return await self._call(self._opened.shelve, alarm, minutes, token=token, by=by)

    async def unshelve(self, alarm: str, *, token: str | None = None, by: str | None = None) -> AlarmReply:
        """See `Commander.unshelve`."""
        return await self._call(self._opened.unshelve, alarm, token=token, by=by)

    async def start_coil(
        self, coil: str, at_mm: float | None = None, *, token: str | None = None, by: str | None = None
    ) -> CoilReply:
        """See `Commander.start_coil`."""
        return await self._call(self._opened.start_coil, coil, at_mm, token=token, by=by)

    async def end_coil(
        self, coil: str | None = None, at_mm: float | None = None, *, token: str | None = None, by: str | None = None
    ) -> CoilReply:
        """See `Commander.end_coil`."""
        return await self._call(self._opened.end_coil, coil, at_mm, token=token, by=by)

    async def tell_coil(self, data: CoilDataBody, *, token: str | None = None, by: str | None = None) -> CoilReply:
        """See `Commander.tell_coil`."""
        return await self._call(self._opened.tell_coil, data, token=token, by=by)

    async def show_coil(self) -> CoilReply:
        """See `Commander.show_coil`."""
        return await self._call(self._opened.show_coil)

    async def reload_rules(self, *, by: str | None = None) -> RulesReply:
        """See `Commander.reload_rules`."""
        return await self._call(self._opened.reload_rules, by=by)
