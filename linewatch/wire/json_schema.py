"""JSON Schema of the wire and of verdict files, for consumers that are not written in Python."""

import json
from typing import get_args

from pydantic.json_schema import models_json_schema

from linewatch.wire.schema import SCHEMA_VERSION, AnyMessage, CoilDataBody, Command, Line, Reply, Request

_UNIONS = (AnyMessage, Request, Command, Reply, Line)
_EXPORTED = (*(model for union in _UNIONS for model in get_args(union)), CoilDataBody)


def wire_schema() -> str:
    """Return the schema as text: one definition per model under `$defs`, equal in every run."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in _EXPORTED], title=f"linewatch wire, schema version {SCHEMA_VERSION}"
    )
    definitions["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(definitions, indent=2, sort_keys=True) + "\n"
