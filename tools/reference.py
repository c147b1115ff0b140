"""Write docs/reference/ (every setting, message of the wire and event of the logs) and the tables beside docs/mqtt.md.

`python -m tools.reference`. Settings and wire are rendered from JSON Schema, which pydantic makes of the models.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from linewatch.config.grading import GradingSettings
from linewatch.config.history import HistorySettings
from linewatch.config.load import unit_in_words
from linewatch.contracts.evidence import EVIDENCE
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.mqtt.bodies import topics_schema
from linewatch.plant.mqtt.metrics import metrics_csv
from linewatch.plant.mqtt.settings import MqttSettings, PlainSettings, PlantCommandSettings
from linewatch.plant.mqtt.topics import topics_csv
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.plant.s7.settings import S7Settings
from linewatch.service_settings import ServiceSettings
from linewatch.strip.settings import StripSettings
from linewatch.wire.json_schema import wire_schema
from linewatch.wire.schema import KEPT_TOPICS
from tools.log_events import log_page

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

Schema = dict[str, Any]

SETTINGS_HEAD = """\
# Settings

Made from the settings models by `make reference`. `linewatch check FILE` names every fault of a file, and
`linewatch check FILE --json` prints it with all defaults. Files are TOML, an unknown key is an error, and relative
paths count from the working directory. A table in double brackets may stand several times.
"""

WIRE_HEAD = """\
# Wire reference

