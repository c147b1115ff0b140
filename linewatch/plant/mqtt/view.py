"""What the faces show of the service at one moment."""

from dataclasses import dataclass

from linewatch.client import Lost
from linewatch.contracts.verdict import Quality
from linewatch.plant.view import BridgeState, CoilView, ServiceView, quality_now
from linewatch.wire.schema import AlarmBody, AlarmMessage, AnyMessage, Snapshot, StatusMessage


@dataclass(frozen=True, slots=True)
class Shown:
    """An immutable copy of the view. alarms: those that stand, are suppressed, or belong to a shelved rule."""

    status: StatusMessage | None
    coil: CoilView
    alarms: tuple[AlarmBody, ...]
    heartbeat: int

    def quality(self, state: BridgeState) -> Quality | None:
        """How the passing strip is inspected; None: nobody looks at it, or it is not known."""
        return quality_now(self.status, state)


class MqttView(ServiceView):
    """The view of the service with its alarms as they were published."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[str, AlarmBody] = {}

    def take(self, message: AnyMessage | Lost) -> None:
        super().take(message)
        if isinstance(message, AlarmMessage) and not self._is_known(message):
            if message.retain:
                self._bodies[message.id] = message
            else:
                self._bodies.pop(message.id, None)

    def sync(self, snapshot: Snapshot) -> None:
        super().sync(snapshot)
        self._bodies = {one.id: one for one in (*snapshot.standing_alarms, *snapshot.suppressed_or_shelved)}

    def shown(self) -> Shown:
        """Return the view now, for other threads."""
        return Shown(self.status, self.coil, tuple(self._bodies.values()), self.heartbeat)
