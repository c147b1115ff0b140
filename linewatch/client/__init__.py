"""What a consumer of the wire imports. Knows the wire's schema and nothing else of linewatch."""

from linewatch.client.commander import Commander
from linewatch.client.subscriber import ClientKeys, Loss, Lost, Position, Subscriber

__all__ = ["ClientKeys", "Commander", "Loss", "Lost", "Position", "Subscriber"]