Made from the schema by `make reference`. [The wire](../wire.md) explains how the messages are used.
[`wire.schema.json`](../wire.schema.json) is the same as JSON Schema, and `linewatch schema` prints it.
"""

FILES: dict[str, tuple[str, type[BaseModel]]] = {
    "Service": ("`linewatch run`, `replay` and `record`; for example `configs/simulator.toml`", ServiceSettings),
    "Grading rules": ("`[decision] grading` and `linewatch regrade`; `configs/grading/example.toml`", GradingSettings),
    "Strip": ("`linewatch strip`; `configs/strip/strip.toml`", StripSettings),
    "History": ("`linewatch history` and its queries; `configs/history.toml`", HistorySettings),
    "Page": ("`linewatch hmi` and `hmi-password`; `configs/hmi.toml`", HmiSettings),
    "OPC UA bridge": ("`linewatch bridge opcua`; `configs/plant/opcua.toml`", OpcuaSettings),
    "Modbus bridge": ("`linewatch bridge modbus`; `configs/plant/modbus.toml`", ModbusSettings),
    "S7 bridge": ("`linewatch bridge s7`; `configs/plant/s7.toml`", S7Settings),
    "MQTT bridge": ("`linewatch bridge mqtt`; `configs/plant/mqtt.toml`", MqttSettings),
}
"""Per kind of file: what reads it, and its model."""

KINDS = {
    "Messages": ("Message",),
    "Requests and replies": ("Request", "Command", "Reply"),
    "Lines of a verdict file": ("Line",),
    "Parts of messages": ("",),
}
"""The definitions of the wire by the ends of their names; the first kind that fits holds."""

BOUNDS = {
    "exclusiveMinimum": "> {:g}",
    "minimum": "≥ {:g}",
    "exclusiveMaximum": "< {:g}",
    "maximum": "≤ {:g}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "matches `{}`",
}


def settings_page() -> str:
    """Return the page of every key of every configuration file."""
    parts = [SETTINGS_HEAD]
    for title, (readers, model) in FILES.items():
        schema = model.model_json_schema()
        parts.append(f"\n## {title}\n\nRead by {readers}.\n")
        parts += _table("", schema, schema.get("$defs", {}))
    return "".join(parts)


def wire_page() -> str:
    """Return the page of every message and the words in them."""
    definitions: dict[str, Schema] = json.loads(wire_schema())["$defs"]
    parts = [WIRE_HEAD]
    left = {name: one for name, one in definitions.items() if "enum" not in one}
    for kind, ends in KINDS.items():
        parts.append(f"\n## {kind}\n")
        for name in sorted(name for name in left if name.endswith(ends)):
            one = left.pop(name)
            parts.append(f"\n### {name}\n\n{_prose(one)}")
            parts += _rows(one.get("properties", {}), one.get("required", ()), definitions, linked=True)
    parts.append("\n## Words\n\n| name | values | meaning |\n|---|---|---|\n")
    parts += [
        f'| <span id="{name.lower()}">{name}</span> | {_type(one, definitions)} | {_meaning(one)} |\n'
        for name, one in sorted(definitions.items())
        if "enum" in one
    ]
    parts.append(
        "\n## Evidence\n\nThe keys of `evidence` of a defect. Sizes are in pixels, or in cells of 4 x 4 pixels.\n\n"
    )
    parts.append("| key | meaning |\n|---|---|\n")
    parts += [f"| `{name}` | {meaning} |\n" for name, meaning in EVIDENCE.items()]
    parts.append("| `score_CLASS` | score of the class CLASS; with maps its share, of all classes together 1 |\n")
    return "".join(parts)


def _table(path: str, model: Schema, definitions: dict[str, Schema], variant: str = "") -> Iterator[str]:
    """A table of a file, its keys, then the tables within it."""
    if path:
        yield f"\n### `{path}`{variant}\n\n{_prose(model)}"
    keys: dict[str, Schema] = {}
    inner: list[tuple[str, Schema, str]] = []
    name = path.strip("[]")
    for key, one in model.get("properties", {}).items():
        tables = list(_tables(one, definitions))
        if not tables:
            keys[key] = one
        below = f"{name}.{key}" if name else key
        many = one.get("type") == "array"
        for table in tables:
            kind = table["properties"].get("type", {}).get("const") if len(tables) > 1 else None
            optional = ", may be left out" if one.get("default", "") is None else ""
            inner.append((f"[[{below}]]" if many else f"[{below}]", table, f' `type = "{kind}"`' if kind else optional))
    if keys:
        yield from _rows(keys, model.get("required", ()), definitions)
    for place, table, of_kind in inner:
        yield from _table(place, table, definitions, of_kind)


def _tables(one: Schema, definitions: dict[str, Schema]) -> Iterator[Schema]:
    """The models that a property holds, by itself or in a list."""
    if "$ref" in one:
        model = definitions[one["$ref"].rpartition("/")[2]]
        if "properties" in model:
            yield model
    for choice in (*one.get("anyOf", ()), *one.get("oneOf", ()), *([one["items"]] if "items" in one else ())):
        yield from _tables(choice, definitions)


def _rows(
    properties: dict[str, Schema], required: Any, definitions: dict[str, Schema], *, linked: bool = False
) -> Iterator[str]:
    yield "\n| key | type | unit | default | bounds | meaning |\n|---|---|---|---|---|---|\n"
    for key, one in properties.items():
        default = "required" if key in required else _value(one.get("default"))
        kind = _type(one, definitions, linked=linked)
        cells = (kind, unit_in_words(key), default, _bounds(one), _meaning(one))
        yield f"| `{key}` | {' | '.join(cells)} |\n"


def _type(one: Schema, definitions: dict[str, Schema], *, linked: bool = False) -> str:  # noqa: PLR0911 - one per kind of schema
    """The type of a property in words; a list of values where there are few."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if linked else _type(definitions[name], definitions)
    if "const" in one:
        return _value(one["const"])
    if "enum" in one:
        return ", ".join(_value(value) for value in one["enum"])
    if choices := one.get("anyOf") or one.get("oneOf"):
        kinds = [_type(choice, definitions, linked=linked) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "prefixItems" in one:
        return f"[{', '.join(_type(item, definitions, linked=linked) for item in one['prefixItems'])}]"
    if one.get("type") == "array":
        return f"list of {_type(one.get('items', {}), definitions, linked=linked)}"
    if isinstance(one.get("additionalProperties"), dict):
        return f"table of {_type(one['additionalProperties'], definitions, linked=linked)}"
    kind = str(one.get("format") if one.get("format") == "path" else one.get("type", "any"))
    return {"boolean": "true, false", "object": "table"}.get(kind, kind)


def _bounds(one: Schema) -> str:
    """The bounds of a property; those of list items and of choices count as well."""
    within = [one, *one.get("anyOf", ())]
    within += [part["items"] for part in within if isinstance(part.get("items"), dict)]
    said = [text.format(part[key]) for part in within for key, text in BOUNDS.items() if key in part]
    return ", ".join(dict.fromkeys(said)).replace("|", "\\|")


def _value(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def mqtt_files() -> dict[Path, str]:
    """Return the files beside docs/mqtt.md: the schema of the topics, and the tables of topics and metrics."""
    plain = PlainSettings(topics=KEPT_TOPICS)
    commands = PlantCommandSettings(commands="tcp://127.0.0.1:5572")
    docs = FOLDER.parent
    return {
        docs / "mqtt.schema.json": topics_schema(),
        docs / "mqtt-topics.csv": topics_csv(MqttSettings(plain=plain, commands=commands)),
        docs / "sparkplug-metrics.csv": metrics_csv(),
    }


def _prose(model: Schema) -> str:
    return f"{model['description'].strip()}\n" if model.get("description") else ""


def _meaning(one: Schema) -> str:
    return " ".join(one.get("description", "").split()).replace("|", "\\|")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "settings.md").write_text(settings_page())
    (FOLDER / "wire.md").write_text(wire_page())
    (FOLDER / "log-events.md").write_text(log_page())
    for path, text in mqtt_files().items():
        path.write_text(text)
