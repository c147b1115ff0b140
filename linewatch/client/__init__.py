"""The Python client of a running service: subscribe, replay, command. It depends on the wire's schema alone."""

from linewatch.client.commander import Commander
from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Loss, Lost, Position, Subscriber
from linewatch.contracts.verdict import from_tail

__all__ = ["ClientKeys", "Commander", "Loss", "Lost", "Position", "Subscriber", "from_tail"]
