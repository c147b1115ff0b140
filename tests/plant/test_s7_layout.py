"""A PLC programmer who imports the source file finds every value where the bridge puts it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s7_plc import offsets_of, size_of, value_of

from linewatch.plant.s7.layout import COMMANDS, STATUS, BlockMember, S7Type
from linewatch.plant.s7.settings import S7Settings
from linewatch.plant.s7.source import block_source

SOURCE = block_source(S7Settings(alarm_bits={"long-scratch": 3, "böse */ //": 4}, class_codes={"scratch": 8}))


@pytest.mark.parametrize("block", [STATUS, COMMANDS], ids=lambda block: block.name)
def test_the_source_lays_every_member_where_the_bridge_has_it(block):
    found, size = offsets_of(SOURCE, block.name)
    assert size == block.size
    assert len(found) == len(list(block.named()))
    for (name, (at, _)), (held, _) in zip(found.items(), block.named(), strict=True):
        assert at == block.offset(held), name


def test_the_source_names_rules_and_classes_and_is_plain_ascii():
    assert SOURCE.isascii()
    assert "// alarm bit 3: long-scratch" in SOURCE
    assert "// defect class 8: scratch" in SOURCE
    assert "linewatch DB 100, linewatch_commands DB 101" in SOURCE


def any_value(member: BlockMember) -> st.SearchStrategy:
    one = {
        S7Type.BOOL: st.booleans(),
        S7Type.STRING: st.text(max_size=200),
    }.get(member.kind, st.floats(allow_nan=False) | st.integers(-(1 << 40), 1 << 40))
    return st.lists(one, min_size=member.count, max_size=member.count) if member.count else one


@given(st.fixed_dictionaries({name: any_value(member) for name, member in STATUS.named()}))
def test_whatever_comes_fits_and_stays_in_its_place(values):
    data = STATUS.encode(values)
    assert len(data) == STATUS.size
    found, _ = offsets_of(SOURCE, "linewatch")
    read = STATUS.decode(data)
    for (at, kind), (name, member) in zip(found.values(), STATUS.named(), strict=True):
        told = value_of(kind, data[at : at + size_of(kind)])
        if member.per_unit == 1:
            assert told == read[name]
        if member.kind is S7Type.BOOL:
            assert told == values[name]
        if member.kind is S7Type.STRING:
            assert told == str(values[name]).encode("latin-1", "replace")[: member.characters].decode("latin-1")


@given(st.binary(min_size=COMMANDS.size, max_size=COMMANDS.size))
def test_whatever_the_plc_holds_is_read(data):
    assert COMMANDS.decode(data).keys() == {name for name, _ in COMMANDS.named()}
