"""The two data blocks: which value stands at which byte, and how it is coded. No other module knows an offset.

Offsets are those of a block with standard access (not "optimized"): big endian, everything but single bits at an even
byte. The types are those that every S7 has, from the 300 to the 1500.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from linewatch.plant.plc.codes import (
    ACKNOWLEDGE_BITS,
    ALARM_BITS,
    CLASS_WITHOUT_CODE,
    DEFECTS_SHOWN,
    NO_CLASS,
    AcknowledgeResult,
    CoilStateCode,
    DefectStateCode,
    StripQuality,
    explained,
)
from linewatch.plant.plc.values import Value
from linewatch.plant.view import BridgeState

LAYOUT_VERSION: Final = 1
COUNTER_MASK: Final = 0x7FFF  # counters of a PLC are positive INTs: after 32767 comes 0
MAX_DINT: Final = 0x7FFF_FFFF


class CoilCommandCode(IntEnum):
    """What a PLC says of a coil."""

    NONE = 0
    START = 1
    END = 2
    DATA = 3


class CoilCommandResult(IntEnum):
    """What became of a command about a coil."""

    NONE = 0  # no command since the bridge started
    OK = 1  # taken, and on the service's disk
    REFUSED = 2  # by the service, or because it is no command; coil_answer says why
    NO_ANSWER = 3  # it may or may not have been carried out: send it again, with a new number


class S7Type(StrEnum):
    """How a value is coded."""

    BOOL = "Bool"
    INT = "Int"
    WORD = "Word"
    DINT = "DInt"
    REAL = "Real"
    STRING = "String"


_CODES = {S7Type.INT: ">h", S7Type.WORD: ">H", S7Type.DINT: ">i", S7Type.REAL: ">f"}
_RANGES = {
    S7Type.INT: (-0x8000, 0x7FFF),
    S7Type.WORD: (0, 0xFFFF),
    S7Type.DINT: (-0x8000_0000, MAX_DINT),
    S7Type.REAL: (-3.4e38, 3.4e38),
}


@dataclass(frozen=True, slots=True)
class BlockMember:
    """A member of a data block.

    count: of an array; 0: it is none. characters: of a STRING. per_unit: steps per unit, so 10 means tenths. value: the
    name of what it holds, where the block calls it otherwise.
    """

    name: str
    kind: S7Type
    meaning: str
    unit: str = ""
    per_unit: int = 1
    count: int = 0
    characters: int = 0
    value: str = ""

    @property
    def holds(self) -> str:
        """The name of the value that it holds."""
        return self.value or self.name

    @property
    def bytes(self) -> int:
        """Its length in the block, without what fills up to an even byte."""
        times = self.count or 1
        if self.kind is S7Type.BOOL:
            return (times + 7) // 8
        return times * (self.characters + 2 if self.kind is S7Type.STRING else struct.calcsize(_CODES[self.kind]))


@dataclass(frozen=True, slots=True)
class Repeated:
    """An array of structures, from 1. The values of its nth element are called `NAME_n_VALUE`."""

    name: str
    count: int
    meaning: str
    values: tuple[BlockMember, ...]


@dataclass(frozen=True, slots=True)
class DataBlock:
    """A data block. name: as the source file calls it."""

    name: str
    title: str
    parts: tuple[BlockMember | Repeated, ...]
    _at: dict[str, tuple[int, BlockMember]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        offset = 0
        for name, value in self.named():
            self._at[name] = offset, value
            offset += value.bytes + value.bytes % 2

    def named(self) -> Iterator[tuple[str, BlockMember]]:
        """Yield every member with the name of its value, in the order of the block."""
        for part in self.parts:
            if isinstance(part, BlockMember):
                yield part.holds, part
            else:
                for n in range(1, part.count + 1):
                    yield from ((f"{part.name}_{n}_{value.holds}", value) for value in part.values)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        offset, value = list(self._at.values())[-1]
        return offset + value.bytes + value.bytes % 2

    def offset(self, name: str) -> int:
        """Return the byte at which a value begins."""
        return self._at[name][0]

    def encode(self, values: Mapping[str, Value]) -> bytearray:
        """Code values, by name; those that are missing are 0. Raises KeyError for a name that the block does not have.

        A number is rounded to its step and limited to its type's range.
        """
        data = bytearray(self.size)
        for name, value in values.items():
            offset, coded = self._at[name]
            raw = _coded(coded, value)
            data[offset : offset + len(raw)] = raw
        return data

    def decode(self, data: bytes) -> dict[str, Value]:
        """Return the values in a block that was read."""
        return {name: _decoded(value, data[at : at + value.bytes]) for name, (at, value) in self._at.items()}


def _coded(coded: BlockMember, value: Value) -> bytes:
    if coded.kind is S7Type.STRING:
        text = str(value).encode("latin-1", "replace")[: coded.characters]
        return bytes((coded.characters, len(text))) + text
    if coded.kind is S7Type.BOOL:
        assert isinstance(value, list)
        bits = sum(bool(bit) << n for n, bit in enumerate(value))
        return bits.to_bytes(coded.bytes, "little")
    each = value if isinstance(value, list) else [value]
    return b"".join(struct.pack(_CODES[coded.kind], _number(coded, one)) for one in each)


def _number(coded: BlockMember, value: float | str | bool) -> float:
    assert isinstance(value, int | float)
    low, high = _RANGES[coded.kind]
    scaled = min(high, max(low, value * coded.per_unit))  # a hostile value may be infinite
    return scaled if coded.kind is S7Type.REAL else round(scaled)


def _decoded(coded: BlockMember, raw: bytes) -> Value:
    if coded.kind is S7Type.STRING:
        return raw[2 : 2 + min(raw[1], coded.characters)].decode("latin-1")
    if coded.kind is S7Type.BOOL:
        bits = int.from_bytes(raw, "little")
        return [bool(bits >> n & 1) for n in range(coded.count)]
    code = _CODES[coded.kind]
    numbers = [one / coded.per_unit if coded.per_unit > 1 else one for (one,) in struct.iter_unpack(code, raw)]
    return numbers if coded.count else numbers[0]


INT, WORD, DINT, REAL, BOOL, STRING = (
    S7Type.INT, S7Type.WORD, S7Type.DINT, S7Type.REAL, S7Type.BOOL, S7Type.STRING,
)  # fmt: skip
_DEFECT = (
    BlockMember("number", DINT, "running number since the bridge started; 0: no defect"),
    BlockMember(
        "class_code",
        DINT,
        f"from [class_codes]; {NO_CLASS} none, {CLASS_WITHOUT_CODE} class without a code",
        value="class",
    ),
    BlockMember("state", INT, explained(DefectStateCode)),
    BlockMember("along_begin", DINT, "its begin, from the head of the coil", "mm", 10),
    BlockMember("along_end", DINT, "its end as known so far, from the head of the coil", "mm", 10),
    BlockMember("across_begin", DINT, "its begin across, from the mill's datum", "mm", 10),
    BlockMember("across_end", DINT, "its end across, from the mill's datum", "mm", 10),
    BlockMember("area", REAL, "its area as known so far", "mm2"),
    BlockMember("confidence", REAL, "confidence of its class, 0 to 1"),
)
_TORN = "the block is being written while write_begin and write_end differ"

STATUS = DataBlock(
    "linewatch",
    "Written by the bridge alone. Copy it, then use the copy if write_begin = write_end in it.",
    (
        BlockMember("write_begin", DINT, f"counts the writes; {_TORN}"),
        BlockMember("layout_version", INT, f"version of this layout: {LAYOUT_VERSION}"),
        BlockMember("heartbeat", INT, "counts while the service is healthy and followed; after 32767 comes 0"),
        BlockMember("state", INT, explained(BridgeState)),
        BlockMember("quality", INT, f"how the passing strip is inspected now: {explained(StripQuality)}"),
        BlockMember("alarms_standing", INT, "number of all standing alarms, with or without a bit"),
        BlockMember("alarms_without_bit", INT, "number of standing alarms whose rule is not in [alarm_bits]"),
        BlockMember("messages_lost", DINT, "messages that could not be fetched again; stops at 65535"),
        BlockMember("defects_opened", DINT, "defects since the service started, tentative ones included"),
        BlockMember("along", DINT, "end of the decided strip, from the head of the coil", "mm"),
        BlockMember("coil_state", INT, explained(CoilStateCode)),
        BlockMember("coil_coverage", REAL, "inspected share of the area of this coil so far, 0 to 1"),
        BlockMember("coil_inspected", DINT, "length of this coil so far whose lines were inspected", "mm"),
        BlockMember("coil_degraded", DINT, "length of this coil so far whose lines were partly inspected", "mm"),
        BlockMember("coil_missed", DINT, "length of this coil so far whose lines were missed", "mm"),
        BlockMember("coil_id", STRING, "characters beyond Latin-1 show as ?", characters=64),
        BlockMember("alarm", BOOL, "TRUE: an alarm of this rule stands", count=ALARM_BITS, value="alarm_words"),
        BlockMember(
            "unacknowledged",
            BOOL,
            "TRUE: one stands that nobody has acknowledged",
            count=ALARM_BITS,
            value="unacknowledged_words",
        ),
        BlockMember("alarm_numbers", WORD, "number of the newest standing alarm of the bit; 0: none", count=ALARM_BITS),
        Repeated("defect", DEFECTS_SHOWN, "the newest defects, the newest first", _DEFECT),
        BlockMember("defect_changes", DINT, "counts every change of the defects above"),
        BlockMember("acknowledge_answered", INT, "acknowledge_number of the newest command that is finished"),
        BlockMember("acknowledge_results", INT, explained(AcknowledgeResult), count=ACKNOWLEDGE_BITS),
        BlockMember("coil_answered", INT, "coil_number of the newest command that is finished"),
        BlockMember("coil_result", INT, f"of that command: {explained(CoilCommandResult)}"),
        BlockMember("coil_answer", STRING, "why that command was refused, or not answered", characters=120),
        BlockMember("write_end", DINT, f"written last; {_TORN}"),
    ),
)

COMMANDS = DataBlock(
    "linewatch_commands",
    "Written by the PLC alone. Fill in a command first, then give it the next number, 1 to 32767.",
    (
        BlockMember(
            "acknowledge_number", INT, "another number than acknowledge_answered asks for acknowledge; 0: never"
        ),
        BlockMember(
            "plc_heartbeat", INT, "count it in every cycle: while it stands, the PLC is told as stopped; 0: never"
        ),
        BlockMember(
            "coil_number", INT, "another number than coil_answered asks for what follows about a coil; 0: never"
        ),
        BlockMember(
            "acknowledge", BOOL, f"TRUE: acknowledge the alarms of this bit; {ALARM_BITS}: all", count=ACKNOWLEDGE_BITS
        ),
        BlockMember("coil_action", INT, explained(CoilCommandCode)),
        BlockMember("coil_id", STRING, "the coil that starts, ends, or has these data", characters=64),
        BlockMember("coil_at", DINT, "start, end: position along the coil under the camera; below 0: next line", "mm"),
        BlockMember("steel_grade", STRING, "data; empty: not known", characters=64),
        BlockMember("product", STRING, "data; empty: not known", characters=64),
        BlockMember("customer", STRING, "data; empty: not known", characters=64),
        BlockMember("thickness", REAL, "data; 0: not known", "mm"),
        BlockMember("width", REAL, "data; 0: not known", "mm"),
        BlockMember("length", REAL, "data: length of the strip that will pass; 0: not known", "mm"),
        BlockMember("head_crop", REAL, "data: length cut off the head before delivery; 0: not known", "mm"),
        BlockMember("tail_crop", REAL, "data: length cut off the tail before delivery; 0: not known", "mm"),
    ),
)
