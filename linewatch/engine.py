"""`linewatch engine`: import an engine from elsewhere, sign it, and exchange the engines of a running service."""

from cyclopts import App

from linewatch.client.cli import engine as of_running_service

engine = App(name="engine", default_command=of_running_service)
engine.command(
    "linewatch.importer.cli:import_engine",
    name="import",
    help="Make an engine of a network from elsewhere, an ONNX file; or say exactly what is missing.",
)
engine.command("linewatch.inference.cli:new_key", name="new-key", help="Make the key of someone who signs engines.")
engine.command(
    "linewatch.inference.cli:sign",
    name="sign",
    help="Sign engines: who made them, and what every file of them holds.",
)
engine.command(
    "linewatch.inference.cli:verify_signed",
    name="verify",
    help="Say who signed engines, or what of them is not as it was signed. Exit code 4: a fault.",
)
