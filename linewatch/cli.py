"""The commands. Each one's work lives in its own room; here is only what the user types.

Exit codes: 0 done; 1 a finding (replay compared unequal, a check failed); 2 bad configuration or arguments; 3 source; 4 engine;
5 wire; 6 journal; 7 a stage failed. A user's mistake is one line on stderr, never a traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from linewatch import __version__
from linewatch.contracts.errors import LinewatchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.work(options) or 0)
    except LinewatchError as error:
        print(f"linewatch: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `linewatch ... | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="linewatch", description="Real-time surface inspection of steel strip.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, work: object, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(work=work)
        return sub

    run = command("run", _run, "Inspect what the configured source gives, until it ends or SIGTERM comes.")
    run.add_argument("config", type=Path)

    replay = command("replay", _replay, "Inspect a recording with the same program; loses nothing, at any pace.")
    replay.add_argument("source", help="a video, a folder of frames, or 'simulator' (the configuration's)")
    replay.add_argument("--config", type=Path)
    replay.add_argument("--pace", choices=("max", "line-rate"), default="max")
    replay.add_argument("--fault", metavar="SPEC", help="make faults, for example drop=3,truncate=2,black=1")
    replay.add_argument("--out", type=Path, metavar="verdicts.jsonl")
    replay.add_argument("--workers", type=int, help="engine workers; default: the configuration's")
    replay.add_argument("--hold-s", type=float, default=0.0, help="go on answering consumers this long after the end")
    replay.add_argument("--json", action="store_true", help="print the summary as JSON")

    record = command(
        "record", _record, "Write what a camera gives: lossless video and a sidecar that replay reads back."
    )
    record.add_argument("config", type=Path, help="its [source] is recorded")
    record.add_argument("--out", type=Path, required=True, metavar="FILE.avi")
    record.add_argument("--max-mb", type=float, default=4096.0, help="stop before the video is larger")
    record.add_argument("--max-s", type=float, help="stop after this long")
    record.add_argument("--json", action="store_true")

    watch = command("watch", _watch, "Show a running service's defects, alarms and health in the terminal.")
    watch.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5570", help="its wire.publish")
    watch.add_argument("--serve", help="its wire.serve; default: the port above")
    watch.add_argument("--json", action="store_true", help="one message per line instead of a table")
    watch.add_argument("--for-s", type=float, help="end after this long")

    simulate = command("simulate", _simulate, "Render a strip with known defects to a recording, and write the truth.")
    simulate.add_argument("--out", type=Path, required=True, metavar="FILE.avi")
    simulate.add_argument("--truth", type=Path, required=True, metavar="FILE.json")
    simulate.add_argument("--length-m", type=float, default=100.0)
    simulate.add_argument("--seed", type=int, default=7)
    simulate.add_argument("--defects-per-m", type=float, default=1.0)
    simulate.add_argument("--config", type=Path, help="its [line] gives width, pitch and line rate")
    simulate.add_argument("--json", action="store_true")

    check = command("check", _check, "Check a configuration without starting anything.")
    check.add_argument("config", type=Path)
    check.add_argument("--json", action="store_true", help="print it with all defaults")

    engines = command("engines", _engines, "List the engines and verify each against its manifest.")
    engines.add_argument("--dir", type=Path, default=Path("engines"))
    engines.add_argument("--json", action="store_true")

    picture = command("picture", _picture, "Draw a coil with its found defects.")
    picture.add_argument("verdicts", type=Path, help="what `linewatch replay --out` wrote")
    picture.add_argument("--source", required=True, help="the recording or folder that was replayed")
    picture.add_argument("--truth", type=Path)
    picture.add_argument("--config", type=Path)
    picture.add_argument("--out", type=Path, required=True, metavar="FILE.png")

    schema = command("schema", _schema, "Print the JSON Schema of every message on the wire.")
    schema.add_argument("--out", type=Path)

    demo = command(
        "demo", _demo, "Render a coil, inspect it at line rate with the shipped engines, show what was found."
    )
    demo.add_argument("--out", type=Path, default=Path("out/demo"))
    demo.add_argument("--length-m", type=float, default=150.0)
    demo.add_argument("--seed", type=int, default=7)
    return parser
