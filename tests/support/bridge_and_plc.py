"""A bridge in its process, and a PLC that knows the map's CSV and nothing else of linewatch."""

import csv
import json
import os
import signal
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

from forked import linewatch
from pymodbus.client import ModbusTcpClient
from waiting import wait_until

ROOT = Path(__file__).parents[2]
MAP = {row["name"]: row for row in csv.DictReader((ROOT / "docs" / "modbus-map.csv").open())}
PATIENCE_S = 120.0


class Bridge:
    """`linewatch bridge KIND CONFIG` in a process of its own, and the events of its log."""

    patience_s = PATIENCE_S

    def __init__(self, kind: str, config: Path, **environment: str) -> None:
        ours, theirs = os.pipe()
        self.process = linewatch("bridge", kind, config, streams={2: theirs}, **environment)
        os.close(theirs)
        self._log = open(ours)  # noqa: SIM115
        self.events: list[dict] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, event: str, times: int = 1, **fields: object) -> dict:
        """Return the log's line about it, or the last of so many, once it is there."""

        def found() -> list[dict]:
            return [line for line in self.events if line.items() >= {"event": event, **fields}.items()]

        with self._news:
            self._news.wait_for(lambda: len(found()) >= times or not self._reader.is_alive(), self.patience_s)
            assert len(found()) >= times, f"{event} {fields} is not in {self.events}"
            return found()[times - 1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.join()

    def join(self) -> int:
        """Wait until it ends by itself; its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def _read(self) -> None:
        with self._log:
            for line in self._log:
                with self._news:
                    self.events.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})
                    self._news.notify_all()


class ModbusBridge(Bridge):
    """`linewatch bridge modbus` on a free port."""

    def __init__(self, config: Path, **environment: str) -> None:
        super().__init__("modbus", config, **environment)
        self.port = self.wait_for("listening")["port"]


class Plc:
    """A real Modbus client that reads by the CSV, word order high first."""

    def __init__(self, port: int) -> None:
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=10)
        assert self.client.connect()

    def read(self) -> dict[str, int | str]:
        """All values by name, in the registers' own steps, each block in one request."""
        values = {}
        for first, count in ((0, 48), (100, 98), (200, 64), (300, 65)):
            values |= values_of(self.client.read_input_registers(first, count=count).registers, first)
        return values

    def wait_beyond(self, heartbeat: int) -> None:
        """Wait until the heartbeat has counted on from this one. It may count by more than one between two looks."""
        wait_until(lambda: self.read()["heartbeat"] > heartbeat, PATIENCE_S)

    def wait_for(self, **expected: int | str) -> dict[str, int | str]:
        """Return the values once those named are as expected."""
        values: dict[str, int | str] = {}

        def come() -> bool:
            values.update(self.read())
            return expected.items() <= values.items()

        try:
            wait_until(come, PATIENCE_S)
        except AssertionError:
            raise AssertionError({name: (values[name], value) for name, value in expected.items()}) from None
        return values


def values_of(registers: Sequence[int], first: int = 0) -> dict[str, int | str]:
    """By the CSV, what stands in registers from address `first` on."""
    values = {}
    for name, row in MAP.items():
        at = int(row["address"]) - first
        if row["table"] == "register" and 0 <= at < len(registers):
            values[name] = _value(row["type"].split()[0], registers[at : at + int(row["count"])])
    return values


def _value(kind: str, registers: Sequence[int]) -> int | str | tuple[int, ...]:
    data = struct.pack(f">{len(registers)}H", *registers)
    if kind == "ASCII":
        return data.rstrip(b"\0").decode("ascii")
    if kind == "BITS":
        return sum(word << 16 * n for n, word in enumerate(registers))
    if kind == "UINT16[]":
        return tuple(registers)
    return struct.unpack({"UINT16": ">H", "UINT32": ">I", "INT32": ">i"}[kind], data)[0]


def config_for(folder: Path, service, listen: str = "", more: str = "", bits: str = "scratches = 17") -> Path:
    """A bridge's configuration for a small service."""
    path = folder / "modbus.toml"
    path.write_text(
        f'{more}\n[service]\npublish = "{service.publish}"\nserve = "{service.serve}"\n'
        f"[listen]\nport = 0\n{listen}\n[alarm_bits]\n{bits}\n[class_codes]\nscratch = 8\n"
    )
    return path
