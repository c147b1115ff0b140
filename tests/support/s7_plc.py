"""A PLC: python-snap7's server with the two data blocks, and a programmer who knows the source file alone."""

import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from snap7.server import Server
from snap7.type import SrvArea
from waiting import wait_until

PATIENCE_S = 120.0
STATUS, COMMANDS = 100, 101
_SIZES = {"Int": 2, "Word": 2, "DInt": 4, "Real": 4}
_CODES = {"Int": ">h", "Word": ">H", "DInt": ">i", "Real": ">f"}


def offsets_of(source: str, block: str) -> tuple[dict[str, tuple[int, str]], int]:
    """Return (offset, type) of each member and the size, by the rules of S7 for standard access."""
    (body,) = re.findall(rf'DATA_BLOCK "{block}"\n.*?   STRUCT\n(.*?)\n   END_STRUCT;', source, re.DOTALL)
    found, at, lines = {}, 0, iter(body.splitlines())
    for line in lines:
        name, kind = _member(line)
        if "Struct" in kind:
            members = []
            for inner in lines:
                if "END_STRUCT" in inner:
                    break
                members.append(_member(inner))
            for n in range(1, int(re.findall(r"\.\.(\d+)", kind)[0]) + 1):
                for member, inner_kind in members:
                    at += at % 2
                    found[f"{name}[{n}].{member}"] = at, inner_kind
                    at += size_of(inner_kind)
        else:
            at += at % 2
            found[name] = at, kind
            at += size_of(kind)
    return found, at + at % 2


def _member(line: str) -> tuple[str, str]:
    name, kind = line.split("//", maxsplit=1)[0].split(" : ")
    return name.strip(), kind.strip().rstrip(";")


def size_of(kind: str) -> int:
    times = 1
    if array := re.match(r"Array\[0\.\.(\d+)\] of (\w+)", kind):
        times, kind = int(array[1]) + 1, array[2]
    if kind == "Bool":
        return (times + 7) // 8
    if text := re.match(r"String\[(\d+)\]", kind):
        return int(text[1]) + 2
    return times * _SIZES[kind]


class S7Plc:
    """Listens on a port of its own, and can go, stop and come back."""

    def __init__(self, source: str) -> None:
        self.status, size = offsets_of(source, "linewatch")
        self.commands, commands_size = offsets_of(source, "linewatch_commands")
        self.blocks = {STATUS: bytearray(size), COMMANDS: bytearray(commands_size)}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server: Server | None = None

    def start(self) -> None:
        self.server = Server(log=False)
        self.server.host = "127.0.0.1"
        for number, data in self.blocks.items():
            self.server.register_area(SrvArea.DB, number, data)
        self.server.start(tcp_port=self.port)

    def go(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server.destroy()
        self.server = None

    close = go

    def read(self, name: str) -> int | float | str | list[int] | list[bool]:
        at, kind = self.status[name]
        return value_of(kind, self.blocks[STATUS][at : at + size_of(kind)])

    def wait_for(self, **expected: object) -> None:
        """Wait until the members are as expected; `__` stands for the dots and brackets of `defect[1].number`."""
        names = {re.sub(r"_(\d)__", r"[\1].", name): value for name, value in expected.items()}
        try:
            wait_until(lambda: all(self.read(name) == value for name, value in names.items()), PATIENCE_S)
        except AssertionError:
            raise AssertionError({name: (self.read(name), value) for name, value in names.items()}) from None

    def command(self, number: str, **values: int | float | str | Sequence[int]) -> int:
        """Fill in a command, then give it its next number, as a PLC does; return that."""
        for name, value in values.items():
            self.put(name, value)
        at, _ = self.commands[number]
        following = struct.unpack(">h", self.blocks[COMMANDS][at : at + 2])[0] % 32767 + 1
        self.put(number, following)
        return following

    def put(self, name: str, value: int | float | str | Sequence[int]) -> None:
        at, kind = self.commands[name]
        if isinstance(value, str):
            raw = value.encode("latin-1")
            raw = bytes((size_of(kind) - 2, len(raw))) + raw
        elif "Bool" in kind:
            raw = sum(1 << bit for bit in value).to_bytes(size_of(kind), "little")
        else:
            raw = struct.pack(_CODES[kind], value)
        self.blocks[COMMANDS][at : at + len(raw)] = raw


def value_of(kind: str, raw: bytes) -> int | float | str | list[int] | list[bool]:
    if kind.startswith("String"):
        return raw[2 : 2 + raw[1]].decode("latin-1")
    array = re.match(r"Array\[0\.\.(\d+)\] of (\w+)", kind)
    if array and array[2] == "Bool":
        return [bool(raw[n // 8] >> n % 8 & 1) for n in range(int(array[1]) + 1)]
    numbers = [one for (one,) in struct.iter_unpack(_CODES[array[2] if array else kind], raw)]
    return numbers if array else numbers[0]


def s7_config(folder: Path, service, plc_port: int, more: str = "", bits: str = "scratches = 17") -> Path:
    """A bridge's configuration for a small service."""
    path = folder / "s7.toml"
    path.write_text(
        f'[service]\npublish = "{service.publish}"\nserve = "{service.serve}"\n'
        f'[plc]\naddress = "127.0.0.1"\nport = {plc_port}\n{more}\n'
        f"[alarm_bits]\n{bits}\n[class_codes]\nscratch = 8\n"
    )
    return path
