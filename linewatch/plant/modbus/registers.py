"""The register map: which value has which address, and how it is coded in registers.

No other module knows an address; `linewatch bridge modbus --map` writes it as CSV.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from linewatch.plant.modbus.settings import ModbusSettings, WordOrder
from linewatch.plant.plc.codes import (
    ACKNOWLEDGE_ALL,
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

MAP_VERSION = 1
COIL_ID_REGISTERS = 16
REGISTER_BITS = 16
COILS = ACKNOWLEDGE_BITS


class ValueType(StrEnum):
    """How a value is coded in its registers."""

    UINT16 = "UINT16"
    UINT16S = "UINT16[]"  # one number each
    UINT32 = "UINT32"
    INT32 = "INT32"
    BITS = "BITS"  # bit n is bit n % 16 of register n // 16, bit 0 the least significant
    ASCII = "ASCII"  # two characters a register, the first in the high byte; rest NUL


@dataclass(frozen=True, slots=True)
class Register:
    """A value of the map. `per_unit`: steps of the register per unit, so 10 means tenths."""

    name: str
    address: int
    count: int
    kind: ValueType
    meaning: str
    unit: str = ""
    per_unit: int = 1


_DEFECTS, _DEFECT_REGISTERS = 100, 16


U16, U32, I32 = ValueType.UINT16, ValueType.UINT32, ValueType.INT32


def _defect(slot: int) -> Iterator[Register]:
    at, name = _DEFECTS + slot * _DEFECT_REGISTERS, f"defect_{slot + 1}"
    which = "newest defect" if slot == 0 else f"defect {slot} before the newest"
    classes = f"{which}: class code from [class_codes]; {NO_CLASS} no defect, {CLASS_WITHOUT_CODE} class without a code"
    number = "running number since the bridge started; written last; 0: no defect"
    yield Register(f"{name}_class", at, 1, U16, classes)
    yield Register(f"{name}_state", at + 1, 1, U16, explained(DefectStateCode))
    yield Register(f"{name}_along_begin", at + 2, 2, I32, "its begin, from the head of the coil", "mm", 10)
    yield Register(f"{name}_along_end", at + 4, 2, I32, "its end as known so far, from the head of the coil", "mm", 10)
    yield Register(f"{name}_across_begin", at + 6, 2, I32, "its begin across, from the mill's datum", "mm", 10)
    yield Register(f"{name}_across_end", at + 8, 2, I32, "its end across, from the mill's datum", "mm", 10)
    yield Register(f"{name}_area", at + 10, 2, U32, "its area as known so far", "mm2", 10)
    yield Register(f"{name}_confidence", at + 12, 1, U16, "confidence of its class, 0 to 1", "1", 10_000)
    yield Register(f"{name}_number", at + 14, 2, U32, number)


_WORDS, _DEFECTS_END = ALARM_BITS // REGISTER_BITS, _DEFECTS + DEFECTS_SHOWN * _DEFECT_REGISTERS
_NUMBERS = "one per bit: number of the newest standing alarm, counted since the bridge started; 0: none"
_RESULTS = f"one per coil, the result of its newest write: {explained(AcknowledgeResult)}"

REGISTERS: tuple[Register, ...] = (
    Register("map_version", 0, 1, U16, f"version of this map: {MAP_VERSION}"),
    Register("heartbeat", 1, 1, U16, "counts while the service is healthy and followed; after 65535 comes 0"),
    Register("state", 2, 1, U16, explained(BridgeState)),
    Register("quality", 3, 1, U16, f"how the passing strip is inspected now: {explained(StripQuality)}"),
    Register("alarms_standing", 4, 1, U16, "number of all standing alarms, with or without a bit"),
    Register("alarms_without_bit", 5, 1, U16, "number of standing alarms whose rule is not in [alarm_bits]"),
    Register("messages_lost", 6, 1, U16, "messages that could not be fetched again; stops at 65535"),
    Register("along", 8, 2, I32, "end of the decided strip, from the head of the coil", "mm"),
    Register("defects_opened", 10, 2, U32, "defects since the service started, tentative ones included"),
    Register("alarm_words", 16, _WORDS, ValueType.BITS, "1: an alarm of this rule stands"),
    Register("unacknowledged_words", 20, _WORDS, ValueType.BITS, "1: an unacknowledged alarm of this rule stands"),
    Register("coil_state", 24, 1, U16, explained(CoilStateCode)),
    Register("coil_coverage", 25, 1, U16, "inspected share of the area of this coil so far, rounded down", "1", 10_000),
    Register("coil_inspected", 26, 2, U32, "length of this coil so far whose lines were inspected", "mm"),
    Register("coil_degraded", 28, 2, U32, "length of this coil so far whose lines were partly inspected", "mm"),
    Register("coil_missed", 30, 2, U32, "length of this coil so far whose lines were missed", "mm"),
    Register("coil_id", 32, COIL_ID_REGISTERS, ValueType.ASCII, "other characters show as ?; a longer id is cut"),
    *(register for slot in range(DEFECTS_SHOWN) for register in _defect(slot)),
    Register("defect_changes", _DEFECTS_END, 2, U32, "counts every change of the defects above; written last"),
    Register("alarm_numbers", 200, ALARM_BITS, ValueType.UINT16S, _NUMBERS),
    Register("acknowledge_results", 300, COILS, ValueType.UINT16S, _RESULTS),
)
"""Read by function 3 or 4, addresses from 0. Addresses between them read as 0."""

SIZE = REGISTERS[-1].address + REGISTERS[-1].count
_BY_NAME = {register.name: register for register in REGISTERS}


@dataclass(frozen=True, slots=True)
class ProcessImage:
    """Everything that a PLC can read at one moment.

    registers: `SIZE` words, read by function 3 or 4. alarm_bits: `ALARM_BITS` discrete inputs. coils: as they read.
    """

    registers: tuple[int, ...]
    alarm_bits: tuple[bool, ...]
    coils: tuple[bool, ...] = ()

    def silenced(self) -> "ProcessImage":
        """Return the image of a silent service: state and quality say so, the rest stays as last known."""
        registers = list(self.registers)
        registers[_BY_NAME["state"].address] = BridgeState.SILENT
        registers[_BY_NAME["quality"].address] = StripQuality.NOT_LOOKED_AT
        return replace(self, registers=tuple(registers))

    def acknowledging(self, coils: tuple[bool, ...], results: tuple[int, ...]) -> "ProcessImage":
        """Return this image with coils and the results of writes to them."""
        at = _BY_NAME["acknowledge_results"].address
        registers = self.registers[:at] + results + self.registers[at + len(results) :]
        return replace(self, registers=registers, coils=coils)


def process_image(values: Mapping[str, Value], alarm_bits: Sequence[bool], word_order: WordOrder) -> ProcessImage:
    """Code `values`, by register name; registers without a value are 0. Raises KeyError for an unknown name.

    A number is rounded to its register's step and limited to its register's range.
    """
    words = [0] * SIZE
    for name, value in values.items():
        register = _BY_NAME[name]
        words[register.address : register.address + register.count] = _words(register, value, word_order)
    return ProcessImage(tuple(words), tuple(alarm_bits))


_RANGES = {U16: (0, 0xFFFF), U32: (0, 0xFFFF_FFFF), I32: (-0x8000_0000, 0x7FFF_FFFF)}


def _words(register: Register, value: Value, word_order: WordOrder) -> list[int]:
    if register.kind is ValueType.ASCII:
        assert isinstance(value, str)
        text = value.encode("ascii", "replace")[: 2 * register.count].ljust(2 * register.count, b"\0")
        return [int.from_bytes(text[at : at + 2], "big") for at in range(0, len(text), 2)]
    if register.kind is ValueType.UINT16S:
        assert isinstance(value, list)
        return [int(number) for number in value]
    if register.kind is ValueType.BITS:
        assert isinstance(value, list)
        return [
            sum(int(bit) << n for n, bit in enumerate(value[at : at + REGISTER_BITS]))
            for at in range(0, register.count * REGISTER_BITS, REGISTER_BITS)
        ]
    assert isinstance(value, int | float)
    low, high = _RANGES[register.kind]
    number = round(min(high, max(low, value * register.per_unit)))  # a hostile value may be infinite
    if register.count == 1:
        return [number]
    halves = [number >> REGISTER_BITS & 0xFFFF, number & 0xFFFF]
    return halves if word_order == "high-first" else halves[::-1]


def map_csv(settings: ModbusSettings) -> str:
    """Return the map as CSV with the rules and classes of `settings`: one row per value, addresses from 0."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("table", "functions", "address", "count", "type", "unit", "scale", "name", "meaning"))
    codes = ", ".join(f"{code} {name}" for name, code in sorted(settings.class_codes.items(), key=lambda item: item[1]))
    for register in REGISTERS:
        where = "register", "3 4", register.address, register.count
        order = f" {settings.word_order}" if register.kind in (U32, I32) else ""
        scale = f"{1 / register.per_unit:g}" if register.unit else ""
        meaning = f"{register.meaning}; {codes}" if register.name == "defect_1_class" and codes else register.meaning
        table.writerow((*where, f"{register.kind}{order}", register.unit, scale, register.name, meaning))
    inputs = "discrete input", "2"
    meaning = "1: an alarm of this rule stands; the same bits as alarm_words, one each"
    table.writerow((*inputs, 0, ALARM_BITS, "BIT", "", "", "alarm_bits", meaning))
    for bit, rule in sorted((bit, rule) for rule, bit in settings.alarm_bits.items()):
        table.writerow((*inputs, bit, 1, "BIT", "", "", f"alarm {rule}", "1: an alarm of this rule stands"))
    coils = "coil", "1 5 15"
    meaning = "write 1: acknowledge the alarms of the same bit; reads 1 until that is finished"
    table.writerow((*coils, 0, ALARM_BITS, "BIT", "", "", "acknowledge_bits", meaning))
    meaning = "write 1: acknowledge all alarms, with or without a bit; reads 1 until that is finished"
    table.writerow((*coils, ACKNOWLEDGE_ALL, 1, "BIT", "", "", "acknowledge_all", meaning))
    return out.getvalue()
