"""The data blocks as a source file for STEP 7 and TIA Portal, made from the layout that the bridge itself uses."""

from linewatch.plant.plc.settings import PlcSettings
from linewatch.plant.s7.layout import COMMANDS, STATUS, BlockMember, DataBlock, Repeated, S7Type
from linewatch.plant.s7.settings import PlcCommandSettings, S7Settings


def block_source(settings: S7Settings) -> str:
    """Return both blocks as an external source (`.db`), with the alarm rules and classes of `settings`."""
    number = PlcCommandSettings.model_fields["block"].default if settings.commands is None else settings.commands.block
    head = [
        "// The data blocks of `linewatch bridge s7`, made by `linewatch bridge s7 CONFIG --map linewatch.db`.",
        "// Import it into TIA Portal as an external source. STEP 7 Classic: remove S7_Optimized_Access, NON_RETAIN.",
        f"// Number the blocks: linewatch DB {settings.plc.status_block}, linewatch_commands DB {number}.",
        *_names(settings),
    ]
    return "\n".join([*head, "", *_block(STATUS), "", *_block(COMMANDS)]) + "\n"


def _names(settings: PlcSettings) -> list[str]:
    rules = sorted((bit, rule) for rule, bit in settings.alarm_bits.items())
    classes = sorted((code, name) for name, code in settings.class_codes.items())
    return [
        *(f"// alarm bit {bit}: {_comment(rule)}" for bit, rule in rules),
        *(f"// defect class {code}: {_comment(name)}" for code, name in classes),
    ]


def _block(block: DataBlock) -> list[str]:
    lines = [
        f'DATA_BLOCK "{block.name}"',
        "{ S7_Optimized_Access := 'FALSE' }",
        "VERSION : 0.1",
        "NON_RETAIN",
        f"// {block.title} {block.size} bytes.",
        "   STRUCT",
    ]
    for part in block.parts:
        if isinstance(part, Repeated):
            lines.append(f"      {part.name} : Array[1..{part.count}] of Struct   // {part.meaning}")
            lines += [f"         {_declared(value)}" for value in part.values]
            lines.append("      END_STRUCT;")
        else:
            lines.append(f"      {_declared(part)}")
    return [*lines, "   END_STRUCT;", "BEGIN", "END_DATA_BLOCK"]


def _declared(value: BlockMember) -> str:
    kind = f"String[{value.characters}]" if value.kind is S7Type.STRING else str(value.kind)
    if value.count:
        kind = f"Array[0..{value.count - 1}] of {kind}"
    unit = f"{1 / value.per_unit:g} {value.unit}" if value.per_unit > 1 else value.unit
    step = f"in {unit}: " if unit else ""
    return f"{value.name} : {kind};   // {step}{value.meaning}"


def _comment(text: str) -> str:
    return text.encode("ascii", "replace").decode()
