"""`linewatch run` in a process of its own, over a strip of squares, with its command socket and its journal."""

import json
import os
from pathlib import Path

from bright_strip import write_service
from forked import linewatch

from linewatch.config.journal import JournalSettings
from linewatch.journal.journal import Journal

ROOT = Path(__file__).parents[2]


class RealService:
    """`linewatch run` over a strip of squares; its rule `latched` stands until somebody acknowledges it."""

    def __init__(self, folder: Path, frames: int = 1500, more: str = "") -> None:
        """more: sections that are added to the configuration."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.config = write_service(folder, frames=frames, frames_per_s=25)
        self.config.write_text(self.config.read_text() + more)
        self.publish, self.serve, self.commands = (f"ipc://{folder}/{name}" for name in ("pub", "rep", "cmd"))
        self.start()

    def start(self) -> None:
        with open(os.devnull, "w") as log:
            self.process = linewatch("run", self.config, streams={2: log.fileno()})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def transitions(self) -> list[dict]:
        """Return the alarm records of all epochs from the journal. The service must be down."""
        with Journal(JournalSettings(dir=self.folder / "journal")) as journal:
            return [
                json.loads(record.header)
                for epoch in journal.epochs()
                for record in journal.read(epoch, "alarm", 0, 1 << 40)
            ]

    def acknowledged(self) -> list[dict]:
        """Return those of them that a command caused."""
        return [told for told in self.transitions() if told["command"] is not None]
