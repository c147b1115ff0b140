"""`linewatch engine`: import an engine from elsewhere, and exchange the engines of a running service."""

from cyclopts import App

from linewatch.client.cli import engine as of_running_service

engine = App(name="engine", default_command=of_running_service)
engine.command(
    "linewatch.importer.cli:import_engine",
    name="import",
    help="Make an engine of a network from elsewhere, an ONNX file; or say exactly what is missing.",
)
