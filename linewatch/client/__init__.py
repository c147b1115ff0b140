"""The Python client of a running service: subscribe, replay, command.

It imports contracts and the wire's schema and certificates; no other room of the service.
"""

from linewatch.client.asynchronous import AsyncCommander, AsyncSubscriber
from linewatch.client.commander import Commander
from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Loss, Lost, Position, Subscriber
from linewatch.contracts.verdict import from_tail

__all__ = [
    "AsyncCommander",
    "AsyncSubscriber",
    "ClientKeys",
    "Commander",
    "Loss",
    "Lost",
    "Position",
    "Subscriber",
    "from_tail",
]
