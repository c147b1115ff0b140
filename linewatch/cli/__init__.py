"""The commands. Each one's work lives in its own room; here is only what the user types, a module per kind.

Exit codes: 0 done; 2 bad configuration or arguments; 3 source; 4 engine; 5 wire; 6 journal; 7 a stage failed or hangs;
8 history, 9 `compare` found more differences than its limits allow.
A user's mistake is a line on stderr, never a traceback.
"""

import argparse
import os
import sys
import threading
from collections.abc import Sequence

from linewatch import __version__
from linewatch.cli import coils, inspection, operation, training
from linewatch.contracts.errors import LinewatchError, StageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.work(options) or 0)
    except LinewatchError as error:
        print(f"linewatch: {error}", file=sys.stderr, flush=True)
        if isinstance(error, StageError) and threading.active_count() > 1:
            os._exit(error.exit_code)  # a hung stage's thread would hold up the interpreter's exit
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
    for kind in (inspection, operation, coils, training):
        kind.add(commands)
    return parser
