"""What the service manager is told (systemd's notify protocol); silent where there is none."""

import sdnotify


class Notifier:
    """READY once, the status line, and the watchdog."""

    def __init__(self) -> None:
        self._systemd = sdnotify.SystemdNotifier()

    def ready(self) -> None:
        """Engines are loaded and sockets are bound."""
        self._systemd.notify("READY=1")

    def alive(self, status: str) -> None:
        """Feed the watchdog and show `status` in `systemctl status`. Not to be called while a stage is silent."""
        self._systemd.notify(f"WATCHDOG=1\nSTATUS={status}")

    def ailing(self, status: str) -> None:
        """Show `status` and leave the watchdog unfed."""
        self._systemd.notify(f"STATUS={status}")

    def stopping(self) -> None:
        """The service ends on purpose."""
        self._systemd.notify("STOPPING=1")
