"""A strip process and the services of its cameras, each in a process of its own."""

import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import strip_player
import wide_strip
from forked import Forked, linewatch
from waiting import wait_until

from linewatch.client.connection import ask_snapshot
from linewatch.config.journal import JournalSettings
from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import Decided
from linewatch.journal.journal import Journal
from linewatch.strip.settings import StripSettings
from linewatch.wire.encode import Sequencer, drafts
from linewatch.wire.schema import KEPT_TOPICS, Snapshot, TimingBody, Topic
from linewatch.wire.verdict_file import VerdictFile

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


class StripLine:
    """The processes of one line, in a folder. `camera` of its players, and of its cameras' own processes, is a key."""

    def __init__(self, folder: Path, settings: StripSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.config = folder / "strip.toml"
        self.processes: dict[str, Forked] = {}
        self.publish, self.serve, self.commands = (f"ipc://{folder}/{name}" for name in ("pub", "rep", "cmd"))

    def write(self, more: str = "", strip: str = "") -> None:
        """Write the strip's configuration."""
        cameras = []
        for one in self.settings.camera:
            place = self.of(one.key)
            cameras.append(
                f'[[camera]]\nname = "{one.name}"\nside = "{one.side}"\npublish = "ipc://{place}/pub"\n'
                f'serve = "ipc://{place}/rep"\ncommands = "ipc://{place}/cmd"\nwidth_px = {one.width_px}\n'
                f"mm_per_px = {one.mm_per_px}\nacross_offset_mm = {one.across_offset_mm}\nsilence_s = 1.0\n"
            )
        join = self.settings.strip
        self.config.write_text(
            f"[strip]\nframe_lines = {join.frame_lines}\nmm_per_px = {join.mm_per_px}\n"
            f"mm_per_line = {join.mm_per_line}\nseam_across_mm = {join.seam_across_mm}\n"
            f"seam_along_mm = {join.seam_along_mm}\n{strip}\n"
            + "\n".join(cameras)
            + f'\n[journal]\ndir = "{self.folder}/journal"\n'
            + f'[wire]\npublish = "{self.publish}"\nserve = "{self.serve}"\ncommands = "{self.commands}"\n{more}'
        )

    def of(self, camera: str) -> Path:
        """Return the folder of a camera."""
        return self.folder / camera.replace("/", "-")

    def start(self) -> None:
        """Start the strip process."""
        with (self.folder / "log").open("ab") as log:
            self.processes["strip"] = linewatch("strip", self.config, streams={1: log.fileno(), 2: log.fileno()})

    def play(self, camera: str, per_s: float, decisions: Sequence[Decided] = (), go: bool = True) -> None:
        """Start a camera's player. decisions: needed the first time."""
        place = self.of(camera)
        place.mkdir(exist_ok=True)
        if decisions:
            with VerdictFile(place / "verdicts.jsonl") as file:
                for decided in decisions:
                    file.write(decided)
        if go:
            self.go(camera)
        with (place / "log").open("ab") as log:
            self.processes[camera] = Forked(strip_player.main, place, per_s, streams={1: log.fileno(), 2: log.fileno()})

    def go(self, *cameras: str, on: bool = True) -> None:
        """Let players play, or pause."""
        for camera in cameras:
            signal_file = self.of(camera) / "go"
            signal_file.touch() if on else signal_file.unlink()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Kill a process, or end it."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of this event in the strip's log."""
        lines = (self.folder / "log").read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [one for one in told if one["event"] == event]

    def snapshot(self, camera: str | None = None) -> Snapshot | None:
        """Return how things stand with the strip process, or with a camera's service; None while it does not answer."""
        with suppress(WireError):
            return ask_snapshot(f"ipc://{self.of(camera)}/rep" if camera else self.serve, 1.0)
        return None

    def record(self) -> list[dict[str, Any]]:
        """Return every message in the strip's journal, with what differs between two runs left out."""
        with Journal(JournalSettings(dir=self.folder / "journal")) as journal:
            return [
                plain(record.header, record.payload)
                for topic in KEPT_TOPICS
                for epoch in journal.epochs()
                for record in journal.read(epoch, topic.value, 0, 1 << 40)
            ]

    def taken_unix_s(self) -> list[float]:
        """When the newest strip of each coil message and frame in the journal was taken, as far as it is told."""
        with Journal(JournalSettings(dir=self.folder / "journal")) as journal:
            told = [
                TimingBody.model_validate(json.loads(record.header)["timing"]).captured_unix_ns
                for topic in (Topic.COIL, Topic.FRAME)
                for epoch in journal.epochs()
                for record in journal.read(epoch, topic.value, 0, 1 << 40)
            ]
        return [one / 1e9 for one in told if one is not None]

    def wait_ended(self, coils: int = 1, within_s: float = PATIENCE_S) -> None:
        """Wait until the joined record has so many coils that have ended."""

        def ended() -> bool:
            assert self.processes["strip"].poll() is None, (self.folder / "log").read_text()[-3000:]
            now = self.snapshot()
            return now is not None and now.coil is None and now.sequences["coil"] > 0

        wait_until(ended, within_s)


def plain(header: bytes, payload: bytes) -> dict[str, Any]:
    """Return a message without its times and its place in an epoch."""
    message = json.loads(header)
    for name in ("timing", "epoch", "sequence", "coil_epoch", "coil_ordinal"):
        message.pop(name, None)
    return message | ({"payload": payload.hex()} if payload else {})


def expected(decided: Iterable[Decided]) -> list[dict[str, Any]]:
    """Return the messages of a joined record, as `StripLine.record` does."""
    sequencer = Sequencer(1)
    records = [record for one in decided for record in sequencer.records(drafts(one))]
    return [
        plain(record.header, record.payload)
        for topic in KEPT_TOPICS
        for record in records
        if record.topic == topic.value
    ]


@contextmanager
def strip_line(folder: Path, settings: StripSettings | None = None) -> Iterator[StripLine]:
    """A line whose processes are killed at the end."""
    line = StripLine(folder, settings or wide_strip.settings(("top",)))
    try:
        yield line
    finally:
        for name in list(line.processes):
            line.kill(name)
