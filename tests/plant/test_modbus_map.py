"""The register map is a contract with PLC programs: addresses and their meaning do not change."""

import csv
import io
import struct
from itertools import pairwise

import pytest
from bridge_and_plc import ROOT
from hypothesis import given
from hypothesis import strategies as st

from linewatch.config.load import load
from linewatch.plant.modbus.registers import REGISTERS, SIZE, ValueType, map_csv, process_image
from linewatch.plant.modbus.settings import ModbusSettings

MOST_REGISTERS_A_READ = 125
NUMBERS = {
    register.name: register
    for register in REGISTERS
    if register.kind in (ValueType.UINT16, ValueType.UINT32, ValueType.INT32)
}


def test_the_documented_map_is_the_codes():
    assert map_csv(ModbusSettings()) == (ROOT / "docs" / "modbus-map.csv").read_text(), (
        "make it again: linewatch bridge modbus --map docs/modbus-map.csv; "
        "where an address changed its meaning, count up MAP_VERSION"
    )


def test_nothing_overlaps_and_each_block_can_be_read_in_one_request():
    assert all(before.address + before.count <= after.address for before, after in pairwise(REGISTERS))
    for first, end in ((0, 100), (100, 200), (200, 300), (300, SIZE)):
        block = [register for register in REGISTERS if first <= register.address < end]
        assert block[-1].address + block[-1].count - block[0].address <= MOST_REGISTERS_A_READ


def test_a_configurations_map_names_its_rules_and_classes():
    settings = load(ROOT / "configs" / "plant" / "modbus.toml", ModbusSettings)
    rows = list(csv.DictReader(io.StringIO(map_csv(settings))))
    assert [(row["address"], row["name"]) for row in rows if row["name"].startswith("alarm ")] == [
        ("0", "alarm long-scratch"),
        ("1", "alarm cluster"),
    ]
    assert "8 scratch" in next(row["meaning"] for row in rows if row["name"] == "defect_1_class")


def test_the_shipped_codes_are_the_taxonomys_classes():
    from linewatch.config.taxonomy import Taxonomy

    settings = load(ROOT / "configs" / "plant" / "modbus.toml", ModbusSettings)
    taxonomy = Taxonomy.read(ROOT / "configs" / "taxonomy.toml")
    assert list(settings.class_codes) == list(taxonomy.classes)


@given(
    st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from(["high-first", "low-first"]),
)
def test_a_number_is_read_back_to_its_step_or_its_ranges_end(values, order):
    image = process_image(values, [False] * 64, order)
    for name, register in NUMBERS.items():
        words = image.registers[register.address : register.address + register.count]
        data = struct.pack(f">{len(words)}H", *(words if order == "high-first" else words[::-1]))
        (read,) = struct.unpack({"UINT16": ">H", "UINT32": ">I", "INT32": ">i"}[register.kind], data)
        bits = 16 * register.count
        low, high = (
            (-(1 << bits - 1), (1 << bits - 1) - 1) if register.kind is ValueType.INT32 else (0, (1 << bits) - 1)
        )
        assert read == round(min(high, max(low, values.get(name, 0.0) * register.per_unit)))


@pytest.mark.parametrize(
    ("name", "shown"), [("Coil 7", b"Coil 7"), ("Bd\u00fc\u20ac", b"Bd??"), ("x" * 40, b"x" * 32), ("", b"")]
)
def test_a_coils_id_is_ascii_two_characters_a_register(name, shown):
    image = process_image({"coil_id": name}, [False] * 64, "low-first")
    assert struct.pack(">16H", *image.registers[32:48]) == shown.ljust(32, b"\0")
