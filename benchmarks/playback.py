"""A service that plays recorded decisions, for benchmarks of what reads the wire: its engines cost nothing.

At 160 frames/s, two cores do not carry an inspecting service and its readers at once. Recorded by
`python -m benchmarks.strip --folder FOLDER`; one camera is played: FOLDER/top-cam0/verdicts.jsonl.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0


class PlayedService:
    """Publishes at `publish` and answers at `serve` while `run` lasts. folder: of its own."""

    def __init__(self, recording: Path, folder: Path) -> None:
        self._place = folder / "played"
        self._place.mkdir()
        shutil.copy(recording / "top-cam0" / "verdicts.jsonl", self._place)
        self.publish, self.serve = f"ipc://{self._place}/pub", f"ipc://{self._place}/rep"

    def run(self, ready: Callable[[], object], seconds: float, rate_hz: float, settle_s: float) -> None:
        """Play. `ready` is called while the service is there and no frame was published yet."""
        command = [sys.executable, "-m", "benchmarks.strip", "--play", str(self._place)]
        player = subprocess.Popen([*command, "--per-s", str(rate_hz), "--seconds", str(seconds)])
        try:
            end_s = time.monotonic() + PATIENCE_S
            while not (self._place / "ready").exists():
                if time.monotonic() > end_s or player.poll() is not None:
                    raise SystemExit("the player did not start")
                time.sleep(0.05)
            ready()
            written = self._place.parent / "begin.written"
            written.write_text(str(time.time_ns() + int(settle_s * 1e9)))
            written.rename(self._place.parent / "begin")  # whole, whenever the player looks
            player.wait(seconds + settle_s + PATIENCE_S)
        finally:
            player.kill()
            player.wait()
