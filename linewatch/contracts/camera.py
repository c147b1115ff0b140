"""How a live camera is: open, lost, or not there yet."""

from dataclasses import dataclass
from enum import StrEnum


class CameraState(StrEnum):
    """Whether the camera gives pictures."""

    OPEN = "open"
    ABSENT = "absent"  # it has not been there since the service started
    LOST = "lost"  # it was open, and is opened again and again


@dataclass(frozen=True, slots=True)
class CameraLife:
    """The camera's state since `since_ns`, by the camera's clock. why: it cannot be opened; "" while it is open."""

    state: CameraState
    since_ns: int
    why: str = ""
    times_lost: int = 0

    def __str__(self) -> str:
        return "open" if self.state is CameraState.OPEN else f"camera {self.state}: {self.why}"
