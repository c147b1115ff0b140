"""Tell systemd how the service is: READY, WATCHDOG, STATUS and STOPPING, as sd_notify(3) describes them."""

import os
import socket
from contextlib import suppress


class Notifier:
    """Sends datagrams to the socket that $NOTIFY_SOCKET names; '@' begins the name of an abstract one.

    Does nothing without that variable, or when no process listens there.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """Say that the service has started: engines are loaded and sockets are bound."""
        self._send("READY=1")

    def waiting(self, status: str, within_s: float) -> None:
        """Show `status` during the start, and ask for so much more time for it."""
        self._send(_status(status), f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def alive(self, status: str) -> None:
        """Feed the watchdog and show `status` in `systemctl status`. Not to be called while a stage is silent."""
        self._send("WATCHDOG=1", _status(status))

    def unhealthy(self, status: str) -> None:
        """Show `status` and leave the watchdog unfed."""
        self._send(_status(status))

    def stopping(self) -> None:
        """Say that the service ends on purpose."""
        self._send("STOPPING=1")

    def _send(self, *assignments: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.sendto("\n".join(assignments).encode(), self._address)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split("\n"))  # a line is an assignment of its own
