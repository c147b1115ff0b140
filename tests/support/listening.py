"""A consumer in a process of its own: counts what it hears until the coil has ended, and prints the account."""

import json
import sys
import time
from collections import defaultdict

from linewatch.client import Lost, Subscriber
from linewatch.wire.schema import CoilMessage, StatusMessage

publish, serve, limit_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
heard: dict[str, list[int]] = defaultdict(list)
lost = 0
epochs: set[int] = set()
coil = None
with Subscriber(publish, serve, since="epoch") as wire:
    end_s = time.monotonic() + limit_s
    while coil is None and time.monotonic() < end_s:
        message = wire.poll(1.0)
        if message is None or isinstance(message, StatusMessage):
            continue
        if isinstance(message, Lost):
            lost += 1
            continue
        heard[message.topic].append(message.sequence)
        epochs.add(message.epoch)
        if isinstance(message, CoilMessage) and message.state == "ended":
            coil = message.model_dump(mode="json")
    while (message := wire.poll(1.0)) is not None:  # what was published with the end
        if isinstance(message, Lost):
            lost += 1
        elif not isinstance(message, StatusMessage):
            heard[message.topic].append(message.sequence)
            epochs.add(message.epoch)
        else:
            break
print(json.dumps({"heard": heard, "lost": lost, "epochs": sorted(epochs), "coil": coil}))
