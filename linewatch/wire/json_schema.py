"""JSON Schema of the wire and of verdict files, for consumers that are not written in Python."""

import json

from pydantic.json_schema import models_json_schema

from linewatch.wire.schema import (
    SCHEMA_VERSION,
    AlarmMessage,
    AlarmReply,
    AlarmRequest,
    AlarmsLine,
    CoilDataBody,
    CoilLine,
    CoilMessage,
    CoilReply,
    CoilRequest,
    CropMessage,
    DefectMessage,
    EngineCommand,
    EngineReply,
    ErrorReply,
    FrameMessage,
    ReplayReply,
    ReplayRequest,
    RollMarkMessage,
    RulesReply,
    RulesRequest,
    SnapshotReply,
    SnapshotRequest,
    StatusMessage,
    VerdictLine,
)

_EXPORTED = (
    FrameMessage,
    DefectMessage,
    AlarmMessage,
    CoilMessage,
    RollMarkMessage,
    StatusMessage,
    CropMessage,
    ReplayRequest,
    SnapshotRequest,
    ReplayReply,
    SnapshotReply,
    EngineCommand,
    EngineReply,
    AlarmRequest,
    AlarmReply,
    CoilRequest,
    CoilReply,
    CoilDataBody,
    RulesRequest,
    RulesReply,
    ErrorReply,
    VerdictLine,
    CoilLine,
    AlarmsLine,
)


def wire_schema() -> str:
    """Return the schema as text: one definition per model under `$defs`, equal in every run."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in _EXPORTED], title=f"linewatch wire, schema version {SCHEMA_VERSION}"
    )
    definitions["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(definitions, indent=2, sort_keys=True) + "\n"
