"""A consumer in a process of its own, which records when each verdict reaches it."""

import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from linewatch.client.subscriber import Lost, Subscriber
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema import FrameMessage, TimingBody


@dataclass
class Heard:
    """One entry per frame in the first two lists."""

    received_ns: list[int] = field(default_factory=list)
    timings: list[TimingBody] = field(default_factory=list)
    missed_ns: list[int] = field(default_factory=list)  # when frames with missed lines were captured
    lost: int = 0  # messages


class Listener:
    """Starts with the service's sockets bound; `heard` ends it."""

    def __init__(self, publish: str, serve: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_listen, args=(theirs, publish, serve), daemon=True)
        self._process.start()
        if not self._pipe.poll(30):
            raise SystemExit("the listener hears no heartbeat")
        self._pipe.recv()

    def heard(self) -> Heard:
        """What came until now; ends the process."""
        self._pipe.send("end")
        heard: Heard = self._pipe.recv()
        self._process.join(10)
        return heard


def _listen(pipe: Connection, publish: str, serve: str) -> None:
    heard, greeted = Heard(), False
    with Subscriber(publish, serve) as subscriber:
        while not pipe.poll():
            message = subscriber.poll(0.2)
            received_ns = time.monotonic_ns()
            if message is not None and not greeted:
                pipe.send("hearing")
                greeted = True
            if isinstance(message, FrameMessage):
                heard.received_ns.append(received_ns)
                heard.timings.append(message.timing)
                if any(span.quality is Quality.MISSED for span in message.spans):
                    heard.missed_ns.append(message.timing.captured_ns)
            elif isinstance(message, Lost):
                heard.lost += 1
    pipe.send(heard)
