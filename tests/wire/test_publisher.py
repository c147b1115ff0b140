"""Publishing never waits for a subscriber."""

import os
import signal
import subprocess
import sys

import psutil
import zmq

from linewatch.config.wire import WireSettings
from linewatch.contracts.record import Record
from linewatch.wire.publisher import Publisher

DEAF = """
import sys, zmq
s = zmq.Context().socket(zmq.SUB); s.connect(sys.argv[1]); s.subscribe(b""); s.recv(); print(flush=True); input()
"""


def test_a_subscriber_that_never_reads_neither_stops_the_others_nor_fills_memory():
    settings = WireSettings(publish="tcp://127.0.0.1:*", send_high_water=50)
    payload = os.urandom(100_000)
    with zmq.Context() as context, Publisher(context, settings, None) as publisher:
        deaf = [
            subprocess.Popen(
                [sys.executable, "-c", DEAF, publisher.endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for _ in range(2)
        ]
        live = context.socket(zmq.SUB)
        live.connect(publisher.endpoint)
        live.subscribe(b"")
        try:
            waiting = list(deaf)
            while waiting or not live.poll(0):  # until all three are known to listen
                publisher.send(Record(1, "frame", 0, b"", b""))
                waiting = [process for process in waiting if not _said_something(process)]
            deaf[0].send_signal(signal.SIGSTOP)  # one that is stopped, one that just does not read
            before = psutil.Process().memory_info().rss
            for sequence in range(1, 3001):
                publisher.send(Record(1, "frame", sequence, b"%d" % sequence, payload))
                if sequence % 10 == 0:
                    while live.poll(1000) and live.recv_multipart()[1] != b"%d" % sequence:
                        pass
            assert live.poll(0) == 0
            assert psutil.Process().memory_info().rss - before < 150 << 20, "300 MB were sent"
        finally:
            for process in deaf:
                process.kill()
                process.communicate()
            live.close(0)


def _said_something(process: subprocess.Popen) -> bool:
    os.set_blocking(process.stdout.fileno(), False)
    return bool(process.stdout.read(1))
