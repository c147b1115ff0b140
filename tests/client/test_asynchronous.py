"""The asyncio client has the blocking one's promises: gaps are filled, positions hold, nothing blocks the loop."""

import asyncio
import time

import pytest

from linewatch.client import AsyncCommander, AsyncSubscriber, Lost
from linewatch.client.requests import NoAnswerError
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import AlarmMessage, FrameMessage

pytestmark = pytest.mark.service

PATIENCE_S = 120.0


async def frames(subscriber: AsyncSubscriber, count: int) -> list[int]:
    found: list[int] = []
    if count == 0:
        return found
    async with asyncio.timeout(PATIENCE_S):
        async for message in subscriber:
            assert not isinstance(message, Lost)
            if isinstance(message, FrameMessage):
                found.append(message.sequence)
                if len(found) == count:
                    break
    return found


def test_gaps_are_filled_a_cancelled_task_loses_nothing_and_positions_resume(start_service):
    service = start_service()
    service.tell("coil started")

    async def follow() -> None:
        topics = ["frame", "alarm"]
        async with AsyncSubscriber(service.publish, service.serve, topics, since="epoch") as subscriber:
            service.tell("frames 3 1")
            assert await frames(subscriber, 3) == [0, 1, 2]
            service.tell("unheard")  # nobody gets its messages: the next heartbeat tells, and the journal has them
            async with asyncio.timeout(PATIENCE_S):
                async for message in subscriber:
                    if isinstance(message, AlarmMessage):
                        break
            taken = []
            for turn in range(20):  # tasks that give up all the time
                waiting = asyncio.create_task(subscriber.poll(5.0))
                await asyncio.sleep(0.002)
                if turn == 10:
                    service.tell("frames 2 1")
                if not waiting.cancel() and isinstance(message := await waiting, FrameMessage):
                    taken.append(message.sequence)
            assert taken + await frames(subscriber, 3 - len(taken)) == [3, 4, 5]
            assert (await subscriber.snapshot()).coil.coil == "C1"
            positions, journal = subscriber.positions, subscriber.journal
        service.tell("frames 2 1")
        async with AsyncSubscriber(
            service.publish, service.serve, topics, positions=positions, journal=journal
        ) as subscriber:
            assert await frames(subscriber, 2) == [6, 7]

    asyncio.run(follow())


def test_a_service_that_does_not_answer_holds_up_its_caller_alone(tmp_path):
    async def work() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with AsyncCommander(f"ipc://{tmp_path}/nobody", 0.5) as commander:
            began_s = time.monotonic()
            with pytest.raises(NoAnswerError, match="send it again with token"):
                await commander.acknowledge("a-rule")
            assert time.monotonic() - began_s >= 0.4
        assert ticks > 5
        ticking.cancel()
        with pytest.raises(WireError, match="cannot connect"):
            async with AsyncSubscriber("tcp://nowhere", "tcp://nowhere"):
                pass

    asyncio.run(work())
